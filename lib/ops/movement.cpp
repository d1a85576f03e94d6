#include "lib/ops/movement.h"

#include <cstring>

#include "lib/ops/family.h"

namespace bevel::ops {
namespace {

struct Word16 {
  std::uint64_t words[2];
};

// Axes of extent 1 drop out, and an axis that continues its inner neighbour on both sides merges with it.
struct Merged {
  Dims extent, from, to;
};

Merged merge_axes(std::span<const std::int64_t> extent, const Dims& from, const Dims& to) {
  Merged merged;
  for (std::size_t axis = 0; axis < extent.size(); ++axis) {
    if (extent[axis] == 1) continue;
    if (!merged.extent.empty() && merged.from.back() == from[axis] * extent[axis] &&
        merged.to.back() == to[axis] * extent[axis]) {
      merged.extent.back() *= extent[axis];
      merged.from.back() = from[axis];
      merged.to.back() = to[axis];
      continue;
    }
    merged.extent.push_back(extent[axis]);
    merged.from.push_back(from[axis]);
    merged.to.push_back(to[axis]);
  }
  if (merged.extent.empty()) {
    merged.extent.push_back(1);
    merged.from.push_back(1);
    merged.to.push_back(1);
  }
  return merged;
}

// Calls row(from_offset, to_offset) for every combination of all axes but the last.
template <typename Row>
void for_each_row(const Merged& merged, std::int64_t from_offset, std::int64_t to_offset, Row row) {
  const std::size_t outer = merged.extent.size() - 1;
  Dims index(outer, 0);
  while (true) {
    row(from_offset, to_offset);
    std::size_t axis = outer;
    while (axis > 0) {
      --axis;
      from_offset += merged.from[axis];
      to_offset += merged.to[axis];
      if (++index[axis] < merged.extent[axis]) break;
      from_offset -= merged.from[axis] * merged.extent[axis];
      to_offset -= merged.to[axis] * merged.extent[axis];
      index[axis] = 0;
      if (axis == 0) return;
    }
    if (outer == 0) return;
  }
}

template <typename T>
void copy_typed(const T* from, std::int64_t from_offset, T* to, std::int64_t to_offset, const Merged& merged) {
  const std::int64_t count = merged.extent.back(), fs = merged.from.back(), ts = merged.to.back();
  for_each_row(merged, from_offset, to_offset, [&](std::int64_t f, std::int64_t t) {
    if constexpr (std::is_trivially_copyable_v<T>) {
      if (fs == 1 && ts == 1) {
        std::memcpy(to + t, from + f, static_cast<std::size_t>(count) * sizeof(T));
        return;
      }
    }
    for (std::int64_t i = 0; i < count; ++i) to[t + i * ts] = from[f + i * fs];
  });
}

std::uint8_t get_packed(const std::byte* bytes, int bits, std::int64_t index) {
  const std::int64_t bit = index * bits;
  return static_cast<std::uint8_t>((static_cast<int>(bytes[bit / 8]) >> (bit % 8)) & ((1 << bits) - 1));
}

void set_packed(std::byte* bytes, int bits, std::int64_t index, std::uint8_t value) {
  const std::int64_t bit = index * bits;
  const int shift = static_cast<int>(bit % 8), mask = ((1 << bits) - 1) << shift;
  const int old = static_cast<int>(bytes[bit / 8]);
  bytes[bit / 8] = static_cast<std::byte>((old & ~mask) | ((value << shift) & mask));
}

}  // namespace

bool is_packed(DType dtype) {
  const int bits = dtype_bits(dtype);
  return bits > 0 && bits < 8;
}

void copy_walk(const Tensor& from, const Walk& from_walk, Tensor& to, const Walk& to_walk,
               std::span<const std::int64_t> extent) {
  BEVEL_CHECK(from.dtype() == to.dtype() && from_walk.strides.size() == extent.size() &&
              to_walk.strides.size() == extent.size());
  for (const std::int64_t count : extent) {
    if (count == 0) return;
  }
  const Merged merged = merge_axes(extent, from_walk.strides, to_walk.strides);
  if (from.dtype() == DType::string) {
    copy_typed(from.strings().data(), from_walk.offset, to.mutable_strings().data(), to_walk.offset, merged);
    return;
  }
  if (is_packed(from.dtype())) {
    const int bits = dtype_bits(from.dtype());
    const std::byte* source = from.bytes().data();
    std::byte* target = to.mutable_bytes().data();
    for_each_row(merged, from_walk.offset, to_walk.offset, [&](std::int64_t f, std::int64_t t) {
      for (std::int64_t i = 0; i < merged.extent.back(); ++i) {
        set_packed(target, bits, t + i * merged.to.back(), get_packed(source, bits, f + i * merged.from.back()));
      }
    });
    return;
  }
  const auto typed = [&](auto tag) {
    using T = typename decltype(tag)::type;
    T* target = to.mutable_values<T>().data();
    copy_typed(from.values<T>().data(), from_walk.offset, target, to_walk.offset, merged);
  };
  switch (dtype_bits(from.dtype())) {
    case 8: typed(TypeTag<std::uint8_t>{}); return;
    case 16: typed(TypeTag<std::uint16_t>{}); return;
    case 32: typed(TypeTag<std::uint32_t>{}); return;
    case 64: typed(TypeTag<std::uint64_t>{}); return;
    default: typed(TypeTag<Word16>{}); return;
  }
}

ElementCopier::ElementCopier(const Tensor& from, Tensor& to) : source_(&from), target_(&to) {
  BEVEL_CHECK(from.dtype() == to.dtype());
  if (from.dtype() == DType::string) return;
  to_ = to.mutable_bytes().data();
  from_ = from.bytes().data();
  if (!is_packed(from.dtype())) element_bytes_ = static_cast<std::size_t>(dtype_bits(from.dtype())) / 8;
}

void ElementCopier::copy(std::int64_t from, std::int64_t to, std::int64_t count) {
  BEVEL_CHECK(from >= 0 && to >= 0 && count >= 0 && from <= source_->size() - count && to <= target_->size() - count);
  if (element_bytes_ != 0) {
    if (count == 0) return;
    std::memcpy(to_ + static_cast<std::size_t>(to) * element_bytes_, from_ + static_cast<std::size_t>(from) * element_bytes_,
                static_cast<std::size_t>(count) * element_bytes_);
  } else if (to_ == nullptr) {
    if (count == 0) return;
    const auto& source = source_->strings();
    auto& target = target_->mutable_strings();
    for (std::int64_t i = 0; i < count; ++i) {
      target[static_cast<std::size_t>(to + i)] = source[static_cast<std::size_t>(from + i)];
    }
  } else {
    const int bits = dtype_bits(source_->dtype());
    for (std::int64_t i = 0; i < count; ++i) set_packed(to_, bits, to + i, get_packed(from_, bits, from + i));
  }
}

void fill(Tensor& tensor, const Tensor& value, std::int64_t index) {
  BEVEL_CHECK(index >= 0 && index < value.size());
  const Dims zero(tensor.rank(), 0);
  copy_walk(value, {index, zero}, tensor, {0, row_major_strides(tensor.dims())}, tensor.dims());
}

void copy_by_tables(const Tensor& from, Tensor& to, const std::vector<std::vector<std::int64_t>>& tables) {
  BEVEL_CHECK(from.rank() == to.rank() && tables.size() == to.rank());
  if (to.size() == 0) return;
  ElementCopier copier(from, to);
  if (to.rank() == 0) {
    copier.copy(0, 0);
    return;
  }
  const Dims strides = row_major_strides(from.dims());
  // The innermost table as runs of consecutive entries.
  struct Run {
    std::int64_t from, to, count;
  };
  std::vector<Run> runs;
  const auto& inner = tables.back();
  for (std::size_t i = 0; i < inner.size(); ++i) {
    if (inner[i] < 0) continue;
    const auto at = static_cast<std::int64_t>(i);
    if (!runs.empty() && runs.back().from + runs.back().count == inner[i] && runs.back().to + runs.back().count == at) {
      ++runs.back().count;
    } else {
      runs.push_back({inner[i], at, 1});
    }
  }
  const std::size_t outer = to.rank() - 1;
  const std::int64_t row = to.dims().back();
  std::vector<std::size_t> index(outer, 0);
  for (std::int64_t to_offset = 0; to_offset < to.size(); to_offset += row) {
    std::int64_t from_offset = 0;
    bool skipped = false;
    for (std::size_t axis = 0; axis < outer; ++axis) {
      const std::int64_t entry = tables[axis][index[axis]];
      skipped = skipped || entry < 0;
      from_offset += entry * strides[axis];
    }
    if (!skipped) {
      for (const Run& run : runs) copier.copy(from_offset + run.from, to_offset + run.to, run.count);
    }
    for (std::size_t axis = outer; axis-- > 0;) {
      if (++index[axis] < tables[axis].size()) break;
      index[axis] = 0;
    }
  }
}

Tensor permute(const Tensor& tensor, std::span<const int> perm) {
  BEVEL_CHECK(perm.size() == tensor.rank());
  const Dims strides = row_major_strides(tensor.dims());
  Dims dims(perm.size()), walk(perm.size());
  for (std::size_t k = 0; k < perm.size(); ++k) {
    dims[k] = tensor.dim(static_cast<std::size_t>(perm[k]));
    walk[k] = strides[static_cast<std::size_t>(perm[k])];
  }
  Tensor result = Tensor::zeros(tensor.dtype(), dims);
  copy_walk(tensor, {0, std::move(walk)}, result, {0, row_major_strides(dims)}, dims);
  return result;
}

}  // namespace bevel::ops
