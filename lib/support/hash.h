// Content hashes (libcrypto): SHA-256, and SHA-1 where ONNX asks for it.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "lib/support/result.h"

namespace bevel {

class MappedFile;

// Lower-case hex digest.
std::string sha256_hex(std::span<const std::byte> bytes);
std::string sha256_hex(std::string_view text);
Result<std::string> sha256_of_file(const std::filesystem::path& path);
std::string sha1_hex(const MappedFile& file);

}  // namespace bevel
