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
#include "lib/report/report.h"
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

// Multiply-accumulates of a node; of an If those of its larger branch. Unknown where a dimension is, and for the other operators with
// graphs in them, whose number of turns no shape tells.
std::optional<std::uint64_t> macs_of(const Model& model, const Graph& graph, NodeId id, const ops::IterationSpace& space) {
  const Node& node = graph.node(id);
  const auto of_branch = [&](const Graph& branch) -> std::optional<std::uint64_t> {
    std::uint64_t sum = 0;
    for (const NodeId inner : branch.node_order()) {
      const auto macs = macs_of(model, branch, inner, ops::facts_of(model, branch, inner).space);
      if (!macs) return std::nullopt;
      sum += *macs;
    }
    return sum;
  };
  std::optional<std::uint64_t> larger;
  for (const Attribute& attribute : node.attributes) {
    const auto* branch = std::get_if<GraphPtr>(&attribute.value);
    if (!branch && !std::holds_alternative<std::vector<GraphPtr>>(attribute.value)) continue;
    if (!branch || !*branch || node.op_type != "If" || !node.domain.empty()) return std::nullopt;
    const auto macs = of_branch(**branch);
    if (!macs) return std::nullopt;
    larger = std::max(larger.value_or(0), *macs);
  }
  if (larger) return larger;
  // Without the rank of its inputs a node has no loop nest, which is not to say that it computes nothing.
  for (const ValueId input : node.inputs)
    if (input.valid() && graph.value(input).type.is_tensor() && !graph.value(input).type.shape.has_rank) return std::nullopt;
  const auto macs = ops::macs(space);
  return macs ? std::optional(static_cast<std::uint64_t>(*macs)) : std::nullopt;
}

bool has_graph(const Node& node) {
  return std::any_of(node.attributes.begin(), node.attributes.end(), [](const Attribute& attribute) {
    return std::holds_alternative<GraphPtr>(attribute.value) || std::holds_alternative<std::vector<GraphPtr>>(attribute.value);
  });
}

// The most bytes of values alive at once when the nodes run in the order given, each value from its producer to its last reader, and
// where that is. Nothing when a shape is unknown: then `unknown` is its node.
struct Peak {
  std::uint64_t bytes = 0;
  NodeId at, unknown;
};
Peak activation_peak(const Graph& graph) {
  const std::vector<NodeId> order = graph.node_order();
  std::vector<std::size_t> last(graph.value_capacity(), 0);
  for (std::size_t step = 0; step < order.size(); ++step) {
    const Node& node = graph.node(order[step]);
    for (std::size_t i = 0; i < node.operand_count(); ++i)
      if (node.operand(i).valid()) last[node.operand(i).index] = step;
  }
  for (const ValueId output : graph.outputs()) last[output.index] = order.size();
  Peak peak;
  std::uint64_t alive = 0;
  std::vector<std::uint64_t> ends(order.size() + 1, 0);
  const auto begin = [&](ValueId id, std::size_t step) {
    if (!id.valid() || graph.value(id).constant) return true;
    const auto bytes = bytes_of(graph.value(id).type);
    if (!bytes) return false;
    alive += *bytes;
    ends[std::max(last[id.index], step)] += *bytes;
    return true;
  };
  for (const ValueId input : graph.inputs())
    if (!begin(input, 0) && !order.empty() && !peak.unknown.valid()) peak.unknown = order.front();
  for (std::size_t step = 0; step < order.size(); ++step) {
    for (const ValueId output : graph.node(order[step]).outputs)
      if (!begin(output, step) && !peak.unknown.valid()) peak.unknown = order[step];
    if (alive > peak.bytes) {
      peak.bytes = alive;
      peak.at = order[step];
    }
    alive -= ends[step];
  }
  return peak;
}

// The names of dimensions that the model's inputs leave open.
std::vector<std::string> open_dimensions(const Graph& graph) {
  std::vector<std::string> names;
  for (const data::ModelInput& input : data::inputs_needing_data(graph)) {
    if (!input.type.is_tensor()) continue;
    for (const Dim& dim : input.type.shape.dims)
      if (dim.named() && std::find(names.begin(), names.end(), dim.symbol) == names.end()) names.push_back(dim.symbol);
  }
  return names;
}

// What is alive at the peak, or which dimension somebody has to state so that it can be told.
void note_activations(const Model& model, report::InspectRecord& record) {
  const Graph& graph = model.graph;
  const Peak peak = activation_peak(graph);
  const std::vector<NodeId> order = graph.node_order();
  const bool nested = std::any_of(order.begin(), order.end(), [&](NodeId id) { return has_graph(graph.node(id)); });
  if (peak.at.valid() && !peak.unknown.valid())
    record.notes.push_back(fmt::format("activations take {} B ({}) at the most, at node '{}', after simplification and before "
                                       "quantization{}", peak.bytes, report::human_bytes(static_cast<double>(peak.bytes)),
                                       printable(graph.node(peak.at).name),
                                       nested ? "; those of the graphs inside nodes are not counted" : ""));
  if (record.macs_complete && !peak.unknown.valid()) return;
  std::string open;
  for (const std::string& name : open_dimensions(graph)) open += fmt::format("{}'{}'", open.empty() ? "" : ", ", printable(name));
  if (!open.empty())
    record.notes.push_back(fmt::format("MACs and activations are not all known, as these dimensions are open: {}; state them with --shape NAME=N or "
                                       "--shape INPUT=1x3x224x224", open));
  else if (peak.unknown.valid())
    record.notes.push_back(fmt::format("MACs and activations are not all known: shapes from node '{}' on depend on values",
                                       printable(graph.node(peak.unknown).name)));
  else
    record.notes.push_back("MACs are not all known: the turns of a loop depend on values");
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
    const auto& initializer = graph.value(input).constant;  // of an input too: simplifying takes it for a constant
    const Tensor* constant = made ? &*made : initializer ? &*initializer : nullptr;
    if (constant) add(*constant, is_weight(graph, node, space, i, *constant), counted.insert(input.index).second);
  }
  // What a Constant node makes is its readers' to show.
  if (!ops::as_constant(model, graph, id)) for_each_held_tensor(node, [&](const Tensor& tensor) { add(tensor, is_floating(tensor.dtype()), true); });
  row.macs = macs_of(model, graph, id, space);
  if (!row.macs) record.macs_complete = false;
  record.macs += row.macs.value_or(0);
  return row;
}

// Whether a node has floats to compute on, or computes some.
bool computes_on_floats(const Graph& graph, const Node& node) {
  if (ops::is_quantization(node)) return false;
  const auto is_float = [&](ValueId id) {
    return id.valid() && !graph.value(id).constant && is_floating(graph.value(id).type.dtype);
  };
  for (std::size_t i = 0; i < node.operand_count(); ++i)
    if (is_float(node.operand(i))) return true;
  return std::any_of(node.outputs.begin(), node.outputs.end(), is_float);
}

void forecast(const Model& source, const std::vector<ops::ShapeBinding>& batch, report::InspectRecord& record) {
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
  Model bound = model;
  if (batch.empty() || (ops::bind_shapes(bound, batch) && ops::infer_types(bound))) note_activations(bound, record);
  const std::vector<NodeId> order = model.graph.node_order();
  record.float_compute = std::any_of(order.begin(), order.end(), [&](NodeId id) {
    return computes_on_floats(model.graph, model.graph.node(id));
  });
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
  if (loaded.beyond_knowledge.empty()) forecast(loaded.model, batch, record);
  else record.stays_float_unknown = loaded.beyond_knowledge;
  return record;
}

}  // namespace bevel::driver
