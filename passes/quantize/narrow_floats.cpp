// narrow-floats: a float32 model computes in float16 or bfloat16, but for what does not fit.
//
// What it does. Weights and results take half the bytes; processors with half-precision arithmetic take half the time. Inputs and
// outputs keep float32, through one Cast each. Nodes that cannot do without float32 become islands between Casts, each with its
// reason:
//   - one operand or result reaches beyond 65504, the largest float16 (measured on samples; of constants, known): masks, sums of squares;
//   - one operand or result is never as large as 2^-14, below which float16 has fewer than 11 bits: small epsilons, scales;
//   - its operator takes no such type in the model's opset, or it has subgraphs;
//   - the recipe says float32.
// bfloat16 has the range of float32 and 8 bits of precision: only the last two apply.
//
// Limits. Without samples nothing is known of activations, and the report says so. QuantizeLinear, DequantizeLinear and what
// a recipe wants in integers are left alone. Main graph only.
//
//   y = MatMul (x, w)                  # float x, w, y
// becomes
//   x_float16 = Cast <to = float16> (x)
//   y_float16 = MatMul (x_float16, w)  # float16 w
//   y = Cast <to = float> (y_float16)
#include <algorithm>
#include <cmath>
#include <map>
#include <optional>

#include "lib/ops/opset.h"
#include "lib/ops/semantics.h"
#include "passes/pass.h"
#include "passes/quantize/retype.h"

namespace bevel::passes {
namespace {

constexpr OptionRecord kOptions[] = {
    {"dtype", "", "float16 or bfloat16, for all nodes that the recipe does not name (default: the recipe's)"},
};

constexpr double kLargestFloat16 = 65504;               // (2 - 2^-10) * 2^15
constexpr double kSmallestNormalFloat16 = 0x1p-14;
constexpr std::int64_t kBfloat16Opset = 22;             // Conv, pooling and their like take it from here on

bool is_float32(const Graph& graph, ValueId value) {
  return value.valid() && graph.value(value).type.is_tensor() && graph.value(value).type.dtype == DType::float32;
}

// The largest finite magnitude.
double largest(const Tensor& tensor) {
  double most = 0;
  for (const float value : tensor.values<float>())
    if (std::isfinite(value)) most = std::max(most, std::fabs(static_cast<double>(value)));
  return most;
}

class Fit {
 public:
  Fit(const Graph& graph, std::map<std::string, data::ValueStatistics> measured) : graph_(graph), measured_(std::move(measured)) {}

  // Why the node's operands and results do not fit float16; empty when they do, as far as is known.
  std::string misfit(const Node& node) {
    for (const auto* values : {&node.inputs, &node.outputs})
      for (const ValueId value : *values)
        if (is_float32(graph_, value))
          if (std::string reason = misfit(value); !reason.empty()) return reason;
    return "";
  }

 private:
  std::string misfit(ValueId id) {
    const auto known = reasons_.find(id);
    if (known != reasons_.end()) return known->second;
    return reasons_[id] = judged(graph_.value(id));
  }
  std::string judged(const Value& value) const {
    std::optional<double> most;
    if (value.constant) {
      most = largest(*value.constant);
    } else if (const auto found = measured_.find(value.name); found != measured_.end()) {
      most = std::max(std::fabs(static_cast<double>(found->second.minimum)), std::fabs(static_cast<double>(found->second.maximum)));
    }
    if (!most || *most == 0) return "";
    if (*most > kLargestFloat16) return fmt::format("\"{}\" reaches {:.3g}, and float16 ends at 65504", printable(value.name), *most);
    if (*most < kSmallestNormalFloat16)
      return fmt::format("\"{}\" is {:.3g} at most, and float16 loses bits below 6.1e-05", printable(value.name), *most);
    return "";
  }

  const Graph& graph_;
  std::map<std::string, data::ValueStatistics> measured_;
  std::map<ValueId, std::string> reasons_;
};

Result<std::map<std::string, data::ValueStatistics>> measure_all(const Model& model, data::Measure& measure) {
  data::Request request;
  for (const ValueId id : model.graph.value_ids())
    if (is_float32(model.graph, id) && !model.graph.value(id).is_constant()) request.optional_values.push_back(model.graph.value(id).name);
  BEVEL_TRY(data::Statistics statistics, measure.measure(model, request));
  return std::move(statistics.values);
}

struct Wanted {
  std::string fallback;  // of nodes that the recipe does not name
  const Recipe* recipe = nullptr;
  DType to = DType::undefined;
  [[nodiscard]] std::string_view of(const Node& node) const {
    if (recipe == nullptr) return fallback;
    const auto choice = recipe->nodes.find(node.name);
    return choice != recipe->nodes.end() && choice->second.precision ? std::string_view(*choice->second.precision) : fallback;
  }
};

Result<Wanted> wanted_by(const Options& options, const PassContext& context) {
  Wanted wanted{options.at("dtype"), context.recipe};
  const std::string& dtype = options.at("dtype");
  if (!dtype.empty() && !is_half(dtype))
    return fail(ExitCode::usage, "narrow-floats: dtype=\"{}\": expected float16 or bfloat16", printable(dtype));
  if (dtype.empty() && context.recipe != nullptr) wanted.fallback = context.recipe->precision;
  std::optional<std::string_view> word;
  if (is_half(wanted.fallback)) word = wanted.fallback;
  if (context.recipe != nullptr)
    for (const auto& [name, choice] : context.recipe->nodes)
      if (choice.precision && is_half(*choice.precision) && !word) word = *choice.precision;
  if (word) wanted.to = *word == "float16" ? DType::float16 : DType::bfloat16;
  return wanted;
}

Result<PassStats> run(Model& model, const Options& options, PassContext& context) {
  BEVEL_TRY(const Wanted wanted, wanted_by(options, context));
  PassStats stats;
  if (wanted.to == DType::undefined) return stats;
  if (wanted.to == DType::bfloat16 && model.opset() < kBfloat16Opset) BEVEL_TRY_STATUS(ops::convert_opset(model, kBfloat16Opset));
  const Graph& graph = model.graph;
  const bool ranged = wanted.to == DType::float16;
  std::map<std::string, data::ValueStatistics> measured;
  if (ranged && context.measure != nullptr && !context.forms_only) {
    BEVEL_TRY(measured, measure_all(model, *context.measure));
  }
  if (ranged && measured.empty())
    stats.notes.push_back({"", "", "activations were not checked against the range of float16, for want of samples; weights were"});
  Fit fit(graph, std::move(measured));
  Retyping retyping{DType::float32, wanted.to, std::vector<std::string>(graph.node_capacity())};
  for (const NodeId id : graph.node_order()) {
    const Node& node = graph.node(id);
    if (!holds(graph, node, DType::float32)) continue;
    std::string& stays = retyping.stays[id.index];
    const std::string_view word = wanted.of(node);
    if (ops::is_quantization(node) || (!is_half(word) && word != "float32")) {
      stays = "it is quantized";
      continue;
    }
    if (word == "float32") stays = "kept in float32 (recipe: precision float32)";
    if (stays.empty()) stays = cannot_move(model, id, DType::float32, wanted.to);
    if (stays.empty() && ranged && !context.forms_only) stays = fit.misfit(node);
    if (!stays.empty()) stats.notes.push_back({node.name, node.op_type, stays});
  }
  stats.changes = retype(model, retyping);
  return stats;
}

}  // namespace

extern const PassRecord narrow_floats = {"narrow-floats", "float32 to float16 or bfloat16, but for what does not fit", Accuracy::lossy,
                                         kOptions, run};

}  // namespace bevel::passes
