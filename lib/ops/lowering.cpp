// Memory orders, quantization arithmetic and views: what lowering functions, the planner and the evaluator share.
#include "lib/ops/lowering.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "lib/ops/family.h"
#include "lib/ops/lower_common.h"

namespace bevel::ops {

MemoryOrder logical_order(std::size_t rank) {
  MemoryOrder order(rank);
  std::iota(order.begin(), order.end(), 0);
  return order;
}

MemoryOrder channels_last_order(std::size_t rank) {
  MemoryOrder order = logical_order(rank);
  if (rank > 2) std::rotate(order.begin() + 1, order.begin() + 2, order.end());
  return order;
}

Dims to_memory(const Dims& logical, const MemoryOrder& order) {
  BEVEL_CHECK(logical.size() == order.size());
  Dims memory(order.size());
  for (std::size_t k = 0; k < order.size(); ++k) memory[k] = logical[static_cast<std::size_t>(order[k])];
  return memory;
}

bool same_memory(const Dims& logical, const MemoryOrder& a, const MemoryOrder& b) {
  const auto significant = [&](const MemoryOrder& order) {
    MemoryOrder axes;
    for (int axis : order) {
      if (logical[static_cast<std::size_t>(axis)] != 1) axes.push_back(axis);
    }
    return axes;
  };
  return a.size() == logical.size() && b.size() == logical.size() && (a == b || significant(a) == significant(b));
}

std::int32_t device_zero_point(const Quantization& quantization) {
  const std::int32_t zero_point = quantization.zero_points.empty() ? 0 : quantization.zero_points[0];
  return quantization.dtype == DType::uint8 ? zero_point - 128 : zero_point;
}

bool LowerContext::integer() const {
  if (outputs.empty() || !outputs[0].quantization || !is_activation_dtype(outputs[0].dtype)) return false;
  bool any = false;
  for (int operand : facts.value.data_operands) {
    const auto i = static_cast<std::size_t>(operand);
    if (i >= inputs.size() || !inputs[i].value.valid() || operand == facts.value.bias_operand) continue;
    const bool weights = facts.value.quant == QuantRole::bilinear && inputs[i].constant != nullptr && is_4bit(inputs[i].dtype);
    if (!inputs[i].quantization || (!is_activation_dtype(inputs[i].dtype) && !weights)) return false;
    any = true;
  }
  return any;
}

std::vector<float> requantization_multipliers(const Quantization& x, const Quantization& w, const Quantization& y,
                                              std::int64_t channels) {
  std::vector<float> multipliers(static_cast<std::size_t>(channels));
  for (std::size_t c = 0; c < multipliers.size(); ++c) {
    const float product = x.scales[0] * w.scales[w.scales.size() == 1 ? 0 : c];
    multipliers[c] = product / y.scales[0];
  }
  return multipliers;
}

ClampBounds clamp_bounds(const Quantization& y, const std::optional<Interval>& clamp) {
  const bool wide = y.dtype == DType::int16;
  const ClampBounds range{wide ? -32768 : -128, wide ? 32767 : 127};
  ClampBounds bounds = range;
  if (!clamp) return bounds;
  const auto bound = [&](double real, std::int32_t unlimited) {
    return std::isinf(real) ? unlimited : quantize_value(real, y);
  };
  bounds.low = bound(clamp->low, clamp->low > 0 ? range.high : range.low);
  bounds.high = bound(clamp->high, clamp->high < 0 ? range.low : range.high);
  bounds.low = std::min(bounds.low, bounds.high);
  return bounds;
}

namespace {

// Splits the axes of two row-major shapes of equal size into common factors: each factor belongs to one axis of either. nullopt when
// an axis straddles (6 = 2*3 against 3*2).
struct Factor {
  int input_axis, output_axis;
};
std::optional<std::vector<Factor>> common_factors(const Dims& input, const Dims& output) {
  std::vector<Factor> factors;
  std::size_t i = 0, o = 0;
  std::int64_t left = 1, right = 1;
  while (true) {
    while (left == 1 && i < input.size()) left = input[i++];
    while (right == 1 && o < output.size()) right = output[o++];
    if (left == 1 || right == 1) break;
    const std::int64_t part = std::min(left, right);
    if (left % part != 0 || right % part != 0) return std::nullopt;
    factors.push_back({static_cast<int>(i) - 1, static_cast<int>(o) - 1});
    left /= part;
    right /= part;
  }
  if (left != 1 || right != 1) return std::nullopt;
  return factors;
}

std::optional<MemoryOrder> reshaped_order(const Dims& input, const MemoryOrder& order, const Dims& output) {
  if (element_count(input) != element_count(output)) return std::nullopt;
  const auto is_empty = [](const Dims& dims) { return std::count(dims.begin(), dims.end(), 0) > 0; };
  if (is_empty(input) || same_memory(input, order, logical_order(input.size()))) return logical_order(output.size());
  const auto factors = common_factors(input, output);
  if (!factors) return std::nullopt;
  // The factors as they lie in memory, outermost first.
  std::vector<std::size_t> sequence;
  for (int axis : order) {
    for (std::size_t f = 0; f < factors->size(); ++f) {
      if ((*factors)[f].input_axis == axis) sequence.push_back(f);
    }
  }
  // An output axis is in memory when its factors stand beside each other in their order.
  MemoryOrder result;
  for (std::size_t s = 0; s < sequence.size(); ++s) {
    const int axis = (*factors)[sequence[s]].output_axis;
    if (!result.empty() && result.back() == axis) {
      if (sequence[s] != sequence[s - 1] + 1) return std::nullopt;
    } else if (std::find(result.begin(), result.end(), axis) != result.end()) {
      return std::nullopt;
    } else {
      result.push_back(axis);
    }
  }
  for (int axis = static_cast<int>(output.size()) - 1; axis >= 0; --axis) {
    if (output[static_cast<std::size_t>(axis)] == 1) result.insert(result.begin(), axis);
  }
  return result;
}

// The plainest order with the same bytes.
MemoryOrder canonical(const Dims& dims, MemoryOrder order) {
  const std::size_t rank = dims.size();
  if (same_memory(dims, order, logical_order(rank))) return logical_order(rank);
  if (same_memory(dims, order, channels_last_order(rank))) return channels_last_order(rank);
  return order;
}

}  // namespace

std::optional<MemoryOrder> view_order(const Node& node, const Dims& input, const MemoryOrder& input_order,
                                      const Dims& output) {
  if (!node.domain.empty()) return std::nullopt;
  const std::string& op = node.op_type;
  if (op == "Transpose") {
    std::vector<std::int64_t> permutation = attr_ints(node, "perm").value_or(std::vector<std::int64_t>{});
    if (permutation.empty()) {
      for (std::size_t k = input.size(); k-- > 0;) permutation.push_back(static_cast<std::int64_t>(k));
    }
    if (permutation.size() != input.size() || output.size() != input.size()) return std::nullopt;
    // Output axis j is input axis perm[j]: the memory axis that held input axis perm[j] now holds output axis j.
    MemoryOrder order(input.size());
    for (std::size_t k = 0; k < order.size(); ++k) {
      const auto found = std::find(permutation.begin(), permutation.end(), input_order[k]);
      if (found == permutation.end()) return std::nullopt;
      order[k] = static_cast<int>(found - permutation.begin());
    }
    return canonical(output, std::move(order));
  }
  if (op == "Identity" || op == "Dropout") {
    return input == output ? std::optional(input_order) : std::nullopt;
  }
  if (op == "Reshape" || op == "Flatten" || op == "Squeeze" || op == "Unsqueeze") {
    auto order = reshaped_order(input, input_order, output);
    if (order) *order = canonical(output, std::move(*order));
    return order;
  }
  return std::nullopt;
}

namespace {

class LoneInference final : public InferContext {
 public:
  LoneInference(const Node& node, std::int64_t opset, const std::vector<Type>& inputs,
                const std::vector<const Tensor*>& constants)
      : node_(node), opset_(opset), inputs_(inputs), constants_(constants), types(node.outputs.size()) {}
  const Node& node() const override { return node_; }
  std::int64_t opset() const override { return opset_; }
  std::size_t input_count() const override { return node_.inputs.size(); }
  bool has_input(std::size_t i) const override { return i < node_.inputs.size() && node_.inputs[i].valid(); }
  const Type& input_type(std::size_t i) const override {
    static const Type unknown;
    return has_input(i) && i < inputs_.size() ? inputs_[i] : unknown;
  }
  const Tensor* input_constant(std::size_t i) const override {
    return has_input(i) && i < constants_.size() ? constants_[i] : nullptr;
  }
  std::optional<PartialInts> input_ints(std::size_t i) const override {
    const Tensor* tensor = input_constant(i);
    if (tensor == nullptr || !is_integer(tensor->dtype()) || tensor->rank() > 1) return std::nullopt;
    PartialInts ints(static_cast<std::size_t>(tensor->size()));
    for (std::size_t k = 0; k < ints.size(); ++k) {
      const std::int64_t value = tensor->as_int64(static_cast<std::int64_t>(k));
      if (value >= 0) ints[k] = Dim(value);
    }
    return ints;
  }
  void set_output(std::size_t i, Type type) override {
    if (i < types.size()) types[i] = std::move(type);
  }
  void set_output_ints(std::size_t, PartialInts) override {}
  Result<std::vector<Type>> infer_subgraph(const Graph&, std::span<const Type>) override {
    return fail_input("a node with subgraphs has no inference by itself");
  }

 private:
  const Node& node_;
  std::int64_t opset_;
  const std::vector<Type>& inputs_;
  const std::vector<const Tensor*>& constants_;

 public:
  std::vector<Type> types;
};

}  // namespace

Result<std::vector<Type>> infer_node(const Node& node, std::int64_t opset, const std::vector<Type>& inputs,
                                     const std::vector<const Tensor*>& constants) {
  const OpRecord* record = find_op(node);
  if (record == nullptr || record->infer == nullptr) return fail_input("operator '{}' has no inference", node.op_type);
  LoneInference inference(node, opset, inputs, constants);
  BEVEL_TRY_STATUS(record->infer(inference));
  return std::move(inference.types);
}

}  // namespace bevel::ops
