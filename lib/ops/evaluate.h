// Reference evaluation of a single node on given operands, outside any graph run: constant folding, inference, tests.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "lib/ops/op.h"

namespace bevel::ops {

// Checks operand counts against the record and presence of required inputs. Message without file and node.
Status check_operands(const OpRecord& record, const Node& node);

// What the elements of a tensor take; of strings, what empty ones do. nullopt for a negative dimension, or more than 64 bits count.
std::optional<std::uint64_t> element_bytes(DType dtype, std::span<const std::int64_t> dims);

// Runs the family's evaluation. `inputs` has one entry per node input (absent ones empty). Fails (exit 5) for an unknown op, one
// without evaluation, one with subgraphs, for an operand of another kind than the op takes, and when an output would exceed `max_bytes`.
Outputs evaluate_node(const Node& node, std::int64_t opset, std::span<const Datum> inputs, std::uint64_t max_bytes);

}  // namespace bevel::ops
