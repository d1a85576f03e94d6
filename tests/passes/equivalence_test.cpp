// Simplifying keeps what a model computes and its interface. On the shared models (BEVEL_SHARED, default ../shared; skipped
// when absent) and on random small models: outputs before and after agree on random inputs, names and types of inputs and
// outputs stay, the result verifies, and what the passes promise to remove is gone.
#include <catch2/catch.hpp>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <map>
#include <set>

#include "lib/eval/evaluator.h"
#include "lib/ir/text.h"
#include "lib/ir/verify.h"
#include "lib/onnx/onnx.h"
#include "lib/ops/op.h"
#include "lib/support/random.h"
#include "passes/pass.h"

using namespace bevel;

namespace {

// Folding rounds each weight once more and changes the order of a few additions: relative to the output's largest value.
constexpr double kTolerance = 2e-5;

std::filesystem::path shared_models() {
  const char* given = std::getenv("BEVEL_SHARED");
  return std::filesystem::path(given != nullptr ? given : BEVEL_SOURCE_DIR "/../shared") / "models";
}

template <typename T>
T require(Result<T> result) {
  INFO((result ? "" : result.error().message));
  REQUIRE(result.has_value());
  return std::move(*result);
}

void require_ok(const Status& status) {
  INFO((status ? "" : status.error().message));
  REQUIRE(status.has_value());
}

// Random tensors for the inputs without initializer. An unknown first dimension is `batch`, others kFreeExtent: long enough for the
// pooling of a dynamically shaped image, short enough for a sentence.
constexpr std::int64_t kFreeExtent = 48;
std::vector<Datum> random_inputs(const Graph& graph, std::int64_t batch, std::uint64_t seed, float scale) {
  Random random(seed);
  std::vector<Datum> inputs;
  for (const ValueId id : graph.inputs()) {
    const Value& input = graph.value(id);
    if (input.constant) continue;
    Dims dims;
    for (const Dim& dim : input.type.shape.dims) {
      dims.push_back(dim.known() ? dim.value : dims.empty() ? batch : kFreeExtent);
    }
    Tensor tensor = Tensor::zeros(input.type.dtype, dims);
    for (std::int64_t i = 0; i < tensor.size(); ++i) {
      if (is_floating(tensor.dtype())) {
        tensor.set_from_double(i, static_cast<double>(random.uniform(-scale, scale)));
      } else {
        tensor.set_from_int64(i, static_cast<std::int64_t>(random.below(2)));
      }
    }
    inputs.emplace_back(std::move(tensor));
  }
  return inputs;
}

void check_close(const Tensor& a, const Tensor& b) {
  REQUIRE(a.dtype() == b.dtype());
  REQUIRE(a.dims() == b.dims());
  double largest = 0, difference = 0;
  for (std::int64_t i = 0; i < a.size(); ++i) {
    const double x = a.as_double(i), y = b.as_double(i);
    if (std::isnan(x) && std::isnan(y)) continue;
    if (x == y) continue;
    largest = std::max(largest, std::fabs(x));
    difference = std::max(difference, std::fabs(x - y));
  }
  INFO("largest value " << largest << ", largest difference " << difference);
  CHECK(difference <= kTolerance * std::max(largest, 1e-3));
}

std::vector<std::pair<std::string, Type>> interface_of(const Graph& graph) {
  std::vector<std::pair<std::string, Type>> names;
  for (const ValueId id : graph.inputs()) {
    if (!graph.value(id).constant) names.emplace_back(graph.value(id).name, graph.value(id).type);
  }
  for (const ValueId id : graph.outputs()) names.emplace_back(graph.value(id).name, graph.value(id).type);
  return names;
}

std::map<std::string, int> count_ops(const Graph& graph) {
  std::map<std::string, int> counts;
  for (const NodeId id : graph.node_order()) ++counts[graph.node(id).op_type];
  return counts;
}

Model simplified(Model model) {
  passes::RunOptions options;
  options.verify_each = true;
  require(passes::simplify(model, options));
  require_ok(verify(model));
  return model;
}

void check_equivalent(const Model& before, const Model& after, std::int64_t batch, std::uint64_t seed, float scale) {
  const auto inputs = random_inputs(before.graph, batch, seed, scale);
  const auto a = require(require(eval::Evaluator::create(before))->run(inputs));
  const auto b = require(require(eval::Evaluator::create(after))->run(inputs));
  REQUIRE(a.size() == b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    REQUIRE(a[i].tensor() != nullptr);
    REQUIRE(b[i].tensor() != nullptr);
    check_close(*a[i].tensor(), *b[i].tensor());
  }
}

struct SharedModel {
  const char* path;
  std::set<std::string> leaves;  // all that may be left; empty: not checked
};

const SharedModel kSharedModels[] = {
    {"effnet_lite0/model.onnx", {"Conv", "Clip", "Add", "GlobalAveragePool", "Reshape", "Gemm"}},
    {"resnet8/model.onnx", {"Transpose", "Conv", "Relu", "Add", "AveragePool", "Flatten", "Gemm", "Softmax"}},
    {"resnet8/model_nchw_fused.onnx", {}},
    {"vww/model.onnx", {"Transpose", "Conv", "Relu", "AveragePool", "Flatten", "Gemm", "Softmax"}},
    {"kws/model.onnx", {"Transpose", "Conv", "Relu", "AveragePool", "Flatten", "Gemm", "Softmax"}},
    {"ad/model.onnx", {"Gemm", "Relu"}},
    {"fmnist_vgg/model.onnx", {"Conv", "Relu", "MaxPool", "Flatten", "Gemm"}},
    {"mnist8/model.onnx", {"Conv", "Relu", "MaxPool", "Reshape", "Gemm"}},
    {"squeezenet/model.onnx", {"Conv", "Relu", "MaxPool", "Concat", "GlobalAveragePool", "Softmax"}},
    {"fastestdet/model.onnx", {}},
    {"ultraface/model.onnx", {}},
    {"magika/model.onnx", {}},
    {"sst2/model.onnx", {}},
    {"micro_kws/micro_kws_m_static_fp32.onnx", {}},
    {"micro_kws/micro_kws_m_static_qdq.onnx", {}},
    {"micro_kws/micro_kws_m_qdq.onnx", {}},
    {"micro_kws/mixed_ops_dynamic_batch.onnx", {}},
    {"ppocr_cls/model.onnx", {}},
};

}  // namespace

TEST_CASE("shared models compute the same after simplifying") {
  if (!std::filesystem::exists(shared_models())) {
    WARN("skipped: no models at " << shared_models().string());
    std::exit(77);
  }
  for (const SharedModel& shared : kSharedModels) {
    if (!std::filesystem::exists(shared_models() / shared.path)) {
      WARN("skipped: no " << shared.path);
      continue;
    }
    DYNAMIC_SECTION(shared.path) {
      Model before = require(onnx::import_model(shared_models() / shared.path));
      require(ops::upgrade_to_base(before));
      require_ok(ops::infer_types(before));
      const Model after = simplified(before);
      CHECK(interface_of(after.graph) == interface_of(before.graph));
      std::string left;
      for (const auto& [op, count] : count_ops(after.graph)) {
        left += " " + op + ":" + std::to_string(count);
        CHECK((shared.leaves.empty() || shared.leaves.contains(op)));
        if (!shared.leaves.empty()) CHECK_FALSE((op == "BatchNormalization" || op == "Identity" || op == "Dropout" || op == "Pad"));
      }
      std::printf("%s: %zu -> %zu nodes:%s\n", shared.path, before.graph.node_count(), after.graph.node_count(), left.c_str());
      if (eval::cannot_evaluate(before)) {
        WARN("not run: " << *eval::cannot_evaluate(before));
      } else {
        check_equivalent(before, after, 1, 1, 3.0f);
      }
      // A fixed point, and the same bytes again.
      Model again = after;
      for (const passes::PassReport& report : require(passes::simplify(again))) CHECK(report.stats.changes == 0);
      CHECK(same_model(after, again));
    }
  }
}

namespace {

// Random small models: a chain of steps drawn from what the passes rewrite, on a 4-D image, with random wiring of residuals.
class Generator {
 public:
  explicit Generator(std::uint64_t seed) : random_(seed) {}

  Model make() {
    Model model;
    model.ir_version = 8;
    model.set_opset("", 13);
    graph_ = &model.graph;
    graph_->name = "random";
    value_ = graph_->add_input("x", Type::tensor(DType::float32, Shape({Dim::named("N"), Dim(channels_), Dim(size_), Dim(size_)})));
    const int steps = 4 + static_cast<int>(random_.below(10));
    for (int i = 0; i < steps; ++i) step();
    if (random_.below(2) == 0) head();
    // The last value, and sometimes one from the middle, are outputs.
    const ValueId output = node("Identity", {value_});
    graph_->add_output(output);
    if (random_.below(3) == 0 && seen_.size() > 1) graph_->add_output(seen_[random_.below(seen_.size())]);
    return model;
  }

 private:
  ValueId node(const char* op, std::vector<ValueId> inputs, std::vector<Attribute> attributes = {}) {
    Node added;
    added.op_type = op;
    added.inputs = std::move(inputs);
    added.attributes = std::move(attributes);
    const ValueId output = graph_->add_value(std::string(op) + "_out");
    added.outputs = {output};
    graph_->add_node(std::move(added));
    return output;
  }
  ValueId floats(Dims dims, float low = -1, float high = 1) {
    Tensor tensor = Tensor::zeros(DType::float32, dims);
    for (float& value : tensor.mutable_values<float>()) value = random_.uniform(low, high);
    return graph_->add_constant("c", std::move(tensor));
  }
  ValueId ints(std::vector<std::int64_t> values) {
    const auto count = static_cast<std::int64_t>(values.size());
    return graph_->add_constant("i", Tensor::of<std::int64_t>({count}, values));
  }
  static Attribute attr(const char* name, std::vector<std::int64_t> values) { return {name, std::move(values), {}}; }
  static Attribute attr(const char* name, std::int64_t value) { return {name, value, {}}; }

  void step() {
    switch (random_.below(13)) {
      case 0: {  // Conv, sometimes grouped, sometimes with bias and padding
        const std::int64_t out = 1 + static_cast<std::int64_t>(random_.below(4));
        const bool depthwise = random_.below(3) == 0;
        std::vector<ValueId> inputs = {value_, depthwise ? floats({channels_, 1, 3, 3}) : floats({out, channels_, 3, 3})};
        if (random_.below(2) == 0) inputs.push_back(floats({depthwise ? channels_ : out}));
        std::vector<Attribute> attributes = {attr("pads", {1, 1, 1, 1})};
        if (depthwise) attributes.push_back(attr("group", channels_));
        if (!depthwise) channels_ = out;
        value_ = node("Conv", std::move(inputs), std::move(attributes));
        break;
      }
      case 1: {  // ConvTranspose, 1x1, sometimes in groups
        const std::int64_t groups = random_.below(2) == 0 ? 1 : channels_;
        const std::int64_t each = 1 + static_cast<std::int64_t>(random_.below(2));
        value_ = node("ConvTranspose", {value_, floats({channels_, each, 1, 1})}, {attr("group", groups)});
        channels_ = each * groups;
        break;
      }
      case 2:
        value_ = node("BatchNormalization", {value_, floats({channels_}), floats({channels_}), floats({channels_}),
                                             floats({channels_}, 0.5f, 2)});
        break;
      case 3: {  // arithmetic with a constant of some broadcastable shape, on either side
        const char* const ops[] = {"Add", "Sub", "Mul", "Div"};
        const Dims shapes[] = {{}, {1}, {channels_, 1, 1}, {1, channels_, 1, 1}, {size_}, {size_, 1}};
        const std::uint64_t op = random_.below(4);
        const ValueId constant = floats(shapes[random_.below(6)], 0.5f, 1.5f);
        const bool swap = op != 3 && random_.below(2) == 0;
        value_ = node(ops[op], swap ? std::vector<ValueId>{constant, value_} : std::vector<ValueId>{value_, constant});
        break;
      }
      case 4: value_ = node("Relu", {value_}); break;
      case 5: value_ = node("Dropout", {node("Identity", {value_})}); break;
      case 6: {  // Pad, then something that may take it in
        const std::int64_t begin = static_cast<std::int64_t>(random_.below(2));
        const ValueId padded = node("Pad", {value_, ints({0, 0, begin, 1, 0, 0, 2 - begin, 1})});
        switch (random_.below(3)) {
          case 0: value_ = node("Conv", {padded, floats({2, channels_, 3, 3})}); channels_ = 2; break;
          case 1: value_ = node("MaxPool", {padded}, {attr("kernel_shape", {3, 3})}); break;
          default: value_ = node("AveragePool", {padded}, {attr("kernel_shape", {3, 3})}); break;
        }
        break;
      }
      case 7: {  // to NHWC, something, and back
        ValueId inner = node("Transpose", {value_}, {attr("perm", {0, 2, 3, 1})});
        if (random_.below(2) == 0) inner = node("Sigmoid", {inner});
        if (random_.below(2) == 0) inner = node("Add", {inner, floats({channels_})});
        if (random_.below(3) == 0) {
          inner = node("Concat", {inner, node("Transpose", {value_}, {attr("perm", {0, 2, 3, 1})})}, {attr("axis", 3)});
          channels_ *= 2;
        }
        value_ = node("Transpose", {inner}, {attr("perm", {0, 3, 1, 2})});
        break;
      }
      case 8:  // a residual of the same shape, computed twice
        value_ = node("Add", {node("Tanh", {value_}), node("Tanh", {value_})});
        break;
      case 9: {  // flattened and restored by a computed shape
        const ValueId shape = node("Shape", {value_});
        value_ = node("Reshape", {node("Flatten", {value_}, {attr("axis", 1)}), shape});
        break;
      }
      case 10:
        value_ = node("Squeeze", {node("Unsqueeze", {value_, ints({1})}), ints({1})});
        break;
      case 11: {  // a constant subexpression
        const ValueId constant = node("Mul", {floats({channels_, 1, 1}), floats({1})});
        value_ = node("Add", {value_, node("Neg", {constant})});
        break;
      }
      default:
        if (size_ > 3 && random_.below(2) == 0) value_ = node("Slice", {value_, ints({0}), ints({INT64_MAX}), ints({2})});
        break;
    }
    if (random_.below(4) == 0) seen_.push_back(value_);
  }

  void head() {
    const std::int64_t features = channels_ * size_ * size_;
    value_ = node("Reshape", {value_, ints({-1, features})});
    value_ = node("MatMul", {value_, floats({features, 3})});
    if (random_.below(2) == 0) value_ = node("Add", {value_, floats({3})});
    if (random_.below(2) == 0) {
      value_ = node("BatchNormalization", {value_, floats({3}), floats({3}), floats({3}), floats({3}, 0.5f, 2)});
    }
  }

  Random random_;
  Graph* graph_ = nullptr;
  ValueId value_;
  std::vector<ValueId> seen_;
  std::int64_t channels_ = 3, size_ = 6;
};

}  // namespace

TEST_CASE("random models compute the same after simplifying") {
  std::size_t removed = 0;
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    INFO("seed " << seed);
    Model before = Generator(seed).make();
    require_ok(verify(before));
    require_ok(ops::infer_types(before));
    const Model after = simplified(before);
    INFO(print(before) << "\n" << print(after));
    CHECK(interface_of(after.graph) == interface_of(before.graph));
    check_equivalent(before, after, 2, seed, 2.0f);
    CHECK(after.graph.node_count() <= before.graph.node_count());
    removed += before.graph.node_count() - after.graph.node_count();
  }
  CHECK(removed > 1000);  // the generator makes work for the passes
}
