// Element-wise functions over values that they replace.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

namespace bevel::ops {

// values[i] = f(values[i]). By way of a block aside, because compilers make a store under a condition, and no vectors, of a value that
// is replaced where it lies.
template <typename T, typename F>
void map_in_place(std::span<T> values, F f) {
  constexpr std::size_t kBlock = 64;
  T block[kBlock];
  std::size_t at = 0;
  for (; at + kBlock <= values.size(); at += kBlock) {
    T* const out = values.data() + at;
    std::copy_n(out, kBlock, block);
    for (std::size_t i = 0; i < kBlock; ++i) out[i] = f(block[i]);
  }
  for (; at < values.size(); ++at) values[at] = f(values[at]);
}

// values[i] = f(values[i], other[i]).
template <typename T, typename F>
void map_in_place(std::span<T> values, const T* other, F f) {
  constexpr std::size_t kBlock = 64;
  T block[kBlock], beside[kBlock];
  std::size_t at = 0;
  for (; at + kBlock <= values.size(); at += kBlock) {
    T* const out = values.data() + at;
    std::copy_n(out, kBlock, block);
    std::copy_n(other + at, kBlock, beside);
    for (std::size_t i = 0; i < kBlock; ++i) out[i] = f(block[i], beside[i]);
  }
  for (; at < values.size(); ++at) values[at] = f(values[at], other[at]);
}

}  // namespace bevel::ops
