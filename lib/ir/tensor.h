// A tensor value: dtype, dimensions and shared, immutable-until-written storage.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lib/ir/dtype.h"
#include "lib/support/check.h"
#include "lib/support/mapped_file.h"
#include "lib/support/result.h"

namespace bevel {

using Dims = std::vector<std::int64_t>;

// Product of dimensions, nullopt when one is negative or the product overflows int64.
std::optional<std::int64_t> element_count(std::span<const std::int64_t> dims);

// Row-major (last dimension fastest), packed as ONNX packs sub-byte types. Copying shares; writing copies when shared
// or mapped. Mapped bytes may lie unaligned in their file: values<T>() then makes one aligned copy, kept for later calls.
class Tensor {
 public:
  Tensor() = default;  // undefined dtype, no elements

  static Tensor zeros(DType dtype, Dims dims);  // dims are BEVEL_CHECKed: callers have validated them
  // Elements of any value, for who writes every one of them (and all bits of a packed dtype's last byte).
  static Tensor for_overwrite(DType dtype, Dims dims);
  // Points into a mapped file; `bytes` must be exactly the packed size (checked by the caller with packed_bytes).
  static Tensor mapped(DType dtype, Dims dims, std::shared_ptr<const MappedFile> file, std::size_t offset,
                       std::size_t size);
  static Tensor from_bytes(DType dtype, Dims dims, std::span<const std::byte> bytes);
  static Tensor of_strings(Dims dims, std::vector<std::string> strings);
  template <typename T>
  static Tensor of(Dims dims, std::span<const T> values) {
    return from_bytes(DTypeOf<T>::value, std::move(dims), std::as_bytes(values));
  }
  template <typename T>
  static Tensor of(Dims dims, const std::vector<T>& values) {
    return of<T>(std::move(dims), std::span<const T>(values));
  }
  template <typename T>
  static Tensor scalar(T value) {
    return of<T>({}, std::span<const T>(&value, 1));
  }

  [[nodiscard]] DType dtype() const { return dtype_; }
  [[nodiscard]] const Dims& dims() const { return dims_; }
  [[nodiscard]] std::size_t rank() const { return dims_.size(); }
  [[nodiscard]] std::int64_t dim(std::size_t axis) const { return dims_[axis]; }
  [[nodiscard]] std::int64_t size() const { return size_; }  // elements
  [[nodiscard]] bool defined() const { return dtype_ != DType::undefined; }

  // Packed bytes as they stand (no alignment promised for mapped storage). Empty for strings.
  [[nodiscard]] std::span<const std::byte> bytes() const;
  [[nodiscard]] std::span<std::byte> mutable_bytes();

  // Elements of an unpacked dtype; T must be the dtype's storage type (bits for small floats), which is checked.
  template <typename T>
  [[nodiscard]] std::span<const T> values() const {
    BEVEL_CHECK(sizeof(T) * 8 == static_cast<std::size_t>(dtype_bits(dtype_)));
    return {reinterpret_cast<const T*>(aligned_bytes()), static_cast<std::size_t>(size_)};
  }
  template <typename T>
  [[nodiscard]] std::span<T> mutable_values() {
    BEVEL_CHECK(sizeof(T) * 8 == static_cast<std::size_t>(dtype_bits(dtype_)));
    return {reinterpret_cast<T*>(mutable_bytes().data()), static_cast<std::size_t>(size_)};
  }
  [[nodiscard]] const std::vector<std::string>& strings() const;
  [[nodiscard]] std::vector<std::string>& mutable_strings();

  // Exact widening of one element of any real dtype (boolean as 0/1).
  [[nodiscard]] double as_double(std::int64_t index) const;
  // One element of any integer dtype, sub-byte types included, or boolean (uint64 wraps).
  [[nodiscard]] std::int64_t as_int64(std::int64_t index) const;
  [[nodiscard]] std::vector<std::int64_t> as_int64s() const;
  // All elements as float32 (exact for dtypes up to float32; rounded for float64 and wide integers).
  [[nodiscard]] std::vector<float> as_floats() const;
  // Writes one element, converting from double (integers: must be representable; small floats: rounded).
  void set_from_double(std::int64_t index, double value);
  void set_from_int64(std::int64_t index, std::int64_t value);

  // Same storage, other dimensions of the same product.
  [[nodiscard]] Tensor reshaped(Dims dims) const;

  // Same dtype, dimensions and bytes (NaN equals itself by bits).
  [[nodiscard]] bool same_bits(const Tensor& other) const;
  // Heap bytes held (0 when mapped): for memory accounting.
  [[nodiscard]] std::size_t heap_bytes() const;
  // No other tensor has these bytes, which lie on the heap: writing copies nothing.
  [[nodiscard]] bool owns_bytes() const;

 private:
  struct Storage;
  static Tensor made(DType dtype, Dims dims, bool zeroed);
  [[nodiscard]] const std::byte* aligned_bytes() const;
  DType dtype_ = DType::undefined;
  Dims dims_;
  std::int64_t size_ = 0;
  std::shared_ptr<Storage> storage_;
};

// Blocks of memory that tensors gave back, for those to come: fresh pages from the system cost more than most operators. Serves the
// thread that has it in use; tensors may outlive it. Small blocks are left to malloc.
class BlockPool {
 public:
  explicit BlockPool(std::size_t most_bytes) : most_bytes_(most_bytes) {}
  ~BlockPool();
  BlockPool(const BlockPool&) = delete;
  BlockPool& operator=(const BlockPool&) = delete;

  // While it lives, tensors that this thread makes and drops take from the pool and give to it.
  class Use {
   public:
    explicit Use(BlockPool& pool);
    ~Use();
    Use(const Use&) = delete;
    Use& operator=(const Use&) = delete;

   private:
    BlockPool* previous_;
  };

  // The smallest block of `size` bytes or more, unless it is far larger; nullptr when there is none. `capacity` is its size.
  void* take(std::size_t size, std::size_t& capacity);
  // False: the pool is full.
  bool give(void* block, std::size_t capacity);
  [[nodiscard]] static BlockPool* current();

 private:
  struct Block {
    void* start;
    std::size_t capacity;
  };
  std::vector<Block> blocks_;  // by capacity
  std::size_t bytes_ = 0, most_bytes_;
};

}  // namespace bevel
