// DFT (ONNX opsets 17, 20) and STFT (17). Opset 20 made DFT's axis an input, with another default: the last signal axis instead of
// axis 1. Both are read here. Real signals end in a dimension of 1, complex ones in 2 (real, imaginary).
#include "lib/ops/dft.h"

#include "lib/ops/scalar_operand.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

// The dimension that tells real from complex.
Status check_components(const InferContext& ctx, std::size_t i, std::string_view role) {
  const Shape& shape = input_shape(ctx, i);
  if (!shape.has_rank || shape.rank() == 0 || !shape.dims.back().known()) return {};
  const std::int64_t components = shape.dims.back().value;
  if (components == 1 || components == 2) return {};
  return fail_operand(i, role, "the last dimension is {}, expected 1 (real) or 2 (complex)", components);
}

Status infer_dft(InferContext& ctx) {
  const DType dtype = input_dtype(ctx, 0);
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "input", 2));
  BEVEL_TRY_STATUS(check_components(ctx, 0, "input"));
  BEVEL_TRY(const bool inverse, attr_flag(ctx.node(), "inverse", false));
  BEVEL_TRY(const bool onesided, attr_flag(ctx.node(), "onesided", false));
  const Shape& input = input_shape(ctx, 0);
  if (!input.has_rank) {
    ctx.set_output(0, Type::tensor(dtype));
    return {};
  }
  std::optional<std::int64_t> given;
  if (ctx.opset() < 20) {
    BEVEL_TRY(given, attr_int(ctx.node(), "axis", 1));
  } else {
    given = ctx.has_input(2) ? known_scalar_int(ctx, 2) : -2;
  }
  Shape shape = input;
  for (Dim& dim : shape.dims) dim.denotation.clear();
  if (!given) {
    for (Dim& dim : shape.dims) dim = Dim();
  } else {
    BEVEL_TRY(const std::int64_t axis, dft_axis(*given, input.rank()));
    std::optional<std::int64_t> length;
    if (ctx.has_input(1)) length = known_scalar_int(ctx, 1);
    else if (input.dims[static_cast<std::size_t>(axis)].known()) length = default_dft_length(input.dims[static_cast<std::size_t>(axis)].value, inverse && onesided);
    Dim& along = shape.dims[static_cast<std::size_t>(axis)];
    if (length) along = *length < 1 ? Dim() : Dim(onesided && !inverse ? *length / 2 + 1 : *length);
    else if (ctx.has_input(1) || onesided) along = Dim();  // else it keeps its name
  }
  shape.dims.back() = Dim(inverse && onesided ? 1 : 2);
  ctx.set_output(0, Type::tensor(dtype, std::move(shape)));
  return {};
}

Status infer_stft(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "signal", 3, 3));
  BEVEL_TRY_STATUS(expect_rank(ctx, 2, "window", 1, 1));
  BEVEL_TRY_STATUS(check_components(ctx, 0, "signal"));
  BEVEL_TRY(const bool onesided, attr_flag(ctx.node(), "onesided", true));
  Shape shape = unknown_dims(4);
  shape.dims[3] = Dim(2);
  const Shape& signal = input_shape(ctx, 0);
  std::optional<std::int64_t> samples;
  if (signal.has_rank) {
    shape.dims[0] = signal.dims[0];
    shape.dims[0].denotation.clear();
    if (signal.dims[1].known()) samples = signal.dims[1].value;
  }
  std::optional<std::int64_t> length;
  if (ctx.has_input(3)) length = known_scalar_int(ctx, 3);
  else if (ctx.has_input(2)) {
    const Shape& window = input_shape(ctx, 2);
    if (window.has_rank && window.dims[0].known()) length = window.dims[0].value;
  } else {
    length = samples;
  }
  const auto step = known_scalar_int(ctx, 1);
  if (length && *length > 0) {
    shape.dims[2] = Dim(onesided ? *length / 2 + 1 : *length);
    if (samples && step && *step > 0 && *samples >= *length) shape.dims[1] = Dim((*samples - *length) / *step + 1);
  }
  ctx.set_output(0, Type::tensor(input_dtype(ctx, 0), std::move(shape)));
  return {};
}

}  // namespace

Result<std::int64_t> dft_axis(std::int64_t axis, std::size_t rank) {
  const auto normal = normalize_axis(axis, rank);
  if (!normal || *normal + 1 == static_cast<std::int64_t>(rank)) {
    return fail_input("axis {} is not a signal axis of rank {} (the last dimension holds the components)", axis, rank);
  }
  return *normal;
}

std::int64_t default_dft_length(std::int64_t extent, bool half_spectrum) {
  return half_spectrum && extent > 0 && extent <= (std::int64_t{1} << 61) ? 2 * (extent - 1) : extent;
}

extern const OpRecord dft_record{.name = "DFT", .since = 17, .max_inputs = 3, .infer = infer_dft, .evaluate = evaluate_dft};
extern const OpRecord stft_record{.name = "STFT", .since = 17, .min_inputs = 2, .max_inputs = 4, .infer = infer_stft,
                                  .evaluate = evaluate_stft};

}  // namespace bevel::ops
