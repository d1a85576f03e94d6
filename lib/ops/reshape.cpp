// Ops that keep the elements in row-major order and change the dimensions: Reshape, Flatten, Squeeze, Unsqueeze, Identity.
#include "lib/ops/reshape.h"

#include <algorithm>

#include "lib/ops/lower_functions.h"
#include "lib/ops/downgrade.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {

// reshape_evaluate.cpp
Outputs evaluate_reshape(const EvalContext& ctx);
Outputs evaluate_flatten(const EvalContext& ctx);
Outputs evaluate_squeeze(const EvalContext& ctx);
Outputs evaluate_unsqueeze(const EvalContext& ctx);
Outputs evaluate_identity(const EvalContext& ctx);

namespace {

Status check_reshape(std::span<const std::int64_t> wanted, std::optional<std::size_t> rank, bool allow_zero) {
  bool inferred = false, zero = false;
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (wanted[i] < -1) return fail_operand(1, "shape", "entry {} is {}, expected -1 or more", i, wanted[i]);
    if (wanted[i] == -1 && inferred) return fail_operand(1, "shape", "{} has more than one -1", to_string(wanted));
    inferred = inferred || wanted[i] == -1;
    zero = zero || wanted[i] == 0;
    if (wanted[i] == 0 && !allow_zero && rank && i >= *rank) {
      return fail_operand(1, "shape", "entry {} is 0 (as the input), but the input has rank {}", i, *rank);
    }
  }
  if (allow_zero && inferred && zero) return fail_operand(1, "shape", "{} has both 0 and -1 with allowzero", to_string(wanted));
  return {};
}

}  // namespace

Result<Dims> reshaped_dims(const Dims& input, std::span<const std::int64_t> wanted, bool allow_zero) {
  BEVEL_TRY_STATUS(check_reshape(wanted, input.size(), allow_zero));
  Dims dims(wanted.begin(), wanted.end());
  std::optional<std::size_t> inferred;
  std::optional<std::int64_t> known = 1;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (dims[i] == 0 && !allow_zero) dims[i] = input[i];
    if (dims[i] == -1) inferred = i;
    else known = known ? checked_mul(*known, dims[i]) : std::nullopt;
  }
  const std::int64_t total = product(input, 0, input.size());
  if (inferred) {
    if (!known || *known == 0 || total % *known != 0) {
      return fail_operand(1, "shape", "{} does not divide the {} elements of {}", to_string(wanted), total, to_string(input));
    }
    dims[*inferred] = total / *known;
  } else if (element_count(dims) != total) {
    return fail_operand(1, "shape", "{} does not hold the {} elements of {}", to_string(wanted), total, to_string(input));
  }
  return dims;
}

Result<Dims> flattened_dims(const Dims& input, std::int64_t axis) {
  BEVEL_TRY(const std::int64_t normal, normalize_axis(axis, input.size(), true));
  const auto at = static_cast<std::size_t>(normal);
  return Dims{product(input, 0, at), product(input, at, input.size())};
}

Result<Dims> squeezed_dims(const Dims& input, const std::optional<std::vector<std::int64_t>>& axes) {
  std::vector<bool> removed(input.size(), false);
  if (axes) {
    BEVEL_TRY(const auto normal, normalize_axes(*axes, input.size()));
    for (const std::int64_t axis : normal) {
      const auto at = static_cast<std::size_t>(axis);
      if (input[at] != 1) return fail_input("axis {} of {} cannot be squeezed: it has {} elements", axis, to_string(input), input[at]);
      removed[at] = true;
    }
  } else {
    for (std::size_t i = 0; i < input.size(); ++i) removed[i] = input[i] == 1;
  }
  Dims dims;
  for (std::size_t i = 0; i < input.size(); ++i) {
    if (!removed[i]) dims.push_back(input[i]);
  }
  return dims;
}

namespace {

// Which axes of the result are new; the others take the input's in order.
Result<std::vector<bool>> inserted_axes(std::size_t rank, std::span<const std::int64_t> axes) {
  if (axes.size() > 64) return fail_operand(1, "axes", "has {} entries, expected at most 64", axes.size());
  const std::size_t out_rank = rank + axes.size();
  BEVEL_TRY(const auto normal, normalize_axes(axes, out_rank));
  std::vector<bool> inserted(out_rank, false);
  for (const std::int64_t axis : normal) inserted[static_cast<std::size_t>(axis)] = true;
  return inserted;
}

}  // namespace

Result<Dims> unsqueezed_dims(const Dims& input, std::span<const std::int64_t> axes) {
  BEVEL_TRY(const std::vector<bool> inserted, inserted_axes(input.size(), axes));
  Dims dims;
  std::size_t next = 0;
  for (const bool is_new : inserted) dims.push_back(is_new ? 1 : input[next++]);
  return dims;
}

namespace {

// The extents that cancel between a partly known input and the wanted shape leave -1 as the quotient of the rest.
Dim infer_rest(const Shape& input, const std::vector<Dim>& dims, std::size_t at) {
  std::vector<Dim> above(input.dims), below;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    if (i != at) below.push_back(dims[i]);
  }
  std::optional<std::int64_t> a = 1, b = 1;
  for (auto below_it = below.begin(); below_it != below.end();) {
    const auto match = below_it->named() ? std::find_if(above.begin(), above.end(), [&](const Dim& d) {
      return d.named() && d.symbol == below_it->symbol;
    }) : above.end();
    if (match != above.end()) {
      above.erase(match);
      below_it = below.erase(below_it);
    } else {
      ++below_it;
    }
  }
  Dim symbol;
  std::size_t unknown = 0;
  for (const Dim& dim : above) {
    if (dim.known()) a = a ? checked_mul(*a, dim.value) : std::nullopt;
    else {
      ++unknown;
      symbol = dim;
    }
  }
  for (const Dim& dim : below) {
    if (!dim.known()) return {};
    b = b ? checked_mul(*b, dim.value) : std::nullopt;
  }
  if (!a || !b || *b == 0) return {};
  if (unknown == 0 && *a % *b == 0) return Dim(*a / *b);
  if (unknown == 1 && *a == *b && symbol.named()) return symbol;
  return {};
}

Status infer_reshape(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_dtype(input_dtype(ctx, 1), 1, "shape", {DType::int64}));
  BEVEL_TRY(const bool allow_zero, attr_flag(ctx.node(), "allowzero", false));
  const Shape& input = input_shape(ctx, 0);
  const auto wanted = constant_ints(ctx.input_constant(1));
  const auto partial = ctx.input_ints(1);
  Shape result;
  if (wanted && input.known_dims()) {
    BEVEL_TRY(const Dims dims, reshaped_dims(*input.known_dims(), *wanted, allow_zero));
    result = Shape::of(dims);
  } else if (wanted || partial) {
    const std::size_t rank = wanted ? wanted->size() : partial->size();
    if (wanted) {
      BEVEL_TRY_STATUS(check_reshape(*wanted, input.has_rank ? std::optional(input.rank()) : std::nullopt, allow_zero));
    }
    std::vector<Dim> dims(rank);
    std::size_t rest = rank;  // the entry that the others leave
    for (std::size_t i = 0; i < rank; ++i) {
      if (wanted && (*wanted)[i] == -1) {
        rest = i;
      } else if (!wanted || (*wanted)[i] > 0 || allow_zero) {
        dims[i] = wanted ? Dim((*wanted)[i]) : (*partial)[i];
        if (!wanted && dims[i].known() && dims[i].value == 0 && !allow_zero) dims[i] = i < input.rank() ? input.dims[i] : Dim();
      } else if (input.has_rank) {
        dims[i] = input.dims[i];
      }
    }
    // Whatever stands in a single unknown entry (-1, or an extent computed at run time), the elements must come out even.
    std::size_t unknown = 0;
    for (std::size_t i = 0; i < rank && !wanted; ++i) {
      if (dims[i].known() || dims[i].named()) continue;
      ++unknown;
      rest = i;
    }
    if (rest < rank && unknown <= 1 && input.has_rank) dims[rest] = infer_rest(input, dims, rest);
    result = Shape(std::move(dims));
  } else if (const Shape& list = input_shape(ctx, 1); list.rank() == 1 && list.dims[0].known() && list.dims[0].value <= 64) {
    result = unknown_dims(static_cast<std::size_t>(list.dims[0].value));
  }
  const bool flat = result.has_rank && result.rank() <= 1 && input.has_rank && input.rank() <= 1;
  set_output_like_input(ctx, std::move(result));
  if (const auto ints = ctx.input_ints(0); ints && flat) ctx.set_output_ints(0, *ints);
  return {};
}

Status infer_flatten(InferContext& ctx) {
  BEVEL_TRY(const std::int64_t axis, attr_int(ctx.node(), "axis", 1));
  const Shape& input = input_shape(ctx, 0);
  if (!input.has_rank) {
    set_output_like_input(ctx, unknown_dims(2));
    return {};
  }
  BEVEL_TRY(const std::int64_t normal, normalize_axis(axis, input.rank(), true));
  const auto fold = [&input](std::size_t first, std::size_t last) {
    std::optional<std::int64_t> known = 1;
    Dim symbol;
    std::size_t unknown = 0;
    for (std::size_t i = first; i < last; ++i) {
      if (input.dims[i].known()) {
        known = known ? checked_mul(*known, input.dims[i].value) : std::nullopt;
      } else {
        ++unknown;
        symbol = input.dims[i];
      }
    }
    if (known && unknown == 0) return Dim(*known);
    return known == 1 && unknown == 1 ? symbol : Dim();
  };
  set_output_like_input(ctx, Shape({fold(0, static_cast<std::size_t>(normal)), fold(static_cast<std::size_t>(normal), input.rank())}));
  return {};
}

void pass_ints(InferContext& ctx, std::size_t out_rank) {
  if (input_shape(ctx, 0).rank() > 1 || out_rank > 1) return;
  if (const auto ints = ctx.input_ints(0)) ctx.set_output_ints(0, *ints);
}

Status infer_squeeze(InferContext& ctx) {
  BEVEL_TRY(const ListOperand axes, infer_list(ctx, 1, "axes"));
  const Shape& input = input_shape(ctx, 0);
  Shape result;
  if (input.has_rank && axes.present && axes.values) {
    BEVEL_TRY(const auto normal, normalize_axes(*axes.values, input.rank()));
    std::vector<Dim> dims;
    for (std::size_t i = 0; i < input.rank(); ++i) {
      if (std::find(normal.begin(), normal.end(), static_cast<std::int64_t>(i)) == normal.end()) {
        dims.push_back(input.dims[i]);
      } else if (input.dims[i].known() && input.dims[i].value != 1) {
        return fail_input("axis {} cannot be squeezed: it has {} elements", i, input.dims[i].value);
      }
    }
    result = Shape(std::move(dims));
  } else if (!axes.present && input.known_dims()) {
    BEVEL_TRY(const Dims dims, squeezed_dims(*input.known_dims(), std::nullopt));
    result = Shape::of(dims);
  }
  const bool known = result.has_rank;
  const std::size_t rank = result.rank();
  set_output_like_input(ctx, std::move(result));
  if (known) pass_ints(ctx, rank);
  return {};
}

Status infer_unsqueeze(InferContext& ctx) {
  BEVEL_TRY(const ListOperand axes, infer_list(ctx, 1, "axes"));
  if (!axes.present) return fail_input("'axes' is missing");
  const Shape& input = input_shape(ctx, 0);
  if (!input.has_rank || !axes.values) {
    set_output_like_input(ctx, {});
    return {};
  }
  BEVEL_TRY(const std::vector<bool> inserted, inserted_axes(input.rank(), *axes.values));
  std::vector<Dim> dims;
  std::size_t next = 0;
  for (const bool is_new : inserted) dims.push_back(is_new ? Dim(1) : input.dims[next++]);
  const std::size_t rank = dims.size();
  set_output_like_input(ctx, Shape(std::move(dims)));
  pass_ints(ctx, rank);
  return {};
}

Status infer_identity(InferContext& ctx) {
  BEVEL_TRY_STATUS(infer_same_type(ctx));
  if (const auto ints = ctx.input_ints(0)) ctx.set_output_ints(0, *ints);
  return {};
}

Facts reshape_facts(const FactsContext& ctx) {
  const Shape& input = input_shape(ctx, 0);
  const Shape& output = output_shape(ctx, 0);
  Facts facts = move_facts(reshape_space(input, output), LayoutRule::logical);
  facts.value.identity = input.is_static() && output.is_static() && input.known_dims() == output.known_dims();
  return facts;
}

Facts identity_facts(const FactsContext& ctx) {
  Facts facts = move_facts(elementwise_space(ctx, 1), LayoutRule::follow);
  if (facts.space.kind == OpKind::elementwise) facts.space.kind = OpKind::move;
  facts.value.identity = true;
  return facts;
}

// Opset 13 made the axes an input.
Status upgrade_axes(Model& model, NodeId node, int from) {
  return from == 12 ? attribute_to_input(model, node, "axes", 1) : Status{};
}
Status downgrade_axes(Model& model, NodeId node, int from) {
  return from == 13 ? input_to_attribute(model, node, "axes", 1) : Status{};
}

}  // namespace

extern const OpRecord reshape_record{.name = "Reshape", .min_inputs = 2, .max_inputs = 2, .infer = infer_reshape,
                        .facts = reshape_facts, .evaluate = evaluate_reshape, .lower = lower_view};
extern const OpRecord flatten_record{.name = "Flatten", .infer = infer_flatten, .facts = reshape_facts, .evaluate = evaluate_flatten, .lower = lower_view};
extern const OpRecord squeeze_record{.name = "Squeeze", .max_inputs = 2, .infer = infer_squeeze, .facts = reshape_facts,
                        .evaluate = evaluate_squeeze, .upgrade = upgrade_axes, .downgrade = downgrade_axes, .lower = lower_view};
extern const OpRecord unsqueeze_record{.name = "Unsqueeze", .max_inputs = 2, .infer = infer_unsqueeze, .facts = reshape_facts,
                          .evaluate = evaluate_unsqueeze, .upgrade = upgrade_axes, .downgrade = downgrade_axes, .lower = lower_view};
extern const OpRecord identity_record{.name = "Identity", .infer = infer_identity, .facts = identity_facts,
                         .evaluate = evaluate_identity, .lower = lower_view, .any_kind = true};

}  // namespace bevel::ops
