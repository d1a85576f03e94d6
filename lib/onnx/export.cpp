#include <algorithm>
#include <limits>
#include <optional>
#include <string>

#include "lib/onnx/encode.h"
#include "lib/onnx/onnx.h"
#include "lib/support/atomic_file.h"

namespace bevel::onnx {

namespace {

constexpr std::uint64_t kProtobufLimit = std::numeric_limits<std::int32_t>::max();  // what readers with protobuf take
constexpr std::uint64_t kForcedThreshold = 1024;  // tensors that leave a model which would pass that limit

// Joins small writes into large ones.
class Stream {
 public:
  explicit Stream(AtomicFile& file) : file_(file) {}
  Status put(std::span<const std::byte> bytes) {
    position_ += bytes.size();
    if (bytes.size() >= kBuffer) {
      BEVEL_TRY_STATUS(flush());
      return file_.write(bytes);
    }
    buffer_.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return buffer_.size() >= kBuffer ? flush() : Status();
  }
  Status zeros_until(std::uint64_t position) {
    const std::string zeros(position - position_, '\0');  // alignment: a few bytes
    return put(std::as_bytes(std::span(zeros)));
  }
  Status flush() {
    BEVEL_TRY_STATUS(file_.write(buffer_));
    buffer_.clear();
    return {};
  }

 private:
  static constexpr std::size_t kBuffer = 256 * 1024;
  AtomicFile& file_;
  std::string buffer_;
  std::uint64_t position_ = 0;
};

Status write_model(AtomicFile& file, const Writer& model) {
  Stream stream(file);
  const auto skeleton = std::as_bytes(std::span(model.bytes()));
  std::size_t at = 0;
  for (const Writer::Payload& payload : model.payloads()) {
    BEVEL_TRY_STATUS(stream.put(skeleton.subspan(at, payload.at - at)));
    BEVEL_TRY_STATUS(stream.put(payload.data));
    at = payload.at;
  }
  BEVEL_TRY_STATUS(stream.put(skeleton.subspan(at)));
  BEVEL_TRY_STATUS(stream.flush());
  return file.sync();
}

Status write_external(AtomicFile& file, const ExternalData& external) {
  Stream stream(file);
  for (const ExternalData::Piece& piece : external.pieces()) {
    BEVEL_TRY_STATUS(stream.zeros_until(piece.offset));
    BEVEL_TRY_STATUS(stream.put(piece.bytes));
  }
  BEVEL_TRY_STATUS(stream.flush());
  return file.sync();
}

}  // namespace

Status export_model(const Model& model, const std::filesystem::path& path, const ExportOptions& options) {
  const std::string location = path.filename().string() + ".data";
  std::optional<ExternalData> external;
  if (options.external_threshold) external.emplace(location, *options.external_threshold);
  Writer writer = encode_model(model, external ? &*external : nullptr);
  if (writer.size() > kProtobufLimit && !options.external_threshold) {
    external.emplace(location, kForcedThreshold);
    writer = encode_model(model, &*external);
  }
  if (writer.size() > kProtobufLimit)
    return fail(ExitCode::output,
                "{}: the model would be {} bytes long besides its external data; readers of ONNX take at most {}",
                printable(path.string()), writer.size(), kProtobufLimit);

  BEVEL_TRY(AtomicFile file, AtomicFile::create(path));
  std::optional<AtomicFile> data;
  if (external && !external->pieces().empty()) {
    BEVEL_TRY(data, AtomicFile::create(path.parent_path() / location));
    BEVEL_TRY_STATUS(write_external(*data, *external));
  }
  BEVEL_TRY_STATUS(write_model(file, writer));
  // Both are written and synced: what is left are two renames.
  if (data) BEVEL_TRY_STATUS(data->commit());
  return file.commit();
}

}  // namespace bevel::onnx
