// The evaluator: a schedule of steps over a frame of held values. A step is a node, run by its family's reference
// evaluation, or a group of the plan's grouping, run by the runtime's kernels where it lowers and by reference otherwise.
#include "lib/eval/evaluator.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "lib/eval/group_kernels.h"
#include "lib/eval/held_value.h"
#include "lib/eval/schedule.h"
#include "lib/ops/evaluate.h"
#include "lib/ops/op.h"
#include "lib/ops/out_of_memory.h"
#include "lib/ops/subgraphs.h"
#include "lib/plan/grouping.h"

namespace bevel::eval {
namespace {

const Datum kAbsent;

std::string node_place(const Node& node) {
  return fmt::format("node '{}' ({})", printable(node.name), printable(node.op_type));
}

std::uint64_t default_memory_cap() {
  const long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
  if (pages <= 0 || page <= 0) return std::uint64_t{4} << 30;
  return static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(page) / 5 * 4;
}

std::optional<std::string> why_not(const Node& node) {
  const ops::OpRecord* record = ops::find_op(node);
  if (!record || !record->evaluate) {
    const std::string domain = node.domain.empty() ? "" : fmt::format(" of domain '{}'", printable(node.domain));
    return fmt::format("{}: cannot be evaluated: {} the operator '{}'{}", node_place(node),
                       record ? "there is no reference evaluation of" : "Bevel does not know", printable(node.op_type),
                       domain);
  }
  if (const Status operands = ops::check_operands(*record, node); !operands) {
    return fmt::format("{}: {}", node_place(node), operands.error().message);
  }
  return std::nullopt;
}

std::optional<std::string> first_obstacle(const Graph& graph) {
  for (NodeId id : graph.node_order()) {
    const Node& node = graph.node(id);
    if (auto reason = why_not(node)) return reason;
    std::optional<std::string> inner;
    ops::for_each_subgraph(node, [&](const GraphPtr& subgraph) {
      if (!inner) inner = first_obstacle(*subgraph);
    });
    if (inner) return fmt::format("in {}: {}", node_place(node), *inner);
  }
  return std::nullopt;
}

// What is kept between runs, of one evaluator: operands that operators rearranged, and for each thread blocks of dropped tensors. Larger
// models have their weights rearranged for each run.
constexpr std::uint64_t kMostKept = std::uint64_t{64} << 20;
constexpr std::size_t kMostPooled = std::size_t{256} << 20;

std::string opset_obstacle(const Model& model) {
  return fmt::format("the model uses opset {}; Bevel evaluates opsets {} to {}", model.opset(), ops::kOldestOpset,
                     ops::kNewestOpset);
}

// Bytes that all runs of one evaluator hold at present, against its cap.
class MemoryMeter {
 public:
  explicit MemoryMeter(std::uint64_t cap) : cap_(cap) {}
  [[nodiscard]] Status admit(std::uint64_t bytes) const {
    const std::uint64_t live = live_.load(std::memory_order_relaxed);
    if (live > cap_ || bytes > cap_ - live) {
      return fail_input("an output of {} bytes does not fit: {} bytes of tensors are alive, and the memory cap is {} bytes",
                        bytes, live, cap_);
    }
    return {};
  }
  [[nodiscard]] std::uint64_t cap() const { return cap_; }
  void add(std::uint64_t bytes) { live_.fetch_add(bytes, std::memory_order_relaxed); }
  void remove(std::uint64_t bytes) { live_.fetch_sub(bytes, std::memory_order_relaxed); }

 private:
  std::uint64_t cap_;
  std::atomic<std::uint64_t> live_{0};
};

// The values of one graph during one run.
class Frame {
 public:
  Frame(const Graph& graph, const Schedule& schedule, MemoryMeter& meter)
      : graph_(graph), schedule_(schedule), meter_(meter), held_(graph.value_capacity()), bytes_(graph.value_capacity()) {}
  ~Frame() { meter_.remove(total_); }
  Frame(const Frame&) = delete;
  Frame& operator=(const Frame&) = delete;

  [[nodiscard]] const Graph& graph() const { return graph_; }
  [[nodiscard]] bool holds(ValueId id) const { return held_[id.index].datum.present(); }
  void store(ValueId id, HeldValue value) {
    // Noted at this time: a shared tensor may grow later by an aligned copy of its mapped bytes.
    const std::uint64_t bytes = value.heap_bytes();
    store(id, std::move(value), bytes);
  }
  // A value that an enclosing frame holds and counts.
  void borrow(ValueId id, Datum datum) { store(id, std::move(datum), 0); }
  void release(ValueId id) { store(id, {}, 0); }
  // The value's tensor, where the frame alone holds it, in logical order; undefined otherwise. It counts until it is released.
  Tensor take(ValueId id) {
    HeldValue& value = held_[id.index];
    auto* tensor = std::get_if<Tensor>(&value.datum.value);
    if (tensor == nullptr || value.order || !tensor->owns_bytes()) return {};
    Tensor taken = std::move(*tensor);
    value = {};
    return taken;
  }
  // A constant of the model, which no input replaces.
  [[nodiscard]] bool is_constant(ValueId id) const { return !holds(id) && schedule_.constants[id.index].present(); }
  // As it lies in memory; kernels take it so.
  [[nodiscard]] HeldValue held(ValueId id) const {
    if (!id.valid()) return {};
    const HeldValue& value = held_[id.index];
    return value.datum.present() ? value : HeldValue(schedule_.constants[id.index]);
  }
  // Logical order; converts in place on the first request.
  const Datum& datum(ValueId id) {
    if (!id.valid()) return kAbsent;
    HeldValue& value = held_[id.index];
    if (!value.datum.present()) return schedule_.constants[id.index];
    if (value.order) store(id, HeldValue(value.logical()));
    return value.datum;
  }

 private:
  void store(ValueId id, HeldValue value, std::uint64_t bytes) {
    meter_.add(bytes);
    meter_.remove(bytes_[id.index]);
    total_ += bytes - bytes_[id.index];
    bytes_[id.index] = bytes;
    held_[id.index] = std::move(value);
  }

  const Graph& graph_;
  const Schedule& schedule_;
  MemoryMeter& meter_;
  std::vector<HeldValue> held_;
  std::vector<std::uint64_t> bytes_;  // of each held value when it was stored
  std::uint64_t total_ = 0;
};

class GraphEvaluator;

// One call of run(), down into all subgraphs.
struct Run {
  const Tap* tap = nullptr;  // of the main graph
  std::uint64_t subgraph_runs = 0;
};

class NodeContext final : public ops::EvalContext {
 public:
  // `map`: what may be done to the result ahead; `step`: the node's own, nullptr where other nodes share it.
  NodeContext(const GraphEvaluator& evaluator, Frame& frame, const Node& node, Run& run, const ops::ElementMap* map, const Step* step)
      : evaluator_(evaluator), frame_(frame), node_(node), run_(run), map_(map), step_(step) {
    inputs_.reserve(node.inputs.size());
    for (ValueId id : node.inputs) inputs_.push_back(&frame.datum(id));
  }
  const Node& node() const override { return node_; }
  std::int64_t opset() const override;
  std::size_t input_count() const override { return inputs_.size(); }
  bool has_input(std::size_t i) const override { return i < inputs_.size() && inputs_[i]->present(); }
  const Datum& input(std::size_t i) const override { return i < inputs_.size() ? *inputs_[i] : kAbsent; }
  const Tensor& tensor(std::size_t i) const override {
    BEVEL_CHECK(i < inputs_.size() && inputs_[i]->tensor());
    return *inputs_[i]->tensor();
  }
  Status reserve(DType dtype, std::span<const std::int64_t> dims) const override;
  Result<std::vector<Datum>> run_subgraph(const Graph& subgraph, std::size_t first_capture,
                                          std::span<const Datum> inputs) const override;
  Tensor take(std::size_t i) const override;
  std::shared_ptr<const ops::Kept> keep(std::size_t i,
                                        const std::function<std::shared_ptr<const ops::Kept>()>& make) const override;
  const ops::ElementMap* claim_map() const override {
    claimed_ = map_ != nullptr;
    return map_;
  }
  [[nodiscard]] bool claimed() const { return claimed_; }

 private:
  const GraphEvaluator& evaluator_;
  Frame& frame_;
  const Node& node_;
  Run& run_;
  const ops::ElementMap* map_;
  const Step* step_;
  mutable bool claimed_ = false;
  std::vector<const Datum*> inputs_;
};

class GraphEvaluator final : public Evaluator {
 public:
  GraphEvaluator(Model model, const EvalOptions& options)
      : model_(std::move(model)),
        meter_(options.max_memory_bytes ? options.max_memory_bytes : default_memory_cap()),
        max_subgraph_runs_(options.max_subgraph_runs) {
    opset_ = model_.opset();
    schedule_all(model_.graph);
    if (options.kernels == Kernels::none) return;
    grouping_ = plan::group_graph(model_);
    const bool integer = std::any_of(grouping_.groups.begin(), grouping_.groups.end(),
                                     [](const plan::Group& group) { return group.integer; });
    if (options.kernels != Kernels::all && !integer) return;
    kernels_ = std::make_unique<GroupKernels>(model_, grouping_);
    schedules_[&model_.graph] = schedule_groups(model_, grouping_, options.kernels == Kernels::integer);
  }

  Result<std::vector<Datum>> run(std::span<const Datum> inputs, const Tap* tap) const override {
    const Schedule& schedule = schedules_.at(&model_.graph);
    const std::vector<ValueId>& all = model_.graph.inputs();
    const std::vector<ValueId>& ids = inputs.size() == all.size() ? all : schedule.fed_inputs;
    BEVEL_TRY_STATUS(check_inputs(ids, inputs));
    Run this_run{tap};
    const Blocks blocks(*this);
    return ops::or_out_of_memory([&] { return run_graph(model_.graph, schedule, ids, inputs, {}, this_run); });
  }

  void set_tapped(std::vector<std::string> names) override { tapped_ = {names.begin(), names.end()}; }
  const Model& model() const override { return model_; }
  std::int64_t opset() const { return opset_; }

  Status admit(std::uint64_t bytes) const {
    if (Status fits = meter_.admit(bytes)) return fits;
    forget_kept();
    return meter_.admit(bytes);
  }

  std::shared_ptr<const ops::Kept> keep(const Node& node, const std::function<std::shared_ptr<const ops::Kept>()>& make) const {
    {
      const std::lock_guard lock(kept_mutex_);
      if (const auto found = kept_.find(&node); found != kept_.end()) return found->second;
    }
    auto made = make();
    const std::uint64_t bytes = made->heap_bytes();
    const std::lock_guard lock(kept_mutex_);
    constexpr std::uint64_t kShareOfCap = 8;
    if (bytes > std::min(kMostKept, meter_.cap() / kShareOfCap) - kept_bytes_ || !meter_.admit(bytes)) return made;
    const auto [place, added] = kept_.emplace(&node, made);
    if (added) {
      kept_bytes_ += bytes;
      meter_.add(bytes);
    }
    return place->second;
  }

  Result<std::vector<Datum>> run_subgraph(const Graph& subgraph, std::span<const Datum> inputs, std::span<const Datum> captures,
                                          Run& run) const {
    const auto found = schedules_.find(&subgraph);
    BEVEL_CHECK(found != schedules_.end());
    if (inputs.size() != subgraph.inputs().size() || captures.size() != subgraph.captures().size()) {
      return fail_input("subgraph '{}' takes {} inputs and {} captured values, but was given {} and {}",
                        printable(subgraph.name), subgraph.inputs().size(), subgraph.captures().size(), inputs.size(),
                        captures.size());
    }
    if (++run.subgraph_runs > max_subgraph_runs_) {
      return fail_input("the loops and branches of the model have run {} subgraphs, which is the limit for one run of it",
                        max_subgraph_runs_);
    }
    return run_graph(subgraph, found->second, subgraph.inputs(), inputs, captures, run);
  }

 private:
  // Blocks of memory for one run, from an earlier one that is over.
  class Blocks {
   public:
    explicit Blocks(const GraphEvaluator& evaluator) : evaluator_(evaluator), pool_(evaluator.idle_pool()), use_(*pool_) {}
    ~Blocks() {
      const std::lock_guard lock(evaluator_.kept_mutex_);
      evaluator_.pools_.push_back(std::move(pool_));
    }
    Blocks(const Blocks&) = delete;
    Blocks& operator=(const Blocks&) = delete;

   private:
    const GraphEvaluator& evaluator_;
    std::unique_ptr<BlockPool> pool_;
    BlockPool::Use use_;
  };

  std::unique_ptr<BlockPool> idle_pool() const {
    const std::lock_guard lock(kept_mutex_);
    if (pools_.empty()) return std::make_unique<BlockPool>(kMostPooled);
    auto pool = std::move(pools_.back());
    pools_.pop_back();
    return pool;
  }

  void forget_kept() const {
    const std::lock_guard lock(kept_mutex_);
    kept_.clear();
    meter_.remove(kept_bytes_);
    kept_bytes_ = 0;
  }

  void schedule_all(const Graph& graph) {
    schedules_.emplace(&graph, schedule_nodes(model_, graph));
    for (NodeId id : graph.node_order()) {
      ops::for_each_subgraph(graph.node(id), [this](const GraphPtr& subgraph) { schedule_all(*subgraph); });
    }
  }

  Status check_inputs(const std::vector<ValueId>& ids, std::span<const Datum> inputs) const {
    if (inputs.size() != ids.size()) {
      return fail_input("the model needs {} inputs, but {} were given", ids.size(), inputs.size());
    }
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const Value& value = model_.graph.value(ids[i]);
      const Tensor* tensor = inputs[i].tensor();
      if (!tensor || !value.type.is_tensor()) continue;
      const Shape& shape = value.type.shape;
      bool matches = value.type.dtype == DType::undefined || tensor->dtype() == value.type.dtype;
      if (shape.has_rank) {
        matches = matches && shape.rank() == tensor->rank();
        for (std::size_t a = 0; matches && a < shape.rank(); ++a) {
          matches = !shape.dims[a].known() || shape.dims[a].value == tensor->dim(a);
        }
      }
      if (!matches) {
        return fail_input("input '{}': expected {}, was given {}", printable(value.name), to_string(value.type),
                          to_string(Type::tensor(tensor->dtype(), tensor->dims())));
      }
    }
    return {};
  }

  // `ids` are the graph's inputs that `inputs` are for.
  Result<std::vector<Datum>> run_graph(const Graph& graph, const Schedule& schedule, const std::vector<ValueId>& ids,
                                       std::span<const Datum> inputs, std::span<const Datum> captures, Run& run) const {
    Frame frame(graph, schedule, meter_);
    for (std::size_t i = 0; i < inputs.size(); ++i) frame.store(ids[i], inputs[i]);
    for (std::size_t i = 0; i < captures.size(); ++i) frame.borrow(graph.captures()[i], captures[i]);
    for (const Step& step : schedule.steps) {
      const Tap* tap = &graph == &model_.graph ? run.tap : nullptr;
      BEVEL_TRY(const bool done, run_kernels(frame, step, tap));
      for (NodeId id : step.nodes) {
        if (done || (step.group >= 0 && already_computed(frame, id))) continue;
        if (step.mapped_ahead.valid() && frame.holds(step.mapped_ahead)) continue;
        BEVEL_TRY_STATUS(run_node(frame, step, id, tap, run));
      }
      for (ValueId id : step.last_reads) frame.release(id);
    }
    std::vector<Datum> outputs;
    for (ValueId id : graph.outputs()) outputs.push_back(frame.datum(id));
    return outputs;
  }

  // A node that groups share may have run for an earlier one.
  static bool already_computed(const Frame& frame, NodeId id) {
    const Node& node = frame.graph().node(id);
    return std::any_of(node.outputs.begin(), node.outputs.end(),
                       [&frame](ValueId output) { return output.valid() && frame.holds(output); });
  }

  // False: the step has no kernel, and its nodes are to be evaluated by reference.
  Result<bool> run_kernels(Frame& frame, const Step& step, const Tap* tap) const {
    if (step.group < 0) return false;
    const plan::Group& group = grouping_.groups[static_cast<std::size_t>(step.group)];
    std::vector<HeldValue> inputs;
    for (const plan::GroupEdge& edge : group.inputs) {
      inputs.push_back(frame.held(edge.border));
      if (edge.border.valid() && !inputs.back().datum.tensor()) return false;
    }
    auto results = ops::or_out_of_memory([&] {
      return kernels_->run(static_cast<std::size_t>(step.group), inputs, [this](std::uint64_t bytes) { return admit(bytes); });
    });
    const std::string place = node_place(frame.graph().node(group.anchor));
    if (!results) return located(place, std::move(results).error());
    if (!*results) return false;
    for (std::size_t i = 0; i < group.outputs.size(); ++i) {
      const ValueId border = group.outputs[i].border;
      if (!border.valid()) continue;
      BEVEL_CHECK(i < (*results)->size());
      frame.store(border, std::move((**results)[i]));
      if (tap && wants(frame.graph().value(border).name)) {
        if (const Tensor* tensor = frame.datum(border).tensor()) {
          BEVEL_TRY_STATUS((*tap)(frame.graph().value(border).name, *tensor));
        }
      }
    }
    return true;
  }

  [[nodiscard]] bool wants(const std::string& name) const { return tapped_.empty() || tapped_.contains(name); }

  // What a step may do to its result ahead: none where a tap wants to see a value on the way.
  const Step::Map* map_of(const Graph& graph, const Step& step, const Tap* tap) const {
    if (!step.map) return nullptr;
    const Step::Map& map = *step.map;
    if (tap == nullptr) return &map;
    if (wants(graph.value(map.does.input).name)) return nullptr;
    for (std::size_t i = 0; i + 1 < map.nodes.size(); ++i)
      if (wants(graph.value(graph.node(map.nodes[i]).outputs[0]).name)) return nullptr;
    return &map;
  }

  Status run_node(Frame& frame, const Step& step, NodeId id, const Tap* tap, Run& run) const {
    const Node& node = frame.graph().node(id);
    const ops::OpRecord* record = ops::find_op(node);
    BEVEL_CHECK(record && record->evaluate);
    const Step::Map* map = map_of(frame.graph(), step, tap);
    const NodeContext context(*this, frame, node, run, map != nullptr ? &map->does : nullptr, step.nodes.size() == 1 ? &step : nullptr);
    for (std::size_t i = 0; i < node.inputs.size(); ++i) {
      const Datum& datum = context.input(i);
      const bool required = static_cast<int>(i) < record->min_inputs;
      if (record->any_kind || (datum.present() ? datum.tensor() != nullptr : !required)) continue;
      return fail_input("{}: input {} is {}, but a tensor is expected", node_place(node), i,
                        datum.present() ? "a sequence" : "absent");
    }
    ops::Outputs results = ops::or_out_of_memory([&] { return record->evaluate(context); });
    if (!results) return located(node_place(node), std::move(results).error());
    const std::vector<ValueId>& outputs = context.claimed() ? frame.graph().node(map->nodes.back()).outputs : node.outputs;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const ValueId output = outputs[i];
      if (!output.valid()) continue;
      const Value& value = frame.graph().value(output);
      if (i >= results->size()) {
        if (!value.has_uses()) continue;
        return fail_input("{}: output {} ('{}') is used, but evaluation does not give it", node_place(node), i,
                          printable(value.name));
      }
      if (tap && wants(value.name)) {
        if (const Tensor* tensor = (*results)[i].tensor()) BEVEL_TRY_STATUS((*tap)(value.name, *tensor));
      }
      frame.store(output, std::move((*results)[i]));
    }
    return {};
  }

  Model model_;
  std::int64_t opset_ = 0;
  mutable MemoryMeter meter_;
  std::uint64_t max_subgraph_runs_;
  plan::Grouping grouping_;                // of the top graph, when kernels are in use
  std::unique_ptr<GroupKernels> kernels_;  // refers to model_ and grouping_
  std::unordered_map<const Graph*, Schedule> schedules_;  // looked up, never walked
  std::unordered_set<std::string> tapped_;
  mutable std::mutex kept_mutex_;  // of all below
  mutable std::unordered_map<const Node*, std::shared_ptr<const ops::Kept>> kept_;  // looked up, never walked
  mutable std::uint64_t kept_bytes_ = 0;
  mutable std::vector<std::unique_ptr<BlockPool>> pools_;
};

std::int64_t NodeContext::opset() const { return evaluator_.opset(); }

Status NodeContext::reserve(DType dtype, std::span<const std::int64_t> dims) const {
  const std::optional<std::uint64_t> bytes = ops::element_bytes(dtype, dims);
  if (!bytes) return fail_input("an output has a negative dimension, or more elements than 2^63 bytes can hold");
  return evaluator_.admit(*bytes);
}

Tensor NodeContext::take(std::size_t i) const {
  if (step_ == nullptr || i >= node_.inputs.size()) return {};
  const ValueId id = node_.inputs[i];
  const auto reads = std::count(node_.inputs.begin(), node_.inputs.end(), id) +
                     std::count(node_.captures.begin(), node_.captures.end(), id);
  if (!id.valid() || reads != 1) return {};
  if (std::find(step_->last_reads.begin(), step_->last_reads.end(), id) == step_->last_reads.end()) return {};
  return frame_.take(id);
}

std::shared_ptr<const ops::Kept> NodeContext::keep(std::size_t i,
                                                   const std::function<std::shared_ptr<const ops::Kept>()>& make) const {
  if (i >= node_.inputs.size() || !node_.inputs[i].valid() || !frame_.is_constant(node_.inputs[i])) return make();
  return evaluator_.keep(node_, make);
}

Result<std::vector<Datum>> NodeContext::run_subgraph(const Graph& subgraph, std::size_t first_capture,
                                                     std::span<const Datum> inputs) const {
  std::vector<Datum> captures;
  BEVEL_CHECK(first_capture + subgraph.captures().size() <= node_.captures.size());
  for (std::size_t i = 0; i < subgraph.captures().size(); ++i) {
    captures.push_back(frame_.datum(node_.captures[first_capture + i]));
  }
  return evaluator_.run_subgraph(subgraph, inputs, captures, run_);
}

}  // namespace

Result<std::unique_ptr<Evaluator>> Evaluator::create(const Model& model, const EvalOptions& options) {
  Model prepared = model;
  BEVEL_TRY(const bool known_opset, ops::upgrade_to_base(prepared));
  if (!known_opset) return fail_input("{}", opset_obstacle(prepared));
  if (auto obstacle = first_obstacle(prepared.graph)) return fail_input("{}", *obstacle);
  BEVEL_TRY_STATUS(ops::infer_types(prepared));
  return std::unique_ptr<Evaluator>(new GraphEvaluator(std::move(prepared), options));
}

std::optional<std::string> cannot_evaluate(const Model& model) {
  Model prepared = model;
  const Result<bool> known_opset = ops::upgrade_to_base(prepared);
  if (!known_opset) return known_opset.error().message;
  if (!*known_opset) return opset_obstacle(prepared);
  return first_obstacle(prepared.graph);
}

}  // namespace bevel::eval
