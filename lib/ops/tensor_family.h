// What the tensor families (movement, elementwise, reduction, shape arithmetic) share beyond family.h: integers known in
// part, list operands that are an attribute in old opsets and an input in new ones, and facts of moves.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "lib/ops/family.h"

namespace bevel::ops {

// Elements of a 0-D or 1-D integer operand, each known or not; nullopt when nothing is known, its size included. Unlike
// InferContext::input_ints, known elements may be negative.
using KnownInts = std::vector<std::optional<std::int64_t>>;
std::optional<KnownInts> known_ints(const InferContext& ctx, std::size_t i);
// All elements known.
std::optional<std::vector<std::int64_t>> all_ints(const InferContext& ctx, std::size_t i);
std::optional<std::vector<std::int64_t>> constant_ints(const Tensor* tensor);  // nullopt for nullptr and other dtypes

// A list operand that is input `i` where present, else attribute `name`, else absent (known, no value).
struct ListOperand {
  bool present = false;
  std::optional<std::vector<std::int64_t>> values;  // nullopt while present: not constant
};
Result<ListOperand> infer_list(const InferContext& ctx, std::size_t i, std::string_view name);
Result<ListOperand> facts_list(const FactsContext& ctx, std::size_t i, std::string_view name);
// The same while evaluating: nullopt when absent.
Result<std::optional<std::vector<std::int64_t>>> evaluated_list(const EvalContext& ctx, std::size_t i,
                                                                std::string_view name);
// The elements of a present int32 or int64 input of rank 0 or 1.
Result<std::vector<std::int64_t>> evaluated_ints(const EvalContext& ctx, std::size_t i, std::string_view role);

// An entry of input 1 (indices) into an axis of `extent` elements, negative ones counted from the end.
Result<std::int64_t> normal_index(std::int64_t index, std::int64_t extent);

// Output 0 is a tensor of the dtype of input 0 with this shape.
void set_output_like_input(InferContext& ctx, Shape shape);
// A shape of `rank` unknown dimensions.
Shape unknown_dims(std::size_t rank);

// Moves an attribute of ints to a new constant input at `index` (absent inputs fill the gap); nothing when it is absent.
Status attribute_to_input(Model& model, NodeId node, std::string_view name, std::size_t index);
void set_input(Model& model, NodeId node, std::size_t index, std::string_view name, Tensor value);

// Facts of an op that moves elements of operands 0..operands-1: one scale for all; the space is the caller's.
Facts move_facts(IterationSpace space, LayoutRule layout, std::size_t operands = 1);
// The space of an op whose output is its input's elements in the same row-major order under other dimensions.
IterationSpace reshape_space(const Shape& input, const Shape& output);
// Parallel loops of a shape's extents, and the identity map onto them.
std::vector<Loop> loops_of(const Shape& shape);
OperandMap follow_all(std::size_t rank);

// The records, so that a family's `const OpRecord x` has external linkage.
#define BEVEL_OP(record) extern const OpRecord record;
#include "lib/ops/families.def"
#undef BEVEL_OP

}  // namespace bevel::ops
