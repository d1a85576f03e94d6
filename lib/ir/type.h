// Types of values: tensor, sequence, optional, or opaque (carried as bytes).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/ir/dtype.h"

namespace bevel {

// One dimension: known, a named symbol, or unknown.
struct Dim {
  std::int64_t value = -1;
  std::string symbol;      // only when value < 0
  std::string denotation;  // carried through

  Dim() = default;
  Dim(std::int64_t known) : value(known) {}  // implicit: shapes read as {1, 3, 224, 224}
  static Dim named(std::string symbol) {
    Dim dim;
    dim.symbol = std::move(symbol);
    return dim;
  }
  [[nodiscard]] bool known() const { return value >= 0; }
  [[nodiscard]] bool named() const { return value < 0 && !symbol.empty(); }
  bool operator==(const Dim&) const = default;
};

struct Shape {
  bool has_rank = false;
  std::vector<Dim> dims;  // empty unless has_rank

  Shape() = default;
  explicit Shape(std::vector<Dim> d) : has_rank(true), dims(std::move(d)) {}
  static Shape of(const std::vector<std::int64_t>& known);
  [[nodiscard]] std::size_t rank() const { return dims.size(); }
  // All dimensions known.
  [[nodiscard]] bool is_static() const;
  [[nodiscard]] std::optional<std::vector<std::int64_t>> known_dims() const;
  bool operator==(const Shape&) const = default;
};

struct Type {
  enum class Kind : std::uint8_t { unknown, tensor, sequence, optional, opaque };
  Kind kind = Kind::unknown;
  DType dtype = DType::undefined;       // tensor
  Shape shape;                          // tensor
  std::shared_ptr<const Type> element;  // sequence, optional
  std::string opaque;                   // opaque: the TypeProto's bytes (map, sparse tensor, future kinds)
  std::string denotation;

  static Type tensor(DType dtype, Shape shape = {});
  static Type tensor(DType dtype, const std::vector<std::int64_t>& known_dims);
  static Type sequence(Type element);
  static Type optional(Type element);
  [[nodiscard]] bool is_tensor() const { return kind == Kind::tensor; }
  bool operator==(const Type& other) const;
};

// "float[1,3,224,224]", "float[N,?]", "seq(float[?])"; for messages and the text form.
std::string to_string(const Type& type);

}  // namespace bevel
