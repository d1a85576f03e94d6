// A file mapped read-only; the bytes live as long as the last shared_ptr to it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

#include "lib/support/result.h"

namespace bevel {

class MappedFile {
 public:
  // Maps a regular file. Fails (exit 5) on a missing, unreadable or special file; an empty file maps to no bytes.
  static Result<std::shared_ptr<const MappedFile>> open(const std::filesystem::path& path);
  // Maps an open descriptor of a regular file; the descriptor stays the caller's. `name` is used in messages only.
  static Result<std::shared_ptr<const MappedFile>> map_descriptor(int descriptor, const std::string& name);

  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  [[nodiscard]] std::span<const std::byte> bytes() const { return {data_, size_}; }

  // Whoever walks through a large file once need not keep all of it resident: the whole pages within `part` (of bytes()) go from
  // this process, and come back from the file where they are read again.
  void release(std::span<const std::byte> part) const;

 private:
  MappedFile(const std::byte* data, std::size_t size) : data_(data), size_(size) {}
  const std::byte* data_;
  std::size_t size_;
};

// Opens `relative` beneath `folder` without following links out of it: no absolute path, no "..", no symbolic link
// in any component, regular files only. The descriptor is the caller's to close.
Result<int> open_beneath(const std::filesystem::path& folder, const std::string& relative);

}  // namespace bevel
