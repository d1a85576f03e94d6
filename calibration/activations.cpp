#include "calibration/activations.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include "lib/ops/evaluate.h"
#include "lib/ops/lowering.h"
#include "lib/support/check.h"

namespace bevel::calibration {
namespace {

// A DequantizeLinear with constant scale and zero point: its result is as good as what it reads, at a quarter of the bytes.
bool restores(const Graph& graph, NodeId id) {
  if (!id.valid() || ops::quant_node(graph.node(id)) != ops::QuantNode::dequantize) return false;
  const Node& node = graph.node(id);
  for (std::size_t i = 1; i < node.inputs.size(); ++i)
    if (node.inputs[i].valid() && graph.constant(node.inputs[i]) == nullptr) return false;
  return !node.inputs.empty() && node.inputs[0].valid() && !graph.value(node.inputs[0]).constant;
}

// Integers of other kinds are mostly shapes, which say more to those that read them when they are computed than when they are given.
bool may_keep(const Value& value) {
  if (!value.type.is_tensor()) return false;
  switch (value.type.dtype) {
    case DType::float32:
    case DType::float16:
    case DType::bfloat16:
    case DType::int8:
    case DType::uint8:
    case DType::int16:
    case DType::uint16: return true;
    default: return false;
  }
}

// Bytes of one sample, unknown extents counted as 1.
std::uint64_t bytes_of(const Type& type) {
  double bytes = static_cast<double>(dtype_bits(type.dtype)) / 8;
  for (const Dim& dim : type.shape.dims) bytes *= dim.known() ? static_cast<double>(dim.value) : 1;
  return bytes < 0x1p50 ? static_cast<std::uint64_t>(bytes) : std::uint64_t{1} << 50;
}

}  // namespace

Status finite_numbers(const std::string& name, const Tensor& tensor) {
  if (!tensor.defined() || tensor.dtype() == DType::string) return fail_input("value \"{}\" holds no numbers to measure", printable(name));
  std::vector<float> converted;
  if (tensor.dtype() != DType::float32) converted = tensor.as_floats();
  const std::span<const float> values = tensor.dtype() == DType::float32 ? tensor.values<float>() : converted;
  const auto bad = std::find_if(values.begin(), values.end(), [](float x) { return !std::isfinite(x); });
  if (bad == values.end()) return {};
  return fail_input("value \"{}\": element {} of {} is {}; calibration needs finite values", printable(name), bad - values.begin(),
                    values.size(), std::isnan(*bad) ? "NaN" : "infinite");
}

Result<std::unique_ptr<Asked>> Activations::ask(const Model& model, const std::vector<std::string>& values,
                                                const std::set<std::string>& twice) {
  std::unique_ptr<Asked> asked(new Asked(*this));
  for (const std::string& name : values)
    if (!model.graph.find_value(name).valid()) return fail_input("the model has no value \"{}\" to measure", printable(name));
  BEVEL_TRY(SteppedModel stepped, stepped_model(model, options_));
  asked->stepped_ = std::make_shared<const SteppedModel>(std::move(stepped));
  for (const std::string& name : values) {
    const ValueId id = asked->stepped_->model.graph.find_value(name);
    if (!id.valid()) return fail_input("the model has no value \"{}\" to measure once it is lifted to a newer opset", printable(name));
    asked->wanted_.push_back(id);
  }
  if (store_.cap() > 0) {
    tensors_.next_model();
    asked->hashes_ = value_hashes(*asked->stepped_, tensors_);
  }
  BEVEL_TRY_STATUS(asked->resolve());
  if (store_.cap() > 0) asked->choose_kept(twice);
  return asked;
}

Status Asked::resolve() {
  const Graph& graph = stepped_->model.graph;
  std::set<ValueId> needed;
  std::vector<ValueId> inner;
  const auto exists = [&](ValueId id) {
    return stepped_->maker[id.index] != SteppedModel::kNoStep ||
           std::find(stepped_->inputs.begin(), stepped_->inputs.end(), id) != stepped_->inputs.end();
  };
  for (std::size_t w = 0; w < wanted_.size(); ++w) {
    const ValueId id = wanted_[w];
    ValueId source = id;
    if (restores(graph, graph.value(id).producer) && exists(graph.node(graph.value(id).producer).inputs[0]))
      source = graph.node(graph.value(id).producer).inputs[0];
    sources_.push_back(source);
    if (graph.value(id).constant) continue;
    if (exists(source)) {
      needed.insert(source);
      wanted_of_[source].push_back(w);
    } else {
      within_.push_back(w);
      inner.push_back(id);
    }
  }
  if (!inner.empty()) {
    const Part part = part_within(*stepped_, inner);
    needed.insert(part.inputs.begin(), part.inputs.end());
    eval::EvalOptions options = activations_.options_;
    options.kernels = eval::Kernels::none;
    within_run_ = std::make_unique<Runner>();
    within_run_->inputs = part.inputs;
    BEVEL_TRY(within_run_->evaluator, eval::Evaluator::create(cut_model(*stepped_, part, inner), options));
    std::vector<std::string> names;
    for (const ValueId id : inner) names.push_back(graph.value(id).name);
    within_run_->evaluator->set_tapped(std::move(names));
  }
  needed_.assign(needed.begin(), needed.end());
  return {};
}

// Values between two parts of the model that nothing else connects are good places to start from again, small ones above all.
void Asked::choose_kept(const std::set<std::string>& twice) {
  const Graph& graph = stepped_->model.graph;
  std::set<std::string> met;
  const auto consider = [&](ValueId id, bool at_once) {
    if (!may_keep(graph.value(id)) || hashes_[id.index].empty()) return;
    met.insert(hashes_[id.index]);
    if (at_once || activations_.seen_.contains(hashes_[id.index])) kept_.insert(id);
  };
  std::set<ValueId> again;
  for (std::size_t w = 0; w < wanted_.size(); ++w)
    if (twice.contains(graph.value(wanted_[w]).name)) again.insert(sources_[w]);
  for (const ValueId id : needed_) consider(id, again.contains(id));

  std::vector<std::size_t> last(graph.value_capacity(), 0);
  for (std::size_t s = 0; s < stepped_->steps.size(); ++s)
    for (const ValueId id : stepped_->steps[s].reads) last[id.index] = s;
  for (const ValueId id : graph.outputs()) last[id.index] = stepped_->steps.size();
  std::set<ValueId> live(stepped_->inputs.begin(), stepped_->inputs.end());
  std::vector<std::pair<std::uint64_t, ValueId>> places;
  for (std::size_t s = 0; s < stepped_->steps.size(); ++s) {
    const RunStep& step = stepped_->steps[s];
    for (const ValueId id : step.makes)
      if (last[id.index] > s) live.insert(id);
    for (const ValueId id : step.reads)
      if (last[id.index] <= s) live.erase(id);
    if (live.size() != 1) continue;
    const ValueId id = *live.begin();
    if (may_keep(graph.value(id)) && (places.empty() || places.back().second != id)) places.emplace_back(bytes_of(graph.value(id).type), id);
  }
  std::sort(places.begin(), places.end());
  // A quarter of the room at most; the rest is for what was asked for.
  std::uint64_t room = activations_.store_.cap() / 4 / std::max<std::size_t>(1, activations_.dataset_.size());
  for (const auto& [bytes, id] : places) {
    if (bytes > room) break;
    room -= bytes;
    consider(id, false);
  }
  constexpr std::size_t kMostSeen = 1 << 20;
  if (activations_.seen_.size() > kMostSeen) activations_.seen_.clear();
  activations_.seen_.merge(met);
}

Result<std::shared_ptr<const Asked::Runner>> Asked::runner(const std::vector<bool>& known) {
  const std::scoped_lock lock(mutex_);
  if (const auto found = runners_.find(known); found != runners_.end()) return found->second;
  const Graph& graph = stepped_->model.graph;
  auto fresh = std::make_shared<Runner>();
  const Part part = part_between(*stepped_, known, needed_);
  fresh->inputs = part.inputs;
  if (!part.nodes.empty()) {
    eval::EvalOptions options = activations_.options_;
    options.kernels = stepped_->kernels;
    // What is kept on the way is looked at, too.
    std::set<ValueId> looked_at(needed_.begin(), needed_.end());
    looked_at.insert(kept_.begin(), kept_.end());
    const std::vector<ValueId> wanted(looked_at.begin(), looked_at.end());
    BEVEL_TRY(fresh->evaluator, eval::Evaluator::create(cut_model(*stepped_, part, wanted), options));
    std::vector<std::string> names;
    for (const ValueId id : wanted) names.push_back(graph.value(id).name);
    fresh->evaluator->set_tapped(std::move(names));
  }
  runners_.emplace(known, fresh);
  return std::shared_ptr<const Runner>(std::move(fresh));
}

// What a runner starts from: what was read, and the sample.
Result<std::vector<Datum>> Asked::inputs_for(const Runner& runner, std::size_t sample, std::map<ValueId, Tensor>& read) {
  const bool fed = std::any_of(runner.inputs.begin(), runner.inputs.end(), [&](ValueId id) { return !read.contains(id); });
  if (fed) {
    BEVEL_TRY(std::vector<Tensor> tensors, activations_.dataset_.sample(sample));
    BEVEL_CHECK(tensors.size() == stepped_->inputs.size());
    // Every input is checked, measured or not: a NaN in the data is the data's fault, whatever the model makes of it.
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      BEVEL_TRY_STATUS(finite_numbers(stepped_->model.graph.value(stepped_->inputs[i]).name, tensors[i]));
      read.insert_or_assign(stepped_->inputs[i], std::move(tensors[i]));
    }
  }
  std::vector<Datum> inputs;
  for (const ValueId id : runner.inputs) {
    BEVEL_CHECK(read.contains(id));
    inputs.emplace_back(read.at(id));
  }
  return inputs;
}

Status Asked::run(std::size_t sample, const Visit& visit) {
  const Graph& graph = stepped_->model.graph;
  ActivationStore& store = activations_.store_;
  // Read what is kept of what the run starts from; what another worker's values have taken the place of meanwhile is computed.
  std::vector<bool> known(graph.value_capacity(), false);
  if (store.cap() > 0) {
    for (std::size_t v = 0; v < known.size(); ++v) known[v] = !hashes_[v].empty() && store.holds(key(ValueId(v), sample));
  }
  std::map<ValueId, Tensor> read;
  std::shared_ptr<const Runner> runner;
  for (bool complete = false; !complete;) {
    // Only what the run meets: so many samples share a runner.
    const Part part = part_between(*stepped_, known, needed_);
    std::vector<bool> met(known.size(), false);
    complete = true;
    for (const ValueId id : part.inputs) {
      if (!known[id.index]) continue;
      if (!read.contains(id)) {
        auto tensor = store.read(key(id, sample));
        if (!tensor) {
          known[id.index] = complete = false;
          continue;
        }
        read.emplace(id, std::move(*tensor));
      }
      met[id.index] = true;
    }
    if (complete) {
      BEVEL_TRY(runner, this->runner(met));
    }
  }

  std::optional<std::pair<std::pair<std::size_t, std::uint32_t>, Diagnostic>> failure;
  const auto visited = [&](std::size_t wanted, const Tensor& tensor) {
    Status status = visit(wanted, tensor);
    if (status) return;
    // Inputs come first, then what steps make, in the order of a run.
    const ValueId id = sources_[wanted];
    const std::size_t maker = stepped_->maker[id.index];
    const std::pair<std::size_t, std::uint32_t> order{maker == SteppedModel::kNoStep && graph.value(id).producer.valid()
                                                          ? stepped_->home[graph.value(id).producer.index] + 1
                                                          : maker + 1,
                                                      id.index};
    if (!failure || order < failure->first) failure.emplace(order, std::move(status).error());
  };
  std::map<ValueId, Tensor> borders;  // of what lies within groups
  const auto arrived = [&](ValueId id, const Tensor& tensor) -> Status {
    if (kept_.contains(id)) store.keep(key(id, sample), tensor);
    if (within_run_ && std::find(within_run_->inputs.begin(), within_run_->inputs.end(), id) != within_run_->inputs.end())
      borders.insert_or_assign(id, tensor);
    const auto wanted = wanted_of_.find(id);
    if (wanted == wanted_of_.end()) return {};
    for (const std::size_t w : wanted->second) {
      if (wanted_[w] == id) {
        visited(w, tensor);
        continue;
      }
      const Node& node = graph.node(graph.value(wanted_[w]).producer);
      std::vector<Datum> operands = {Datum(tensor)};
      for (std::size_t i = 1; i < node.inputs.size(); ++i)
        operands.push_back(node.inputs[i].valid() ? Datum(*graph.constant(node.inputs[i])) : Datum());
      BEVEL_TRY(const auto restored, ops::evaluate_node(node, stepped_->model.opset(node.domain), operands, std::uint64_t{1} << 40));
      visited(w, *restored.at(0).tensor());
    }
    return {};
  };
  BEVEL_TRY(const std::vector<Datum> inputs, inputs_for(*runner, sample, read));
  for (const ValueId id : runner->inputs) {
    if (std::binary_search(needed_.begin(), needed_.end(), id) || kept_.contains(id)) BEVEL_TRY_STATUS(arrived(id, read.at(id)));
  }
  read.clear();
  if (runner->evaluator) {
    const eval::Tap tap = [&](const std::string& name, const Tensor& tensor) -> Status { return arrived(graph.find_value(name), tensor); };
    auto outputs = runner->evaluator->run(inputs, &tap);
    if (!outputs) return Failure(std::move(outputs).error());
  }
  if (within_run_) {
    std::vector<Datum> within_inputs;
    for (const ValueId id : within_run_->inputs) {
      const auto found = borders.find(id);
      within_inputs.emplace_back(found == borders.end() ? Datum() : Datum(found->second));
    }
    const eval::Tap tap = [&](const std::string& name, const Tensor& tensor) -> Status {
      for (const std::size_t w : within_)
        if (graph.value(wanted_[w]).name == name) visited(w, tensor);
      return {};
    };
    auto outputs = within_run_->evaluator->run(within_inputs, &tap);
    if (!outputs) return Failure(std::move(outputs).error());
  }
  if (failure) return Failure(std::move(failure->second));
  return {};
}

}  // namespace bevel::calibration
