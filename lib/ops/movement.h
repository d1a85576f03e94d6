// Moving elements of any dtype: whole bytes, packed sub-byte elements and strings. The arithmetic-free part of the
// tensor families, and of whoever changes a tensor's memory order.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lib/ir/tensor.h"

namespace bevel::ops {

// A rectangular walk over a tensor's elements: offset and one stride per axis of the walk, in elements; 0 repeats, negative
// runs backwards.
struct Walk {
  std::int64_t offset = 0;
  Dims strides;
};

// to[to_walk(i)] = from[from_walk(i)] for every i in `extent`. Both tensors have one dtype; every index must be in range.
void copy_walk(const Tensor& from, const Walk& from_walk, Tensor& to, const Walk& to_walk,
               std::span<const std::int64_t> extent);

// to[i0, i1, ...] = from[tables[0][i0], tables[1][i1], ...]; a negative entry leaves the element as it is. Ranks agree, and
// table k has to.dim(k) entries below from.dim(k).
void copy_by_tables(const Tensor& from, Tensor& to, const std::vector<std::vector<std::int64_t>>& tables);

// Single elements and runs between tensors of one dtype.
class ElementCopier {
 public:
  ElementCopier(const Tensor& from, Tensor& to);
  void copy(std::int64_t from, std::int64_t to, std::int64_t count = 1);

 private:
  const Tensor* source_;
  Tensor* target_;
  const std::byte* from_ = nullptr;
  std::byte* to_ = nullptr;
  std::size_t element_bytes_ = 0;  // 0: strings or sub-byte elements
};

// Every element becomes element `index` of `value` (same dtype).
void fill(Tensor& tensor, const Tensor& value, std::int64_t index = 0);

// Axis k of the result is axis perm[k] of the tensor.
Tensor permute(const Tensor& tensor, std::span<const int> perm);

// Sub-byte elements one per byte (int8 or uint8 of the same values, float4 bits), others as they are.
bool is_packed(DType dtype);

}  // namespace bevel::ops
