#include "lib/ops/evaluate.h"

#include "lib/ops/out_of_memory.h"
#include "lib/support/check.h"

namespace bevel::ops {
namespace {

class SingleNode final : public EvalContext {
 public:
  SingleNode(const Node& node, std::int64_t opset, std::span<const Datum> inputs, std::uint64_t max_bytes)
      : node_(node), opset_(opset), inputs_(inputs), max_bytes_(max_bytes) {}
  const Node& node() const override { return node_; }
  std::int64_t opset() const override { return opset_; }
  std::size_t input_count() const override { return inputs_.size(); }
  bool has_input(std::size_t i) const override { return i < inputs_.size() && inputs_[i].present(); }
  const Datum& input(std::size_t i) const override {
    static const Datum absent;
    return i < inputs_.size() ? inputs_[i] : absent;
  }
  const Tensor& tensor(std::size_t i) const override {
    BEVEL_CHECK(has_input(i) && inputs_[i].tensor() != nullptr);
    return *inputs_[i].tensor();
  }
  Status reserve(DType dtype, std::span<const std::int64_t> dims) const override {
    const auto bytes = element_bytes(dtype, dims);
    if (!bytes || *bytes > max_bytes_) return fail_input("a result would take more than {} bytes", max_bytes_);
    return {};
  }
  Result<std::vector<Datum>> run_subgraph(const Graph&, std::size_t, std::span<const Datum>) const override {
    return fail_input("'{}' runs a subgraph and cannot be evaluated by itself", node_.op_type);
  }

 private:
  const Node& node_;
  std::int64_t opset_;
  std::span<const Datum> inputs_;
  std::uint64_t max_bytes_;
};

}  // namespace

std::optional<std::uint64_t> element_bytes(DType dtype, std::span<const std::int64_t> dims) {
  const auto count = element_count(dims);
  if (!count) return std::nullopt;
  if (dtype != DType::string) return packed_bytes(dtype, *count);
  std::uint64_t bytes = 0;
  if (__builtin_mul_overflow(static_cast<std::uint64_t>(*count), sizeof(std::string), &bytes)) return std::nullopt;
  return bytes;
}

Status check_operands(const OpRecord& record, const Node& node) {
  std::size_t inputs = node.inputs.size();
  const auto least = static_cast<std::size_t>(record.min_inputs);
  if (inputs < least || (record.max_inputs >= 0 && inputs > static_cast<std::size_t>(record.max_inputs))) {
    return fail_input("has {} inputs, expected {}{}", inputs, record.min_inputs,
                      record.max_inputs < 0                    ? " or more"
                      : record.max_inputs == record.min_inputs ? ""
                                                               : fmt::format(" to {}", record.max_inputs));
  }
  for (std::size_t i = 0; i < least; ++i) {
    if (!node.inputs[i].valid()) return fail_input("required input {} is absent", i);
  }
  const std::size_t outputs = node.outputs.size();
  if (outputs < static_cast<std::size_t>(record.min_outputs) ||
      (record.max_outputs >= 0 && outputs > static_cast<std::size_t>(record.max_outputs))) {
    return fail_input("has {} outputs, expected {}{}", outputs, record.min_outputs,
                      record.max_outputs < 0                     ? " or more"
                      : record.max_outputs == record.min_outputs ? ""
                                                                 : fmt::format(" to {}", record.max_outputs));
  }
  return {};
}

Outputs evaluate_node(const Node& node, std::int64_t opset, std::span<const Datum> inputs, std::uint64_t max_bytes) {
  const OpRecord* record = find_op(node);
  if (record == nullptr) return fail_input("operator '{}' is not known", printable(node.op_type));
  if (record->evaluate == nullptr) return fail_input("operator '{}' has no evaluation", node.op_type);
  if (opset < record->since) {
    return fail_input("operator '{}' is known from opset {} on, the model has opset {}", node.op_type, record->since,
                      opset);
  }
  BEVEL_TRY_STATUS(check_operands(*record, node));
  BEVEL_CHECK(inputs.size() == node.inputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    if (!inputs[i].present()) {
      if (i < static_cast<std::size_t>(record->min_inputs)) return fail_input("required input {} is absent", i);
    } else if (!record->any_kind && inputs[i].tensor() == nullptr) {
      return fail_input("input {} is a sequence, but a tensor is expected", i);
    }
  }
  return or_out_of_memory([&] { return record->evaluate(SingleNode(node, opset, inputs, max_bytes)); });
}

}  // namespace bevel::ops
