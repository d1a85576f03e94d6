#include "calibration/value_hash.h"

#include <set>

#include "calibration/canonical.h"
#include "lib/ops/op.h"
#include "lib/support/hash.h"

namespace bevel::calibration {
namespace {

// Below this, hashing anew is quicker than remembering.
constexpr std::size_t kLarge = 4096;
// 128 bits of SHA-256 are enough for as many values as can be asked for.
constexpr std::size_t kDigits = 32;

std::string short_hash(const std::string& text) { return sha256_hex(text).substr(0, kDigits); }

class Hasher {
 public:
  Hasher(const SteppedModel& stepped, TensorHashes& tensors)
      : stepped_(stepped), graph_(stepped.model.graph), tensors_(tensors), hashes_(graph_.value_capacity()) {}

  std::vector<std::string> run() {
    for (std::size_t i = 0; i < stepped_.inputs.size(); ++i) {
      Canonical text;
      text.add("input");
      text.add(static_cast<std::int64_t>(i));
      hashes_[stepped_.inputs[i].index] = short_hash(text.text());
    }
    for (const RunStep& step : stepped_.steps) add(step);
    return std::move(hashes_);
  }

 private:
  void add(const RunStep& step) {
    const std::set<ValueId> makes(step.makes.begin(), step.makes.end());
    // What lies within a group is as reference evaluation makes it.
    if (step.way != RunStep::Way::node) {
      for (const NodeId id : step.nodes) {
        const std::string hash = node_hash(id, "reference");
        const Node& node = graph_.node(id);
        for (std::size_t i = 0; i < node.outputs.size(); ++i) {
          const ValueId output = node.outputs[i];
          if (output.valid() && stepped_.maker[output.index] == SteppedModel::kNoStep) hashes_[output.index] = fmt::format("{}.{}", hash, i);
        }
      }
    }
    if (step.makes.empty()) return;
    Canonical text([this](const Tensor& tensor) { return tensors_(tensor); });
    text.add(step.way == RunStep::Way::node ? "node" : step.way == RunStep::Way::integer_group ? "integer group" : "group");
    for (const NodeId id : step.nodes) {
      text.add(node_hash(id, "member"));
      // Which of the results the rest of the model finds.
      for (const ValueId output : graph_.node(id).outputs) text.add(static_cast<std::int64_t>(output.valid() ? 1 + makes.count(output) : 0));
    }
    const std::string hash = short_hash(text.text());
    for (std::size_t i = 0; i < step.makes.size(); ++i) hashes_[step.makes[i].index] = fmt::format("{}.{}", hash, i);
  }

  // Members of a group read each other's results, which have hashes by then.
  std::string node_hash(NodeId id, std::string_view kind) {
    const Node& node = graph_.node(id);
    Canonical text([this](const Tensor& tensor) { return tensors_(tensor); });
    text.add(kind);
    text.add(node.domain);
    text.add(node.op_type);
    text.add(node.overload);
    text.add(stepped_.model.opset(node.domain));
    text.add(stepped_.model.opset());
    // Random numbers may hang on the node's name.
    const bool pure = ops::facts_of(stepped_.model, graph_, id).value.pure;
    text.add(pure ? std::string_view() : std::string_view(node.name));
    text.add(node.attributes);
    text.add(static_cast<std::int64_t>(node.inputs.size()));
    for (std::size_t i = 0; i < node.operand_count(); ++i) {
      const ValueId operand = node.operand(i);
      if (!operand.valid()) {
        text.add("absent");
      } else if (const auto& constant = graph_.value(operand).constant) {
        text.add("constant");
        text.add(*constant);
      } else {
        text.add("value");
        text.add(hashes_[operand.index]);
      }
    }
    for (const ValueId output : node.outputs) text.add(static_cast<std::int64_t>(output.valid()));
    return short_hash(text.text());
  }

  const SteppedModel& stepped_;
  const Graph& graph_;
  TensorHashes& tensors_;
  std::vector<std::string> hashes_;
};

}  // namespace

std::string TensorHashes::operator()(const Tensor& tensor) {
  const auto bytes = tensor.bytes();
  if (bytes.size() < kLarge) return sha256_hex(bytes);
  Known& known = known_[{bytes.data(), bytes.size()}];
  if (known.hash.empty()) {
    known.tensor = tensor;
    known.hash = sha256_hex(bytes);
  }
  known.last_model = model_;
  return known.hash;
}

void TensorHashes::next_model() {
  std::erase_if(known_, [this](const auto& entry) { return entry.second.last_model + 2 <= model_; });
  ++model_;
}

std::vector<std::string> value_hashes(const SteppedModel& stepped, TensorHashes& tensors) { return Hasher(stepped, tensors).run(); }

}  // namespace bevel::calibration
