// Content hashes: SHA-256 (libcrypto) for what users see, FNV-1a 64 for in-memory keys.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "lib/support/result.h"

namespace bevel {

// Lower-case hex digest.
std::string sha256_hex(std::span<const std::byte> bytes);
std::string sha256_hex(std::string_view text);
Result<std::string> sha256_of_file(const std::filesystem::path& path);

constexpr std::uint64_t kFnvBasis = 0xcbf29ce484222325ull;
std::uint64_t fnv1a(std::span<const std::byte> bytes, std::uint64_t seed = kFnvBasis);

}  // namespace bevel
