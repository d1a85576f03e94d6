#include "lib/ir/type.h"

#include <fmt/core.h>

#include <algorithm>

#include "lib/support/result.h"

namespace bevel {

Shape Shape::of(const std::vector<std::int64_t>& known) {
  Shape shape;
  shape.has_rank = true;
  shape.dims.assign(known.begin(), known.end());
  return shape;
}

bool Shape::is_static() const {
  return has_rank && std::all_of(dims.begin(), dims.end(), [](const Dim& dim) { return dim.known(); });
}

std::optional<std::vector<std::int64_t>> Shape::known_dims() const {
  if (!is_static()) return std::nullopt;
  std::vector<std::int64_t> known;
  for (const Dim& dim : dims) known.push_back(dim.value);
  return known;
}

Type Type::tensor(DType dtype, Shape shape) {
  Type type;
  type.kind = Kind::tensor;
  type.dtype = dtype;
  type.shape = std::move(shape);
  return type;
}

Type Type::tensor(DType dtype, const std::vector<std::int64_t>& known_dims) { return tensor(dtype, Shape::of(known_dims)); }

Type Type::sequence(Type element) {
  Type type;
  type.kind = Kind::sequence;
  type.element = std::make_shared<const Type>(std::move(element));
  return type;
}

Type Type::optional(Type element) {
  Type type = sequence(std::move(element));
  type.kind = Kind::optional;
  return type;
}

bool Type::operator==(const Type& other) const {
  if (kind != other.kind || dtype != other.dtype || !(shape == other.shape) || opaque != other.opaque ||
      denotation != other.denotation || !element != !other.element)
    return false;
  return !element || *element == *other.element;
}

std::string to_string(const Type& type) {
  switch (type.kind) {
    case Type::Kind::unknown: return "?";
    case Type::Kind::opaque: return "opaque";
    case Type::Kind::sequence: return fmt::format("seq({})", type.element ? to_string(*type.element) : "?");
    case Type::Kind::optional: return fmt::format("optional({})", type.element ? to_string(*type.element) : "?");
    case Type::Kind::tensor: break;
  }
  std::string text(dtype_name(type.dtype));
  if (!type.shape.has_rank) return text + "[...]";
  text += '[';
  for (std::size_t i = 0; i < type.shape.dims.size(); ++i) {
    const Dim& dim = type.shape.dims[i];
    if (i > 0) text += ',';
    text += dim.known() ? fmt::format("{}", dim.value) : dim.named() ? printable(dim.symbol) : "?";
  }
  return text + ']';
}

}  // namespace bevel
