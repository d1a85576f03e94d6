// A lowering against its definition: DequantizeLinear, the float op by its family's evaluation, QuantizeLinear. A lowered group
// is at most one step apart on random data, data movement is exact, and the evaluator's kernels give the Program's bits.
#pragma once

#include <catch2/catch.hpp>
#include <cmath>
#include <cstdlib>
#include <limits>
#include <map>

#include "lib/eval/evaluator.h"
#include "lib/eval/group_kernels.h"
#include "lib/ir/text.h"
#include "lib/ops/evaluate.h"
#include "lib/plan/grouping.h"
#include "lib/plan/program.h"
#include "lib/support/random.h"

namespace bevel::test {

struct LoweringCase {
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

inline constexpr const char* kWeights =
    ", float[4] sw = {0.011, 0.007, 0.02, 0.003}, int8[4] zw = {0, 0, 0, 0}, float[4] sb = {0.00055, 0.00035, 0.001, 0.00015}, "
    "int32[4] zb = {0, 0, 0, 0}, int32[4] qb = {120, -700, 33, 5000}";
inline constexpr const char* kWeighted = "w = DequantizeLinear <axis = 0> (qw, sw, zw)\n b = DequantizeLinear <axis = 0> (qb, sb, zb)\n";

inline constexpr const char* kFourWeights =
    ", float[4] sw = {0.11, 0.07, 0.2, 0.03}, int4[4] zw = {0, 0, 0, 0}, float[4] sb = {0.0055, 0.0035, 0.01, 0.0015}, "
    "int32[4] zb = {0, 0, 0, 0}, int32[4] qb = {12, -70, 33, 500}";

// int16: zero points 0, and scales of a 256th, so that real values are those of 8 bits.
inline std::string text_of(const LoweringCase& c, const std::string& dtype) {
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

inline Model parsed(const std::string& text) {
  auto model = parse_text(text);
  if (!model) FAIL(model.error().message << "\n" << text);
  const auto status = ops::infer_types(*model);
  if (!status) FAIL(status.error().message << "\n" << text);
  return std::move(*model);
}

inline std::vector<Tensor> random_inputs(const Model& model, std::uint64_t seed) {
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
inline std::vector<Tensor> reference(const Model& model, const std::vector<Tensor>& inputs) {
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

inline std::vector<Tensor> by_group_kernels(const Model& model, const std::vector<Tensor>& inputs, const plan::Grouping& grouping,
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

inline std::vector<Tensor> by_group_kernels(const Model& model, const std::vector<Tensor>& inputs) {
  const plan::Grouping grouping = plan::group_graph(model);
  return by_group_kernels(model, inputs, grouping, eval::GroupKernels(model, grouping));
}

inline std::vector<Tensor> by_program(const Model& model, const std::vector<Tensor>& inputs, bool all_integer) {
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

inline void check_integer(const LoweringCase& c, const std::vector<std::string>& dtypes = {"int8", "uint8"}) {
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
inline void check_four(LoweringCase c, std::uint64_t bytes) {
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
inline void check_wide(LoweringCase c) {
  c.opset = 21;
  check_integer(c, {"int16"});
}

inline void check_float(const std::string& name, const std::string& text, int opset = 13) {
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
inline void check_stored(const std::string& name, const std::string& text, DType dtype, std::uint64_t bytes, std::int64_t weights) {
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

}  // namespace bevel::test
