#include "lib/ops/transpose.h"

#include "lib/ops/movement.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

struct Blocks {
  std::int64_t block, n, c, h, w;  // of the input
};

Result<Blocks> blocks_of(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  if (x.rank() != 4) return fail_operand(0, "input", "rank is {}, expected 4", x.rank());
  BEVEL_TRY(const std::int64_t block, require_int(ctx.node(), "blocksize"));
  if (block < 1 || block > 1 << 20) return fail_input("attribute 'blocksize' is {}, expected a positive size", block);
  return Blocks{block, x.dim(0), x.dim(1), x.dim(2), x.dim(3)};
}

}  // namespace

Outputs evaluate_transpose(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const std::vector<int> perm, permutation_of(ctx.node(), x.rank()));
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), x.dims()));
  return std::vector<Datum>{permute(x, perm)};
}

Outputs evaluate_depth_to_space(const EvalContext& ctx) {
  BEVEL_TRY(const Blocks b, blocks_of(ctx));
  BEVEL_TRY(const std::string mode, attr_string(ctx.node(), "mode", "DCR"));
  if (mode != "DCR" && mode != "CRD") return fail_input("attribute 'mode' is '{}', expected DCR or CRD", printable(mode));
  if (b.c % (b.block * b.block) != 0) {
    return fail_operand(0, "input", "{} channels are not a multiple of the squared block size {}", b.c, b.block);
  }
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), x.dims()));
  const std::int64_t depth = b.c / (b.block * b.block);
  // To [n, depth, h, block, w, block].
  const Tensor moved = mode == "DCR" ? permute(x.reshaped({b.n, b.block, b.block, depth, b.h, b.w}), std::vector<int>{0, 3, 4, 1, 5, 2})
                                     : permute(x.reshaped({b.n, depth, b.block, b.block, b.h, b.w}), std::vector<int>{0, 1, 4, 2, 5, 3});
  const Dims dims{b.n, depth, moved.dim(2) * b.block, moved.dim(4) * b.block};
  if (element_count(dims) != x.size()) return fail_input("shape {} is too large", to_string(dims));
  return std::vector<Datum>{moved.reshaped(dims)};
}

Outputs evaluate_space_to_depth(const EvalContext& ctx) {
  BEVEL_TRY(const Blocks b, blocks_of(ctx));
  BEVEL_TRY(const std::string mode, attr_string(ctx.node(), "mode", "DCR"));  // opset 28
  if (mode != "DCR" && mode != "CRD") return fail_input("attribute 'mode' is '{}', expected DCR or CRD", printable(mode));
  if (b.h % b.block != 0 || b.w % b.block != 0) {
    return fail_operand(0, "input", "{} x {} is not a multiple of the block size {}", b.h, b.w, b.block);
  }
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), x.dims()));
  const Tensor moved = permute(x.reshaped({b.n, b.c, b.h / b.block, b.block, b.w / b.block, b.block}),
                               mode == "DCR" ? std::vector<int>{0, 3, 5, 1, 2, 4} : std::vector<int>{0, 1, 3, 5, 2, 4});
  const auto channels = checked_mul(b.c, b.block * b.block);
  const Dims dims{b.n, channels.value_or(-1), b.h / b.block, b.w / b.block};
  if (element_count(dims) != x.size()) return fail_input("shape {} is too large", to_string(dims));
  return std::vector<Datum>{moved.reshaped(dims)};
}

}  // namespace bevel::ops
