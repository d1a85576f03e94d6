// Outputs of one command: made in a hidden folder beside their targets, checked there, then renamed into place.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/support/result.h"

namespace bevel::driver {

// All failures are exit 1 and name the path and the system's reason. The destructor removes what was not published, and
// the folder too when it was created here and nothing came into it.
class Staging {
 public:
  // `create_folder`: make the folder (and its parents) when absent; otherwise an absent folder is an error.
  static Result<Staging> create(const std::filesystem::path& folder, bool create_folder);
  ~Staging();
  Staging(Staging&& other) noexcept;
  Staging& operator=(Staging&&) = delete;
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  // Where `name` is until it is published.
  [[nodiscard]] std::filesystem::path path_of(const std::string& name) const { return hidden_ / name; }
  Status write(const std::string& name, std::string_view content);
  Status write(const std::string& name, std::span<const std::byte> content);
  // Syncs all, then renames each in the given order. Where a name is a link, the file that it names is replaced; a FIFO, socket,
  // device or folder of that name is refused before the first rename. A name that was never staged is our bug.
  Status publish(const std::vector<std::string>& names);

 private:
  Staging() = default;
  std::filesystem::path folder_, hidden_;
  std::vector<std::filesystem::path> created_;  // folders made here, outermost first
  bool published_ = false;
};

// What a dry run can say of an output folder: whether outputs could be staged there. What it makes to find out is gone again.
Status can_write_into(const std::filesystem::path& folder, bool create_folder);

// A sentence (with a space before it) that lists those of `names` that lie in `folder` as files: after a failed run, which deletes
// nothing, they are an earlier one's. Empty: none does.
std::string earlier_outputs(const std::filesystem::path& folder, const std::vector<std::string>& names);

// How far this process's outputs are; async-signal-safe. In progress: a handler returns, and the work of a moment is finished.
enum class Published { nothing, in_progress, done };
Published published() noexcept;

// Removes the hidden folders of this process and what lies in them; async-signal-safe, called on SIGINT and SIGTERM together
// with remove_open_temporaries().
void remove_open_staging() noexcept;

}  // namespace bevel::driver
