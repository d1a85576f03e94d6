#include "lib/ops/pad.h"

#include <algorithm>

#include "lib/ops/movement.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

// Which element of an axis of `extent` each padded position reads; -1: the fill.
Result<std::vector<std::int64_t>> source_of(std::int64_t extent, const AxisPads& pads, const std::string& mode) {
  BEVEL_TRY(const std::int64_t total, padded_extent(extent, pads));
  // What a crop leaves is the axis that the other side's padding reflects, repeats or wraps.
  const std::int64_t first = std::max<std::int64_t>(0, -pads.begin);
  const std::int64_t count = std::max<std::int64_t>(0, extent - first - std::max<std::int64_t>(0, -pads.end));
  if (mode != "constant" && count == 0 && total > 0) {
    return fail_operand(0, "data", "an axis without elements cannot be padded in mode '{}'", mode);
  }
  std::vector<std::int64_t> table(static_cast<std::size_t>(total));
  for (std::int64_t i = 0; i < total; ++i) {
    std::int64_t at = i - std::max<std::int64_t>(0, pads.begin);
    if (at < 0 || at >= count) {
      if (mode == "constant") {
        at = -1 - first;
      } else if (mode == "edge") {
        at = at < 0 ? 0 : count - 1;
      } else if (mode == "wrap") {
        at %= count;
        if (at < 0) at += count;
      } else if (count == 1) {
        at = 0;
      } else {  // reflect: period 2 (count - 1), the edge not repeated
        const std::int64_t period = 2 * (count - 1);
        at %= period;
        if (at < 0) at += period;
        if (at >= count) at = period - at;
      }
    }
    table[static_cast<std::size_t>(i)] = at + first;
  }
  return table;
}

}  // namespace

Outputs evaluate_pad(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const std::string mode, attr_string(ctx.node(), "mode", "constant"));
  if (mode != "constant" && mode != "reflect" && mode != "edge" && mode != "wrap") {
    return fail_input("attribute 'mode' is '{}', expected constant, reflect, edge or wrap", printable(mode));
  }
  if (!ctx.has_input(1)) return fail_input("input 1 (pads) is required");
  BEVEL_TRY(const auto pads, evaluated_ints(ctx, 1, "pads"));
  std::optional<std::vector<std::int64_t>> axes;
  if (ctx.has_input(3)) {
    BEVEL_TRY(axes, evaluated_ints(ctx, 3, "axes"));
  }
  BEVEL_TRY(const auto per_axis, pads_per_axis(pads, axes, x.rank()));
  Dims dims(x.rank());
  for (std::size_t i = 0; i < x.rank(); ++i) {
    BEVEL_TRY(dims[i], padded_extent(x.dim(i), per_axis[i]));
  }
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), dims));
  Tensor out = Tensor::zeros(x.dtype(), dims);
  if (out.size() == 0) return std::vector<Datum>{std::move(out)};
  if (mode == "constant" && ctx.has_input(2)) {
    const Tensor& value = ctx.tensor(2);
    if (value.size() != 1 || value.dtype() != x.dtype()) {
      return fail_operand(2, "constant_value", "is {}{}, expected one {}", dtype_name(value.dtype()), to_string(value.dims()), dtype_name(x.dtype()));
    }
    fill(out, value);
  }
  std::vector<std::vector<std::int64_t>> tables;
  for (std::size_t i = 0; i < x.rank(); ++i) {
    BEVEL_TRY(auto table, source_of(x.dim(i), per_axis[i], mode));
    tables.push_back(std::move(table));
  }
  copy_by_tables(x, out, tables);
  return std::vector<Datum>{std::move(out)};
}

}  // namespace bevel::ops
