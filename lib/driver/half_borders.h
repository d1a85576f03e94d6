// Programs of files in half precision: the C runtime computes in float32 and in integers, and its inputs and outputs are of these types.
#pragma once

#include <cstddef>
#include <memory>

#include "lib/driver/runnable.h"
#include "lib/ir/graph.h"

namespace bevel::driver {

// Inputs in float16 or bfloat16 that Casts to float32 alone read, and outputs that such a Cast makes, become float32. Whether there was one.
Result<bool> widen_borders(Model& model);
constexpr const char* kWidenedBorders =
    "inputs and outputs that are half precision in the file are float32 in the C source and in the .bvl (or their integers)";
// Large constant weights, every element of which float16 holds, are stored as float16 behind a Cast, which the kernels undo. How many.
std::size_t store_half_weights(Model& model);

// The C runtime has no float8: exit 5 naming the first node that reads or makes it.
Status refuse_float8(const Model& model);

// The Program of a model whose borders were widened, taking and giving the model's own types.
std::unique_ptr<Runnable> in_types_of(const Model& model, std::unique_ptr<Runnable> program);

}  // namespace bevel::driver
