// matmul-nbits: a product with an int4 matrix in blocks as one node of ONNX Runtime's MatMulNBits.
//
// QDQ says it in ONNX's own words; MatMulNBits (com.microsoft 1) is the form in which ONNX Runtime has a kernel that unpacks the weights as
// it multiplies, instead of once into float32. The integers and scales are the same: B holds q + 8 in 4 bits, the first of two in the
// low half of a byte, [columns][blocks][block / 2]; what pads the last block of a column is zero.
//
// Limits: the weights are a constant matrix in int4, symmetric, with blocks of 16 to 256 elements along the sum, and only this product
// reads them.
//
//   d = DequantizeLinear <axis = 0, block_size = 32> (q, scales, zeros)
//   y = MatMul (x, d)
// becomes
//   y = com.microsoft.MatMulNBits <K = .., N = .., bits = 4, block_size = 32> (x, B, scales)
#include <optional>

#include "lib/ops/semantics.h"
#include "passes/simplify/rewrite.h"

namespace bevel::passes {
namespace {

constexpr const char* kDomain = "com.microsoft";
constexpr int kZero = 8;  // what stands for 0 when no zero points are given

struct Blocks {
  NodeId node;
  const Tensor *integers = nullptr, *scales = nullptr;
  std::int64_t size = 0;
};

std::int64_t integer_or(const Node& node, std::string_view name, std::int64_t fallback) {
  const Attribute* attribute = node.attribute(name);
  const auto* value = attribute != nullptr ? std::get_if<std::int64_t>(&attribute->value) : nullptr;
  return value != nullptr ? *value : fallback;
}

bool all_zero(const Tensor& tensor) {
  for (std::int64_t i = 0; i < tensor.size(); ++i)
    if (tensor.as_int64(i) != 0) return false;
  return true;
}

// The int4 matrix behind a value.
std::optional<Blocks> blocks_behind(const Graph& graph, ValueId value) {
  if (!value.valid() || !graph.value(value).producer.valid()) return std::nullopt;
  Blocks blocks{graph.value(value).producer};
  const Node& node = graph.node(blocks.node);
  if (!ops::is_quantization(node) || node.inputs.size() < 2 || node.outputs.size() != 1) return std::nullopt;
  blocks.integers = graph.constant(node.inputs[0]);
  blocks.scales = graph.constant(node.inputs[1]);
  blocks.size = integer_or(node, "block_size", 0);
  if (blocks.integers == nullptr || blocks.scales == nullptr || blocks.integers->dtype() != DType::int4) return std::nullopt;
  if (blocks.integers->rank() != 2 || blocks.scales->rank() != 2 || blocks.scales->dtype() != DType::float32) return std::nullopt;
  const std::int64_t axis = integer_or(node, "axis", 1);
  const bool power = blocks.size >= 16 && blocks.size <= 256 && (blocks.size & (blocks.size - 1)) == 0;
  if (!power || (axis != 0 && axis != -2)) return std::nullopt;
  if (node.inputs.size() > 2 && node.inputs[2].valid()) {
    const Tensor* zeros = graph.constant(node.inputs[2]);
    if (zeros == nullptr || !all_zero(*zeros)) return std::nullopt;
  }
  const std::int64_t count = (blocks.integers->dim(0) + blocks.size - 1) / blocks.size;
  if (blocks.integers->size() == 0 || blocks.scales->dims() != Dims{count, blocks.integers->dim(1)}) return std::nullopt;
  return blocks;
}

Tensor packed(const Blocks& blocks) {
  const std::int64_t k = blocks.integers->dim(0), n = blocks.integers->dim(1), count = blocks.scales->dim(0);
  Tensor bytes = Tensor::zeros(DType::uint8, {n, count, blocks.size / 2});
  const auto out = bytes.mutable_values<std::uint8_t>();
  for (std::int64_t column = 0; column < n; ++column) {
    for (std::int64_t i = 0; i < count * blocks.size; ++i) {
      const std::int64_t q = i < k ? blocks.integers->as_int64(i * n + column) : 0;
      const auto nibble = static_cast<std::uint8_t>(q + kZero);
      out[static_cast<std::size_t>((column * count * blocks.size + i) / 2)] |= static_cast<std::uint8_t>(i % 2 == 0 ? nibble : nibble << 4);
    }
  }
  return bytes;
}

bool fuse(Model& model, NodeId id) {
  Graph& graph = model.graph;
  const Node node = graph.node(id);
  if (!node.domain.empty() || node.op_type != "MatMul" || node.inputs.size() != 2 || !node.inputs[0].valid()) return false;
  const Type& x = graph.value(node.inputs[0]).type;
  if (!x.is_tensor() || x.dtype != DType::float32 || !x.shape.has_rank || x.shape.rank() < 2) return false;
  const auto blocks = blocks_behind(graph, node.inputs[1]);
  if (!blocks || !is_private_to(graph, node.inputs[1], id)) return false;
  const std::string base = graph.value(graph.node(blocks->node).inputs[0]).name;
  const ValueId b = graph.add_constant(base + "_packed", packed(*blocks));
  const ValueId scales = graph.add_constant(graph.value(graph.node(blocks->node).inputs[1]).name + "_by_column",
                                            transposed(*graph.constant(graph.node(blocks->node).inputs[1]), {1, 0}));
  const std::int64_t k = blocks->integers->dim(0), n = blocks->integers->dim(1), size = blocks->size;
  graph.set_operand(id, 1, b);
  graph.add_operand(id, scales);
  Node& fused = graph.mutable_node(id);
  fused.domain = kDomain;
  fused.op_type = "MatMulNBits";
  fused.attributes = {{"K", k, ""}, {"N", n, ""}, {"bits", std::int64_t{4}, ""}, {"block_size", size, ""}};
  return true;
}

Result<PassStats> run(Model& model, const Options&, PassContext&) {
  PassStats stats;
  for (const NodeId id : model.graph.node_order()) stats.changes += fuse(model, id) ? 1 : 0;
  if (stats.changes == 0) return stats;
  if (model.opset(kDomain) == 0) model.set_opset(kDomain, 1);
  model.graph.erase_dead();
  return stats;
}

}  // namespace

extern const PassRecord matmul_nbits = {
    "matmul-nbits", "products with int4 matrices in blocks as ONNX Runtime's MatMulNBits", Accuracy::lossy, {}, run};

}  // namespace bevel::passes
