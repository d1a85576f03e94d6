// Array files inside the data room: .npy (NEP 1, versions 1.0 to 3.0) and .npz (a ZIP archive of them).
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "lib/ir/tensor.h"
#include "lib/support/mapped_file.h"
#include "lib/support/result.h"

namespace bevel::data {

// No array beyond this is taken into memory, whatever a header claims.
constexpr std::uint64_t kMaxArrayBytes = std::uint64_t{4} << 30;

struct NpyHeader {
  DType dtype = DType::undefined;
  bool big_endian = false;
  bool fortran_order = false;
  Dims dims;
  std::size_t data_offset = 0;
  std::size_t data_bytes = 0;
};
// `prefix` holds at least the header. `where` names file and member in messages. Exit code: input.
Result<NpyHeader> parse_npy_header(std::span<const std::byte> prefix, const std::string& where);
// The whole array; `bytes` is exactly the .npy content. With `file`, whose bytes start at `offset`, data that needs no
// conversion stays in the map.
Result<Tensor> read_npy(std::span<const std::byte> bytes, const std::string& where,
                        const std::shared_ptr<const MappedFile>& file = nullptr, std::size_t offset = 0);
// Byte order and column-major order put right, in place.
Tensor normalized(Tensor raw, const NpyHeader& header);
// Header of a version 1.0 .npy, 64-byte aligned; the dtype must be one that NumPy has.
std::string npy_header(DType dtype, const Dims& dims);
// The dtype that NumPy stores this one as (bfloat16 -> float32, int4 -> int8, ...); the same for NumPy's own.
DType numpy_dtype(DType dtype);

// An .npz: member names without ".npy" are keys, never paths. Opening reads the directory only.
class ArrayArchive {
 public:
  static Result<std::shared_ptr<const ArrayArchive>> open(std::shared_ptr<const MappedFile> file, std::string name);
  [[nodiscard]] const std::vector<std::string>& keys() const { return keys_; }  // in archive order
  // Stored members stay in the map, deflated ones are inflated into memory; both are checked against their CRC-32.
  [[nodiscard]] Result<Tensor> read(const std::string& key) const;

 private:
  ArrayArchive() = default;
  std::shared_ptr<const MappedFile> file_;
  std::string name_;
  std::vector<std::string> keys_;
  std::vector<std::string> members_;
};

}  // namespace bevel::data
