// Every lowering against its definition: DequantizeLinear, the float op by its family's evaluation, QuantizeLinear. A lowered group
// is at most one step apart on random data, data movement is exact, and the evaluator's kernels give the Program's bits.
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>

#include "lib/eval/evaluator.h"
#include "lib/eval/group_kernels.h"
#include "lib/ir/text.h"
#include "lib/ops/evaluate.h"
#include "lib/ops/facts_derived.h"
#include "lib/ops/op.h"
#include "lib/ops/requantize.h"
#include "lib/plan/grouping.h"
#include "lib/plan/program.h"
#include "lib/runtime/bevel_runtime.h"
#include "lib/support/random.h"

using namespace bevel;

namespace {

struct Case {
  std::string name;
  std::vector<std::string> inputs;  // dims of x0, x1, ...: "1,3,8,8"
  std::string output;               // dims of y
  std::string constants;            // more constants, each ", dtype[dims] name = ..."
  std::string nodes;                // from x0, x1, ... to y
  int tolerance = 1;                // steps
  bool same_scale = false;          // the output has the first input's scale and zero point
  std::string output_scale = "0.043";
  std::string output_zero = "middle";
  int opset = 13;
};

constexpr const char* kWeights =
    ", float[4] sw = {0.011, 0.007, 0.02, 0.003}, int8[4] zw = {0, 0, 0, 0}, float[4] sb = {0.00055, 0.00035, 0.001, 0.00015}, "
    "int32[4] zb = {0, 0, 0, 0}, int32[4] qb = {120, -700, 33, 5000}";
constexpr const char* kWeighted = "w = DequantizeLinear <axis = 0> (qw, sw, zw)\n b = DequantizeLinear <axis = 0> (qb, sb, zb)\n";

constexpr const char* kFourWeights =
    ", float[4] sw = {0.11, 0.07, 0.2, 0.03}, int4[4] zw = {0, 0, 0, 0}, float[4] sb = {0.0055, 0.0035, 0.01, 0.0015}, "
    "int32[4] zb = {0, 0, 0, 0}, int32[4] qb = {12, -70, 33, 500}";

// int16: zero points 0, and scales of a 256th, so that real values are those of 8 bits.
std::string text_of(const Case& c, const std::string& dtype) {
  const bool is_unsigned = dtype == "uint8", wide = dtype == "int16";
  const auto zero = [&](int signed_zero) { return std::to_string(wide ? 0 : signed_zero + (is_unsigned ? 128 : 0)); };
  const char* scales[] = {wide ? "0.0001953125" : "0.05", wide ? "0.000121" : "0.031", wide ? "0.0003125" : "0.08"};
  const int zeros[] = {5, -20, 60};
  std::string head, constants, dequantize;
  for (std::size_t i = 0; i < c.inputs.size(); ++i) {
    const std::string n = std::to_string(i);
    head += (i ? ", " : "") + dtype + "[" + c.inputs[i] + "] q" + n;
    const std::size_t k = c.same_scale ? 0 : i;
    constants += (i ? ", " : "") + std::string("float[] s") + n + " = {" + scales[k] + "}, " + dtype + "[] z" + n + " = {" + zero(zeros[k]) + "}";
    dequantize += "  x" + n + " = DequantizeLinear (q" + n + ", s" + n + ", z" + n + ")\n";
  }
  const std::string own = wide ? std::to_string(std::stod(c.output_scale) * 1000 / 256) + "e-3" : c.output_scale;
  const std::string sy = c.same_scale ? scales[0] : own;
  const std::string zy = c.same_scale ? zero(zeros[0]) : c.output_zero == "lowest" ? zero(-128) : zero(-7);
  constants += ", float[] sy = {" + sy + "}, " + dtype + "[] zy = {" + zy + "}" + c.constants;
  return "<ir_version: 10, opset_import: [\"\" : " + std::to_string(c.opset) + "]>\nmain (" + head + ") => (" + dtype + "[" + c.output + "] qy)\n<" + constants +
         ">\n{\n" + dequantize + c.nodes + "\n  qy = QuantizeLinear (y, sy, zy)\n}";
}

Model parsed(const std::string& text) {
  auto model = parse_text(text);
  if (!model) FAIL(model.error().message << "\n" << text);
  const auto status = ops::infer_types(*model);
  if (!status) FAIL(status.error().message << "\n" << text);
  return std::move(*model);
}

std::vector<Tensor> random_inputs(const Model& model, std::uint64_t seed) {
  Random random(seed);
  std::vector<Tensor> inputs;
  for (ValueId id : model.graph.inputs()) {
    const Type& type = model.graph.value(id).type;
    Tensor tensor = Tensor::zeros(type.dtype, *type.shape.known_dims());
    for (std::int64_t i = 0; i < tensor.size(); ++i) {
      if (type.dtype == DType::float32) {
        tensor.set_from_double(i, random.uniform(-3, 3));
      } else {
        const bool wide = type.dtype == DType::int16;
        const std::int64_t middle = wide ? 32768 : type.dtype == DType::int8 ? 128 : 0;
        tensor.set_from_int64(i, static_cast<std::int64_t>(random.below(wide ? 65536 : 256)) - middle);
      }
    }
    inputs.push_back(std::move(tensor));
  }
  return inputs;
}

// Node by node, each family's own evaluation.
std::vector<Tensor> reference(const Model& model, const std::vector<Tensor>& inputs) {
  const Graph& graph = model.graph;
  std::map<ValueId, Datum> values;
  for (std::size_t i = 0; i < inputs.size(); ++i) values[graph.inputs()[i]] = inputs[i];
  for (NodeId id : graph.node_order()) {
    const Node& node = graph.node(id);
    std::vector<Datum> operands;
    for (ValueId value : node.inputs) {
      if (!value.valid()) operands.emplace_back();
      else if (const Tensor* constant = graph.constant(value)) operands.emplace_back(*constant);
      else operands.push_back(values.at(value));
    }
    const auto results = ops::evaluate_node(node, model.opset(), operands, 1 << 28);
    if (!results) FAIL(node.op_type << ": " << results.error().message);
    for (std::size_t i = 0; i < node.outputs.size() && i < results->size(); ++i) {
      if (node.outputs[i].valid()) values[node.outputs[i]] = (*results)[i];
    }
  }
  std::vector<Tensor> outputs;
  for (ValueId id : graph.outputs()) outputs.push_back(*values.at(id).tensor());
  return outputs;
}

std::vector<Tensor> by_group_kernels(const Model& model, const std::vector<Tensor>& inputs, const plan::Grouping& grouping,
                                     const eval::GroupKernels& kernels) {
  const Graph& graph = model.graph;
  std::map<ValueId, eval::HeldValue> values;
  for (std::size_t i = 0; i < inputs.size(); ++i) values[graph.inputs()[i]] = Datum(inputs[i]);
  for (std::size_t g = 0; g < grouping.groups.size(); ++g) {
    const plan::Group& group = grouping.groups[g];
    std::vector<eval::HeldValue> operands;
    for (const plan::GroupEdge& edge : group.inputs) {
      if (!edge.border.valid()) operands.emplace_back();
      else if (const Tensor* constant = graph.constant(edge.border)) operands.emplace_back(Datum(*constant));
      else operands.push_back(values.at(edge.border));
    }
    const auto results = kernels.run(g, operands, [](std::uint64_t) { return Status(); });
    if (!results) FAIL(results.error().message);
    REQUIRE(results->has_value());
    for (std::size_t i = 0; i < group.outputs.size(); ++i) {
      if (group.outputs[i].border.valid()) values[group.outputs[i].border] = (**results)[i];
    }
  }
  std::vector<Tensor> outputs;
  for (ValueId id : graph.outputs()) outputs.push_back(*values.at(id).logical().tensor());
  return outputs;
}

std::vector<Tensor> by_group_kernels(const Model& model, const std::vector<Tensor>& inputs) {
  const plan::Grouping grouping = plan::group_graph(model);
  return by_group_kernels(model, inputs, grouping, eval::GroupKernels(model, grouping));
}

std::vector<Tensor> by_program(const Model& model, const std::vector<Tensor>& inputs, bool all_integer) {
  const auto plan = plan::plan_model(model);
  if (!plan) FAIL(plan.error().message);
  if (all_integer) {
    for (const plan::FloatNote& note : plan->stays_float) FAIL_CHECK(note.op_type << " stays in float: " << note.reason);
  }
  const auto runner = eval::ProgramRunner::open(plan::program_bytes(plan->program), "test");
  if (!runner) FAIL(runner.error().message);
  const auto outputs = (*runner)->run(inputs);
  if (!outputs) FAIL(outputs.error().message);
  return *outputs;
}

void check_integer(const Case& c, const std::vector<std::string>& dtypes = {"int8", "uint8"}) {
  for (const std::string& dtype : dtypes) {
    INFO(c.name << " " << dtype);
    const Model model = parsed(text_of(c, dtype));
    const auto inputs = random_inputs(model, 7);
    const auto expected = reference(model, inputs), found = by_program(model, inputs, true), held = by_group_kernels(model, inputs);
    REQUIRE(found.size() == expected.size());
    for (std::size_t o = 0; o < expected.size(); ++o) {
      REQUIRE(found[o].dims() == expected[o].dims());
      REQUIRE(found[o].dtype() == expected[o].dtype());
      std::int64_t worst = 0, apart = 0, differing_values = 0;
      for (std::int64_t i = 0; i < expected[o].size(); ++i) {
        const std::int64_t difference = std::abs(found[o].as_int64(i) - expected[o].as_int64(i));
        worst = std::max(worst, difference);
        apart += difference != 0;
        differing_values += expected[o].as_int64(i) != expected[o].as_int64(0);
      }
      CHECK(worst <= c.tolerance);
      CHECK(apart * 20 <= expected[o].size());  // one step apart is the exception
      CHECK((expected[o].size() == 1 || differing_values > 0));  // the case is not saturated
      CHECK(held[o].same_bits(found[o]));
    }
  }
}

// The same with int4 weights (opset 21), which take `bytes` of the Program's constants and are not widened anywhere.
void check_four(Case c, std::uint64_t bytes) {
  c.opset = 21;
  check_integer(c);
  const auto plan = plan::plan_model(parsed(text_of(c, "int8")));
  REQUIRE(plan);
  std::uint64_t packed = 0;
  for (const plan::ProgramTensor& tensor : plan->program.tensors) {
    if (tensor.dtype == DType::int4) packed += tensor.bytes;
    CHECK_FALSE((tensor.storage == BVL_STORAGE_CONSTANT && tensor.dtype == DType::int8));
  }
  INFO(c.name);
  CHECK(packed == bytes);
}

// int16 activations (opset 21).
void check_wide(Case c) {
  c.opset = 21;
  check_integer(c, {"int16"});
}

void check_float(const std::string& name, const std::string& text, int opset = 13) {
  INFO(name);
  const Model model = parsed("<ir_version: 8, opset_import: [\"\" : " + std::to_string(opset) + "]>\n" + text);
  const auto inputs = random_inputs(model, 9);
  const auto expected = reference(model, inputs), found = by_program(model, inputs, false), held = by_group_kernels(model, inputs);
  REQUIRE(found.size() == expected.size());
  for (std::size_t o = 0; o < expected.size(); ++o) {
    REQUIRE(found[o].dims() == expected[o].dims());
    for (std::int64_t i = 0; i < expected[o].size(); ++i) CHECK(found[o].as_double(i) == Approx(expected[o].as_double(i)).margin(1e-5));
    CHECK(held[o].same_bits(found[o]));
  }
}

// Float activations; the Program holds the weights in `bytes` of that dtype, and nowhere as float32.
void check_stored(const std::string& name, const std::string& text, DType dtype, std::uint64_t bytes, std::int64_t weights) {
  check_float(name, text, 21);
  INFO(name);
  const auto plan = plan::plan_model(parsed("<ir_version: 10, opset_import: [\"\" : 21]>\n" + text));
  REQUIRE(plan);
  std::uint64_t stored = 0;
  for (const plan::ProgramTensor& tensor : plan->program.tensors) {
    if (tensor.storage != BVL_STORAGE_CONSTANT) continue;
    if (tensor.dtype == dtype) stored += tensor.bytes;
    CHECK_FALSE((tensor.dtype == DType::float32 && element_count(tensor.dims) >= weights));
  }
  CHECK(stored == bytes);
}

}  // namespace

TEST_CASE("convolutions") {
  const std::string conv = kWeighted + std::string("  y = Conv ");
  check_integer({"3x3", {"1,3,8,8"}, "1,4,8,8", std::string(kWeights) + ", int8[4,3,3,3] qw = random(1)", conv + "<pads = [1, 1, 1, 1]> (x0, w, b)"});
  check_integer({"3x3 Relu", {"1,3,8,8"}, "1,4,8,8", std::string(kWeights) + ", int8[4,3,3,3] qw = random(2)",
                 kWeighted + std::string("c = Conv <pads = [1, 1, 1, 1]> (x0, w, b)\n y = Relu (c)")});
  check_integer({"stride and asymmetric pads", {"1,3,9,7"}, "1,4,5,3", std::string(kWeights) + ", int8[4,3,3,2] qw = random(3)",
                 conv + "<strides = [2, 3], pads = [1, 0, 1, 2]> (x0, w, b)"});
  check_integer({"SAME_UPPER", {"1,3,9,8"}, "1,4,5,4", std::string(kWeights) + ", int8[4,3,3,3] qw = random(4)",
                 conv + "<strides = [2, 2], auto_pad = \"SAME_UPPER\"> (x0, w, b)"});
  check_integer({"SAME_LOWER", {"1,3,9,8"}, "1,4,5,4", std::string(kWeights) + ", int8[4,3,3,3] qw = random(4)",
                 conv + "<strides = [2, 2], auto_pad = \"SAME_LOWER\"> (x0, w, b)"});
  check_integer({"dilation", {"2,3,9,9"}, "2,4,5,5", std::string(kWeights) + ", int8[4,3,3,3] qw = random(5)", conv + "<dilations = [2, 2]> (x0, w, b)"});
  check_integer({"groups", {"1,6,5,5"}, "1,4,5,5", std::string(kWeights) + ", int8[4,3,1,1] qw = random(6)", conv + "<group = 2> (x0, w, b)"});
  check_integer({"depthwise", {"1,4,8,8"}, "1,4,4,4", std::string(kWeights) + ", int8[4,1,3,3] qw = random(7)",
                 conv + "<group = 4, strides = [2, 2], pads = [1, 1, 1, 1]> (x0, w, b)"});
  check_integer({"depthwise with multiplier", {"1,2,6,6"}, "1,4,6,6", std::string(kWeights) + ", int8[4,1,3,3] qw = random(8)",
                 conv + "<group = 2, pads = [1, 1, 1, 1]> (x0, w, b)"});
  check_integer({"1-D", {"1,3,20"}, "1,4,10", std::string(kWeights) + ", int8[4,3,5] qw = random(9)", conv + "<strides = [2], pads = [2, 2]> (x0, w, b)"});
  check_integer({"no bias", {"1,3,8,8"}, "1,4,6,6", std::string(kWeights) + ", int8[4,3,3,3] qw = random(10)",
                 "w = DequantizeLinear <axis = 0> (qw, sw, zw)\n y = Conv (x0, w)"});
  check_integer({"uint8 weights around 128", {"1,3,8,8"}, "1,4,8,8", ", float[] sw = {0.01}, uint8[] zw = {128}, uint8[4,3,1,1] qw = random(11)",
                 "w = DequantizeLinear (qw, sw, zw)\n y = Conv (x0, w)"});
}

TEST_CASE("matrix products") {
  check_integer({"MatMul rows", {"5,16"}, "5,4", ", float[4] sw = {0.011, 0.007, 0.02, 0.003}, int8[4] zw = {0, 0, 0, 0}, int8[16,4] qw = random(1)",
                 "w = DequantizeLinear <axis = 1> (qw, sw, zw)\n y = MatMul (x0, w)"});
  check_integer({"MatMul batch", {"2,3,16"}, "2,3,4", ", float[] sw = {0.011}, int8[] zw = {0}, int8[16,4] qw = random(2)",
                 "w = DequantizeLinear (qw, sw, zw)\n y = MatMul (x0, w)"});
  check_integer({"Gemm transB", {"1,16"}, "1,4", std::string(kWeights) + ", int8[4,16] qw = random(3)",
                 kWeighted + std::string("y = Gemm <transB = 1> (x0, w, b)")});
  check_integer({"Gemm float bias", {"3,16"}, "3,4", ", float[] sw = {0.011}, int8[] zw = {0}, int8[16,4] qw = random(4), float[1,4] b = {0.5, -1, 2, 0.1}",
                 "w = DequantizeLinear (qw, sw, zw)\n y = Gemm (x0, w, b)"});
}

TEST_CASE("int4 weights stay packed") {
  const std::string conv = kWeighted + std::string("  y = Conv ");
  const auto four = [](const std::string& dims, int seed) { return std::string(kFourWeights) + ", int4[" + dims + "] qw = random(" + std::to_string(seed) + ")"; };
  check_four({"3x3", {"1,3,8,8"}, "1,4,8,8", four("4,3,3,3", 1), conv + "<pads = [1, 1, 1, 1]> (x0, w, b)"}, 4 * 32 / 2);
  check_four({"3x3 Relu", {"1,3,8,8"}, "1,4,8,8", four("4,3,3,3", 2), kWeighted + std::string("c = Conv <pads = [1, 1, 1, 1]> (x0, w, b)\n y = Relu (c)")}, 64);
  check_four({"stride and asymmetric pads", {"1,3,9,7"}, "1,4,5,3", four("4,3,3,2", 3), conv + "<strides = [2, 3], pads = [1, 0, 1, 2]> (x0, w, b)"}, 48);
  check_four({"dilation", {"2,3,9,9"}, "2,4,5,5", four("4,3,3,3", 5), conv + "<dilations = [2, 2]> (x0, w, b)"}, 64);
  check_four({"groups", {"1,6,5,5"}, "1,4,5,5", four("4,3,1,1", 6), conv + "<group = 2> (x0, w, b)"}, 16);
  check_four({"depthwise", {"1,4,8,8"}, "1,4,4,4", four("4,1,3,3", 7), conv + "<group = 4, strides = [2, 2], pads = [1, 1, 1, 1]> (x0, w, b)"}, 36);
  check_four({"depthwise with multiplier", {"1,2,6,6"}, "1,4,6,6", four("4,1,3,3", 8), conv + "<group = 2, pads = [1, 1, 1, 1]> (x0, w, b)"}, 36);
  check_four({"1-D", {"1,3,20"}, "1,4,10", four("4,3,5", 9), conv + "<strides = [2], pads = [2, 2]> (x0, w, b)"}, 32);
  check_four({"wide depthwise", {"1,24,5,6"}, "1,24,5,6", ", float[] sw = {0.11}, int4[] zw = {0}, int4[24,1,3,3] qw = random(10)",
              "w = DequantizeLinear (qw, sw, zw)\n y = Conv <group = 24, pads = [1, 1, 1, 1]> (x0, w)"}, 9 * 12);
  check_four({"uint4 around 8, no bias", {"1,3,8,8"}, "1,4,8,8", ", float[] sw = {0.1}, uint4[] zw = {8}, uint4[4,3,1,1] qw = random(11)",
              "w = DequantizeLinear (qw, sw, zw)\n y = Conv (x0, w)"}, 16);
  check_four({"no zero point", {"1,19,4,4"}, "1,4,4,4", ", float[] sw = {0.05}, int4[4,19,1,1] qw = random(12)",
              "w = DequantizeLinear (qw, sw)\n y = Conv (x0, w)"}, 48);
  check_four({"MatMul rows", {"5,17"}, "5,4", ", float[4] sw = {0.11, 0.07, 0.2, 0.03}, int4[4] zw = {0, 0, 0, 0}, int4[17,4] qw = random(1)",
              "w = DequantizeLinear <axis = 1> (qw, sw, zw)\n y = MatMul (x0, w)"}, 4 * 12);
  check_four({"MatMul batch", {"2,3,16"}, "2,3,3", ", float[] sw = {0.11}, int4[] zw = {0}, int4[16,3] qw = random(2)",
              "w = DequantizeLinear (qw, sw, zw)\n y = MatMul (x0, w)"}, 24);
  check_four({"Gemm transB", {"1,31"}, "1,4", four("4,31", 3), kWeighted + std::string("y = Gemm <transB = 1> (x0, w, b)")}, 64);
  check_four({"Gemm float bias", {"3,16"}, "3,5", ", float[] sw = {0.11}, int4[] zw = {0}, int4[16,5] qw = random(4), float[1,5] b = {0.55, -1.1, 2.2, 0.11, 0}",
              "w = DequantizeLinear (qw, sw, zw)\n y = Gemm (x0, w, b)"}, 40);
}

TEST_CASE("int16 activations") {
  const std::string conv = kWeighted + std::string("  y = Conv ");
  const auto weights = [](const std::string& dims, int seed) { return std::string(kWeights) + ", int8[" + dims + "] qw = random(" + std::to_string(seed) + ")"; };
  check_wide({"3x3", {"1,3,8,8"}, "1,4,8,8", weights("4,3,3,3", 1), conv + "<pads = [1, 1, 1, 1]> (x0, w, b)"});
  check_wide({"3x3 Relu", {"1,3,8,8"}, "1,4,8,8", weights("4,3,3,3", 2), kWeighted + std::string("c = Conv <pads = [1, 1, 1, 1]> (x0, w, b)\n y = Relu (c)")});
  check_wide({"stride and asymmetric pads", {"1,3,9,7"}, "1,4,5,3", weights("4,3,3,2", 3), conv + "<strides = [2, 3], pads = [1, 0, 1, 2]> (x0, w, b)"});
  check_wide({"dilation", {"2,3,9,9"}, "2,4,5,5", weights("4,3,3,3", 5), conv + "<dilations = [2, 2]> (x0, w, b)"});
  check_wide({"groups", {"1,6,5,5"}, "1,4,5,5", weights("4,3,1,1", 6), conv + "<group = 2> (x0, w, b)"});
  check_wide({"depthwise", {"1,4,8,8"}, "1,4,4,4", weights("4,1,3,3", 7), conv + "<group = 4, strides = [2, 2], pads = [1, 1, 1, 1]> (x0, w, b)"});
  check_wide({"depthwise with multiplier", {"1,2,6,6"}, "1,4,6,6", weights("4,1,3,3", 8), conv + "<group = 2, pads = [1, 1, 1, 1]> (x0, w, b)"});
  check_wide({"1-D", {"1,3,20"}, "1,4,10", weights("4,3,5", 9), conv + "<strides = [2], pads = [2, 2]> (x0, w, b)"});
  check_wide({"many products", {"1,700"}, "1,4", ", float[] sw = {0.002}, int8[] zw = {0}, int8[700,4] qw = random(10)",
              "w = DequantizeLinear (qw, sw, zw)\n y = MatMul (x0, w)"});
  check_wide({"int4 weights", {"1,19,4,4"}, "1,4,4,4", ", float[] sw = {0.05}, int4[4,19,1,1] qw = random(12)",
              "w = DequantizeLinear (qw, sw)\n y = Conv (x0, w)"});
  check_wide({"MatMul rows", {"5,16"}, "5,4", ", float[4] sw = {0.011, 0.007, 0.02, 0.003}, int8[4] zw = {0, 0, 0, 0}, int8[16,4] qw = random(1)",
              "w = DequantizeLinear <axis = 1> (qw, sw, zw)\n y = MatMul (x0, w)"});
  check_wide({"Gemm transB", {"3,16"}, "3,4", weights("4,16", 3), kWeighted + std::string("y = Gemm <transB = 1> (x0, w, b)")});
  check_wide({"MaxPool", {"1,3,8,8"}, "1,3,4,4", "", "y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x0)", 0, true});
  check_wide({"MaxPool, own scale", {"1,3,8,8"}, "1,3,4,4", "", "y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x0)", 1, false, "0.09"});
  check_wide({"GlobalMaxPool", {"1,5,4,4"}, "1,5,1,1", "", "y = GlobalMaxPool (x0)", 0, true});
  check_wide({"AveragePool", {"1,3,8,8"}, "1,3,4,4", "", "y = AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x0)"});
  check_wide({"AveragePool with padding", {"1,3,8,8"}, "1,3,4,4", "",
              "y = AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], count_include_pad = 1> (x0)"});
  check_wide({"GlobalAveragePool", {"2,5,4,6"}, "2,5,1,1", "", "y = GlobalAveragePool (x0)", 1, false, "0.011"});
  check_wide({"ReduceMean", {"2,5,4,6"}, "2,5", ", int64[2] axes = {2, 3}", "y = ReduceMean <keepdims = 0> (x0, axes)", 1, false, "0.011"});
  check_wide({"Add", {"1,3,4,5", "1,3,4,5"}, "1,3,4,5", "", "y = Add (x0, x1)", 1, false, "0.09"});
  check_wide({"Add Relu", {"1,3,4,5", "1,3,4,5"}, "1,3,4,5", "", "a = Add (x0, x1)\n y = Relu (a)", 1, false, "0.09"});
  check_wide({"Sub", {"2,3,4", "3,1"}, "2,3,4", "", "y = Sub (x0, x1)", 1, false, "0.09"});
  check_wide({"Mul", {"1,3,4,5", "1,3,1,1"}, "1,3,4,5", "", "y = Mul (x0, x1)", 1, false, "0.2"});
  check_wide({"Add of a constant", {"1,3,4,5"}, "1,3,4,5", ", float[] sk = {0.0001}, int16[] zk = {0}, int16[3,1,1] qk = {0, 12000, -25500}",
              "k = DequantizeLinear (qk, sk, zk)\n y = Add (x0, k)", 1, false, "0.09"});
  check_wide({"Reshape", {"2,3,4"}, "6,4", ", int64[2] shape = {6, 4}", "y = Reshape (x0, shape)", 0, true});
  check_wide({"Transpose", {"2,3,4,5"}, "5,2,4,3", "", "y = Transpose <perm = [3, 0, 2, 1]> (x0)", 0, true});
  check_wide({"Transpose, own scale", {"2,3,4"}, "4,3,2", "", "y = Transpose (x0)", 1, false});
  check_wide({"Concat", {"1,2,3,3", "1,4,3,3"}, "1,6,3,3", "", "y = Concat <axis = 1> (x0, x1)", 0, true});
  check_wide({"Concat, own scales", {"1,2,3,3", "1,4,3,3"}, "1,6,3,3", "", "y = Concat <axis = -3> (x0, x1)"});
  check_wide({"Slice", {"2,6,7"}, "2,2,4", ", int64[2] b = {5, 0}, int64[2] e = {-100, 7}, int64[2] a = {1, 2}, int64[2] s = {-3, 2}",
              "y = Slice (x0, b, e, a, s)", 0, true});
  check_wide({"Pad", {"1,3,4,4"}, "1,3,7,5", ", int64[8] p = {0, 0, 1, 1, 0, 0, 2, 0}, float[] v = {1.5}", "y = Pad (x0, p, v)", 1, true});
  check_wide({"Expand", {"3,1,4"}, "2,3,5,4", ", int64[4] shape = {2, 3, 5, 4}", "y = Expand (x0, shape)", 0, true});
  check_wide({"Relu of its own", {"2,3,4"}, "2,3,4", "", "y = Relu (x0)", 0, true});
  check_wide({"Clip, own scale", {"2,3,4"}, "2,3,4", ", float[] low = {-1}, float[] high = {2}", "y = Clip (x0, low, high)", 1, false});
  for (const char* op : {"Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Elu", "Softplus", "LeakyRelu", "Erf", "Abs", "Exp"}) {
    check_wide({op, {"2,130"}, "2,130", "", "y = " + std::string(op) + " (x0)", 1, false, "0.013"});
  }
  check_wide({"Softmax", {"3,12"}, "3,12", "", "y = Softmax (x0)", 1, false, "0.0078125"});
  check_wide({"Softmax over channels", {"2,12,3"}, "2,12,3", "", "y = Softmax <axis = 1> (x0)", 1, false, "0.0078125"});
}

TEST_CASE("int16 without a kernel runs in float between kernels that convert, and says why") {
  Case c{"mixed", {"2,12"}, "2,12", ", float[] s8 = {0.05}, int8[] z8 = {3}",
         "q = QuantizeLinear (x0, s8, z8)\n d = DequantizeLinear (q, s8, z8)\n y = Neg (d)", 1, false, "0.013"};
  c.opset = 21;
  const Model model = parsed(text_of(c, "int16"));
  const auto inputs = random_inputs(model, 7);
  const auto found = by_program(model, inputs, false);
  CHECK(found[0].same_bits(reference(model, inputs)[0]));
  CHECK(found[0].same_bits(by_group_kernels(model, inputs)[0]));
  std::string reasons;
  for (const plan::Group& group : plan::group_graph(model).groups) reasons += group.reason;
  CHECK(reasons.find("the input is int8, not int16") != std::string::npos);
  Case zero{"zero point", {"1,4"}, "1,4", ", float[] s = {0.1}, int16[] z = {5}", "q = QuantizeLinear (x0, s, z)\n d = DequantizeLinear (q, s, z)\n y = Relu (d)"};
  zero.opset = 21;
  reasons.clear();
  for (const plan::Group& group : plan::group_graph(parsed(text_of(zero, "int16"))).groups) reasons += group.reason;
  CHECK(reasons.find("zero point 5, kernels need 0") != std::string::npos);
}

TEST_CASE("weights of float products stay as they are stored") {
  check_stored("int8 matmul, a scale per column", R"(main (float[2,3,21] x) => (float[2,3,6] y)
<int8[21,6] q = random(1), float[6] s = {0.01, 0.02, 0.03, 0.004, 0.05, 0.06}, int8[6] z = {0, 0, 0, 0, 0, 0}>
{ w = DequantizeLinear <axis = 1> (q, s, z) y = MatMul (x, w) })", DType::int8, 126, 126);
  check_stored("int4 matmul, blocks of 8 with a rest", R"(main (float[5,21] x) => (float[5,6] y) <int4[21,6] q = random(1), float[3,6] s = {0.011, 0.02, 0.034, 0.005, 0.05, 0.062, 0.017, 0.041, 0.027, 0.009, 0.013, 0.03, 0.045, 0.0525, 0.008, 0.023, 0.037, 0.029}>
{ w = DequantizeLinear <axis = 0, block_size = 8> (q, s) v = MatMul (x, w) y = Relu (v) })", DType::int4, 72, 126);
  check_stored("int4 gemm, blocks of 32, a quantized bias", R"(main (float[3,64] x) => (float[3,5] y)
<int4[5,64] q = random(1), float[5,2] s = {0.011, 0.02, 0.034, 0.005, 0.05, 0.062, 0.017, 0.041, 0.027, 0.009}, int4[5,2] z = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, int32[5] qb = {1, -20, 300, 4, 5}, float[] sb = {0.01}>
{ w = DequantizeLinear <axis = 1, block_size = 32> (q, s, z) b = DequantizeLinear (qb, sb) y = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (x, w, b) })",
               DType::int4, 160, 320);
  check_stored("uint8 gemm around 128", R"(main (float[3,16] x) => (float[3,5] y) <uint8[16,5] q = random(1), float[] s = {0.01}, uint8[] z = {128}, float[5] b = random(3)>
{ w = DequantizeLinear (q, s, z) y = Gemm (x, w, b) })", DType::int8, 80, 80);
  check_stored("int8 conv", R"(main (float[1,3,6,6] x) => (float[1,4,3,3] y) <int8[4,3,3,3] q = random(1), float[4] s = {0.01, 0.02, 0.03, 0.004}, float[4] b = random(2)>
{ w = DequantizeLinear <axis = 0> (q, s) c = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (x, w, b) y = Relu (c) })", DType::int8, 108, 108);
  check_stored("int4 grouped conv", R"(main (float[1,6,5,5] x) => (float[1,4,5,5] y) <int4[4,3,3,3] q = random(1), float[] s = {0.1}>
{ w = DequantizeLinear (q, s) y = Conv <group = 2, pads = [1, 1, 1, 1]> (x, w) })", DType::int4, 64, 108);
  check_stored("uint4 depthwise conv", R"(main (float[1,6,5,5] x) => (float[1,6,5,5] y) <uint4[6,1,3,3] q = random(1), float[] s = {0.1}, uint4[] z = {8}>
{ w = DequantizeLinear (q, s, z) y = Conv <group = 6, pads = [1, 1, 1, 1]> (x, w) })", DType::int4, 48, 54);
  check_stored("float16 matmul", R"(main (float[5,21] x) => (float[5,6] y) <float16[21,6] h = random(1)>
{ w = Cast <to = 1> (h) y = MatMul (x, w) })", DType::float16, 252, 126);
  check_stored("float16 conv and bias", R"(main (float[1,3,6,6] x) => (float[1,4,4,4] y) <float16[4,3,3,3] h = random(1), float16[4] hb = random(2)>
{ w = Cast <to = 1> (h) b = Cast <to = 1> (hb) y = Conv (x, w, b) })", DType::float16, 216, 108);
}

TEST_CASE("what stored weights cannot be is float32 in the Program, as before") {
  const auto weights_of = [](const std::string& text) {
    const auto plan = plan::plan_model(parsed("<ir_version: 10, opset_import: [\"\" : 21]>\n" + text));
    if (!plan) FAIL(plan.error().message);
    std::uint64_t bytes = 0;
    for (const plan::ProgramTensor& tensor : plan->program.tensors) {
      if (tensor.storage == BVL_STORAGE_CONSTANT && tensor.dtype == DType::float32) bytes = std::max(bytes, tensor.bytes);
    }
    return bytes;
  };
  // A zero point; blocks of a convolution; scales along the sums.
  CHECK(weights_of("main (float[5,21] x) => (float[5,6] y) <int8[21,6] q = random(1), float[] s = {0.1}, int8[] z = {3}>\n"
                   "{ w = DequantizeLinear (q, s, z) y = MatMul (x, w) }") == 504);
  CHECK(weights_of("main (float[1,4,3,3] x) => (float[1,2,3,3] y) <int4[2,4,1,1] q = random(1), float[2,2,1,1] s = {0.011, 0.02, 0.034, 0.005}>\n"
                   "{ w = DequantizeLinear <axis = 1, block_size = 2> (q, s) y = Conv (x, w) }") == 32);
  CHECK(weights_of("main (float[5,3] x) => (float[5,6] y) <int8[3,6] q = random(1), float[3] s = {0.1, 0.2, 0.3}>\n"
                   "{ w = DequantizeLinear <axis = 0> (q, s) y = MatMul (x, w) }") == 72);
}

TEST_CASE("blocks of int4 weights between integers: in float, from the packed weights") {
  Case c{"blocks", {"5,64"}, "5,4", ", float[2,4] sw = {0.01, 0.02, 0.03, 0.04, 0.05, 0.01, 0.02, 0.03}, int4[64,4] qw = random(2)",
         "w = DequantizeLinear <axis = 0, block_size = 32> (qw, sw)\n y = MatMul (x0, w)", 1, false, "0.2"};
  c.opset = 21;
  const Model model = parsed(text_of(c, "int8"));
  const auto inputs = random_inputs(model, 7);
  const auto expected = reference(model, inputs), found = by_program(model, inputs, false);
  CHECK(found[0].same_bits(by_group_kernels(model, inputs)[0]));
  for (std::int64_t i = 0; i < expected[0].size(); ++i) CHECK(std::abs(found[0].as_int64(i) - expected[0].as_int64(i)) <= 1);
  const auto plan = plan::plan_model(model);
  REQUIRE(plan);
  REQUIRE(plan->stays_float.size() == 1);
  CHECK(plan->stays_float[0].reason.find("quantized in blocks") != std::string::npos);
  for (const plan::ProgramTensor& tensor : plan->program.tensors) {
    if (tensor.storage == BVL_STORAGE_CONSTANT && tensor.dtype == DType::float32) CHECK(tensor.bytes <= 4 * 8);
  }
}

TEST_CASE("weights that a subgraph reads too are also there in float") {
  const Model model = parsed(R"(<ir_version: 10, opset_import: ["" : 21]>
main (float[2,3] x, bool c) => (float[2,2] y, float[3,2] z) <int8[3,2] q = random(1), float[] s = {0.02}, float16[3,2] h = random(2)>
{
  w = DequantizeLinear (q, s)
  v = Cast <to = 1> (h)
  a = MatMul (x, w)
  b = MatMul (x, v)
  y = Add (a, b)
  z = If <then_branch = t () => (float[3,2] p) { p = Neg (w) }, else_branch = e () => (float[3,2] r) { r = Neg (v) }> (c)
})");
  for (const bool choice : {true, false}) {
    Tensor flag = Tensor::zeros(DType::boolean, {});
    flag.set_from_int64(0, choice ? 1 : 0);
    const std::vector<Datum> inputs = {Tensor::of<float>({2, 3}, {1, -2, 3, 0.5f, 4, -1}), flag};
    std::vector<Tensor> results;
    for (const bool kernels : {true, false}) {
      eval::EvalOptions options;
      options.kernels = kernels ? eval::Kernels::all : eval::Kernels::none;
      const auto evaluator = eval::Evaluator::create(model, options);
      REQUIRE(evaluator);
      const auto outputs = (*evaluator)->run(inputs);
      if (!outputs) FAIL(outputs.error().message);
      results.push_back(*(*outputs)[0].tensor());
      results.push_back(*(*outputs)[1].tensor());
    }
    CHECK(results[1].same_bits(results[3]));
    for (std::int64_t i = 0; i < 4; ++i) CHECK(results[0].as_double(i) == Approx(results[2].as_double(i)).margin(1e-5));
  }
}

TEST_CASE("gather reads tables as they are stored") {
  const auto rows = [](const std::string& constants, const std::string& nodes, DType dtype, std::uint64_t bytes) {
    const std::string text = "main (int64[2,3] i) => (float[2,3,10] y) <" + constants + ">\n{ " + nodes + " }";
    INFO(text);
    const Model model = parsed("<ir_version: 10, opset_import: [\"\" : 21]>\n" + text);
    const std::vector<Tensor> inputs = {Tensor::of<std::int64_t>({2, 3}, {0, 6, -1, -7, 3, 2})};
    const auto expected = reference(model, inputs), found = by_program(model, inputs, false), held = by_group_kernels(model, inputs);
    CHECK(found[0].same_bits(expected[0]));
    CHECK(held[0].same_bits(expected[0]));
    const auto plan = plan::plan_model(model);
    REQUIRE(plan);
    std::uint64_t stored = 0;
    for (const plan::ProgramTensor& tensor : plan->program.tensors) stored += tensor.storage == BVL_STORAGE_CONSTANT && tensor.dtype == dtype ? tensor.bytes : 0;
    CHECK(stored == bytes);
  };
  const std::string behind = "t = DequantizeLinear <axis = 0> (q, s) y = Gather (t, i)";
  rows("int8[7,10] q = random(1), float[] s = {0.03}", behind, DType::int8, 70);
  rows("int8[7,10] q = random(1), float[7] s = {0.011, 0.02, 0.034, 0.005, 0.05, 0.062, 0.017}", behind, DType::int8, 70);
  rows("int4[7,10] q = random(1), float[7] s = {0.011, 0.02, 0.034, 0.005, 0.05, 0.062, 0.017}", behind, DType::int4, 56);
  rows("int4[7,10] q = random(1), float[7,3] s = {0.011, 0.02, 0.034, 0.005, 0.05, 0.062, 0.017, 0.041, 0.027, 0.009, 0.013, 0.03, 0.045, 0.0525, 0.008, 0.023, 0.037, 0.029, 0.012, 0.06, 0.0075}", "t = DequantizeLinear <axis = 1, block_size = 4> (q, s) y = Gather (t, i)", DType::int4, 56);
  rows("int8[7,10] q = random(1), float[10] s = {0.011, 0.02, 0.034, 0.005, 0.05, 0.062, 0.017, 0.041, 0.027, 0.009}", "t = DequantizeLinear <axis = 1> (q, s) y = Gather (t, i)", DType::int8, 70);
  rows("float16[7,10] h = random(1)", "t = Cast <to = 1> (h) y = Gather (t, i)", DType::float16, 140);
  rows("float[7,10] t = random(1)", "y = Gather (t, i)", DType::float32, 280);
  rows("int8[7,10] q = random(1), float[] s = {0.03}, int8[] z = {4}", "r = Gather (q, i) y = DequantizeLinear (r, s, z)", DType::int8, 70);
  rows("uint8[7,10] q = random(1), float[] s = {0.03}, uint8[] z = {120}", "r = Gather (q, i) y = DequantizeLinear (r, s, z)", DType::int8, 70);
  rows("float[10,7] t = random(1)", "g = Gather <axis = 1> (t, i) y = Transpose <perm = [1, 2, 0]> (g)", DType::float32, 280);
}

TEST_CASE("an index past the table is an error of the evaluator, with kernels too") {
  const Model model = parsed("<ir_version: 10, opset_import: [\"\" : 21]>\nmain (int64[2] i) => (float[2,10] y) <int8[7,10] q = random(1), float[] s = {0.03}>\n"
                             "{ t = DequantizeLinear (q, s) y = Gather (t, i) }");
  eval::EvalOptions options;
  options.kernels = eval::Kernels::all;
  const auto evaluator = eval::Evaluator::create(model, options);
  REQUIRE(evaluator);
  for (const std::int64_t index : {-8, -7, 6, 7}) {
    const std::vector<Datum> inputs = {Tensor::of<std::int64_t>({2}, {0, index})};
    const auto outputs = (*evaluator)->run(inputs);
    INFO(index);
    CHECK(outputs.has_value() == (index >= -7 && index < 7));
    if (!outputs) CHECK(outputs.error().message.find("range") != std::string::npos);
  }
}

TEST_CASE("gather between integers") {
  const std::string list = ", int64[2,2] i = {5, 0, -1, 2}";
  check_integer({"rows", {"6,5"}, "2,2,5", list, "y = Gather (x0, i)", 0, true});
  check_integer({"columns", {"3,6,2"}, "3,2,2,2", list, "y = Gather <axis = 1> (x0, i)", 0, true});
  check_integer({"own scale", {"6,5"}, "2,2,5", list, "y = Gather (x0, i)", 1, false});
  check_wide({"rows", {"6,5"}, "2,2,5", list, "y = Gather (x0, i)", 0, true});
  check_wide({"own scale", {"6,5"}, "2,2,5", list, "y = Gather (x0, i)", 1, false});
}

TEST_CASE("pooling and means") {
  check_integer({"MaxPool", {"1,3,8,8"}, "1,3,4,4", "", "y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x0)", 0, true});
  check_integer({"MaxPool, own scale", {"1,3,8,8"}, "1,3,4,4", "", "y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x0)", 1, false, "0.09"});
  check_integer({"GlobalMaxPool", {"1,5,4,4"}, "1,5,1,1", "", "y = GlobalMaxPool (x0)", 0, true});
  check_integer({"AveragePool", {"1,3,8,8"}, "1,3,4,4", "", "y = AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]> (x0)"});
  check_integer({"AveragePool with padding", {"1,3,8,8"}, "1,3,4,4", "",
                 "y = AveragePool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], count_include_pad = 1> (x0)"});
  check_integer({"AveragePool ceil", {"1,3,8,8"}, "1,3,4,4", "", "y = AveragePool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1> (x0)"});
  check_integer({"1-D AveragePool", {"1,3,12"}, "1,3,6", "", "y = AveragePool <kernel_shape = [2], strides = [2]> (x0)"});
  check_integer({"GlobalAveragePool", {"2,5,4,6"}, "2,5,1,1", "", "y = GlobalAveragePool (x0)", 1, false, "0.011"});
  check_integer({"ReduceMean", {"2,5,4,6"}, "2,5", "", "y = ReduceMean <axes = [2, 3], keepdims = 0> (x0)", 1, false, "0.011"});
}

TEST_CASE("arithmetic with broadcasting") {
  check_integer({"Add", {"1,3,4,5", "1,3,4,5"}, "1,3,4,5", "", "y = Add (x0, x1)", 1, false, "0.09"});
  check_integer({"Add Relu", {"1,3,4,5", "1,3,4,5"}, "1,3,4,5", "", "a = Add (x0, x1)\n y = Relu (a)", 1, false, "0.09"});
  check_integer({"Sub", {"2,3,4", "3,1"}, "2,3,4", "", "y = Sub (x0, x1)", 1, false, "0.09"});
  check_integer({"Mul", {"1,3,4,5", "1,3,1,1"}, "1,3,4,5", "", "y = Mul (x0, x1)", 1, false, "0.2"});
  check_integer({"Mul of both sides", {"4,1", "1,6"}, "4,6", "", "y = Mul (x0, x1)", 1, false, "0.2"});
  check_integer({"Add of a constant", {"1,3,4,5"}, "1,3,4,5", ", float[] sk = {0.02}, uint8[] zk = {100}, uint8[3,1,1] qk = {0, 120, 255}",
                 "k = DequantizeLinear (qk, sk, zk)\n y = Add (x0, k)", 1, false, "0.09"});
  check_integer({"constant first", {"1,3,4,5"}, "1,3,4,5", ", float[] sk = {0.02}, int8[] zk = {-3}, int8[5] qk = {0, 120, -55, 7, 8}",
                 "k = DequantizeLinear (qk, sk, zk)\n y = Sub (k, x0)", 1, false, "0.09"});
}

TEST_CASE("data movement is exact; other scales go through a table") {
  check_integer({"Reshape", {"2,3,4"}, "6,4", ", int64[2] shape = {6, 4}", "y = Reshape (x0, shape)", 0, true});
  check_integer({"Flatten", {"2,3,4"}, "2,12", "", "y = Flatten (x0)", 0, true});
  check_integer({"Transpose", {"2,3,4,5"}, "5,2,4,3", "", "y = Transpose <perm = [3, 0, 2, 1]> (x0)", 0, true});
  check_integer({"Transpose, own scale", {"2,3,4"}, "4,3,2", "", "y = Transpose (x0)", 1, false});
  check_integer({"Concat", {"1,2,3,3", "1,4,3,3"}, "1,6,3,3", "", "y = Concat <axis = 1> (x0, x1)", 0, true});
  check_integer({"Concat, own scales", {"1,2,3,3", "1,4,3,3"}, "1,6,3,3", "", "y = Concat <axis = -3> (x0, x1)"});
  check_integer({"Slice", {"2,6,7"}, "2,2,4", ", int64[2] b = {5, 0}, int64[2] e = {-100, 7}, int64[2] a = {1, 2}, int64[2] s = {-3, 2}",
                 "y = Slice (x0, b, e, a, s)", 0, true});
  check_integer({"Pad", {"1,3,4,4"}, "1,3,7,5", ", int64[8] p = {0, 0, 1, 1, 0, 0, 2, 0}, float[] v = {1.5}", "y = Pad (x0, p, v)", 1, true});
  check_integer({"Pad that crops", {"1,3,4,4"}, "1,3,3,5", ", int64[8] p = {0, 0, -1, 1, 0, 0, 0, 0}", "y = Pad (x0, p)", 0, true});
  check_integer({"Expand", {"3,1,4"}, "2,3,5,4", ", int64[4] shape = {2, 3, 5, 4}", "y = Expand (x0, shape)", 0, true});
  check_integer({"Relu of its own", {"2,3,4"}, "2,3,4", "", "y = Relu (x0)", 0, true});
  check_integer({"Clip, own scale", {"2,3,4"}, "2,3,4", ", float[] low = {-1}, float[] high = {2}", "y = Clip (x0, low, high)", 1, false});
}

TEST_CASE("a convolution between movements keeps its channels-last memory") {
  check_integer({"Conv, Concat, Flatten", {"1,3,4,4"}, "1,112", std::string(kWeights) + ", int8[4,3,1,1] qw = random(12), int8[] zc = {0}, float[] sc = {0.05}",
                 kWeighted + std::string("c = Conv (x0, w, b)\n qc = QuantizeLinear (c, sc, zc)\n dc = DequantizeLinear (qc, sc, zc)\n"
                                         " k = Concat <axis = 1> (x0, dc)\n qk = QuantizeLinear (k, sc, zc)\n dk = DequantizeLinear (qk, sc, zc)\n y = Flatten (dk)"),
                 2});
}

TEST_CASE("pointwise functions are tables") {
  for (const char* op : {"Sigmoid", "Tanh", "HardSwish", "HardSigmoid", "Elu", "Softplus", "LeakyRelu", "Erf", "Abs", "Exp"}) {
    check_integer({op, {"2,130"}, "2,130", "", "y = " + std::string(op) + " (x0)", 1, false, "0.013"});
  }
}

TEST_CASE("softmax has its fixed output") {
  check_integer({"Softmax", {"3,12"}, "3,12", "", "y = Softmax (x0)", 1, false, "0.00390625", "lowest"});
  check_integer({"Softmax over channels", {"2,12,3"}, "2,12,3", "", "y = Softmax <axis = 1> (x0)", 1, false, "0.00390625", "lowest"});
}

TEST_CASE("what integer kernels refuse says why") {
  const auto reason = [](const Case& c) {
    const Model model = parsed(text_of(c, "int8"));
    std::string text;
    for (const plan::Group& group : plan::group_graph(model).groups) {
      if (!group.reason.empty()) text += group.reason;
    }
    return text;
  };
  CHECK(reason({"weights", {"1,3,4,4", "4,3,1,1"}, "1,4,4,4", "", "y = Conv (x0, x1)"}).find("not quantized constants") != std::string::npos);
  CHECK(reason({"two activations", {"4,4", "4,4"}, "4,4", "", "y = MatMul (x0, x1)"}).find("two activations") != std::string::npos);
  CHECK(reason({"softmax", {"3,12"}, "3,12", "", "y = Softmax (x0)"}).find("1/256") != std::string::npos);
}

TEST_CASE("the accumulator's width is proved from the weights where their number does not suffice") {
  // 70000 products: 70000 * 128 * 256 passes 2^31. Small weights fit all the same; full-range ones do not.
  Model model = parsed(text_of({"width", {"1,70000"}, "1,1", ", float[] sw = {0.01}, int8[] zw = {0}, int8[70000,1] qw = random(1)",
                                "w = DequantizeLinear (qw, sw, zw)\n y = MatMul (x0, w)"}, "int8"));
  const auto reason = [&] {
    std::string text;
    for (const plan::Group& group : plan::group_graph(model).groups) text += group.reason;
    return text;
  };
  CHECK(reason().empty());
  const std::vector<std::int8_t> large(70000, 127);
  model.graph.set_constant(model.graph.find_value("qw"), Tensor::of<std::int8_t>({70000, 1}, large));
  CHECK(reason().find("32 bits may not hold") != std::string::npos);
}

TEST_CASE("shapes that vary: integer kernels at each, prepared again where they are no longer kept") {
  const Model model = parsed(text_of({"dynamic", {"1,3,h,w"}, "1,4,?,?", kWeights + std::string(", int8[4,3,3,3] qw = random(1)"),
                                      kWeighted + std::string("y = Conv (x0, w, b)")}, "int8"));
  const plan::Grouping grouping = plan::group_graph(model);
  for (const plan::Group& group : grouping.groups) CHECK(group.reason.empty());  // unknown extents do not refuse a 3x3 window
  const eval::GroupKernels kernels(model, grouping);
  Random random(3);
  std::uint64_t packed = 0;  // as much as the first shape took, whatever follows
  for (int round = 0; round < 2; ++round) {
    for (std::int64_t height = 3; height < 23; ++height) {
      Tensor x = Tensor::zeros(DType::int8, {1, 3, height, 5});
      for (std::int64_t i = 0; i < x.size(); ++i) x.set_from_int64(i, static_cast<std::int64_t>(random.below(256)) - 128);
      const auto found = by_group_kernels(model, {x}, grouping, kernels);
      CHECK(found[0].dims() == Dims{1, 4, height - 2, 3});
      CHECK(found[0].same_bits(by_group_kernels(model, {x})[0]));
      if (packed == 0) packed = kernels.packed_bytes();
      CHECK(kernels.packed_bytes() == packed);
    }
  }
  CHECK(packed > 4 * 3 * 3 * 3);
}

TEST_CASE("kernels ask for their memory before they take it") {
  const Model model = parsed(text_of({"large", {"1,3,h,w"}, "1,4,?,?", kWeights + std::string(", int8[4,3,3,3] qw = random(1)"),
                                      kWeighted + std::string("y = Conv (x0, w, b)")}, "int8"));
  const plan::Grouping grouping = plan::group_graph(model);
  const eval::GroupKernels kernels(model, grouping);
  REQUIRE(grouping.groups.size() == 1);
  std::vector<eval::HeldValue> operands;
  for (const plan::GroupEdge& edge : grouping.groups[0].inputs) {
    const Tensor* constant = edge.border.valid() ? model.graph.constant(edge.border) : nullptr;
    if (!edge.border.valid()) operands.emplace_back();
    else operands.emplace_back(Datum(constant ? *constant : Tensor::zeros(DType::int8, {1, 3, 66, 34})));
  }
  std::uint64_t asked = 0;
  const auto refused = kernels.run(0, operands, [&](std::uint64_t bytes) -> Status {
    asked += bytes;
    return fail_input("not that much");
  });
  REQUIRE_FALSE(refused.has_value());
  CHECK(refused.error().message == "not that much");
  CHECK(asked >= 4 * 64 * 32 + 3 * 66 * 34);  // the output, and the input in the kernel's order
}

TEST_CASE("a sequence where a node takes a tensor is an error of its own") {
  const Model model = parsed(text_of({"one", {"2"}, "2", "", "y = Relu (x0)"}, "int8"));
  for (const NodeId id : model.graph.node_order()) {
    const Node& node = model.graph.node(id);
    const std::vector<Datum> operands(node.inputs.size(), Datum(std::vector<Datum>{Datum(Tensor::scalar<float>(1))}));
    const auto results = ops::evaluate_node(node, model.opset(), operands, 1 << 20);
    REQUIRE_FALSE(results.has_value());
    CHECK(results.error().message.find("input 0 is a sequence, but a tensor is expected") != std::string::npos);
  }
}

TEST_CASE("the host rounds a real value to an integer as the kernel does") {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> points = {0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 0.49999997f, 126.5f, 127.5f, -128.5f, 3e9f, -3e9f, 1e38f,
                                     kInfinity, -kInfinity, std::numeric_limits<float>::quiet_NaN(), 0.0f, -0.0f};
  for (int zero_point : {-128, -7, 0, 127}) {
    const bvl_quantize_f32_s8_params params{static_cast<std::int32_t>(points.size()), 1.0f, zero_point, -128, 127};
    std::vector<std::int8_t> kernel(points.size());
    const void* in[] = {points.data()};
    void* out[] = {kernel.data()};
    bvl_kernel_function(BVL_KERNEL_QUANTIZE_F32_S8)(&params, in, out, nullptr, 0, 1);
    for (std::size_t i = 0; i < points.size(); ++i) {
      INFO(points[i] << " zero point " << zero_point);
      CHECK(ops::quantize(static_cast<double>(points[i]), zero_point, ops::kInt8Range) == kernel[i]);
    }
  }
  CHECK(ops::quantize(2.5, 0, ops::kInt8Range) == 2);
  CHECK(ops::quantize(3.5, 1, ops::kInt8Range) == 5);
  CHECK(ops::quantize(-1e300, 0, {-127, 127}) == -127);
  CHECK(ops::quantize(std::numeric_limits<double>::quiet_NaN(), 5, {-127, 127}) == -127);
}

TEST_CASE("a clamp folds into the one result that it alone reads") {
  const auto folds = [](const std::string& nodes, const std::string& outputs = "float[2,4] y") {
    const Model model = parsed("<ir_version: 8, opset_import: [\"\" : 13]>\nmain (float[2,4] x) => (" + outputs +
                               ")\n<float[4,4] w = random(1), float[] low = {0}, float[] high = {6}>\n{\n" + nodes + "\n}");
    const ValueId v = model.graph.find_value("v");
    const NodeId producer = model.graph.value(v).producer, reader = model.graph.value(v).uses[0].node;
    return ops::may_fold_clamp(model.graph, v, ops::facts_of(model, model.graph, producer).value,
                               model.graph.node(producer).outputs.size(), ops::facts_of(model, model.graph, reader).value);
  };
  CHECK(folds("v = MatMul (x, w)\n y = Relu (v)"));
  CHECK(folds("v = MatMul (x, w)\n y = Clip (v, low, high)"));
  CHECK(folds("v = Add (x, x)\n y = Relu (v)"));
  CHECK_FALSE(folds("v = MatMul (x, w)\n y = Tanh (v)"));
  CHECK_FALSE(folds("v = MatMul (x, w)\n y = Relu (v)", "float[2,4] v, float[2,4] y"));
  CHECK_FALSE(folds("v = MatMul (x, w)\n y = Relu (v)\n z = Tanh (v)", "float[2,4] y, float[2,4] z"));
  CHECK_FALSE(folds("v = Softmax (x)\n y = Relu (v)"));
}

TEST_CASE("operators in QOperator form") {
  const Model model = parsed(R"(<ir_version: 8, opset_import: ["" : 13]>
main (uint8[1,3,6,6] x) => (uint8[1,5] y)
<float[] sx = {0.05}, uint8[] zx = {130}, float[4] sw = {0.01, 0.02, 0.015, 0.03}, int8[4] zw = {0, 0, 0, 0}, int8[4,3,3,3] w = random(3),
 float[] sc = {0.08}, uint8[] zc = {90}, int32[4] b = {100, -200, 300, 0}, float[] sm = {0.01}, int8[] zm = {0}, int8[16,5] m = random(4),
 float[] sy = {0.2}, uint8[] zy = {128}, int64[2] shape = {1, 16}>
{
  c = QLinearConv (x, sx, zx, w, sw, zw, sc, zc, b)
  p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c)
  f = Reshape (p, shape)
  y = QLinearMatMul (f, sc, zc, m, sm, zm, sy, zy)
})");
  const auto inputs = random_inputs(model, 3);
  const auto expected = reference(model, inputs), found = by_program(model, inputs, true), held = by_group_kernels(model, inputs);
  for (std::int64_t i = 0; i < 5; ++i) CHECK(std::abs(found[0].as_int64(i) - expected[0].as_int64(i)) <= 1);
  CHECK(held[0].same_bits(found[0]));
}

TEST_CASE("float kernels") {
  check_float("conv", R"(main (float[1,3,6,6] x) => (float[1,4,6,6] y) <float[4,3,3,3] w = random(1), float[4] b = random(2)>
{ c = Conv <pads = [1, 1, 1, 1]> (x, w, b) y = Relu (c) })");
  check_float("grouped conv", R"(main (float[1,4,6,6] x) => (float[1,4,4,4] y) <float[4,1,3,3] w = random(1)> { y = Conv <group = 4> (x, w) })");
  check_float("gemm", R"(main (float[3,6] x) => (float[3,4] y) <float[4,6] w = random(1), float[4] b = random(2)>
{ y = Gemm <transB = 1, alpha = 0.5, beta = 2.0> (x, w, b) })");
  check_float("matmul", "main (float[2,3,6] x, float[2,6,4] z) => (float[2,3,4] y) { y = MatMul (x, z) }");
  check_float("pools", R"(main (float[1,3,7,7] x) => (float[1,3,3,3] a, float[1,3,3,3] m, float[1,3,1,1] g)
{ a = AveragePool <kernel_shape = [3, 3], strides = [2, 2]> (x) m = MaxPool <kernel_shape = [3, 3], strides = [2, 2]> (x) g = GlobalAveragePool (x) })");
  check_float("binary", "main (float[2,3,4] x, float[3,1] z) => (float[2,3,4] y) { a = Mul (x, z) b = Sub (a, x) c = Max (b, z) y = Div (c, z) }");
  check_float("unary", "main (float[2,3,4] x) => (float[2,3,4] y) { a = Sigmoid (x) b = Tanh (a) c = LeakyRelu (b) y = Softmax <axis = 1> (c) }");
  check_float("hard functions", "main (float[2,3,4] x) => (float[2,3,4] y) { a = HardSwish (x) y = HardSigmoid (a) }", 14);
  check_float("reduce", R"(main (float[2,3,4] x) => (float[2,4] y, float[2,3,1] m) <int64[1] axes = {1}>
{ y = ReduceSum <keepdims = 0> (x, axes) m = ReduceMax <axes = [2]> (x) })");
  check_float("movement", R"(main (float[2,3,4] x) => (float[3,8] y) <int64[2] s = {3, 8}> { t = Transpose <perm = [1, 0, 2]> (x) y = Reshape (t, s) })");
  check_float("borders", R"(main (float[2,3] x) => (float[2,3] y) <float[] s = {0.1}, uint8[] z = {120}>
{ r = Exp (x) q = QuantizeLinear (r, s, z) d = DequantizeLinear (q, s, z) y = Neg (d) })");
}
