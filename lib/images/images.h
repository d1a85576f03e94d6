// JPEG and PNG to HWC uint8 RGB. The only code that sees libjpeg and libpng; their longjmps stay in images.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>

#include "lib/ir/tensor.h"
#include "lib/support/result.h"

namespace bevel::images {

// Asked with the size in pixels, both 1 or more, before they are allocated and before the limits below are seen to; a failure ends the
// decoding with it.
using Admit = std::function<Status(std::int64_t height, std::int64_t width)>;

constexpr std::int64_t kMaxPixels = std::int64_t{1} << 27;  // 402 MB of RGB
constexpr std::int64_t kMaxSide = std::int64_t{1} << 20;    // so that rows are few
Status within_limits(std::int64_t height, std::int64_t width, const std::string& name);
// There are pixels, they are admitted, and within the limits.
Status check_size(std::int64_t height, std::int64_t width, const std::string& name, const Admit& admit);

// By content, not by name. [h, w, 3]; gray is repeated, alpha dropped, 16 bits per channel keep their high byte; EXIF
// orientation and gamma are not applied (training pipelines commonly do neither). `name` is the file, for messages.
Result<Tensor> decode_image(std::span<const std::byte> bytes, const std::string& name, const Admit& admit = {});

}  // namespace bevel::images
