#include "lib/driver/staging.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <optional>

#include "lib/support/atomic_file.h"
#include "lib/support/check.h"
#include "lib/support/mapped_file.h"

namespace bevel::driver {

namespace fs = std::filesystem;

namespace {

// What a signal handler may touch: fixed buffers, no heap. A slot is in use while its first byte is not zero. One command
// stages one folder at a time; the second slot is for a depfile's.
constexpr std::size_t kSlots = 4;
constexpr std::size_t kPathBytes = 4096;
struct Slot {
  std::atomic<bool> used{false};
  char folder[kPathBytes];
  int created_depth;  // how many of the folders above it were made here
};
Slot g_slots[kSlots];
std::atomic<Published> g_published{Published::nothing};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<Published>::is_always_lock_free);

// While the outputs get their names, an interruption waits: old or new, never some of each.
struct Publishing {
  Publishing() { g_published.store(Published::in_progress); }
  ~Publishing() { g_published.store(done ? Published::done : Published::nothing); }
  bool done = false;
};

Failure output_failure(const fs::path& path, const char* what, int error) {
  return fail(ExitCode::output, "{}: {}: {}. Nothing was written.", printable(path.string()), what, std::strerror(error));
}

Status sync_path(const fs::path& path, int flags) {
  const int descriptor = ::open(path.c_str(), flags | O_CLOEXEC);
  if (descriptor < 0) return output_failure(path, "cannot be opened to be synced", errno);
  const int synced = ::fsync(descriptor);
  const int error = errno;
  ::close(descriptor);
  // Some file systems cannot sync folders (EINVAL): the rename is then as safe as it can be there.
  if (synced != 0 && error != EINVAL && error != EROFS) return output_failure(path, "cannot be synced", error);
  return {};
}

}  // namespace

Result<Staging> Staging::create(const fs::path& folder, bool create_folder) {
  Staging staging;
  staging.folder_ = folder.empty() ? fs::path(".") : folder;
  std::error_code error;
  std::vector<fs::path> missing;
  for (fs::path at = fs::absolute(staging.folder_, error).lexically_normal(); !at.empty() && !fs::exists(at, error);) {
    missing.push_back(at);
    if (at == at.parent_path()) break;
    at = at.parent_path();
  }
  if (!missing.empty() && !create_folder)
    return output_failure(staging.folder_, "the folder of the output does not exist", ENOENT);
  for (auto at = missing.rbegin(); at != missing.rend(); ++at) {
    if (::mkdir(at->c_str(), 0777) != 0 && errno != EEXIST)
      return output_failure(*at, "the output folder cannot be created", errno);
    staging.created_.push_back(*at);
  }
  if (!fs::is_directory(staging.folder_, error))
    return output_failure(staging.folder_, "the output folder cannot be used", ENOTDIR);
  std::string name = (fs::absolute(staging.folder_, error) / ".bevel-XXXXXX").string();
  if (name.size() >= kPathBytes) return output_failure(staging.folder_, "the output folder cannot be used", ENAMETOOLONG);
  if (::mkdtemp(name.data()) == nullptr) return output_failure(staging.folder_, "the output folder cannot be written", errno);
  staging.hidden_ = name;
  for (Slot& slot : g_slots) {
    if (slot.used.load()) continue;
    std::memcpy(slot.folder, name.c_str(), name.size() + 1);
    slot.created_depth = static_cast<int>(staging.created_.size());
    slot.used.store(true);
    break;
  }
  return staging;
}

Staging::Staging(Staging&& other) noexcept
    : folder_(std::move(other.folder_)), hidden_(std::move(other.hidden_)), created_(std::move(other.created_)),
      published_(other.published_) {
  other.hidden_.clear();
  other.created_.clear();
}

Staging::~Staging() {
  std::error_code error;
  if (!hidden_.empty()) {
    fs::remove_all(hidden_, error);
    for (Slot& slot : g_slots)
      if (slot.used.load() && hidden_ == fs::path(slot.folder)) slot.used.store(false);
  }
  if (published_) return;
  for (auto at = created_.rbegin(); at != created_.rend(); ++at) ::rmdir(at->c_str());  // only while empty
}

Status Staging::write(const std::string& name, std::string_view content) {
  return write(name, std::as_bytes(std::span(content.data(), content.size())));
}

Status Staging::write(const std::string& name, std::span<const std::byte> content) {
  const fs::path path = path_of(name);
  const int descriptor = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (descriptor < 0) return output_failure(folder_ / name, "cannot be written", errno);
  while (!content.empty()) {
    const ssize_t written = ::write(descriptor, content.data(), content.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) {
      const int error = written < 0 ? errno : ENOSPC;
      ::close(descriptor);
      return output_failure(folder_ / name, "cannot be written", error);
    }
    content = content.subspan(static_cast<std::size_t>(written));
  }
  if (::close(descriptor) != 0) return output_failure(folder_ / name, "cannot be written", errno);
  return {};
}

Status Staging::publish(const std::vector<std::string>& names) {
  // Where a name is a link, the file that it names is replaced: it may be in another folder, so the content goes beside it.
  std::vector<std::optional<AtomicFile>> beyond_links;
  for (const std::string& name : names) {
    const fs::path target = folder_ / name;
    std::error_code error;
    BEVEL_CHECK(fs::exists(path_of(name), error));
    BEVEL_TRY(const fs::path file, file_behind(target));
    BEVEL_TRY_STATUS(sync_path(path_of(name), O_RDONLY));
    beyond_links.emplace_back();
    if (file == target) continue;
    BEVEL_TRY(const auto content, MappedFile::open(path_of(name)));
    BEVEL_TRY(beyond_links.back(), AtomicFile::create(file));
    BEVEL_TRY_STATUS(beyond_links.back()->write(content->bytes()));
    BEVEL_TRY_STATUS(beyond_links.back()->sync());
  }
  Publishing publishing;
  for (std::size_t i = 0; i < names.size(); ++i) {
    if (beyond_links[i]) {
      BEVEL_TRY_STATUS(beyond_links[i]->commit());
    } else if (::rename(path_of(names[i]).c_str(), (folder_ / names[i]).c_str()) != 0) {
      const int error = errno;
      if (!published_) return output_failure(folder_ / names[i], "cannot be put in place", error);
      return fail(ExitCode::output, "{}: cannot be put in place: {}. The outputs before it are new, the others as they were.",
                  printable((folder_ / names[i]).string()), std::strerror(error));
    }
    published_ = true;
  }
  publishing.done = true;
  return sync_path(folder_, O_RDONLY | O_DIRECTORY);
}

Status can_write_into(const fs::path& folder, bool create_folder) {
  auto tried = Staging::create(folder, create_folder);
  if (!tried) return Failure(std::move(tried).error());
  return {};
}

std::string earlier_outputs(const fs::path& folder, const std::vector<std::string>& names) {
  std::string found;
  std::error_code error;
  for (const std::string& name : names)
    if (fs::is_regular_file(folder / name, error)) found += (found.empty() ? "" : ", ") + name;
  if (found.empty()) return {};
  return fmt::format(" An earlier run's outputs still lie in {}, and are not of this run: {}.", printable(folder.string()), found);
}

Published published() noexcept { return g_published.load(); }

void remove_open_staging() noexcept {
  for (Slot& slot : g_slots) {
    if (!slot.used.load()) continue;
    // The names inside are read with getdents64: opendir may allocate, which a signal handler must not.
    const int folder = ::open(slot.folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (folder >= 0) {
      alignas(8) char buffer[4096];
      for (int pass = 0; pass < 8; ++pass) {
        ::lseek(folder, 0, SEEK_SET);
        bool removed = false;
        for (long size; (size = ::syscall(SYS_getdents64, folder, buffer, sizeof(buffer))) > 0;)
          for (long at = 0; at < size;) {
            // struct linux_dirent64: u64 ino, s64 off, u16 reclen, u8 type, name
            unsigned short record = 0;
            std::memcpy(&record, buffer + at + 16, sizeof(record));
            const char* name = buffer + at + 19;
            if (!(name[0] == '.' && (name[1] == 0 || (name[1] == '.' && name[2] == 0))))
              removed = ::unlinkat(folder, name, 0) == 0 || removed;
            at += record;
          }
        if (!removed) break;
      }
      ::close(folder);
    }
    ::rmdir(slot.folder);
    // Folders that were made for this output go again, innermost first, while they are empty.
    for (int depth = 0; depth < slot.created_depth; ++depth) {
      char* slash = std::strrchr(slot.folder, '/');
      if (slash == nullptr || slash == slot.folder) break;
      *slash = 0;
      if (::rmdir(slot.folder) != 0) break;
    }
    slot.used.store(false);
  }
}

}  // namespace bevel::driver
