// Protobuf messages to IR pieces. A message may stand in several places (protobuf merges a field that is given twice),
// hence Pieces; later scalars win. All of it is bounds-checked on its own: scan() gives the caps and the good messages.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "lib/ir/graph.h"
#include "lib/ir/tensor.h"
#include "lib/ir/type.h"
#include "lib/onnx/onnx.h"
#include "lib/onnx/wire.h"
#include "lib/support/file_root.h"
#include "lib/support/mapped_file.h"
#include "lib/support/result.h"

namespace bevel::onnx {

using Pieces = std::vector<std::string_view>;

std::string join(const Pieces& pieces);

// Calls visit(const Field&) -> Status for every field of every piece.
template <typename Visit>
Status each_field(const Pieces& pieces, Visit&& visit) {
  for (const std::string_view piece : pieces) {
    Reader reader(piece);
    Field field;
    while (reader.next(field)) BEVEL_TRY_STATUS(visit(field));
    if (reader.damaged() != nullptr) return fail_input("the file is damaged: {}", reader.damaged());
  }
  return {};
}

// Calls visit(std::uint64_t) for one number or for each of a packed list of varints.
template <typename Visit>
Status each_varint(const Field& field, Visit&& visit) {
  if (field.wire == Wire::varint) {
    visit(field.scalar);
    return {};
  }
  std::string_view rest = field.bytes;
  while (!rest.empty()) {
    std::uint64_t value = 0;
    if (!read_varint(rest, value)) return fail_input("the file is damaged: a packed list of numbers is cut off");
    visit(value);
  }
  return {};
}

// Where a model's bytes come from: its own mapping, and the external files that its tensors name.
class Source {
 public:
  Source(std::shared_ptr<const MappedFile> file, FileRoot external_root, const Limits& limits)
      : file_(std::move(file)), external_root_(std::move(external_root)), limits_(limits) {}

  [[nodiscard]] std::string_view text() const {
    return {reinterpret_cast<const char*>(file_->bytes().data()), file_->bytes().size()};
  }
  [[nodiscard]] const std::shared_ptr<const MappedFile>& file() const { return file_; }
  [[nodiscard]] const Limits& limits() const { return limits_; }
  // A file beneath the model's folder, mapped once.
  Result<std::shared_ptr<const MappedFile>> external(const std::string& location);
  // Its SHA-1, computed once. The file must be open.
  const std::string& external_sha1(const std::string& location);
  [[nodiscard]] std::vector<std::filesystem::path> external_files() const {  // opened so far, sorted
    std::vector<std::filesystem::path> files;
    for (const auto& [location, file] : external_) files.push_back(external_root_.folder / location);
    return files;
  }
  // Counts what was built, across all graphs; false past the caps.
  bool count_node() { return ++nodes_ <= limits_.max_nodes; }
  bool count_value() { return ++values_ <= limits_.max_values; }

 private:
  std::shared_ptr<const MappedFile> file_;
  FileRoot external_root_;
  Limits limits_;
  std::map<std::string, std::shared_ptr<const MappedFile>> external_;
  std::map<std::string, std::string> external_sha1_;
  std::uint64_t nodes_ = 0, values_ = 0;
};

struct DecodedTensor {
  Tensor tensor;
  std::string name, doc_string;
  std::string extras;  // fields that Bevel does not know, in wire format
};
// TensorProto. Contents are pointed to where they can be (raw and external data), decoded to the heap otherwise.
// Messages do not name the tensor: the caller knows what it is.
Result<DecodedTensor> decode_tensor(Source& source, const Pieces& pieces);
// Its name and data_type alone, for messages and for kinds that Bevel only carries.
struct TensorHead {
  std::string name;
  std::int64_t data_type = 0;
};
Result<TensorHead> decode_tensor_head(const Pieces& pieces);

// TypeProto; what Bevel cannot express becomes Kind::opaque with the proto's bytes.
Result<Type> decode_type(const Pieces& pieces, std::uint64_t max_rank);

// GraphProto with everything in it.
Result<Graph> decode_graph(Source& source, const Pieces& pieces);
// FunctionProto: a body as a graph whose inputs and outputs have no types.
Result<Function> decode_function(Source& source, std::string_view bytes);

// OperatorSetIdProto; "ai.onnx" is another spelling of the default domain. Twice with one version is once.
Status decode_opset(std::string_view bytes, std::vector<OpsetImport>& opsets);
std::string normalized_domain(std::string_view domain);

}  // namespace bevel::onnx
