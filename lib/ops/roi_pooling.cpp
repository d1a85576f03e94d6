// Pooling over regions of interest: MaxRoiPool (ONNX opsets 1, 22; R. Girshick: "Fast R-CNN", ICCV 2015) takes the maximum of the
// elements of each bin, RoiAlign (10, 16, 22; K. He et al.: "Mask R-CNN", ICCV 2017) samples each bin between them.
#include <algorithm>

#include "lib/ops/float_operands.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

constexpr std::int64_t kHalfPixelOpset = 16;  // RoiAlign: its attribute, and half_pixel as the default
constexpr std::int64_t kMaxPooled = 1 << 20;  // output extent
constexpr double kMaxSamples = 1 << 12;       // of one bin along one axis: no image is sampled more densely
constexpr double kFarthest = 1 << 30;

bool in_range(std::int64_t extent) { return extent >= 1 && extent <= kMaxPooled; }

// --- MaxRoiPool ---

Result<std::vector<std::int64_t>> pooled_shape(const Node& node) {
  BEVEL_TRY(const auto shape, attr_ints(node, "pooled_shape"));
  if (shape.size() != 2 || !in_range(shape[0]) || !in_range(shape[1]))
    return fail_input("attribute 'pooled_shape' is {}, expected two extents of 1 to {}", to_string(shape), kMaxPooled);
  return shape;
}

Status infer_max(InferContext& ctx) {
  BEVEL_TRY(const auto pooled, pooled_shape(ctx.node()));
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "X", 4, 4));
  BEVEL_TRY_STATUS(expect_rank(ctx, 1, "rois", 2, 2));
  Shape y = unknown_dims(4);
  if (input_shape(ctx, 1).has_rank) y.dims[0] = input_shape(ctx, 1).dims[0];
  if (input_shape(ctx, 0).has_rank) y.dims[1] = input_shape(ctx, 0).dims[1];
  y.dims[2] = Dim(pooled[0]);
  y.dims[3] = Dim(pooled[1]);
  set_output_like_input(ctx, std::move(y));
  return {};
}

Facts facts_of_x(const FactsContext&) {
  Facts facts;
  facts.value.data_operands = {0};
  return facts;
}

struct Bin {
  std::int64_t begin = 0, end = 0;
};
// Bin `index` of a region from `first` to `last` (both inside, in whole elements), cut to [0, size).
Bin bin_of(double first, double last, std::int64_t bins, std::int64_t index, std::int64_t size) {
  const double step = std::max(last - first + 1, 1.0) / static_cast<double>(bins);
  const auto cut = [&](double at) { return static_cast<std::int64_t>(std::clamp(at, 0.0, static_cast<double>(size))); };
  return {cut(first + __builtin_floor(static_cast<double>(index) * step)),
          cut(first + __builtin_ceil(static_cast<double>(index + 1) * step))};
}

// Halves away from zero.
double whole(double x) { return x < 0 ? -__builtin_floor(0.5 - x) : __builtin_floor(x + 0.5); }

Outputs evaluate_max_roi_pool(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  const Tensor& rois = ctx.tensor(1);
  BEVEL_TRY(const auto pooled, pooled_shape(ctx.node()));
  BEVEL_TRY(const float scale, attr_float(ctx.node(), "spatial_scale", 1.0f));
  if (x.rank() != 4 || rois.rank() != 2 || rois.dim(1) != 5 || rois.dtype() != x.dtype()) {
    return fail_input("X is {} {} and rois {} {}, expected [N, C, H, W] and [regions, 5] of the same element type",
                      dtype_name(x.dtype()), to_string(x.dims()), dtype_name(rois.dtype()), to_string(rois.dims()));
  }
  if (!is_plain_float(x.dtype())) return fail_dtype(x.dtype(), "X");
  const Dims dims = {rois.dim(0), x.dim(1), pooled[0], pooled[1]};
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), dims));
  const std::vector<double> regions = to_doubles(rois);
  const std::int64_t height = x.dim(2), width = x.dim(3);
  return with_compute_type(x.dtype(), "X", [&](auto tag) -> Outputs {
    using C = typename decltype(tag)::type;
    BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<C>::value, dims));
    BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<C>::value, x.dims()));
    const FloatOperand<C> in(x);
    std::vector<C> y(static_cast<std::size_t>(*element_count(dims)), C{0});
    std::size_t at = 0;
    for (std::int64_t r = 0; r < dims[0]; ++r) {
      const double* region = regions.data() + r * 5;
      double corners[4];
      for (int i = 0; i < 4; ++i) corners[i] = whole(region[i + 1] * static_cast<double>(scale));
      const bool finite = std::all_of(corners, corners + 4, [](double c) { return c > -kFarthest && c < kFarthest; });
      if (!finite || !(region[0] >= 0 && region[0] < static_cast<double>(x.dim(0)))) {
        return fail_operand(1, "rois", "row {} is image {} at [{}, {}, {}, {}], expected an image of 0 to {} and finite corners", r,
                            region[0], region[1], region[2], region[3], region[4], x.dim(0) - 1);
      }
      const auto image = static_cast<std::int64_t>(region[0]);
      for (std::int64_t c = 0; c < dims[1]; ++c) {
        const C* plane = in.data() + (image * dims[1] + c) * height * width;
        for (std::int64_t ph = 0; ph < pooled[0]; ++ph) {
          const Bin rows = bin_of(corners[1], corners[3], pooled[0], ph, height);
          for (std::int64_t pw = 0; pw < pooled[1]; ++pw) {
            const Bin columns = bin_of(corners[0], corners[2], pooled[1], pw, width);
            bool any = false;  // an empty bin gives 0
            for (std::int64_t i = rows.begin; i < rows.end; ++i) {
              for (std::int64_t j = columns.begin; j < columns.end; ++j) {
                const C value = plane[i * width + j];
                if (!any || value > y[at]) y[at] = value;
                any = true;
              }
            }
            ++at;
          }
        }
      }
    }
    return std::vector<Datum>{from_computed<C>(x.dtype(), dims, y)};
  });
}

// --- RoiAlign ---

struct AlignAttributes {
  bool half_pixel = true, average = true;
  std::int64_t height = 1, width = 1, sampling = 0;
  float scale = 1;
};

Result<AlignAttributes> align_attributes(const Node& node, std::int64_t opset) {
  AlignAttributes result;
  BEVEL_TRY(const std::string mode, attr_string(node, "mode", "avg"));
  if (mode != "avg" && mode != "max") return fail_input("attribute 'mode' is '{}', expected avg or max", printable(mode));
  result.average = mode == "avg";
  BEVEL_TRY(const std::string transformation, attr_string(node, "coordinate_transformation_mode",
                                                          opset < kHalfPixelOpset ? "output_half_pixel" : "half_pixel"));
  if (transformation != "half_pixel" && transformation != "output_half_pixel") {
    return fail_input("attribute 'coordinate_transformation_mode' is '{}', expected half_pixel or output_half_pixel",
                      printable(transformation));
  }
  result.half_pixel = transformation == "half_pixel";
  BEVEL_TRY(result.height, attr_int(node, "output_height", 1));
  BEVEL_TRY(result.width, attr_int(node, "output_width", 1));
  if (!in_range(result.height) || !in_range(result.width)) {
    return fail_input("attributes 'output_height' and 'output_width' are {} and {}, expected 1 to {}", result.height, result.width,
                      kMaxPooled);
  }
  BEVEL_TRY(result.sampling, attr_int(node, "sampling_ratio", 0));
  if (result.sampling < 0 || result.sampling > static_cast<std::int64_t>(kMaxSamples))
    return fail_input("attribute 'sampling_ratio' is {}, expected 0 to {}", result.sampling, static_cast<std::int64_t>(kMaxSamples));
  BEVEL_TRY(result.scale, attr_float(node, "spatial_scale", 1.0f));
  return result;
}

Status infer_align(InferContext& ctx) {
  BEVEL_TRY(const AlignAttributes attributes, align_attributes(ctx.node(), ctx.opset()));
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "X", 4, 4));
  BEVEL_TRY_STATUS(expect_rank(ctx, 1, "rois", 2, 2));
  BEVEL_TRY_STATUS(expect_rank(ctx, 2, "batch_indices", 1, 1));
  Shape y = unknown_dims(4);
  if (input_shape(ctx, 1).has_rank) y.dims[0] = input_shape(ctx, 1).dims[0];
  if (input_shape(ctx, 2).has_rank && !y.dims[0].known()) y.dims[0] = input_shape(ctx, 2).dims[0];
  if (input_shape(ctx, 0).has_rank) y.dims[1] = input_shape(ctx, 0).dims[1];
  y.dims[2] = Dim(attributes.height);
  y.dims[3] = Dim(attributes.width);
  set_output_like_input(ctx, std::move(y));
  return {};
}

// One sampled row or column: two neighbours and their weights; none outside the image.
template <typename C>
struct Sample {
  bool inside = false;
  std::int64_t low = 0, high = 0;
  C low_weight = 0, high_weight = 0;
};
template <typename C>
Sample<C> sample_at(C at, std::int64_t size) {
  Sample<C> s;
  if (!(at >= C{-1} && at <= static_cast<C>(size)) || size == 0) return s;
  s.inside = true;
  at = std::max(at, C{0});
  s.low = static_cast<std::int64_t>(at);
  if (s.low >= size - 1) {
    s.low = s.high = size - 1;
    at = static_cast<C>(s.low);
  } else {
    s.high = s.low + 1;
  }
  s.high_weight = at - static_cast<C>(s.low);
  s.low_weight = C{1} - s.high_weight;
  return s;
}

// The samples of all bins along one axis: [bins][per_bin].
template <typename C>
std::vector<Sample<C>> samples_of(C begin, C size, std::int64_t bins, std::int64_t per_bin, std::int64_t extent) {
  std::vector<Sample<C>> samples;
  const C bin = size / static_cast<C>(bins);
  for (std::int64_t b = 0; b < bins; ++b) {
    for (std::int64_t i = 0; i < per_bin; ++i) {
      const C at = begin + static_cast<C>(b) * bin + (static_cast<C>(i) + C{0.5}) * bin / static_cast<C>(per_bin);
      samples.push_back(sample_at<C>(at, extent));
    }
  }
  return samples;
}

template <typename C>
Outputs align(const EvalContext& ctx, const AlignAttributes& attributes) {
  const Tensor& x = ctx.tensor(0);
  const Tensor& images = ctx.tensor(2);
  const Dims dims = {ctx.tensor(1).dim(0), x.dim(1), attributes.height, attributes.width};
  const std::int64_t height = x.dim(2), width = x.dim(3);
  BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<C>::value, dims));
  BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<C>::value, x.dims()));
  const FloatOperand<C> in(x), rois(ctx.tensor(1));
  std::vector<C> y(static_cast<std::size_t>(*element_count(dims)));
  std::size_t out = 0;
  for (std::int64_t r = 0; r < dims[0]; ++r) {
    const std::int64_t image = images.as_int64(r);
    if (image < 0 || image >= x.dim(0))
      return fail_operand(2, "batch_indices", "element {} is {}, expected 0 to {}", r, image, x.dim(0) - 1);
    const C offset = attributes.half_pixel ? C{0.5} : C{0};
    C corner[4];
    for (std::int64_t i = 0; i < 4; ++i) {
      corner[i] = rois[static_cast<std::size_t>(r * 4 + i)] * static_cast<C>(attributes.scale) - offset;
      if (!(static_cast<double>(corner[i]) > -kFarthest && static_cast<double>(corner[i]) < kFarthest))
        return fail_operand(1, "rois", "row {} has a corner at {}, expected a finite one", r, corner[i]);
    }
    C roi_width = corner[2] - corner[0], roi_height = corner[3] - corner[1];
    if (!attributes.half_pixel) {  // malformed regions become 1 x 1
      roi_width = std::max(roi_width, C{1});
      roi_height = std::max(roi_height, C{1});
    }
    const auto per_bin = [&](C size, std::int64_t bins) {
      const double adaptive = __builtin_ceil(static_cast<double>(size / static_cast<C>(bins)));
      return attributes.sampling > 0 ? static_cast<double>(attributes.sampling) : std::max(0.0, adaptive);
    };
    const double row_samples = per_bin(roi_height, attributes.height), column_samples = per_bin(roi_width, attributes.width);
    if (row_samples > kMaxSamples || column_samples > kMaxSamples) {
      return fail_operand(1, "rois", "row {} is {} by {}, more than {} samples for a bin", r, roi_width, roi_height, kMaxSamples);
    }
    const auto rows_per = static_cast<std::int64_t>(row_samples), columns_per = static_cast<std::int64_t>(column_samples);
    const std::int64_t counts[] = {attributes.height, rows_per + 1, attributes.width, columns_per + 1};
    BEVEL_TRY_STATUS(ctx.reserve(DType::float32, counts));  // as many steps are taken per channel
    const auto rows = samples_of<C>(corner[1], roi_height, attributes.height, rows_per, height);
    const auto columns = samples_of<C>(corner[0], roi_width, attributes.width, columns_per, width);
    const double count = std::max(1.0, row_samples * column_samples);
    for (std::int64_t c = 0; c < dims[1]; ++c) {
      const C* plane = in.data() + (image * dims[1] + c) * height * width;
      for (std::int64_t ph = 0; ph < attributes.height; ++ph) {
        for (std::int64_t pw = 0; pw < attributes.width; ++pw) {
          double sum = 0, highest = 0;
          bool any = false;
          for (std::int64_t i = 0; i < rows_per; ++i) {
            const Sample<C>& row = rows[static_cast<std::size_t>(ph * rows_per + i)];
            for (std::int64_t j = 0; j < columns_per; ++j) {
              const Sample<C>& column = columns[static_cast<std::size_t>(pw * columns_per + j)];
              C terms[4] = {};
              if (row.inside && column.inside) {
                terms[0] = row.low_weight * column.low_weight * plane[row.low * width + column.low];
                terms[1] = row.low_weight * column.high_weight * plane[row.low * width + column.high];
                terms[2] = row.high_weight * column.low_weight * plane[row.high * width + column.low];
                terms[3] = row.high_weight * column.high_weight * plane[row.high * width + column.high];
              }
              // mode max takes the largest weighted neighbour of any sample, as the operator is specified.
              for (const C term : terms) {
                sum += static_cast<double>(term);
                if (!any || static_cast<double>(term) > highest) highest = static_cast<double>(term);
                any = true;
              }
            }
          }
          y[out++] = static_cast<C>(attributes.average ? sum / count : highest);
        }
      }
    }
  }
  return std::vector<Datum>{from_computed<C>(x.dtype(), dims, y)};
}

Outputs evaluate_roi_align(const EvalContext& ctx) {
  BEVEL_TRY(const AlignAttributes attributes, align_attributes(ctx.node(), ctx.opset()));
  const Tensor& x = ctx.tensor(0);
  const Tensor& rois = ctx.tensor(1);
  const Tensor& images = ctx.tensor(2);
  if (x.rank() != 4 || rois.rank() != 2 || rois.dim(1) != 4 || rois.dtype() != x.dtype()) {
    return fail_input("X is {} {} and rois {} {}, expected [N, C, H, W] and [regions, 4] of the same element type",
                      dtype_name(x.dtype()), to_string(x.dims()), dtype_name(rois.dtype()), to_string(rois.dims()));
  }
  if (images.dtype() != DType::int64 || images.dims() != Dims{rois.dim(0)}) {
    return fail_operand(2, "batch_indices", "is {} {}, expected int64 [{}]", dtype_name(images.dtype()),
                        to_string(images.dims()), rois.dim(0));
  }
  return with_compute_type(x.dtype(), "X", [&](auto tag) { return align<typename decltype(tag)::type>(ctx, attributes); });
}

}  // namespace

extern const OpRecord max_roi_pool_record = {.name = "MaxRoiPool",
                                             .min_inputs = 2,
                                             .max_inputs = 2,
                                             .infer = infer_max,
                                             .facts = facts_of_x,
                                             .evaluate = evaluate_max_roi_pool};
extern const OpRecord roi_align_record = {.name = "RoiAlign",
                                          .since = 10,
                                          .min_inputs = 3,
                                          .max_inputs = 3,
                                          .infer = infer_align,
                                          .facts = facts_of_x,
                                          .evaluate = evaluate_roi_align};

}  // namespace bevel::ops
