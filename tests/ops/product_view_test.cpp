// Bilinear ops as rows and channels: what the view says, summed up in double, is what the op evaluates to, over random shapes.
#include <catch2/catch.hpp>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "lib/ops/op.h"
#include "lib/ops/product_view.h"
#include "lib/support/random.h"
#include "tests/common/node_case.h"

namespace {

using namespace bevel;
using testing::parsed;
using Ints = std::vector<std::int64_t>;

Tensor random_tensor(const Dims& dims, Random& random) {
  Tensor tensor = Tensor::zeros(DType::float32, dims);
  for (float& value : tensor.mutable_values<float>()) value = random.uniform(-1, 1);
  return tensor;
}

// One node in a model whose inputs have types `declared` (-1: unknown), with types inferred.
struct OneNode {
  Model model;
  NodeId node;
};
OneNode one_node(Node node, const std::vector<Dims>& declared) {
  OneNode result;
  result.model.ir_version = 8;
  result.model.set_opset("", 18);
  Graph& graph = result.model.graph;
  for (const Dims& dims : declared) {
    Shape shape{std::vector<Dim>()};
    for (const std::int64_t dim : dims) shape.dims.push_back(dim < 0 ? Dim() : Dim(dim));
    node.inputs.push_back(graph.add_input("in", Type::tensor(DType::float32, shape)));
  }
  node.outputs = {graph.add_value("out")};
  const ValueId out = node.outputs[0];
  result.node = graph.add_node(std::move(node));
  graph.add_output(out);
  REQUIRE(ops::infer_types(result.model));
  return result;
}

enum class Part { none, group, row, channel };

// The index of an output element's loops among those of one part.
std::int64_t index_in(const ops::IterationSpace& space, const std::vector<std::int64_t>& loops, const Dims& extents, Part part) {
  std::set<int> a, b;
  for (const auto& axis : space.inputs[0].axes) a.insert(axis.loops.begin(), axis.loops.end());
  for (const auto& axis : space.inputs[1].axes) b.insert(axis.loops.begin(), axis.loops.end());
  std::int64_t index = 0;
  for (std::size_t i = 0; i < space.loops.size(); ++i) {
    const int loop = static_cast<int>(i);
    const bool in_a = a.count(loop) != 0, in_b = b.count(loop) != 0;
    const Part own = space.loops[i].reduced || (!in_a && !in_b) ? Part::none
                     : in_a && in_b                             ? Part::group
                     : in_a                                     ? Part::row
                                                                : Part::channel;
    if (own == part) index = index * extents[i] + loops[i];
  }
  return index;
}

// Checks every output element of the node on random operands of the given shapes, the declared types being `declared`. `bias`: of the
// output's axis 1. `factor`: what the op multiplies the products with.
void check(const Node& node, const std::vector<Dims>& declared, const std::vector<Dims>& actual, Random& random, double factor = 1) {
  const OneNode declared_node = one_node(node, declared);
  Node plain = node;
  std::vector<Datum> operands;
  std::vector<Tensor> tensors;
  for (const Dims& dims : actual) {
    plain.inputs.push_back(ValueId(plain.inputs.size()));
    tensors.push_back(random_tensor(dims, random));
    operands.emplace_back(tensors.back());
  }
  plain.outputs.resize(1);
  const auto outputs = ops::evaluate_node(plain, 18, operands, 1u << 24);
  INFO((outputs ? "" : outputs.error().message));
  REQUIRE(outputs.has_value());
  const Tensor& y = *(*outputs)[0].tensor();

  const ops::IterationSpace space = ops::space_at(declared_node.model, declared_node.model.graph, declared_node.node, 0, actual[0]);
  const auto view = ops::product_view(space, actual[1]);
  REQUIRE(view.has_value());
  const auto rows = ops::gather_rows(space, tensors[0], 1 << 20);
  REQUIRE(rows.has_value());
  REQUIRE(rows->k == view->k);
  REQUIRE(rows->groups == view->groups);
  REQUIRE(static_cast<std::int64_t>(rows->values.size()) == rows->groups * rows->rows * rows->k);
  REQUIRE(y.size() == view->groups * rows->rows * view->channels);

  // Every weight is one [group, channel, i].
  std::set<std::int64_t> weights;
  for (std::int64_t g = 0; g < view->groups; ++g)
    for (std::int64_t c = 0; c < view->channels; ++c)
      for (std::int64_t i = 0; i < view->k; ++i) weights.insert(view->weight_index(g, c, i));
  REQUIRE(static_cast<std::int64_t>(weights.size()) == tensors[1].size());
  REQUIRE(*weights.begin() == 0);
  REQUIRE(*weights.rbegin() == tensors[1].size() - 1);

  // Extents of the loops at the actual shapes, from the output's and operands' plain axes.
  Dims extents;
  for (const ops::Loop& loop : space.loops) extents.push_back(loop.extent);
  const auto learn = [&](const ops::OperandMap& operand, const Dims& dims) {
    for (std::size_t axis = 0; axis < dims.size(); ++axis)
      if (operand.axes[axis].kind == ops::AxisMap::Kind::follow) extents[static_cast<std::size_t>(operand.axes[axis].loops[0])] = dims[axis];
  };
  learn(space.inputs[1], actual[1]);
  learn(space.outputs[0], y.dims());
  const auto w = tensors[1].values<float>(), values = y.values<float>();
  for (std::int64_t at = 0; at < y.size(); ++at) {
    std::vector<std::int64_t> loops(extents.size(), 0);
    std::int64_t rest = at, bias_index = 0;
    for (std::size_t axis = y.rank(); axis-- > 0;) {
      std::int64_t index = rest % y.dim(axis);
      rest /= y.dim(axis);
      if (axis == 1) bias_index = index;
      const auto& map = space.outputs[0].axes[axis];
      for (std::size_t i = map.loops.size(); i-- > 0;) {
        const auto loop = static_cast<std::size_t>(map.loops[i]);
        loops[loop] = index % extents[loop];
        index /= extents[loop];
      }
    }
    const std::int64_t g = index_in(space, loops, extents, Part::group), r = index_in(space, loops, extents, Part::row),
                       c = index_in(space, loops, extents, Part::channel);
    double sum = 0;
    for (std::int64_t i = 0; i < view->k; ++i) {
      sum += static_cast<double>(rows->values[static_cast<std::size_t>((g * rows->rows + r) * rows->k + i)]) *
             static_cast<double>(w[static_cast<std::size_t>(view->weight_index(g, c, i))]);
    }
    sum *= factor;
    if (actual.size() > 2) sum += static_cast<double>(tensors[2].values<float>()[static_cast<std::size_t>(bias_index)]);
    REQUIRE(static_cast<double>(values[static_cast<std::size_t>(at)]) == Approx(sum).margin(2e-5));
  }

  // Fewer positions: rows of the full set, one from each stretch, the same for the same seed.
  const std::int64_t fewer = std::max<std::int64_t>(1, rows->rows / 3);
  const auto some = ops::gather_rows(space, tensors[0], fewer, 7), again = ops::gather_rows(space, tensors[0], fewer, 7);
  REQUIRE(some.has_value());
  REQUIRE(some->rows == fewer);
  REQUIRE(some->values == again->values);
  for (std::int64_t r = 0; r < fewer; ++r) {
    bool found = false;
    for (std::int64_t full = r * rows->rows / fewer; full < (r + 1) * rows->rows / fewer && !found; ++full) {
      found = true;
      for (std::int64_t g = 0; g < rows->groups && found; ++g) {
        for (std::int64_t i = 0; i < rows->k && found; ++i) {
          found = some->values[static_cast<std::size_t>((g * fewer + r) * rows->k + i)] ==
                  rows->values[static_cast<std::size_t>((g * rows->rows + full) * rows->k + i)];
        }
      }
    }
    REQUIRE(found);
  }
}

Node node_of(const std::string& op_type) {
  Node node;
  node.op_type = op_type;
  return node;
}

TEST_CASE("Conv is its rows times its channels, in one to three dimensions, grouped, dilated, strided, padded") {
  Random random(1);
  for (int trial = 0; trial < 60; ++trial) {
    const auto pick = [&](std::int64_t low, std::int64_t high) {
      return low + static_cast<std::int64_t>(random.below(static_cast<std::uint64_t>(high - low + 1)));
    };
    const std::int64_t spatial = 1 + trial % 3, groups = trial % 2 == 0 ? 1 : pick(2, 4);
    const bool depthwise = trial % 5 == 3;
    const std::int64_t in = depthwise ? 1 : pick(1, 3), out = pick(1, 3);
    Dims x = {pick(1, 2), groups * in}, w = {groups * out, in};
    Ints strides, dilations, pads(static_cast<std::size_t>(2 * spatial));
    for (std::int64_t i = 0; i < spatial; ++i) {
      w.push_back(pick(1, 3));
      strides.push_back(pick(1, 3));
      dilations.push_back(pick(1, 2));
      pads[static_cast<std::size_t>(i)] = pick(0, 2);
      pads[static_cast<std::size_t>(i + spatial)] = pick(0, 3);
      x.push_back(pick(5, 8));
    }
    Node node = node_of("Conv");
    node.set_attribute("group", groups);
    node.set_attribute("strides", strides);
    node.set_attribute("dilations", dilations);
    if (trial % 7 == 4) node.set_attribute("auto_pad", std::string("SAME_UPPER"));
    else node.set_attribute("pads", pads);
    // Batch and images are known, or only when they run.
    Dims declared = x;
    if (trial % 3 == 1) declared[0] = -1;
    if (trial % 4 == 2) std::fill(declared.begin() + 2, declared.end(), -1);
    check(node, {declared, w, {w[0]}}, {x, w, {w[0]}}, random);
  }
}

TEST_CASE("Gemm is its rows times its channels, transposed or not") {
  Random random(2);
  for (int trial = 0; trial < 8; ++trial) {
    const bool ta = trial & 1, tb = trial & 2;
    Node node = node_of("Gemm");
    node.set_attribute("transA", std::int64_t{ta});
    node.set_attribute("transB", std::int64_t{tb});
    if (trial & 4) node.set_attribute("alpha", 0.5f);
    const std::int64_t m = 3 + trial, k = 5, n = 4;
    const Dims a = ta ? Dims{k, m} : Dims{m, k}, b = tb ? Dims{n, k} : Dims{k, n};
    Dims declared = a;
    declared[ta ? 1 : 0] = -1;
    check(node, {declared, b, {n}}, {a, b, {n}}, random, trial & 4 ? 0.5 : 1);
  }
}

TEST_CASE("MatMul is its rows times its channels, with batches on either side") {
  Random random(3);
  const std::pair<Dims, Dims> cases[] = {
      {{4, 6}, {6, 3}},          {{2, 4, 6}, {6, 3}},          {{2, 5, 4, 6}, {2, 5, 6, 3}}, {{2, 5, 4, 6}, {5, 6, 3}},
      {{4, 6}, {3, 6, 2}},       {{2, 1, 4, 6}, {5, 6, 3}},    {{6}, {6, 3}},                {{4, 6}, {6}},
      {{3, 1, 4, 6}, {1, 2, 6, 3}}, {{6}, {2, 6, 3}},
  };
  for (const auto& [a, b] : cases) {
    check(node_of("MatMul"), {a, b}, {a, b}, random);
    Dims unknown = a;
    if (a.size() > 1) unknown[0] = -1;
    check(node_of("MatMul"), {unknown, b}, {a, b}, random);
  }
}

TEST_CASE("The rows of operand 1 are those of operand 0 with both in each other's place") {
  Random random(4);
  const OneNode model = one_node(node_of("MatMul"), {{2, 4, 6}, {2, 6, 3}});
  const auto space = ops::with_operands_swapped(ops::facts_of(model.model, model.model.graph, model.node).space);
  const Tensor b = random_tensor({2, 6, 3}, random);
  const auto rows = ops::gather_rows(space, b, 100);
  REQUIRE(rows);
  REQUIRE((rows->groups == 2 && rows->rows == 3 && rows->k == 6));
  CHECK(rows->values[1] == b.values<float>()[3]);
  CHECK(ops::product_view(space, Dims{2, 4, 6})->channels == 4);
}

TEST_CASE("What is no plain sum of products has no view") {
  Node transposed = node_of("ConvTranspose");
  const OneNode up = one_node(transposed, {{1, 3, 5, 5}, {3, 2, 3, 3}});
  const auto space = ops::facts_of(up.model, up.model.graph, up.node).space;
  REQUIRE(space.kind == ops::OpKind::bilinear);
  CHECK_FALSE(ops::product_view(space, Dims{3, 2, 3, 3}));
  Random random(5);
  CHECK_FALSE(ops::gather_rows(space, random_tensor({1, 3, 5, 5}, random), 10));
  const OneNode sum = one_node(node_of("Add"), {{2, 3}, {2, 3}});
  CHECK_FALSE(ops::product_view(ops::facts_of(sum.model, sum.model.graph, sum.node).space, Dims{2, 3}));
}

TEST_CASE("Shapes that contradict the space have no view and no rows") {
  const OneNode conv = one_node(node_of("Conv"), {{1, 3, 5, 5}, {4, 3, 3, 3}});
  const auto space = ops::facts_of(conv.model, conv.model.graph, conv.node).space;
  CHECK(ops::product_view(space, Dims{4, 3, 3, 3}));
  CHECK_FALSE(ops::product_view(space, Dims{4, 3, 3}));
  CHECK_FALSE(ops::product_view(space, Dims{4, 2, 3, 3}));
  Random random(6);
  CHECK(ops::gather_rows(space, random_tensor({1, 3, 5, 5}, random), 4));
  CHECK_FALSE(ops::gather_rows(space, random_tensor({1, 2, 5, 5}, random), 4));
  CHECK_FALSE(ops::gather_rows(space, random_tensor({3, 5, 5}, random), 4));
  CHECK_FALSE(ops::gather_rows(space, random_tensor({1, 3, 5, 5}, random), 0));
  // How often a window fits into an image of unknown size is not the space's to say.
  const OneNode dynamic = one_node(node_of("Conv"), {{1, 3, -1, -1}, {4, 3, 3, 3}});
  CHECK_FALSE(ops::gather_rows(ops::facts_of(dynamic.model, dynamic.model.graph, dynamic.node).space, random_tensor({1, 3, 5, 5}, random), 4));
  CHECK(ops::gather_rows(ops::space_at(dynamic.model, dynamic.model.graph, dynamic.node, 0, Dims{1, 3, 5, 5}),
                         random_tensor({1, 3, 5, 5}, random), 4));
  // A kernel that no memory holds.
  const OneNode huge = one_node(node_of("Conv"), {{1, 1, -1}, {1, 1, std::int64_t{1} << 29}});
  CHECK_FALSE(ops::gather_rows(ops::space_at(huge.model, huge.model.graph, huge.node, 0, Dims{1, 1, std::int64_t{1} << 29}),
                               Tensor::zeros(DType::float32, {1, 1, 1}), 4));
}

}  // namespace
