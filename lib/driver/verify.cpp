#include "lib/driver/verify.h"

#include <algorithm>

#include "lib/data/metrics.h"
#include "lib/plan/grouping.h"

namespace bevel::driver {

namespace {

// For each name of `wanted`, its index in `present`; by position when the names differ and the counts agree.
Result<std::vector<std::size_t>> correspond(const std::vector<std::string>& wanted, const std::vector<std::string>& present,
                                            const char* what) {
  std::vector<std::size_t> indices;
  for (const std::string& name : wanted) {
    const auto at = std::find(present.begin(), present.end(), name);
    if (at == present.end()) break;
    indices.push_back(static_cast<std::size_t>(at - present.begin()));
  }
  if (indices.size() == wanted.size()) return indices;
  if (wanted.size() != present.size())
    return fail_input("the two models do not correspond: {} {} against {}; {} '{}' has no counterpart.", wanted.size(), what,
                      present.size(), what, printable(wanted[indices.size()]));
  indices.clear();
  for (std::size_t i = 0; i < wanted.size(); ++i) indices.push_back(i);
  return indices;
}

std::vector<std::string> input_names(const Runnable& runnable) {
  std::vector<std::string> names;
  for (const data::ModelInput& input : runnable.inputs()) names.push_back(input.name);
  return names;
}

report::OutputComparison row_of(const std::string& name, const data::Comparison& comparison, bool class_scores) {
  return {name, comparison.sqnr_db(), comparison.agreement(), comparison.max_abs_difference(), comparison.identical(),
          comparison.elements(), class_scores};
}

// Whether the largest element of an output says anything. A class metric says so of the first output, another metric that it is none.
// Without one the shape tells: scores lie along one axis, and what has the shape of an input is that input again, or a state.
bool holds_class_scores(const std::string& metric, std::size_t output, const Dims& dims, const std::vector<Dims>& inputs) {
  if (!metric.empty() && output == 0) return metric.rfind("top", 0) == 0;
  const auto long_axes = std::count_if(dims.begin(), dims.end(), [](std::int64_t dim) { return dim != 1; });
  return long_axes == 1 && std::find(inputs.begin(), inputs.end(), dims) == inputs.end();
}

// A quantized layer: its integer output in the quantized model and the float value it stands for.
struct QuantizedLayer {
  std::string node, integer_value, float_value;
  float scale = 1;
  std::int32_t zero_point = 0;
};

std::vector<QuantizedLayer> quantized_layers(const Model& reference, const Model& quantized) {
  std::vector<QuantizedLayer> layers;
  const Graph& graph = quantized.graph;
  for (const plan::Group& group : plan::group_graph(quantized).groups) {
    if (group.outputs.empty() || !group.outputs[0].quantization || !group.outputs[0].quantization->per_tensor()) continue;
    const plan::GroupEdge& edge = group.outputs[0];
    if (!edge.border.valid()) continue;
    // Quantized in the reference too: no float value stands against it.
    if (reference.graph.find_value(graph.value(edge.border).name).valid()) continue;
    // The float value is the one that a DequantizeLinear makes again of the border: it keeps the name that it had before.
    std::string float_name;
    for (const Use& use : graph.value(edge.border).uses) {
      if (!ops::node_quantization(graph, graph.node(use.node)) || graph.node(use.node).outputs.empty()) continue;
      const std::string& name = graph.value(graph.node(use.node).outputs[0]).name;
      if (reference.graph.find_value(name).valid()) float_name = name;
    }
    if (float_name.empty()) continue;
    layers.push_back({graph.node(group.anchor).name, graph.value(edge.border).name, float_name,
                      edge.quantization->scales[0], edge.quantization->zero_points[0]});
  }
  return layers;
}

Result<std::map<std::string, Tensor>> tapped(const eval::Evaluator& evaluator, const std::vector<Tensor>& inputs,
                                             const std::map<std::string, bool>& wanted) {
  std::map<std::string, Tensor> values;
  const eval::Tap tap = [&](const std::string& name, const Tensor& tensor) -> Status {
    if (wanted.contains(name)) values.emplace(name, tensor);
    return {};
  };
  const std::vector<Datum> data(inputs.begin(), inputs.end());
  auto results = evaluator.run(data, &tap);
  if (!results) return Failure(std::move(results).error());
  return values;
}

Tensor dequantized(const Tensor& integers, const QuantizedLayer& layer) {
  Tensor out = Tensor::zeros(DType::float32, integers.dims());
  const std::span<float> values = out.mutable_values<float>();
  for (std::int64_t i = 0; i < integers.size(); ++i)
    values[static_cast<std::size_t>(i)] = static_cast<float>(integers.as_int64(i) - layer.zero_point) * layer.scale;
  return out;
}

}  // namespace

Result<Measured> measure_side_by_side(const std::vector<const Runnable*>& runnables,
                                      const std::vector<std::pair<std::size_t, std::size_t>>& pairs,
                                      const data::Dataset& dataset, WorkerPool& pool, const std::string& label, Refused refused) {
  const std::vector<std::string> given = input_names(*runnables.front());
  std::vector<std::vector<std::size_t>> input_maps;
  for (const Runnable* runnable : runnables) {
    BEVEL_TRY(auto map, correspond(input_names(*runnable), given, "inputs"));
    input_maps.push_back(std::move(map));
  }
  std::vector<std::vector<std::size_t>> output_maps;
  std::vector<std::vector<data::Comparison>> comparisons;
  std::vector<std::vector<Dims>> output_dims(pairs.size());  // of the first sample's references
  std::vector<Dims> input_dims;
  if (dataset.size() > 0) {
    BEVEL_TRY(const std::vector<Tensor> first, dataset.sample(0));
    for (const Tensor& input : first) input_dims.push_back(input.dims());
  }
  for (const auto& [reference, test] : pairs) {
    BEVEL_TRY(auto map, correspond(runnables[reference]->output_names(), runnables[test]->output_names(), "outputs"));
    comparisons.emplace_back(map.size());
    output_maps.push_back(std::move(map));
  }
  Measured measured;
  std::vector<std::unique_ptr<data::Metric>> metrics;
  if (dataset.has_labels() && !dataset.metric().empty()) {
    measured.metric = dataset.metric();
    for (std::size_t i = 0; i < runnables.size(); ++i) {
      BEVEL_TRY(auto metric, data::make_metric(dataset.metric()));
      metrics.push_back(std::move(metric));
    }
  }

  struct AllOutputs {
    std::vector<std::vector<Tensor>> of;  // one per runnable; none: the sample is left out
    std::string why_left_out;
  };
  const auto produce = [&](std::size_t index) -> Result<AllOutputs> {
    BEVEL_TRY(const std::vector<Tensor> sample, dataset.sample(index));
    AllOutputs outputs;
    for (std::size_t i = 0; i < runnables.size(); ++i) {
      std::vector<Tensor> inputs;
      for (const std::size_t at : input_maps[i]) inputs.push_back(sample[at]);
      auto results = runnables[i]->run(inputs);
      if (!results && i == 0 && refused == Refused::is_left_out) return AllOutputs{{}, std::move(results).error().message};
      if (!results) return Failure(std::move(results).error());
      outputs.of.push_back(std::move(*results));
    }
    return outputs;
  };
  const auto consume = [&](std::size_t index, AllOutputs all) -> Status {
    if (all.of.empty()) {
      if (measured.left_out++ == 0) measured.why_left_out = std::move(all.why_left_out);
      return {};
    }
    const std::vector<std::vector<Tensor>>& outputs = all.of;
    for (std::size_t pair = 0; pair < pairs.size(); ++pair)
      for (std::size_t i = 0; i < output_maps[pair].size(); ++i) {
        const Tensor& reference = outputs[pairs[pair].first][i];
        const Tensor& test = outputs[pairs[pair].second][output_maps[pair][i]];
        if (reference.size() != test.size() || reference.dtype() == DType::string || test.dtype() == DType::string)
          return fail_input("sample {}: output '{}' is {} in one model and {} in the other; they cannot be compared.", index,
                            printable(runnables[pairs[pair].first]->output_names()[i]),
                            to_string(Type::tensor(reference.dtype(), reference.dims())),
                            to_string(Type::tensor(test.dtype(), test.dims())));
        comparisons[pair][i].add(reference, test);
        if (output_dims[pair].size() == i) output_dims[pair].push_back(reference.dims());
      }
    for (std::size_t i = 0; i < metrics.size(); ++i) {
      if (outputs[i].empty()) continue;
      auto added = metrics[i]->add(outputs[i].front(), dataset.label(index).value_or(-1));
      if (!added) return located(fmt::format("sample {}", index), std::move(added).error());
    }
    return {};
  };
  BEVEL_TRY_STATUS((sweep<AllOutputs>(pool, dataset.size(), label, produce, consume)));

  for (std::size_t pair = 0; pair < pairs.size(); ++pair) {
    std::vector<report::OutputComparison> rows;
    for (std::size_t i = 0; i < comparisons[pair].size(); ++i)
      rows.push_back(row_of(runnables[pairs[pair].first]->output_names()[i], comparisons[pair][i],
                            i < output_dims[pair].size() &&
                                holds_class_scores(measured.metric, i, output_dims[pair][i], input_dims)));
    measured.pairs.push_back(std::move(rows));
  }
  for (const auto& metric : metrics) measured.metrics.push_back(metric->value());
  return measured;
}

double drop_in_points(const std::string& metric, double reference, double test) {
  if (metric == "mse") return reference > 0 ? 100 * (test - reference) / reference : (test > 0 ? 100.0 : 0.0);
  const double lost = reference - test;
  return (metric == "auc" ? 100 * lost : lost) + 0.0;
}

Result<std::map<std::string, double>> layer_sqnr(const Model& reference, const Model& quantized, const data::Dataset& dataset,
                                                 std::size_t samples, WorkerPool& pool, const Bounds& bounds) {
  eval::EvalOptions float_options = bounds.eval_options();
  float_options.kernels = eval::Kernels::none;
  BEVEL_TRY(auto float_evaluator, eval::Evaluator::create(reference, float_options));
  BEVEL_TRY(auto int8_evaluator, eval::Evaluator::create(quantized, bounds.eval_options()));
  const std::vector<QuantizedLayer> layers = quantized_layers(float_evaluator->model(), int8_evaluator->model());
  std::map<std::string, bool> float_names, int8_names;
  for (const QuantizedLayer& layer : layers) {
    float_names[layer.float_value] = true;
    int8_names[layer.integer_value] = true;
  }
  const auto keys = [](const std::map<std::string, bool>& names) {
    std::vector<std::string> list;
    for (const auto& [name, unused] : names) list.push_back(name);
    return list;
  };
  if (layers.empty()) return std::map<std::string, double>{};
  float_evaluator->set_tapped(keys(float_names));
  int8_evaluator->set_tapped(keys(int8_names));

  using Rows = std::vector<std::optional<std::pair<Tensor, Tensor>>>;
  std::vector<data::Comparison> comparisons(layers.size());
  const auto produce = [&](std::size_t index) -> Result<Rows> {
    BEVEL_TRY(const std::vector<Tensor> sample, dataset.sample(index));
    BEVEL_TRY(const auto floats, tapped(*float_evaluator, sample, float_names));
    BEVEL_TRY(const auto integers, tapped(*int8_evaluator, sample, int8_names));
    Rows rows(layers.size());
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const auto wanted = floats.find(layers[i].float_value);
      const auto found = integers.find(layers[i].integer_value);
      if (wanted == floats.end() || found == integers.end() || wanted->second.size() != found->second.size()) continue;
      rows[i].emplace(wanted->second, dequantized(found->second, layers[i]));
    }
    return rows;
  };
  const auto consume = [&](std::size_t, Rows rows) -> Status {
    for (std::size_t i = 0; i < rows.size(); ++i)
      if (rows[i]) comparisons[i].add(rows[i]->first, rows[i]->second);
    return {};
  };
  BEVEL_TRY_STATUS((sweep<Rows>(pool, std::min(samples, dataset.size()), "layers", produce, consume)));
  std::map<std::string, double> result;
  for (std::size_t i = 0; i < layers.size(); ++i)
    if (comparisons[i].samples() > 0) result[layers[i].node] = comparisons[i].sqnr_db();
  return result;
}

}  // namespace bevel::driver
