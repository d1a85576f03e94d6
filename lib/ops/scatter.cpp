// ScatterElements (Scatter before opset 11) and ScatterND.
#include "lib/ops/tensor_family.h"

namespace bevel::ops {

// scatter_evaluate.cpp
Outputs evaluate_scatter_elements(const EvalContext& ctx);
Outputs evaluate_scatter_nd(const EvalContext& ctx);

namespace {

Status infer_scatter(InferContext& ctx) {
  const DType data = input_dtype(ctx, 0), updates = input_dtype(ctx, 2);
  if (data != DType::undefined && updates != DType::undefined && data != updates) {
    return fail_operand(2, "updates", "element type is {}, but data has {}", dtype_name(updates), dtype_name(data));
  }
  return infer_same_type(ctx);
}

Facts scatter_facts(const FactsContext& ctx) {
  Facts facts;
  facts.value.data_operands = {0, 2};
  static_cast<void>(ctx);
  return facts;
}

// Opset 11 renamed Scatter.
Status upgrade_scatter(Model& model, NodeId node, int from) {
  if (from == 10) model.graph.mutable_node(node).op_type = "ScatterElements";
  return {};
}

// Reductions came with opset 16 (add, mul) and 18 (max, min).
Status downgrade_scatter(Model& model, NodeId id, int from) {
  BEVEL_TRY(const std::string reduction, attr_string(model.graph.node(id), "reduction", "none"));
  if (from == 18 && (reduction == "max" || reduction == "min")) return fail_input("attribute 'reduction' is {}", reduction);
  if (from == 11 && model.graph.node(id).op_type == "ScatterElements") model.graph.mutable_node(id).op_type = "Scatter";
  return {};
}

}  // namespace

extern const OpRecord scatter_elements_record{.name = "ScatterElements", .min_inputs = 3, .max_inputs = 3, .infer = infer_scatter,
                                .facts = scatter_facts, .evaluate = evaluate_scatter_elements,
                                .downgrade = downgrade_scatter};
extern const OpRecord scatter_nd_record{.name = "ScatterND", .min_inputs = 3, .max_inputs = 3, .infer = infer_scatter,
                          .facts = scatter_facts, .evaluate = evaluate_scatter_nd, .downgrade = downgrade_scatter};
// Only loaded models of opsets 9 and 10 have it, and upgrading lifts those.
extern const OpRecord scatter_record{.name = "Scatter", .min_inputs = 3, .max_inputs = 3, .infer = infer_scatter,
                        .facts = scatter_facts, .upgrade = upgrade_scatter};

}  // namespace bevel::ops
