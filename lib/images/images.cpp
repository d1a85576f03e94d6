#include "lib/images/images.h"

#include <csetjmp>
#include <cstdio>
#include <cstring>

#include <jpeglib.h>  // wants <cstdio> before it
#include <jerror.h>
#include <png.h>

#include <memory>
#include <vector>

namespace bevel::images {
namespace {

// A progressive JPEG may hold any number of scans, each a pass over the whole picture: a small file that decodes for hours.
constexpr int kMaxScans = 200;

// --- JPEG ------------------------------------------------------------------------------------------------------------
// C structs only between setjmp and longjmp: no destructor is jumped over.
struct JpegState {
  jpeg_error_mgr errors;
  jpeg_progress_mgr progress;
  std::jmp_buf escape;
  char message[JMSG_LENGTH_MAX];
};

[[noreturn]] void jpeg_fail(j_common_ptr info) {
  auto* state = static_cast<JpegState*>(info->client_data);
  (*info->err->format_message)(info, state->message);
  std::longjmp(state->escape, 1);
}
void jpeg_message(j_common_ptr info, int level) {
  // Level -1: damaged data that libjpeg would paper over. A truncated picture is not data; stray bytes are.
  if (level < 0 && (info->err->msg_code == JWRN_JPEG_EOF || info->err->msg_code == JWRN_HIT_MARKER)) jpeg_fail(info);
}
void jpeg_scan_check(j_common_ptr info) {
  auto* decoder = reinterpret_cast<j_decompress_ptr>(info);
  if (decoder->input_scan_number <= kMaxScans) return;
  auto* state = static_cast<JpegState*>(info->client_data);
  std::snprintf(state->message, sizeof state->message, "more than %d scans", kMaxScans);
  std::longjmp(state->escape, 1);
}

// Fills `pixels` on the second call; on the first (pixels == nullptr) only the size. False: state->message says why.
bool run_jpeg(JpegState* state, const unsigned char* bytes, std::size_t size, unsigned char* pixels, int* width,
              int* height) {
  jpeg_decompress_struct decoder;
  std::memset(&decoder, 0, sizeof decoder);
  decoder.err = jpeg_std_error(&state->errors);
  state->errors.error_exit = jpeg_fail;
  state->errors.emit_message = jpeg_message;
  state->message[0] = '\0';
  decoder.client_data = state;
  if (setjmp(state->escape) != 0) {
    jpeg_destroy_decompress(&decoder);
    return false;
  }
  jpeg_create_decompress(&decoder);
  decoder.client_data = state;
  state->progress.progress_monitor = jpeg_scan_check;
  decoder.progress = &state->progress;
  jpeg_mem_src(&decoder, bytes, size);
  jpeg_read_header(&decoder, TRUE);
  *width = static_cast<int>(decoder.image_width);
  *height = static_cast<int>(decoder.image_height);
  if (pixels != nullptr) {
    decoder.out_color_space = JCS_RGB;  // CMYK has no conversion in libjpeg: its own error says so
    decoder.dct_method = JDCT_ISLOW;
    jpeg_start_decompress(&decoder);
    const std::size_t row = static_cast<std::size_t>(decoder.output_width) * 3;
    while (decoder.output_scanline < decoder.output_height) {
      JSAMPROW target = pixels + row * decoder.output_scanline;
      jpeg_read_scanlines(&decoder, &target, 1);
    }
    jpeg_finish_decompress(&decoder);
  }
  jpeg_destroy_decompress(&decoder);
  return true;
}

Result<Tensor> decode_jpeg(std::span<const std::byte> bytes, const std::string& name, const Admit& admit) {
  auto state = std::make_unique<JpegState>();
  const auto* data = reinterpret_cast<const unsigned char*>(bytes.data());
  int width = 0, height = 0;
  if (!run_jpeg(state.get(), data, bytes.size(), nullptr, &width, &height)) {
    return fail_input("{}: unreadable JPEG: {}", name, printable(state->message));
  }
  BEVEL_TRY_STATUS(check_size(height, width, name, admit));
  Tensor image = Tensor::zeros(DType::uint8, {height, width, 3});
  auto* pixels = reinterpret_cast<unsigned char*>(image.mutable_bytes().data());
  if (!run_jpeg(state.get(), data, bytes.size(), pixels, &width, &height)) {
    return fail_input("{}: unreadable JPEG: {}", name, printable(state->message));
  }
  return image;
}

// --- PNG -------------------------------------------------------------------------------------------------------------
struct PngState {
  const unsigned char* bytes;
  std::size_t size, position;
  char message[200];
  png_structp png;
  png_infop info;
};

[[noreturn]] void png_fail(png_structp png, png_const_charp message) {
  auto* state = static_cast<PngState*>(png_get_error_ptr(png));
  std::snprintf(state->message, sizeof state->message, "%s", message);
  png_longjmp(png, 1);
}
void png_ignore_warning(png_structp, png_const_charp) {}
void png_take(png_structp png, png_bytep target, std::size_t count) {
  auto* state = static_cast<PngState*>(png_get_io_ptr(png));
  if (count > state->size - state->position) png_error(png, "the file ends too early");
  std::memcpy(target, state->bytes + state->position, count);
  state->position += count;
}

bool png_begin(PngState* state, png_uint_32* width, png_uint_32* height) {
  state->png = png_create_read_struct(PNG_LIBPNG_VER_STRING, state, png_fail, png_ignore_warning);
  if (state->png == nullptr) return false;
  if (setjmp(png_jmpbuf(state->png)) != 0) return false;
  state->info = png_create_info_struct(state->png);
  if (state->info == nullptr) return false;
  png_set_user_limits(state->png, PNG_UINT_31_MAX, PNG_UINT_31_MAX);  // check_size has limits of its own
  png_set_chunk_malloc_max(state->png, 8u << 20);
  png_set_read_fn(state->png, state, png_take);
  png_read_info(state->png, state->info);
  *width = png_get_image_width(state->png, state->info);
  *height = png_get_image_height(state->png, state->info);
  return true;
}

bool png_pixels(PngState* state, unsigned char** rows, std::size_t row_bytes) {
  if (setjmp(png_jmpbuf(state->png)) != 0) return false;
  png_set_expand(state->png);  // palette and fewer than 8 bits to 8 bits
  png_set_strip_16(state->png);
  png_set_gray_to_rgb(state->png);
  png_set_strip_alpha(state->png);
  png_set_interlace_handling(state->png);
  png_read_update_info(state->png, state->info);
  if (png_get_rowbytes(state->png, state->info) != row_bytes) png_error(state->png, "unexpected pixel format");
  png_read_image(state->png, rows);
  png_read_end(state->png, nullptr);
  return true;
}

Result<Tensor> decode_png(std::span<const std::byte> bytes, const std::string& name, const Admit& admit) {
  auto state = std::make_unique<PngState>();
  *state = PngState{reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), 0, "", nullptr, nullptr};
  const auto finish = [&] { png_destroy_read_struct(&state->png, &state->info, nullptr); };
  png_uint_32 width = 0, height = 0;
  if (!png_begin(state.get(), &width, &height)) {
    finish();
    return fail_input("{}: unreadable PNG: {}", name, printable(state->message));
  }
  if (auto sized = check_size(height, width, name, admit); !sized) {
    finish();
    return Failure(std::move(sized).error());
  }
  Tensor image = Tensor::zeros(DType::uint8, {height, width, 3});
  auto* pixels = reinterpret_cast<unsigned char*>(image.mutable_bytes().data());
  std::vector<unsigned char*> rows(height);
  for (std::size_t y = 0; y < height; ++y) rows[y] = pixels + y * width * 3;
  const bool read = png_pixels(state.get(), rows.data(), static_cast<std::size_t>(width) * 3);
  finish();
  if (!read) return fail_input("{}: unreadable PNG: {}", name, printable(state->message));
  return image;
}

}  // namespace

Status within_limits(std::int64_t height, std::int64_t width, const std::string& name) {
  if (height <= kMaxSide && width <= kMaxSide && height * width <= kMaxPixels) return {};
  return fail_input("{}: an image of {} x {} pixels is beyond the limit of {}, and of {} on a side",
                    name, width, height, kMaxPixels, kMaxSide);
}

Status check_size(std::int64_t height, std::int64_t width, const std::string& name, const Admit& admit) {
  if (width <= 0 || height <= 0) return fail_input("{}: an image of {} x {} pixels", name, width, height);
  if (admit) BEVEL_TRY_STATUS(admit(height, width));
  return within_limits(height, width, name);
}

Result<Tensor> decode_image(std::span<const std::byte> bytes, const std::string& name, const Admit& admit) {
  const auto starts_with = [&](std::string_view magic) {
    return bytes.size() >= magic.size() && std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
  };
  if (starts_with("\xFF\xD8\xFF")) return decode_jpeg(bytes, name, admit);
  if (starts_with("\x89PNG\r\n\x1A\n")) return decode_png(bytes, name, admit);
  return fail_input("{}: neither a JPEG nor a PNG image ({} bytes)", name, bytes.size());
}

}  // namespace bevel::images
