#include "passes/quantize/automatic_range.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "passes/quantize/reader_trial.h"

namespace bevel::passes {
namespace {

constexpr std::int64_t kMaxProjections = 16;

bool reads_rows(const Graph& graph, const Node& node, const ops::Facts& facts) {
  if (facts.space.kind != ops::OpKind::bilinear || facts.value.quant != ops::QuantRole::bilinear || node.inputs.size() < 2) return false;
  const auto& data = facts.value.data_operands;
  if (data.size() < 2 || data[0] != 0 || data[1] != 1 || !node.inputs[0].valid() || !node.inputs[1].valid()) return false;
  const Tensor* weight = graph.constant(node.inputs[1]);
  return weight != nullptr && weight->dtype() == DType::float32 && graph.constant(node.inputs[0]) == nullptr;
}

// A product with constant weights, as far as errors of its input go: rows of the input, and what these are multiplied with.
struct Consumer {
  const data::Rows* rows = nullptr;
  Projections weights;
};

std::optional<Consumer> consumer_of(const Graph& graph, const Node& node, const ops::Facts& facts, const data::Rows& rows) {
  const Tensor& weights = *graph.constant(node.inputs[1]);
  const auto view = view_of_rows(facts, weights, rows);
  if (!view) return std::nullopt;
  return Consumer{&rows, project(*view, weights, kMaxProjections, 0)};
}

// Energy of W e over the rows, e what `grid` changes in x; without a grid, of W x.
double output_energy(const Consumer& consumer, const ScaleZeroPoint* grid, const ActivationFormat& format, bool centred) {
  const data::Rows& rows = *consumer.rows;
  const double scale = grid != nullptr ? static_cast<double>(grid->scale) : 1;
  const double inverse = 1 / scale, zero = grid != nullptr ? grid->zero_point : 0;
  std::vector<double> seen(static_cast<std::size_t>(rows.k));
  double total = 0;
  for (std::int64_t group = 0; group < rows.groups; ++group) {
    std::vector<Energy> energies(static_cast<std::size_t>(consumer.weights.count));
    for (std::int64_t row = 0; row < rows.count; ++row) {
      const float* x = rows.values.data() + (group * rows.count + row) * rows.k;
      for (std::int64_t i = 0; i < rows.k; ++i) {
        const auto value = static_cast<double>(x[i]);
        auto& out = seen[static_cast<std::size_t>(i)];
        if (grid == nullptr) out = value;
        else out = (std::clamp<double>(std::nearbyint(value * inverse) + zero, format.qmin, format.qmax) - zero) * scale - value;
      }
      for (std::int64_t p = 0; p < consumer.weights.count; ++p) {
        const double* vector = consumer.weights.of(group, p);
        double sum = 0;
        for (std::int64_t i = 0; i < rows.k; ++i) sum += vector[i] * seen[static_cast<std::size_t>(i)];
        energies[static_cast<std::size_t>(p)].add(sum);
      }
    }
    for (const Energy& energy : energies) total += energy.get(centred);
  }
  return total;
}

}  // namespace

std::vector<data::OperandKey> rows_to_measure(const Graph& graph, const std::vector<ops::Facts>& facts, const Selection& selection) {
  std::vector<data::OperandKey> keys;
  for (const NodeId id : graph.node_order())
    if (selection.is_integer(id) && reads_rows(graph, graph.node(id), facts[id.index])) keys.push_back({graph.node(id).name, 0});
  return keys;
}

std::size_t ConsumerErrors::best(const Component& component, const data::ValueStatistics& merged,
                                 const std::vector<ScaleZeroPoint>& candidates, const ActivationFormat& format) const {
  std::vector<double> cost(candidates.size(), 0.0);
  const Graph& graph = model_.graph;
  bool read_otherwise = false;
  for (const ValueId id : component.values) {
    const Value& value = graph.value(id);
    read_otherwise = read_otherwise || value.output_slots > 0;
    for (const Use& use : value.uses) {
      const Node& node = graph.node(use.node);
      const ops::Facts& facts = facts_[use.node.index];
      if (selection_.is_integer(use.node) && facts.value.quant == ops::QuantRole::same_scale) continue;  // its result's readers count
      const auto rows = statistics_.rows.find({node.name, static_cast<int>(use.operand)});
      std::optional<Consumer> consumer;
      if (selection_.is_integer(use.node) && use.operand == 0 && reads_rows(graph, node, facts) && rows != statistics_.rows.end())
        consumer = consumer_of(graph, node, facts, rows->second);
      const double energy = consumer ? output_energy(*consumer, nullptr, format, mean_corrected_) : 0;
      if (!(energy > 0)) {
        read_otherwise = true;
        continue;
      }
      for (std::size_t i = 0; i < candidates.size(); ++i)
        cost[i] += output_energy(*consumer, &candidates[i], format, mean_corrected_) / energy;
    }
  }
  const double energy = mean_square(merged.histogram);
  if (read_otherwise && energy > 0) {
    for (std::size_t i = 0; i < candidates.size(); ++i)
      cost[i] += mean_square_error(merged.histogram, candidates[i], format.qmin, format.qmax) / energy;
  }
  return static_cast<std::size_t>(std::min_element(cost.begin(), cost.end()) - cost.begin());
}

}  // namespace bevel::passes
