// Images without a codec: BMP (uncompressed) and the portable maps PBM, PGM and PPM, to HWC uint8 RGB.
#pragma once

#include "lib/images/images.h"

namespace bevel::images {

// By content. Gray is repeated, alpha dropped, other depths than 8 bits are scaled. Run-length encoded BMP is refused.
Result<Tensor> decode_pixmap(std::span<const std::byte> bytes, const std::string& name, const Admit& admit = {});

}  // namespace bevel::images
