// Outputs that are old or new, never half: written to a temporary beside the target, synced, renamed.
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "lib/support/result.h"

namespace bevel {

// The file that writing to `target` makes or replaces: a link stays, and the file that it names (perhaps not there yet) is meant.
// What is there and is no regular file (a folder, FIFO, socket, device) is refused, never replaced: exit 1.
Result<std::filesystem::path> file_behind(const std::filesystem::path& target);

// One output file. Nothing is visible under its name before commit(); the destructor removes an uncommitted temporary.
// Every failure has exit code 1 and names the file and the system's reason.
class AtomicFile {
 public:
  static Result<AtomicFile> create(std::filesystem::path target);
  ~AtomicFile();
  AtomicFile(AtomicFile&& other) noexcept;
  AtomicFile& operator=(AtomicFile&& other) noexcept;
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  Status write(std::span<const std::byte> bytes);
  Status write(std::string_view text);
  // Flushes and syncs; the content is then safe in the temporary, and only the rename is left. Idempotent.
  Status sync();
  Status commit();
  [[nodiscard]] const std::filesystem::path& target() const { return target_; }
  // Where the bytes are until commit(): lets a caller re-read and check what it is about to publish.
  [[nodiscard]] const std::filesystem::path& temporary() const { return temporary_; }

 private:
  AtomicFile() = default;
  void abandon() noexcept;
  std::filesystem::path target_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
};

Status write_file_atomically(const std::filesystem::path& target, std::string_view content);

// Removes the temporaries of this process that are still open; async-signal-safe, called on SIGINT and SIGTERM.
void remove_open_temporaries() noexcept;

}  // namespace bevel
