// Models, graphs and attributes as text that decides what they compute: documentation is left out, names that link values are in.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "lib/ir/graph.h"

namespace bevel::calibration {

// Length-prefixed pieces of text, so that no two different models give the same text.
class Canonical {
 public:
  // `hash_of`: the hex hash of a tensor's bytes, as sha256_hex gives it.
  using HashOf = std::function<std::string(const Tensor&)>;
  explicit Canonical(HashOf hash_of = {}) : hash_of_(std::move(hash_of)) {}

  void add(std::string_view text);
  void add(std::int64_t number);
  void add(float number);
  void add(const Tensor& tensor);
  void add(const OpaqueAttribute& opaque) { add(opaque.bytes); }
  void add(const Type& type) { add(to_string(type)); }
  void add(const SparseTensor& sparse);
  void add(const AttributeReference& reference);
  void add(const OpsetImport& opset);
  void add(const std::vector<Attribute>& attributes);
  void add(const Function& function);
  void add(const GraphPtr& graph) {
    if (graph) add(*graph);
  }
  template <typename T>
  void add(const std::vector<T>& list) {
    add(static_cast<std::int64_t>(list.size()));
    for (const T& entry : list) add(entry);
  }
  void add(const Graph& graph);
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  void add(const Graph& graph, const std::vector<ValueId>& values);
  HashOf hash_of_;
  std::string text_;
};

}  // namespace bevel::calibration
