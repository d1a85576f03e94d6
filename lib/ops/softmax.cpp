// Softmax, LogSoftmax and Hardmax (ONNX opsets 1, 11, 13). Up to opset 12 the input is coerced to a matrix at `axis`; the
// upgrade states that as Flatten, the function over the last axis and Reshape, unless one axis holds all of it.
#include <algorithm>

#include "lib/ops/activation_functions.h"
#include "lib/ops/family.h"
#include "lib/ops/lower_functions.h"
#include "lib/ops/nn_families.h"

namespace bevel::ops {
namespace {

bool is_log(const Node& node) { return node.op_type == "LogSoftmax"; }

Status infer(InferContext& ctx) {
  BEVEL_TRY(const std::int64_t axis, attr_int(ctx.node(), "axis", -1));
  const Shape& x = input_shape(ctx, 0);
  if (x.has_rank && x.rank() > 0) {
    if (auto checked = normalize_axis(axis, x.rank()); !checked) return Failure(checked.error());
  }
  return infer_same_type(ctx);
}

Facts facts(const FactsContext& ctx) {
  Facts facts;
  const Shape& x = input_shape(ctx, 0);
  facts.value.data_operands = {0};
  if (ctx.node().op_type == "Hardmax") {
    facts.value.result = {0, 1};
  } else if (is_log(ctx.node())) {
    facts.value.result = {-std::numeric_limits<double>::infinity(), 0};
  } else {
    facts.value.quant = QuantRole::fixed_output;
    facts.value.fixed_scale = 1.0 / 256.0;
    facts.value.result = {0, 1};
  }
  const auto axis = normalize_axis(attr_int(ctx.node(), "axis", -1).value_or(-1), x.rank());
  if (!x.has_rank || !axis) return facts;
  OperandMap map;
  for (std::size_t i = 0; i < x.rank(); ++i) {
    facts.space.loops.push_back({extent(x, i), false});
    // Every output of the axis reads every input of it.
    map.axes.push_back(static_cast<std::int64_t>(i) == *axis ? AxisMap{} : AxisMap::follow(static_cast<int>(i)));
  }
  facts.space.inputs = {map};
  facts.space.outputs = {std::move(map)};
  return facts;
}

Status upgrade(Model& model, NodeId id, int from) {
  if (from != 12) return {};
  Graph& graph = model.graph;
  if (graph.node(id).inputs.size() != 1 || !graph.node(id).inputs[0].valid() || graph.node(id).outputs.size() != 1) {
    return fail_input("has {} inputs, expected 1", graph.node(id).inputs.size());
  }
  BEVEL_TRY(std::int64_t axis, attr_int(graph.node(id), "axis", 1));
  const ValueId input = graph.node(id).inputs[0];
  const Type& type = graph.value(input).type;
  if (type.is_tensor() && type.shape.has_rank && type.shape.rank() > 0) {
    const Shape& shape = type.shape;
    BEVEL_TRY(axis, normalize_axis(axis, shape.rank(), true));
    // One axis at or behind `axis` that is not 1: the coerced softmax runs along it alone.
    std::vector<std::size_t> wide;
    for (std::size_t i = static_cast<std::size_t>(axis); i < shape.rank(); ++i) {
      if (!shape.dims[i].known() || shape.dims[i].value != 1) wide.push_back(i);
    }
    if (wide.size() <= 1 && static_cast<std::size_t>(axis) < shape.rank()) {
      graph.mutable_node(id).set_attribute("axis",
                                           static_cast<std::int64_t>(wide.empty() ? shape.rank() - 1 : wide[0]));
      return {};
    }
  } else if (axis == -1) {
    graph.mutable_node(id).set_attribute("axis", std::int64_t{-1});
    return {};
  }
  const std::string name = graph.node(id).name;
  const ValueId shape = graph.build_before(id, "Shape", name + "_shape", {input}).output;
  const ValueId matrix = graph.build_before(id, "Flatten", name + "_matrix", {input}, {{"axis", axis, {}}}).output;
  const ValueId output = graph.node(id).outputs[0];
  graph.set_operand(id, 0, matrix);
  graph.mutable_node(id).set_attribute("axis", std::int64_t{-1});
  // The Reshape takes over the output's value, and with it name and uses.
  const ValueId rows = graph.add_value(graph.value(output).name + "_matrix");
  graph.move_output(output, rows);
  Node reshape;
  reshape.name = name + "_reshape";
  reshape.op_type = "Reshape";
  reshape.inputs = {rows, shape};
  reshape.outputs = {output};
  graph.insert_after(id, std::move(reshape));
  return {};
}

// The way back: what lies behind the axis must not count, so the axis changes places with the last one where that is more than one element.
Status downgrade(Model& model, NodeId id, int from) {
  if (from != 13) return {};
  Graph& graph = model.graph;
  if (graph.node(id).inputs.size() != 1 || !graph.node(id).inputs[0].valid() || graph.node(id).outputs.size() != 1)
    return fail_input("has {} inputs, expected 1", graph.node(id).inputs.size());
  const ValueId input = graph.node(id).inputs[0], output = graph.node(id).outputs[0];
  const Shape shape = graph.value(input).type.shape;
  if (!shape.has_rank || shape.rank() == 0) return fail_input("the rank of its input is not known, so that its axis may not be the last one");
  BEVEL_TRY(std::int64_t axis, attr_int(graph.node(id), "axis", -1));
  BEVEL_TRY(axis, normalize_axis(axis, shape.rank()));
  const auto last = static_cast<std::int64_t>(shape.rank()) - 1;
  const bool alone = std::all_of(shape.dims.begin() + axis + 1, shape.dims.end(), [](const Dim& dim) { return dim.known() && dim.value == 1; });
  graph.mutable_node(id).set_attribute("axis", alone ? axis : last);
  if (alone) return {};
  std::vector<std::int64_t> order(shape.rank());  // swaps the axis with the last one, and is its own inverse
  for (std::size_t i = 0; i < order.size(); ++i) order[i] = static_cast<std::int64_t>(i);
  std::swap(order[static_cast<std::size_t>(axis)], order.back());
  const std::string name = graph.node(id).name;
  const ValueId turned = graph.build_before(id, "Transpose", name + "_turned", {input}, {{"perm", order, {}}}).output;
  graph.set_operand(id, 0, turned);
  const ValueId rows = graph.add_value(graph.value(output).name + "_turned");
  graph.move_output(output, rows);
  Node back;
  back.name = name + "_back";
  back.op_type = "Transpose";
  back.inputs = {rows};
  back.outputs = {output};
  back.set_attribute("perm", order);
  graph.insert_after(id, std::move(back));
  return {};
}

template <typename T>
void softmax(std::int64_t outer, std::int64_t depth, std::int64_t inner, bool log, const T* x, T* y) {
  using C = ComputeOf<T>;
  for (std::int64_t o = 0; o < outer; ++o) {
    for (std::int64_t i = 0; i < inner; ++i) {
      const T* in = x + o * depth * inner + i;
      T* out = y + o * depth * inner + i;
      C highest = load(in[0]);
      for (std::int64_t d = 1; d < depth; ++d) {
        const C value = load(in[d * inner]);
        if (value > highest) highest = value;
      }
      double sum = 0;
      std::vector<C> powers(static_cast<std::size_t>(log ? 0 : depth));
      for (std::int64_t d = 0; d < depth; ++d) {
        const C power = activation::exp(load(in[d * inner]) - highest);
        if (!log) powers[static_cast<std::size_t>(d)] = power;
        sum += static_cast<double>(power);
      }
      const C log_sum = log ? static_cast<C>(bvl_log(sum)) : C{0};
      for (std::int64_t d = 0; d < depth; ++d) {
        out[d * inner] = log ? store<T>(load(in[d * inner]) - highest - log_sum)
                             : store<T>(static_cast<C>(static_cast<double>(powers[static_cast<std::size_t>(d)]) / sum));
      }
    }
  }
}

// 1 at the first maximum along the axis, 0 elsewhere; a NaN counts as one.
template <typename T>
void hardmax(std::int64_t outer, std::int64_t depth, std::int64_t inner, const T* x, T* y) {
  for (std::int64_t o = 0; o < outer; ++o) {
    for (std::int64_t i = 0; i < inner; ++i) {
      const std::int64_t base = o * depth * inner + i;
      std::int64_t best = 0;
      for (std::int64_t d = 1; d < depth; ++d) {
        const auto highest = load(x[base + best * inner]), value = load(x[base + d * inner]);
        if (highest == highest && (value > highest || value != value)) best = d;
      }
      y[base + best * inner] = store<T>(1);
    }
  }
}

Outputs evaluate_hardmax(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(std::int64_t axis, attr_int(ctx.node(), "axis", -1));
  BEVEL_TRY(axis, normalize_axis(axis, x.rank()));
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), x.dims()));
  Tensor y = Tensor::zeros(x.dtype(), x.dims());
  const auto at = static_cast<std::size_t>(axis);
  const bool known = dispatch_floats(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (x.size() == 0) return;
    hardmax<T>(product(x.dims(), 0, at), x.dim(at), product(x.dims(), at + 1, x.rank()), x.values<T>().data(),
               y.mutable_values<T>().data());
  });
  if (!known) return fail_dtype(x.dtype(), "input");
  return std::vector<Datum>{std::move(y)};
}

}  // namespace

Outputs evaluate_softmax(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(std::int64_t axis, attr_int(ctx.node(), "axis", -1));
  BEVEL_TRY(axis, normalize_axis(axis, std::max<std::size_t>(x.rank(), 1)));
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), x.dims()));
  Tensor y = Tensor::zeros(x.dtype(), x.dims());
  const auto at = static_cast<std::size_t>(axis);
  const std::int64_t depth = x.rank() == 0 ? 1 : x.dim(at);
  const bool known = dispatch_floats(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (x.size() == 0) return;
    softmax<T>(product(x.dims(), 0, at), depth, product(x.dims(), std::min(at + 1, x.rank()), x.rank()),
               is_log(ctx.node()), x.values<T>().data(), y.mutable_values<T>().data());
  });
  if (!known) return fail_dtype(x.dtype(), "input");
  return std::vector<Datum>{std::move(y)};
}

extern const OpRecord softmax_record = {.name = "Softmax",
                                        .infer = infer,
                                        .facts = facts,
                                        .evaluate = evaluate_softmax,
                                        .upgrade = upgrade,
                                        .downgrade = downgrade,
                                        .lower = lower_softmax};
extern const OpRecord log_softmax_record = {.name = "LogSoftmax",
                                            .infer = infer,
                                            .facts = facts,
                                            .evaluate = evaluate_softmax,
                                            .upgrade = upgrade,
                                            .downgrade = downgrade,
                                            .lower = lower_softmax};
extern const OpRecord hardmax_record = {
    .name = "Hardmax", .infer = infer, .facts = facts, .evaluate = evaluate_hardmax, .upgrade = upgrade, .downgrade = downgrade};

}  // namespace bevel::ops
