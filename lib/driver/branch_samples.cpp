#include "lib/driver/branch_samples.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>


namespace bevel::driver {

namespace {

constexpr std::size_t kMostKept = std::size_t{64} << 20;  // bytes

std::size_t bytes_of(const std::vector<Tensor>& tensors) {
  std::size_t bytes = 0;
  for (const Tensor& tensor : tensors) bytes += tensor.bytes().size();
  return bytes;
}

class BranchSamples final : public data::Dataset {
 public:
  BranchSamples(const data::Dataset& samples, std::unique_ptr<eval::Evaluator> evaluator, std::string condition, bool taken_when,
                std::vector<std::string> wanted)
      : samples_(samples), evaluator_(std::move(evaluator)), condition_(std::move(condition)), taken_when_(taken_when), wanted_(std::move(wanted)) {}

  Status find() {
    std::size_t kept = 0;
    for (std::size_t i = 0; i < samples_.size(); ++i) {
      BEVEL_TRY(std::optional<std::vector<Tensor>> given, run(i));
      if (!given) continue;
      taken_.push_back({i, {}});
      kept += bytes_of(*given);
      if (kept <= kMostKept) taken_.back().kept = std::move(given);
    }
    return {};
  }

  [[nodiscard]] std::size_t size() const override { return taken_.size(); }
  [[nodiscard]] Result<std::vector<Tensor>> sample(std::size_t index) const override {
    if (taken_[index].kept) return *taken_[index].kept;
    BEVEL_TRY(std::optional<std::vector<Tensor>> given, run(taken_[index].sample));
    BEVEL_CHECK(given.has_value());
    return std::move(*given);
  }
  [[nodiscard]] std::string sample_name(std::size_t index) const override { return samples_.sample_name(taken_[index].sample); }
  [[nodiscard]] std::optional<std::int64_t> label(std::size_t) const override { return std::nullopt; }
  [[nodiscard]] bool has_labels() const override { return false; }
  [[nodiscard]] std::string metric() const override { return ""; }
  [[nodiscard]] std::string content_hash() const override { return samples_.content_hash(); }

 private:
  struct Taken {
    std::size_t sample = 0;
    std::optional<std::vector<Tensor>> kept;
  };

  // Absent where the sample takes the other branch.
  [[nodiscard]] Result<std::optional<std::vector<Tensor>>> run(std::size_t sample) const {
    BEVEL_TRY(const std::vector<Tensor> inputs, samples_.sample(sample));
    const Graph& graph = evaluator_->model().graph;
    std::map<std::string, Tensor> values;
    std::vector<Datum> data(inputs.begin(), inputs.end());
    const auto fed = data::inputs_needing_data(graph);
    for (std::size_t i = 0; i < fed.size() && i < inputs.size(); ++i) values.insert_or_assign(fed[i].name, inputs[i]);
    const eval::Tap tap = [&](const std::string& name, const Tensor& tensor) -> Status {
      values.insert_or_assign(name, tensor);
      return {};
    };
    auto outputs = evaluator_->run(data, &tap);
    if (!outputs) return located(samples_.sample_name(sample), std::move(outputs).error());
    const auto value_of = [&](const std::string& name) -> const Tensor* {
      if (const auto found = values.find(name); found != values.end()) return &found->second;
      const ValueId id = graph.find_value(name);
      return id.valid() && graph.value(id).constant ? &*graph.value(id).constant : nullptr;
    };
    const Tensor* condition = value_of(condition_);
    if (condition == nullptr || condition->size() != 1) return fail_input("the condition \"{}\" is no tensor of one element", printable(condition_));
    std::optional<std::vector<Tensor>> given;
    if ((condition->as_int64(0) != 0) != taken_when_) return given;
    given.emplace();
    for (const std::string& name : wanted_) {
      const Tensor* tensor = value_of(name);
      if (tensor == nullptr) return fail_input("\"{}\", which the branch reads, is no tensor", printable(name));
      given->push_back(*tensor);
    }
    return given;
  }

  const data::Dataset& samples_;
  std::unique_ptr<eval::Evaluator> evaluator_;
  std::string condition_;
  bool taken_when_;
  std::vector<std::string> wanted_;
  std::vector<Taken> taken_;
};

}  // namespace

Result<std::unique_ptr<data::Dataset>> branch_samples(const data::Dataset& samples, const Model& model, NodeId id, const passes::Body& branch,
                                                      const eval::EvalOptions& options) {
  const Node& node = model.graph.node(id);
  BEVEL_CHECK(passes::runs_at_most_once(node));
  if (node.inputs.empty() || !node.inputs[0].valid()) return fail_input("the condition is absent");
  eval::EvalOptions plain = options;
  plain.kernels = eval::Kernels::none;
  BEVEL_TRY(auto evaluator, eval::Evaluator::create(model, plain));
  const std::string condition = model.graph.value(node.inputs[0]).name;
  std::vector<std::string> wanted;
  for (const std::size_t capture : branch.captured) wanted.push_back(model.graph.value(node.captures[capture]).name);
  std::vector<std::string> tapped = wanted;
  tapped.push_back(condition);
  evaluator->set_tapped(std::move(tapped));
  auto found = std::make_unique<BranchSamples>(samples, std::move(evaluator), condition, branch.attribute == "then_branch", std::move(wanted));
  BEVEL_TRY_STATUS(found->find());
  return std::unique_ptr<data::Dataset>(std::move(found));
}

}  // namespace bevel::driver
