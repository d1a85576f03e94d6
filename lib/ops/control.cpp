// If (opsets 1, 11, 13, 16), Loop (1, 11, 13, 16) and Scan (8, 9, 11): nodes that run subgraphs, whose captures of outer values
// are operands of the node. Scan of opset 8 has a batch axis and lengths, and is lifted to that of opset 9 (control_upgrade.cpp).
#include "lib/ops/control.h"

#include "lib/ops/tensor_family.h"

namespace bevel::ops {

Outputs evaluate_if(const EvalContext& ctx);  // control_evaluate.cpp
Outputs evaluate_loop(const EvalContext& ctx);
Outputs evaluate_scan(const EvalContext& ctx);
Status upgrade_scan(Model& model, NodeId node, int from);  // control_upgrade.cpp

Type common_type(const Type& a, const Type& b) {
  if (a == b) return a;
  if (a.kind != b.kind) return {};
  if (a.kind == Type::Kind::sequence || a.kind == Type::Kind::optional) {
    Type result = a;
    result.element = std::make_shared<const Type>(a.element && b.element ? common_type(*a.element, *b.element) : Type());
    return result;
  }
  if (!a.is_tensor()) return {};
  Type result = Type::tensor(a.dtype == b.dtype ? a.dtype : DType::undefined);
  if (a.shape.has_rank && b.shape.has_rank && a.shape.rank() == b.shape.rank()) {
    result.shape = unknown_dims(a.shape.rank());
    for (std::size_t i = 0; i < a.shape.rank(); ++i) {
      if (a.shape.dims[i] == b.shape.dims[i]) result.shape.dims[i] = a.shape.dims[i];
    }
  }
  return result;
}

namespace {

// What holds of a value whose extents may change from trip to trip.
Type of_any_shape(const Type& type) { return type.is_tensor() ? Type::tensor(type.dtype) : Type(); }

Status infer_if(InferContext& ctx) {
  const GraphPtr* then_branch = attr_graph(ctx.node(), "then_branch");
  const GraphPtr* else_branch = attr_graph(ctx.node(), "else_branch");
  if (then_branch == nullptr || else_branch == nullptr) return fail_input("attributes 'then_branch' and 'else_branch' must be graphs");
  BEVEL_TRY(const auto then_types, ctx.infer_subgraph(**then_branch, {}));
  BEVEL_TRY(const auto else_types, ctx.infer_subgraph(**else_branch, {}));
  const std::size_t count = ctx.node().outputs.size();
  if (then_types.size() != count || else_types.size() != count) {
    return fail_input("the branches give {} and {} values, but the node has {} outputs", then_types.size(), else_types.size(), count);
  }
  for (std::size_t i = 0; i < count; ++i) ctx.set_output(i, common_type(then_types[i], else_types[i]));
  return {};
}

// Infers the body with the types that its state has whatever the trip: those of the first trip, widened by what a trip makes of them
// until they hold, at most twice. `state` are the types at first, then those; `body_inputs` builds the body's whole list.
template <typename BodyInputs>
Result<std::vector<Type>> infer_state(InferContext& ctx, const Graph& body, std::vector<Type>& state, std::size_t first_result,
                                      const BodyInputs& body_inputs) {
  std::vector<Type> results;
  for (int round = 0;; ++round) {
    BEVEL_TRY(results, ctx.infer_subgraph(body, body_inputs(state)));
    std::vector<Type> widened = state;
    for (std::size_t i = 0; i < state.size(); ++i) {
      widened[i] = common_type(state[i], results[first_result + i]);
      if (round == 1 && !(widened[i] == state[i])) widened[i] = of_any_shape(widened[i]);
    }
    if (round == 2 || widened == state) break;
    state = std::move(widened);
  }
  return results;
}

Status check_body(const Graph& body, std::size_t inputs, std::size_t outputs) {
  if (body.inputs().size() == inputs && body.outputs().size() == outputs) return {};
  return fail_input("the body takes {} values and gives {}; expected {} and {}", body.inputs().size(), body.outputs().size(), inputs,
                    outputs);
}

// A scalar, or [1] where the body says so.
Type counter_type(DType dtype, const Graph& body, std::size_t input) {
  const Shape& declared = body.value(body.inputs()[input]).type.shape;
  return Type::tensor(dtype, declared.has_rank && declared.rank() == 1 ? Dims{1} : Dims{});
}

std::optional<std::int64_t> one_integer(const Tensor* tensor) {
  if (tensor == nullptr || tensor->size() != 1 || !(is_integer(tensor->dtype()) || tensor->dtype() == DType::boolean)) return std::nullopt;
  return tensor->as_int64(0);
}

Status infer_loop(InferContext& ctx) {
  const GraphPtr* body = attr_graph(ctx.node(), "body");
  if (body == nullptr || *body == nullptr) return fail_input("attribute 'body' must be a graph");
  const std::size_t states = ctx.input_count() > 2 ? ctx.input_count() - 2 : 0;
  const std::size_t outputs = ctx.node().outputs.size();
  const Graph& graph = **body;
  if (graph.outputs().size() < 1 + states || graph.outputs().size() < 1 + outputs)
    return fail_input("the body gives {} values; expected at least {}", graph.outputs().size(), 1 + std::max(states, outputs));
  BEVEL_TRY_STATUS(check_body(graph, 2 + states, graph.outputs().size()));
  std::vector<Type> initial, state;
  for (std::size_t i = 0; i < states; ++i) initial.push_back(ctx.input_type(2 + i));
  state = initial;
  const auto body_inputs = [&](const std::vector<Type>& types) {
    std::vector<Type> all{counter_type(DType::int64, graph, 0), counter_type(DType::boolean, graph, 1)};
    all.insert(all.end(), types.begin(), types.end());
    return all;
  };
  BEVEL_TRY(const std::vector<Type> results, infer_state(ctx, graph, state, 1, body_inputs));
  const auto trips = one_integer(ctx.input_constant(0));
  const auto condition = one_integer(ctx.input_constant(1));
  const bool runs = (!ctx.has_input(0) || trips.value_or(0) > 0) && (!ctx.has_input(1) || condition.value_or(0) != 0);
  for (std::size_t i = 0; i < outputs; ++i) {
    const Type& result = results[1 + i];
    if (i < states) {
      ctx.set_output(i, runs ? result : common_type(initial[i], result));
      continue;
    }
    Type stacked = Type::tensor(result.is_tensor() ? result.dtype : DType::undefined);
    if (result.is_tensor() && result.shape.has_rank) {
      stacked.shape = result.shape;
      stacked.shape.dims.insert(stacked.shape.dims.begin(), Dim());
    }
    ctx.set_output(i, std::move(stacked));
  }
  return {};
}

Status infer_scan(InferContext& ctx) {
  const Node& node = ctx.node();
  const GraphPtr* body = attr_graph(node, "body");
  if (body == nullptr || *body == nullptr) return fail_input("attribute 'body' must be a graph");
  BEVEL_TRY(const std::int64_t scanned, require_int(node, "num_scan_inputs"));
  const std::size_t inputs = ctx.input_count();
  if (scanned < 1 || static_cast<std::uint64_t>(scanned) > inputs)
    return fail_input("'num_scan_inputs' is {}; expected 1 to the number of inputs, {}", scanned, inputs);
  const std::size_t states = inputs - static_cast<std::size_t>(scanned);
  if (node.outputs.size() < states) return fail_input("has {} outputs for {} states", node.outputs.size(), states);
  BEVEL_TRY_STATUS(check_body(**body, inputs, node.outputs.size()));
  BEVEL_TRY(const auto input_axes, attr_ints(node, "scan_input_axes"));
  BEVEL_TRY(const auto output_axes, attr_ints(node, "scan_output_axes"));
  std::vector<Type> state, slices;
  Dim length;
  for (std::size_t i = 0; i < states; ++i) state.push_back(ctx.input_type(i));
  for (std::size_t i = states; i < inputs; ++i) {
    const Shape& shape = input_shape(ctx, i);
    Type slice = Type::tensor(input_dtype(ctx, i));
    if (shape.has_rank) {
      const std::int64_t given = i - states < input_axes.size() ? input_axes[i - states] : 0;
      BEVEL_TRY(const std::int64_t axis, normalize_axis(given, shape.rank()));
      auto unified = unify_dims(length, shape.dims[static_cast<std::size_t>(axis)]);
      if (!unified) return fail_operand(i, "scan input", "the scanned axis: {}", unified.error().message);
      length = *unified;
      slice.shape = shape;
      slice.shape.dims.erase(slice.shape.dims.begin() + axis);
    }
    slices.push_back(std::move(slice));
  }
  const std::vector<Type> initial = state;
  const auto body_inputs = [&](const std::vector<Type>& types) {
    std::vector<Type> all = types;
    all.insert(all.end(), slices.begin(), slices.end());
    return all;
  };
  BEVEL_TRY(const std::vector<Type> results, infer_state(ctx, **body, state, 0, body_inputs));
  length.denotation.clear();
  for (std::size_t i = 0; i < node.outputs.size(); ++i) {
    if (i < states) {
      ctx.set_output(i, length.known() && length.value > 0 ? results[i] : common_type(initial[i], results[i]));
      continue;
    }
    Type stacked = Type::tensor(results[i].is_tensor() ? results[i].dtype : DType::undefined);
    if (results[i].is_tensor() && results[i].shape.has_rank) {
      stacked.shape = results[i].shape;
      const std::int64_t given = i - states < output_axes.size() ? output_axes[i - states] : 0;
      BEVEL_TRY(const std::int64_t axis, normalize_axis(given, stacked.shape.rank() + 1));
      stacked.shape.dims.insert(stacked.shape.dims.begin() + axis, length);
    }
    ctx.set_output(i, std::move(stacked));
  }
  return {};
}

Facts control_facts(const FactsContext& ctx) {
  Facts facts;
  facts.value.pure = subgraphs_are_pure(ctx);
  return facts;
}

}  // namespace

extern const OpRecord if_record{.name = "If", .max_outputs = -1, .infer = infer_if, .facts = control_facts, .evaluate = evaluate_if,
                                .any_kind = true};
extern const OpRecord loop_record{.name = "Loop", .min_inputs = 0, .max_inputs = -1, .min_outputs = 0, .max_outputs = -1, .infer = infer_loop,
                                  .facts = control_facts, .evaluate = evaluate_loop, .any_kind = true};
extern const OpRecord scan_record{.name = "Scan", .since = 8, .max_inputs = -1, .max_outputs = -1, .infer = infer_scan, .facts = control_facts,
                                  .evaluate = evaluate_scan, .upgrade = upgrade_scan, .any_kind = true};

}  // namespace bevel::ops
