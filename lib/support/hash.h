// Content hashes: SHA-256 (libcrypto).
#pragma once

#include <cstddef>
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

}  // namespace bevel
