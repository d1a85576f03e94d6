// Evaluation asks EvalContext::reserve() before it allocates, but a model may ask for what the cap allows and the machine has not.
#pragma once

#include <new>
#include <stdexcept>
#include <type_traits>

#include "lib/support/result.h"

namespace bevel::ops {

// What `compute` gives, a Result; or an error (exit 5) when memory does not suffice for what it allocates.
template <typename Compute>
std::invoke_result_t<Compute> or_out_of_memory(Compute compute) {
  try {
    return compute();
  } catch (const std::bad_alloc&) {
    return fail_input("the machine has no memory left for the model's tensors");
  } catch (const std::length_error&) {
    return fail_input("the machine has no memory for a list as long as the model's tensors need");
  }
}

}  // namespace bevel::ops
