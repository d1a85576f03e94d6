// Where an input's samples come from: the first axis of an array, or a sorted list of files. Decoded one at a time.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "lib/data/arrays.h"
#include "lib/data/description.h"
#include "lib/support/file_root.h"
#include "lib/support/mapped_file.h"

namespace bevel::data {

// Bytes of a file beneath the description's folder; links and paths out of it are refused.
Result<std::shared_ptr<const MappedFile>> map_beneath(const FileRoot& root, const std::string& relative);

class Source {
 public:
  virtual ~Source() = default;
  [[nodiscard]] virtual std::size_t size() const = 0;
  [[nodiscard]] virtual Result<Tensor> read(std::size_t index) const = 0;       // without batch axis; thread-safe
  [[nodiscard]] virtual std::string where(std::size_t index) const = 0;         // "eval/0001.jpg", "x.npz:key, sample 3"
  [[nodiscard]] virtual std::vector<std::string> files() const { return {}; }   // relative paths, when from a list of files
  // SHA-256 of what the first `samples` samples are made from.
  [[nodiscard]] virtual Result<std::string> content(std::size_t samples) const = 0;
};

std::unique_ptr<Source> array_source(Tensor array, std::string name);
// Opens what a reference names; archives already open are shared through `archives` (path -> archive).
using Archives = std::map<std::string, std::shared_ptr<const ArrayArchive>>;
Result<std::unique_ptr<Source>> open_source(const FileRoot& root, const Reference& reference,
                                            Archives& archives, const std::string& where);
// The array that "x.npz:key" or "x.npy" names.
Result<Tensor> open_array(const FileRoot& root, const Reference& reference, Archives& archives,
                          const std::string& where);

}  // namespace bevel::data
