// The result shares the input's storage.
#include "lib/ops/reshape.h"

#include "lib/ops/tensor_family.h"

namespace bevel::ops {

Outputs evaluate_reshape(const EvalContext& ctx) {
  BEVEL_TRY(const bool allow_zero, attr_flag(ctx.node(), "allowzero", false));
  BEVEL_TRY(const auto wanted, evaluated_ints(ctx, 1, "shape"));
  BEVEL_TRY(Dims dims, reshaped_dims(ctx.tensor(0).dims(), wanted, allow_zero));
  return std::vector<Datum>{ctx.tensor(0).reshaped(std::move(dims))};
}

Outputs evaluate_flatten(const EvalContext& ctx) {
  BEVEL_TRY(const std::int64_t axis, attr_int(ctx.node(), "axis", 1));
  BEVEL_TRY(Dims dims, flattened_dims(ctx.tensor(0).dims(), axis));
  if (element_count(dims) != ctx.tensor(0).size()) {
    return fail_input("shape {} is too large to flatten", to_string(ctx.tensor(0).dims()));
  }
  return std::vector<Datum>{ctx.tensor(0).reshaped(std::move(dims))};
}

Outputs evaluate_squeeze(const EvalContext& ctx) {
  BEVEL_TRY(const auto axes, evaluated_list(ctx, 1, "axes"));
  BEVEL_TRY(Dims dims, squeezed_dims(ctx.tensor(0).dims(), axes));
  return std::vector<Datum>{ctx.tensor(0).reshaped(std::move(dims))};
}

Outputs evaluate_unsqueeze(const EvalContext& ctx) {
  BEVEL_TRY(const auto axes, evaluated_list(ctx, 1, "axes"));
  if (!axes) return fail_input("'axes' is missing");
  BEVEL_TRY(Dims dims, unsqueezed_dims(ctx.tensor(0).dims(), *axes));
  return std::vector<Datum>{ctx.tensor(0).reshaped(std::move(dims))};
}

Outputs evaluate_identity(const EvalContext& ctx) { return std::vector<Datum>{ctx.input(0)}; }

}  // namespace bevel::ops
