// MaxPool, AveragePool, GlobalMaxPool on channels-last images.
#include <algorithm>
#include <limits>

#include "lib/ops/family.h"
#include "lib/ops/lower_functions.h"
#include "lib/ops/requantize.h"
#include "lib/ops/window.h"

namespace bevel::ops {
namespace {

struct Pool {
  Image in, out;
  Window window;
  std::uint64_t work = 0;  // elements read
  [[nodiscard]] std::int64_t rows() const { return std::int64_t{out.n} * out.h; }
};

Lowered<Pool> pool_of(const LowerContext& context, bool global) {
  const GroupOperand& x = context.inputs[0];
  const GroupOperand& y = context.outputs[0];
  auto in = image_of(x, "input 0");
  if (!in) return Reason(in.error());
  auto out = image_of(y, "output 0");
  if (!out) return Reason(out.error());
  Pool pool;
  pool.in = *in;
  pool.out = *out;
  if (in->c != out->c || in->n != out->n) return no_kernel("it changes batch or channels");
  if (global) {
    pool.window.kernel[0] = in->h;
    pool.window.kernel[1] = in->w;
  } else {
    auto window = window_of(*context.node, *in, x.dims.size() - 2, {});
    if (!window) return Reason(window.error());
    pool.window = *window;
  }
  pool.work = static_cast<std::uint64_t>(*element_count(y.dims)) * static_cast<std::uint64_t>(pool.window.kernel[0]) *
              static_cast<std::uint64_t>(pool.window.kernel[1]);
  return pool;
}

LowerResult max_pool(const LowerContext& context, bool global) {
  if (context.outputs.size() > 1 && context.outputs[1].value.valid()) return no_kernel("its Indices output is used");
  const auto pool = pool_of(context, global);
  if (!pool) return Reason(pool.error());
  LoweredGroup group;
  if (context.wide()) {
    const auto in_scale = symmetric_scale(context.inputs[0], "input 0");
    if (!in_scale) return Reason(in_scale.error());
    const auto out_scale = symmetric_scale(context.outputs[0], "output 0");
    if (!out_scale) return Reason(out_scale.error());
    const auto count = kernel_count(context.outputs[0].dims, "output 0");
    if (!count) return Reason(count.error());
    bvl_max_pool_s16_params params{};
    set_window(params, pool->in, pool->out, pool->window);
    params.c = pool->in.c;
    params.low = kInt16Range.low;
    params.high = kInt16Range.high;
    group.steps.push_back(make_step(BVL_KERNEL_MAX_POOL_S16, {StepOperand::input(0)}, {StepOperand::output(0)}, params,
                                    pool->rows(), pool->work));
    auto rescale = rescale_step(StepOperand::output(0), StepOperand::output(0), *in_scale, *context.outputs[0].quantization, context.clamp, *count);
    if (rescale) group.steps.push_back(std::move(*rescale));
    return group;
  }
  if (!eight_bit(context)) {
    if (auto reason = check_float(context)) return Reason(*reason);
    bvl_max_pool_f32_params params{};
    set_window(params, pool->in, pool->out, pool->window);
    params.c = pool->in.c;
    group.steps.push_back(make_step(BVL_KERNEL_MAX_POOL_F32, {StepOperand::input(0)}, {StepOperand::output(0)}, params,
                                    pool->rows(), pool->work));
    return group;
  }
  const auto x = activation_quantization(context.inputs[0], "input 0");
  if (!x) return Reason(x.error());
  const auto y = activation_quantization(context.outputs[0], "output 0");
  if (!y) return Reason(y.error());
  // The order of quantized values is that of real ones, so that the maximum commutes with any requantization.
  auto table = requantization_table(*x, *y, context.clamp);
  bvl_max_pool_s8_params params{};
  set_window(params, pool->in, pool->out, pool->window);
  params.c = pool->in.c;
  params.low = -128;
  params.high = 127;
  group.steps.push_back(make_step(BVL_KERNEL_MAX_POOL_S8, {StepOperand::input(0)}, {StepOperand::output(0)}, params,
                                  pool->rows(), pool->work));
  if (table) {
    group.constants.push_back(std::move(*table));
    group.steps.push_back(lut_step(StepOperand::output(0), StepOperand::output(0), 0, *element_count(context.outputs[0].dims)));
  }
  return group;
}

template <typename Params>
void set_average(Params& params, const LowerContext& context, const Pool& pool) {
  set_window(params, pool.in, pool.out, pool.window);
  params.c = pool.in.c;
  params.pad_bottom = pool.window.pad_end[0];
  params.pad_right = pool.window.pad_end[1];
  params.count_padding = attr_int(*context.node, "count_include_pad", 0).value_or(0) != 0 ? 1 : 0;
}

}  // namespace

LowerResult lower_max_pool(const LowerContext& context) { return max_pool(context, /*global=*/false); }
LowerResult lower_global_max_pool(const LowerContext& context) { return max_pool(context, /*global=*/true); }

LowerResult lower_average_pool(const LowerContext& context) {
  const auto pool = pool_of(context, /*global=*/false);
  if (!pool) return Reason(pool.error());
  LoweredGroup group;
  if (!context.integer()) {
    if (auto reason = check_float(context)) return Reason(*reason);
    bvl_avg_pool_f32_params params{};
    set_average(params, context, *pool);
    group.steps.push_back(make_step(BVL_KERNEL_AVG_POOL_F32, {StepOperand::input(0)}, {StepOperand::output(0)}, params,
                                    pool->rows(), pool->work));
    return group;
  }
  if (context.wide()) {
    const auto in_scale = symmetric_scale(context.inputs[0], "input 0");
    if (!in_scale) return Reason(in_scale.error());
    const auto out_scale = symmetric_scale(context.outputs[0], "output 0");
    if (!out_scale) return Reason(out_scale.error());
    if (std::int64_t{pool->window.kernel[0]} * pool->window.kernel[1] > INT32_MAX / 32768) {
      return no_kernel("its window of {} x {} elements may overflow 32 bits", pool->window.kernel[0], pool->window.kernel[1]);
    }
    bvl_avg_pool_s16_params params{};
    set_average(params, context, *pool);
    params.in_scale = *in_scale;
    params.out_scale = *out_scale;
    const ClampBounds bounds = clamp_bounds(*context.outputs[0].quantization, context.clamp);
    params.low = bounds.low;
    params.high = bounds.high;
    group.steps.push_back(make_step(BVL_KERNEL_AVG_POOL_S16, {StepOperand::input(0)}, {StepOperand::output(0)}, params,
                                    pool->rows(), pool->work));
    return group;
  }
  const auto x = activation_quantization(context.inputs[0], "input 0");
  if (!x) return Reason(x.error());
  const auto y = activation_quantization(context.outputs[0], "output 0");
  if (!y) return Reason(y.error());
  // 255 per element of the window.
  if (std::int64_t{pool->window.kernel[0]} * pool->window.kernel[1] > INT32_MAX / 255) {
    return no_kernel("its window of {} x {} elements may overflow 32 bits", pool->window.kernel[0], pool->window.kernel[1]);
  }
  bvl_avg_pool_s8_params params{};
  set_average(params, context, *pool);
  params.in_zp = device_zero_point(*x);
  params.out_zp = device_zero_point(*y);
  params.in_scale = x->scales[0];
  params.out_scale = y->scales[0];
  const ClampBounds bounds = clamp_bounds(*y, context.clamp);
  params.low = bounds.low;
  params.high = bounds.high;
  group.steps.push_back(make_step(BVL_KERNEL_AVG_POOL_S8, {StepOperand::input(0)}, {StepOperand::output(0)}, params,
                                  pool->rows(), pool->work));
  return group;
}

}  // namespace bevel::ops
