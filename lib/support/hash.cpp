#include "lib/support/hash.h"

#include <openssl/evp.h>

#include <algorithm>
#include <memory>

#include "lib/support/check.h"
#include "lib/support/mapped_file.h"

namespace bevel {

namespace {

struct FreeContext {
  void operator()(EVP_MD_CTX* context) const { EVP_MD_CTX_free(context); }
};

class Digest {
 public:
  explicit Digest(const EVP_MD* kind) : context_(EVP_MD_CTX_new()) {
    BEVEL_CHECK(context_ != nullptr && EVP_DigestInit_ex(context_.get(), kind, nullptr) == 1);
  }
  void add(std::span<const std::byte> bytes) {
    BEVEL_CHECK(EVP_DigestUpdate(context_.get(), bytes.data(), bytes.size()) == 1);
  }
  std::string hex() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int length = 0;
    BEVEL_CHECK(EVP_DigestFinal_ex(context_.get(), digest, &length) == 1);
    static constexpr char kHex[] = "0123456789abcdef";
    std::string hex(2 * std::size_t{length}, '0');
    for (unsigned int i = 0; i < length; ++i) {
      hex[2 * i] = kHex[digest[i] >> 4];
      hex[2 * i + 1] = kHex[digest[i] & 15];
    }
    return hex;
  }

 private:
  std::unique_ptr<EVP_MD_CTX, FreeContext> context_;
};

// Keeps little of a large file resident.
std::string digest_of(const MappedFile& file, const EVP_MD* kind) {
  Digest hash(kind);
  constexpr std::size_t kChunk = 4u << 20;
  for (auto rest = file.bytes(); !rest.empty();) {
    const auto chunk = rest.first(std::min(kChunk, rest.size()));
    hash.add(chunk);
    file.release(chunk);
    rest = rest.subspan(chunk.size());
  }
  return hash.hex();
}

}  // namespace

std::string sha256_hex(std::span<const std::byte> bytes) {
  Digest hash(EVP_sha256());
  hash.add(bytes);
  return hash.hex();
}

std::string sha256_hex(std::string_view text) { return sha256_hex(std::as_bytes(std::span(text.data(), text.size()))); }

Result<std::string> sha256_of_file(const std::filesystem::path& path) {
  BEVEL_TRY(const auto file, MappedFile::open(path));
  return digest_of(*file, EVP_sha256());
}

std::string sha1_hex(const MappedFile& file) { return digest_of(file, EVP_sha1()); }

}  // namespace bevel
