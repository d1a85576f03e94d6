// Sequences (opset 11): SequenceConstruct, SequenceEmpty, SequenceAt, SequenceInsert, SequenceErase, SequenceLength, SplitToSequence
// (24: more element types), ConcatFromSequence, and SequenceMap (17), which runs its body once for each element.
#include "lib/ops/control.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {

Outputs evaluate_sequence_construct(const EvalContext& ctx);  // sequence_evaluate.cpp
Outputs evaluate_sequence_empty(const EvalContext& ctx);
Outputs evaluate_sequence_at(const EvalContext& ctx);
Outputs evaluate_sequence_insert(const EvalContext& ctx);
Outputs evaluate_sequence_erase(const EvalContext& ctx);
Outputs evaluate_sequence_length(const EvalContext& ctx);
Outputs evaluate_split_to_sequence(const EvalContext& ctx);
Outputs evaluate_concat_from_sequence(const EvalContext& ctx);
Outputs evaluate_sequence_map(const EvalContext& ctx);

namespace {

// The type of an element of operand i; unknown when nothing is known, an error when it is no sequence.
Result<Type> element_type(const InferContext& ctx, std::size_t i) {
  const Type& type = ctx.input_type(i);
  if (type.kind == Type::Kind::sequence) return type.element ? *type.element : Type();
  if (type.kind == Type::Kind::unknown || type.kind == Type::Kind::opaque) return Type();
  return fail_operand(i, "sequence", "is {}, expected a sequence", bevel::to_string(type));
}

// With the element type alone where shapes differ; the kind of element is the same throughout.
Result<Type> joined(const InferContext& ctx, std::size_t i, const Type& elements, const Type& one) {
  if (elements.kind == Type::Kind::unknown || one.kind == Type::Kind::unknown) return Type();
  if (elements.is_tensor() && one.is_tensor() && elements.dtype != one.dtype && elements.dtype != DType::undefined &&
      one.dtype != DType::undefined)
    return fail_operand(i, "tensor", "has element type {}, but the sequence holds {}", dtype_name(input_dtype(ctx, i)),
                        dtype_name(elements.dtype));
  return common_type(elements, one);
}

// Sequences hold tensors. (Were they to hold sequences, a chain of nodes would make a type as deep as the chain is long.)
Result<Type> tensor_type(const Type& type, std::string_view what) {
  if (type.kind == Type::Kind::sequence) return fail_input("{} is {}, but a sequence holds tensors", what, bevel::to_string(type));
  return type.is_tensor() ? type : Type();
}
Result<Type> tensor_type(const InferContext& ctx, std::size_t i) { return tensor_type(ctx.input_type(i), fmt::format("input {}", i)); }

Status infer_construct(InferContext& ctx) {
  BEVEL_TRY(Type element, tensor_type(ctx, 0));
  for (std::size_t i = 1; i < ctx.input_count(); ++i) {
    BEVEL_TRY(const Type one, tensor_type(ctx, i));
    BEVEL_TRY(element, joined(ctx, i, element, one));
  }
  ctx.set_output(0, Type::sequence(std::move(element)));
  return {};
}

Status infer_empty(InferContext& ctx) {
  BEVEL_TRY(const DType dtype, attr_dtype(ctx.node(), "dtype", DType::float32));
  ctx.set_output(0, Type::sequence(Type::tensor(dtype)));
  return {};
}

Status infer_at(InferContext& ctx) {
  BEVEL_TRY(Type element, element_type(ctx, 0));
  ctx.set_output(0, std::move(element));
  return {};
}

Status infer_insert(InferContext& ctx) {
  BEVEL_TRY(const Type element, element_type(ctx, 0));
  BEVEL_TRY(const Type one, tensor_type(ctx, 1));
  BEVEL_TRY(Type both, joined(ctx, 1, element, one));
  ctx.set_output(0, Type::sequence(std::move(both)));
  return {};
}

Status infer_erase(InferContext& ctx) {
  BEVEL_TRY(Type element, element_type(ctx, 0));
  ctx.set_output(0, Type::sequence(std::move(element)));
  return {};
}

Status infer_length(InferContext& ctx) {
  BEVEL_TRY(const Type element, element_type(ctx, 0));
  ctx.set_output(0, Type::tensor(DType::int64, Dims{}));
  return {};
}

Status infer_split(InferContext& ctx) {
  BEVEL_TRY(const std::int64_t given, attr_int(ctx.node(), "axis", 0));
  BEVEL_TRY(const bool keep, attr_flag(ctx.node(), "keepdims", true));
  Type element = Type::tensor(input_dtype(ctx, 0), input_shape(ctx, 0));
  for (Dim& dim : element.shape.dims) dim.denotation.clear();
  if (element.shape.has_rank) {
    BEVEL_TRY(const std::int64_t axis, normalize_axis(given, element.shape.rank()));
    auto& dims = element.shape.dims;
    const auto sizes = ctx.has_input(1) ? constant_ints(ctx.input_constant(1)) : std::nullopt;
    Dim& extent = dims[static_cast<std::size_t>(axis)];
    if (!ctx.has_input(1)) {
      if (keep) extent = Dim(1);
      else dims.erase(dims.begin() + axis);
    } else if (sizes && input_shape(ctx, 1).rank() == 0 && sizes->size() == 1 && (*sizes)[0] > 0 && extent.known() &&
               extent.value % (*sizes)[0] == 0) {
      extent = Dim((*sizes)[0]);
    } else {
      extent = Dim();
    }
  }
  ctx.set_output(0, Type::sequence(std::move(element)));
  return {};
}

Status infer_concat(InferContext& ctx) {
  BEVEL_TRY(const Type element, element_type(ctx, 0));
  BEVEL_TRY(const std::int64_t given, require_int(ctx.node(), "axis"));
  BEVEL_TRY(const bool new_axis, attr_flag(ctx.node(), "new_axis", false));
  Type result = Type::tensor(element.is_tensor() ? element.dtype : DType::undefined);
  if (element.is_tensor() && element.shape.has_rank) {
    result.shape = element.shape;
    auto& dims = result.shape.dims;
    BEVEL_TRY(const std::int64_t axis, normalize_axis(given, dims.size() + (new_axis ? 1 : 0)));
    if (new_axis) dims.insert(dims.begin() + axis, Dim());
    else dims[static_cast<std::size_t>(axis)] = Dim();
  }
  ctx.set_output(0, std::move(result));
  return {};
}

Status infer_map(InferContext& ctx) {
  const GraphPtr* body = attr_graph(ctx.node(), "body");
  if (body == nullptr || *body == nullptr) return fail_input("attribute 'body' must be a graph");
  std::vector<Type> given;
  for (std::size_t i = 0; i < ctx.input_count(); ++i) {
    const Type& type = ctx.input_type(i);
    if (i == 0 || type.kind == Type::Kind::sequence) {
      BEVEL_TRY(Type element, element_type(ctx, i));
      given.push_back(std::move(element));
    } else {
      given.push_back(type);
    }
  }
  BEVEL_TRY(const std::vector<Type> made, ctx.infer_subgraph(**body, given));
  if (made.size() != ctx.node().outputs.size() || (*body)->inputs().size() != ctx.input_count())
    return fail_input("the body takes {} values and gives {}; expected {} and {}", (*body)->inputs().size(), made.size(), ctx.input_count(),
                      ctx.node().outputs.size());
  for (std::size_t i = 0; i < made.size(); ++i) {
    BEVEL_TRY(Type element, tensor_type(made[i], fmt::format("the body's output {}", i)));
    ctx.set_output(i, Type::sequence(std::move(element)));
  }
  return {};
}

Facts map_facts(const FactsContext& ctx) {
  Facts facts;
  facts.value.pure = subgraphs_are_pure(ctx);
  return facts;
}

}  // namespace

extern const OpRecord sequence_construct_record{.name = "SequenceConstruct", .since = 11, .max_inputs = -1, .infer = infer_construct,
                                                .evaluate = evaluate_sequence_construct, .any_kind = true};
extern const OpRecord sequence_empty_record{.name = "SequenceEmpty", .since = 11, .min_inputs = 0, .max_inputs = 0, .infer = infer_empty,
                                            .evaluate = evaluate_sequence_empty};
extern const OpRecord sequence_at_record{.name = "SequenceAt", .since = 11, .min_inputs = 2, .max_inputs = 2, .infer = infer_at,
                                         .evaluate = evaluate_sequence_at, .any_kind = true};
extern const OpRecord sequence_insert_record{.name = "SequenceInsert", .since = 11, .min_inputs = 2, .max_inputs = 3, .infer = infer_insert,
                                             .evaluate = evaluate_sequence_insert, .any_kind = true};
extern const OpRecord sequence_erase_record{.name = "SequenceErase", .since = 11, .max_inputs = 2, .infer = infer_erase,
                                            .evaluate = evaluate_sequence_erase, .any_kind = true};
extern const OpRecord sequence_length_record{.name = "SequenceLength", .since = 11, .infer = infer_length, .evaluate = evaluate_sequence_length,
                                             .any_kind = true};
extern const OpRecord split_to_sequence_record{.name = "SplitToSequence", .since = 11, .max_inputs = 2, .infer = infer_split,
                                               .evaluate = evaluate_split_to_sequence};
extern const OpRecord concat_from_sequence_record{.name = "ConcatFromSequence", .since = 11, .infer = infer_concat,
                                                  .evaluate = evaluate_concat_from_sequence, .any_kind = true};
extern const OpRecord sequence_map_record{.name = "SequenceMap", .since = 17, .max_inputs = -1, .max_outputs = -1, .infer = infer_map,
                                          .facts = map_facts, .evaluate = evaluate_sequence_map, .any_kind = true};

}  // namespace bevel::ops
