// A picture, by content JPEG or PNG; anything else is read as a table.
#include "lib/data/csv.h"
#include "lib/images/images.h"
#include "tests/fuzz/fuzz.h"

using namespace bevel;

namespace {

// Pictures that decode to much take long for that reason alone: the width and height of a JPEG's frame header or a PNG's first chunk.
bool large(const std::uint8_t* data, std::size_t size) {
  constexpr std::uint64_t kPixels = 1 << 20;
  const auto number = [&](std::size_t at, std::size_t bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = 0; i < bytes && at + i < size; ++i) value = value << 8 | data[at + i];
    return value;
  };
  if (size > 24 && data[0] == 0x89) return number(16, 4) * number(20, 4) > kPixels;
  for (std::size_t at = 2; at + 9 < size; ++at)
    if (data[at] == 0xff && data[at + 1] >= 0xc0 && data[at + 1] <= 0xcf && number(at + 5, 2) * number(at + 7, 2) > kPixels) return true;
  return false;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 2 && (data[0] == 0xff || data[0] == 0x89)) {
    if (large(data, size)) return 0;
    const auto image = images::decode_image({reinterpret_cast<const std::byte*>(data), size}, "x");
    if (image) FUZZ_CHECK(image->rank() == 3 && image->dim(2) == 3);
    else FUZZ_CHECK(image.error().code == ExitCode::input);
    return 0;
  }
  const auto table = data::parse_csv({reinterpret_cast<const char*>(data), size}, "x.csv");
  if (!table) return 0;
  for (const auto& row : table->rows) FUZZ_CHECK(row.size() == table->header.size());
  return 0;
}
