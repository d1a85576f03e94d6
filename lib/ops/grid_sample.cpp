// GridSample (ONNX opsets 16, 20, 22): values of X at positions that a grid states, by nearest, multilinear or cubic
// interpolation over any number of spatial axes (Jaderberg et al., "Spatial Transformer Networks", NIPS 2015). And AffineGrid
// (20), which makes such a grid from affine matrices.
#include <algorithm>
#include <array>

#include "lib/ops/float_operands.h"
#include "lib/ops/movement.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

enum class Mode : std::uint8_t { nearest, linear, cubic };
enum class Padding : std::uint8_t { zeros, border, reflection };

struct Attributes {
  Mode mode = Mode::linear;
  Padding padding = Padding::zeros;
  bool align_corners = false;
};

// Opset 16 says bilinear and bicubic.
Result<Attributes> attributes_of(const Node& node) {
  Attributes result;
  BEVEL_TRY(const std::string mode, attr_string(node, "mode", "linear"));
  if (mode == "nearest") {
    result.mode = Mode::nearest;
  } else if (mode == "cubic" || mode == "bicubic") {
    result.mode = Mode::cubic;
  } else if (mode != "linear" && mode != "bilinear") {
    return fail_input("attribute 'mode' is '{}', expected linear, nearest or cubic", printable(mode));
  }
  BEVEL_TRY(const std::string padding, attr_string(node, "padding_mode", "zeros"));
  if (padding == "border") {
    result.padding = Padding::border;
  } else if (padding == "reflection") {
    result.padding = Padding::reflection;
  } else if (padding != "zeros") {
    return fail_input("attribute 'padding_mode' is '{}', expected zeros, border or reflection", printable(padding));
  }
  BEVEL_TRY(result.align_corners, attr_flag(node, "align_corners", false));
  return result;
}

Status infer(InferContext& ctx) {
  BEVEL_TRY([[maybe_unused]] const Attributes attributes, attributes_of(ctx.node()));
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "X", 3));
  const Shape& x = input_shape(ctx, 0);
  const Shape& grid = input_shape(ctx, 1);
  Shape y;
  if (x.has_rank) {
    y = unknown_dims(x.rank());
    y.dims[0] = x.dims[0];
    y.dims[1] = x.dims[1];
  }
  if (grid.has_rank) {
    if (x.has_rank && grid.rank() != x.rank()) return fail_operand(1, "grid", "rank is {}, expected {} as X", grid.rank(), x.rank());
    for (std::size_t i = 2; i < y.dims.size(); ++i) y.dims[i] = grid.dims[i - 1];
  }
  set_output_like_input(ctx, std::move(y));
  return {};
}

Facts facts(const FactsContext&) {
  Facts facts;
  facts.value.data_operands = {0};
  return facts;
}

// Mirrors at low and high until inside.
double reflected(double x, double low, double high) {
  const double range = high - low;
  if (!(range > 0)) return low;
  const double distance = x < low ? low - x : x - high;
  if (distance <= 0) return x;
  const double turns = __builtin_floor(distance / range);
  const double rest = std::clamp(distance - turns * range, 0.0, range);
  const bool even = turns - 2 * __builtin_floor(turns / 2) == 0;
  return (x < low) == even ? low + rest : high - rest;
}

// The elements that one axis contributes to an output, with their weights; index -1: outside, a zero.
template <typename G>
struct Taps {
  int count = 0;
  std::array<std::int64_t, 4> index{};
  std::array<G, 4> weight{};
};

constexpr std::int64_t kMaxTaps = 1 << 16;  // elements that one output may read: they double or quadruple with every axis
constexpr double kFarthest = 1 << 30;  // positions beyond are outside whatever the extent, or were clamped before

template <typename G>
class Axis {
 public:
  Axis(const Attributes& attributes, std::int64_t size) : attributes_(attributes), size_(size) {
    low_ = attributes.align_corners ? 0.0 : -0.5;
    high_ = static_cast<double>(size) - (attributes.align_corners ? 1.0 : 0.5);
  }

  // `position`: -1 to 1 over the axis.
  Taps<G> taps(G position) const {
    const G extent = static_cast<G>(size_);
    G x = attributes_.align_corners ? (position + G{1}) / G{2} * (extent - G{1}) : ((position + G{1}) * extent - G{1}) / G{2};
    if (attributes_.mode == Mode::nearest) x = static_cast<G>(__builtin_rint(static_cast<double>(x)));
    const auto wide = static_cast<double>(x);
    if (wide != wide) x = attributes_.padding == Padding::zeros ? static_cast<G>(-kFarthest) : G{0};
    if (wide < low_ || wide > high_) {
      if (attributes_.padding == Padding::border) x = static_cast<G>(std::clamp(wide, 0.0, static_cast<double>(size_ - 1)));
      if (attributes_.padding == Padding::reflection) x = static_cast<G>(reflected(wide, low_, high_));
    }
    Taps<G> result;
    if (!(static_cast<double>(x) > -kFarthest && static_cast<double>(x) < kFarthest)) {
      result.count = 1;
      result.index[0] = -1;
      return result;
    }
    const auto floor = static_cast<std::int64_t>(__builtin_floor(static_cast<double>(x)));
    const G part = x - static_cast<G>(floor);
    const auto add = [&](std::int64_t index, G weight) {
      result.index[static_cast<std::size_t>(result.count)] = inside(index);
      result.weight[static_cast<std::size_t>(result.count++)] = weight;
    };
    switch (attributes_.mode) {
      case Mode::nearest:
        add(floor, G{1});
        break;
      case Mode::linear:
        add(floor, G{1} - part);
        add(floor + 1, part);
        break;
      case Mode::cubic:
        add(floor - 1, cubic_outer(part + G{1}));
        add(floor, cubic_inner(part));
        add(floor + 1, cubic_inner(G{1} - part));
        add(floor + 2, cubic_outer(G{2} - part));
        break;
    }
    return result;
  }

 private:
  // R. Keys: "Cubic convolution interpolation for digital image processing", IEEE TASSP 29(6), 1981; a = -0.75.
  static constexpr G kA = static_cast<G>(-0.75);
  static G cubic_outer(G d) { return ((kA * d - G{5} * kA) * d + G{8} * kA) * d - G{4} * kA; }
  static G cubic_inner(G d) { return ((kA + G{2}) * d - (kA + G{3})) * d * d + G{1}; }
  [[nodiscard]] std::int64_t inside(std::int64_t index) const {
    if (index >= 0 && index < size_) return index;
    if (attributes_.padding == Padding::zeros) return -1;
    if (attributes_.padding == Padding::border) return std::clamp<std::int64_t>(index, 0, size_ - 1);
    const double mirrored = reflected(static_cast<double>(index), low_, high_);
    return std::clamp<std::int64_t>(static_cast<std::int64_t>(mirrored), 0, size_ - 1);
  }
  const Attributes& attributes_;
  std::int64_t size_;
  double low_, high_;
};

struct Geometry {
  std::int64_t batch = 0, channels = 0, in_size = 1, out_size = 1;
  std::span<const std::int64_t> spatial;  // of X
  Dims strides;                           // of its spatial axes
  Dims y_dims;
};

// Calls visit(sample, output position, taps per axis) for every output position.
template <typename G, typename Visit>
void for_each_position(const Geometry& g, const Attributes& attributes, const G* grid, Visit visit) {
  const std::size_t rank = g.spatial.size();
  std::vector<Axis<G>> axes;
  for (const std::int64_t size : g.spatial) axes.emplace_back(attributes, size);
  std::vector<Taps<G>> taps(rank);
  for (std::int64_t n = 0; n < g.batch; ++n) {
    for (std::int64_t o = 0; o < g.out_size; ++o) {
      const G* position = grid + (n * g.out_size + o) * static_cast<std::int64_t>(rank);
      for (std::size_t a = 0; a < rank; ++a) taps[a] = axes[a].taps(position[rank - 1 - a]);  // the grid says x first
      visit(n, o, taps);
    }
  }
}

// Weight and offset in a plane of X of every combination of taps, in row-major order; outside ones are left out.
template <typename G, typename Visit>
void for_each_tap(const Geometry& g, const std::vector<Taps<G>>& taps, Visit visit) {
  std::vector<int> at(taps.size(), 0);
  while (true) {
    G weight = 1;
    std::int64_t offset = 0;
    bool inside = true;
    for (std::size_t a = 0; a < taps.size() && inside; ++a) {
      const auto k = static_cast<std::size_t>(at[a]);
      inside = taps[a].index[k] >= 0;
      weight *= taps[a].weight[k];
      offset += taps[a].index[k] * g.strides[a];
    }
    if (inside) visit(weight, offset);
    std::size_t a = taps.size();
    for (; a > 0; --a) {
      if (++at[a - 1] < taps[a - 1].count) break;
      at[a - 1] = 0;
    }
    if (a == 0) return;
  }
}

template <typename G>
Outputs sample(const EvalContext& ctx, const Geometry& g, const Attributes& attributes) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<G>::value, ctx.tensor(1).dims()));
  const FloatOperand<G> grid(ctx.tensor(1));
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), g.y_dims));
  if (attributes.mode == Mode::nearest) {  // moves elements of any type
    Tensor y = x.dtype() == DType::string
                   ? Tensor::of_strings(g.y_dims, std::vector<std::string>(static_cast<std::size_t>(*element_count(g.y_dims))))
                   : Tensor::zeros(x.dtype(), g.y_dims);
    if (y.size() == 0 || x.size() == 0) return std::vector<Datum>{std::move(y)};
    ElementCopier copier(x, y);
    for_each_position<G>(g, attributes, grid.data(), [&](std::int64_t n, std::int64_t o, const auto& taps) {
      for_each_tap<G>(g, taps, [&](G, std::int64_t offset) {
        for (std::int64_t c = 0; c < g.channels; ++c) {
          const std::int64_t plane = n * g.channels + c;
          copier.copy(plane * g.in_size + offset, plane * g.out_size + o);
        }
      });
    });
    return std::vector<Datum>{std::move(y)};
  }
  const bool single = is_plain_float(x.dtype()) && x.dtype() != DType::float64;
  if (!is_plain_float(x.dtype()) && !is_integer(x.dtype())) return fail_dtype(x.dtype(), "X");
  const auto interpolate = [&](auto tag) -> Outputs {
    using C = typename decltype(tag)::type;
    BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<C>::value, g.y_dims));
    BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<C>::value, x.dims()));
    const FloatOperand<C> in(x);
    std::vector<C> y(static_cast<std::size_t>(*element_count(g.y_dims)), C{0});
    if (in.size() > 0) {
      for_each_position<G>(g, attributes, grid.data(), [&](std::int64_t n, std::int64_t o, const auto& taps) {
        for_each_tap<G>(g, taps, [&](G weight, std::int64_t offset) {
          for (std::int64_t c = 0; c < g.channels; ++c) {
            const std::int64_t plane = n * g.channels + c;
            y[static_cast<std::size_t>(plane * g.out_size + o)] += static_cast<C>(weight) * in.data()[plane * g.in_size + offset];
          }
        });
      });
    }
    if (is_plain_float(x.dtype())) return std::vector<Datum>{from_computed<C>(x.dtype(), g.y_dims, y)};
    Tensor result = Tensor::zeros(x.dtype(), g.y_dims);
    // Towards zero, and no further than the type reaches.
    const bool known = dispatch_integers(x.dtype(), [&](auto integer) {
      using T = typename decltype(integer)::type;
      const auto out = result.mutable_values<T>();
      constexpr auto kLow = static_cast<double>(std::numeric_limits<T>::min());
      constexpr auto kHigh = static_cast<double>(std::numeric_limits<T>::max());
      for (std::size_t i = 0; i < out.size(); ++i) {
        const auto value = static_cast<double>(y[i]);
        out[i] = value >= kHigh   ? std::numeric_limits<T>::max()
                 : value <= kLow ? std::numeric_limits<T>::min()
                                 : static_cast<T>(value);
      }
    });
    if (!known) return fail_dtype(x.dtype(), "X");
    return std::vector<Datum>{std::move(result)};
  };
  return single ? interpolate(TypeTag<float>{}) : interpolate(TypeTag<double>{});
}

Outputs evaluate_grid_sample(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  const Tensor& grid = ctx.tensor(1);
  BEVEL_TRY(const Attributes attributes, attributes_of(ctx.node()));
  const std::size_t rank = x.rank() < 2 ? 0 : x.rank() - 2;
  if (rank < 1 || grid.rank() != rank + 2 || grid.dim(0) != x.dim(0) || grid.dims().back() != static_cast<std::int64_t>(rank)) {
    return fail_input("X and grid have shapes {} and {}, expected [N, C, D1, ...] and [N, O1, ..., number of spatial axes]",
                      to_string(x.dims()), to_string(grid.dims()));
  }
  if (!is_plain_float(grid.dtype())) return fail_dtype(grid.dtype(), "grid");
  std::int64_t taps = 1;
  for (std::size_t a = 0; a < rank && taps <= kMaxTaps; ++a)
    taps *= attributes.mode == Mode::nearest ? 1 : attributes.mode == Mode::linear ? 2 : 4;
  if (taps > kMaxTaps) return fail_operand(0, "X", "has {} spatial axes: an output would read more than {} elements", rank, kMaxTaps);
  Geometry g;
  g.batch = x.dim(0);
  g.channels = x.dim(1);
  g.spatial = std::span(x.dims()).subspan(2);
  g.strides = row_major_strides(g.spatial);
  g.in_size = product(x.dims(), 2, x.rank());
  g.out_size = product(grid.dims(), 1, rank + 1);
  g.y_dims = {g.batch, g.channels};
  g.y_dims.insert(g.y_dims.end(), grid.dims().begin() + 1, grid.dims().end() - 1);
  if (std::any_of(g.spatial.begin(), g.spatial.end(), [](std::int64_t size) { return size < 1 || size > (std::int64_t{1} << 30); }) &&
      g.out_size > 0) {
    return fail_operand(0, "X", "has shape {}, expected spatial extents of 1 to 2^30", to_string(x.dims()));
  }
  return grid.dtype() == DType::float64 ? sample<double>(ctx, g, attributes) : sample<float>(ctx, g, attributes);
}

// --- AffineGrid ---

Status infer_affine(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "theta", 3, 3));
  BEVEL_TRY_STATUS(expect_rank(ctx, 1, "size", 1, 1));
  BEVEL_TRY([[maybe_unused]] const bool align, attr_flag(ctx.node(), "align_corners", false));
  const Shape& theta = input_shape(ctx, 0);
  std::int64_t axes = extent(theta, 1);
  if (axes < 0 && extent(input_shape(ctx, 1), 0) > 2) axes = extent(input_shape(ctx, 1), 0) - 2;
  Shape y;
  if (axes == 2 || axes == 3) {
    y = unknown_dims(static_cast<std::size_t>(axes) + 2);
    if (theta.has_rank) y.dims[0] = theta.dims[0];
    y.dims.back() = Dim(axes);
    const auto size = ctx.input_ints(1);
    if (size && size->size() == static_cast<std::size_t>(axes) + 2) {
      for (std::size_t i = 0; i < static_cast<std::size_t>(axes); ++i) y.dims[i + 1] = (*size)[i + 2];
    }
  }
  ctx.set_output(0, Type::tensor(input_dtype(ctx, 0), std::move(y)));
  return {};
}

Facts facts_affine(const FactsContext&) {
  Facts facts;
  facts.value.data_operands = {0};
  return facts;
}

Outputs evaluate_affine_grid(const EvalContext& ctx) {
  const Tensor& theta = ctx.tensor(0);
  BEVEL_TRY(const bool align, attr_flag(ctx.node(), "align_corners", false));
  BEVEL_TRY(const auto size, evaluated_ints(ctx, 1, "size"));
  const std::int64_t axes = static_cast<std::int64_t>(size.size()) - 2;
  if ((axes != 2 && axes != 3) || theta.dims() != Dims{size[0], axes, axes + 1}) {
    return fail_input("theta has shape {} and size is {}, expected [N, 2, 3] and [N, C, H, W], or [N, 3, 4] and [N, C, D, H, W]",
                      to_string(theta.dims()), to_string(size));
  }
  if (!is_plain_float(theta.dtype())) return fail_dtype(theta.dtype(), "theta");
  Dims dims = {size[0]};
  dims.insert(dims.end(), size.begin() + 2, size.end());
  dims.push_back(axes);
  BEVEL_TRY_STATUS(ctx.reserve(theta.dtype(), dims));
  BEVEL_TRY_STATUS(ctx.reserve(DType::float64, dims));
  const auto rank = static_cast<std::size_t>(axes);
  const std::int64_t positions = product(dims, 1, rank + 1);
  const std::vector<double> matrices = to_doubles(theta);
  std::vector<double> y(static_cast<std::size_t>(*element_count(dims)));
  Dims index(rank, 0);
  for (std::int64_t n = 0; n < size[0]; ++n) {
    std::fill(index.begin(), index.end(), 0);
    for (std::int64_t p = 0; p < positions; ++p) {
      // [x, y, (z), 1]: the last axis first.
      std::array<double, 4> point{};
      for (std::size_t a = 0; a < rank; ++a) {
        const auto extent = static_cast<double>(size[a + 2]), i = static_cast<double>(index[a]);
        point[rank - 1 - a] = !align ? (2 * i + 1) / extent - 1 : extent > 1 ? 2 * i / (extent - 1) - 1 : 0;
      }
      point[rank] = 1;
      for (std::size_t r = 0; r < rank; ++r) {
        double sum = 0;
        for (std::size_t c = 0; c <= rank; ++c) {
          sum += matrices[(static_cast<std::size_t>(n) * rank + r) * (rank + 1) + c] * point[c];
        }
        y[static_cast<std::size_t>(n * positions + p) * rank + r] = sum;
      }
      for (std::size_t a = rank; a-- > 0;) {
        if (++index[a] < size[a + 2]) break;
        index[a] = 0;
      }
    }
  }
  return std::vector<Datum>{from_doubles(theta.dtype(), dims, y)};
}

}  // namespace

extern const OpRecord grid_sample_record = {.name = "GridSample",
                                            .since = 16,
                                            .min_inputs = 2,
                                            .max_inputs = 2,
                                            .infer = infer,
                                            .facts = facts,
                                            .evaluate = evaluate_grid_sample};
extern const OpRecord affine_grid_record = {.name = "AffineGrid",
                                            .since = 20,
                                            .min_inputs = 2,
                                            .max_inputs = 2,
                                            .infer = infer_affine,
                                            .facts = facts_affine,
                                            .evaluate = evaluate_affine_grid};

}  // namespace bevel::ops
