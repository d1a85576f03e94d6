// Scan of opset 8 runs once for each entry of a batch axis, which states and scan inputs have in front, over the first axis behind it.
// Opset 9 dropped the batch: it is a Scan over the batch, without state, of a Scan over the sequence.
#include <utility>

#include "lib/ops/control.h"
#include "lib/ops/upgrade.h"

namespace bevel::ops {

bool states_lengths(const Node& node) { return node.op_type == "Scan" && !node.inputs.empty() && node.inputs[0].valid(); }

Status upgrade_scan(Model& model, NodeId node, int from);

namespace {

// The type of one entry of the batch.
Type entry_type(const Type& type) {
  if (!type.is_tensor()) return {};
  Type entry = Type::tensor(type.dtype);
  if (type.shape.has_rank && type.shape.rank() > 0) {
    entry.shape = type.shape;
    entry.shape.dims.erase(entry.shape.dims.begin());
  }
  return entry;
}

}  // namespace

Status upgrade_scan(Model& model, NodeId id, int from) {
  if (from != 8) return {};
  Graph& outer = model.graph;
  const Node old = outer.node(id);
  const GraphPtr* body = attr_graph(old, "body");
  if (body == nullptr || *body == nullptr) return fail_input("attribute 'body' must be a graph");
  if (old.inputs.empty() || states_lengths(old)) return fail_input("states the lengths of its sequences, which Bevel does not read");
  BEVEL_TRY(const std::int64_t scanned, require_int(old, "num_scan_inputs"));
  const auto operands = static_cast<std::int64_t>(old.inputs.size()) - 1;
  if (scanned < 1 || scanned > operands) return fail_input("'num_scan_inputs' is {}; expected 1 to {}", scanned, operands);
  BEVEL_TRY(const auto directions, attr_ints(old, "directions"));

  Graph batch;
  batch.name = (*body)->name + "_batch";
  Node inner;
  inner.op_type = "Scan";
  inner.name = old.name + "_sequence";
  inner.attributes = {{"body", *body, {}}, {"num_scan_inputs", scanned, {}}};
  if (!directions.empty()) inner.attributes.push_back({"scan_input_directions", directions, {}});
  for (const ValueId capture : old.captures) {  // first, so that they keep their names
    const ValueId known = batch.find_value(outer.value(capture).name);
    inner.captures.push_back(known.valid() ? known : batch.add_capture(outer.value(capture).name, outer.value(capture).type));
  }
  for (std::size_t i = 1; i < old.inputs.size(); ++i) {
    if (!old.inputs[i].valid()) return fail_input("input {} is absent", i);
    const Value& value = outer.value(old.inputs[i]);
    inner.inputs.push_back(batch.add_input(value.name + "_entry", entry_type(value.type)));
  }
  for (std::size_t i = 0; i < old.outputs.size(); ++i) {
    const std::string name = old.outputs[i].valid() ? outer.value(old.outputs[i]).name : old.name;
    inner.outputs.push_back(batch.add_value(name + "_entry", old.outputs[i].valid() ? entry_type(outer.value(old.outputs[i]).type) : Type()));
  }
  const std::vector<ValueId> results = inner.outputs;
  batch.add_node(std::move(inner));
  for (const ValueId result : results) batch.add_output(result);

  // The outer Scan reads all operands, and captures what the inner one does, each once.
  Node batched;
  batched.op_type = "Scan";
  batched.name = old.name;
  batched.doc_string = old.doc_string;
  batched.opaque = old.opaque;
  batched.inputs.assign(old.inputs.begin() + 1, old.inputs.end());
  for (const ValueId capture : batch.captures()) batched.captures.push_back(outer.find_value(batch.value(capture).name));
  batched.attributes = {{"body", std::make_shared<const Graph>(std::move(batch)), {}}, {"num_scan_inputs", operands, {}}};
  std::vector<ValueId> fresh;
  for (const ValueId output : old.outputs) {
    fresh.push_back(output.valid() ? outer.add_value(outer.value(output).name, outer.value(output).type) : ValueId());
  }
  batched.outputs = fresh;
  const NodeId lifted = outer.insert_before(id, std::move(batched));
  std::vector<std::string> names;
  for (std::size_t i = 0; i < fresh.size(); ++i) {
    names.push_back(fresh[i].valid() ? outer.value(old.outputs[i]).name : std::string());
    if (!fresh[i].valid()) continue;
    outer.mutable_value(fresh[i]).declared = outer.value(old.outputs[i]).declared;
    BEVEL_CHECK(outer.replace_uses(old.outputs[i], fresh[i]));
  }
  outer.erase_node(id);
  outer.rename_node(lifted, old.name);
  for (std::size_t i = 0; i < fresh.size(); ++i)
    if (fresh[i].valid()) outer.rename_value(fresh[i], names[i]);
  return {};
}

}  // namespace bevel::ops
