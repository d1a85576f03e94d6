// TensorScatter (ONNX opset 24): writes `update` into a cache along its sequence axis, each sample at its own index; circular
// indices wrap.
#include "lib/ops/movement.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

// The sequence axis, which is not the batch's.
Result<std::size_t> sequence_axis(const Node& node, std::size_t rank) {
  BEVEL_TRY(std::int64_t axis, attr_int(node, "axis", -2));
  BEVEL_TRY(axis, normalize_axis(axis, rank));
  if (axis == 0) return fail_input("attribute 'axis' is the batch axis, expected another");
  return static_cast<std::size_t>(axis);
}

Result<bool> is_circular(const Node& node) {
  BEVEL_TRY(const std::string mode, attr_string(node, "mode", "linear"));
  if (mode != "linear" && mode != "circular")
    return fail_input("attribute 'mode' is '{}', expected linear or circular", printable(mode));
  return mode == "circular";
}

Status infer(InferContext& ctx) {
  BEVEL_TRY([[maybe_unused]] const bool circular, is_circular(ctx.node()));
  if (input_shape(ctx, 0).has_rank) {
    BEVEL_TRY([[maybe_unused]] const std::size_t axis, sequence_axis(ctx.node(), input_shape(ctx, 0).rank()));
  }
  BEVEL_TRY_STATUS(expect_rank(ctx, 2, "write_indices", 1, 1));
  return infer_same_type(ctx);
}

Facts facts(const FactsContext&) {
  Facts facts;
  facts.value.data_operands = {0, 1};
  return facts;
}

Outputs evaluate_tensor_scatter(const EvalContext& ctx) {
  const Tensor& past = ctx.tensor(0);
  const Tensor& update = ctx.tensor(1);
  BEVEL_TRY(const bool circular, is_circular(ctx.node()));
  BEVEL_TRY(const std::size_t axis, sequence_axis(ctx.node(), past.rank()));
  bool fits = update.dtype() == past.dtype() && update.rank() == past.rank();
  for (std::size_t a = 0; fits && a < past.rank(); ++a)
    fits = a == axis ? update.dim(a) <= past.dim(a) : update.dim(a) == past.dim(a);
  if (!fits) {
    return fail_operand(1, "update", "is {} {}, expected {} {} with at most that length of axis {}",
                        dtype_name(update.dtype()), to_string(update.dims()), dtype_name(past.dtype()),
                        to_string(past.dims()), axis);
  }
  const std::int64_t batch = past.dim(0), capacity = past.dim(axis), length = update.dim(axis);
  std::vector<std::int64_t> begins;  // one per sample; none: all at 0
  if (ctx.has_input(2)) {
    BEVEL_TRY(begins, evaluated_ints(ctx, 2, "write_indices"));
    if (static_cast<std::int64_t>(begins.size()) != batch)
      return fail_operand(2, "write_indices", "has {} elements, expected one per sample, {}", begins.size(), batch);
    for (std::int64_t& begin : begins) {
      if (begin < 0 || (!circular && begin > capacity - length)) {
        return fail_operand(2, "write_indices", "{} positions at {} do not fit a cache of {}", length, begin, capacity);
      }
      if (circular && capacity > 0) begin %= capacity;
    }
  }
  BEVEL_TRY_STATUS(ctx.reserve(past.dtype(), past.dims()));
  Tensor present = past;
  const std::int64_t middle = product(past.dims(), 1, axis), inner = product(past.dims(), axis + 1, past.rank());
  if (update.size() == 0) return std::vector<Datum>{std::move(present)};
  ElementCopier copier(update, present);
  for (std::int64_t prefix = 0; prefix < batch * middle; ++prefix) {
    const std::int64_t begin = begins.empty() ? 0 : begins[static_cast<std::size_t>(prefix / middle)];
    for (std::int64_t i = 0; i < length; ++i) {
      const std::int64_t at = begin + i < capacity ? begin + i : begin + i - capacity;
      copier.copy((prefix * length + i) * inner, (prefix * capacity + at) * inner, inner);
    }
  }
  return std::vector<Datum>{std::move(present)};
}

}  // namespace

extern const OpRecord tensor_scatter_record = {.name = "TensorScatter",
                                               .since = 24,
                                               .min_inputs = 2,
                                               .max_inputs = 3,
                                               .infer = infer,
                                               .facts = facts,
                                               .evaluate = evaluate_tensor_scatter};

}  // namespace bevel::ops
