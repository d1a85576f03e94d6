#include "lib/support/mapped_file.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/support/file_root.h"

namespace bevel {

namespace {

// Closes a descriptor at the end of its scope.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  ~Descriptor() {
    if (value_ >= 0) ::close(value_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  [[nodiscard]] int get() const { return value_; }
  int release() { return std::exchange(value_, -1); }
  void reset(int value) {
    if (value_ >= 0) ::close(value_);
    value_ = value;
  }

 private:
  int value_;
};

// O_NONBLOCK: opening a FIFO must not wait for its writer; it does nothing to regular files.
constexpr int kReadFlags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;

int open_retrying(const char* path, int flags) {
  int descriptor = -1;
  do {
    descriptor = ::open(path, flags);
  } while (descriptor < 0 && errno == EINTR);
  return descriptor;
}

// Splits at '/', dropping empty and "." components; false where a component is "..".
bool split_components(std::string_view path, std::vector<std::string>& components) {
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    const std::string_view component = path.substr(at, end - at);
    if (component == "..") return false;
    if (!component.empty() && component != ".") components.emplace_back(component);
    at = end + 1;
  }
  return true;
}

// One openat per component with O_NOFOLLOW, for kernels before 5.6 and sandboxes that refuse openat2.
int walk_beneath(int folder, const std::vector<std::string>& components) {
  Descriptor at(-1);
  for (std::size_t i = 0; i < components.size(); ++i) {
    const bool last = i + 1 == components.size();
    const int flags = last ? kReadFlags | O_NOFOLLOW : O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
    int next = -1;
    do {
      next = ::openat(at.get() >= 0 ? at.get() : folder, components[i].c_str(), flags);
    } while (next < 0 && errno == EINTR);
    if (next < 0) {
      // With O_DIRECTORY a link is reported as "not a directory"; say what it is.
      struct stat info {};
      const int error = errno;
      const bool link = ::fstatat(at.get() >= 0 ? at.get() : folder, components[i].c_str(), &info,
                                  AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(info.st_mode);
      errno = link ? ELOOP : error;
      return -1;
    }
    at.reset(next);
  }
  return at.release();
}

}  // namespace

Result<std::shared_ptr<const MappedFile>> MappedFile::open(const std::filesystem::path& path) {
  const std::string name = printable(path.string());
  if (path.empty()) return fail_input("the file name is empty; expected the path of a file");
  const Descriptor descriptor(open_retrying(path.c_str(), kReadFlags));
  if (descriptor.get() < 0) return fail_input("{}: cannot be opened: {}", name, std::strerror(errno));
  return map_descriptor(descriptor.get(), name);
}

Result<std::shared_ptr<const MappedFile>> MappedFile::map_descriptor(int descriptor, const std::string& name) {
  struct stat info {};
  if (::fstat(descriptor, &info) != 0) return fail_input("{}: cannot be read: {}", name, std::strerror(errno));
  if (S_ISDIR(info.st_mode)) return fail_input("{}: is a directory; expected a file", name);
  if (!S_ISREG(info.st_mode)) return fail_input("{}: is a device or a pipe; expected a regular file", name);
  if (info.st_size < 0 || static_cast<std::uint64_t>(info.st_size) > std::numeric_limits<std::size_t>::max())
    return fail_input("{}: is too large to be mapped", name);
  const auto size = static_cast<std::size_t>(info.st_size);
  const std::byte* data = nullptr;
  if (size > 0) {
    void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (address == MAP_FAILED) return fail_input("{}: cannot be mapped: {}", name, std::strerror(errno));
    data = static_cast<const std::byte*>(address);
  }
  return std::shared_ptr<const MappedFile>(new MappedFile(data, size));
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<std::byte*>(data_), size_);
}

void MappedFile::release(std::span<const std::byte> part) const {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = (reinterpret_cast<std::uintptr_t>(part.data()) + page - 1) / page * page;
  const auto end = (reinterpret_cast<std::uintptr_t>(part.data()) + part.size()) / page * page;
  if (begin < end) ::madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);
}

namespace {

// What was not opened, and whether a link was in the way, which an allowed folder may permit.
struct Refusal {
  bool link = false;
  Diagnostic diagnostic;
};
Refusal refusal(bool link, Failure failure) { return {link, std::move(failure).value()}; }

// `components` are those of `relative`, without "..".
tl::expected<int, Refusal> open_without_links(const std::filesystem::path& folder, const std::string& relative,
                                              const std::vector<std::string>& components, bool may_be_hard_link) {
  const std::string shown = printable(relative), shown_folder = printable(folder.string());
  const Descriptor root(open_retrying(folder.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (root.get() < 0)
    return tl::unexpected(refusal(false, fail_input("folder '{}' cannot be opened: {}", shown_folder, std::strerror(errno))));

  struct open_how how {};
  how.flags = static_cast<std::uint64_t>(kReadFlags);
  how.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
  long opened = -1;
  do {
    opened = ::syscall(SYS_openat2, root.get(), relative.c_str(), &how, sizeof(how));
  } while (opened < 0 && (errno == EINTR || errno == EAGAIN));
  if (opened < 0 && (errno == ENOSYS || errno == EPERM || errno == E2BIG || errno == EINVAL))
    opened = walk_beneath(root.get(), components);
  Descriptor descriptor(static_cast<int>(opened));
  if (descriptor.get() < 0) {
    if (errno == ELOOP)
      return tl::unexpected(refusal(
          true, fail_input("'{}' goes through a symbolic link; expected a plain file beneath the folder '{}', or with --allow-root the "
                           "folder that the link leads into", shown, shown_folder)));
    return tl::unexpected(
        refusal(false, fail_input("'{}' in the folder '{}' cannot be opened: {}", shown, shown_folder, std::strerror(errno))));
  }
  struct stat info {};
  if (::fstat(descriptor.get(), &info) != 0)
    return tl::unexpected(refusal(false, fail_input("'{}': cannot be read: {}", shown, std::strerror(errno))));
  if (!S_ISREG(info.st_mode))
    return tl::unexpected(refusal(false, fail_input("'{}' in the folder '{}' is not a regular file", shown, shown_folder)));
  if (info.st_nlink > 1 && !may_be_hard_link)
    return tl::unexpected(refusal(
        true, fail_input("'{}' in the folder '{}' has {} hard links, so that it may be any file's content; expected a file of its own, "
                         "or --allow-root with its folder", shown, shown_folder, info.st_nlink)));
  return descriptor.release();
}

// The path of `file` relative to `folder`, both canonical; empty when it lies elsewhere.
std::string beneath(const std::filesystem::path& file, const std::filesystem::path& folder) {
  const auto [rest, end] = std::mismatch(file.begin(), file.end(), folder.begin(), folder.end());
  if (end != folder.end()) return {};
  std::filesystem::path relative;
  for (auto part = rest; part != file.end(); ++part) relative /= *part;
  return relative.string();
}

}  // namespace

Result<int> open_beneath(const FileRoot& root, const std::string& relative) {
  const std::string shown = printable(relative);
  const std::filesystem::path folder = root.folder.empty() ? std::filesystem::path(".") : root.folder;
  if (relative.empty()) return fail_input("the file name is empty; expected a path relative to its folder");
  if (relative.find('\0') != std::string::npos) return fail_input("'{}': a file name cannot hold a zero byte", shown);
  if (relative.front() == '/')
    return fail_input("'{}' is an absolute path; expected one relative to the folder '{}' and beneath it", shown,
                      printable(folder.string()));
  std::vector<std::string> components;
  if (!split_components(relative, components))
    return fail_input("'{}' has a '..'; expected a path that stays beneath the folder '{}'", shown, printable(folder.string()));
  if (components.empty()) return fail_input("'{}' names no file; expected a path relative to its folder", shown);

  auto opened = open_without_links(folder, relative, components, /*may_be_hard_link=*/false);
  if (opened) return *opened;
  if (!opened.error().link || root.allowed.empty()) return Failure(std::move(opened).error().diagnostic);
  // Resolved once, and then opened beneath the allowed folder like any other file: no link is left on that way, and one that is put
  // there meanwhile is refused.
  std::error_code error;
  const std::filesystem::path file = std::filesystem::canonical(folder / relative, error);
  if (error) return fail_input("'{}' in the folder '{}' cannot be opened: {}", shown, printable(folder.string()), error.message());
  for (const std::filesystem::path& allowed : root.allowed) {
    const std::filesystem::path into = std::filesystem::canonical(allowed, error);
    if (error) continue;
    const std::string rest = beneath(file, into);
    if (rest.empty() || !split_components(rest, components = {})) continue;
    auto there = open_without_links(into, rest, components, /*may_be_hard_link=*/true);
    if (!there) return Failure(std::move(there).error().diagnostic);
    return *there;
  }
  return Failure(std::move(opened).error().diagnostic);
}

Result<int> open_beneath(const std::filesystem::path& folder, const std::string& relative) {
  return open_beneath(FileRoot{folder, {}}, relative);
}

}  // namespace bevel
