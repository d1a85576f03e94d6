// Grouping on text-form graphs, arena placement against its proven bound, Programs that the runtime opens.
#include <catch2/catch.hpp>
#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "lib/eval/evaluator.h"
#include "lib/ir/text.h"
#include "lib/onnx/onnx.h"
#include "lib/ops/op.h"
#include "lib/plan/grouping.h"
#include "lib/plan/program.h"
#include "lib/runtime/bevel_runtime.h"
#include "lib/support/random.h"

using namespace bevel;
using namespace bevel::plan;

namespace {

Model model_of(const std::string& body) {
  auto model = parse_text("<ir_version: 8, opset_import: [\"\" : 13]>\n" + body);
  if (!model) FAIL(model.error().message);
  const auto status = ops::infer_types(*model);
  if (!status) FAIL(status.error().message);
  return std::move(*model);
}

const Group& group_at(const Grouping& grouping, const Model& model, const std::string& anchor) {
  for (const Group& group : grouping.groups) {
    if (model.graph.node(group.anchor).name == anchor) return group;
  }
  FAIL("no group of " << anchor);
  return grouping.groups[0];
}

std::string border(const Model& model, const GroupEdge& edge) {
  return edge.border.valid() ? model.graph.value(edge.border).name : "";
}

// x -> Q -> DQ -> Conv -> Relu -> Q -> DQ -> Conv ... ; the weights' zero point is a parameter.
std::string conv_graph(const std::string& weight_zero, const std::string& tail) {
  return R"(main (int8[1,2,4,4] qx) => ()" + tail + R"()
<float[] sx = {0.05}, int8[] zx = {3}, float[3] sw = {0.01, 0.02, 0.03}, int8[3] zw = )" + weight_zero + R"(,
 float[3] sb = {0.0005, 0.001, 0.0015}, int32[3] zb = {0, 0, 0}, float[] sy = {0.04}, int8[] zy = {-128},
 int8[3,2,3,3] qw = random(1), int32[3] qb = {10, -20, 30}>
{
  ["dqx"] x = DequantizeLinear (qx, sx, zx)
  ["dqw"] w = DequantizeLinear <axis = 0> (qw, sw, zw)
  ["dqb"] b = DequantizeLinear <axis = 0> (qb, sb, zb)
  ["conv"] c = Conv <pads = [1, 1, 1, 1]> (x, w, b)
  ["relu"] r = Relu (c)
  ["q"] qy = QuantizeLinear (r, sy, zy)
  ["dqy"] y = DequantizeLinear (qy, sy, zy)
})";
}

}  // namespace

TEST_CASE("a convolution takes its DequantizeLinear nodes, its activation and its QuantizeLinear") {
  const Model model = model_of(conv_graph("{0, 0, 0}", "float[1,3,4,4] y"));
  const Grouping grouping = group_graph(model);
  REQUIRE(grouping.groups.size() == 2);  // the convolution, the last DequantizeLinear
  const Group& conv = group_at(grouping, model, "conv");
  CHECK(conv.integer);
  CHECK(conv.members.size() == 6);
  REQUIRE(conv.inputs.size() == 3);
  CHECK(border(model, conv.inputs[0]) == "qx");
  CHECK(border(model, conv.inputs[1]) == "qw");
  CHECK(border(model, conv.inputs[2]) == "qb");
  CHECK(conv.inputs[1].quantization->axis == 0);
  CHECK(conv.inputs[1].quantization->scales == std::vector<float>{0.01f, 0.02f, 0.03f});
  CHECK(border(model, conv.outputs[0]) == "qy");
  REQUIRE(conv.clamp.has_value());
  CHECK(conv.clamp->low == 0);
  CHECK_FALSE(group_at(grouping, model, "dqy").integer);
}

TEST_CASE("what the kernels cannot do leaves the pattern in parts, with the reason") {
  const Model model = model_of(conv_graph("{0, 7, 0}", "float[1,3,4,4] y"));
  const Grouping grouping = group_graph(model);
  const Group& conv = group_at(grouping, model, "conv");
  CHECK_FALSE(conv.integer);
  CHECK(conv.reason.find("zero point is 7") != std::string::npos);
  CHECK(grouping.groups.size() == 7);  // every node by itself
  // Such a graph still runs: constants are dequantized at plan time, the rest in float.
  const auto plan = plan_model(model);
  REQUIRE(plan);
  REQUIRE(plan->stays_float.size() >= 1);
  CHECK(plan->stays_float[0].node == "conv");
}

TEST_CASE("a float kernel takes the clamp behind it, where nobody else reads in between") {
  const auto graph = [](const std::string& outputs) {
    return model_of("main (float[1,2,4,4] x) => (" + outputs + R"()
<float[3,2,3,3] w = random(1), float low = {0}, float high = {6}>
{
  ["conv"] c = Conv <pads = [1, 1, 1, 1]> (x, w)
  ["clip"] y = Clip (c, low, high)
})");
  };
  const Model model = graph("float[1,3,4,4] y");
  const Grouping grouping = group_graph(model);
  REQUIRE(grouping.groups.size() == 1);
  REQUIRE(grouping.groups[0].clamp.has_value());
  CHECK(grouping.groups[0].clamp->high == 6);
  CHECK_FALSE(grouping.groups[0].integer);
  CHECK(border(model, grouping.groups[0].outputs[0]) == "y");
  const auto kernels = [](const Plan& plan) {
    return std::count_if(plan.program.steps.begin(), plan.program.steps.end(),
                         [](const ProgramStep& step) { return step.kernel != BVL_KERNEL_COPY; });
  };
  const auto plan = plan_model(model);
  REQUIRE(plan);
  CHECK(kernels(*plan) == 1);

  const Model read_twice = graph("float[1,3,4,4] y, float[1,3,4,4] c");
  CHECK(group_graph(read_twice).groups.size() == 2);
  const auto apart = plan_model(read_twice);
  REQUIRE(apart);
  CHECK(kernels(*apart) == 2);
}

TEST_CASE("an activation folds only when nobody else reads in front of it") {
  const Model model = model_of(conv_graph("{0, 0, 0}", "float[1,3,4,4] y, float[1,3,4,4] c"));
  const Grouping grouping = group_graph(model);
  const Group& conv = group_at(grouping, model, "conv");
  CHECK_FALSE(conv.integer);
  CHECK(conv.reason.find("'c' is not quantized") != std::string::npos);
  CHECK_FALSE(conv.clamp.has_value());
}

TEST_CASE("one DequantizeLinear serves several groups; data movement and lone clamps are integer groups") {
  const Model model = model_of(R"(main (uint8[1,4,6,6] qx) => (uint8[1,8,3,3] qc, uint8[1,4,6,6] qt)
<float[] s = {0.1}, uint8[] z = {10}, float[] six = {6}, float[] zero = {0}>
{
  ["dq"] x = DequantizeLinear (qx, s, z)
  ["pool"] p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x)
  ["q1"] qp = QuantizeLinear (p, s, z)
  ["dq1"] dp = DequantizeLinear (qp, s, z)
  ["concat"] c = Concat <axis = 1> (dp, dp)
  ["q2"] qc = QuantizeLinear (c, s, z)
  ["clip"] t = Clip (x, zero, six)
  ["q3"] qt = QuantizeLinear (t, s, z)
})");
  const Grouping grouping = group_graph(model);
  REQUIRE(grouping.groups.size() == 3);
  for (const Group& group : grouping.groups) CHECK(group.integer);
  CHECK(border(model, group_at(grouping, model, "pool").inputs[0]) == "qx");
  CHECK(border(model, group_at(grouping, model, "clip").inputs[0]) == "qx");
  CHECK(border(model, group_at(grouping, model, "concat").inputs[1]) == "qp");
}

TEST_CASE("a float model has one group per node and says why") {
  const Model model = model_of("main (float[2,3] x) => (float[2,3] y) { [\"r\"] r = Relu (x) [\"s\"] y = Softmax (r) }");
  const Grouping grouping = group_graph(model);
  REQUIRE(grouping.groups.size() == 2);
  CHECK(group_at(grouping, model, "r").reason.find("'x' is not quantized") != std::string::npos);
  CHECK_FALSE(group_at(grouping, model, "s").integer);
}

TEST_CASE("transposes and reshapes are relabelled memory, the input and output are the quantized values") {
  // NHWC input: Transpose, Conv, Transpose, Reshape; nothing moves.
  const Model model = model_of(R"(main (float[N,4,4,2] image) => (float[N,16,3] out)
<float[] sx = {0.05}, uint8[] zx = {131}, float[] sw = {0.01}, int8[] zw = {0}, float[] sy = {0.04}, uint8[] zy = {0},
 int8[3,2,1,1] qw = random(1), int64[3] shape = {0, 16, 3}>
{
  t = Transpose <perm = [0, 3, 1, 2]> (image)
  qx = QuantizeLinear (t, sx, zx)
  x = DequantizeLinear (qx, sx, zx)
  w = DequantizeLinear (qw, sw, zw)
  ["conv"] c = Conv (x, w)
  qc = QuantizeLinear (c, sy, zy)
  dc = DequantizeLinear (qc, sy, zy)
  back = Transpose <perm = [0, 2, 3, 1]> (dc)
  out = Reshape (back, shape)
})");
  const auto plan = plan_model(model);
  if (!plan) FAIL(plan.error().message);
  const Program& program = plan->program;
  REQUIRE(program.steps.size() == 1);
  CHECK(program.steps[0].kernel == BVL_KERNEL_CONV2D_S8);
  REQUIRE(program.entries.size() == 1);
  const ProgramTensor& input = program.tensors[program.entries[0].inputs[0]];
  CHECK(input.name == "image");
  CHECK(input.dtype == DType::int8);
  CHECK(input.model_dtype == DType::float32);
  CHECK(input.dims == Dims{1, 4, 4, 2});
  REQUIRE(input.quantization.has_value());
  CHECK(input.quantization->zero_points[0] == 3);  // 131 - 128
  const ProgramTensor& output = program.tensors[program.entries[0].outputs[0]];
  CHECK(output.name == "out");
  CHECK(output.dims == Dims{1, 16, 3});
  CHECK(program.arena_bytes == program.arena_lower_bound);

  PlanOptions options;
  options.float_io = true;
  const auto with_float = plan_model(model, options);
  REQUIRE(with_float);
  CHECK(with_float->program.steps.size() == 3);
  CHECK(with_float->program.tensors[with_float->program.entries[0].inputs[0]].dtype == DType::float32);

  // Both run, and give the same floats.
  Random random(5);
  std::vector<float> values(32);
  for (float& value : values) value = random.uniform(-4, 4);
  const std::vector<Tensor> in = {Tensor::of<float>({1, 4, 4, 2}, values)};
  std::vector<Tensor> results;
  for (const Program* each : {&program, &with_float->program}) {
    const auto runner = eval::ProgramRunner::open(program_bytes(*each), "test");
    if (!runner) FAIL(runner.error().message);
    const auto out = (*runner)->run(in);
    if (!out) FAIL(out.error().message);
    results.push_back((*out)[0]);
  }
  CHECK(results[0].same_bits(results[1]));
}

TEST_CASE("in place where the operand ends, never where it is still read") {
  const auto text = [](const std::string& output, const std::string& last) {
    return R"(main (int8[1,8,8,8] qx) => ()" + output + R"()
<float[] s = {0.1}, int8[] z = {0}, float[] s2 = {0.2}>
{
  x = DequantizeLinear (qx, s, z)
  a = Sigmoid (x)
  qa = QuantizeLinear (a, s, z)
  da = DequantizeLinear (qa, s, z)
  b = Tanh (da)
  qb = QuantizeLinear (b, s2, z)
  db = DequantizeLinear (qb, s2, z)
  c = Add ()" + last + R"()
  qc = QuantizeLinear (c, s2, z)
})";
  };
  const auto chain = plan_model(model_of(text("int8[1,8,8,8] qc", "db, db")));
  REQUIRE(chain);
  CHECK(chain->program.steps.size() == 3);
  // The table steps reuse the input; x + x reads the same bytes twice, which is not allowed in place.
  CHECK(chain->program.arena_bytes == 2 * 512);
  const auto residual = plan_model(model_of(text("int8[1,8,8,8] qc", "da, db")));
  REQUIRE(residual);
  CHECK(residual->program.arena_bytes == 2 * 512);
  const auto both = plan_model(model_of(text("int8[1,8,8,8] qc, int8[1,8,8,8] qa", "da, db")));
  REQUIRE(both);
  CHECK(both->program.arena_bytes == 2 * 512);
}

TEST_CASE("plan_shapes gives the sizes of plan_model without packing") {
  const Model model = model_of(conv_graph("{0, 0, 0}", "float[1,3,4,4] y"));
  const auto full = plan_model(model), shapes = plan_shapes(model);
  REQUIRE(full);
  REQUIRE(shapes);
  CHECK(full->program.arena_bytes == shapes->program.arena_bytes);
  CHECK(full->program.constant_bytes == shapes->program.constant_bytes);
  for (const ProgramTensor& tensor : shapes->program.tensors) CHECK_FALSE(tensor.constant.defined());
  const auto device = target::find_device("nrf52840");
  REQUIRE(device);
  const Cost cost = cost_of(shapes->program, *device);
  CHECK(cost.ram_bytes == full->program.arena_bytes);
  CHECK(cost.flash_bytes > full->program.constant_bytes / 2);
  CHECK(cost.cycles > 0);
  CHECK(cost.layers.size() == full->program.steps.size());
}

TEST_CASE("what a Program cannot hold is named with node and reason") {
  const auto open_shape = plan_model(model_of("main (float[N,\"height\"] x) => (float[N,\"height\"] y) { [\"r\"] y = Relu (x) }"));
  REQUIRE_FALSE(open_shape);
  CHECK(open_shape.error().code == ExitCode::input);
  CHECK(open_shape.error().message.find("height") != std::string::npos);
  const auto no_kernel = plan_model(model_of("main (double[2] x) => (double[2] y) { [\"r\"] y = Relu (x) }"));
  REQUIRE_FALSE(no_kernel);
  CHECK(no_kernel.error().message.find("double") != std::string::npos);
}

TEST_CASE("an input that is an output, a constant output and one value twice are copied") {
  const auto plan = plan_model(model_of(R"(main (float[4] x) => (float[4] x, float[2] k, float[4] y, float[4] z)
<float[2] k = {1, 2}> { y = Relu (x) z = Identity (y) })"));
  if (!plan) FAIL(plan.error().message);
  const auto runner = eval::ProgramRunner::open(program_bytes(plan->program), "test");
  if (!runner) FAIL(runner.error().message);
  const std::vector<Tensor> in = {Tensor::of<float>({4}, std::vector<float>{-1, 2, -3, 4})};
  const auto out = (*runner)->run(in);
  if (!out) FAIL(out.error().message);
  REQUIRE(out->size() == 4);
  CHECK((*out)[0].same_bits(in[0]));
  CHECK((*out)[1].as_floats() == std::vector<float>{1, 2});
  CHECK((*out)[2].as_floats() == std::vector<float>{0, 2, 0, 4});
  CHECK((*out)[3].same_bits((*out)[2]));
}

TEST_CASE("the arena: no overlap, never below the bound, near it on random instances") {
  Random random(11);
  double worst = 1;
  for (int instance = 0; instance < 60; ++instance) {
    std::vector<ArenaBlock> blocks(3 + random.below(30));
    for (ArenaBlock& block : blocks) {
      block.bytes = random.below(4096);
      block.first = static_cast<std::uint32_t>(random.below(20));
      block.last = block.first + static_cast<std::uint32_t>(random.below(6));
    }
    std::uint32_t peak = 0;
    const std::uint64_t bound = arena_lower_bound(blocks, 16, &peak);
    std::uint64_t alive = 0;
    for (const ArenaBlock& block : blocks) {
      if (block.first <= peak && peak <= block.last) alive += (block.bytes + 15) / 16 * 16;
    }
    CHECK(alive == bound);
    std::vector<ArenaBlock> again = blocks;
    const std::uint64_t size = place_blocks(blocks, 16);
    CHECK(size >= bound);
    worst = std::max(worst, bound ? static_cast<double>(size) / static_cast<double>(bound) : 1.0);
    for (std::size_t a = 0; a < blocks.size(); ++a) {
      CHECK(blocks[a].offset % 16 == 0);
      CHECK(blocks[a].offset + blocks[a].bytes <= size);
      for (std::size_t b = 0; b < a; ++b) {
        const bool live = blocks[a].first <= blocks[b].last && blocks[b].first <= blocks[a].last;
        const bool apart = blocks[a].offset + blocks[a].bytes <= blocks[b].offset ||
                           blocks[b].offset + blocks[b].bytes <= blocks[a].offset || !blocks[a].bytes || !blocks[b].bytes;
        CHECK((!live || apart));
      }
    }
    place_blocks(again, 16);
    for (std::size_t a = 0; a < blocks.size(); ++a) CHECK(again[a].offset == blocks[a].offset);
  }
  CHECK(worst < 1.25);
  std::vector<ArenaBlock> none;
  CHECK(place_blocks(none, 16) == 0);
}

TEST_CASE("program bytes open in the runtime, twice the same, and a flipped byte is refused") {
  const auto plan = plan_model(model_of(conv_graph("{0, 0, 0}", "float[1,3,4,4] y")));
  REQUIRE(plan);
  const std::vector<std::byte> bytes = program_bytes(plan->program);
  CHECK(bytes == program_bytes(plan->program));
  REQUIRE(eval::ProgramRunner::open(bytes, "test"));
  for (std::size_t at : {std::size_t{0}, std::size_t{40}, bytes.size() / 2}) {
    std::vector<std::byte> broken = bytes;
    broken[at] ^= std::byte{1};
    const auto runner = eval::ProgramRunner::open(broken, "broken.bvl");
    INFO(at);
    REQUIRE_FALSE(runner);
    CHECK(runner.error().message.find("broken.bvl") != std::string::npos);
  }
  CHECK_FALSE(alive_at(plan->program, plan->program.arena_peak_step).empty());
}

TEST_CASE("published quantized models plan to their bound") {
  const char* shared = std::getenv("BEVEL_SHARED");
  const std::filesystem::path folder = shared ? std::filesystem::path(shared) : std::filesystem::path(BEVEL_SOURCE_DIR) / ".." / "shared";
  const std::filesystem::path path = folder / "models" / "micro_kws" / "micro_kws_m_qdq.onnx";
  if (!std::filesystem::exists(path)) {
    WARN("skipped: no " << path.string());
    return;
  }
  const auto model = onnx::import_model(path);
  REQUIRE(model);
  const auto plan = plan_model(*model);
  if (!plan) FAIL(plan.error().message);
  CHECK(plan->program.arena_bytes == plan->program.arena_lower_bound);
  // Softmax at 1/255 is the one op that the kernels leave in float.
  REQUIRE(plan->stays_float.size() == 1);
  CHECK(plan->stays_float[0].op_type == "Softmax");
  const auto runner = eval::ProgramRunner::open(program_bytes(plan->program), "micro_kws");
  if (!runner) FAIL(runner.error().message);
  REQUIRE((*runner)->inputs().size() == 1);
  const auto& port = (*runner)->inputs()[0];
  CHECK((*runner)->run(std::vector<Tensor>{Tensor::zeros(port.model_dtype, port.dims)}));
}
