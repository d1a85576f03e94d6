// All normalizations compute in float (16-bit floats, float32) or double (float64) and sum in double.
#include <algorithm>

#include "lib/ops/family.h"
#include "lib/ops/nn_families.h"
#include "lib/runtime/bevel_math.h"

namespace bevel::ops {
namespace {

// A per-channel operand in double.
Result<std::vector<double>> channel_vector(const EvalContext& ctx, std::size_t i, std::string_view role,
                                           std::int64_t channels) {
  const Tensor& tensor = ctx.tensor(i);
  if (!is_plain_float(tensor.dtype()) || tensor.dims() != Dims{channels}) {
    return fail_operand(i, role, "is {} {}, expected a floating type [{}]", dtype_name(tensor.dtype()),
                        to_string(tensor.dims()), channels);
  }
  return to_doubles(tensor);
}

template <typename Body>
Outputs map_floats(const EvalContext& ctx, const Tensor& x, Body&& body) {
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), x.dims()));
  Tensor y = Tensor::zeros(x.dtype(), x.dims());
  const bool known = dispatch_floats(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    body(tag, x.values<T>().data(), y.mutable_values<T>().data());
  });
  if (!known) return fail_dtype(x.dtype(), "X");
  return std::vector<Datum>{std::move(y)};
}

}  // namespace

// Training mode (opset 14): statistics of this batch normalize it, and move the running ones: running * momentum +
// batch * (1 - momentum).
Outputs evaluate_batch_normalization(const EvalContext& ctx) {
  const Node& node = ctx.node();
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const float epsilon, attr_float(node, "epsilon", 1e-5f));
  BEVEL_TRY(const float momentum, attr_float(node, "momentum", 0.9f));
  BEVEL_TRY(const bool training, attr_flag(node, "training_mode", false));
  for (std::size_t i = 1; i < node.outputs.size(); ++i) {
    if (node.outputs[i].valid() && (!training || i > 2)) return fail_input("output {} exists in training mode only", i);
  }
  if (x.rank() < 1) return fail_operand(0, "X", "is a scalar, expected rank 2 or more");
  // Rank 1: [N] is read as [N, 1] (the specification allows a single channel without an axis).
  const std::int64_t channels = x.rank() == 1 ? 1 : x.dim(1);
  const std::int64_t outer = x.dim(0), inner = x.rank() == 1 ? 1 : product(x.dims(), 2, x.rank());
  BEVEL_TRY(const auto scale, channel_vector(ctx, 1, "scale", channels));
  BEVEL_TRY(const auto shift, channel_vector(ctx, 2, "B", channels));
  BEVEL_TRY(auto mean, channel_vector(ctx, 3, "mean", channels));
  BEVEL_TRY(auto variance, channel_vector(ctx, 4, "var", channels));
  std::vector<double> running_mean = mean, running_variance = variance;
  if (training) {
    const std::vector<double> values = to_doubles(x);
    const double count = static_cast<double>(outer * inner);
    if (count == 0) return fail_operand(0, "X", "has no element to take statistics of");
    const auto average = [&](std::size_t c, auto term) {
      double sum = 0;
      for (std::int64_t n = 0; n < outer; ++n) {
        const std::size_t begin = (static_cast<std::size_t>(n * channels) + c) * static_cast<std::size_t>(inner);
        for (std::size_t i = begin; i < begin + static_cast<std::size_t>(inner); ++i) sum += term(values[i]);
      }
      return sum / count;
    };
    const auto keep = static_cast<double>(momentum);
    for (std::size_t c = 0; c < mean.size(); ++c) {
      mean[c] = average(c, [](double v) { return v; });
      variance[c] = average(c, [&](double v) { return (v - mean[c]) * (v - mean[c]); });
      running_mean[c] = running_mean[c] * keep + mean[c] * (1 - keep);
      running_variance[c] = running_variance[c] * keep + variance[c] * (1 - keep);
    }
  }
  auto y = map_floats(ctx, x, [&](auto tag, const auto* in, auto* out) {
    using T = typename decltype(tag)::type;
    using C = ComputeOf<T>;
    for (std::int64_t n = 0; n < outer; ++n) {
      for (std::int64_t c = 0; c < channels; ++c) {
        const auto k = static_cast<std::size_t>(c);
        const double factor = scale[k] / __builtin_sqrt(variance[k] + static_cast<double>(epsilon));
        const C a = static_cast<C>(factor), b = static_cast<C>(shift[k] - mean[k] * factor);
        const std::int64_t begin = (n * channels + c) * inner;
        for (std::int64_t i = begin; i < begin + inner; ++i) out[i] = store<T>(load(in[i]) * a + b);
      }
    }
  });
  if (y && node.outputs.size() > 1) {
    y->emplace_back(from_doubles(ctx.tensor(3).dtype(), {channels}, running_mean));
    if (node.outputs.size() > 2) y->emplace_back(from_doubles(ctx.tensor(4).dtype(), {channels}, running_variance));
  }
  return y;
}

Outputs evaluate_instance_normalization(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const float epsilon, attr_float(ctx.node(), "epsilon", 1e-5f));
  if (x.rank() < 2) return fail_operand(0, "input", "has shape {}, expected rank 2 or more", to_string(x.dims()));
  const std::int64_t channels = x.dim(1), inner = product(x.dims(), 2, x.rank());
  BEVEL_TRY(const auto scale, channel_vector(ctx, 1, "scale", channels));
  BEVEL_TRY(const auto shift, channel_vector(ctx, 2, "B", channels));
  return map_floats(ctx, x, [&](auto tag, const auto* in, auto* out) {
    using T = typename decltype(tag)::type;
    using C = ComputeOf<T>;
    if (inner == 0) return;
    for (std::int64_t p = 0; p < x.dim(0) * channels; ++p) {
      const auto* plane = in + p * inner;
      double sum = 0, squares = 0;
      for (std::int64_t i = 0; i < inner; ++i) sum += static_cast<double>(load(plane[i]));
      const double mean = sum / static_cast<double>(inner);
      for (std::int64_t i = 0; i < inner; ++i) {
        const double d = static_cast<double>(load(plane[i])) - mean;
        squares += d * d;
      }
      const auto c = static_cast<std::size_t>(p % channels);
      const double factor =
          scale[c] / __builtin_sqrt(squares / static_cast<double>(inner) + static_cast<double>(epsilon));
      const double offset = shift[c] - mean * factor;
      for (std::int64_t i = 0; i < inner; ++i) {
        out[p * inner + i] = store<T>(static_cast<C>(static_cast<double>(load(plane[i])) * factor + offset));
      }
    }
  });
}

Outputs evaluate_layer_normalization(const EvalContext& ctx) {
  const Node& node = ctx.node();
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const float epsilon, attr_float(node, "epsilon", 1e-5f));
  BEVEL_TRY(std::int64_t axis, attr_int(node, "axis", -1));
  BEVEL_TRY(axis, normalize_axis(axis, x.rank()));
  BEVEL_TRY(const DType stash, attr_dtype(node, "stash_type", DType::float32));
  if (!is_plain_float(stash))
    return fail_input("attribute 'stash_type' is {}, expected a floating type", dtype_name(stash));
  const auto first = static_cast<std::size_t>(axis);
  const std::int64_t outer = product(x.dims(), 0, first), inner = product(x.dims(), first, x.rank());
  // Scale and B broadcast to the normalized axes (and, from opset 17 on, to all of X).
  std::vector<double> factors[2];
  Dims strides[2];
  for (std::size_t i = 0; i < 2; ++i) {
    if (!ctx.has_input(i + 1)) continue;
    const Tensor& tensor = ctx.tensor(i + 1);
    const std::string_view role = i == 0 ? "Scale" : "B";
    const auto shape = broadcast_dims(tensor.dims(), x.dims());
    if (!is_plain_float(tensor.dtype()) || !shape || *shape != x.dims()) {
      return fail_operand(i + 1, role, "is {} {}, expected a floating type that broadcasts to {}",
                          dtype_name(tensor.dtype()), to_string(tensor.dims()), to_string(x.dims()));
    }
    factors[i] = to_doubles(tensor);
    strides[i] = broadcast_strides(tensor.dims(), x.dims());
  }
  Dims reduced = x.dims();
  std::fill(reduced.begin() + axis, reduced.end(), 1);
  BEVEL_TRY_STATUS(ctx.reserve(DType::float64, std::span(&outer, 1)));
  std::vector<double> means(static_cast<std::size_t>(outer)), inverses(means.size());
  auto y = map_floats(ctx, x, [&](auto tag, const auto* in, auto* out) {
    using T = typename decltype(tag)::type;
    using C = ComputeOf<T>;
    std::vector<std::int64_t> position(x.rank(), 0);
    for (std::int64_t n = 0; n < outer; ++n) {
      const auto* row = in + n * inner;
      double sum = 0, squares = 0;
      for (std::int64_t i = 0; i < inner; ++i) sum += static_cast<double>(load(row[i]));
      const double mean = inner > 0 ? sum / static_cast<double>(inner) : 0;
      for (std::int64_t i = 0; i < inner; ++i) {
        const double d = static_cast<double>(load(row[i])) - mean;
        squares += d * d;
      }
      const double variance = inner > 0 ? squares / static_cast<double>(inner) : 0;
      const double inverse = 1.0 / __builtin_sqrt(variance + static_cast<double>(epsilon));
      means[static_cast<std::size_t>(n)] = mean;
      inverses[static_cast<std::size_t>(n)] = inverse;
      for (std::int64_t i = 0; i < inner; ++i) {
        double value = (static_cast<double>(load(row[i])) - mean) * inverse;
        for (std::size_t f = 0; f < 2; ++f) {
          if (strides[f].empty()) continue;
          std::int64_t at = 0;
          for (std::size_t a = 0; a < position.size(); ++a) at += position[a] * strides[f][a];
          value = f == 0 ? value * factors[f][static_cast<std::size_t>(at)]
                         : value + factors[f][static_cast<std::size_t>(at)];
        }
        out[n * inner + i] = store<T>(static_cast<C>(value));
        for (std::size_t a = position.size(); a-- > 0;) {
          if (++position[a] < x.dim(a)) break;
          position[a] = 0;
        }
      }
    }
  });
  if (!y) return y;
  if (node.outputs.size() > 1) {
    BEVEL_TRY_STATUS(ctx.reserve(stash, reduced));
    y->emplace_back(from_doubles(stash, reduced, means));
    if (node.outputs.size() > 2) y->emplace_back(from_doubles(stash, reduced, inverses));
  }
  return y;
}

Outputs evaluate_lrn(const EvalContext& ctx) {
  const Node& node = ctx.node();
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const float alpha, attr_float(node, "alpha", 0.0001f));
  BEVEL_TRY(const float beta, attr_float(node, "beta", 0.75f));
  BEVEL_TRY(const float bias, attr_float(node, "bias", 1.0f));
  BEVEL_TRY(const std::int64_t size, require_int(node, "size"));
  if (size < 1 || size > (std::int64_t{1} << 30)) return fail_input("attribute 'size' is {}, expected 1 or more", size);
  if (x.rank() < 2) return fail_operand(0, "X", "has shape {}, expected rank 2 or more", to_string(x.dims()));
  const std::int64_t channels = x.dim(1), inner = product(x.dims(), 2, x.rank());
  return map_floats(ctx, x, [&](auto tag, const auto* in, auto* out) {
    using T = typename decltype(tag)::type;
    using C = ComputeOf<T>;
    if (x.size() == 0) return;  // its other extents may be of any size
    std::vector<double> squares(static_cast<std::size_t>(channels));
    for (std::int64_t n = 0; n < x.dim(0); ++n) {
      for (std::int64_t i = 0; i < inner; ++i) {
        const std::int64_t base = n * channels * inner + i;
        for (std::int64_t c = 0; c < channels; ++c) {
          const auto value = static_cast<double>(load(in[base + c * inner]));
          squares[static_cast<std::size_t>(c)] = value * value;
        }
        for (std::int64_t c = 0; c < channels; ++c) {
          const std::int64_t low = std::max<std::int64_t>(0, c - (size - 1) / 2);
          const std::int64_t high = std::min(channels - 1, c + size / 2);  // size - 1 - (size - 1) / 2 channels after c
          double sum = 0;
          for (std::int64_t k = low; k <= high; ++k) sum += squares[static_cast<std::size_t>(k)];
          const double base_value =
              static_cast<double>(bias) + static_cast<double>(alpha) / static_cast<double>(size) * sum;
          const double value =
              static_cast<double>(load(in[base + c * inner])) / bvl_pow(base_value, static_cast<double>(beta));
          out[base + c * inner] = store<T>(static_cast<C>(value));
        }
      }
    }
  });
}

Outputs evaluate_lp_normalization(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(std::int64_t axis, attr_int(ctx.node(), "axis", -1));
  BEVEL_TRY(axis, normalize_axis(axis, x.rank()));
  BEVEL_TRY(const std::int64_t p, attr_int(ctx.node(), "p", 2));
  if (p != 1 && p != 2) return fail_input("attribute 'p' is {}, expected 1 or 2", p);
  const auto at = static_cast<std::size_t>(axis);
  const std::int64_t outer = product(x.dims(), 0, at), depth = x.dim(at), inner = product(x.dims(), at + 1, x.rank());
  return map_floats(ctx, x, [&](auto tag, const auto* in, auto* out) {
    using T = typename decltype(tag)::type;
    using C = ComputeOf<T>;
    if (x.size() == 0) return;  // its other extents may be of any size
    for (std::int64_t o = 0; o < outer; ++o) {
      for (std::int64_t i = 0; i < inner; ++i) {
        const std::int64_t base = o * depth * inner + i;
        double sum = 0;
        for (std::int64_t d = 0; d < depth; ++d) {
          const auto value = static_cast<double>(load(in[base + d * inner]));
          sum += p == 1 ? (value < 0 ? -value : value) : value * value;
        }
        const double norm = p == 1 ? sum : __builtin_sqrt(sum);
        for (std::int64_t d = 0; d < depth; ++d) {
          const auto value = static_cast<double>(load(in[base + d * inner]));
          out[base + d * inner] = store<T>(static_cast<C>(norm == 0 ? 0.0 : value / norm));
        }
      }
    }
  });
}

}  // namespace bevel::ops
