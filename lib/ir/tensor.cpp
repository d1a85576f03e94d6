#include "lib/ir/tensor.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <utility>

namespace bevel {

namespace {

// A cache line, and the widest vector register: no vector of an operator straddles two lines.
constexpr std::size_t kAlignment = 64;
// Smaller blocks come from malloc's own lists, whose pages are resident.
constexpr std::size_t kLeastPooled = 16u << 10;

thread_local BlockPool* pool_in_use = nullptr;

enum class Content : std::uint8_t { zeros, any };

// Bytes aligned for vectors. Zeros come from calloc, because of a large block it takes pages that are resident only once written;
// blocks from the pool are zeroed by hand.
class Heap {
 public:
  Heap() = default;
  Heap(std::size_t size, Content content) : size_(size), capacity_(size) {
    if (pool_in_use != nullptr && size >= kLeastPooled) block_ = pool_in_use->take(size, capacity_);
    const bool pooled = block_ != nullptr;
    if (!pooled) {
      if (size > std::numeric_limits<std::size_t>::max() - kAlignment) throw std::bad_alloc();
      block_ = content == Content::zeros ? std::calloc(size + kAlignment, 1) : std::malloc(size + kAlignment);
      if (block_ == nullptr) throw std::bad_alloc();
    }
    const auto start = reinterpret_cast<std::uintptr_t>(block_);
    data_ = static_cast<std::byte*>(block_) + ((kAlignment - start % kAlignment) % kAlignment);
    if (pooled && content == Content::zeros) std::memset(data_, 0, size);
  }
  ~Heap() {
    if (block_ == nullptr) return;
    if (pool_in_use != nullptr && capacity_ >= kLeastPooled && pool_in_use->give(block_, capacity_)) return;
    std::free(block_);
  }
  Heap(Heap&& other) noexcept { swap(other); }
  Heap& operator=(Heap&& other) noexcept {
    Heap taken(std::move(other));
    swap(taken);
    return *this;
  }
  [[nodiscard]] std::byte* data() const { return data_; }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  void swap(Heap& other) noexcept {
    std::swap(block_, other.block_);
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }
  void* block_ = nullptr;
  std::byte* data_ = nullptr;
  std::size_t size_ = 0, capacity_ = 0;  // of the bytes; the block has kAlignment more
};

// Files are walked in pieces of this size, each released once it was read.
constexpr std::size_t kPiece = 4u << 20;

}  // namespace

BlockPool::~BlockPool() {
  for (const Block& block : blocks_) std::free(block.start);
}

BlockPool* BlockPool::current() { return pool_in_use; }

BlockPool::Use::Use(BlockPool& pool) : previous_(pool_in_use) { pool_in_use = &pool; }
BlockPool::Use::~Use() { pool_in_use = previous_; }

void* BlockPool::take(std::size_t size, std::size_t& capacity) {
  const auto found = std::lower_bound(blocks_.begin(), blocks_.end(), size,
                                      [](const Block& block, std::size_t bytes) { return block.capacity < bytes; });
  if (found == blocks_.end() || found->capacity / 2 > size) return nullptr;
  void* start = found->start;
  capacity = found->capacity;
  bytes_ -= capacity;
  blocks_.erase(found);
  return start;
}

bool BlockPool::give(void* start, std::size_t capacity) {
  if (capacity > most_bytes_ - bytes_) return false;
  // Before those of its size: what was given last is taken first, since caches still hold it.
  const auto place = std::lower_bound(blocks_.begin(), blocks_.end(), capacity,
                                      [](const Block& block, std::size_t bytes) { return block.capacity < bytes; });
  blocks_.insert(place, {start, capacity});
  bytes_ += capacity;
  return true;
}

// Bytes come from the heap or from a mapped file; strings have a vector of their own.
struct Tensor::Storage {
  Heap heap;
  std::shared_ptr<const MappedFile> file;
  const std::byte* mapped = nullptr;
  std::size_t mapped_size = 0;
  std::vector<std::string> strings;
  std::once_flag aligned_once;
  Heap aligned;  // copy of misaligned mapped bytes, read only after aligned_once
  std::atomic<std::size_t> aligned_size = 0;  // its bytes, for accounting while another thread makes the copy

  [[nodiscard]] std::span<const std::byte> bytes() const {
    if (mapped != nullptr) return {mapped, mapped_size};
    return {heap.data(), heap.size()};
  }
  void release(std::span<const std::byte> part) const {
    if (file) file->release(part);
  }
};

std::optional<std::int64_t> element_count(std::span<const std::int64_t> dims) {
  std::int64_t count = 1;
  bool empty = false;
  for (const std::int64_t dim : dims) {
    if (dim < 0) return std::nullopt;
    if (dim == 0) empty = true;
    else if (__builtin_mul_overflow(count, dim, &count)) return std::nullopt;
  }
  return empty ? 0 : count;
}

Tensor Tensor::zeros(DType dtype, Dims dims) { return made(dtype, std::move(dims), true); }
Tensor Tensor::for_overwrite(DType dtype, Dims dims) { return made(dtype, std::move(dims), false); }

Tensor Tensor::made(DType dtype, Dims dims, bool zeroed) {
  const auto count = element_count(dims);
  BEVEL_CHECK(count.has_value());
  Tensor tensor;
  tensor.dtype_ = dtype;
  tensor.dims_ = std::move(dims);
  tensor.size_ = *count;
  tensor.storage_ = std::make_shared<Storage>();
  if (dtype == DType::string) {
    tensor.storage_->strings.resize(static_cast<std::size_t>(*count));
    return tensor;
  }
  const auto bytes = packed_bytes(dtype, *count);
  BEVEL_CHECK(bytes.has_value());
  tensor.storage_->heap = Heap(*bytes, zeroed ? Content::zeros : Content::any);
  return tensor;
}

Tensor Tensor::mapped(DType dtype, Dims dims, std::shared_ptr<const MappedFile> file, std::size_t offset,
                      std::size_t size) {
  const auto count = element_count(dims);
  BEVEL_CHECK(count.has_value() && packed_bytes(dtype, *count) == size);
  BEVEL_CHECK(offset <= file->bytes().size() && size <= file->bytes().size() - offset);
  Tensor tensor;
  tensor.dtype_ = dtype;
  tensor.dims_ = std::move(dims);
  tensor.size_ = *count;
  tensor.storage_ = std::make_shared<Storage>();
  tensor.storage_->mapped = file->bytes().data() + offset;
  tensor.storage_->mapped_size = size;
  tensor.storage_->file = std::move(file);
  return tensor;
}

Tensor Tensor::from_bytes(DType dtype, Dims dims, std::span<const std::byte> bytes) {
  Tensor tensor = for_overwrite(dtype, std::move(dims));
  BEVEL_CHECK(tensor.storage_->heap.size() == bytes.size());
  if (!bytes.empty()) std::memcpy(tensor.storage_->heap.data(), bytes.data(), bytes.size());
  return tensor;
}

Tensor Tensor::of_strings(Dims dims, std::vector<std::string> strings) {
  Tensor tensor = zeros(DType::string, std::move(dims));
  BEVEL_CHECK(static_cast<std::int64_t>(strings.size()) == tensor.size_);
  tensor.storage_->strings = std::move(strings);
  return tensor;
}

std::span<const std::byte> Tensor::bytes() const { return storage_ ? storage_->bytes() : std::span<const std::byte>{}; }

std::span<std::byte> Tensor::mutable_bytes() {
  if (!storage_) return {};
  if (storage_->mapped != nullptr || storage_.use_count() > 1) {
    auto copy = std::make_shared<Storage>();
    const auto source = storage_->bytes();
    copy->heap = Heap(source.size(), Content::any);
    if (!source.empty()) std::memcpy(copy->heap.data(), source.data(), source.size());
    copy->strings = storage_->strings;
    storage_ = std::move(copy);
  }
  return {storage_->heap.data(), storage_->heap.size()};
}

const std::byte* Tensor::aligned_bytes() const {
  if (!storage_) return nullptr;
  const auto source = storage_->bytes();
  const auto bits = static_cast<std::size_t>(dtype_bits(dtype_));
  const std::size_t alignment = bits >= 64 ? 8 : bits >= 8 ? bits / 8 : 1;
  if (reinterpret_cast<std::uintptr_t>(source.data()) % alignment == 0) return source.data();
  std::call_once(storage_->aligned_once, [&] {
    storage_->aligned = Heap(source.size(), Content::any);
    for (std::size_t at = 0; at < source.size(); at += kPiece) {
      const auto piece = source.subspan(at, std::min(kPiece, source.size() - at));
      std::memcpy(storage_->aligned.data() + at, piece.data(), piece.size());
      storage_->release(piece);  // so that the weight is not resident twice
    }
    storage_->aligned_size.store(source.size(), std::memory_order_relaxed);
  });
  return storage_->aligned.data();
}

const std::vector<std::string>& Tensor::strings() const {
  BEVEL_CHECK(dtype_ == DType::string);
  return storage_->strings;
}

std::vector<std::string>& Tensor::mutable_strings() {
  BEVEL_CHECK(dtype_ == DType::string);
  static_cast<void>(mutable_bytes());  // unshares
  return storage_->strings;
}

double Tensor::as_double(std::int64_t index) const {
  BEVEL_CHECK(index >= 0 && index < size_);
  const auto at = static_cast<std::size_t>(index);
  switch (dtype_) {
    case DType::float32: return static_cast<double>(values<float>()[at]);
    case DType::float64: return values<double>()[at];
    case DType::float16: return static_cast<double>(widen_float16(values<std::uint16_t>()[at]));
    case DType::bfloat16: return static_cast<double>(widen_bfloat16(values<std::uint16_t>()[at]));
    case DType::float8e4m3fn: case DType::float8e4m3fnuz: case DType::float8e5m2: case DType::float8e5m2fnuz:
    case DType::float8e8m0:
      return static_cast<double>(widen_small_float(dtype_, values<std::uint8_t>()[at]));
    case DType::float4e2m1: {
      const auto byte = static_cast<std::uint8_t>(bytes()[at / 2]);
      return static_cast<double>(widen_small_float(dtype_, static_cast<std::uint8_t>(at % 2 ? byte >> 4 : byte & 15)));
    }
    case DType::uint64: return static_cast<double>(values<std::uint64_t>()[at]);
    default: return static_cast<double>(as_int64(index));
  }
}

std::int64_t Tensor::as_int64(std::int64_t index) const {
  BEVEL_CHECK(index >= 0 && index < size_);
  const auto at = static_cast<std::size_t>(index);
  const auto sub_byte = [&](int bits, bool is_signed) {
    const std::size_t per_byte = static_cast<std::size_t>(8 / bits);
    const int raw = (static_cast<int>(bytes()[at / per_byte]) >> (static_cast<int>(at % per_byte) * bits)) & ((1 << bits) - 1);
    return static_cast<std::int64_t>(is_signed && raw >= (1 << (bits - 1)) ? raw - (1 << bits) : raw);
  };
  switch (dtype_) {
    case DType::int8: return values<std::int8_t>()[at];
    case DType::uint8: case DType::boolean: return values<std::uint8_t>()[at];
    case DType::int16: return values<std::int16_t>()[at];
    case DType::uint16: return values<std::uint16_t>()[at];
    case DType::int32: return values<std::int32_t>()[at];
    case DType::uint32: return values<std::uint32_t>()[at];
    case DType::int64: return values<std::int64_t>()[at];
    case DType::uint64: return static_cast<std::int64_t>(values<std::uint64_t>()[at]);
    case DType::int4: return sub_byte(4, true);
    case DType::uint4: return sub_byte(4, false);
    case DType::int2: return sub_byte(2, true);
    case DType::uint2: return sub_byte(2, false);
    default: BEVEL_CHECK(false && "not an integer tensor"); return 0;
  }
}

std::vector<std::int64_t> Tensor::as_int64s() const {
  if (dtype_ == DType::int64) {
    const auto span = values<std::int64_t>();
    return {span.begin(), span.end()};
  }
  std::vector<std::int64_t> out(static_cast<std::size_t>(size_));
  for (std::int64_t i = 0; i < size_; ++i) out[static_cast<std::size_t>(i)] = as_int64(i);
  return out;
}

std::vector<float> Tensor::as_floats() const {
  if (dtype_ == DType::float32) {
    const auto span = values<float>();
    return {span.begin(), span.end()};
  }
  std::vector<float> out(static_cast<std::size_t>(size_));
  if (dtype_ == DType::float16) {
    std::transform(values<std::uint16_t>().begin(), values<std::uint16_t>().end(), out.begin(), widen_float16);
    return out;
  }
  for (std::int64_t i = 0; i < size_; ++i) out[static_cast<std::size_t>(i)] = static_cast<float>(as_double(i));
  return out;
}

void Tensor::set_from_double(std::int64_t index, double value) {
  BEVEL_CHECK(index >= 0 && index < size_);
  const auto at = static_cast<std::size_t>(index);
  switch (dtype_) {
    case DType::float32: mutable_values<float>()[at] = static_cast<float>(value); return;
    case DType::float64: mutable_values<double>()[at] = value; return;
    case DType::float16: mutable_values<std::uint16_t>()[at] = narrow_float16(static_cast<float>(value)); return;
    case DType::bfloat16: mutable_values<std::uint16_t>()[at] = narrow_bfloat16(static_cast<float>(value)); return;
    case DType::float8e4m3fn: case DType::float8e4m3fnuz: case DType::float8e5m2: case DType::float8e5m2fnuz:
    case DType::float8e8m0:
      mutable_values<std::uint8_t>()[at] = narrow_small_float(dtype_, static_cast<float>(value));
      return;
    case DType::float4e2m1: {
      auto& byte = reinterpret_cast<std::uint8_t&>(mutable_bytes()[at / 2]);
      const std::uint8_t bits = narrow_small_float(dtype_, static_cast<float>(value));
      byte = static_cast<std::uint8_t>(at % 2 ? (byte & 0x0F) | (bits << 4) : (byte & 0xF0) | bits);
      return;
    }
    case DType::uint64: mutable_values<std::uint64_t>()[at] = static_cast<std::uint64_t>(value); return;
    default: set_from_int64(index, static_cast<std::int64_t>(value)); return;
  }
}

void Tensor::set_from_int64(std::int64_t index, std::int64_t value) {
  BEVEL_CHECK(index >= 0 && index < size_);
  const auto at = static_cast<std::size_t>(index);
  const auto sub_byte = [&](int bits) {
    const std::size_t per_byte = static_cast<std::size_t>(8 / bits);
    const int shift = static_cast<int>(at % per_byte) * bits;
    const int mask = ((1 << bits) - 1) << shift;
    auto& byte = reinterpret_cast<std::uint8_t&>(mutable_bytes()[at / per_byte]);
    byte = static_cast<std::uint8_t>((byte & ~mask) | ((static_cast<int>(value) << shift) & mask));
  };
  switch (dtype_) {
    case DType::int8: mutable_values<std::int8_t>()[at] = static_cast<std::int8_t>(value); return;
    case DType::uint8: mutable_values<std::uint8_t>()[at] = static_cast<std::uint8_t>(value); return;
    case DType::boolean: mutable_values<std::uint8_t>()[at] = value != 0; return;
    case DType::int16: mutable_values<std::int16_t>()[at] = static_cast<std::int16_t>(value); return;
    case DType::uint16: mutable_values<std::uint16_t>()[at] = static_cast<std::uint16_t>(value); return;
    case DType::int32: mutable_values<std::int32_t>()[at] = static_cast<std::int32_t>(value); return;
    case DType::uint32: mutable_values<std::uint32_t>()[at] = static_cast<std::uint32_t>(value); return;
    case DType::int64: mutable_values<std::int64_t>()[at] = value; return;
    case DType::uint64: mutable_values<std::uint64_t>()[at] = static_cast<std::uint64_t>(value); return;
    case DType::int4: case DType::uint4: sub_byte(4); return;
    case DType::int2: case DType::uint2: sub_byte(2); return;
    default: set_from_double(index, static_cast<double>(value)); return;
  }
}

Tensor Tensor::reshaped(Dims dims) const {
  const auto count = element_count(dims);
  BEVEL_CHECK(count == size_);
  Tensor tensor = *this;
  tensor.dims_ = std::move(dims);
  return tensor;
}

bool Tensor::same_bits(const Tensor& other) const {
  if (dtype_ != other.dtype_ || dims_ != other.dims_) return false;
  if (storage_ == other.storage_) return true;
  if (dtype_ == DType::string) return strings() == other.strings();
  const auto a = bytes(), b = other.bytes();
  if (a.size() != b.size()) return false;
  for (std::size_t at = 0; at < a.size(); at += kPiece) {
    const auto one = a.subspan(at, std::min(kPiece, a.size() - at)), two = b.subspan(at, one.size());
    if (std::memcmp(one.data(), two.data(), one.size()) != 0) return false;
    storage_->release(one);
    other.storage_->release(two);
  }
  return true;
}

bool Tensor::owns_bytes() const {
  return storage_ && storage_.use_count() == 1 && storage_->mapped == nullptr && dtype_ != DType::string;
}

std::size_t Tensor::heap_bytes() const {
  if (!storage_) return 0;
  std::size_t bytes = storage_->heap.size() + storage_->aligned_size.load(std::memory_order_relaxed);
  for (const auto& text : storage_->strings) bytes += sizeof(std::string) + text.size();
  return bytes;
}

}  // namespace bevel
