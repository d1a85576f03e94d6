// ImageDecoder (ONNX opset 20): an encoded image to [height, width, channels]. JPEG, PNG, BMP and the portable maps are decoded; WebP,
// TIFF and JPEG 2000 are recognized and refused, as is an image beyond the limits of lib/images. What is damaged or no image at all
// gives an empty result, as the spec says.
#include <string_view>

#include "lib/images/pixmap.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

enum class PixelFormat : std::uint8_t { rgb, bgr, gray };

Result<PixelFormat> pixel_format(const Node& node) {
  BEVEL_TRY(const std::string text, attr_string(node, "pixel_format", "RGB"));
  if (text == "RGB") return PixelFormat::rgb;
  if (text == "BGR") return PixelFormat::bgr;
  if (text == "Grayscale") return PixelFormat::gray;
  return fail_input("attribute 'pixel_format' is '{}', expected RGB, BGR or Grayscale", printable(text));
}

Status infer(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_dtype(input_dtype(ctx, 0), 0, "encoded_stream", {DType::uint8}));
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "encoded_stream", 1, 1));
  BEVEL_TRY(const PixelFormat format, pixel_format(ctx.node()));
  Shape shape = unknown_dims(3);
  shape.dims[2] = Dim(format == PixelFormat::gray ? 1 : 3);
  ctx.set_output(0, Type::tensor(DType::uint8, std::move(shape)));
  return {};
}

// Formats of the spec that no library of the project's reads.
std::string_view unread_format(std::string_view bytes) {
  if (bytes.substr(0, 4) == "RIFF" && bytes.substr(8, 4) == "WEBP") return "WebP";
  if (bytes.substr(0, 4) == std::string_view("II*\0", 4) || bytes.substr(0, 4) == std::string_view("MM\0*", 4)) return "TIFF";
  if (bytes.substr(0, 12) == std::string_view("\0\0\0\x0CjP  \r\n\x87\n", 12) || bytes.substr(0, 4) == "\xFF\x4F\xFF\x51") return "JPEG 2000";
  return {};
}

// ITU-R BT.601 luma in 16 fractional bits.
std::uint8_t luma(const std::uint8_t* rgb) {
  return static_cast<std::uint8_t>((19595u * rgb[0] + 38470u * rgb[1] + 7471u * rgb[2] + 0x8000u) >> 16);
}

Outputs evaluate(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  if (x.dtype() != DType::uint8 || x.rank() != 1) {
    return fail_operand(0, "encoded_stream", "is {} {}, expected bytes (uint8) of rank 1", dtype_name(x.dtype()), to_string(x.dims()));
  }
  BEVEL_TRY(const PixelFormat format, pixel_format(ctx.node()));
  const std::string_view text(reinterpret_cast<const char*>(x.bytes().data()), x.bytes().size());
  if (const std::string_view name = text.size() < 12 ? "" : unread_format(text); !name.empty()) {
    return fail_operand(0, "encoded_stream", "is a {} image; Bevel decodes JPEG, PNG, BMP, PBM, PGM and PPM", name);
  }
  Status admitted;
  const images::Admit admit = [&](std::int64_t height, std::int64_t width) {
    admitted = images::within_limits(height, width, "input 0 (encoded_stream)");  // else no damage, but too much
    const std::int64_t dims[] = {height, width, 4};  // the pixels, and the result where it is another
    return admitted ? admitted = ctx.reserve(DType::uint8, dims) : admitted;
  };
  auto image = images::decode_image(x.bytes(), "encoded_stream", admit);
  if (!image && admitted) image = images::decode_pixmap(x.bytes(), "encoded_stream", admit);
  if (!admitted) return Failure(admitted.error());
  const std::int64_t channels = format == PixelFormat::gray ? 1 : 3;
  if (!image) return std::vector<Datum>{Tensor::zeros(DType::uint8, {0, 0, channels})};
  if (format == PixelFormat::rgb) return std::vector<Datum>{std::move(*image)};
  const auto rgb = image->values<std::uint8_t>();
  Tensor out = Tensor::zeros(DType::uint8, {image->dim(0), image->dim(1), channels});
  auto pixels = out.mutable_values<std::uint8_t>();
  for (std::size_t i = 0; i < rgb.size() / 3; ++i) {
    if (format == PixelFormat::gray) pixels[i] = luma(&rgb[3 * i]);
    else for (std::size_t c = 0; c < 3; ++c) pixels[3 * i + c] = rgb[3 * i + 2 - c];
  }
  return std::vector<Datum>{std::move(out)};
}

}  // namespace

extern const OpRecord image_decoder_record{.name = "ImageDecoder", .since = 20, .infer = infer, .evaluate = evaluate};

}  // namespace bevel::ops
