// Shapes as values, and values from shapes: Shape, Size, Range, Constant, ConstantOfShape, EyeLike.
#include <algorithm>

#include "lib/ops/sparse.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {

// shape_evaluate.cpp
Outputs evaluate_shape(const EvalContext& ctx);
Outputs evaluate_size(const EvalContext& ctx);
Outputs evaluate_range(const EvalContext& ctx);
Outputs evaluate_constant(const EvalContext& ctx);
Outputs evaluate_constant_of_shape(const EvalContext& ctx);
Outputs evaluate_eye_like(const EvalContext& ctx);
std::optional<std::int64_t> range_count(const Tensor& start, const Tensor& limit, const Tensor& delta);
Result<Tensor> constant_tensor(const Node& node);

namespace {

Status infer_shape(InferContext& ctx) {
  BEVEL_TRY(const std::int64_t start, attr_int(ctx.node(), "start", 0));
  const Shape& input = input_shape(ctx, 0);
  if (!input.has_rank) {
    ctx.set_output(0, Type::tensor(DType::int64, unknown_dims(1)));
    return {};
  }
  const auto rank = static_cast<std::int64_t>(input.rank());
  BEVEL_TRY(const std::int64_t end, attr_int(ctx.node(), "end", rank));
  const auto clamp = [rank](std::int64_t index) { return std::clamp<std::int64_t>(index < 0 ? index + rank : index, 0, rank); };
  PartialInts ints;
  for (std::int64_t i = clamp(start); i < clamp(end); ++i) {
    ints.push_back(input.dims[static_cast<std::size_t>(i)]);
    ints.back().denotation.clear();
  }
  ctx.set_output(0, Type::tensor(DType::int64, Dims{static_cast<std::int64_t>(ints.size())}));
  ctx.set_output_ints(0, std::move(ints));
  return {};
}

Status infer_size(InferContext& ctx) {
  ctx.set_output(0, Type::tensor(DType::int64, Dims{}));
  if (const auto dims = input_shape(ctx, 0).known_dims()) {
    if (const auto count = element_count(*dims)) ctx.set_output_ints(0, {Dim(*count)});
  }
  return {};
}

Status infer_range(InferContext& ctx) {
  const Tensor* start = ctx.input_constant(0);
  const Tensor* limit = ctx.input_constant(1);
  const Tensor* delta = ctx.input_constant(2);
  Shape shape = unknown_dims(1);
  if (start && limit && delta && start->size() == 1 && limit->size() == 1 && delta->size() == 1) {
    const auto count = range_count(*start, *limit, *delta);
    if (count) shape.dims[0] = Dim(*count);
  } else if (const auto top = ctx.input_ints(1); top && top->size() == 1 && start && delta) {
    // 0, 1, ..., N - 1.
    const auto first = constant_ints(start), step = constant_ints(delta);
    if (first && step && first->size() == 1 && step->size() == 1 && (*first)[0] == 0 && (*step)[0] == 1) shape.dims[0] = (*top)[0];
  }
  ctx.set_output(0, Type::tensor(input_dtype(ctx, 0), std::move(shape)));
  return {};
}

Status infer_constant(InferContext& ctx) {
  const Attribute* attribute = ctx.node().attribute("sparse_value");
  if (const auto* sparse = attribute != nullptr ? std::get_if<SparseTensor>(&attribute->value) : nullptr) {
    BEVEL_TRY_STATUS(check_sparse(*sparse));
    ctx.set_output(0, Type::tensor(sparse->values.dtype(), sparse->dims));
    return {};
  }
  BEVEL_TRY(const Tensor value, constant_tensor(ctx.node()));
  ctx.set_output(0, Type::tensor(value.dtype(), value.dims()));
  return {};
}

// Opset 12 has the short forms (value_float, value_ints, ...).
Status downgrade_constant(Model& model, NodeId id, int from) {
  Node& node = model.graph.mutable_node(id);
  if (from != 12 || has_attr(node, "value") || has_attr(node, "sparse_value")) return {};
  BEVEL_TRY(Tensor value, constant_tensor(node));
  node.attributes.clear();
  node.set_attribute("value", std::move(value));
  return {};
}

Result<DType> fill_dtype(const Node& node) {
  const Tensor* value = attr_tensor(node, "value");
  if (has_attr(node, "value") && (value == nullptr || value->size() != 1)) return fail_input("attribute 'value' must be a tensor of one element");
  return value ? value->dtype() : DType::float32;
}

Status infer_constant_of_shape(InferContext& ctx) {
  BEVEL_TRY(const DType dtype, fill_dtype(ctx.node()));
  const auto ints = ctx.input_ints(0);
  const Shape& list = input_shape(ctx, 0);
  Shape shape;
  if (ints) {
    if (const auto constant = constant_ints(ctx.input_constant(0))) {
      for (const std::int64_t value : *constant) {
        if (value < 0) return fail_operand(0, "input", "has the negative extent {}", value);
      }
    }
    shape = Shape(*ints);
  } else if (list.rank() == 1 && list.dims[0].known() && list.dims[0].value <= 64) {
    shape = unknown_dims(static_cast<std::size_t>(list.dims[0].value));
  }
  const Tensor* value = attr_tensor(ctx.node(), "value");
  if (shape.rank() == 1 && shape.dims[0].known() && shape.dims[0].value <= 64 && is_integer(dtype) && value != nullptr) {
    const std::int64_t element = value->as_int64(0);
    if (element >= 0) ctx.set_output_ints(0, PartialInts(static_cast<std::size_t>(shape.dims[0].value), Dim(element)));
  }
  ctx.set_output(0, Type::tensor(dtype, std::move(shape)));
  return {};
}

Status infer_eye_like(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "input", 2, 2));
  BEVEL_TRY(const DType dtype, attr_dtype(ctx.node(), "dtype", input_dtype(ctx, 0)));
  Shape shape = input_shape(ctx, 0).has_rank ? input_shape(ctx, 0) : unknown_dims(2);
  for (Dim& dim : shape.dims) dim.denotation.clear();
  ctx.set_output(0, Type::tensor(dtype, std::move(shape)));
  return {};
}

// Reads extents, moves no data: nothing here is quantized or coupled.
Facts no_data(const FactsContext&) { return {}; }

}  // namespace

extern const OpRecord shape_record{.name = "Shape", .infer = infer_shape, .facts = no_data, .evaluate = evaluate_shape};
extern const OpRecord size_record{.name = "Size", .infer = infer_size, .facts = no_data, .evaluate = evaluate_size};
extern const OpRecord range_record{.name = "Range", .min_inputs = 3, .max_inputs = 3, .infer = infer_range, .facts = no_data,
                      .evaluate = evaluate_range};
extern const OpRecord constant_record{.name = "Constant", .min_inputs = 0, .max_inputs = 0, .infer = infer_constant,
                         .facts = no_data, .evaluate = evaluate_constant, .downgrade = downgrade_constant};
extern const OpRecord constant_of_shape_record{.name = "ConstantOfShape", .infer = infer_constant_of_shape, .facts = no_data,
                                .evaluate = evaluate_constant_of_shape};
extern const OpRecord eye_like_record{.name = "EyeLike", .infer = infer_eye_like, .facts = no_data, .evaluate = evaluate_eye_like};

}  // namespace bevel::ops
