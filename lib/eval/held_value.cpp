#include "lib/eval/held_value.h"

#include <algorithm>
#include <vector>

#include "lib/ops/movement.h"

namespace bevel::eval {

Datum HeldValue::logical() const {
  const Tensor* tensor = datum.tensor();
  if (!order || !tensor) return datum;
  bool identity = true;
  std::vector<int> inverse(order->size());
  for (std::size_t k = 0; k < order->size(); ++k) {
    inverse[static_cast<std::size_t>((*order)[k])] = static_cast<int>(k);
    identity = identity && (*order)[k] == static_cast<int>(k);
  }
  return identity ? datum : Datum(ops::permute(*tensor, inverse));
}

std::uint64_t heap_bytes(const Datum& datum) {
  if (const Tensor* tensor = datum.tensor()) return tensor->heap_bytes();
  std::uint64_t bytes = 0;
  if (const Sequence* sequence = datum.sequence()) {
    for (const Datum& element : *sequence) bytes += heap_bytes(element);
  }
  return bytes;
}

std::uint64_t HeldValue::heap_bytes() const { return eval::heap_bytes(datum); }

}  // namespace bevel::eval
