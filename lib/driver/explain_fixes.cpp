#include "lib/driver/explain_fixes.h"

#include <algorithm>
#include <cmath>

#include "lib/driver/keeping_measure.h"
#include "lib/driver/output_distance.h"
#include "lib/driver/quantize_leg.h"
#include "passes/ranges.h"

namespace bevel::driver {
namespace {

using report::ExplainFix;

// An error of nothing is taken as this, so that a gain stays a number.
constexpr double kLeastError = 1e-12;

std::vector<passes::RangeMethod> other_ranges(const passes::RangeMethod& present) {
  using Kind = passes::RangeMethod::Kind;
  std::vector<passes::RangeMethod> methods{{Kind::minmax}, {Kind::mse}, {Kind::percentile, 99.99}, {Kind::percentile, 99.9}, {Kind::entropy}};
  std::erase(methods, present);
  return methods;
}

passes::Recipe with_fix(passes::Recipe recipe, const ExplainFix& fix) {
  passes::NodeChoice& choice = recipe.nodes[fix.node];
  if (fix.key == "precision") choice.precision = fix.value;
  else choice.range = *passes::parse_range_method(fix.value);
  return recipe;
}

void best_first(std::vector<ExplainFix>& fixes) {
  std::stable_sort(fixes.begin(), fixes.end(), [](const ExplainFix& a, const ExplainFix& b) { return a.gain_db > b.gain_db; });
}

// What could help a layer, untried.
std::vector<ExplainFix> candidates(const passes::ComparedLayer& layer, const report::ExplainLayer& row, const Model& reference,
                                   const passes::Recipe& recipe) {
  std::vector<ExplainFix> fixes;
  const std::string& node = layer.reference_node;
  if (!node.empty()) {
    const auto choice = recipe.nodes.find(node);
    const std::string present = choice != recipe.nodes.end() && choice->second.precision ? *choice->second.precision : recipe.precision;
    if (present == "int4" && layer.weights.valid()) fixes.push_back({node, "precision", "int8", 0, ""});
    fixes.push_back({node, "precision", "float32", 0, ""});
  }
  // The range of the result, or of what the main cause says it reads.
  std::vector<std::string> makers;
  if (layer.rounding && !layer.reference_producer.empty()) makers.push_back(layer.reference_producer);
  const bool reads = !row.causes.empty() && row.causes[0].text.find("its input") != std::string::npos;
  for (const auto& input : layer.inputs) {
    const ValueId value = reference.graph.find_value(input.reference_value);
    const NodeId maker = value.valid() ? reference.graph.value(value).producer : NodeId();
    const bool named = reads && row.causes[0].text.find("\"" + printable(input.reference_value, 80) + "\"") != std::string::npos;
    if (named && input.rounding && maker.valid()) makers.push_back(reference.graph.node(maker).name);
  }
  for (const std::string& maker : makers) {
    const auto choice = recipe.nodes.find(maker);
    const auto present = choice != recipe.nodes.end() && choice->second.range ? *choice->second.range : recipe.range;
    for (const passes::RangeMethod& method : other_ranges(present)) fixes.push_back({maker, "range", passes::to_string(method), 0, ""});
  }
  return fixes;
}

// Recipes tried by quantizing again.
class Requantizing {
 public:
  Requantizing(const Explained& explained, report::ExplainRecord& record) : explained_(explained), record_(record), measure_(*explained.calibration) {}

  Result<double> error_of(passes::Recipe recipe) {
    Model model = *explained_.reference;
    BEVEL_TRY([[maybe_unused]] const Quantized quantized, quantize_model(model, recipe, &measure_, explained_.pool));
    return output_error(*explained_.judge, *explained_.reference, model, kTrialSamples);
  }

  Status run(const passes::SideBranches& branches, const std::vector<std::size_t>& order) {
    const passes::Recipe& recipe = *explained_.recipe;
    // Where weights are rounded by looking at samples, which takes long, trials look for the best range of each layer with nearest ones first.
    passes::Recipe quick = recipe;
    const bool slow = recipe.rounding == "second-order";
    if (slow) quick.rounding = "nearest";
    BEVEL_TRY(const double before, error_of(recipe));
    BEVEL_TRY(const double quick_before, slow ? error_of(quick) : Result<double>(before));
    for (const std::size_t index : order) {
      report::ExplainLayer& row = record_.layers[index];
      row.fixes = candidates(branches.layers()[index], row, *explained_.reference, recipe);
      for (ExplainFix& fix : row.fixes) {
        BEVEL_TRY(const double after, error_of(with_fix(quick, fix)));
        fix.gain_db = gain(quick_before, after);
        fix.measured_by = slow ? "requantized-nearest" : "requantized";
      }
      best_first(row.fixes);
      if (slow) BEVEL_TRY_STATUS(measure_finalists(row.fixes, before));
    }
    return together(order, before);
  }

 private:
  // The best by nearest weights, as they will be; these then stand first.
  Status measure_finalists(std::vector<ExplainFix>& fixes, double before) {
    constexpr std::size_t kFinalists = 2;
    const std::size_t count = std::min(kFinalists, fixes.size());
    for (std::size_t i = 0; i < count; ++i) {
      BEVEL_TRY(const double after, error_of(with_fix(*explained_.recipe, fixes[i])));
      fixes[i].gain_db = gain(before, after);
      fixes[i].measured_by = "requantized";
    }
    std::stable_sort(fixes.begin(), fixes.begin() + static_cast<std::ptrdiff_t>(count),
                     [](const ExplainFix& a, const ExplainFix& b) { return a.gain_db > b.gain_db; });
    return {};
  }

  // Adds the layers' best lines one by one, the best first, as long as the outputs gain.
  Status together(const std::vector<std::size_t>& order, double before) {
    std::vector<ExplainFix> best;
    for (const std::size_t index : order) {
      const auto& fixes = record_.layers[index].fixes;
      if (fixes.empty() || fixes[0].gain_db < kWorthALine) continue;
      const bool known = std::any_of(best.begin(), best.end(), [&](const ExplainFix& other) { return other.node == fixes[0].node && other.key == fixes[0].key; });
      if (!known) best.push_back(fixes[0]);
    }
    best_first(best);
    passes::Recipe recipe = *explained_.recipe;
    double error = before;
    for (const ExplainFix& fix : best) {
      BEVEL_TRY(const double after, error_of(with_fix(recipe, fix)));
      if (gain(error, after) < kWorthALine) continue;
      recipe = with_fix(recipe, fix);
      error = after;
      record_.recipe_lines.push_back(fix);
    }
    if (record_.recipe_lines.empty()) return {};
    record_.recipe_gain_db = gain(before, error);
    record_.recipe = passes::to_json(recipe);
    return {};
  }

  const Explained& explained_;
  report::ExplainRecord& record_;
  KeepingMeasure measure_;
};

// A model that somebody else quantized is patched: the layer as in float, its result rounded to another grid.
Status patch(const Explained& explained, const passes::SideBranches& branches, const MeasuredValues& measured,
             const std::vector<std::size_t>& order, report::ExplainRecord& record) {
  BEVEL_TRY(const double before, output_error(*explained.judge, *explained.reference, *explained.model, kTrialSamples));
  const auto tried = [&](const std::optional<Model>& model, std::vector<ExplainFix>& fixes, ExplainFix fix) -> Status {
    if (!model) return {};
    BEVEL_TRY(const double after, output_error(*explained.judge, *explained.reference, *model, kTrialSamples));
    fix.gain_db = gain(before, after);
    fixes.push_back(std::move(fix));
    return {};
  };
  for (const std::size_t index : order) {
    const passes::ComparedLayer& layer = branches.layers()[index];
    std::vector<ExplainFix>& fixes = record.layers[index].fixes;
    const std::string& node = explained.own_reference ? layer.node : layer.reference_node;
    const std::string& maker = explained.own_reference ? layer.node : layer.reference_producer;
    if (!node.empty()) BEVEL_TRY_STATUS(tried(branches.with_float_layer(index), fixes, {node, "precision", "float32", 0, "patched"}));
    const auto seen = measured.values.find(layer.reference_value);
    if (layer.rounding && seen != measured.values.end() && !maker.empty()) {
      for (const passes::RangeMethod& method : other_ranges({passes::RangeMethod::Kind::automatic})) {
        passes::Rounding other = *layer.rounding;
        const bool symmetric = other.qmin == -32768;
        const int bits = dtype_bits(other.dtype);
        const passes::Range range = passes::choose_range(seen->second, method, bits, symmetric);
        other.grid = symmetric ? passes::symmetric_grid(range, other.qmax) : passes::affine_grid(range, other.qmin, other.qmax);
        if (other == *layer.rounding) continue;
        BEVEL_TRY_STATUS(tried(branches.with_rounding(index, other), fixes, {maker, "range", passes::to_string(method), 0, "patched"}));
      }
    }
    best_first(fixes);
  }
  return {};
}

}  // namespace

double gain(double before, double after) { return 10 * std::log10(std::max(before, kLeastError) / std::max(after, kLeastError)); }

Status try_fixes(const Explained& explained, const passes::SideBranches& branches, const MeasuredValues& measured,
                 const std::vector<std::size_t>& order, report::ExplainRecord& record) {
  if (explained.recipe == nullptr) return patch(explained, branches, measured, order, record);
  return Requantizing(explained, record).run(branches, order);
}

}  // namespace bevel::driver
