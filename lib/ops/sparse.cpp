#include "lib/ops/sparse.h"

#include <optional>

#include "lib/ops/family.h"
#include "lib/ops/movement.h"

namespace bevel::ops {
namespace {

// Position of value i in row-major order; nullopt out of range.
std::optional<std::int64_t> position(const SparseTensor& sparse, std::int64_t i, std::int64_t size) {
  const Tensor& indices = sparse.indices;
  if (indices.rank() == 1) {
    const std::int64_t at = indices.as_int64(i);
    return at >= 0 && at < size ? std::optional(at) : std::nullopt;
  }
  const auto rank = static_cast<std::int64_t>(sparse.dims.size());
  std::int64_t at = 0;
  for (std::int64_t a = 0; a < rank; ++a) {
    const std::int64_t index = indices.as_int64(i * rank + a), extent = sparse.dims[static_cast<std::size_t>(a)];
    if (index < 0 || index >= extent) return std::nullopt;
    at = at * extent + index;
  }
  return at;
}

}  // namespace

Status check_sparse(const SparseTensor& sparse) {
  const auto size = element_count(sparse.dims);
  if (!size) return fail_input("a sparse tensor's dimensions are {}; expected 0 or more each, with a product that 63 bits hold", to_string(sparse.dims));
  if (sparse.values.rank() != 1) return fail_input("a sparse tensor's values have rank {}, expected 1", sparse.values.rank());
  const Tensor& indices = sparse.indices;
  const std::int64_t count = sparse.values.size();
  const bool linear = indices.dims() == Dims{count};
  if (indices.dtype() != DType::int64 || (!linear && indices.dims() != Dims{count, static_cast<std::int64_t>(sparse.dims.size())}))
    return fail_input("a sparse tensor's indices are {} {}; expected int64 {} or {}", dtype_name(indices.dtype()), to_string(indices.dims()),
                      to_string(Dims{count}), to_string(Dims{count, static_cast<std::int64_t>(sparse.dims.size())}));
  std::int64_t last = -1;
  for (std::int64_t i = 0; i < count; ++i) {
    const auto at = position(sparse, i, *size);
    if (!at || *at <= last) return fail_input("a sparse tensor's index {} is outside {}, or not behind the one before it", i, to_string(sparse.dims));
    last = *at;
  }
  return {};
}

Tensor dense_tensor(const SparseTensor& sparse) {
  Tensor dense = Tensor::zeros(sparse.values.dtype(), sparse.dims);
  ElementCopier copier(sparse.values, dense);
  for (std::int64_t i = 0; i < sparse.values.size(); ++i) copier.copy(i, *position(sparse, i, dense.size()));
  return dense;
}

}  // namespace bevel::ops
