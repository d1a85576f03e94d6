// Tensors of samples, out of memory: in a temporary file without a name, the least recently used of them dropped beyond a cap.
#pragma once

#include <cstdint>
#include <filesystem>
#include <list>
#include <map>
#include <mutex>
#include <optional>
#include <string>

#include "lib/ir/tensor.h"

namespace bevel::calibration {

class ActivationStore {
 public:
  // `cap` 0: keeps nothing. `folder` empty: $TMPDIR, else /tmp. The file is made when something is first kept.
  explicit ActivationStore(std::uint64_t cap, std::filesystem::path folder = {});
  ~ActivationStore();
  ActivationStore(const ActivationStore&) = delete;
  ActivationStore& operator=(const ActivationStore&) = delete;

  using Key = std::pair<std::string, std::size_t>;  // value's hash, sample
  [[nodiscard]] bool holds(const Key& key) const;
  // nullopt when it is not there, or not any more.
  [[nodiscard]] std::optional<Tensor> read(const Key& key);
  // Keeps a copy, or, when there is no room or the file cannot be written, does not. All of these are thread-safe.
  void keep(const Key& key, const Tensor& tensor);
  [[nodiscard]] std::uint64_t cap() const { return cap_; }

 private:
  struct Entry {
    DType dtype = DType::undefined;
    Dims dims;
    std::uint64_t offset = 0, bytes = 0;
    int users = 0;       // reads and writes under way: the bytes stay
    bool whole = false;  // written
    std::list<Key>::iterator place;
  };
  bool open_file();
  bool make_room(std::uint64_t bytes);

  const std::uint64_t cap_;
  const std::filesystem::path folder_;
  mutable std::mutex mutex_;
  int file_ = -1;
  bool unusable_ = false;  // no file, or a write that failed: what is there can be read, nothing is added
  std::uint64_t end_ = 0, held_ = 0;
  std::map<Key, Entry> entries_;
  std::list<Key> by_use_;  // last used first
};

}  // namespace bevel::calibration
