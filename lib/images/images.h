// JPEG and PNG to HWC uint8 RGB. The only code that sees libjpeg and libpng; their longjmps stay in images.cpp.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "lib/ir/tensor.h"
#include "lib/support/result.h"

namespace bevel::data {

// By content, not by name. [h, w, 3]; gray is repeated, alpha dropped, 16 bits per channel keep their high byte; EXIF
// orientation and gamma are not applied (training pipelines commonly do neither). `name` is the file, for messages.
Result<Tensor> decode_image(std::span<const std::byte> bytes, const std::string& name);

}  // namespace bevel::data
