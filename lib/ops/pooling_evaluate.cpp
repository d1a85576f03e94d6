#include <algorithm>
#include <limits>
#include <type_traits>

#include "lib/ops/nn_families.h"
#include "lib/ops/pooling.h"
#include "lib/runtime/bevel_math.h"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace bevel::ops {
namespace {

// Walks the windows of one plane in row-major order of the output. body(output index, taps inside the image as ranges).
struct PoolWindow {
  std::vector<std::int64_t> position, first_tap, last_tap;
};
template <typename Body>
void for_each_window(const std::vector<WindowAxis>& axes, Body&& body) {
  const std::size_t rank = axes.size();
  std::int64_t count = 1;
  for (const WindowAxis& axis : axes) count *= axis.out;
  PoolWindow window{std::vector<std::int64_t>(rank, 0), std::vector<std::int64_t>(rank),
                    std::vector<std::int64_t>(rank)};
  for (std::int64_t o = 0; o < count; ++o) {
    for (std::size_t a = 0; a < rank; ++a) {
      window.first_tap[a] = axes[a].first_tap(window.position[a]);
      window.last_tap[a] = axes[a].last_tap(window.position[a]);
    }
    body(o, window);
    for (std::size_t a = rank; a-- > 0;) {
      if (++window.position[a] < axes[a].out) break;
      window.position[a] = 0;
    }
  }
}
// Walks the inputs of one window in row-major order: body(input index in the plane).
template <typename Body>
void for_each_tap(const std::vector<WindowAxis>& axes, const PoolWindow& window, Body&& body) {
  const std::size_t rank = axes.size();
  for (std::size_t a = 0; a < rank; ++a) {
    if (window.first_tap[a] >= window.last_tap[a]) return;
  }
  std::vector<std::int64_t> tap = window.first_tap;
  const WindowAxis& last = axes[rank - 1];
  for (;;) {
    std::int64_t base = 0;
    for (std::size_t a = 0; a + 1 < rank; ++a) {
      base = base * axes[a].in + window.position[a] * axes[a].stride - axes[a].pad_begin + tap[a] * axes[a].dilation;
    }
    base = base * last.in + window.position[rank - 1] * last.stride - last.pad_begin;
    for (std::int64_t k = window.first_tap[rank - 1]; k < window.last_tap[rank - 1]; ++k)
      body(base + k * last.dilation);
    std::size_t a = rank - 1;
    for (;;) {
      if (a == 0) return;
      --a;
      if (++tap[a] < window.last_tap[a]) break;
      tap[a] = window.first_tap[a];
    }
  }
}

std::int64_t plane_size(const std::vector<WindowAxis>& axes, std::int64_t WindowAxis::*extent) {
  std::int64_t size = 1;
  for (const WindowAxis& axis : axes) size *= axis.*extent;
  return size;
}

// The divisor of count_include_pad: window positions inside image plus padding.
std::int64_t padded_count(const WindowAxis& axis, std::int64_t position) {
  const std::int64_t room = axis.in + axis.pad_end - (position * axis.stride - axis.pad_begin);
  return std::min(axis.kernel, (room + axis.dilation - 1) / axis.dilation);
}
std::int64_t padded_count(const std::vector<WindowAxis>& axes, const PoolWindow& window) {
  std::int64_t count = 1;
  for (std::size_t a = 0; a < axes.size(); ++a) count *= padded_count(axes[a], window.position[a]);
  return count;
}

template <typename T>
bool greater(T candidate, T best) {
  if constexpr (std::is_floating_point_v<T>) {
    return candidate > best || candidate != candidate;  // NaN wins and stays
  } else {
    return candidate > best;
  }
}

// The larger, of equal ones the first; NaN wins and stays.
struct LargerOf {
  template <typename T>
  T operator()(T best, T candidate) const {
    return best == best && greater<T>(candidate, best) ? candidate : best;
  }
#if defined(__AVX2__)
  __m256 operator()(__m256 best, __m256 candidate) const {
    const __m256 larger = _mm256_max_ps(candidate, best);  // `best` where they are equal or one is NaN
    const __m256 fresh = _mm256_blendv_ps(larger, candidate, _mm256_cmp_ps(candidate, candidate, _CMP_UNORD_Q));
    return _mm256_blendv_ps(fresh, best, _mm256_cmp_ps(best, best, _CMP_UNORD_Q));
  }
#endif
};
struct SumOf {
  template <typename T>
  T operator()(T sum, T value) const {
    return sum + value;
  }
#if defined(__AVX2__)
  __m256 operator()(__m256 sum, __m256 value) const { return _mm256_add_ps(sum, value); }
#endif
};

// Planes of one or two axes, a tap of all windows of an output row at a time: out[j] = step(out[j], in[j * stride]). Each output meets
// its taps in the row-major order of its window, as for_each_tap does; finish(o, row) comes after an output row's last tap.
template <typename T, typename Step>
void step_row(const T* in, std::int64_t stride, std::int64_t count, T* out, const Step& step) {
  for (std::int64_t j = 0; j < count; ++j) out[j] = step(out[j], in[j * stride]);
}
constexpr std::int64_t kLanes = 8;
#if defined(__AVX2__)
// Up to kLanes - 1 elements behind the row are loaded and stored as they were; no element of the image that no window reads is touched.
template <typename Step>
void step_row(const float* in, std::int64_t stride, std::int64_t count, float* out, const Step& step) {
  if (stride > 2) {
    for (std::int64_t j = 0; j < count; ++j) out[j] = step(out[j], in[j * stride]);
    return;
  }
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  const auto below = [&](std::int64_t n) {
    return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(std::min<std::int64_t>(n, kLanes))), lane);
  };
  const auto even = [](__m256 low, __m256 high) {
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(_mm256_shuffle_ps(low, high, 0x88)), 0xD8));
  };
  std::int64_t j = 0;
  for (; j + kLanes < count; j += kLanes) {  // the last element of a pair may lie outside: not of these
    const __m256 x = stride == 1 ? _mm256_loadu_ps(in + j) : even(_mm256_loadu_ps(in + 2 * j), _mm256_loadu_ps(in + 2 * j + kLanes));
    _mm256_storeu_ps(out + j, step(_mm256_loadu_ps(out + j), x));
  }
  const __m256i rest = below(count - j);
  const std::int64_t read = (count - j - 1) * stride + 1;  // elements up to the last that a window reads
  const __m256 x = stride == 1 ? _mm256_maskload_ps(in + j, rest)
                               : even(_mm256_maskload_ps(in + 2 * j, below(read)),
                                      read > kLanes ? _mm256_maskload_ps(in + 2 * j + kLanes, below(read - kLanes)) : _mm256_setzero_ps());
  const __m256 old = _mm256_loadu_ps(out + j);
  _mm256_storeu_ps(out + j, _mm256_blendv_ps(old, step(old, x), _mm256_castsi256_ps(rest)));
}
#endif
template <typename T, typename Step, typename Finish>
void pool_rows(const PoolShape& shape, const T* x, T* y, T start, const Step& step, const Finish& finish) {
  const WindowAxis& last = shape.axes.back();
  WindowAxis outer;  // of one axis: a single row
  outer.in = outer.out = 1;
  if (shape.axes.size() == 2) outer = shape.axes[0];
  struct Run {
    std::int64_t first, count, offset;  // outputs that the tap has an input for; where the first one's lies
  };
  std::vector<Run> runs;
  for (std::int64_t k = 0; k < last.kernel; ++k) {
    const std::int64_t first = last.first_inside(k), count = last.last_inside(k) - first;
    if (count > 0) runs.push_back({first, count, first * last.stride - last.pad_begin + k * last.dilation});
  }
  std::vector<T> line(static_cast<std::size_t>(last.out + kLanes));
  for (std::int64_t p = 0; p < shape.batch * shape.channels; ++p, x += outer.in * last.in) {
    for (std::int64_t o = 0; o < outer.out; ++o, y += last.out) {
      std::fill(line.begin(), line.end(), start);
      const std::int64_t end = outer.last_tap(o);
      for (std::int64_t tap = outer.first_tap(o); tap < end; ++tap) {
        const T* row = x + (o * outer.stride - outer.pad_begin + tap * outer.dilation) * last.in;
        for (const Run& run : runs) step_row(row + run.offset, last.stride, run.count, line.data() + run.first, step);
      }
      std::copy_n(line.data(), last.out, y);
      finish(o, y);
    }
  }
}
bool pools_by_rows(const PoolShape& shape) { return shape.axes.size() <= 2 && shape.axes.back().out > 1; }

template <typename T>
void max_pool(const PoolShape& shape, bool column_major, const T* x, T* y, std::int64_t* indices) {
  using C = ComputeOf<T>;
  if constexpr (std::is_same_v<T, C> && std::is_arithmetic_v<T>) {
    if (indices == nullptr && pools_by_rows(shape)) {
      T lowest = std::numeric_limits<T>::lowest();
      if constexpr (std::is_floating_point_v<T>) lowest = -std::numeric_limits<T>::infinity();
      return pool_rows(shape, x, y, lowest, LargerOf{}, [](std::int64_t, T*) {});
    }
  }
  const std::int64_t in_size = plane_size(shape.axes, &WindowAxis::in),
                     out_size = plane_size(shape.axes, &WindowAxis::out);
  const std::size_t rank = shape.axes.size();
  for (std::int64_t p = 0; p < shape.batch * shape.channels; ++p) {
    const T* in = x + p * in_size;
    for_each_window(shape.axes, [&](std::int64_t o, const PoolWindow& window) {
      std::int64_t best = -1;
      C value{};
      for_each_tap(shape.axes, window, [&](std::int64_t i) {
        const C candidate = load(in[i]);
        if (best < 0 || (value == value && greater<C>(candidate, value))) {
          best = i;
          value = candidate;
        }
      });
      // A window between dilated taps, none of which is inside: the spec leaves it open; the lowest value, as for
      // padding.
      if (best < 0) {
        if constexpr (std::is_floating_point_v<C>) {
          value = -std::numeric_limits<C>::infinity();
        } else {
          value = std::numeric_limits<C>::lowest();
        }
        best = 0;
      }
      y[p * out_size + o] = store<T>(value);
      if (indices == nullptr) return;
      std::int64_t index = best;
      if (column_major) {  // storage_order 1: the first spatial axis runs fastest
        index = 0;
        std::int64_t rest = best;
        std::vector<std::int64_t> at(rank);
        for (std::size_t a = rank; a-- > 0;) {
          at[a] = rest % shape.axes[a].in;
          rest /= shape.axes[a].in;
        }
        for (std::size_t a = rank; a-- > 0;) index = index * shape.axes[a].in + at[a];
      }
      indices[p * out_size + o] = p * in_size + index;
    });
  }
}

// A single window, inside the plane and without gaps.
bool has_one_window(const PoolShape& shape) {
  return shape.axes.size() <= 2 && std::all_of(shape.axes.begin(), shape.axes.end(), [](const WindowAxis& axis) {
    return axis.out == 1 && axis.kernel <= axis.in && axis.dilation == 1 && axis.pad_begin == 0;
  });
}
// A sum is one chain of additions: those of several planes take turns.
template <typename T>
void average_planes(const PoolShape& shape, const T* x, T* y) {
  constexpr std::int64_t kPlanes = 4;
  const std::int64_t size = plane_size(shape.axes, &WindowAxis::in), planes = shape.batch * shape.channels;
  const std::int64_t columns = shape.axes.back().kernel, pitch = shape.axes.back().in;
  const std::int64_t rows = shape.axes.size() == 2 ? shape.axes[0].kernel : 1;
  const T count = static_cast<T>(rows * columns);
  std::int64_t p = 0;
  for (; p + kPlanes <= planes; p += kPlanes) {
    const T *a = x + p * size, *b = a + size, *c = b + size, *d = c + size;
    T sum_a{0}, sum_b{0}, sum_c{0}, sum_d{0};
    for (std::int64_t row = 0; row < rows; ++row) {
      for (std::int64_t i = row * pitch; i < row * pitch + columns; ++i) {
        sum_a += a[i];
        sum_b += b[i];
        sum_c += c[i];
        sum_d += d[i];
      }
    }
    y[p] = sum_a / count;
    y[p + 1] = sum_b / count;
    y[p + 2] = sum_c / count;
    y[p + 3] = sum_d / count;
  }
  for (; p < planes; ++p) {
    T sum{0};
    for (std::int64_t row = 0; row < rows; ++row)
      for (std::int64_t i = row * pitch; i < row * pitch + columns; ++i) sum += x[p * size + i];
    y[p] = sum / count;
  }
}

// Sums in float (double for float64), in row-major order of the window, then one division.
template <typename T>
void average_pool(const PoolShape& shape, bool count_padding, const T* x, T* y) {
  using C = ComputeOf<T>;
  if constexpr (std::is_same_v<T, C>) {
    if (has_one_window(shape)) return average_planes(shape, x, y);
    if (pools_by_rows(shape)) {
      const auto taps = [&](const WindowAxis& axis, std::int64_t o) {
        return count_padding ? padded_count(axis, o) : axis.last_tap(o) - axis.first_tap(o);
      };
      const WindowAxis& last = shape.axes.back();
      std::vector<std::int64_t> across(static_cast<std::size_t>(last.out));
      for (std::int64_t j = 0; j < last.out; ++j) across[static_cast<std::size_t>(j)] = taps(last, j);
      const auto finish = [&](std::int64_t o, T* out) {
        const std::int64_t down = shape.axes.size() == 2 ? taps(shape.axes[0], o) : 1;
        for (std::int64_t j = 0; j < last.out; ++j) {
          const std::int64_t count = down * across[static_cast<std::size_t>(j)];
          out[j] = count > 0 ? out[j] / static_cast<T>(count) : T{0};
        }
      };
      return pool_rows(shape, x, y, T{0}, SumOf{}, finish);
    }
  }
  const std::int64_t in_size = plane_size(shape.axes, &WindowAxis::in),
                     out_size = plane_size(shape.axes, &WindowAxis::out);
  for (std::int64_t p = 0; p < shape.batch * shape.channels; ++p) {
    const T* in = x + p * in_size;
    for_each_window(shape.axes, [&](std::int64_t o, const PoolWindow& window) {
      C sum = 0;
      std::int64_t count = 0;
      for_each_tap(shape.axes, window, [&](std::int64_t i) {
        sum += load(in[i]);
        ++count;
      });
      if (count_padding) count = padded_count(shape.axes, window);
      y[p * out_size + o] = store<T>(count > 0 ? sum / static_cast<C>(count) : C{0});
    });
  }
}

double power(double x, std::int64_t p) { return p == 1 ? x : p == 2 ? x * x : bvl_pow(x, static_cast<double>(p)); }
double root(double x, std::int64_t p) {
  return p == 1 ? x : p == 2 ? __builtin_sqrt(x) : bvl_pow(x, 1.0 / static_cast<double>(p));
}

template <typename T>
void lp_pool(const PoolShape& shape, std::int64_t p_norm, const T* x, T* y) {
  const std::int64_t in_size = plane_size(shape.axes, &WindowAxis::in),
                     out_size = plane_size(shape.axes, &WindowAxis::out);
  for (std::int64_t p = 0; p < shape.batch * shape.channels; ++p) {
    const T* in = x + p * in_size;
    for_each_window(shape.axes, [&](std::int64_t o, const PoolWindow& window) {
      double sum = 0;
      for_each_tap(shape.axes, window, [&](std::int64_t i) {
        const auto value = static_cast<double>(load(in[i]));
        sum += power(value < 0 ? -value : value, p_norm);
      });
      y[p * out_size + o] = store<T>(static_cast<ComputeOf<T>>(root(sum, p_norm)));
    });
  }
}

Result<std::int64_t> norm_of(const Node& node) {
  BEVEL_TRY(const std::int64_t p, attr_int(node, "p", 2));
  if (p < 1 || p > 1000) return fail_input("attribute 'p' is {}, expected 1 to 1000", p);
  return p;
}

Outputs run_lp(const EvalContext& ctx, const PoolShape& shape, Tensor y) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const std::int64_t p, norm_of(ctx.node()));
  const bool known = dispatch_floats(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (y.size() == 0) return;  // however many planes there are
    lp_pool<T>(shape, p, x.values<T>().data(), y.mutable_values<T>().data());
  });
  if (!known) return fail_dtype(x.dtype(), "X");
  return std::vector<Datum>{std::move(y)};
}

Outputs run_average(const EvalContext& ctx, const PoolShape& shape, bool count_padding, Tensor y) {
  const Tensor& x = ctx.tensor(0);
  const bool known = dispatch_floats(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (y.size() == 0) return;  // however many planes there are
    average_pool<T>(shape, count_padding, x.values<T>().data(), y.mutable_values<T>().data());
  });
  if (!known) return fail_dtype(x.dtype(), "X");
  return std::vector<Datum>{std::move(y)};
}

Outputs run_max(const EvalContext& ctx, const PoolShape& shape, bool column_major, bool want_indices, Tensor y) {
  const Tensor& x = ctx.tensor(0);
  Tensor indices;
  if (want_indices) {
    BEVEL_TRY_STATUS(ctx.reserve(DType::int64, y.dims()));
    indices = Tensor::zeros(DType::int64, y.dims());
  }
  std::int64_t* index_data = want_indices ? indices.mutable_values<std::int64_t>().data() : nullptr;
  const bool known = dispatch_numeric(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    if (y.size() == 0) return;  // however many planes there are
    max_pool<T>(shape, column_major, x.values<T>().data(), y.mutable_values<T>().data(), index_data);
  });
  if (!known) return fail_dtype(x.dtype(), "X");
  std::vector<Datum> outputs{std::move(y)};
  if (want_indices) outputs.emplace_back(std::move(indices));
  return outputs;
}

Result<Tensor> result_for(const EvalContext& ctx, const PoolShape& shape) {
  BEVEL_TRY_STATUS(ctx.reserve(ctx.tensor(0).dtype(), shape.out_dims()));
  if (dtype_bits(ctx.tensor(0).dtype()) < 8) return fail_dtype(ctx.tensor(0).dtype(), "X");
  return Tensor::for_overwrite(ctx.tensor(0).dtype(), shape.out_dims());
}

}  // namespace

Outputs evaluate_max_pool(const EvalContext& ctx) {
  BEVEL_TRY(const PoolShape shape, pool_shape(ctx.node(), ctx.tensor(0).dims()));
  BEVEL_TRY(const bool column_major, attr_flag(ctx.node(), "storage_order", false));
  BEVEL_TRY(Tensor y, result_for(ctx, shape));
  const bool indices = ctx.node().outputs.size() > 1 && ctx.node().outputs[1].valid();
  return run_max(ctx, shape, column_major, indices, std::move(y));
}

Outputs evaluate_average_pool(const EvalContext& ctx) {
  BEVEL_TRY(const PoolShape shape, pool_shape(ctx.node(), ctx.tensor(0).dims()));
  BEVEL_TRY(const bool count_padding, attr_flag(ctx.node(), "count_include_pad", false));
  BEVEL_TRY(Tensor y, result_for(ctx, shape));
  return run_average(ctx, shape, count_padding, std::move(y));
}

Outputs evaluate_lp_pool(const EvalContext& ctx) {
  BEVEL_TRY(const PoolShape shape, pool_shape(ctx.node(), ctx.tensor(0).dims()));
  BEVEL_TRY(Tensor y, result_for(ctx, shape));
  return run_lp(ctx, shape, std::move(y));
}

Outputs evaluate_global_pool(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  if (x.rank() < 2) return fail_operand(0, "X", "has shape {}, expected rank 2 or more", to_string(x.dims()));
  // One axis that holds all positions, one window over it.
  PoolShape shape;
  shape.batch = x.dim(0);
  shape.channels = x.dim(1);
  WindowAxis all;
  all.in = all.kernel = product(x.dims(), 2, x.rank());
  all.out = 1;
  shape.axes = {all};
  if (all.in < 1)
    return fail_operand(0, "X", "has shape {}, expected a spatial extent of 1 or more", to_string(x.dims()));
  BEVEL_TRY(Tensor y, result_for(ctx, shape));
  Dims dims(x.rank(), 1);
  dims[0] = x.dim(0);
  dims[1] = x.dim(1);
  y = y.reshaped(dims);
  const std::string& name = ctx.node().op_type;
  if (name == "GlobalMaxPool") return run_max(ctx, shape, false, false, std::move(y));
  if (name == "GlobalLpPool") return run_lp(ctx, shape, std::move(y));
  return run_average(ctx, shape, false, std::move(y));
}

}  // namespace bevel::ops
