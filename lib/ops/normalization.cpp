// BatchNormalization (opsets 7, 9, 14, 15), InstanceNormalization (6), LayerNormalization (17), LRN (1, 13),
// LpNormalization (1).
#include "lib/ops/normalization.h"

#include "lib/ops/nn_families.h"

namespace bevel::ops {

Facts facts_normalized(const FactsContext& ctx, std::size_t first_opaque, std::size_t last_opaque) {
  Facts facts;
  const Shape& x = input_shape(ctx, 0);
  facts.value.data_operands = {0};
  if (!x.has_rank) return facts;
  OperandMap map;
  for (std::size_t i = 0; i < x.rank(); ++i) {
    facts.space.loops.push_back({extent(x, i), false});
    const bool opaque = i >= first_opaque && i < last_opaque;
    map.axes.push_back(opaque ? AxisMap{} : AxisMap::follow(static_cast<int>(i)));
  }
  facts.space.inputs.resize(ctx.node().inputs.size());
  facts.space.inputs[0] = map;
  facts.space.outputs = {std::move(map)};
  return facts;
}
namespace {

// Channels of operand 0 on axis 1; the vectors at `first`.. must have as many elements.
Status check_channel_vectors(InferContext& ctx, std::size_t first, std::initializer_list<std::string_view> roles) {
  const std::int64_t channels = extent(input_shape(ctx, 0), 1);
  std::size_t index = first;
  for (const std::string_view role : roles) {
    BEVEL_TRY_STATUS(expect_rank(ctx, index, role, 1, 1));
    const std::int64_t found = extent(input_shape(ctx, index), 0);
    if (channels >= 0 && found >= 0 && found != channels) {
      return fail_operand(index, role, "has {} elements, expected one per channel, {}", found, channels);
    }
    ++index;
  }
  return {};
}

Status infer_batch(InferContext& ctx) {
  BEVEL_TRY_STATUS(check_channel_vectors(ctx, 1, {"scale", "B", "mean", "var"}));
  BEVEL_TRY_STATUS(infer_same_type(ctx));
  // The running mean and variance, moved on; up to opset 8 those of the batch behind them.
  for (std::size_t i = 1; i < ctx.node().outputs.size(); ++i) {
    const std::size_t source = i % 2 == 1 ? 3 : 4;
    ctx.set_output(i, Type::tensor(input_dtype(ctx, source), input_shape(ctx, source)));
  }
  return {};
}

Status infer_instance(InferContext& ctx) {
  BEVEL_TRY_STATUS(check_channel_vectors(ctx, 1, {"scale", "B"}));
  return infer_same_type(ctx);
}

Status infer_layer(InferContext& ctx) {
  BEVEL_TRY_STATUS(infer_same_type(ctx));
  BEVEL_TRY(std::int64_t axis, attr_int(ctx.node(), "axis", -1));
  const Shape& x = input_shape(ctx, 0);
  Shape statistics;
  if (x.has_rank) {
    BEVEL_TRY(axis, normalize_axis(axis, x.rank()));
    statistics = x;
    for (std::size_t i = static_cast<std::size_t>(axis); i < x.rank(); ++i) statistics.dims[i] = Dim(1);
    const auto fits = broadcast_shapes(x, input_shape(ctx, 1));
    if (!fits) return fail_operand(1, "Scale", "{}", fits.error().message);
  }
  BEVEL_TRY(const std::int64_t stash, attr_int(ctx.node(), "stash_type", 1));
  const DType dtype = stash == 11   ? DType::float64
                      : stash == 16 ? DType::bfloat16
                      : stash == 10 ? DType::float16
                                    : DType::float32;
  ctx.set_output(1, Type::tensor(dtype, statistics));
  ctx.set_output(2, Type::tensor(dtype, std::move(statistics)));
  return {};
}

// y = (x - mean) * scale / sqrt(var + epsilon) + B: each output reads one element of x and its channel's numbers.
Facts facts_batch(const FactsContext& ctx) {
  Facts facts;
  const Shape& x = input_shape(ctx, 0);
  // In training mode every output depends on the whole batch: opaque.
  if (!x.has_rank || x.rank() < 2 || attr_int(ctx.node(), "training_mode", 0).value_or(1) != 0) return facts;
  facts.space.kind = OpKind::elementwise;
  OperandMap map;
  for (std::size_t i = 0; i < x.rank(); ++i) {
    facts.space.loops.push_back({extent(x, i), false});
    map.axes.push_back(AxisMap::follow(static_cast<int>(i)));
  }
  facts.space.inputs = {map};
  for (int i = 1; i < 5; ++i) facts.space.inputs.push_back(OperandMap{{AxisMap::follow(1)}});
  facts.space.outputs = {std::move(map)};
  facts.value.data_operands = {0};
  return facts;
}

Facts facts_instance(const FactsContext& ctx) {
  Facts facts = facts_normalized(ctx, 2, 64);
  for (std::size_t i = 1; i < facts.space.inputs.size(); ++i) facts.space.inputs[i].axes = {AxisMap::follow(1)};
  return facts;
}
Facts facts_layer(const FactsContext& ctx) {
  const Shape& x = input_shape(ctx, 0);
  const auto axis = normalize_axis(attr_int(ctx.node(), "axis", -1).value_or(-1), x.rank());
  return facts_normalized(ctx, axis ? static_cast<std::size_t>(*axis) : 0, 64);
}
Facts facts_lrn(const FactsContext& ctx) { return facts_normalized(ctx, 1, 2); }
Facts facts_lp(const FactsContext& ctx) {
  const Shape& x = input_shape(ctx, 0);
  const auto axis = normalize_axis(attr_int(ctx.node(), "axis", -1).value_or(-1), x.rank());
  const std::size_t first = axis ? static_cast<std::size_t>(*axis) : 0;
  Facts facts = facts_normalized(ctx, first, axis ? first + 1 : 64);
  facts.value.result = {-1, 1};
  return facts;
}

// Opset 7 has spatial = 0: statistics per element of [C, D1, ...] instead of per channel; written out as arithmetic.
// 14 has fewer outputs, all of training.
Status one_output(const Node& node) {
  for (std::size_t i = 1; i < node.outputs.size(); ++i)
    if (node.outputs[i].valid()) return fail_input("output {} is one of training, which opset 14 defined anew", i);
  return {};
}
Status downgrade_batch(Model& model, NodeId id, int from) { return from == 14 ? one_output(model.graph.node(id)) : Status{}; }
Status upgrade_batch(Model& model, NodeId id, int from) {
  if (from == 13) return one_output(model.graph.node(id));
  if (from != 8) return {};
  Graph& graph = model.graph;
  BEVEL_TRY(const bool spatial, attr_flag(graph.node(id), "spatial", true));
  graph.mutable_node(id).remove_attribute("spatial");
  if (spatial) return {};
  const Node node = graph.node(id);
  if (node.inputs.size() != 5 || node.outputs.empty() || !node.outputs[0].valid())
    return fail_input("has {} inputs, expected 5", node.inputs.size());
  for (std::size_t i = 1; i < node.outputs.size(); ++i) {
    if (node.outputs[i].valid()) return fail_input("spatial = 0 with training outputs is not supported");
  }
  BEVEL_TRY(const float epsilon, attr_float(node, "epsilon", 1e-5f));
  // [C, D1, ...] broadcasts to [N, C, D1, ...] from the right.
  const ValueId constant = graph.add_constant(node.name + "_epsilon", Tensor::scalar(epsilon));
  const auto build = [&](std::string_view op, std::string_view suffix, std::vector<ValueId> inputs) {
    return graph.build_before(id, op, node.name + std::string(suffix), std::move(inputs)).output;
  };
  const ValueId centred = build("Sub", "_centred", {node.inputs[0], node.inputs[3]});
  const ValueId variance = build("Add", "_variance", {node.inputs[4], constant});
  const ValueId deviation = build("Sqrt", "_deviation", {variance});
  const ValueId normal = build("Div", "_normal", {centred, deviation});
  const ValueId scaled = build("Mul", "_scaled", {normal, node.inputs[1]});
  const ValueId result = build("Add", "_shifted", {scaled, node.inputs[2]});
  if (!graph.replace_uses(node.outputs[0], result)) return fail_input("its output cannot be replaced");
  graph.erase_node(id);
  return {};
}

}  // namespace

extern const OpRecord batch_normalization_record = {.name = "BatchNormalization",
                                                    .min_inputs = 5,
                                                    .max_inputs = 5,
                                                    .max_outputs = 5,
                                                    .infer = infer_batch,
                                                    .facts = facts_batch,
                                                    .evaluate = evaluate_batch_normalization,
                                                    .upgrade = upgrade_batch,
                                                    .downgrade = downgrade_batch};
extern const OpRecord instance_normalization_record = {.name = "InstanceNormalization",
                                                       .min_inputs = 3,
                                                       .max_inputs = 3,
                                                       .infer = infer_instance,
                                                       .facts = facts_instance,
                                                       .evaluate = evaluate_instance_normalization};
extern const OpRecord layer_normalization_record = {.name = "LayerNormalization",
                                                    .min_inputs = 2,
                                                    .max_inputs = 3,
                                                    .max_outputs = 3,
                                                    .infer = infer_layer,
                                                    .facts = facts_layer,
                                                    .evaluate = evaluate_layer_normalization};
extern const OpRecord lrn_record = {
    .name = "LRN", .infer = infer_same_type, .facts = facts_lrn, .evaluate = evaluate_lrn};
extern const OpRecord lp_normalization_record = {
    .name = "LpNormalization", .infer = infer_same_type, .facts = facts_lp, .evaluate = evaluate_lp_normalization};

}  // namespace bevel::ops
