#include "lib/data/sources.h"

#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "lib/images/images.h"
#include "lib/support/hash.h"

namespace bevel::data {
namespace {

constexpr std::size_t kMaxFiles = 10'000'000;

// A path that comes from a description or a directory, as messages show it.
std::string shown_path(const FileRoot& root, const std::string& relative) { return printable((root.folder / relative).string()); }

class ArraySource final : public Source {
 public:
  ArraySource(Tensor array, std::string name) : array_(std::move(array)), name_(std::move(name)) {}
  [[nodiscard]] std::size_t size() const override { return static_cast<std::size_t>(array_.dim(0)); }
  [[nodiscard]] Result<Tensor> read(std::size_t index) const override {
    const std::size_t row = array_.bytes().size() / size();
    return Tensor::from_bytes(array_.dtype(), Dims(array_.dims().begin() + 1, array_.dims().end()),
                              array_.bytes().subspan(index * row, row));
  }
  [[nodiscard]] std::string where(std::size_t index) const override { return fmt::format("{}, sample {}", name_, index); }
  [[nodiscard]] Result<std::string> content(std::size_t samples) const override {
    std::string text(dtype_name(array_.dtype()));
    for (std::size_t axis = 1; axis < array_.rank(); ++axis) text += fmt::format(",{}", array_.dim(axis));
    const std::size_t row = size() == 0 ? 0 : array_.bytes().size() / size();
    return sha256_hex(text + sha256_hex(array_.bytes().first(row * samples)));
  }

 private:
  Tensor array_;
  std::string name_;
};

class FileSource final : public Source {
 public:
  FileSource(FileRoot root, std::vector<std::string> files) : root_(std::move(root)), files_(std::move(files)) {}
  [[nodiscard]] std::size_t size() const override { return files_.size(); }
  [[nodiscard]] Result<Tensor> read(std::size_t index) const override {
    BEVEL_TRY(const auto file, map_beneath(root_, files_[index]));
    if (file->bytes().size() >= 6 && std::memcmp(file->bytes().data(), "\x93NUMPY", 6) == 0) {
      return read_npy(file->bytes(), where(index), file, 0);
    }
    return images::decode_image(file->bytes(), where(index));
  }
  [[nodiscard]] std::string where(std::size_t index) const override { return shown_path(root_, files_[index]); }
  [[nodiscard]] std::vector<std::string> files() const override { return files_; }
  [[nodiscard]] Result<std::string> content(std::size_t samples) const override {
    std::string hashes;
    for (std::size_t i = 0; i < samples; ++i) {
      BEVEL_TRY(const auto file, map_beneath(root_, files_[i]));
      hashes += sha256_hex(file->bytes());
    }
    return sha256_hex(hashes);
  }

 private:
  FileRoot root_;
  std::vector<std::string> files_;
};

// '*' any run, '?' any byte; no slash is ever in `name`.
bool matches(std::string_view pattern, std::string_view name) {
  std::size_t p = 0, n = 0, star = std::string_view::npos, mark = 0;
  while (n < name.size()) {
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      mark = n;
    } else if (p < pattern.size() && (pattern[p] == '?' || pattern[p] == name[n])) {
      ++p, ++n;
    } else if (star != std::string_view::npos) {
      p = star + 1;
      n = ++mark;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

Result<std::vector<std::string>> expand(const FileRoot& root, const std::string& pattern, const std::string& where) {
  const std::size_t slash = pattern.rfind('/');
  const std::string parent = slash == std::string::npos ? "" : pattern.substr(0, slash + 1);
  const std::string last = slash == std::string::npos ? pattern : pattern.substr(slash + 1);
  if (parent.find_first_of("*?") != std::string::npos) {
    return fail_input("{}: \"{}\": wildcards may stand in the last part of a path only", where, printable(pattern));
  }
  // No link out of the folder is followed, neither here nor when a file is opened (map_beneath), but into folders that are allowed:
  // whether a file lies in one is then judged as it is opened.
  std::error_code error;
  std::filesystem::path directory = root.folder.empty() ? "." : root.folder;
  for (const auto& part : std::filesystem::path(parent)) {
    directory /= part;
    if (root.allowed.empty() && std::filesystem::is_symlink(directory, error)) {
      return fail_input("{}: {} is a symbolic link, which is not followed", where, printable(directory.string()));
    }
  }
  std::vector<std::string> files;
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with('.') && matches(last, name)) files.push_back(parent + name);
    if (files.size() > kMaxFiles) return fail_input("{}: more than {} files match", where, kMaxFiles);
  }
  if (error) return fail_input("{}: cannot list {}: {}", where, printable(directory.string()), error.message());
  if (files.empty()) return fail_input("{}: no file matches \"{}\" in {}", where, printable(pattern),
                                       printable(root.folder.string()));
  std::sort(files.begin(), files.end());
  return files;
}

Result<std::shared_ptr<const ArrayArchive>> open_archive(const FileRoot& root, const std::string& path,
                                                         Archives& archives) {
  auto& archive = archives[path];
  if (archive) return archive;
  BEVEL_TRY(auto file, map_beneath(root, path));
  BEVEL_TRY(archive, ArrayArchive::open(std::move(file), shown_path(root, path)));
  return archive;
}

}  // namespace

Result<std::shared_ptr<const MappedFile>> map_beneath(const FileRoot& root, const std::string& relative) {
  BEVEL_TRY(const int descriptor, open_beneath(root, relative));
  auto file = MappedFile::map_descriptor(descriptor, shown_path(root, relative));
  ::close(descriptor);
  return file;
}

std::unique_ptr<Source> array_source(Tensor array, std::string name) {
  return std::make_unique<ArraySource>(std::move(array), std::move(name));
}

Result<Tensor> open_array(const FileRoot& root, const Reference& reference, Archives& archives,
                          const std::string& where) {
  if (!reference.key.empty()) {
    auto archive = open_archive(root, reference.path, archives);
    if (!archive) return located(where, std::move(archive).error());
    auto array = (*archive)->read(reference.key);
    if (!array) return located(where, std::move(array).error());
    return array;
  }
  auto file = map_beneath(root, reference.path);
  if (!file) return located(where, std::move(file).error());
  auto array = read_npy((*file)->bytes(), shown_path(root, reference.path), *file, 0);
  if (!array) return located(where, std::move(array).error());
  return array;
}

Result<std::unique_ptr<Source>> open_source(const FileRoot& root, const Reference& reference,
                                            Archives& archives, const std::string& where) {
  const bool wildcard = reference.path.find_first_of("*?") != std::string::npos;
  if (wildcard && !reference.key.empty()) {
    return fail_input("{}: \"{}\": a key after a colon belongs to one .npz file, not to a pattern", where,
                      printable(reference.text));
  }
  if (wildcard) {
    BEVEL_TRY(auto files, expand(root, reference.path, where));
    return std::make_unique<FileSource>(root, std::move(files));
  }
  if (reference.key.empty()) {
    if (reference.path.ends_with(".npz")) {
      return fail_input("{}: \"{}\": which array? write \"{}:key\"", where, printable(reference.text),
                        printable(reference.text));
    }
    if (!reference.path.ends_with(".npy")) {  // one image: a data set of one sample
      std::vector<std::string> files{reference.path};
      if (auto file = map_beneath(root, reference.path); !file) return located(where, std::move(file).error());
      return std::make_unique<FileSource>(root, std::move(files));
    }
  }
  BEVEL_TRY(Tensor array, open_array(root, reference, archives, where));
  if (array.rank() == 0) {
    return fail_input("{}: \"{}\" is a single number; its first axis was expected to count the samples", where,
                      printable(reference.text));
  }
  return array_source(std::move(array), shown_path(root, reference.path) +
                                            (reference.key.empty() ? "" : ":" + printable(reference.key)));
}

}  // namespace bevel::data
