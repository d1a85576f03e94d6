#include "lib/driver/half_borders.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "passes/quantize/retype.h"
#include "passes/quantize/selection.h"
#include "passes/quantize/weight_only.h"
#include "passes/simplify/rewrite.h"

namespace bevel::driver {

namespace {

bool is_half(const Type& type) { return type.is_tensor() && (type.dtype == DType::float16 || type.dtype == DType::bfloat16); }
bool is_float32(const Type& type) { return type.is_tensor() && type.dtype == DType::float32; }

bool is_cast(const Graph& graph, NodeId id) {
  const Node& node = graph.node(id);
  return node.domain.empty() && node.op_type == "Cast" && node.inputs.size() == 1 && node.inputs[0].valid() && node.outputs.size() == 1 &&
         node.outputs[0].valid();
}

bool widen_input(Graph& graph, ValueId input) {
  const Value& value = graph.value(input);
  if (!is_half(value.type) || value.constant || value.output_slots > 0 || value.uses.empty()) return false;
  std::vector<NodeId> casts;
  for (const Use& use : value.uses) {
    if (!is_cast(graph, use.node) || !is_float32(graph.value(graph.node(use.node).outputs[0]).type)) return false;
    if (graph.value(graph.node(use.node).outputs[0]).output_slots > 0) return false;
    casts.push_back(use.node);
  }
  Type wide = value.type;
  wide.dtype = DType::float32;
  for (const NodeId cast : casts) passes::bypass(graph, cast, input);
  graph.set_type(input, std::move(wide));
  return true;
}

bool widen_output(Graph& graph, ValueId output) {
  const NodeId cast = graph.value(output).producer;
  if (!is_half(graph.value(output).type) || !cast.valid() || !is_cast(graph, cast) || !graph.value(output).uses.empty()) return false;
  const ValueId wide = graph.node(cast).inputs[0];
  if (!is_float32(graph.value(wide).type) || !graph.value(wide).producer.valid() || graph.value(wide).output_slots > 0) return false;
  Type type = graph.value(output).type;  // the interface keeps its declared dimensions
  type.dtype = DType::float32;
  if (!passes::bypass(graph, cast, wide)) return false;
  graph.set_type(wide, std::move(type));
  return true;
}

bool is_exact_in_half(const Tensor& tensor) {
  const auto values = tensor.values<float>();
  return std::all_of(values.begin(), values.end(), [](float value) { return widen_float16(narrow_float16(value)) == value; });
}

class InTypesOfModel final : public Runnable {
 public:
  InTypesOfModel(const Model& model, std::unique_ptr<Runnable> program) : program_(std::move(program)) {
    inputs_ = data::inputs_needing_data(model.graph);
    for (std::size_t i = 0; i < inputs_.size() && i < program_->inputs().size(); ++i)
      if (!is_half(inputs_[i].type)) inputs_[i] = program_->inputs()[i];
    for (const ValueId output : model.graph.outputs()) outputs_.push_back(model.graph.value(output).type);
  }
  const std::vector<data::ModelInput>& inputs() const override { return inputs_; }
  const std::vector<std::string>& output_names() const override { return program_->output_names(); }
  eval::Evaluator* evaluator() const override { return nullptr; }

  Result<std::vector<Tensor>> run(std::span<const Tensor> inputs) const override {
    std::vector<Tensor> wide(inputs.begin(), inputs.end());
    for (std::size_t i = 0; i < wide.size() && i < inputs_.size(); ++i)
      if (is_half(inputs_[i].type) && wide[i].dtype() == inputs_[i].type.dtype) wide[i] = passes::in_dtype(wide[i], DType::float32);
    BEVEL_TRY(std::vector<Tensor> outputs, program_->run(wide));
    for (std::size_t i = 0; i < outputs.size() && i < outputs_.size(); ++i)
      if (is_half(outputs_[i]) && outputs[i].dtype() == DType::float32) outputs[i] = passes::in_dtype(outputs[i], outputs_[i].dtype);
    return outputs;
  }
  Result<std::vector<Tensor>> run_raw(std::span<const Tensor> inputs) const override { return program_->run_raw(inputs); }

 private:
  std::unique_ptr<Runnable> program_;
  std::vector<data::ModelInput> inputs_;
  std::vector<Type> outputs_;
};

}  // namespace

Result<bool> widen_borders(Model& model) {
  Graph& graph = model.graph;
  bool changed = false;
  for (const ValueId input : std::vector<ValueId>(graph.inputs())) changed = widen_input(graph, input) || changed;
  for (const ValueId output : std::vector<ValueId>(graph.outputs())) changed = widen_output(graph, output) || changed;
  if (!changed) return false;
  graph.erase_dead();
  BEVEL_TRY_STATUS(ops::infer_types(model));
  return true;
}

Status refuse_float8(const Model& model) {
  const Graph& graph = model.graph;
  for (const NodeId id : graph.node_order()) {
    const Node& node = graph.node(id);
    for (const auto* values : {&node.inputs, &node.outputs}) {
      for (const ValueId value : *values) {
        if (!value.valid() || !graph.value(value).type.is_tensor()) continue;
        const std::string_view name = dtype_name(graph.value(value).type.dtype);
        if (!name.starts_with("float8")) continue;
        return fail_input("node '{}' ({}): \"{}\" is {}, and the C runtime has no float8 numbers: such a model is for ONNX alone; quantize its float "
                          "parent to int8 for a device.", printable(node.name), printable(node.op_type), printable(graph.value(value).name), name);
      }
    }
  }
  return {};
}

std::size_t store_half_weights(Model& model) {
  Graph& graph = model.graph;
  const auto facts = passes::all_facts(model);
  std::size_t stored = 0;
  for (const NodeId id : graph.node_order()) {
    for (std::size_t operand = 0; operand < graph.node(id).inputs.size(); ++operand) {
      if (!passes::holds_weights(graph, graph.node(id), operand, facts[id.index])) continue;
      const ValueId value = graph.node(id).inputs[operand];
      const Tensor weight = *graph.constant(value);
      if (!is_exact_in_half(weight)) continue;
      const std::string base = graph.value(value).name;
      const Type type = graph.value(value).type;
      const ValueId half = graph.add_constant(base + "_float16", passes::in_dtype(weight, DType::float16));
      const ValueId wide =
          graph.build_before(id, "Cast", base + "_cast", {half}, {{"to", static_cast<std::int64_t>(DType::float32), ""}}, type).output;
      graph.set_operand(id, operand, wide);
      ++stored;
    }
  }
  graph.erase_dead();
  return stored;
}

std::unique_ptr<Runnable> in_types_of(const Model& model, std::unique_ptr<Runnable> program) {
  return std::make_unique<InTypesOfModel>(model, std::move(program));
}

}  // namespace bevel::driver
