#include "lib/ops/slice.h"

#include <numeric>

#include "lib/ops/movement.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {

Outputs evaluate_slice(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  if (!ctx.has_input(1) || !ctx.has_input(2)) return fail_input("inputs 1 (starts) and 2 (ends) are required");
  BEVEL_TRY(const auto starts, evaluated_ints(ctx, 1, "starts"));
  BEVEL_TRY(const auto ends, evaluated_ints(ctx, 2, "ends"));
  std::vector<std::int64_t> axes(starts.size()), steps(starts.size(), 1);
  std::iota(axes.begin(), axes.end(), 0);
  if (ctx.has_input(3)) {
    BEVEL_TRY(axes, evaluated_ints(ctx, 3, "axes"));
  }
  if (ctx.has_input(4)) {
    BEVEL_TRY(steps, evaluated_ints(ctx, 4, "steps"));
  }
  if (ends.size() != starts.size() || axes.size() != starts.size() || steps.size() != starts.size()) {
    return fail_input("'starts', 'ends', 'axes' and 'steps' have {}, {}, {} and {} entries, expected the same number",
                      starts.size(), ends.size(), axes.size(), steps.size());
  }
  BEVEL_TRY(axes, normalize_axes(axes, x.rank()));
  Dims dims = x.dims();
  Walk walk{0, row_major_strides(x.dims())};
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const auto axis = static_cast<std::size_t>(axes[i]);
    if (steps[i] == 0) return fail_operand(4, "steps", "entry {} is 0", i);
    const SlicedAxis sliced = slice_axis(x.dim(axis), starts[i], ends[i], steps[i]);
    dims[axis] = sliced.count;
    walk.offset += sliced.start * walk.strides[axis];
    walk.strides[axis] *= sliced.step;
  }
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), dims));
  Tensor out = Tensor::zeros(x.dtype(), dims);
  copy_walk(x, walk, out, {0, row_major_strides(dims)}, dims);
  return std::vector<Datum>{std::move(out)};
}

}  // namespace bevel::ops
