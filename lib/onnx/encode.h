// IR pieces to protobuf messages; the reverse of decode.h.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "lib/ir/graph.h"
#include "lib/onnx/wire.h"

namespace bevel::onnx {

// Collects the tensors that go to the model's .data file and gives each its place.
class ExternalData {
 public:
  ExternalData(std::string location, std::uint64_t threshold) : location_(std::move(location)), threshold_(threshold) {}

  struct Piece {
    std::uint64_t offset;
    std::span<const std::byte> bytes;
  };
  [[nodiscard]] bool takes(const Tensor& tensor) const {
    return tensor.dtype() != DType::string && !tensor.bytes().empty() && tensor.bytes().size() >= threshold_;
  }
  std::uint64_t place(std::span<const std::byte> bytes);
  [[nodiscard]] const std::string& location() const { return location_; }
  [[nodiscard]] const std::vector<Piece>& pieces() const { return pieces_; }

 private:
  std::string location_;
  std::uint64_t threshold_;
  std::vector<Piece> pieces_;
  std::uint64_t end_ = 0;
};

// The Writers refer to tensors' bytes: the model must outlive them. `external` null: all tensors inside.
// Whether there is anything to write, or to keep of what was read. ONNX requires a tensor's element type. Inference may know no more
// of a value than its rank: written, that is a tensor of element type 0, which ONNX Runtime refuses, where it infers an absent type.
bool states_type(const Type& type);
Writer encode_type(const Type& type);
Writer encode_tensor(const Tensor& tensor, const std::string& name, ExternalData* external);
Writer encode_model(const Model& model, ExternalData* external);

}  // namespace bevel::onnx
