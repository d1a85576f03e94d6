#include <algorithm>

#include "lib/ops/family.h"
#include "lib/ops/nn_families.h"
#include "lib/ops/requantize.h"

namespace bevel::ops {
namespace {

// Which scale serves element i of x: per tensor, per index of `axis`, or per block along it.
struct ScaleMap {
  std::int64_t inner = 1, extent = 1;  // of x: elements behind the axis, and along it
  std::int64_t block = 0;              // 0: per tensor; 1: per index of the axis
  std::int64_t blocks = 1;             // scales along the axis
  bool with_outer = false;             // blocked: the other axes index the scale as well
  [[nodiscard]] std::int64_t index(std::int64_t i) const {
    if (block == 0) return 0;
    const std::int64_t at = i / inner % extent / block;
    if (!with_outer) return at;
    return (i / inner / extent * blocks + at) * inner + i % inner;
  }
};

Result<ScaleMap> scale_map(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  const Tensor& scale = ctx.tensor(1);
  if (!is_plain_float(scale.dtype()) && scale.dtype() != DType::float8e8m0) {
    return fail_operand(1, "scale", "element type is {}, expected a floating type", dtype_name(scale.dtype()));
  }
  if (ctx.has_input(2) && ctx.tensor(2).dims() != scale.dims() && !(ctx.tensor(2).size() == 1 && scale.size() == 1)) {
    return fail_operand(2, "zero point", "has shape {}, expected {} as the scale", to_string(ctx.tensor(2).dims()),
                        to_string(scale.dims()));
  }
  BEVEL_TRY(const std::int64_t block, attr_int(ctx.node(), "block_size", 0));
  BEVEL_TRY(const std::int64_t raw_axis, attr_int(ctx.node(), "axis", 1));
  if (block < 0) return fail_input("attribute 'block_size' is {}, expected 0 or more", block);
  ScaleMap map;
  if (block == 0 && scale.rank() <= 1 && scale.size() == 1) return map;
  BEVEL_TRY(const std::int64_t signed_axis, normalize_axis(raw_axis, x.rank()));
  const auto axis = static_cast<std::size_t>(signed_axis);
  map.inner = product(x.dims(), axis + 1, x.rank());
  map.extent = x.dim(axis);
  if (block == 0) {
    if (scale.rank() != 1 || scale.dim(0) != map.extent) {
      return fail_operand(1, "scale", "has shape {}, expected one element or [{}] as axis {} of x",
                          to_string(scale.dims()), map.extent, axis);
    }
    map.block = 1;
    map.blocks = map.extent;
    return map;
  }
  Dims expected = x.dims();
  expected[axis] = expected[axis] / block + (expected[axis] % block != 0 ? 1 : 0);
  if (scale.dims() != expected) {
    return fail_operand(1, "scale", "has shape {}, expected {} for blocks of {} along axis {} of {}",
                        to_string(scale.dims()), to_string(expected), block, axis, to_string(x.dims()));
  }
  map.block = block;
  map.blocks = expected[axis];
  map.with_outer = true;
  return map;
}

bool quantizable(DType dtype) {
  return integer_range(dtype).has_value() ||
         (is_floating(dtype) && !is_plain_float(dtype) && dtype != DType::float8e8m0);
}

// Indices advance row by row, so that a scale is looked up once per run of `inner` elements.
template <typename Body>
void for_each_run(std::int64_t size, const ScaleMap& map, Body&& body) {
  const std::int64_t run = map.block == 0 ? size : map.with_outer ? 1 : map.inner;
  for (std::int64_t begin = 0; begin < size; begin += run) body(begin, std::min(size, begin + run), map.index(begin));
}

}  // namespace

// y = saturate(round_half_even(x / scale) + zero_point); float formats: saturate or not as the attribute says.
Outputs evaluate_quantize_linear(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const ScaleMap map, scale_map(ctx));
  BEVEL_TRY(const DType stated, attr_dtype(ctx.node(), "output_dtype", DType::undefined));
  BEVEL_TRY(const bool saturate, attr_flag(ctx.node(), "saturate", true));
  BEVEL_TRY(const DType precision, attr_dtype(ctx.node(), "precision", DType::undefined));
  const DType dtype = ctx.has_input(2) ? ctx.tensor(2).dtype() : stated != DType::undefined ? stated : DType::uint8;
  if (!quantizable(dtype)) return fail_input("quantizes to {}, which is no quantized type", dtype_name(dtype));
  if (stated != DType::undefined && stated != dtype) {
    return fail_operand(2, "y_zero_point", "element type is {}, but 'output_dtype' says {}", dtype_name(dtype),
                        dtype_name(stated));
  }
  if (!is_plain_float(x.dtype()) && x.dtype() != DType::int32) return fail_dtype(x.dtype(), "x");
  if (x.dtype() == DType::float64) return fail_dtype(x.dtype(), "x");
  BEVEL_TRY_STATUS(ctx.reserve(dtype, x.dims()));
  Tensor y = Tensor::zeros(dtype, x.dims());
  if (x.size() == 0) return std::vector<Datum>{std::move(y)};
  const std::vector<float> scale = ctx.tensor(1).as_floats();
  const std::vector<float> values = x.as_floats();
  const auto divide = [&](float value, float by) {
    const float quotient = value / by;
    if (precision == DType::float16) return widen_float16(narrow_float16(quotient));
    if (precision == DType::bfloat16) return widen_bfloat16(narrow_bfloat16(quotient));
    return quotient;
  };
  if (const auto range = integer_range(dtype)) {
    const auto run = [&](auto store_one) {
      for_each_run(x.size(), map, [&](std::int64_t begin, std::int64_t end, std::int64_t k) {
        const std::int64_t zero = ctx.has_input(2) ? ctx.tensor(2).as_int64(ctx.tensor(2).size() == 1 ? 0 : k) : 0;
        const float s = scale[static_cast<std::size_t>(k)];
        for (std::int64_t i = begin; i < end; ++i) {
          store_one(i, quantize(static_cast<double>(divide(values[static_cast<std::size_t>(i)], s)), zero, *range));
        }
      });
    };
    const bool direct = dispatch_integers(dtype, [&](auto tag) {
      using T = typename decltype(tag)::type;
      const auto out = y.mutable_values<T>();
      run([&](std::int64_t i, std::int64_t q) { out[static_cast<std::size_t>(i)] = static_cast<T>(q); });
    });
    if (!direct) run([&](std::int64_t i, std::int64_t q) { y.set_from_int64(i, q); });
    return std::vector<Datum>{std::move(y)};
  }
  if (ctx.has_input(2)) {
    for (std::int64_t k = 0; k < ctx.tensor(2).size(); ++k) {
      if (ctx.tensor(2).as_double(k) != 0)
        return fail_operand(2, "y_zero_point", "must be 0 for {}", dtype_name(dtype));
    }
  }
  const bool bytes = dtype_bits(dtype) == 8;
  for_each_run(x.size(), map, [&](std::int64_t begin, std::int64_t end, std::int64_t k) {
    for (std::int64_t i = begin; i < end; ++i) {
      const float quotient = divide(values[static_cast<std::size_t>(i)], scale[static_cast<std::size_t>(k)]);
      const std::uint8_t bits = narrow_small_float(dtype, quotient, saturate);
      if (bytes) {
        y.mutable_values<std::uint8_t>()[static_cast<std::size_t>(i)] = bits;
      } else {
        y.set_from_double(i, static_cast<double>(widen_small_float(dtype, bits)));
      }
    }
  });
  return std::vector<Datum>{std::move(y)};
}

// y = (x - zero_point) * scale in float32, rounded to the output's type.
Outputs evaluate_dequantize_linear(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const ScaleMap map, scale_map(ctx));
  BEVEL_TRY(const DType stated, attr_dtype(ctx.node(), "output_dtype", DType::undefined));
  const DType dtype = stated != DType::undefined ? stated : ctx.tensor(1).dtype();
  if (!is_plain_float(dtype) || dtype == DType::float64)
    return fail_input("dequantizes to {}, expected float, float16 or bfloat16", dtype_name(dtype));
  if (!quantizable(x.dtype())) return fail_dtype(x.dtype(), "x");
  if (ctx.has_input(2) && ctx.tensor(2).dtype() != x.dtype()) {
    return fail_operand(2, "x_zero_point", "element type is {}, expected {} as x", dtype_name(ctx.tensor(2).dtype()),
                        dtype_name(x.dtype()));
  }
  BEVEL_TRY_STATUS(ctx.reserve(DType::float32, x.dims()));
  BEVEL_TRY_STATUS(ctx.reserve(dtype, x.dims()));
  std::vector<float> out(static_cast<std::size_t>(x.size()));
  const std::vector<float> scale = ctx.tensor(1).as_floats();
  const bool integer = is_integer(x.dtype());
  const auto run = [&](auto element) {
    if (x.size() == 0) return;
    for_each_run(x.size(), map, [&](std::int64_t begin, std::int64_t end, std::int64_t k) {
      const float s = scale[static_cast<std::size_t>(k)];
      const std::int64_t at = ctx.has_input(2) && ctx.tensor(2).size() > 1 ? k : 0;
      const std::int64_t zero = ctx.has_input(2) && integer ? ctx.tensor(2).as_int64(at) : 0;
      const float float_zero = ctx.has_input(2) && !integer ? static_cast<float>(ctx.tensor(2).as_double(at)) : 0.0f;
      for (std::int64_t i = begin; i < end; ++i) out[static_cast<std::size_t>(i)] = element(i, zero, float_zero) * s;
    });
  };
  const bool direct = dispatch_integers(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto in = x.values<T>();
    run([&](std::int64_t i, std::int64_t zero, float) {
      return static_cast<float>(static_cast<std::int64_t>(in[static_cast<std::size_t>(i)]) - zero);
    });
  });
  if (!direct && integer)
    run([&](std::int64_t i, std::int64_t zero, float) { return static_cast<float>(x.as_int64(i) - zero); });
  if (!direct && !integer)
    run([&](std::int64_t i, std::int64_t, float zero) { return static_cast<float>(x.as_double(i)) - zero; });
  if (dtype == DType::float32) return std::vector<Datum>{Tensor::of<float>(x.dims(), out)};
  return std::vector<Datum>{from_floats(dtype, x.dims(), out)};
}

// scale = (max(x, 0) - min(x, 0)) / 255, zero point = round(-min / scale), all in float32.
Outputs evaluate_dynamic_quantize_linear(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  if (x.dtype() != DType::float32) return fail_dtype(x.dtype(), "x");
  BEVEL_TRY_STATUS(ctx.reserve(DType::uint8, x.dims()));
  float low = 0, high = 0;
  for (const float value : x.values<float>()) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  constexpr float kLevels = 255.0f;
  float scale = (high - low) / kLevels;
  if (scale == 0) scale = 1.0f;  // all zero: any scale does
  constexpr IntegerRange kRange{0, 255};
  const std::int64_t zero = quantize(static_cast<double>((0.0f - low) / scale), 0, kRange);
  Tensor y = Tensor::zeros(DType::uint8, x.dims());
  const auto in = x.values<float>();
  const auto out = y.mutable_values<std::uint8_t>();
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = static_cast<std::uint8_t>(quantize(static_cast<double>(in[i] / scale), zero, kRange));
  }
  return std::vector<Datum>{std::move(y), Tensor::scalar(scale), Tensor::scalar(static_cast<std::uint8_t>(zero))};
}

}  // namespace bevel::ops
