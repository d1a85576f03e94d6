// Two steps in blocks: any element type to a wide one (int64, uint64 or double, exactly), then that to the target. Floats go to
// integers by truncation; what the spec leaves undefined (out of range) wraps from 64 bits, as NumPy and ONNX Runtime do on x86.
#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <limits>

#include "lib/ops/movement.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

constexpr std::int64_t kBlock = 1024;

template <typename Wide>
void widen(const Tensor& x, std::int64_t first, std::span<Wide> block) {
  const auto at = static_cast<std::size_t>(first);
  const bool plain = dispatch_numeric(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto values = x.values<T>().subspan(at, block.size());
    for (std::size_t i = 0; i < block.size(); ++i) block[i] = static_cast<Wide>(load(values[i]));
  });
  if (plain) return;
  for (std::size_t i = 0; i < block.size(); ++i) {
    const std::int64_t index = first + static_cast<std::int64_t>(i);
    if constexpr (std::is_same_v<Wide, double>) block[i] = x.as_double(index);
    else block[i] = static_cast<Wide>(x.as_int64(index));
  }
}

std::int64_t truncate(double value) {
  if (!(value > -0x1p63 && value < 0x1p64)) return std::numeric_limits<std::int64_t>::min();
  return value < 0x1p63 ? static_cast<std::int64_t>(value) : static_cast<std::int64_t>(static_cast<std::uint64_t>(value));
}

// How Cast goes to a type that has not the value: what its attributes say.
struct Narrowing {
  bool saturate = true;
  enum class E8M0 : std::uint8_t { up, down, nearest } round_mode = E8M0::up;  // opset 24
};

// Powers of two from 2^-127 to 2^127. ONNX's table leaves negative values open: they go by their magnitude.
std::uint8_t narrow_float8e8m0(float value, const Narrowing& how) {
  constexpr std::uint8_t kNan = 0xFF, kLargest = 0xFE, kSmallest = 0;
  constexpr int kBias = 127;
  if (std::isnan(value)) return kNan;
  if (std::isinf(value)) return how.saturate ? kLargest : kNan;
  if (value == 0) return how.saturate ? kSmallest : kNan;
  int exponent = 0;
  const float fraction = 2 * std::frexp(std::fabs(value), &exponent);  // |value| = fraction * 2^(exponent - 1), in [1, 2)
  --exponent;
  const float limit = how.round_mode == Narrowing::E8M0::nearest ? 1.5f : 2.0f;  // ties round up
  if (how.round_mode == Narrowing::E8M0::up ? fraction > 1 : fraction >= limit) ++exponent;
  if (exponent < -kBias) return how.saturate ? kSmallest : kNan;
  if (exponent > kBias) return how.saturate ? kLargest : kNan;
  return static_cast<std::uint8_t>(exponent + kBias);
}

template <typename Wide>
void narrow(std::span<const Wide> block, Tensor& out, std::int64_t first, const Narrowing& how) {
  const auto at = static_cast<std::size_t>(first);
  const DType dtype = out.dtype();
  const bool plain = dispatch_numeric(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    auto values = out.mutable_values<T>().subspan(at, block.size());
    for (std::size_t i = 0; i < block.size(); ++i) {
      if constexpr (std::is_integral_v<T> && std::is_same_v<Wide, double>) values[i] = static_cast<T>(truncate(block[i]));
      else values[i] = store<T>(static_cast<ComputeOf<T>>(block[i]));
    }
  });
  if (plain) return;
  for (std::size_t i = 0; i < block.size(); ++i) {
    const std::int64_t index = first + static_cast<std::int64_t>(i);
    if (dtype == DType::boolean) {
      out.set_from_int64(index, block[i] != Wide(0));
    } else if (is_integer(dtype)) {
      if constexpr (std::is_same_v<Wide, double>) out.set_from_int64(index, truncate(block[i]));
      else out.set_from_int64(index, static_cast<std::int64_t>(block[i]));
    } else if (dtype == DType::float4e2m1) {
      out.set_from_double(index, static_cast<double>(block[i]));
    } else {
      const auto value = static_cast<float>(block[i]);
      out.mutable_values<std::uint8_t>()[static_cast<std::size_t>(index)] =
          dtype == DType::float8e8m0 ? narrow_float8e8m0(value, how) : narrow_small_float(dtype, value, how.saturate);
    }
  }
}

template <typename Wide>
void convert(const Tensor& x, Tensor& out, const Narrowing& how) {
  std::array<Wide, kBlock> buffer{};
  for (std::int64_t first = 0; first < x.size(); first += kBlock) {
    const auto count = static_cast<std::size_t>(std::min(kBlock, x.size() - first));
    const std::span<Wide> block(buffer.data(), count);
    widen<Wide>(x, first, block);
    narrow<Wide>(block, out, first, how);
  }
}

// Plain decimal or scientific text; INF and NaN as the spec names them.
Result<double> parse_number(const std::string& text) {
  std::string_view rest = text;
  while (!rest.empty() && rest.front() == ' ') rest.remove_prefix(1);
  while (!rest.empty() && rest.back() == ' ') rest.remove_suffix(1);
  if (rest.starts_with('+')) rest.remove_prefix(1);
  double value = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), value);  // reads inf and nan in any case
  if (error == std::errc::result_out_of_range) {
    // Too large or too small: the text says which by its exponent's sign.
    const bool tiny = rest.find("e-") != rest.npos || rest.find("E-") != rest.npos;
    return rest.starts_with('-') ? (tiny ? -0.0 : -HUGE_VAL) : (tiny ? 0.0 : HUGE_VAL);
  }
  if (error != std::errc() || end != rest.data() + rest.size()) return fail_input("'{}' is not a number", printable(text));
  return value;
}

Result<Tensor> from_strings(const Tensor& x, DType to, const Narrowing& how) {
  Tensor out = Tensor::zeros(to, x.dims());
  for (std::int64_t i = 0; i < x.size(); ++i) {
    const std::string& text = x.strings()[static_cast<std::size_t>(i)];
    std::int64_t whole = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), whole);
    if (is_integer(to) && error == std::errc() && end == text.data() + text.size()) {
      out.set_from_int64(i, whole);
      continue;
    }
    BEVEL_TRY(const double value, parse_number(text));
    narrow<double>(std::span(&value, 1), out, i, how);
  }
  return out;
}

std::string to_text(const Tensor& x, std::int64_t i) {
  if (x.dtype() == DType::boolean) return x.as_int64(i) ? "1" : "0";
  if (x.dtype() == DType::uint64) return std::to_string(static_cast<std::uint64_t>(x.as_int64(i)));
  if (is_integer(x.dtype())) return std::to_string(x.as_int64(i));
  const double value = x.as_double(i);
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value < 0 ? "-INF" : "INF";
  // The shortest text that reads back to the same value of its type.
  return x.dtype() == DType::float64 ? fmt::format("{}", value) : fmt::format("{}", static_cast<float>(value));
}

Result<Narrowing> narrowing_of(const Node& node) {
  Narrowing how;
  BEVEL_TRY(how.saturate, attr_flag(node, "saturate", true));
  BEVEL_TRY(const std::string mode, attr_string(node, "round_mode", "up"));
  if (mode == "down") how.round_mode = Narrowing::E8M0::down;
  else if (mode == "nearest") how.round_mode = Narrowing::E8M0::nearest;
  else if (mode != "up") return fail_input("attribute 'round_mode' is '{}', expected up, down or nearest", printable(mode));
  return how;
}

Result<Tensor> cast(const EvalContext& ctx, DType to) {
  BEVEL_TRY(const Narrowing how, narrowing_of(ctx.node()));
  const Tensor& x = ctx.tensor(0);
  const auto is_complex = [](DType dtype) { return dtype == DType::complex64 || dtype == DType::complex128; };
  if (x.dtype() == to) return x;
  if (is_complex(x.dtype()) || is_complex(to) || to == DType::undefined) {
    return fail_input("there is no cast from {} to {}", dtype_name(x.dtype()), dtype_name(to));
  }
  BEVEL_TRY_STATUS(ctx.reserve(to, x.dims()));
  if (x.dtype() == DType::string) return from_strings(x, to, how);
  if (to == DType::string) {
    std::vector<std::string> texts;
    for (std::int64_t i = 0; i < x.size(); ++i) texts.push_back(to_text(x, i));
    return Tensor::of_strings(x.dims(), std::move(texts));
  }
  Tensor out = Tensor::zeros(to, x.dims());
  if (x.dtype() == DType::uint64) convert<std::uint64_t>(x, out, how);
  else if (is_floating(x.dtype())) convert<double>(x, out, how);
  else convert<std::int64_t>(x, out, how);
  return out;
}

}  // namespace

Outputs evaluate_cast(const EvalContext& ctx) {
  BEVEL_TRY(const DType to, attr_dtype(ctx.node(), "to", DType::undefined));
  BEVEL_TRY(Tensor out, cast(ctx, to));
  return std::vector<Datum>{std::move(out)};
}

Outputs evaluate_cast_like(const EvalContext& ctx) {
  BEVEL_TRY(Tensor out, cast(ctx, ctx.tensor(1).dtype()));
  return std::vector<Datum>{std::move(out)};
}

}  // namespace bevel::ops
