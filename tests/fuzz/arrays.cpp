// An .npy or an .npz: every array that it lists.
#include "lib/data/arrays.h"
#include "tests/fuzz/fuzz.h"

using namespace bevel;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  if (const auto header = data::parse_npy_header(bytes, "x.npy"); header && header->data_bytes <= (std::size_t{64} << 20)) {
    if (const auto tensor = data::read_npy(bytes, "x.npy")) FUZZ_CHECK(tensor->size() >= 0);
  }
  if (size < 4 || std::memcmp(data, "PK", 2) != 0) return 0;
  static fuzz::MemoryFile file("npz");
  const auto mapped = MappedFile::open(file.holding(data, size));
  FUZZ_CHECK(mapped);
  const auto archive = data::ArrayArchive::open(*mapped, "x.npz");
  if (!archive) {
    FUZZ_CHECK(archive.error().code == ExitCode::input);
    return 0;
  }
  std::size_t left = 16;
  for (const std::string& key : (*archive)->keys()) {
    if (left-- == 0) break;
    if (const auto tensor = (*archive)->read(key)) {
      if (tensor->rank() > 0 && tensor->size() > 0 && dtype_bits(tensor->dtype()) >= 8 && tensor->dtype() != DType::complex64 &&
          tensor->dtype() != DType::complex128)
        FUZZ_CHECK(tensor->as_double(tensor->size() - 1) == tensor->as_double(tensor->size() - 1) || is_floating(tensor->dtype()));
    } else {
      FUZZ_CHECK(tensor.error().code == ExitCode::input);
    }
  }
  return 0;
}
