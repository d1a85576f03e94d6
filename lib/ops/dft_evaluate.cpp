// Signals are transformed in double (fourier.h) and rounded once.
#include "lib/ops/dft.h"

#include <algorithm>

#include "lib/ops/fourier.h"
#include "lib/ops/scalar_operand.h"

namespace bevel::ops {
namespace {

Result<std::int64_t> components_of(const Tensor& signal, std::size_t i, std::string_view role) {
  if (!is_plain_float(signal.dtype())) return fail_dtype(signal.dtype(), role);
  if (signal.rank() < 2) return fail_operand(i, role, "rank is {}, expected 2 or more", signal.rank());
  const std::int64_t components = signal.dims().back();
  if (components != 1 && components != 2) {
    return fail_operand(i, role, "the last dimension is {}, expected 1 (real) or 2 (complex)", components);
  }
  return components;
}

// What a transform of this length holds beside its operands.
Status admit_transform(const EvalContext& ctx, std::int64_t length) {
  constexpr std::int64_t kLongest = std::int64_t{1} << 40;  // twice it, padded, stays far from overflow
  if (length < 1) return fail_input("a transform of length {}, expected 1 or more", length);
  if (length > kLongest) return fail_input("a transform of length {} is beyond the limit of {}", length, kLongest);
  const std::int64_t scratch = static_cast<std::int64_t>(FourierTransform::scratch_elements(static_cast<std::size_t>(length)));
  const std::int64_t dims[] = {scratch + length, 2};
  return ctx.reserve(DType::float64, dims);
}

// Reads a signal of strided elements, zero beyond its end.
struct SignalReader {
  const std::vector<double>& values;
  std::int64_t components, stride, extent;  // stride: elements between samples

  [[nodiscard]] Complex at(std::int64_t base, std::int64_t n) const {
    if (n >= extent) return {};
    const auto index = static_cast<std::size_t>(base + n * stride);
    return {values[index], components == 2 ? values[index + 1] : 0.0};
  }
};

}  // namespace

Outputs evaluate_dft(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const std::int64_t components, components_of(x, 0, "input"));
  BEVEL_TRY(const bool inverse, attr_flag(ctx.node(), "inverse", false));
  BEVEL_TRY(const bool onesided, attr_flag(ctx.node(), "onesided", false));
  std::int64_t given = -2;
  if (ctx.opset() < 20) {
    BEVEL_TRY(given, attr_int(ctx.node(), "axis", 1));
  } else if (ctx.has_input(2)) {
    BEVEL_TRY(given, scalar_int(ctx, 2, "axis"));
  }
  BEVEL_TRY(const std::int64_t normal, dft_axis(given, x.rank()));
  const auto axis = static_cast<std::size_t>(normal);
  const std::int64_t extent = x.dim(axis);
  std::int64_t length = default_dft_length(extent, inverse && onesided);
  if (ctx.has_input(1)) {
    BEVEL_TRY(length, scalar_int(ctx, 1, "dft_length"));
  }
  if (onesided && !inverse && components == 2) {
    return fail_operand(0, "input", "is complex, but a one-sided spectrum is that of a real signal");
  }
  BEVEL_TRY_STATUS(admit_transform(ctx, length));
  const bool half_in = inverse && onesided, half_out = onesided && !inverse;
  const std::int64_t bins = half_out ? length / 2 + 1 : length, out_components = half_in ? 1 : 2;
  Dims dims = x.dims();
  dims[axis] = bins;
  dims.back() = out_components;
  BEVEL_TRY_STATUS(ctx.reserve(DType::float64, dims));
  BEVEL_TRY_STATUS(ctx.reserve(DType::float64, x.dims()));
  const std::vector<double> values = to_doubles(x);
  std::vector<double> results(static_cast<std::size_t>(*element_count(dims)));
  // Rows: everything before the axis, then everything between it and the components.
  const std::int64_t outer = product(x.dims(), 0, axis), inner = product(x.dims(), axis + 1, x.rank() - 1);
  const SignalReader reader{values, components, inner * components, half_in ? std::min(extent, length / 2 + 1) : extent};
  FourierTransform transform(static_cast<std::size_t>(length), inverse);
  std::vector<Complex> signal(static_cast<std::size_t>(length));
  for (std::int64_t row = 0; row < outer * inner; ++row) {
    const std::int64_t before = row / inner, within = row % inner;
    const std::int64_t base = (before * extent * inner + within) * components;
    const std::int64_t stated = half_in ? length / 2 + 1 : length;
    for (std::int64_t n = 0; n < stated; ++n) signal[static_cast<std::size_t>(n)] = reader.at(base, n);
    if (half_in) {
      // The other half is the conjugate; what is its own mirror image is real.
      signal[0].im = 0;
      if (length % 2 == 0) signal[static_cast<std::size_t>(length / 2)].im = 0;
      for (std::int64_t n = stated; n < length; ++n) {
        signal[static_cast<std::size_t>(n)] = conjugate(signal[static_cast<std::size_t>(length - n)]);
      }
    }
    transform.run(signal.data());
    const std::int64_t to = (before * bins * inner + within) * out_components;
    for (std::int64_t k = 0; k < bins; ++k) {
      const auto index = static_cast<std::size_t>(to + k * inner * out_components);
      results[index] = signal[static_cast<std::size_t>(k)].re;
      if (out_components == 2) results[index + 1] = signal[static_cast<std::size_t>(k)].im;
    }
  }
  return std::vector<Datum>{from_doubles(x.dtype(), std::move(dims), results)};
}

Outputs evaluate_stft(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  if (x.rank() != 3) return fail_operand(0, "signal", "rank is {}, expected 3", x.rank());
  BEVEL_TRY(const std::int64_t components, components_of(x, 0, "signal"));
  BEVEL_TRY(const std::int64_t step, scalar_int(ctx, 1, "frame_step"));
  BEVEL_TRY(const bool onesided, attr_flag(ctx.node(), "onesided", true));
  const std::int64_t samples = x.dim(1);
  std::int64_t length = samples;
  if (ctx.has_input(3)) {
    BEVEL_TRY(length, scalar_int(ctx, 3, "frame_length"));
  } else if (ctx.has_input(2)) {
    length = ctx.tensor(2).size();
  }
  std::vector<double> window;
  if (ctx.has_input(2)) {
    const Tensor& given = ctx.tensor(2);
    if (!is_plain_float(given.dtype())) return fail_dtype(given.dtype(), "the window");
    if (given.rank() != 1 || given.size() != length) {
      return fail_operand(2, "window", "is {}, expected [{}], the frame_length", to_string(given.dims()), length);
    }
    window = to_doubles(given);
  }
  if (step < 1) return fail_operand(1, "frame_step", "is {}, expected 1 or more", step);
  if (onesided && components == 2) return fail_operand(0, "signal", "is complex, but a one-sided spectrum is that of a real signal");
  BEVEL_TRY_STATUS(admit_transform(ctx, length));
  if (length > samples) return fail_input("a frame of {} does not fit into a signal of {} samples", length, samples);
  const std::int64_t frames = (samples - length) / step + 1, bins = onesided ? length / 2 + 1 : length;
  Dims dims{x.dim(0), frames, bins, 2};
  BEVEL_TRY_STATUS(ctx.reserve(DType::float64, dims));
  BEVEL_TRY_STATUS(ctx.reserve(DType::float64, x.dims()));
  const std::vector<double> values = to_doubles(x);
  const SignalReader reader{values, components, components, samples};
  std::vector<double> results(static_cast<std::size_t>(*element_count(dims)));
  FourierTransform transform(static_cast<std::size_t>(length), false);
  std::vector<Complex> frame(static_cast<std::size_t>(length));
  std::size_t to = 0;
  for (std::int64_t row = 0; row < x.dim(0) * frames; ++row) {
    const std::int64_t base = row / frames * samples * components, first = row % frames * step;
    for (std::int64_t n = 0; n < length; ++n) {
      const Complex value = reader.at(base, first + n);
      const double weight = window.empty() ? 1.0 : window[static_cast<std::size_t>(n)];
      frame[static_cast<std::size_t>(n)] = {value.re * weight, value.im * weight};
    }
    transform.run(frame.data());
    for (std::int64_t k = 0; k < bins; ++k) {
      results[to++] = frame[static_cast<std::size_t>(k)].re;
      results[to++] = frame[static_cast<std::size_t>(k)].im;
    }
  }
  return std::vector<Datum>{from_doubles(x.dtype(), std::move(dims), results)};
}

}  // namespace bevel::ops
