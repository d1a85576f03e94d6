// MatMul (ONNX opsets 1, 9, 13), MatMulInteger (10), QLinearMatMul (10, 21): NumPy's matmul over any batch.
#include "lib/ops/matmul.h"

#include "lib/ops/lower_functions.h"
#include "lib/ops/nn_families.h"

namespace bevel::ops {

Result<MatMulShape> matmul_shape(std::span<const std::int64_t> a, std::span<const std::int64_t> b) {
  if (a.empty() || b.empty()) {
    return fail_input("A has shape {} and B {}, expected rank 1 or more", to_string(a), to_string(b));
  }
  MatMulShape shape;
  shape.rows = a.size() == 1 ? 1 : a[a.size() - 2];
  shape.depth = a.back();
  const std::int64_t b_depth = b.size() == 1 ? b[0] : b[b.size() - 2];
  shape.columns = b.size() == 1 ? 1 : b.back();
  if (shape.depth != b_depth) {
    return fail_input("A has shape {} and B {}: {} columns of A meet {} rows of B", to_string(a), to_string(b),
                      shape.depth, b_depth);
  }
  const auto a_batch = a.first(a.size() < 2 ? 0 : a.size() - 2);
  const auto b_batch = b.first(b.size() < 2 ? 0 : b.size() - 2);
  BEVEL_TRY(shape.batch, broadcast_dims(a_batch, b_batch));
  shape.a_strides = broadcast_strides(a_batch, shape.batch);
  shape.b_strides = broadcast_strides(b_batch, shape.batch);
  shape.out = shape.batch;
  if (a.size() > 1) shape.out.push_back(shape.rows);
  if (b.size() > 1) shape.out.push_back(shape.columns);
  if (!element_count(shape.out) || !element_count(shape.batch)) {
    return fail_input("the result's shape {} is too large", to_string(shape.out));
  }
  return shape;
}

Result<Shape> infer_matmul_shape(const Shape& a, const Shape& b) {
  if ((a.has_rank && a.rank() == 0) || (b.has_rank && b.rank() == 0))
    return fail_input("a scalar operand, expected rank 1 or more");
  if (!a.has_rank || !b.has_rank) return Shape();
  const Dim& a_depth = a.dims.back();
  const Dim& b_depth = b.rank() == 1 ? b.dims[0] : b.dims[b.rank() - 2];
  if (a_depth.known() && b_depth.known() && a_depth.value != b_depth.value) {
    return fail_input("A is {} and B is {}: {} columns of A meet {} rows of B",
                      bevel::to_string(Type::tensor(DType::undefined, a)),
                      bevel::to_string(Type::tensor(DType::undefined, b)), a_depth.value, b_depth.value);
  }
  const auto batch_of = [](const Shape& shape) {
    return Shape(shape.rank() < 2 ? std::vector<Dim>() : std::vector<Dim>(shape.dims.begin(), shape.dims.end() - 2));
  };
  BEVEL_TRY(Shape out, broadcast_shapes(batch_of(a), batch_of(b)));
  if (a.rank() > 1) out.dims.push_back(a.dims[a.rank() - 2]);
  if (b.rank() > 1) out.dims.push_back(b.dims.back());
  return out;
}

IterationSpace matmul_space(const FactsContext& ctx, std::size_t input_count, std::size_t a, std::size_t b) {
  IterationSpace space;
  const Shape& left = input_shape(ctx, a);
  const Shape& right = input_shape(ctx, b);
  if (!left.has_rank || !right.has_rank || left.rank() == 0 || right.rank() == 0) return space;
  const auto shape = infer_matmul_shape(left, right);
  if (!shape) return space;
  const std::size_t left_batch = left.rank() < 2 ? 0 : left.rank() - 2;
  const std::size_t right_batch = right.rank() < 2 ? 0 : right.rank() - 2;
  const std::size_t batch = std::max(left_batch, right_batch);
  OperandMap a_map, b_map, y_map;
  for (std::size_t i = 0; i < batch; ++i) {
    space.loops.push_back({extent(shape->dims[i]), false});
    const int loop = static_cast<int>(i);
    const auto map_of = [&](const Shape& operand, std::size_t own, OperandMap& map) {
      if (i + own < batch) return;
      const Dim& dim = operand.dims[i + own - batch];
      const bool one = dim.known() && dim.value == 1 && space.loops.back().extent != 1;
      map.axes.push_back(one ? AxisMap::broadcast() : AxisMap::follow(loop));
    };
    map_of(left, left_batch, a_map);
    map_of(right, right_batch, b_map);
    y_map.axes.push_back(AxisMap::follow(loop));
  }
  const int row = static_cast<int>(batch), column = row + 1, depth = row + 2;
  space.loops.push_back({left.rank() == 1 ? 1 : extent(left, left.rank() - 2), false});
  space.loops.push_back({right.rank() == 1 ? 1 : extent(right, right.rank() - 1), false});
  const std::int64_t a_depth = extent(left, left.rank() - 1);
  space.loops.push_back({a_depth >= 0 ? a_depth : extent(right, right.rank() == 1 ? 0 : right.rank() - 2), true});
  if (left.rank() > 1) a_map.axes.push_back(AxisMap::follow(row));
  a_map.axes.push_back(AxisMap::follow(depth));
  b_map.axes.push_back(AxisMap::follow(depth));
  if (right.rank() > 1) b_map.axes.push_back(AxisMap::follow(column));
  if (left.rank() > 1) y_map.axes.push_back(AxisMap::follow(row));
  if (right.rank() > 1) y_map.axes.push_back(AxisMap::follow(column));
  space.kind = OpKind::bilinear;
  space.inputs.resize(input_count);
  space.inputs[a] = std::move(a_map);
  space.inputs[b] = std::move(b_map);
  space.outputs = {std::move(y_map)};
  return space;
}

namespace {

Status infer_matmul(InferContext& ctx) {
  if (input_dtype(ctx, 0) != input_dtype(ctx, 1) && input_dtype(ctx, 0) != DType::undefined &&
      input_dtype(ctx, 1) != DType::undefined) {
    return fail_operand(1, "B", "element type is {}, expected {} as A", dtype_name(input_dtype(ctx, 1)),
                        dtype_name(input_dtype(ctx, 0)));
  }
  BEVEL_TRY(Shape shape, infer_matmul_shape(input_shape(ctx, 0), input_shape(ctx, 1)));
  ctx.set_output(0, Type::tensor(input_dtype(ctx, 0), std::move(shape)));
  return {};
}

Status infer_matmul_integer(InferContext& ctx) {
  BEVEL_TRY(Shape shape, infer_matmul_shape(input_shape(ctx, 0), input_shape(ctx, 1)));
  ctx.set_output(0, Type::tensor(DType::int32, std::move(shape)));
  return {};
}

// a, a_scale, a_zero_point, b, b_scale, b_zero_point, y_scale, y_zero_point
Status infer_qlinear_matmul(InferContext& ctx) {
  BEVEL_TRY(Shape shape, infer_matmul_shape(input_shape(ctx, 0), input_shape(ctx, 3)));
  ctx.set_output(0, Type::tensor(input_dtype(ctx, 7), std::move(shape)));
  return {};
}

Facts facts_matmul(const FactsContext& ctx) {
  Facts facts;
  facts.space = matmul_space(ctx, ctx.node().inputs.size(), 0, 1);
  facts.value.quant = QuantRole::bilinear;
  facts.value.data_operands = {0, 1};
  return facts;
}
Facts facts_matmul_integer(const FactsContext& ctx) {
  Facts facts;
  facts.space = matmul_space(ctx, ctx.node().inputs.size(), 0, 1);
  facts.value.data_operands = {0, 1};
  return facts;
}
Facts facts_qlinear_matmul(const FactsContext& ctx) {
  Facts facts;
  facts.space = matmul_space(ctx, ctx.node().inputs.size(), 0, 3);
  facts.value.data_operands = {0, 3};
  return facts;
}

}  // namespace

extern const OpRecord matmul_record = {.domain = "",
                                       .name = "MatMul",
                                       .min_inputs = 2,
                                       .max_inputs = 2,
                                       .infer = infer_matmul,
                                       .facts = facts_matmul,
                                       .evaluate = evaluate_matmul,
                                       .lower = lower_matmul};
extern const OpRecord matmul_integer_record = {.domain = "",
                                               .name = "MatMulInteger",
                                               .min_inputs = 2,
                                               .max_inputs = 4,
                                               .infer = infer_matmul_integer,
                                               .facts = facts_matmul_integer,
                                               .evaluate = evaluate_matmul_integer};
extern const OpRecord qlinear_matmul_record = {.domain = "",
                                               .name = "QLinearMatMul",
                                               .min_inputs = 8,
                                               .max_inputs = 8,
                                               .infer = infer_qlinear_matmul,
                                               .facts = facts_qlinear_matmul,
                                               .evaluate = evaluate_qlinear_matmul,
                                               .lower = lower_qlinear_matmul};

}  // namespace bevel::ops
