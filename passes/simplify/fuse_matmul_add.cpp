// fuse-matmul-add: a matrix product plus a constant row is one Gemm.
//
// Keras and older exporters write a dense layer as MatMul and Add. As one node it is one integer group when quantized: the bias
// is added in the accumulator, at the accumulator's scale, and no tensor stands between product and sum.
//
// Limits: both operands of the product have rank 2, the sum is by a constant that varies along columns at most (a bias), and
// nobody else reads the product. Accuracy: rounding, since Gemm may add the bias before or after the sum.
//
//   p = MatMul (x, w)                  # float[8,4] w
//   y = Add (p, b)                     # float[4] b
// becomes
//   y = Gemm (x, w, b)
#include "lib/ops/semantics.h"
#include "passes/simplify/rewrite.h"

namespace bevel::passes {
namespace {

// The bias as a vector of one element per column, in the dtype of the addend (x - c and c + x are folded alike).
Tensor bias_vector(const Tensor& like, const ops::ChannelAffine& affine, std::int64_t columns) {
  Tensor bias = Tensor::zeros(like.dtype(), {columns});
  for (std::int64_t c = 0; c < columns; ++c) {
    bias.set_from_double(c, affine.shift[affine.shift.size() == 1 ? 0 : static_cast<std::size_t>(c)]);
  }
  return bias;
}

bool fuse(Model& model, NodeId sum) {
  Graph& graph = model.graph;
  const auto affine = ops::as_channel_affine(model, graph, sum);
  if (!affine || affine->scales() || affine->axis == 0) return false;
  const NodeId producer = graph.value(affine->input).producer;
  if (!producer.valid() || !is_private_to(graph, affine->input, sum)) return false;
  const auto product = ops::as_matrix_product(model, graph, producer);
  if (!product || !product->columns.known() || product->columns.value == 0) return false;
  const std::int64_t columns = product->columns.value;
  if (affine->shift.size() != 1 && affine->shift.size() != static_cast<std::size_t>(columns)) return false;

  ValueId bias = affine->addend;
  const Tensor* addend = graph.constant(bias);
  if (addend == nullptr || addend->dims() != Dims{columns}) {
    const Tensor like = Tensor::zeros(graph.value(affine->input).type.dtype, {});
    const std::string name = bias.valid() ? graph.value(bias).name : graph.node(producer).name + "_bias";
    const bool sole = bias.valid() && is_private_to(graph, bias, sum);
    Tensor vector = bias_vector(like, *affine, columns);
    if (sole) {
      graph.set_constant(bias, std::move(vector));
    } else {
      bias = graph.add_constant(name, std::move(vector));
    }
  }
  graph.add_operand(producer, bias);
  graph.mutable_node(producer).op_type = "Gemm";
  absorb(graph, affine->input, sum);
  return true;
}

Result<PassStats> run(Model& model, const Options&, PassContext&) {
  PassStats stats;
  for (const NodeId id : model.graph.node_order()) {
    if (model.graph.alive(id)) stats.changes += fuse(model, id);
  }
  return stats;
}

}  // namespace

extern const PassRecord fuse_matmul_add = {
    "fuse-matmul-add", "turn MatMul and Add of a constant row into Gemm", Accuracy::rounding, {}, run};

}  // namespace bevel::passes
