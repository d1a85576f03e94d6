// Tensors that are zero but for a list of elements.
#pragma once

#include "lib/ir/attribute.h"
#include "lib/support/result.h"

namespace bevel::ops {

// Checks everything of it (ONNX IR: values [n], indices int64 [n] or [n, rank], ascending and within dims); `dims` says what it takes
// as a dense tensor, whose size the caller admits before it makes one.
Status check_sparse(const SparseTensor& sparse);
// The dense tensor of a checked one.
Tensor dense_tensor(const SparseTensor& sparse);

}  // namespace bevel::ops
