// Walking operands of different shapes under NumPy's multidirectional broadcasting (onnx/docs/Broadcasting.md).
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "lib/ops/family.h"

namespace bevel::ops {

// Merged axes of the broadcast result and the element strides of N operands along them; the result is row-major.
template <std::size_t N>
struct BroadcastWalk {
  Dims extent;  // at least one axis
  std::array<Dims, N> strides;
};

template <std::size_t N>
BroadcastWalk<N> broadcast_walk(const std::array<std::span<const std::int64_t>, N>& operands,
                                std::span<const std::int64_t> out) {
  std::array<Dims, N> full;
  for (std::size_t n = 0; n < N; ++n) full[n] = broadcast_strides(operands[n], out);
  BroadcastWalk<N> walk;
  for (std::size_t axis = 0; axis < out.size(); ++axis) {
    if (out[axis] == 1) continue;
    bool continues = !walk.extent.empty();
    for (std::size_t n = 0; n < N; ++n) continues = continues && walk.strides[n].back() == full[n][axis] * out[axis];
    if (continues) {
      walk.extent.back() *= out[axis];
      for (std::size_t n = 0; n < N; ++n) walk.strides[n].back() = full[n][axis];
    } else {
      walk.extent.push_back(out[axis]);
      for (std::size_t n = 0; n < N; ++n) walk.strides[n].push_back(full[n][axis]);
    }
  }
  if (walk.extent.empty()) {
    walk.extent.push_back(1);
    for (auto& strides : walk.strides) strides.push_back(0);
  }
  return walk;
}

// Calls row(operand offsets, out offset) for each run along the last merged axis. The result must not be empty.
template <std::size_t N, typename Row>
void for_each_broadcast_row(const BroadcastWalk<N>& walk, Row row) {
  const std::size_t outer = walk.extent.size() - 1;
  std::array<std::int64_t, N> offset{};
  std::int64_t out = 0;
  Dims index(outer, 0);
  while (true) {
    row(offset, out);
    out += walk.extent.back();
    std::size_t axis = outer;
    for (; axis > 0; --axis) {
      const std::size_t a = axis - 1;
      for (std::size_t n = 0; n < N; ++n) offset[n] += walk.strides[n][a];
      if (++index[a] < walk.extent[a]) break;
      for (std::size_t n = 0; n < N; ++n) offset[n] -= walk.strides[n][a] * walk.extent[a];
      index[a] = 0;
    }
    if (axis == 0) return;
  }
}

// out[i] = f(a[i], b[i]) over the broadcast shape; A, B, R are storage types, f sees and gives them.
template <typename A, typename B, typename R, typename F>
void map_broadcast(const Tensor& a, const Tensor& b, Tensor& out, F f) {
  if (out.size() == 0) return;
  const auto walk = broadcast_walk<2>({std::span(a.dims()), std::span(b.dims())}, out.dims());
  const A* pa = a.values<A>().data();
  const B* pb = b.values<B>().data();
  R* po = out.mutable_values<R>().data();
  const std::int64_t count = walk.extent.back(), sa = walk.strides[0].back(), sb = walk.strides[1].back();
  for_each_broadcast_row(walk, [&](const std::array<std::int64_t, 2>& offset, std::int64_t o) {
    const A* x = pa + offset[0];
    const B* y = pb + offset[1];
    R* z = po + o;
    if constexpr (std::is_same_v<A, float>) {  // the loops that calibration spends its time in
      if (sa == 1 && sb == 1) {
        for (std::int64_t i = 0; i < count; ++i) z[i] = f(x[i], y[i]);
        return;
      }
      if (sa == 1 && sb == 0) {
        const B scalar = *y;
        for (std::int64_t i = 0; i < count; ++i) z[i] = f(x[i], scalar);
        return;
      }
    }
    for (std::int64_t i = 0; i < count; ++i) z[i] = f(x[i * sa], y[i * sb]);
  });
}

// Shapes of all present inputs broadcast together.
Result<Dims> broadcast_inputs(const EvalContext& ctx);

}  // namespace bevel::ops
