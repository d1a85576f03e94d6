// Transpose, DepthToSpace, SpaceToDepth: permutations of axes and of factors of axes.
#include <algorithm>
#include <numeric>

#include "lib/ops/lower_functions.h"
#include "lib/ops/tensor_family.h"
#include "lib/ops/transpose.h"

namespace bevel::ops {

// transpose_evaluate.cpp
Outputs evaluate_transpose(const EvalContext& ctx);
Outputs evaluate_depth_to_space(const EvalContext& ctx);
Outputs evaluate_space_to_depth(const EvalContext& ctx);

Result<std::vector<int>> permutation_of(const Node& node, std::size_t rank) {
  std::vector<int> perm(rank);
  if (!has_attr(node, "perm")) {  // reversed
    std::iota(perm.rbegin(), perm.rend(), 0);
    return perm;
  }
  BEVEL_TRY(const auto given, attr_ints(node, "perm"));
  std::vector<bool> seen(rank, false);
  bool valid = given.size() == rank;
  for (std::size_t k = 0; valid && k < rank; ++k) {
    valid = given[k] >= 0 && given[k] < static_cast<std::int64_t>(rank) && !seen[static_cast<std::size_t>(given[k])];
    if (!valid) break;
    perm[k] = static_cast<int>(given[k]);
    seen[static_cast<std::size_t>(given[k])] = true;
  }
  if (!valid) return fail_input("attribute 'perm' is {}, expected a permutation of {} axes", to_string(given), rank);
  return perm;
}

namespace {

Status infer_transpose(InferContext& ctx) {
  const Shape& input = input_shape(ctx, 0);
  if (!input.has_rank) {
    set_output_like_input(ctx, {});
    return {};
  }
  BEVEL_TRY(const std::vector<int> perm, permutation_of(ctx.node(), input.rank()));
  std::vector<Dim> dims;
  for (const int axis : perm) dims.push_back(input.dims[static_cast<std::size_t>(axis)]);
  set_output_like_input(ctx, Shape(std::move(dims)));
  return {};
}

Facts transpose_facts(const FactsContext& ctx) {
  Facts facts = move_facts({}, LayoutRule::logical);
  const Shape& input = input_shape(ctx, 0);
  if (!input.has_rank) return facts;
  const auto perm = permutation_of(ctx.node(), input.rank());
  if (!perm) return facts;
  IterationSpace& space = facts.space;
  space.kind = OpKind::move;
  OperandMap in;
  in.axes.resize(input.rank());
  facts.value.identity = true;
  for (std::size_t k = 0; k < perm->size(); ++k) {
    const auto axis = static_cast<std::size_t>((*perm)[k]);
    space.loops.push_back({extent(input.dims[axis]), false});
    in.axes[axis] = AxisMap::follow(static_cast<int>(k));
    facts.value.identity = facts.value.identity && axis == k;
  }
  space.inputs.push_back(std::move(in));
  space.outputs.push_back(follow_all(input.rank()));
  return facts;
}

Status infer_blocks(InferContext& ctx, bool to_space) {
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "input", 4, 4));
  BEVEL_TRY(const std::int64_t block, require_int(ctx.node(), "blocksize"));
  if (block < 1 || block > 1 << 20) return fail_input("attribute 'blocksize' is {}, expected a positive size", block);
  const Shape& input = input_shape(ctx, 0);
  Shape result = input.has_rank ? input : unknown_dims(4);
  const auto multiply = [](Dim& dim, std::int64_t factor) {
    const auto value = dim.known() ? checked_mul(dim.value, factor) : std::nullopt;
    dim = value ? Dim(*value) : Dim();
  };
  const auto divide = [](Dim& dim, std::int64_t factor) -> Status {
    if (dim.known() && dim.value % factor != 0) return fail_operand(0, "input", "extent {} is not a multiple of {}", dim.value, factor);
    dim = dim.known() ? Dim(dim.value / factor) : Dim();
    return {};
  };
  if (to_space) {
    BEVEL_TRY_STATUS(divide(result.dims[1], block * block));
    multiply(result.dims[2], block);
    multiply(result.dims[3], block);
  } else {
    multiply(result.dims[1], block * block);
    BEVEL_TRY_STATUS(divide(result.dims[2], block));
    BEVEL_TRY_STATUS(divide(result.dims[3], block));
  }
  set_output_like_input(ctx, std::move(result));
  return {};
}
Status infer_depth_to_space(InferContext& ctx) { return infer_blocks(ctx, true); }
Status infer_space_to_depth(InferContext& ctx) { return infer_blocks(ctx, false); }

// Loops: n, c, h, w and the two block offsets; both sides combine them as factors.
Facts block_facts(const FactsContext& ctx, bool to_space) {
  Facts facts = move_facts({}, LayoutRule::logical);
  const Shape& deep = to_space ? input_shape(ctx, 0) : output_shape(ctx, 0);
  const Shape& wide = to_space ? output_shape(ctx, 0) : input_shape(ctx, 0);
  const std::int64_t block = attr_int(ctx.node(), "blocksize", 0).value_or(0);
  if (deep.rank() != 4 || wide.rank() != 4 || block < 1) return facts;
  const bool crd = attr_string(ctx.node(), "mode", "DCR").value_or("DCR") == "CRD";
  IterationSpace& space = facts.space;
  space.kind = OpKind::move;
  space.loops = {{extent(wide.dims[0]), false}, {extent(wide.dims[1]), false}, {extent(deep.dims[2]), false},
                 {extent(deep.dims[3]), false}, {block, false}, {block, false}};
  OperandMap deep_map, wide_map;
  deep_map.axes = {AxisMap::follow(0), AxisMap::factors(crd ? std::vector<int>{1, 4, 5} : std::vector<int>{4, 5, 1}),
                   AxisMap::follow(2), AxisMap::follow(3)};
  wide_map.axes = {AxisMap::follow(0), AxisMap::follow(1), AxisMap::factors({2, 4}), AxisMap::factors({3, 5})};
  space.inputs = {to_space ? deep_map : wide_map};
  space.outputs = {to_space ? wide_map : deep_map};
  return facts;
}
Facts depth_to_space_facts(const FactsContext& ctx) { return block_facts(ctx, true); }
Facts space_to_depth_facts(const FactsContext& ctx) { return block_facts(ctx, false); }

}  // namespace

extern const OpRecord transpose_record{.name = "Transpose", .infer = infer_transpose, .facts = transpose_facts,
                          .evaluate = evaluate_transpose, .lower = lower_view};
extern const OpRecord depth_to_space_record{.name = "DepthToSpace", .infer = infer_depth_to_space, .facts = depth_to_space_facts,
                             .evaluate = evaluate_depth_to_space};
extern const OpRecord space_to_depth_record{.name = "SpaceToDepth", .infer = infer_space_to_depth, .facts = space_to_depth_facts,
                             .evaluate = evaluate_space_to_depth};

}  // namespace bevel::ops
