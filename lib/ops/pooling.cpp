// MaxPool (opsets 1, 8, 10, 11, 12, 22), AveragePool (1, 7, 10, 11, 19, 22), LpPool (1, 2, 11, 18, 22) and their Global
// forms. Older forms lack attributes whose defaults say what they did, so that there is nothing to upgrade.
#include "lib/ops/pooling.h"

#include "lib/ops/lower_functions.h"
#include "lib/ops/nn_families.h"

namespace bevel::ops {

Dims PoolShape::out_dims() const {
  Dims dims = {batch, channels};
  for (const WindowAxis& axis : axes) dims.push_back(axis.out);
  return dims;
}

Result<PoolShape> pool_shape(const Node& node, std::span<const std::int64_t> x) {
  if (x.size() < 3) return fail_input("X has shape {}, expected rank 3 or more (N, C, spatial)", to_string(x));
  BEVEL_TRY(const auto attributes, window_attributes(node, x.size() - 2, {}));
  PoolShape shape;
  shape.batch = x[0];
  shape.channels = x[1];
  for (std::size_t i = 0; i + 2 < x.size(); ++i) {
    BEVEL_TRY(WindowAxis axis, window_axis(attributes, i, x[i + 2]));
    // A window that lies in the padding alone would pool nothing.
    if (axis.out > 0 && (axis.pad_begin >= (axis.kernel - 1) * axis.dilation + 1 ||
                         axis.pad_end >= (axis.kernel - 1) * axis.dilation + 1)) {
      return fail_input("pads {} and {} along spatial axis {} are not smaller than the window, which reaches over {}",
                        axis.pad_begin, axis.pad_end, i, (axis.kernel - 1) * axis.dilation + 1);
    }
    shape.axes.push_back(axis);
  }
  if (!element_count(x.subspan(2)) || !element_count(shape.out_dims()))
    return fail_input("the spatial extents are too large");
  return shape;
}

bool is_global_pool(const Node& node) { return node.op_type.rfind("Global", 0) == 0; }

namespace {

Result<Shape> infer_shape(const InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "X", 3));
  const Shape& x = input_shape(ctx, 0);
  if (!x.has_rank) return Shape();
  std::vector<Dim> dims = {x.dims[0], x.dims[1]};
  if (is_global_pool(ctx.node())) {
    dims.resize(x.rank(), Dim(1));
    return Shape(std::move(dims));
  }
  BEVEL_TRY(const auto attributes, window_attributes(ctx.node(), x.rank() - 2, {}));
  for (std::size_t i = 0; i + 2 < x.rank(); ++i) {
    BEVEL_TRY(Dim dim, window_output_dim(attributes, i, x.dims[i + 2]));
    dims.push_back(std::move(dim));
  }
  return Shape(std::move(dims));
}

Status infer(InferContext& ctx) {
  BEVEL_TRY(Shape shape, infer_shape(ctx));
  ctx.set_output(0, Type::tensor(input_dtype(ctx, 0), shape));
  ctx.set_output(1, Type::tensor(DType::int64, std::move(shape)));  // MaxPool's Indices
  return {};
}

IterationSpace pool_space(const FactsContext& ctx) {
  IterationSpace space;
  const Shape& x = input_shape(ctx, 0);
  const Shape& y = output_shape(ctx, 0);
  if (!x.has_rank || x.rank() < 3) return space;
  OperandMap in{{AxisMap::follow(0), AxisMap::follow(1)}}, out = in;
  space.loops = {{extent(x, 0), false}, {extent(x, 1), false}};
  if (is_global_pool(ctx.node())) {
    for (std::size_t i = 2; i < x.rank(); ++i) {
      in.axes.push_back(AxisMap::follow(static_cast<int>(i)));
      out.axes.push_back(AxisMap::broadcast());
      space.loops.push_back({extent(x, i), true});
    }
  } else {
    const auto attributes = window_attributes(ctx.node(), x.rank() - 2, {});
    if (!attributes) return IterationSpace();
    for (std::size_t i = 0; i + 2 < x.rank(); ++i) {
      const auto axis = window_axis(*attributes, i, extent(x, i + 2));
      if (!axis) return IterationSpace();
      const int outer = static_cast<int>(2 + 2 * i);
      space.loops.push_back({axis->out >= 0 ? axis->out : extent(y, i + 2), false});
      space.loops.push_back({axis->kernel, true});
      in.axes.push_back(AxisMap::window(outer, outer + 1, axis->stride, axis->dilation, axis->pad_begin));
      out.axes.push_back(AxisMap::follow(outer));
    }
  }
  space.kind = OpKind::reduce;
  space.inputs = {std::move(in)};
  space.outputs = {std::move(out)};
  return space;
}

Facts common_facts(const FactsContext& ctx, QuantRole role) {
  Facts facts;
  facts.space = pool_space(ctx);
  facts.value.quant = role;
  facts.value.layout = LayoutRule::channels_last;
  facts.value.data_operands = {0};
  facts.value.monotone = role != QuantRole::none;
  return facts;
}
Facts facts_max(const FactsContext& ctx) {
  const bool indices = ctx.node().outputs.size() > 1 && ctx.node().outputs[1].valid();
  return common_facts(ctx, indices ? QuantRole::none : QuantRole::same_scale);
}
Facts facts_average(const FactsContext& ctx) { return common_facts(ctx, QuantRole::own_scale); }
Facts facts_lp(const FactsContext& ctx) {
  Facts facts = common_facts(ctx, QuantRole::none);
  facts.value.result = {0, std::numeric_limits<double>::infinity()};
  return facts;
}

}  // namespace

extern const OpRecord max_pool_record = {.name = "MaxPool",
                                         .max_outputs = 2,
                                         .infer = infer,
                                         .facts = facts_max,
                                         .evaluate = evaluate_max_pool,
                                         .lower = lower_max_pool};
extern const OpRecord average_pool_record = {.name = "AveragePool",
                                             .infer = infer,
                                             .facts = facts_average,
                                             .evaluate = evaluate_average_pool,
                                             .lower = lower_average_pool};
extern const OpRecord lp_pool_record = {
    .name = "LpPool", .infer = infer, .facts = facts_lp, .evaluate = evaluate_lp_pool};
extern const OpRecord global_max_pool_record = {.name = "GlobalMaxPool",
                                                .infer = infer,
                                                .facts = facts_max,
                                                .evaluate = evaluate_global_pool,
                                                .lower = lower_global_max_pool};
extern const OpRecord global_average_pool_record = {.name = "GlobalAveragePool",
                                                    .infer = infer,
                                                    .facts = facts_average,
                                                    .evaluate = evaluate_global_pool,
                                                    .lower = lower_reduce};
extern const OpRecord global_lp_pool_record = {
    .name = "GlobalLpPool", .infer = infer, .facts = facts_lp, .evaluate = evaluate_global_pool};

}  // namespace bevel::ops
