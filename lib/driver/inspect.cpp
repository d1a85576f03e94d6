#include "lib/driver/inspect.h"

#include <algorithm>
#include <set>

#include "lib/data/dataset.h"
#include "lib/driver/load.h"
#include "lib/driver/quantize_leg.h"
#include "lib/ops/facts_derived.h"
#include "lib/ops/op.h"
#include "lib/ops/semantics.h"
#include "lib/plan/program.h"
#include "passes/pass.h"

namespace bevel::driver {

namespace {

std::optional<std::uint64_t> bytes_of(const Type& type) {
  if (!type.is_tensor()) return std::nullopt;
  const auto dims = type.shape.known_dims();
  if (!dims) return std::nullopt;
  const auto elements = element_count(*dims);
  const auto bytes = elements ? packed_bytes(type.dtype, *elements) : std::nullopt;
  return bytes ? std::optional<std::uint64_t>(*bytes) : std::nullopt;
}

// Whether a constant operand is a weight, whatever its dtype: data that the node computes with. Scales and zero points of a
// QuantizeLinear or DequantizeLinear are not, nor are shapes, axes and indices, which are 64 bits wide or in no loop of the node.
bool is_weight(const Graph& graph, const Node& node, const ops::IterationSpace& space, std::size_t operand, const Tensor& tensor) {
  const DType dtype = tensor.dtype();
  if (ops::node_quantization(graph, node)) return operand == 0;
  if (is_floating(dtype)) return true;
  if (!is_integer(dtype) || dtype_bits(dtype) > 32) return false;
  if (space.kind == ops::OpKind::opaque) return tensor.size() > 1;
  return operand < space.inputs.size() && !space.inputs[operand].axes.empty();
}

// A weight that several nodes read counts once in the totals and is shown at each.
report::InspectRow row_of(const Model& model, NodeId id, std::set<std::uint32_t>& counted, report::InspectRecord& record) {
  const Graph& graph = model.graph;
  const Node& node = graph.node(id);
  report::InspectRow row;
  row.node = node.name;
  row.op_type = node.domain.empty() ? node.op_type : node.domain + "." + node.op_type;
  row.known = ops::find_op(node) != nullptr;
  for (const ValueId output : node.outputs) {
    if (!output.valid()) continue;
    row.shape = to_string(graph.value(output).type);
    row.output_bytes = bytes_of(graph.value(output).type);
    break;
  }
  const ops::IterationSpace space = ops::facts_of(model, graph, id).space;
  const auto add = [&](const Tensor& tensor, bool weight, bool first) {
    if (tensor.size() <= 0) return;
    const std::uint64_t bytes = packed_bytes(tensor.dtype(), tensor.size()).value_or(0);
    const std::uint64_t parameters = weight ? static_cast<std::uint64_t>(tensor.size()) : 0;
    row.weight_bytes += bytes;
    row.parameters += parameters;
    if (!first) return;
    record.parameters += parameters;
    record.weight_bytes += bytes;
    record.weight_bytes_by_dtype[std::string(dtype_name(tensor.dtype()))] += bytes;
  };
  for (std::size_t i = 0; i < node.operand_count(); ++i) {  // those that its subgraphs read too
    const ValueId input = node.operand(i);
    if (!input.valid()) continue;
    const NodeId producer = graph.value(input).producer;
    const auto made = producer.valid() ? ops::as_constant(model, graph, producer) : std::nullopt;
    const Tensor* constant = made ? &*made : graph.constant(input);
    if (constant) add(*constant, is_weight(graph, node, space, i, *constant), counted.insert(input.index).second);
  }
  // What a Constant node makes is its readers' to show.
  if (!ops::as_constant(model, graph, id)) for_each_held_tensor(node, [&](const Tensor& tensor) { add(tensor, is_floating(tensor.dtype()), true); });
  if (const auto macs = ops::macs(space)) row.macs = static_cast<std::uint64_t>(*macs);
  if (!row.macs) record.macs_complete = false;
  record.macs += row.macs.value_or(0);
  return row;
}

void forecast(const Model& source, report::InspectRecord& record) {
  Model model = source;
  const auto give_up = [&](const Diagnostic& diagnostic) { record.stays_float_unknown = diagnostic.message; };
  if (auto simplified = passes::simplify(model); !simplified) return give_up(simplified.error());
  record.nodes_simplified = model.graph.node_count();
  std::set<std::string> before;
  for (report::InspectRow& row : record.layers) {
    before.insert(row.node);
    row.simplified_away = !model.graph.find_node(row.node).valid();
  }
  for (const NodeId id : model.graph.node_order())
    if (const Node& node = model.graph.node(id); !before.contains(node.name)) record.added_nodes.emplace_back(node.name, node.op_type);
  auto quantized = forecast_quantized(model);
  if (!quantized) return give_up(quantized.error());
  record.stays_float = std::move(quantized->stays_float);
  const auto planned = plan::plan_shapes(model);
  if (!planned) {
    record.notes.push_back("cannot be compiled for a device as it is: " + planned.error().message);
    return;
  }
  for (const plan::FloatNote& note : planned->stays_float)
    if (std::none_of(record.stays_float.begin(), record.stays_float.end(), [&](const auto& row) { return row.node == note.node; }))
      record.stays_float.push_back({note.node, note.op_type, note.reason});
}

}  // namespace

Result<report::InspectRecord> inspect(const InspectRequest& request) {
  BEVEL_TRY(const auto shapes, parse_shapes(request.shapes));
  BEVEL_TRY(const Bounds bounds, read_bounds(request.bounds));
  BEVEL_TRY(const Loaded loaded, load_model(request.model, shapes, Feeding::whole_tensors, bounds));
  Model model = loaded.model;
  report::InspectRecord record;
  record.graph = model.graph.name;
  record.sha256 = loaded.sha256;
  for (const OpsetImport& opset : model.opsets)
    record.opsets += fmt::format("{}{} {}", record.opsets.empty() ? "" : ", ", opset.domain.empty() ? "ai.onnx" : printable(opset.domain),
                                 opset.domain.empty() ? loaded.file_opset : opset.version);
  for (const data::ModelInput& input : data::inputs_needing_data(model.graph))
    record.inputs.push_back({input.name, to_string(input.type)});
  for (const ValueId output : model.graph.outputs())
    record.outputs.push_back({model.graph.value(output).name, to_string(model.graph.value(output).type)});
  if (!loaded.beyond_knowledge.empty()) record.notes.push_back(loaded.beyond_knowledge + ": shapes and figures are as the file states them.");

  // The batch symbol counts as 1, as in a Program.
  std::vector<ops::ShapeBinding> batch;
  for (const data::ModelInput& input : data::inputs_needing_data(model.graph)) {
    if (!input.type.is_tensor() || !input.type.shape.has_rank || input.type.shape.dims.empty()) continue;
    const Dim& first = input.type.shape.dims.front();
    if (first.named() && std::none_of(batch.begin(), batch.end(), [&](const auto& b) { return b.name == first.symbol; }))
      batch.push_back({first.symbol, {1}});
  }
  if (loaded.beyond_knowledge.empty() && !batch.empty()) {
    Model bound = model;
    if (ops::bind_shapes(bound, batch) && ops::infer_types(bound)) {
      model = std::move(bound);
      record.notes.push_back(fmt::format("figures are for '{}' = 1", printable(batch.front().name)));
    }
  }
  std::set<std::uint32_t> counted;
  for (const NodeId id : model.graph.node_order()) record.layers.push_back(row_of(model, id, counted, record));
  if (loaded.beyond_knowledge.empty()) forecast(loaded.model, record);
  else record.stays_float_unknown = loaded.beyond_knowledge;
  return record;
}

}  // namespace bevel::driver
