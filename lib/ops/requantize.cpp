#include "lib/ops/requantize.h"

#include <algorithm>

namespace bevel::ops {

float round_half_even(float x) {
  constexpr float kOne = 8388608.0f;  // 2^23: from here on every float is an integer
  if (!(x > -kOne && x < kOne)) return x;
  // Adding 2^23 leaves no fraction bits; the addition itself rounds half to even. Signs apart, so that -0.3 gives -0.
  const float a = x < 0 ? -x : x;
  volatile float sum = a + kOne;
  const float r = sum - kOne;
  return x < 0 ? -r : r;
}

double round_half_even(double x) {
  constexpr double kOne = 4503599627370496.0;  // 2^52
  if (!(x > -kOne && x < kOne)) return x;
  const double a = x < 0 ? -x : x;
  volatile double sum = a + kOne;
  const double r = sum - kOne;
  return x < 0 ? -r : r;
}

Result<std::vector<std::int32_t>> zero_points(const EvalContext& ctx, std::size_t i, std::string_view role, DType dtype,
                                              std::int64_t channels) {
  if (!ctx.has_input(i)) return std::vector<std::int32_t>{0};
  const Tensor& tensor = ctx.tensor(i);
  if (tensor.dtype() != dtype) {
    return fail_operand(i, role, "element type is {}, expected {}", dtype_name(tensor.dtype()), dtype_name(dtype));
  }
  if (tensor.size() != 1 && tensor.size() != channels) {
    return fail_operand(i, role, "has {} elements, expected 1 or {}", tensor.size(), channels);
  }
  std::vector<std::int32_t> result;
  for (const std::int64_t value : tensor.as_int64s()) result.push_back(static_cast<std::int32_t>(value));
  return result;
}

Result<std::vector<float>> scales(const EvalContext& ctx, std::size_t i, std::string_view role, std::int64_t channels) {
  const Tensor& tensor = ctx.tensor(i);
  if (!is_plain_float(tensor.dtype())) {
    return fail_operand(i, role, "element type is {}, expected a floating type", dtype_name(tensor.dtype()));
  }
  if (tensor.size() != 1 && tensor.size() != channels) {
    return fail_operand(i, role, "has {} elements, expected 1 or {}", tensor.size(), channels);
  }
  return tensor.as_floats();
}

std::vector<std::int32_t> centred(const Tensor& x, std::int32_t zero_point) {
  std::vector<std::int32_t> result(static_cast<std::size_t>(x.size()));
  dispatch_integers(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto values = x.values<T>();
    for (std::size_t i = 0; i < result.size(); ++i) result[i] = static_cast<std::int32_t>(values[i]) - zero_point;
  });
  return result;
}

std::int64_t quantize(double scaled, std::int64_t zero_point, IntegerRange range) {
  const double q = round_half_even(scaled) + static_cast<double>(zero_point);
  const auto low = static_cast<double>(range.low), high = static_cast<double>(range.high);
  return static_cast<std::int64_t>(q > low ? (q < high ? q : high) : low);
}

std::int32_t requantize(std::int64_t acc, float multiplier, std::int32_t zero_point, IntegerRange range) {
  return static_cast<std::int32_t>(quantize(static_cast<double>(static_cast<float>(acc) * multiplier), zero_point, range));
}

}  // namespace bevel::ops
