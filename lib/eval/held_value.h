// What the evaluator holds for a value between steps: a datum, and how a tensor's bytes lie when a kernel made it.
#pragma once

#include <optional>
#include <utility>

#include "lib/ir/datum.h"
#include "lib/ops/lowering.h"

namespace bevel::eval {

struct HeldValue {
  Datum datum;
  // Set when a kernel produced the tensor in an order other than row-major: memory axis k holds logical axis (*order)[k], and
  // the tensor's dims are those of memory. Reference evaluation and taps see logical() only.
  std::optional<ops::MemoryOrder> order;

  HeldValue() = default;
  HeldValue(Datum d) : datum(std::move(d)) {}  // implicit: most values lie in logical order
  HeldValue(Tensor tensor, ops::MemoryOrder memory_order) : datum(std::move(tensor)), order(std::move(memory_order)) {}

  // The datum in logical order (shared when it already is).
  [[nodiscard]] Datum logical() const;
  // Bytes on the heap, counted once per holder even where storage is shared.
  [[nodiscard]] std::uint64_t heap_bytes() const;
};

std::uint64_t heap_bytes(const Datum& datum);

}  // namespace bevel::eval
