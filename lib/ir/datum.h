// What a value holds while a graph is evaluated: nothing (absent optional), a tensor, or a sequence.
#pragma once

#include <memory>
#include <variant>
#include <vector>

#include "lib/ir/tensor.h"

namespace bevel {

struct Datum;
using Sequence = std::vector<Datum>;

struct Datum {
  std::variant<std::monostate, Tensor, std::shared_ptr<const Sequence>> value;

  Datum() = default;
  Datum(Tensor tensor) : value(std::move(tensor)) {}  // implicit: most results are tensors
  Datum(Sequence sequence);
  [[nodiscard]] bool present() const { return value.index() != 0; }
  [[nodiscard]] const Tensor* tensor() const { return std::get_if<Tensor>(&value); }
  [[nodiscard]] const Sequence* sequence() const;
};

}  // namespace bevel
