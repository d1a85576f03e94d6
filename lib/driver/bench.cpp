#include "lib/driver/bench.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "lib/driver/load.h"
#include "lib/driver/runnable.h"
#include "lib/driver/samples.h"

namespace bevel::driver {

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

// Time from one computed value to the next belongs to the node that made the latter: nodes run one after the other.
Result<std::vector<report::BenchRow>> time_nodes(eval::Evaluator& evaluator, const std::vector<std::vector<Tensor>>& samples,
                                                 std::size_t repeat) {
  const Graph& graph = evaluator.model().graph;
  evaluator.set_tapped({});
  std::map<std::string, std::vector<double>> seconds;  // by node
  for (std::size_t round = 0; round <= repeat; ++round) {
    std::map<std::string, double> spent;
    for (const std::vector<Tensor>& sample : samples) {
      Clock::time_point last = Clock::now();
      const eval::Tap tap = [&](const std::string& value, const Tensor&) -> Status {
        const ValueId id = graph.find_value(value);
        const NodeId producer = id.valid() ? graph.value(id).producer : NodeId();
        if (producer.valid()) spent[graph.node(producer).name] += seconds_since(last);
        last = Clock::now();
        return {};
      };
      const std::vector<Datum> inputs(sample.begin(), sample.end());
      if (auto done = evaluator.run(inputs, &tap); !done) return Failure(std::move(done).error());
    }
    if (round == 0) continue;
    for (const auto& [node, time] : spent) seconds[node].push_back(time / static_cast<double>(samples.size()));
  }
  std::vector<report::BenchRow> rows;
  for (auto& [node, times] : seconds)
    rows.push_back({node, graph.node(graph.find_node(node)).op_type, *std::min_element(times.begin(), times.end())});
  std::stable_sort(rows.begin(), rows.end(), [](const auto& a, const auto& b) { return a.seconds > b.seconds; });
  return rows;
}

}  // namespace

Result<report::BenchRecord> bench(const BenchRequest& request) {
  BEVEL_TRY(const auto shapes, parse_shapes(request.shapes));
  BEVEL_TRY(const Bounds bounds, read_bounds(request.bounds));
  report::BenchRecord record;
  const Clock::time_point opening = Clock::now();
  BEVEL_TRY(const auto runnable, open_runnable(request.model, shapes, request.data ? Feeding::samples : Feeding::whole_tensors,
                                             bounds));
  record.load_seconds = seconds_since(opening);
  Samples source;
  if (request.data) {
    BEVEL_TRY(source, open_samples(*request.data, runnable->inputs(), request.max_samples, "data", bounds));
  } else {
    BEVEL_TRY(source, random_samples(runnable->inputs(), request.max_samples.value_or(1)));
  }
  record.samples = source.source;
  std::vector<std::vector<Tensor>> samples;
  for (std::size_t i = 0; i < source.dataset->size(); ++i) {
    BEVEL_TRY(auto sample, source.dataset->sample(i));
    samples.push_back(std::move(sample));
  }
  std::vector<double> times;
  for (std::size_t round = 0; round <= request.repeat; ++round) {
    const Clock::time_point start = Clock::now();
    for (const std::vector<Tensor>& sample : samples)
      if (auto done = runnable->run(sample); !done) return Failure(std::move(done).error());
    if (round > 0) times.push_back(seconds_since(start) / static_cast<double>(samples.size()));
  }
  std::sort(times.begin(), times.end());
  record.runs = times.size();
  record.minimum_seconds = times.front();
  record.median_seconds = times[times.size() / 2];
  if (!request.per_node) return record;
  if (runnable->evaluator() == nullptr)
    return fail(ExitCode::usage, "--nodes: a .bvl Program runs as a whole; give the ONNX model that it was made of.");
  BEVEL_TRY(record.nodes, time_nodes(*runnable->evaluator(), samples, request.repeat));
  return record;
}

}  // namespace bevel::driver
