// If, Loop and Scan: the body runs through EvalContext::run_subgraph, which counts and limits the runs.
#include <limits>
#include <optional>

#include "lib/ops/axis_parts.h"
#include "lib/ops/control.h"
#include "lib/ops/movement.h"

namespace bevel::ops {

Result<Body> body_of(const Node& node, std::string_view attribute) {
  Body body;
  for (const Attribute& one : node.attributes) {
    if (const auto* list = std::get_if<std::vector<GraphPtr>>(&one.value)) {
      for (const GraphPtr& graph : *list) body.first_capture += graph ? graph->captures().size() : 0;
    }
    const GraphPtr* graph = std::get_if<GraphPtr>(&one.value);
    if (graph == nullptr || *graph == nullptr) continue;
    if (one.name == attribute) {
      body.graph = graph->get();
      return body;
    }
    body.first_capture += (*graph)->captures().size();
  }
  return fail_input("attribute '{}' must be a graph", attribute);
}

Result<const Tensor*> tensor_operand(const EvalContext& ctx, std::size_t i, std::string_view role) {
  if (!ctx.has_input(i)) return fail_operand(i, role, "is absent, expected a tensor");
  const Tensor* tensor = ctx.input(i).tensor();
  if (tensor == nullptr) return fail_operand(i, role, "is a sequence, expected a tensor");
  return tensor;
}

Result<const Sequence*> sequence_operand(const EvalContext& ctx, std::size_t i, std::string_view role) {
  if (!ctx.has_input(i)) return fail_operand(i, role, "is absent, expected a sequence");
  const Sequence* sequence = ctx.input(i).sequence();
  if (sequence == nullptr) return fail_operand(i, role, "is a tensor, expected a sequence");
  return sequence;
}

Result<std::int64_t> integer_operand(const EvalContext& ctx, std::size_t i, std::string_view role) {
  BEVEL_TRY(const Tensor* tensor, tensor_operand(ctx, i, role));
  if ((tensor->dtype() != DType::int64 && tensor->dtype() != DType::int32) || tensor->size() != 1)
    return fail_operand(i, role, "is {} {}, expected one int32 or int64", dtype_name(tensor->dtype()), to_string(tensor->dims()));
  return tensor->as_int64(0);
}

Result<bool> boolean_operand(const EvalContext& ctx, std::size_t i, std::string_view role) {
  BEVEL_TRY(const Tensor* tensor, tensor_operand(ctx, i, role));
  if (tensor->dtype() != DType::boolean || tensor->size() != 1) return fail_operand(i, role, "expected one boolean");
  return tensor->as_int64(0) != 0;
}

Result<Tensor> none_of(const Type& element, std::size_t axis) {
  if (!element.is_tensor() || element.dtype == DType::undefined || !element.shape.has_rank || axis > element.shape.rank())
    return fail_input("there is nothing to put together, and the type of one element, {}, does not tell the shape of none", to_string(element));
  Dims dims;
  for (const Dim& dim : element.shape.dims) dims.push_back(dim.known() ? dim.value : 0);
  dims = with_axis(std::move(dims), axis, 0);
  if (!element_count(dims)) return fail_input("the extents of one element, {}, overflow", to_string(element));
  return Tensor::zeros(element.dtype, std::move(dims));
}

namespace {

// Entries of one shape, put together along a new axis. The number of entries need not be known: room is doubled.
class Stack {
 public:
  Stack(std::size_t index, std::int64_t axis, std::int64_t expected) : index_(index), given_axis_(axis), room_(expected) {}

  Status put(const EvalContext& ctx, const Datum& datum, std::int64_t at) {
    const Tensor* entry = datum.tensor();
    if (entry == nullptr) return fail_input("the body's output {} is no tensor, so that the trips' cannot be put together", index_);
    if (!stacked_) {
      BEVEL_TRY(const std::int64_t axis, normalize_axis(given_axis_, entry->rank() + 1));
      axis_ = static_cast<std::size_t>(axis);
      entry_dims_ = entry->dims();
      BEVEL_TRY_STATUS(resize(ctx, entry->dtype(), std::max<std::int64_t>(room_, 1)));
    }
    if (entry->dtype() != stacked_->dtype() || entry->dims() != entry_dims_)
      return fail_input("the body's output {} is {} {}, but was {} {} in an earlier trip", index_, dtype_name(entry->dtype()),
                        to_string(entry->dims()), dtype_name(stacked_->dtype()), to_string(entry_dims_));
    if (at >= room_) BEVEL_TRY_STATUS(resize(ctx, entry->dtype(), std::max<std::int64_t>(8, 2 * room_)));
    put_entry(*entry, *stacked_, axis_, at);
    count_ = std::max(count_, at + 1);
    return {};
  }

  // `element`: the type of one entry, for the case that there was none.
  Result<Tensor> take(const EvalContext& ctx, const Type& element) {
    if (!stacked_) {
      const std::size_t rank = element.shape.has_rank ? element.shape.rank() : 0;
      BEVEL_TRY(const std::int64_t axis, normalize_axis(given_axis_, rank + 1));
      return none_of(element, static_cast<std::size_t>(axis));
    }
    if (count_ < room_) BEVEL_TRY_STATUS(resize(ctx, stacked_->dtype(), count_));
    return std::move(*stacked_);
  }

 private:
  Status resize(const EvalContext& ctx, DType dtype, std::int64_t room) {
    const Dims dims = with_axis(entry_dims_, axis_, room);
    BEVEL_TRY_STATUS(ctx.reserve(dtype, dims));
    Tensor larger = Tensor::zeros(dtype, dims);
    if (stacked_) put_part(room < room_ ? take_part(*stacked_, axis_, 0, room) : *stacked_, larger, axis_, 0);
    stacked_ = std::move(larger);
    room_ = room;
    return {};
  }

  std::size_t index_;
  std::int64_t given_axis_;
  std::int64_t room_;  // before the first entry: how many are expected
  std::size_t axis_ = 0;
  Dims entry_dims_;
  std::optional<Tensor> stacked_;
  std::int64_t count_ = 0;
};

// The body's counters are scalars, or [1] where it declares them so.
template <typename T>
Tensor counter(T value, const Graph& body, std::size_t input) {
  const Shape& declared = body.value(body.inputs()[input]).type.shape;
  return Tensor::scalar(value).reshaped(declared.has_rank && declared.rank() == 1 ? Dims{1} : Dims{});
}

Tensor flag(bool value, const Graph& body, std::size_t input) {
  Tensor tensor = Tensor::zeros(DType::boolean, {});
  tensor.set_from_int64(0, value);
  const Shape& declared = body.value(body.inputs()[input]).type.shape;
  return tensor.reshaped(declared.has_rank && declared.rank() == 1 ? Dims{1} : Dims{});
}

const Type& output_type(const Graph& body, std::size_t output) { return body.value(body.outputs()[output]).type; }

}  // namespace

Outputs evaluate_if(const EvalContext& ctx) {
  BEVEL_TRY(const bool condition, boolean_operand(ctx, 0, "cond"));
  BEVEL_TRY(const Body branch, body_of(ctx.node(), condition ? "then_branch" : "else_branch"));
  return ctx.run_subgraph(*branch.graph, branch.first_capture, {});
}

Outputs evaluate_loop(const EvalContext& ctx) {
  BEVEL_TRY(const Body body, body_of(ctx.node(), "body"));
  std::int64_t trips = std::numeric_limits<std::int64_t>::max();
  if (ctx.has_input(0)) {
    BEVEL_TRY(trips, integer_operand(ctx, 0, "M"));
  }
  bool condition = true;
  if (ctx.has_input(1)) {
    BEVEL_TRY(condition, boolean_operand(ctx, 1, "cond"));
  }
  const std::size_t states = ctx.input_count() > 2 ? ctx.input_count() - 2 : 0, results = body.graph->outputs().size();
  if (body.graph->inputs().size() != 2 + states || results < 1 + states)
    return fail_input("the body takes {} values and gives {}; expected {} and {} or more", body.graph->inputs().size(), results, 2 + states,
                      1 + states);
  std::vector<Datum> state;
  for (std::size_t i = 0; i < states; ++i) state.push_back(ctx.input(2 + i));
  const std::vector<ValueId>& outputs = ctx.node().outputs;
  if (outputs.size() > results - 1) return fail_input("has {} outputs, but the body gives {}", outputs.size(), results - 1);
  std::vector<Stack> stacks;
  for (std::size_t i = states; i < outputs.size(); ++i) stacks.emplace_back(1 + i, 0, 0);
  for (std::int64_t trip = 0; trip < trips && condition; ++trip) {
    std::vector<Datum> given{counter(trip, *body.graph, 0), flag(condition, *body.graph, 1)};
    for (Datum& one : state) given.push_back(std::move(one));
    BEVEL_TRY(std::vector<Datum> made, ctx.run_subgraph(*body.graph, body.first_capture, given));
    const Tensor* goes_on = made[0].tensor();
    if (goes_on == nullptr || goes_on->dtype() != DType::boolean || goes_on->size() != 1)
      return fail_input("the body's output 0 is not one boolean, which says whether the loop goes on");
    condition = goes_on->as_int64(0) != 0;
    for (std::size_t i = 0; i < states; ++i) state[i] = std::move(made[1 + i]);
    for (std::size_t k = 0; k < stacks.size(); ++k)  // what nobody takes need not have one shape
      if (outputs[states + k].valid()) BEVEL_TRY_STATUS(stacks[k].put(ctx, made[1 + states + k], trip));
  }
  for (std::size_t k = 0; k < stacks.size(); ++k) {
    state.emplace_back();
    if (!outputs[states + k].valid()) continue;
    BEVEL_TRY(state.back(), stacks[k].take(ctx, output_type(*body.graph, 1 + states + k)));
  }
  return state;
}

namespace {

// One entry for each of `count` operands, 0 where the list is absent.
Result<std::vector<std::int64_t>> per_operand(const Node& node, std::string_view name, std::size_t count) {
  BEVEL_TRY(std::vector<std::int64_t> values, attr_ints(node, name));
  if (values.empty()) values.assign(count, 0);
  if (values.size() != count) return fail_input("attribute '{}' has {} entries, expected {}", name, values.size(), count);
  return values;
}

Result<std::vector<std::int64_t>> directions(const Node& node, std::string_view name, std::size_t count) {
  BEVEL_TRY(std::vector<std::int64_t> values, per_operand(node, name, count));
  for (const std::int64_t value : values)
    if (value != 0 && value != 1) return fail_input("attribute '{}' has the entry {}; expected 0 (forward) or 1 (backward)", name, value);
  return values;
}

}  // namespace

Outputs evaluate_scan(const EvalContext& ctx) {
  const Node& node = ctx.node();
  BEVEL_TRY(const Body body, body_of(node, "body"));
  BEVEL_TRY(const std::int64_t count, require_int(node, "num_scan_inputs"));
  if (count < 1 || static_cast<std::uint64_t>(count) > ctx.input_count())
    return fail_input("'num_scan_inputs' is {}; expected 1 to the number of inputs, {}", count, ctx.input_count());
  const auto scanned = static_cast<std::size_t>(count);
  const std::size_t states = ctx.input_count() - scanned, results = body.graph->outputs().size();
  if (body.graph->inputs().size() != ctx.input_count() || results < states)
    return fail_input("the body takes {} values and gives {}; expected {} and {} or more", body.graph->inputs().size(), results,
                      ctx.input_count(), states);
  BEVEL_TRY(const auto input_axes, per_operand(node, "scan_input_axes", scanned));
  BEVEL_TRY(const auto input_directions, directions(node, "scan_input_directions", scanned));
  BEVEL_TRY(const auto output_axes, per_operand(node, "scan_output_axes", results - states));
  BEVEL_TRY(const auto output_directions, directions(node, "scan_output_directions", results - states));

  std::vector<const Tensor*> sources;
  std::vector<std::size_t> axes;
  for (std::size_t i = 0; i < scanned; ++i) {
    BEVEL_TRY(const Tensor* source, tensor_operand(ctx, states + i, "scan input"));
    BEVEL_TRY(const std::int64_t axis, normalize_axis(input_axes[i], source->rank()));
    axes.push_back(static_cast<std::size_t>(axis));
    if (i > 0 && source->dim(axes[i]) != sources[0]->dim(axes[0]))
      return fail_operand(states + i, "scan input", "its scanned axis has {} entries, the first one's {}", source->dim(axes[i]),
                          sources[0]->dim(axes[0]));
    sources.push_back(source);
  }
  const std::int64_t length = sources[0]->dim(axes[0]);
  std::vector<Datum> state;
  for (std::size_t i = 0; i < states; ++i) state.push_back(ctx.input(i));
  std::vector<Stack> stacks;
  for (std::size_t k = 0; k < results - states; ++k) stacks.emplace_back(states + k, output_axes[k], length);
  for (std::int64_t trip = 0; trip < length; ++trip) {
    std::vector<Datum> given;
    for (Datum& one : state) given.push_back(std::move(one));
    for (std::size_t i = 0; i < scanned; ++i) {
      BEVEL_TRY_STATUS(ctx.reserve(sources[i]->dtype(), without_axis(sources[i]->dims(), axes[i])));
      given.emplace_back(take_entry(*sources[i], axes[i], input_directions[i] == 0 ? trip : length - 1 - trip));
    }
    BEVEL_TRY(std::vector<Datum> made, ctx.run_subgraph(*body.graph, body.first_capture, given));
    for (std::size_t i = 0; i < states; ++i) state[i] = std::move(made[i]);
    for (std::size_t k = 0; k < stacks.size(); ++k)
      BEVEL_TRY_STATUS(stacks[k].put(ctx, made[states + k], output_directions[k] == 0 ? trip : length - 1 - trip));
  }
  std::vector<Datum> outputs = std::move(state);
  for (std::size_t k = 0; k < stacks.size(); ++k) {
    BEVEL_TRY(Tensor stacked, stacks[k].take(ctx, output_type(*body.graph, states + k)));
    outputs.emplace_back(std::move(stacked));
  }
  return outputs;
}

}  // namespace bevel::ops
