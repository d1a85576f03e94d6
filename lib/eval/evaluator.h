// Runs any graph on the host: float models through the families' reference evaluation, groups that lower through the
// runtime's kernels (when the model is quantized), so that the evaluator and the device compute the same integers.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lib/ir/datum.h"
#include "lib/ir/graph.h"
#include "lib/support/result.h"

namespace bevel::eval {

// Trips of loops (Loop, Scan, SequenceMap) and branches of If, all of one run together: a loop may be told to run 2^63 times.
constexpr std::uint64_t kMaxSubgraphRuns = 10'000'000;

// Which groups run the runtime's kernels; the rest is reference evaluation.
enum class Kernels {
  automatic,  // all that lower, as on the device, where the graph has integer groups; else none
  none,
  integer,    // those that compute with integers alone: what is in float is as it is in the float model, and as fast
  all,
};

struct EvalOptions {
  Kernels kernels = Kernels::automatic;
  std::uint64_t max_memory_bytes = 0;  // cap on live tensor bytes; 0: 80 % of the machine's memory
  std::uint64_t max_subgraph_runs = kMaxSubgraphRuns;
};

// Called with each computed value as soon as it exists (logical order), and for inputs and initializers never.
// `value` is the name of the value. Return an error to stop.
using Tap = std::function<Status(const std::string& value, const Tensor& tensor)>;

class Evaluator {
 public:
  // Prepares a copy of the model: upgrade to the base opset, type inference, grouping. Errors name the node; an op without
  // evaluation is an error here (exit 5: "cannot be evaluated").
  static Result<std::unique_ptr<Evaluator>> create(const Model& model, const EvalOptions& options = {});
  virtual ~Evaluator() = default;
  // Inputs in the order of the graph's inputs that need data (data::inputs_needing_data), or one for each of the graph's inputs:
  // those that are initializers too then replace these, where given. Outputs in graph order. Thread-safe: one evaluator serves many
  // threads.
  [[nodiscard]] virtual Result<std::vector<Datum>> run(std::span<const Datum> inputs, const Tap* tap = nullptr) const = 0;
  // Values that a tap wants; empty means all. Others may be skipped or freed early.
  virtual void set_tapped(std::vector<std::string> names) = 0;
  [[nodiscard]] virtual const Model& model() const = 0;  // as prepared
};

// First node that cannot be evaluated ("node 'x' (Foo): reason"), if any.
std::optional<std::string> cannot_evaluate(const Model& model);

// A validated .bvl file or Program bytes, run by the C runtime. Takes and gives the model's own dtypes and logical layout
// (uint8 for uint8 models; float when the Program's I/O is float); run_raw the device's integers.
class ProgramRunner {
 public:
  static Result<std::unique_ptr<ProgramRunner>> open(std::vector<std::byte> bytes, const std::string& name);
  virtual ~ProgramRunner() = default;
  struct Port {
    std::string name;
    DType dtype = DType::undefined;        // on the device
    DType model_dtype = DType::undefined;  // in the model
    Dims dims;                             // logical
    float scale = 0;                       // 0: not quantized
    std::int32_t zero_point = 0;           // device domain
  };
  [[nodiscard]] virtual const std::vector<Port>& inputs() const = 0;
  [[nodiscard]] virtual const std::vector<Port>& outputs() const = 0;
  // Float inputs are quantized for quantized ports as QuantizeLinear does; quantized outputs are dequantized.
  // run_raw takes either dtype per input (the device's as they stand) and gives the device's.
  [[nodiscard]] virtual Result<std::vector<Tensor>> run(std::span<const Tensor> inputs) const = 0;
  [[nodiscard]] virtual Result<std::vector<Tensor>> run_raw(std::span<const Tensor> inputs) const = 0;
};

}  // namespace bevel::eval
