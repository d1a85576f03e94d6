// The model's own functions, put where they are called.
#pragma once

#include <cstdint>

#include "lib/ir/graph.h"
#include "lib/support/result.h"

namespace bevel::ops {

// Functions may call functions; those that call themselves, and expansions beyond these sizes, are refused.
constexpr std::uint64_t kMaxInlinedNodes = 200'000;
constexpr std::size_t kMaxCallDepth = 128;
// Of names, attributes and lists of operands that the copies of bodies hold; tensors are shared.
constexpr std::uint64_t kMaxInlinedBytes = std::uint64_t{256} << 20;

// Replaces every call of a function of the model, in subgraphs too, by the function's body: values and nodes are named
// `call/name`, results keep the names that the call gave them, references to attributes take what the call gives, else the function's
// default, else nothing. A function goes before an operator of the same domain and name. When something was called, the functions and
// the imports of domains that nothing uses any more are gone afterwards; else the model is as it was.
Status inline_functions(Model& model);

}  // namespace bevel::ops
