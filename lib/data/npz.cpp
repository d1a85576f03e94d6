// Reading .npz through minizip (from the mapped file), writing them directly.
//
// A hostile archive may lie about sizes (caught: the declared size is bounded by what deflate can expand to and must equal the
// array's own header), repeat members (refused), or carry paths as names (names are keys, nothing is ever unpacked to disk).
#include <minizip/unzip.h>
#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <set>

#include "lib/data/arrays.h"
#include "lib/data/dataset.h"
#include "lib/support/atomic_file.h"

namespace bevel::data {
namespace {

constexpr std::uint64_t kMaxDeflateRatio = 1032;  // deflate's best: 258 bytes from 2 bits
constexpr std::size_t kMaxMembers = 65536;

// minizip's view of a file: a cursor over bytes in memory.
struct Cursor {
  std::span<const std::byte> bytes;
  std::uint64_t position = 0;
};
voidpf cursor_open(voidpf opaque, const void*, int) { return opaque; }
uLong cursor_read(voidpf, voidpf stream, void* buffer, uLong size) {
  auto& cursor = *static_cast<Cursor*>(stream);
  const std::uint64_t count = std::min<std::uint64_t>(size, cursor.bytes.size() - cursor.position);
  if (count > 0) std::memcpy(buffer, cursor.bytes.data() + cursor.position, count);
  cursor.position += count;
  return static_cast<uLong>(count);
}
uLong cursor_write(voidpf, voidpf, const void*, uLong) { return 0; }
ZPOS64_T cursor_tell(voidpf, voidpf stream) { return static_cast<Cursor*>(stream)->position; }
long cursor_seek(voidpf, voidpf stream, ZPOS64_T offset, int origin) {
  auto& cursor = *static_cast<Cursor*>(stream);
  const std::uint64_t base = origin == ZLIB_FILEFUNC_SEEK_CUR   ? cursor.position
                             : origin == ZLIB_FILEFUNC_SEEK_END ? cursor.bytes.size()
                                                                : 0;
  if (offset > cursor.bytes.size() - base) return -1;
  cursor.position = base + offset;
  return 0;
}
int cursor_close(voidpf, voidpf) { return 0; }
int cursor_error(voidpf, voidpf) { return 0; }

class Unzip {
 public:
  explicit Unzip(std::span<const std::byte> bytes) : cursor_{bytes} {
    zlib_filefunc64_def functions{cursor_open, cursor_read,  cursor_write, cursor_tell,
                                  cursor_seek, cursor_close, cursor_error, &cursor_};
    file_ = unzOpen2_64("", &functions);
  }
  ~Unzip() {
    if (file_) unzClose(file_);
  }
  Unzip(const Unzip&) = delete;
  Unzip& operator=(const Unzip&) = delete;
  [[nodiscard]] unzFile get() const { return file_; }

 private:
  Cursor cursor_;
  unzFile file_ = nullptr;
};

// The archive ends with a whole "end of central directory" record (APPNOTE.TXT, 4.3.16); minizip takes a cut one for an empty
// archive.
bool ends_as_archive(std::span<const std::byte> bytes) {
  constexpr std::size_t kRecord = 22, kMaxComment = 0xFFFF;
  for (std::size_t comment = 0; comment <= kMaxComment && kRecord + comment <= bytes.size(); ++comment) {
    const std::byte* record = bytes.data() + bytes.size() - kRecord - comment;
    const auto stated = static_cast<std::size_t>(record[20]) | static_cast<std::size_t>(record[21]) << 8;
    if (std::memcmp(record, "PK\x05\x06", 4) == 0 && stated == comment) return true;
  }
  return false;
}

std::string key_of(const std::string& member) {
  return member.ends_with(".npy") ? member.substr(0, member.size() - 4) : member;
}

// Reads exactly `size` bytes of the open member.
bool read_exactly(unzFile zip, std::byte* target, std::size_t size) {
  constexpr std::size_t kChunk = std::size_t{64} << 20;
  while (size > 0) {
    const auto wanted = static_cast<unsigned>(std::min(size, kChunk));
    const int got = unzReadCurrentFile(zip, target, wanted);
    if (got <= 0) return false;
    target += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

Result<Tensor> read_open_member(unzFile zip, const unz_file_info64& info, const std::string& where) {
  // Header first: its length is in the first 12 bytes.
  std::vector<std::byte> head(std::min<std::uint64_t>(12, info.uncompressed_size));
  if (!read_exactly(zip, head.data(), head.size())) return fail_input("{}: the compressed data is damaged", where);
  std::size_t length = 0;
  if (head.size() == 12) {
    const auto byte = [&](std::size_t i) { return static_cast<std::size_t>(head[i]); };
    length = byte(6) == 1 ? 10 + (byte(8) | byte(9) << 8)
                          : 12 + (byte(8) | byte(9) << 8 | byte(10) << 16 | byte(11) << 24);
  }
  length = std::min<std::uint64_t>(std::max(length, head.size()), std::min<std::uint64_t>(info.uncompressed_size, 1 << 21));
  const std::size_t seen = head.size();
  head.resize(length);
  if (!read_exactly(zip, head.data() + seen, length - seen)) {
    return fail_input("{}: the compressed data is damaged", where);
  }
  BEVEL_TRY(const NpyHeader header, parse_npy_header(head, where));
  if (header.data_offset != head.size() || info.uncompressed_size - header.data_offset != header.data_bytes) {
    return fail_input("{}: the array's header promises {} bytes, the archive {}", where,
                      header.data_offset + header.data_bytes, info.uncompressed_size);
  }
  Tensor raw = Tensor::zeros(header.dtype, header.dims);
  if (!read_exactly(zip, raw.mutable_bytes().data(), header.data_bytes)) {
    return fail_input("{}: the compressed data is damaged", where);
  }
  return normalized(std::move(raw), header);
}

}  // namespace

Result<std::shared_ptr<const ArrayArchive>> ArrayArchive::open(std::shared_ptr<const MappedFile> file, std::string name) {
  auto archive = std::shared_ptr<ArrayArchive>(new ArrayArchive());
  archive->file_ = std::move(file);
  archive->name_ = std::move(name);
  const Unzip zip(archive->file_->bytes());
  if (!zip.get() || !ends_as_archive(archive->file_->bytes())) {
    return fail_input("{}: not an .npz: no whole ZIP directory was found", archive->name_);
  }
  std::set<std::string> seen;
  for (int state = unzGoToFirstFile(zip.get()); state != UNZ_END_OF_LIST_OF_FILE; state = unzGoToNextFile(zip.get())) {
    unz_file_info64 info{};
    if (state != UNZ_OK || unzGetCurrentFileInfo64(zip.get(), &info, nullptr, 0, nullptr, 0, nullptr, 0) != UNZ_OK) {
      if (archive->keys_.empty() && state != UNZ_OK) break;
      return fail_input("{}: the ZIP directory is damaged after {} members", archive->name_, archive->keys_.size());
    }
    std::string member(info.size_filename, '\0');
    unzGetCurrentFileInfo64(zip.get(), &info, member.data(), member.size(), nullptr, 0, nullptr, 0);
    std::string key = key_of(member);
    if (!seen.insert(key).second) {
      return fail_input("{}: two members are named \"{}\"", archive->name_, printable(key));
    }
    if (archive->keys_.size() == kMaxMembers) {
      return fail_input("{}: more than {} members", archive->name_, kMaxMembers);
    }
    archive->keys_.push_back(std::move(key));
    archive->members_.push_back(std::move(member));
  }
  return archive;
}

Result<Tensor> ArrayArchive::read(const std::string& key) const {
  const auto found = std::find(keys_.begin(), keys_.end(), key);
  if (found == keys_.end()) {
    std::string names;
    for (std::size_t i = 0; i < keys_.size() && i < 20; ++i) names += (i ? ", " : "") + printable(keys_[i]);
    return fail_input("{}: no array \"{}\"; the archive holds: {}", name_, printable(key), names.empty() ? "none" : names);
  }
  const std::string where = fmt::format("{}:{}", name_, printable(key));
  const std::ptrdiff_t wanted = found - keys_.begin();
  const Unzip zip(file_->bytes());
  if (!zip.get()) return fail_input("{}: the ZIP directory is damaged", where);
  int state = unzGoToFirstFile(zip.get());
  for (std::ptrdiff_t i = 0; i < wanted && state == UNZ_OK; ++i) state = unzGoToNextFile(zip.get());
  unz_file_info64 info{};
  if (state != UNZ_OK || unzGetCurrentFileInfo64(zip.get(), &info, nullptr, 0, nullptr, 0, nullptr, 0) != UNZ_OK) {
    return fail_input("{}: the ZIP directory is damaged", where);
  }
  if ((info.flag & 1) != 0 || (info.compression_method != 0 && info.compression_method != Z_DEFLATED)) {
    return fail_input("{}: the member is {}; only stored and deflated members are read", where,
                      (info.flag & 1) != 0 ? "encrypted" : fmt::format("compressed by method {}", info.compression_method));
  }
  const std::uint64_t file_size = file_->bytes().size();
  const bool stored = info.compression_method == 0;
  if (info.compressed_size > file_size || info.uncompressed_size > kMaxArrayBytes ||
      (stored ? info.uncompressed_size != info.compressed_size
              : info.uncompressed_size / kMaxDeflateRatio > info.compressed_size + 1)) {
    return fail_input("{}: {} bytes are said to unpack to {}, which they cannot, or which is beyond the limit of {}", where,
                      info.compressed_size, info.uncompressed_size, kMaxArrayBytes);
  }
  if (unzOpenCurrentFile(zip.get()) != UNZ_OK) return fail_input("{}: the member's local header is damaged", where);
  if (stored) {
    const std::uint64_t offset = unzGetCurrentFileZStreamPos64(zip.get());
    if (offset > file_size || info.compressed_size > file_size - offset) {
      return fail_input("{}: the member goes past the end of the file", where);
    }
    const auto bytes = file_->bytes().subspan(offset, info.compressed_size);
    if (crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()) != info.crc) {
      return fail_input("{}: the data does not match its checksum", where);
    }
    return read_npy(bytes, where, file_, offset);
  }
  BEVEL_TRY(Tensor tensor, read_open_member(zip.get(), info, where));
  if (unzCloseCurrentFile(zip.get()) == UNZ_CRCERROR) return fail_input("{}: the data does not match its checksum", where);
  return tensor;
}

namespace {

Tensor widened(const Tensor& tensor) {
  const DType dtype = numpy_dtype(tensor.dtype());
  if (dtype == tensor.dtype()) return tensor;
  Tensor result = Tensor::zeros(dtype, tensor.dims());
  for (std::int64_t i = 0; i < tensor.size(); ++i) {
    if (is_floating(dtype)) result.set_from_double(i, tensor.as_double(i));
    else result.set_from_int64(i, tensor.as_int64(i));
  }
  return result;
}

class Bytes {
 public:
  Bytes& u16(std::uint64_t value) { return put(value, 2); }
  Bytes& u32(std::uint64_t value) { return put(value, 4); }
  Bytes& text(std::string_view value) {
    bytes_ += value;
    return *this;
  }
  [[nodiscard]] const std::string& str() const { return bytes_; }

 private:
  Bytes& put(std::uint64_t value, int count) {
    for (int i = 0; i < count; ++i) bytes_ += static_cast<char>(value >> (8 * i) & 0xFF);
    return *this;
  }
  std::string bytes_;
};

}  // namespace

// Members are stored, dated 1980-01-01, in the order given: the same arrays give the same bytes (APPNOTE.TXT, 4.3).
Status write_npz(const std::filesystem::path& path, const std::vector<std::pair<std::string, Tensor>>& arrays) {
  constexpr std::uint64_t kLimit = 0xFFFFFFFFull;
  constexpr std::uint64_t kUtf8 = 1u << 11, kVersion = 20, kDate = 1u << 5 | 1u;
  BEVEL_TRY(AtomicFile file, AtomicFile::create(path));
  Bytes directory;
  std::uint64_t offset = 0;
  std::set<std::string> seen;
  for (const auto& [key, array] : arrays) {
    if (array.dtype() == DType::string || !array.defined()) {
      return fail(ExitCode::output, "{}: array \"{}\" has no number type and cannot be written as .npy", path.string(),
                  printable(key));
    }
    if (!seen.insert(key).second) {
      return fail(ExitCode::output, "{}: two arrays are named \"{}\"", path.string(), printable(key));
    }
    const Tensor data = widened(array);
    const std::string header = npy_header(data.dtype(), data.dims());
    const std::string name = key + ".npy";
    const std::uint64_t size = header.size() + data.bytes().size();
    if (size > kLimit || offset > kLimit - size || name.size() > 0xFFFF || arrays.size() > 0xFFFE) {
      return fail(ExitCode::output, "{}: the arrays are beyond the 4 GiB of a plain ZIP archive", path.string());
    }
    uLong crc = crc32_z(0, reinterpret_cast<const Bytef*>(header.data()), header.size());
    if (!data.bytes().empty()) crc = crc32_z(crc, reinterpret_cast<const Bytef*>(data.bytes().data()), data.bytes().size());
    Bytes local;
    local.u32(0x04034b50).u16(kVersion).u16(kUtf8).u16(0).u16(0).u16(kDate);
    local.u32(crc).u32(size).u32(size).u16(name.size()).u16(0).text(name);
    directory.u32(0x02014b50).u16(kVersion).u16(kVersion).u16(kUtf8).u16(0).u16(0).u16(kDate);
    directory.u32(crc).u32(size).u32(size).u16(name.size()).u16(0).u16(0).u16(0).u16(0).u32(0).u32(offset).text(name);
    BEVEL_TRY_STATUS(file.write(local.str()));
    BEVEL_TRY_STATUS(file.write(header));
    BEVEL_TRY_STATUS(file.write(data.bytes()));
    offset += local.str().size() + size;
    if (offset > kLimit) {
      return fail(ExitCode::output, "{}: the arrays are beyond the 4 GiB of a plain ZIP archive", path.string());
    }
  }
  Bytes end;
  end.u32(0x06054b50).u16(0).u16(0).u16(arrays.size()).u16(arrays.size());
  end.u32(directory.str().size()).u32(offset).u16(0);
  BEVEL_TRY_STATUS(file.write(directory.str()));
  BEVEL_TRY_STATUS(file.write(end.str()));
  BEVEL_TRY_STATUS(file.sync());
  return file.commit();
}

Result<std::vector<std::pair<std::string, Tensor>>> read_arrays(const std::filesystem::path& path) {
  BEVEL_TRY(auto file, MappedFile::open(path));
  const std::string name = path.string();
  std::vector<std::pair<std::string, Tensor>> arrays;
  if (file->bytes().size() >= 6 && std::memcmp(file->bytes().data(), "\x93NUMPY", 6) == 0) {
    BEVEL_TRY(Tensor array, read_npy(file->bytes(), name, file, 0));
    arrays.emplace_back("", std::move(array));
    return arrays;
  }
  BEVEL_TRY(const auto archive, ArrayArchive::open(file, name));
  for (const std::string& key : archive->keys()) {
    BEVEL_TRY(Tensor array, archive->read(key));
    arrays.emplace_back(key, std::move(array));
  }
  return arrays;
}

}  // namespace bevel::data
