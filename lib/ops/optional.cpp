// Optionals: Optional (opset 15), OptionalHasElement and OptionalGetElement (15; 18 takes plain tensors and sequences, and no input).
// While a graph is evaluated, an empty optional is an absent value, and one that holds something is what it holds.
#include "lib/ops/control.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

const Type* attr_type(const Node& node, std::string_view name) {
  const Attribute* attribute = node.attribute(name);
  return attribute == nullptr ? nullptr : std::get_if<Type>(&attribute->value);
}

Status infer_optional(InferContext& ctx) {
  const Type* stated = attr_type(ctx.node(), "type");
  if (stated == nullptr && !ctx.has_input(0)) return fail_input("holds nothing and states no 'type' of what it could hold");
  // Files state the type of the optional itself as well as that of what it holds.
  const Type& held = ctx.has_input(0) ? ctx.input_type(0) : *stated;
  ctx.set_output(0, held.kind == Type::Kind::optional ? held : Type::optional(held));
  return {};
}

Outputs evaluate_optional(const EvalContext& ctx) {
  return std::vector<Datum>{ctx.has_input(0) ? ctx.input(0) : Datum()};
}

Status infer_has_element(InferContext& ctx) {
  ctx.set_output(0, Type::tensor(DType::boolean, Dims{}));
  return {};
}

Outputs evaluate_has_element(const EvalContext& ctx) {
  Tensor answer = Tensor::zeros(DType::boolean, {});
  answer.set_from_int64(0, ctx.has_input(0));
  return std::vector<Datum>{std::move(answer)};
}

Status infer_get_element(InferContext& ctx) {
  const Type& type = ctx.input_type(0);
  if (type.kind == Type::Kind::optional) ctx.set_output(0, type.element ? *type.element : Type());
  else ctx.set_output(0, type);
  return {};
}

Outputs evaluate_get_element(const EvalContext& ctx) {
  if (!ctx.has_input(0)) return fail_operand(0, "input", "is an empty optional: it has no element to get");
  return std::vector<Datum>{ctx.input(0)};
}

}  // namespace

extern const OpRecord optional_record{.name = "Optional", .since = 15, .min_inputs = 0, .infer = infer_optional, .evaluate = evaluate_optional,
                                      .any_kind = true};
extern const OpRecord optional_has_element_record{.name = "OptionalHasElement", .since = 15, .min_inputs = 0, .infer = infer_has_element,
                                                  .evaluate = evaluate_has_element, .any_kind = true};
extern const OpRecord optional_get_element_record{.name = "OptionalGetElement", .since = 15, .infer = infer_get_element,
                                                  .evaluate = evaluate_get_element, .any_kind = true};

}  // namespace bevel::ops
