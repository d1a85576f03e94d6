// Integers wrap (as NumPy and ONNX Runtime do); an integer division by zero is an error of the model; 16-bit floats compute
// in float32 and round once.
#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

#include "lib/ops/broadcast.h"
#include "lib/ops/family.h"
#include "lib/ops/in_place.h"
#include "lib/runtime/bevel_math.h"

namespace bevel::ops {

Result<Dims> broadcast_inputs(const EvalContext& ctx) {
  Dims dims = ctx.tensor(0).dims();
  for (std::size_t i = 1; i < ctx.input_count(); ++i) {
    if (!ctx.has_input(i)) return fail_operand(i, "operand", "is absent");
    BEVEL_TRY(dims, broadcast_dims(dims, ctx.tensor(i).dims()));
  }
  return dims;
}

namespace {

Status same_dtypes(const EvalContext& ctx) {
  for (std::size_t i = 1; i < ctx.input_count(); ++i) {
    if (ctx.has_input(i) && ctx.tensor(i).dtype() != ctx.tensor(0).dtype()) {
      return fail_operand(i, "operand", "element type is {}, but operand 0 has {}", dtype_name(ctx.tensor(i).dtype()),
                          dtype_name(ctx.tensor(0).dtype()));
    }
  }
  return {};
}

// out = f(a, b) in the compute type of `dtype`; `accepts` limits the dtypes.
template <typename F>
Result<Tensor> binary(const EvalContext& ctx, const Tensor& a, const Tensor& b, F f) {
  BEVEL_TRY(const Dims dims, broadcast_dims(a.dims(), b.dims()));
  BEVEL_TRY_STATUS(ctx.reserve(a.dtype(), dims));
  Tensor out = Tensor::zeros(a.dtype(), dims);
  const bool known = dispatch_numeric(a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    map_broadcast<T, T, T>(a, b, out, [f](T x, T y) { return store<T>(f(load(x), load(y))); });
  });
  if (!known) return fail_dtype(a.dtype(), "operand 0");
  return out;
}

template <typename F>
Outputs evaluate_binary(const EvalContext& ctx, F f) {
  BEVEL_TRY_STATUS(same_dtypes(ctx));
  const Tensor& a = ctx.tensor(0);
  const Tensor& b = ctx.tensor(1);
  if (a.dtype() == DType::float32 && a.dims() == b.dims()) {  // into an operand that dies here
    const float* x = a.values<float>().data();
    const float* y = b.values<float>().data();
    Tensor out = ctx.take(0);
    if (out.defined()) {
      map_in_place(out.mutable_values<float>(), y, [f](float value, float other) { return f(value, other); });
      return std::vector<Datum>{std::move(out)};
    }
    out = ctx.take(1);
    if (out.defined()) {
      map_in_place(out.mutable_values<float>(), x, [f](float value, float other) { return f(other, value); });
      return std::vector<Datum>{std::move(out)};
    }
  }
  BEVEL_TRY(Tensor out, binary(ctx, a, b, f));
  return std::vector<Datum>{std::move(out)};
}

template <typename F>
Outputs evaluate_integer_binary(const EvalContext& ctx, F f) {
  BEVEL_TRY_STATUS(same_dtypes(ctx));
  const Tensor& a = ctx.tensor(0);
  const Tensor& b = ctx.tensor(1);
  BEVEL_TRY(const Dims dims, broadcast_dims(a.dims(), b.dims()));
  BEVEL_TRY_STATUS(ctx.reserve(a.dtype(), dims));
  Tensor out = Tensor::zeros(a.dtype(), dims);
  const bool known = dispatch_integers(a.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    map_broadcast<T, T, T>(a, b, out, f);
  });
  if (!known) return fail_dtype(a.dtype(), "operand 0");
  return std::vector<Datum>{std::move(out)};
}

template <typename F>
Outputs evaluate_variadic(const EvalContext& ctx, F f) {
  BEVEL_TRY_STATUS(same_dtypes(ctx));
  Tensor out = ctx.tensor(0);
  for (std::size_t i = 1; i < ctx.input_count(); ++i) {
    if (!ctx.has_input(i)) return fail_operand(i, "operand", "is absent");
    BEVEL_TRY(out, binary(ctx, out, ctx.tensor(i), f));
  }
  return std::vector<Datum>{std::move(out)};
}

// Modular arithmetic of integers goes through uint64, where wrapping is defined.
template <typename T>
constexpr bool kIsInteger = std::is_integral_v<T>;
template <typename T>
std::uint64_t wide(T value) {
  return static_cast<std::uint64_t>(value);
}

struct AddOp {
  template <typename T>
  T operator()(T a, T b) const {
    if constexpr (kIsInteger<T>) return static_cast<T>(wide(a) + wide(b));
    else return a + b;
  }
};
struct SubOp {
  template <typename T>
  T operator()(T a, T b) const {
    if constexpr (kIsInteger<T>) return static_cast<T>(wide(a) - wide(b));
    else return a - b;
  }
};
struct MulOp {
  template <typename T>
  T operator()(T a, T b) const {
    if constexpr (kIsInteger<T>) return static_cast<T>(wide(a) * wide(b));
    else return a * b;
  }
};
struct DivOp {
  template <typename T>
  T operator()(T a, T b) const {
    if constexpr (kIsInteger<T> && std::is_signed_v<T>) {
      if (b == T(-1)) return static_cast<T>(0 - wide(a));  // the lowest value wraps
    }
    return static_cast<T>(a / b);
  }
};
// Python's %, the divisor's sign (of a zero too).
struct ModOp {
  template <typename T>
  T operator()(T a, T b) const {
    if constexpr (!kIsInteger<T>) {
      const T rest = std::fmod(a, b);
      if (rest == 0) return std::copysign(rest, b);
      return (rest < 0) != (b < 0) ? rest + b : rest;  // NaN stays
    } else if constexpr (std::is_signed_v<T>) {
      if (b == T(-1)) return T(0);
      const T rest = static_cast<T>(a % b);
      return rest != 0 && (rest < 0) != (b < 0) ? static_cast<T>(rest + b) : rest;
    } else {
      return static_cast<T>(a % b);
    }
  }
};
// C's %, the dividend's sign.
struct FmodOp {
  template <typename T>
  T operator()(T a, T b) const {
    if constexpr (!kIsInteger<T>) {
      return std::fmod(a, b);
    } else {
      if constexpr (std::is_signed_v<T>) {
        if (b == T(-1)) return T(0);
      }
      return static_cast<T>(a % b);
    }
  }
};
struct MinOp {
  template <typename T>
  T operator()(T a, T b) const {
    if constexpr (!kIsInteger<T>) {
      if (a != a) return a;
      if (b != b) return b;
    }
    return b < a ? b : a;
  }
};
struct MaxOp {
  template <typename T>
  T operator()(T a, T b) const {
    if constexpr (!kIsInteger<T>) {
      if (a != a) return a;
      if (b != b) return b;
    }
    return a < b ? b : a;
  }
};

Status no_zero_divisor(const Tensor& divisor, const Tensor& dividend) {
  if (!is_integer(divisor.dtype()) || dividend.size() == 0) return {};
  for (std::int64_t i = 0; i < divisor.size(); ++i) {
    if (divisor.as_int64(i) == 0) return fail_operand(1, "B", "element {} is 0: integer division by zero", i);
  }
  return {};
}

// base^exponent for integers, wrapping; a negative exponent truncates 1 / base^|exponent|.
template <typename T>
std::optional<T> integer_power(T base, std::int64_t exponent) {
  if (exponent < 0) {
    if (base == T(1)) return T(1);
    if constexpr (std::is_signed_v<T>) {
      if (base == T(-1)) return exponent % 2 == 0 ? T(1) : T(-1);
    }
    if (base == T(0)) return std::nullopt;
    return T(0);
  }
  std::uint64_t result = 1, square = wide(base);
  for (auto rest = static_cast<std::uint64_t>(exponent); rest != 0; rest >>= 1) {
    if (rest & 1) result *= square;
    square *= square;
  }
  return static_cast<T>(result);
}

// Squares and square roots exactly, as models write them.
double float_power(double x, double y) {
  if (y == 2.0) return x * x;
  if (y == 0.5 && x >= 0) return std::sqrt(x);
  return bvl_pow(x, y);
}

template <typename T>
T saturated(double value) {
  if (value != value) return T(0);
  if (value <= static_cast<double>(std::numeric_limits<T>::lowest())) return std::numeric_limits<T>::lowest();
  if (value >= static_cast<double>(std::numeric_limits<T>::max())) return std::numeric_limits<T>::max();
  return static_cast<T>(value);
}

}  // namespace

Outputs evaluate_add(const EvalContext& ctx) { return evaluate_binary(ctx, AddOp{}); }
Outputs evaluate_sub(const EvalContext& ctx) { return evaluate_binary(ctx, SubOp{}); }
Outputs evaluate_mul(const EvalContext& ctx) { return evaluate_binary(ctx, MulOp{}); }
Outputs evaluate_div(const EvalContext& ctx) {
  BEVEL_TRY_STATUS(no_zero_divisor(ctx.tensor(1), ctx.tensor(0)));
  return evaluate_binary(ctx, DivOp{});
}
Outputs evaluate_mod(const EvalContext& ctx) {
  BEVEL_TRY(const bool fmod, attr_flag(ctx.node(), "fmod", false));
  constexpr int kFloatFloorOpset = 28;
  if (!fmod && !is_integer(ctx.tensor(0).dtype()) && ctx.opset() < kFloatFloorOpset) {
    return fail_input("attribute 'fmod' is 0, but must be 1 for element type {} before opset {}",
                      dtype_name(ctx.tensor(0).dtype()), kFloatFloorOpset);
  }
  BEVEL_TRY_STATUS(no_zero_divisor(ctx.tensor(1), ctx.tensor(0)));
  return fmod ? evaluate_binary(ctx, FmodOp{}) : evaluate_binary(ctx, ModOp{});
}
Outputs evaluate_min(const EvalContext& ctx) { return evaluate_variadic(ctx, MinOp{}); }
Outputs evaluate_max(const EvalContext& ctx) { return evaluate_variadic(ctx, MaxOp{}); }
Outputs evaluate_sum(const EvalContext& ctx) { return evaluate_variadic(ctx, AddOp{}); }

Outputs evaluate_mean(const EvalContext& ctx) {
  if (!is_plain_float(ctx.tensor(0).dtype())) return fail_dtype(ctx.tensor(0).dtype(), "operand 0");
  BEVEL_TRY(auto sum, evaluate_variadic(ctx, AddOp{}));
  const double count = static_cast<double>(ctx.input_count());
  Tensor out = *sum[0].tensor();
  dispatch_floats(out.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    for (T& value : out.mutable_values<T>()) value = store<T>(load(value) / static_cast<ComputeOf<T>>(count));
  });
  return std::vector<Datum>{std::move(out)};
}

Outputs evaluate_pow(const EvalContext& ctx) {
  const Tensor& base = ctx.tensor(0);
  const Tensor& exponent = ctx.tensor(1);
  if (!dispatch_numeric(exponent.dtype(), [](auto) {})) return fail_dtype(exponent.dtype(), "the exponent");
  BEVEL_TRY(const Dims dims, broadcast_dims(base.dims(), exponent.dims()));
  BEVEL_TRY_STATUS(ctx.reserve(base.dtype(), dims));
  Tensor out = Tensor::zeros(base.dtype(), dims);
  const bool integer_exponent = is_integer(exponent.dtype());
  // One exponent type for all: int64 for integers, double for floats.
  Tensor powers = Tensor::zeros(integer_exponent ? DType::int64 : DType::float64, exponent.dims());
  for (std::int64_t i = 0; i < exponent.size(); ++i) {
    if (integer_exponent) powers.set_from_int64(i, exponent.as_int64(i));
    else powers.set_from_double(i, exponent.as_double(i));
  }
  bool zero_inverted = false;
  const bool known = dispatch_numeric(base.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (!integer_exponent) {
      map_broadcast<T, double, T>(base, powers, out, [&](T x, double y) {
        if constexpr (kIsInteger<T>) {
          // Whole exponents exactly: a power one ulp short would truncate to the integer below.
          if (y == std::trunc(y) && std::fabs(y) < 0x1p62) {
            const auto power = integer_power(x, static_cast<std::int64_t>(y));
            zero_inverted = zero_inverted || !power;
            return power.value_or(T(0));
          }
        }
        const double power = float_power(static_cast<double>(load(x)), y);
        if constexpr (kIsInteger<T>) return saturated<T>(power);
        else return store<T>(static_cast<ComputeOf<T>>(power));
      });
      return;
    }
    map_broadcast<T, std::int64_t, T>(base, powers, out, [&](T x, std::int64_t y) {
      if constexpr (kIsInteger<T>) {
        const auto power = integer_power(x, y);
        zero_inverted = zero_inverted || !power;
        return power.value_or(T(0));
      } else {
        return store<T>(static_cast<ComputeOf<T>>(float_power(static_cast<double>(load(x)), static_cast<double>(y))));
      }
    });
  });
  if (!known) return fail_dtype(base.dtype(), "the base");
  if (zero_inverted) return fail_input("an integer 0 is raised to a negative power");
  return std::vector<Datum>{std::move(out)};
}

Outputs evaluate_bit_shift(const EvalContext& ctx) {
  BEVEL_TRY(const std::string direction, attr_string(ctx.node(), "direction", ""));
  if (direction != "LEFT" && direction != "RIGHT") {
    return fail_input("attribute 'direction' is '{}', expected LEFT or RIGHT", printable(direction));
  }
  constexpr int kSignedOpset = 28;
  const DType dtype = ctx.tensor(0).dtype();
  if (!is_integer(dtype) || (is_signed_integer(dtype) && ctx.opset() < kSignedOpset)) return fail_dtype(dtype, "operand 0");
  const bool left = direction == "LEFT";
  return evaluate_integer_binary(ctx, [left](auto a, decltype(a) b) {
    using T = decltype(a);
    // By as many bits as there are or more, and by less than none, only the fill is left.
    if (wide(b) >= sizeof(T) * 8) return static_cast<T>(!left && a < T(0) ? -1 : 0);
    return static_cast<T>(left ? static_cast<T>(wide(a) << wide(b)) : a >> b);  // >> of a signed type keeps the sign (C++20)
  });
}
Outputs evaluate_bitwise_and(const EvalContext& ctx) {
  return evaluate_integer_binary(ctx, [](auto a, decltype(a) b) { return static_cast<decltype(a)>(a & b); });
}
Outputs evaluate_bitwise_or(const EvalContext& ctx) {
  return evaluate_integer_binary(ctx, [](auto a, decltype(a) b) { return static_cast<decltype(a)>(a | b); });
}
Outputs evaluate_bitwise_xor(const EvalContext& ctx) {
  return evaluate_integer_binary(ctx, [](auto a, decltype(a) b) { return static_cast<decltype(a)>(a ^ b); });
}

}  // namespace bevel::ops
