// Col2Im (ONNX opset 18): blocks of an image back in their places, summed where they overlap; what a convolution's gather undoes.
#include <algorithm>

#include "lib/ops/float_operands.h"
#include "lib/ops/sliding_window.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

Status infer(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "input", 3, 3));
  BEVEL_TRY_STATUS(expect_rank(ctx, 1, "image_shape", 1, 1));
  BEVEL_TRY_STATUS(expect_rank(ctx, 2, "block_shape", 1, 1));
  const Shape& x = input_shape(ctx, 0);
  const auto image = ctx.input_ints(1);
  const std::int64_t axes = image ? static_cast<std::int64_t>(image->size()) : extent(input_shape(ctx, 1), 0);
  if (axes < 0 || axes > 62) return {};
  Shape y = unknown_dims(static_cast<std::size_t>(axes) + 2);
  if (x.has_rank) y.dims[0] = x.dims[0];
  if (const auto block = all_ints(ctx, 2); block && extent(x, 1) >= 0) {
    std::optional<std::int64_t> size = 1;
    for (const std::int64_t b : *block) size = size && b > 0 ? checked_mul(*size, b) : std::nullopt;
    if (size && extent(x, 1) % *size == 0) y.dims[1] = Dim(extent(x, 1) / *size);
  }
  if (image) {
    for (std::size_t i = 0; i < image->size(); ++i) y.dims[i + 2] = (*image)[i];
  }
  set_output_like_input(ctx, std::move(y));
  return {};
}

Facts facts(const FactsContext&) {
  Facts facts;
  facts.value.data_operands = {0};
  return facts;
}

struct Geometry {
  std::int64_t planes = 0, block_size = 1, positions = 1;
  std::vector<WindowAxis> axes;  // in: the image, out: the blocks' positions
  Dims y_dims;
};

Result<Geometry> geometry_of(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  if (x.rank() != 3) return fail_operand(0, "input", "has shape {}, expected rank 3", to_string(x.dims()));
  BEVEL_TRY(const auto image, evaluated_ints(ctx, 1, "image_shape"));
  BEVEL_TRY(const auto block, evaluated_ints(ctx, 2, "block_shape"));
  if (image.empty() || image.size() != block.size() || image.size() > 62)
    return fail_input("image_shape is {} and block_shape {}, expected one extent per spatial axis", to_string(image), to_string(block));
  for (const std::int64_t size : image) {
    if (size < 0) return fail_operand(1, "image_shape", "is {}, expected no negative extent", to_string(image));
  }
  Geometry g;
  BEVEL_TRY(const auto window, window_attributes(ctx.node(), image.size(), block));
  Dims positions;
  for (std::size_t i = 0; i < image.size(); ++i) {
    BEVEL_TRY(const WindowAxis axis, window_axis(window, i, image[i]));
    g.axes.push_back(axis);
    positions.push_back(axis.out);
  }
  const auto block_size = element_count(block), position_count = element_count(positions);
  if (!block_size || !position_count || x.dim(1) % *block_size != 0 || x.dim(2) != *position_count) {
    return fail_operand(0, "input", "has shape {}, expected [N, a multiple of the elements of {}, the positions of {}]",
                        to_string(x.dims()), to_string(block), to_string(positions));
  }
  g.block_size = *block_size;
  g.positions = *position_count;
  g.y_dims = {x.dim(0), x.dim(1) / *block_size};
  g.planes = product(g.y_dims, 0, 2);
  g.y_dims.insert(g.y_dims.end(), image.begin(), image.end());
  return g;
}

// T: the type to sum in; integers as unsigned ones, which wrap.
template <typename T>
std::vector<T> scatter(const Geometry& g, const std::vector<T>& x) {
  std::vector<T> y(static_cast<std::size_t>(*element_count(g.y_dims)), T{});
  const std::int64_t image_size = product(g.y_dims, 2, g.y_dims.size());
  std::vector<std::int64_t> k(g.axes.size(), 0), o(g.axes.size(), 0);
  for (std::int64_t tap = 0; tap < g.block_size; ++tap) {
    std::fill(o.begin(), o.end(), 0);
    for (std::int64_t position = 0; position < g.positions; ++position) {
      std::int64_t target = 0;
      bool inside = true;
      for (std::size_t a = 0; a < g.axes.size() && inside; ++a) {
        const std::int64_t at = o[a] * g.axes[a].stride - g.axes[a].pad_begin + k[a] * g.axes[a].dilation;
        inside = at >= 0 && at < g.axes[a].in;
        target = target * g.axes[a].in + at;
      }
      for (std::int64_t plane = 0; inside && plane < g.planes; ++plane) {
        y[static_cast<std::size_t>(plane * image_size + target)] +=
            x[static_cast<std::size_t>((plane * g.block_size + tap) * g.positions + position)];
      }
      for (std::size_t a = o.size(); a-- > 0;) {
        if (++o[a] < g.axes[a].out) break;
        o[a] = 0;
      }
    }
    for (std::size_t a = k.size(); a-- > 0;) {
      if (++k[a] < g.axes[a].kernel) break;
      k[a] = 0;
    }
  }
  return y;
}

Outputs evaluate_col2im(const EvalContext& ctx) {
  BEVEL_TRY(const Geometry g, geometry_of(ctx));
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY_STATUS(ctx.reserve(DType::float64, x.dims()));
  BEVEL_TRY_STATUS(ctx.reserve(DType::float64, g.y_dims));
  if (is_plain_float(x.dtype())) {
    if (x.dtype() == DType::float64) return std::vector<Datum>{from_doubles(x.dtype(), g.y_dims, scatter(g, to_doubles(x)))};
    return std::vector<Datum>{from_floats(x.dtype(), g.y_dims, scatter(g, x.as_floats()))};
  }
  if (!is_integer(x.dtype()) || dtype_bits(x.dtype()) < 8) return fail_dtype(x.dtype(), "input");
  std::vector<std::uint64_t> values(static_cast<std::size_t>(x.size()));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<std::uint64_t>(x.as_int64(static_cast<std::int64_t>(i)));
  const std::vector<std::uint64_t> sums = scatter(g, values);
  Tensor y = Tensor::zeros(x.dtype(), g.y_dims);
  dispatch_integers(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto out = y.mutable_values<T>();
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<T>(sums[i]);
  });
  return std::vector<Datum>{std::move(y)};
}

}  // namespace

extern const OpRecord col2im_record = {
    .name = "Col2Im", .since = 18, .min_inputs = 3, .max_inputs = 3, .infer = infer, .facts = facts, .evaluate = evaluate_col2im};

}  // namespace bevel::ops
