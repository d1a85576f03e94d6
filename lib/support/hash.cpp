#include "lib/support/hash.h"

#include <openssl/evp.h>

#include "lib/support/check.h"
#include "lib/support/mapped_file.h"

namespace bevel {

std::string sha256_hex(std::span<const std::byte> bytes) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int length = 0;
  const bool done = EVP_Digest(bytes.data(), bytes.size(), digest, &length, EVP_sha256(), nullptr) == 1;
  BEVEL_CHECK(done && length == 32);
  static constexpr char kHex[] = "0123456789abcdef";
  std::string hex(64, '0');
  for (unsigned int i = 0; i < length; ++i) {
    hex[2 * i] = kHex[digest[i] >> 4];
    hex[2 * i + 1] = kHex[digest[i] & 15];
  }
  return hex;
}

std::string sha256_hex(std::string_view text) { return sha256_hex(std::as_bytes(std::span(text.data(), text.size()))); }

Result<std::string> sha256_of_file(const std::filesystem::path& path) {
  BEVEL_TRY(const auto file, MappedFile::open(path));
  return sha256_hex(file->bytes());
}

}  // namespace bevel
