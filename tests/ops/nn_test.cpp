// Corners of the neural network families and of inference, facts and upgrade that ONNX's node tests leave out:
// equal bits of any split, old forms, quantization's edges (windows: window_test.cpp).
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "lib/eval/evaluator.h"
#include "lib/ir/text.h"
#include "lib/ir/verify.h"
#include "lib/ops/evaluate.h"
#include "lib/ops/facts_derived.h"
#include "lib/ops/matrix_product.h"
#include "lib/ops/requantize.h"
#include "lib/support/random.h"
#include "tests/common/node_case.h"

namespace {

using namespace bevel;
using testing::Case;
using testing::parsed;
using Ints = std::vector<std::int64_t>;
using Floats = std::vector<float>;

Tensor random_tensor(Dims dims, std::uint64_t seed) {
  Tensor tensor = Tensor::zeros(DType::float32, std::move(dims));
  Random random(seed);
  for (float& value : tensor.mutable_values<float>()) value = random.uniform(-1, 1);
  return tensor;
}

std::string shape_after_inference(const std::string& text, const std::string& value) {
  Model model = parsed(text);
  const auto status = ops::infer_types(model);
  INFO((status ? std::string() : status.error().message));
  REQUIRE(status.has_value());
  REQUIRE(verify(model).has_value());
  return to_string(model.graph.value(model.graph.find_value(value)).type);
}

std::string inference_error(const std::string& text) {
  Model model = parsed(text);
  const auto status = ops::infer_types(model);
  REQUIRE_FALSE(status.has_value());
  CHECK(status.error().code == ExitCode::input);
  return status.error().message;
}

Floats run_model(const Model& model, Tensor input) {
  auto evaluator = eval::Evaluator::create(model);
  INFO((evaluator ? std::string() : evaluator.error().message));
  REQUIRE(evaluator.has_value());
  const std::vector<Datum> inputs{std::move(input)};
  auto outputs = (*evaluator)->run(inputs);
  INFO((outputs ? std::string() : outputs.error().message));
  REQUIRE(outputs.has_value());
  return (*outputs)[0].tensor()->as_floats();
}

TEST_CASE("16-bit floats are computed in float32 and rounded once") {
  Tensor x = Tensor::zeros(DType::float16, {1, 2, 6, 6}), w = Tensor::zeros(DType::float16, {3, 2, 3, 3});
  Random random(6);
  for (std::int64_t i = 0; i < x.size(); ++i) x.set_from_double(i, static_cast<double>(random.uniform(-1, 1)));
  for (std::int64_t i = 0; i < w.size(); ++i) w.set_from_double(i, static_cast<double>(random.uniform(-1, 1)));
  const Floats exact = Case("Conv")
                           .in(Tensor::of<float>(x.dims(), x.as_floats()))
                           .in(Tensor::of<float>(w.dims(), w.as_floats()))
                           .floats();
  const Tensor half = Case("Conv").in(x).in(w).result();
  REQUIRE(half.dtype() == DType::float16);
  for (std::size_t i = 0; i < exact.size(); ++i) {
    CHECK(half.values<std::uint16_t>()[i] == narrow_float16(exact[i]));
  }
}

TEST_CASE("The bits of a product depend on no split of rows, columns or depth") {
  constexpr std::int64_t kM = 23, kN = 150, kK = 600;
  const Tensor a = random_tensor({kM, kK}, 7), b = random_tensor({kK, kN}, 8), start = random_tensor({kM, kN}, 9);
  const float* av = a.values<float>().data();
  const float* bv = b.values<float>().data();
  Floats whole = start.as_floats();
  ops::multiply_add(kM, kN, kK, {av, kK, 1}, {bv, kN, 1}, whole.data(), kN);
  // Each element by itself: a chain of fused multiply-adds in the order of k.
  Floats single = start.as_floats();
  for (std::int64_t i = 0; i < kM; ++i)
    for (std::int64_t j = 0; j < kN; ++j)
      for (std::int64_t k = 0; k < kK; ++k) {
        float& c = single[static_cast<std::size_t>(i * kN + j)];
        c = __builtin_fmaf(av[i * kK + k], bv[k * kN + j], c);
      }
  CHECK(whole == single);
  Floats narrow = start.as_floats();
  ops::allow_wide_registers(false);
  ops::multiply_add(kM, kN, kK, {av, kK, 1}, {bv, kN, 1}, narrow.data(), kN);
  ops::allow_wide_registers(true);
  CHECK(narrow == whole);
  Floats parts = start.as_floats();
  for (std::int64_t i = 0; i < kM; i += 5)
    for (std::int64_t j = 0; j < kN; j += 37)
      for (std::int64_t k = 0; k < kK; k += 101) {
        ops::multiply_add(std::min<std::int64_t>(5, kM - i), std::min<std::int64_t>(37, kN - j),
                          std::min<std::int64_t>(101, kK - k), {av + i * kK + k, kK, 1}, {bv + k * kN + j, kN, 1},
                          parts.data() + i * kN + j, kN);
      }
  CHECK(parts == whole);
  // Transposed views.
  Floats at(static_cast<std::size_t>(kM * kK)), bt(static_cast<std::size_t>(kK * kN));
  for (std::int64_t i = 0; i < kM; ++i)
    for (std::int64_t k = 0; k < kK; ++k) at[static_cast<std::size_t>(k * kM + i)] = av[i * kK + k];
  for (std::int64_t k = 0; k < kK; ++k)
    for (std::int64_t j = 0; j < kN; ++j) bt[static_cast<std::size_t>(j * kK + k)] = bv[k * kN + j];
  Floats transposed = start.as_floats();
  ops::multiply_add(kM, kN, kK, {at.data(), 1, kM}, {bt.data(), 1, kK}, transposed.data(), kN);
  CHECK(transposed == whole);
}

TEST_CASE("QLinearSoftmax: within a step of ONNX Runtime, along an axis and over a matrix") {
  const auto off_by = [](const Tensor& y, const Ints& expected) {
    std::int64_t worst = 0;
    for (std::int64_t i = 0; i < y.size(); ++i)
      worst = std::max(worst, std::abs(y.as_int64(i) - expected[static_cast<std::size_t>(i)]));
    return worst;
  };
  const auto node = [](const Tensor& x, float scale, std::int64_t axis, std::int64_t opset) {
    const Tensor zero = Tensor::zeros(x.dtype(), {});
    Case one = Case("QLinearSoftmax").in(x).in(Tensor::scalar<float>(scale)).in(zero).in(Tensor::scalar<float>(1.0f / 256));
    one.node.domain = "com.microsoft";
    return one.attr("axis", axis).attr("opset", opset);
  };
  const Tensor bytes = Tensor::of<std::uint8_t>({2, 4}, std::vector<std::uint8_t>{10, 200, 180, 0, 5, 5, 5, 5});
  CHECK(off_by(node(bytes, 0.05f, -1, 13).result(), {0, 187, 69, 0, 64, 64, 64, 64}) <= 1);
  const Tensor signs = Tensor::of<std::int8_t>({1, 3, 2}, std::vector<std::int8_t>{-100, 50, 40, 60, 45, -3});
  const Tensor low = Tensor::scalar<std::int8_t>(-128);
  CHECK(off_by(node(signs, 0.03f, 1, 13).in(low).result(), {-126, -28, -10, 7, 9, -108}) <= 1);
  CHECK(off_by(node(signs, 0.03f, 1, 12).in(low).result(), {-127, -67, -82, -45, -75, -115}) <= 1);
  CHECK_THAT(node(signs, 0.03f, 3, 13).in(low).error(), Catch::Contains("axis"));
}

TEST_CASE("QuantizeLinear rounds half to even, saturates, and gives NaN the lowest value") {
  const float nan = std::numeric_limits<float>::quiet_NaN(), inf = std::numeric_limits<float>::infinity();
  const Tensor x = Tensor::of<float>({9}, Floats{0.5f, 1.5f, 2.5f, -0.5f, 1000, -1000, nan, inf, -inf});
  const Tensor q = Case("QuantizeLinear").in(x).in(Tensor::scalar(1.0f)).in(Tensor::scalar<std::int8_t>(1)).result();
  CHECK(q.as_int64s() == Ints{1, 3, 3, 1, 127, -128, -128, 127, -128});
  const Tensor back =
      Case("DequantizeLinear").in(q).in(Tensor::scalar(0.5f)).in(Tensor::scalar<std::int8_t>(1)).result();
  CHECK(back.as_floats() == Floats{0, 1, 1, 0, 63, -64.5f, -64.5f, 63, -64.5f});
}

TEST_CASE("Rounding half to even at the edges of float32") {
  CHECK(ops::round_half_even(0.49999997f) == 0.0f);
  CHECK(ops::round_half_even(8388607.5f) == 8388608.0f);
  CHECK(ops::round_half_even(4194304.5f) == 4194304.0f);
  CHECK(std::signbit(ops::round_half_even(-0.3f)));
  CHECK(ops::round_half_even(-2.5f) == -2.0f);
  CHECK(std::isnan(ops::round_half_even(std::numeric_limits<float>::quiet_NaN())));
  CHECK(ops::round_half_even(4503599627370495.5) == 4503599627370496.0);
}

TEST_CASE("Quantization per axis and per block, four bits included") {
  const Tensor x = Tensor::of<float>({2, 3}, Floats{1, 2, 3, 4, 5, 6});
  const Tensor axis = Case("QuantizeLinear")
                          .in(x)
                          .in(Tensor::of<float>({2}, Floats{1, 2}))
                          .in(Tensor::zeros(DType::int4, {2}))
                          .attr("axis", std::int64_t{0})
                          .result();
  CHECK(axis.dtype() == DType::int4);
  CHECK(axis.as_int64s() == Ints{1, 2, 3, 2, 2, 3});
  Case block = Case("QuantizeLinear")
                   .in(x)
                   .in(Tensor::of<float>({2, 2}, Floats{1, 0.5f, 2, 0.25f}))
                   .in(Tensor::zeros(DType::uint8, {2, 2}))
                   .attr("axis", std::int64_t{1})
                   .attr("block_size", std::int64_t{2});
  block.opset = 21;
  CHECK(block.result().as_int64s() == Ints{1, 2, 6, 2, 2, 24});
  CHECK_THAT(Case("QuantizeLinear").in(x).in(Tensor::of<float>({4}, Floats{1, 1, 1, 1})).error(),
             Catch::Contains("input 1 (scale)"));
}

TEST_CASE("QLinearConv sums exactly in the presence of extreme zero points") {
  const Tensor x = Tensor::of<std::uint8_t>({1, 1, 2, 2}, std::vector<std::uint8_t>{0, 255, 255, 0});
  const Tensor w = Tensor::of<std::int8_t>({1, 1, 1, 1}, std::vector<std::int8_t>{-128});
  const Tensor y = Case("QLinearConv")
                       .in(x)
                       .in(Tensor::scalar(0.5f))
                       .in(Tensor::scalar<std::uint8_t>(255))
                       .in(w)
                       .in(Tensor::scalar(0.5f))
                       .in(Tensor::scalar<std::int8_t>(127))
                       .in(Tensor::scalar(255.0f))
                       .in(Tensor::scalar<std::uint8_t>(3))
                       .result();
  // (0 - 255) * (-128 - 127) = 65025; 65025 * 0.25 / 255 = 63.75
  CHECK(y.as_int64s() == Ints{67, 3, 3, 67});
}

TEST_CASE("Clip: NaN stays, min above max gives max, bounds must match") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Floats y = Case("Clip")
                       .in(Tensor::of<float>({3}, Floats{nan, -9, 9}))
                       .in(Tensor::scalar(2.0f))
                       .in(Tensor::scalar(1.0f))
                       .floats();
  CHECK((std::isnan(y[0]) && y[1] == 1 && y[2] == 1));
  CHECK_THAT(Case("Clip").in(Tensor::scalar(1.0f)).in(Tensor::scalar(1.0)).error(), Catch::Contains("input 1 (min)"));
}

TEST_CASE("Softmax of large and infinite logits") {
  const float inf = std::numeric_limits<float>::infinity();
  CHECK(Case("Softmax").in(Tensor::of<float>({2, 2}, Floats{1000, 1000, -inf, 0})).floats() ==
        Floats{0.5f, 0.5f, 0, 1});
  CHECK(Case("LogSoftmax").in(Tensor::of<float>({1, 2}, Floats{-inf, 0})).floats() == Floats{-inf, 0});
  CHECK(Case("Softmax").in(Tensor::zeros(DType::float32, {2, 0})).result().dims() == Dims{2, 0});
}

TEST_CASE("MatMul: integers wrap, batches broadcast, a vector loses its axis") {
  const Tensor big = Tensor::of<std::int32_t>({1, 2}, std::vector<std::int32_t>{1 << 30, 1 << 30});
  CHECK(Case("MatMul")
            .in(big)
            .in(Tensor::of<std::int32_t>({2, 1}, std::vector<std::int32_t>{2, 2}))
            .result()
            .as_int64s() == Ints{0});
  const Tensor a = random_tensor({3, 1, 2, 4}, 1), b = random_tensor({5, 4, 3}, 2);
  const Tensor y = Case("MatMul").in(a).in(b).result();
  REQUIRE(y.dims() == Dims{3, 5, 2, 3});
  double want = 0;
  for (std::int64_t k = 0; k < 4; ++k) want += a.as_double(1 * 8 + 1 * 4 + k) * b.as_double(3 * 12 + k * 3 + 2);
  CHECK(y.as_double(((1 * 5 + 3) * 2 + 1) * 3 + 2) == Approx(want).margin(1e-6));
  CHECK(Case("MatMul").in(random_tensor({4}, 1)).in(b).result().dims() == Dims{5, 3});
  CHECK(Case("MatMul").in(random_tensor({4}, 1)).in(random_tensor({4}, 2)).result().dims() == Dims{});
  CHECK_THAT(Case("MatMul").in(a).in(random_tensor({3, 3}, 1)).error(),
             Catch::Contains("4 columns of A meet 3 rows of B"));
  CHECK(Case("MatMul").in(Tensor::zeros(DType::float32, {2, 0})).in(Tensor::zeros(DType::float32, {0, 3})).floats() ==
        Floats(6, 0.0f));
}

TEST_CASE("Inference follows shape arithmetic and keeps symbols") {
  CHECK(shape_after_inference(R"(<ir_version: 8, opset_import: ["" : 13]> g (float[N,3,8,8] x) => (float[?,?,?,?] y)
    <float[4,3,3,3] w = random(1)>
    { y = Conv <pads = [1,1,1,1]> (x, w) })",
                              "y") == "float[N,4,8,8]");
  CHECK(shape_after_inference(R"(<ir_version: 8, opset_import: ["" : 13]> g (float[N,3,H,8] x) => (float[?,?,?,?] y)
    <float[4,3,3,3] w = random(1)>
    { y = Conv <auto_pad = "SAME_UPPER"> (x, w) })",
                              "y") == "float[N,4,H,8]");
  CHECK(shape_after_inference(R"(<ir_version: 8, opset_import: ["" : 13]> g (float[N,3,4,5] x) => (float[?,?] y)
    <int64[1] first = {0}, int64[1] rest = {-1}, int64[1] axis = {0}, int64[1] one = {1}>
    {
      s = Shape (x)
      n = Slice (s, first, one, axis)
      t = Concat <axis = 0> (n, rest)
      y = Reshape (x, t)
    })",
                              "y") == "float[N,60]");
  CHECK(shape_after_inference(R"(<ir_version: 8, opset_import: ["" : 13]> g (float[2,3,4,5] x) => (float[?,?] y)
    <int64[1] first = {0}, int64[1] rest = {-1}, int64[1] axis = {0}, int64[1] one = {1}>
    {
      s = Shape (x)
      n = Slice (s, first, one, axis)
      t = Concat <axis = 0> (n, rest)
      y = Reshape (x, t)
    })",
                              "y") == "float[2,60]");
}

TEST_CASE("Inference: a contradiction names the node and both types") {
  const std::string declared =
      inference_error(R"(<ir_version: 8, opset_import: ["" : 13]> g (float[1,3,8,8] x) => (float[1,4,9,9] y)
    <float[4,3,3,3] w = random(1)> { ["conv1"] y = Conv (x, w) })");
  CHECK_THAT(declared,
             Catch::Contains("conv1") && Catch::Contains("float[1,4,9,9]") && Catch::Contains("float[1,4,6,6]"));
  CHECK_THAT(inference_error(R"(<ir_version: 8, opset_import: ["" : 13]> g (float[1,5,8,8] x) => (float[?,?,?,?] y)
    <float[4,3,3,3] w = random(1)> { ["conv1"] y = Conv (x, w) })"),
             Catch::Contains("conv1") && Catch::Contains("input 1 (W)"));
  CHECK_THAT(inference_error(R"(<ir_version: 8, opset_import: ["" : 13]> g (float[2,3] x) => (float[?,?] y)
    <float[4,5] w = random(1)> { ["fc"] y = MatMul (x, w) })"),
             Catch::Contains("fc") && Catch::Contains("3 columns of A meet 4 rows of B"));
}

TEST_CASE("Binding a symbol or an input's shape") {
  const std::string text =
      R"(<ir_version: 8, opset_import: ["" : 13]> g (float[N,3] x, float[N,3] z) => (float[N,3] y) { y = Add (x, z) })";
  Model model = parsed(text);
  const ops::ShapeBinding symbol[] = {{"N", {4}}};
  REQUIRE(ops::bind_shapes(model, symbol).has_value());
  CHECK(to_string(model.graph.value(model.graph.find_value("z")).type) == "float[4,3]");
  Model other = parsed(text);
  const ops::ShapeBinding input[] = {{"x", {7, 3}}};
  REQUIRE(ops::bind_shapes(other, input).has_value());
  CHECK(to_string(other.graph.value(other.graph.find_value("z")).type) == "float[7,3]");
  const ops::ShapeBinding wrong[] = {{"x", {7, 4}}};
  CHECK(ops::bind_shapes(other, wrong).error().code == ExitCode::usage);
  const ops::ShapeBinding unknown[] = {{"M", {7}}};
  CHECK(ops::bind_shapes(model, unknown).error().code == ExitCode::usage);
}

TEST_CASE("Facts: channels, MACs, reduction and depthwise follow from the iteration space") {
  const auto facts_of_node = [](const std::string& text) {
    Model model = parsed(text);
    REQUIRE(ops::infer_types(model).has_value());
    return ops::facts_of(model, model.graph, model.graph.find_node("n"));
  };
  const std::string head = R"(<ir_version: 8, opset_import: ["" : 13]> g )";
  const auto conv = facts_of_node(
      head +
      R"((float[2,8,10,10] x) => (float[?,?,?,?] y) <float[16,4,3,3] w = random(1)> { ["n"] y = Conv <group = 2> (x, w) })");
  CHECK(ops::macs(conv.space) == 2 * 16 * 4 * 9 * 64);
  CHECK(ops::channel_axis(conv.space, 1) == 0);
  CHECK(ops::reduction_size(conv.space) == 36);
  CHECK_FALSE(ops::is_depthwise(conv.space));
  const auto depthwise = facts_of_node(
      head +
      R"((float[1,8,10,10] x) => (float[?,?,?,?] y) <float[8,1,3,3] w = random(1)> { ["n"] y = Conv <group = 8> (x, w) })");
  CHECK(ops::is_depthwise(depthwise.space));
  CHECK(ops::channel_axis(depthwise.space, 1) == 0);
  const auto single = facts_of_node(
      head + R"((float[1,1,10,10] x) => (float[?,?,?,?] y) <float[8,1,3,3] w = random(1)> { ["n"] y = Conv (x, w) })");
  CHECK_FALSE(ops::is_depthwise(single.space));
  const auto transposed = facts_of_node(
      head +
      R"((float[1,6,5,5] x) => (float[?,?,?,?] y) <float[6,4,3,3] w = random(1)> { ["n"] y = ConvTranspose <strides = [2,2]> (x, w) })");
  CHECK(ops::channel_axis(transposed.space, 1) == 1);
  CHECK(ops::macs(transposed.space) == 6 * 4 * 9 * 25);
  CHECK(ops::reduction_size(transposed.space) == 6 * 4);  // at most 2 x 2 taps meet in one output
  const auto matmul = facts_of_node(
      head + R"((float[2,7,5] x) => (float[?,?,?] y) <float[5,3] w = random(1)> { ["n"] y = MatMul (x, w) })");
  CHECK(ops::channel_axis(matmul.space, 1) == 1);
  CHECK(ops::macs(matmul.space) == 2 * 7 * 5 * 3);
  const auto batched = facts_of_node(
      head + R"((float[2,7,5] x) => (float[?,?,?] y) <float[2,5,3] w = random(1)> { ["n"] y = MatMul (x, w) })");
  CHECK(ops::channel_axis(batched.space, 1) == 2);
  const auto gemm = facts_of_node(
      head +
      R"((float[7,5] x) => (float[?,?] y) <float[3,5] w = random(1), float[3] b = random(2)> { ["n"] y = Gemm <transB = 1> (x, w, b) })");
  CHECK(ops::channel_axis(gemm.space, 1) == 0);
  CHECK(gemm.value.bias_operand == 2);
  CHECK(gemm.value.quant == ops::QuantRole::bilinear);
  const auto scaled = facts_of_node(
      head +
      R"((float[7,5] x) => (float[?,?] y) <float[3,5] w = random(1)> { ["n"] y = Gemm <transB = 1, alpha = 0.5> (x, w) })");
  CHECK(scaled.value.quant == ops::QuantRole::none);
  const auto relu = facts_of_node(head + R"((float[7,5] x) => (float[?,?] y) { ["n"] y = Relu (x) })");
  REQUIRE(relu.value.clamp.has_value());
  CHECK(relu.value.clamp->low == 0);
  const auto clip = facts_of_node(
      head +
      R"((float[7,5] x) => (float[?,?] y) <float low = {0}, float high = {6}> { ["n"] y = Clip (x, low, high) })");
  REQUIRE(clip.value.clamp.has_value());
  CHECK(clip.value.clamp->high == 6);
  const auto softmax = facts_of_node(head + R"((float[7,5] x) => (float[?,?] y) { ["n"] y = Softmax (x) })");
  CHECK(softmax.value.fixed_scale == 1.0 / 256);
}

TEST_CASE("a training mode of another type than bool promises nothing") {
  const Model model = parsed(R"(<ir_version: 8, opset_import: ["" : 13]>
    g (float[2] x) => (float[2] y) <float r = {0.5}, float t = {0}> { y = Dropout (x, r, t) })");
  CHECK_FALSE(ops::facts_of(model, model.graph, model.graph.node_order()[0]).value.identity);
}

TEST_CASE("Upgrade: attributes of old forms become operands, results stay") {
  Model clip = parsed(
      R"(<ir_version: 4, opset_import: ["" : 7]> g (float[3] x) => (float[3] y) { y = Clip <min = -1.0, max = 2.0> (x) })");
  REQUIRE(ops::upgrade_to_base(clip).value());
  CHECK(clip.opset() == ops::kBaseOpset);
  REQUIRE(verify(clip).has_value());
  CHECK(run_model(clip, Tensor::of<float>({3}, Floats{-5, 1, 5})) == Floats{-1, 1, 2});

  // The softmax of opset 12 and before runs over all axes from `axis` on.
  Model softmax = parsed(
      R"(<ir_version: 4, opset_import: ["" : 11]> g (float[1,2,2] x) => (float[1,2,2] y) { y = Softmax <axis = 1> (x) })");
  REQUIRE(ops::upgrade_to_base(softmax).value());
  REQUIRE(verify(softmax).has_value());
  CHECK(run_model(softmax, Tensor::of<float>({1, 2, 2}, Floats{0, 0, 0, 0})) == Floats{0.25f, 0.25f, 0.25f, 0.25f});
  CHECK(softmax.graph.value(softmax.graph.outputs()[0]).name == "y");
  Model plain = parsed(
      R"(<ir_version: 4, opset_import: ["" : 11]> g (float[1,4,1,1] x) => (float[1,4,1,1] y) { y = Softmax <axis = 1> (x) })");
  REQUIRE(ops::upgrade_to_base(plain).value());
  CHECK(plain.graph.node_count() == 1);
  CHECK(run_model(plain, Tensor::zeros(DType::float32, {1, 4, 1, 1})) == Floats(4, 0.25f));

  Model batch = parsed(R"(<ir_version: 4, opset_import: ["" : 7]> g (float[2,1,2] x) => (float[2,1,2] y)
    <float[1,2] s = {1, 2}, float[1,2] b = {0, 1}, float[1,2] m = {1, 2}, float[1,2] v = {4, 9}>
    { y = BatchNormalization <spatial = 0, epsilon = 0.0> (x, s, b, m, v) })");
  REQUIRE(ops::upgrade_to_base(batch).value());
  REQUIRE(verify(batch).has_value());
  CHECK(run_model(batch, Tensor::of<float>({2, 1, 2}, Floats{1, 2, 5, 5})) == Floats{0, 1, 2, 3});

  Model dropout = parsed(
      R"(<ir_version: 4, opset_import: ["" : 9]> g (float[2] x) => (float[2] y) { y = Dropout <ratio = 0.9> (x) })");
  REQUIRE(ops::upgrade_to_base(dropout).value());
  CHECK(run_model(dropout, Tensor::of<float>({2}, Floats{1, 2})) == Floats{1, 2});
}

TEST_CASE("Upgrade: what Bevel cannot lift keeps its opset") {
  Model scan = parsed(R"(<ir_version: 3, opset_import: ["" : 8]> g (int64[1] lengths, float[1,3,2] x) => (float[1,3,2] y) {
    y = Scan <num_scan_inputs = 1, body = b (float[2] i) => (float[2] o) { o = Relu (i) }> (lengths, x)
  })");
  CHECK_FALSE(ops::upgrade_to_base(scan).value());
  CHECK(scan.opset() == 8);
  Model future = parsed(R"(<ir_version: 4, opset_import: ["" : 99]> g (float[2] x) => (float y) { y = Relu (x) })");
  CHECK_FALSE(ops::upgrade_to_base(future).value());
}

TEST_CASE("The registry is sorted, finds every record, and every record is complete") {
  const auto all = ops::all_ops();
  REQUIRE_FALSE(all.empty());
  for (std::size_t i = 0; i < all.size(); ++i) {
    const ops::OpRecord& record = *all[i];
    INFO(record.domain << "/" << record.name);
    CHECK(ops::find_op(record.domain, record.name) == &record);
    CHECK((record.infer != nullptr || record.upgrade != nullptr));  // Upsample exists to be lifted to Resize
    CHECK((record.max_inputs == -1 || record.min_inputs <= record.max_inputs));
    if (i > 0)
      CHECK((all[i - 1]->domain < record.domain ||
             (all[i - 1]->domain == record.domain && all[i - 1]->name < record.name)));
  }
  CHECK(ops::find_op("", "NoSuchOp") == nullptr);
  CHECK(ops::find_op("com.example", "Conv") == nullptr);
}

}  // namespace
