#include "calibration/activation_store.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <vector>

namespace bevel::calibration {
namespace {

// Holes of the file are whole blocks.
constexpr std::uint64_t kBlock = 4096;
std::uint64_t in_blocks(std::uint64_t bytes) { return (bytes + kBlock - 1) / kBlock * kBlock; }

bool write_all(int file, std::span<const std::byte> bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t written = ::pwrite(file, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
  return true;
}

bool read_all(int file, std::span<std::byte> bytes, std::uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t got = ::pread(file, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    bytes = bytes.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return true;
}

}  // namespace

ActivationStore::ActivationStore(std::uint64_t cap, std::filesystem::path folder) : cap_(cap), folder_(std::move(folder)) {}

ActivationStore::~ActivationStore() {
  if (file_ >= 0) ::close(file_);
}

bool ActivationStore::open_file() {
  if (file_ >= 0) return true;
  std::filesystem::path folder = folder_;
  if (folder.empty()) {
    const char* variable = std::getenv("TMPDIR");
    folder = variable != nullptr && *variable != '\0' ? variable : "/tmp";
  }
  file_ = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (file_ < 0) {  // a file system without nameless files
    std::string name = (folder / "bevel-XXXXXX").string();
    file_ = ::mkostemp(name.data(), O_CLOEXEC);
    if (file_ >= 0) ::unlink(name.c_str());
  }
  unusable_ = file_ < 0;
  return file_ >= 0;
}

// Drops what was least recently used; the file gives the blocks back.
bool ActivationStore::make_room(std::uint64_t bytes) {
  for (auto at = by_use_.end(); held_ + bytes > cap_ && at != by_use_.begin();) {
    --at;
    const auto found = entries_.find(*at);
    Entry& entry = found->second;
    if (entry.users > 0) continue;
    if (::fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(entry.offset),
                    static_cast<off_t>(in_blocks(entry.bytes))) != 0)
      return false;
    held_ -= in_blocks(entry.bytes);
    entries_.erase(found);
    at = by_use_.erase(at);
  }
  return held_ + bytes <= cap_;
}

bool ActivationStore::holds(const Key& key) const {
  const std::scoped_lock lock(mutex_);
  const auto found = entries_.find(key);
  return found != entries_.end() && found->second.whole;
}

std::optional<Tensor> ActivationStore::read(const Key& key) {
  std::unique_lock lock(mutex_);
  const auto found = entries_.find(key);
  if (found == entries_.end() || !found->second.whole) return std::nullopt;
  Entry& entry = found->second;
  ++entry.users;
  by_use_.splice(by_use_.begin(), by_use_, entry.place);
  lock.unlock();
  Tensor tensor = Tensor::zeros(entry.dtype, entry.dims);
  const bool read = read_all(file_, tensor.mutable_bytes(), entry.offset);
  lock.lock();
  --entry.users;
  if (!read) return std::nullopt;
  return tensor;
}

void ActivationStore::keep(const Key& key, const Tensor& tensor) {
  if (!tensor.defined() || tensor.dtype() == DType::string) return;
  const auto bytes = tensor.bytes();
  const std::uint64_t room = in_blocks(bytes.size());
  std::unique_lock lock(mutex_);
  if (unusable_ || room > cap_ || entries_.contains(key) || !open_file() || !make_room(room)) return;
  Entry& entry = entries_[key];
  entry.dtype = tensor.dtype();
  entry.dims = tensor.dims();
  entry.offset = end_;
  entry.bytes = bytes.size();
  entry.users = 1;
  by_use_.push_front(key);
  entry.place = by_use_.begin();
  end_ += room;
  held_ += room;
  lock.unlock();
  const bool written = write_all(file_, bytes, entry.offset);
  lock.lock();
  --entry.users;
  entry.whole = written;
  if (written) return;
  unusable_ = true;
  held_ -= room;
  by_use_.erase(entry.place);
  entries_.erase(key);
}

}  // namespace bevel::calibration
