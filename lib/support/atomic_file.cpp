#include "lib/support/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace bevel {

namespace {

// Temporaries that a signal handler must remove: fixed storage, since a handler may neither lock nor allocate.
constexpr std::size_t kMaxOpen = 64;
constexpr std::size_t kMaxPath = 4096;
enum SlotState : int { kFree, kFilling, kOpen };
struct Slot {
  std::atomic<int> state{kFree};
  char path[kMaxPath];
};
Slot slots[kMaxOpen];
static_assert(std::atomic<int>::is_always_lock_free);

// A full table or an overlong path means only that a signal leaves this temporary behind.
void register_temporary(const std::string& path) {
  if (path.size() >= kMaxPath) return;
  for (Slot& slot : slots) {
    int expected = kFree;
    if (!slot.state.compare_exchange_strong(expected, kFilling)) continue;
    std::memcpy(slot.path, path.c_str(), path.size() + 1);
    slot.state.store(kOpen);
    return;
  }
}

void unregister_temporary(const std::string& path) {
  for (Slot& slot : slots) {
    if (slot.state.load() != kOpen || path != slot.path) continue;
    slot.state.store(kFree);
    return;
  }
}

Failure fail_write(const std::filesystem::path& target, std::string_view what, int error) {
  return fail(ExitCode::output, "{}: {}: {}", printable(target.string()), what, std::strerror(error));
}

// Makes the rename itself durable. File systems that cannot sync a folder lose nothing that they promised.
void sync_folder(const std::filesystem::path& folder) {
  const int descriptor = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (descriptor < 0) return;
  ::fsync(descriptor);
  ::close(descriptor);
}

}  // namespace

Result<std::filesystem::path> file_behind(const std::filesystem::path& target) {
  constexpr int kMaxLinks = 40;  // as the kernel
  std::filesystem::path file = target;
  for (int links = 0;; ++links) {
    struct stat found {};
    if (::lstat(file.c_str(), &found) != 0) {
      if (errno == ENOENT) return file;
      return fail_write(target, "cannot be written", errno);
    }
    if (S_ISREG(found.st_mode)) return file;
    if (S_ISDIR(found.st_mode)) return fail_write(target, "is a folder, where a file was expected", EISDIR);
    if (!S_ISLNK(found.st_mode)) {
      const char* kind = S_ISFIFO(found.st_mode) ? "FIFO" : S_ISSOCK(found.st_mode) ? "socket" : "device";
      return fail(ExitCode::output, "{}: is a {}, which an output would replace; expected a regular file or a new name. Nothing was "
                                    "written.", printable(target.string()), kind);
    }
    if (links == kMaxLinks) return fail_write(target, "cannot be written", ELOOP);
    std::error_code error;
    const std::filesystem::path next = std::filesystem::read_symlink(file, error);
    if (error) return fail_write(target, "cannot be written", error.value());
    file = file.parent_path() / next;  // an absolute `next` stands alone
  }
}

Result<AtomicFile> AtomicFile::create(std::filesystem::path target) {
  if (target.filename().empty() || target.filename() == "." || target.filename() == "..")
    return fail(ExitCode::output, "'{}' names no file; expected the path of an output file", printable(target.string()));
  BEVEL_TRY(target, file_behind(target));
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(target, error);
  if (error) return fail_write(target, "cannot be written", error.value());

  static std::atomic<unsigned> counter{0};
  AtomicFile file;
  file.target_ = target;
  constexpr int kAttempts = 1000;  // names left behind by a killed process of the same number
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    file.temporary_ = absolute.parent_path() / fmt::format(".bevel-{}-{}.tmp", ::getpid(), counter.fetch_add(1));
    const std::string path = file.temporary_.string();
    register_temporary(path);
    do {
      file.descriptor_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0666);
    } while (file.descriptor_ < 0 && errno == EINTR);
    if (file.descriptor_ >= 0) return file;
    const int failed = errno;
    unregister_temporary(path);
    if (failed != EEXIST) {
      file.temporary_.clear();
      return fail_write(target, "cannot be created", failed);
    }
  }
  file.temporary_.clear();
  return fail_write(target, "cannot be created", EEXIST);
}

AtomicFile::~AtomicFile() { abandon(); }

AtomicFile::AtomicFile(AtomicFile&& other) noexcept
    : target_(std::move(other.target_)),
      temporary_(std::exchange(other.temporary_, {})),
      descriptor_(std::exchange(other.descriptor_, -1)) {}

AtomicFile& AtomicFile::operator=(AtomicFile&& other) noexcept {
  if (this != &other) {
    abandon();
    target_ = std::move(other.target_);
    temporary_ = std::exchange(other.temporary_, {});
    descriptor_ = std::exchange(other.descriptor_, -1);
  }
  return *this;
}

void AtomicFile::abandon() noexcept {
  if (descriptor_ >= 0) ::close(std::exchange(descriptor_, -1));
  if (temporary_.empty()) return;
  ::unlink(temporary_.c_str());
  unregister_temporary(temporary_.native());
  temporary_.clear();
}

Status AtomicFile::write(std::span<const std::byte> bytes) {
  if (descriptor_ < 0) return fail_write(target_, "cannot be written", EBADF);
  while (!bytes.empty()) {
    const std::size_t chunk = std::min<std::size_t>(bytes.size(), std::size_t{1} << 30);  // write(2) takes less than 2 GiB
    const ssize_t written = ::write(descriptor_, bytes.data(), chunk);
    if (written < 0) {
      if (errno == EINTR) continue;
      return fail_write(target_, "cannot be written", errno);
    }
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
  return {};
}

Status AtomicFile::write(std::string_view text) { return write(std::as_bytes(std::span(text.data(), text.size()))); }

Status AtomicFile::sync() {
  if (descriptor_ < 0) return {};
  while (::fsync(descriptor_) != 0) {
    if (errno == EINTR) continue;
    if (errno == EINVAL || errno == ENOTSUP) break;  // a file system without sync
    return fail_write(target_, "cannot be written", errno);
  }
  return {};
}

Status AtomicFile::commit() {
  if (temporary_.empty()) return fail_write(target_, "cannot be written", EBADF);
  BEVEL_TRY_STATUS(sync());
  // Network file systems may report a failed write only here.
  if (descriptor_ >= 0 && ::close(std::exchange(descriptor_, -1)) != 0 && errno != EINTR)
    return fail_write(target_, "cannot be written", errno);
  const std::filesystem::path folder = temporary_.parent_path();
  if (::rename(temporary_.c_str(), target_.c_str()) != 0) return fail_write(target_, "cannot be put in place", errno);
  unregister_temporary(temporary_.native());
  temporary_.clear();
  sync_folder(folder);
  return {};
}

Status write_file_atomically(const std::filesystem::path& target, std::string_view content) {
  BEVEL_TRY(auto file, AtomicFile::create(target));
  BEVEL_TRY_STATUS(file.write(content));
  return file.commit();
}

void remove_open_temporaries() noexcept {
  for (Slot& slot : slots)
    if (slot.state.load() == kOpen) ::unlink(slot.path);
}

}  // namespace bevel
