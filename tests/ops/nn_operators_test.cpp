// Recurrent operators, attention, einsum, losses, regions and sampling where ONNX's node tests stop: directions with sequence lengths,
// peepholes, clip, every form of an equation, old opsets, and hostile operands. Expected numbers are ONNX Runtime's 1.32 for the same
// nodes, unless a case says how it knows.
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "lib/ops/facts_derived.h"
#include "tests/common/node_case.h"

namespace {

using namespace bevel;
using testing::Case;
using testing::parsed;
using Ints = std::vector<std::int64_t>;
using Floats = std::vector<float>;
using Strings = std::vector<std::string>;

// -1.1 .. 1.1 in an order that repeats after 23 elements.
Tensor ramp(Dims dims, float scale = 0.1f, float shift = 0.0f) {
  Tensor tensor = Tensor::zeros(DType::float32, std::move(dims));
  int i = 0;
  for (float& value : tensor.mutable_values<float>()) value = static_cast<float>(i++ * 37 % 23 - 11) * scale + shift;
  return tensor;
}

Tensor floats(Dims dims, const Floats& values) { return Tensor::of<float>(std::move(dims), values); }
Tensor ints(const Ints& values) { return Tensor::of<std::int64_t>({static_cast<std::int64_t>(values.size())}, values); }
Tensor ints32(const std::vector<std::int32_t>& values) {
  return Tensor::of<std::int32_t>({static_cast<std::int64_t>(values.size())}, values);
}

void check_near(const Floats& got, const Floats& expected, float tolerance = 2e-5f) {
  REQUIRE(got.size() == expected.size());
  for (std::size_t i = 0; i < got.size(); ++i) {
    INFO("element " << i << ": " << got[i] << ", expected " << expected[i]);
    CHECK(std::fabs(got[i] - expected[i]) <= tolerance);
  }
}

// Recurrent operands of two directions: 3 steps, 2 samples, inputs and states of 2.
Case recurrent(const std::string& op, std::int64_t gates, bool bidirectional = true) {
  const std::int64_t d = bidirectional ? 2 : 1;
  Case test(op);
  test.in(ramp({3, 2, 2})).in(ramp({d, gates * 2, 2})).in(ramp({d, gates * 2, 2}, 0.08f)).in(ramp({d, gates * 4}, 0.05f));
  test.attr("hidden_size", std::int64_t{2});
  if (bidirectional) test.attr("direction", std::string("bidirectional"));
  return test;
}

}  // namespace

TEST_CASE("LSTM: both directions, sequence lengths, initial states and peepholes") {
  Case test = recurrent("LSTM", 4);
  test.in(ints32({3, 2})).in(ramp({2, 2, 2}, 0.05f)).in(ramp({2, 2, 2}, 0.07f)).in(ramp({2, 6})).outputs(3);
  check_near(test.floats(), {0.113544f,   -0.165208f,  0.0588394f, -0.138583f,  -0.0295055f, -0.0985454f, 0.0610705f, -0.0327806f,
                             0.0631995f,  -0.123676f,  0.104982f,  -0.149525f,  -0.243409f,  -0.548566f,  -0.191624f, -0.391718f,
                             0.00709725f, -0.151637f,  0.0f,       0.0f,        -0.217496f,  -0.437723f,  0.0f,       0.0f});
  check_near(test.floats(1), {0.00709725f, -0.151637f, 0.104982f, -0.149525f, -0.0295055f, -0.0985454f, 0.0610705f, -0.0327806f});
  check_near(test.floats(2), {0.0222689f, -0.216179f, 0.257824f, -0.209401f, -0.0347618f, -0.162055f, 0.0704929f, -0.0787513f});
}

TEST_CASE("LSTM: clip bounds what the functions see") {
  Case test = recurrent("LSTM", 4);
  test.absent().in(ramp({2, 2, 2}, 0.05f)).in(ramp({2, 2, 2}, 0.07f)).in(ramp({2, 6})).attr("clip", 0.2f).outputs(3);
  check_near(test.floats(1), {-0.0608733f, -0.0336831f, 0.0222932f, -0.0520459f, 0.0050912f, -0.03879f, 0.0487715f, 0.0101488f});
}

TEST_CASE("LSTM: reversed, coupled gates, functions with their numbers") {
  Case test = recurrent("LSTM", 4, false);
  test.attr("direction", std::string("reverse")).attr("input_forget", std::int64_t{1});
  test.attr("activations", Strings{"HardSigmoid", "softsign", "ScaledTanh"});
  test.attr("activation_alpha", Floats{0.3f, 0.9f}).attr("activation_beta", Floats{0.4f, 0.7f}).outputs(3);
  check_near(test.floats(), {0.0269254f, -0.095057f, 0.0f, -0.126308f, -0.0421784f, -0.0227106f, 0.0515648f, -0.147967f,
                             -0.000674518f, -0.0449174f, 0.0119969f, -0.0981302f});
  check_near(test.floats(2), {0.350238f, -0.370182f, 0.424481f, -0.489224f});
}

TEST_CASE("GRU: the reset gate before and behind the product") {
  Case behind = recurrent("GRU", 3);
  behind.in(ints32({3, 2})).in(ramp({2, 2, 2}, 0.05f)).outputs(2);
  check_near(behind.floats(1), {-0.178269f, -0.39853f, -0.363283f, -0.0829977f, -0.0444711f, -0.455947f, -0.0275311f, -0.547817f});
  Case before = recurrent("GRU", 3);
  before.in(ints32({3, 2})).in(ramp({2, 2, 2}, 0.05f)).attr("linear_before_reset", std::int64_t{1}).outputs(2);
  check_near(before.floats(1), {-0.0187939f, -0.465666f, -0.223048f, -0.137404f, -0.0391954f, -0.283358f, -0.0094398f, -0.472104f});
  Case clipped = recurrent("GRU", 3, false);
  clipped.absent().in(ramp({1, 2, 2}, 0.05f)).attr("clip", 0.1f).outputs(2);
  check_near(clipped.floats(1), {-0.0483665f, -0.0487266f, -0.125895f, 0.084049f});
}

TEST_CASE("RNN: a function per direction") {
  Case test = recurrent("RNN", 1);
  test.in(ints32({3, 2})).in(ramp({2, 2, 2}, 0.05f)).outputs(2);
  test.attr("activations", Strings{"LeakyRelu", "Elu"}).attr("activation_alpha", Floats{0.2f, 0.5f});
  check_near(test.floats(), {0.97f,     1.81f,   0.41f,     1.95f,       -0.0458473f, -0.304108f, -0.22255f, -0.33417f,
                             -0.29184f, 0.5028f, -0.26656f, 0.9612f,     1.19735f,    -0.0495165f, 0.794f,    -0.080691f,
                             -0.292502f, 0.471875f, 0.0f,   0.0f,        0.464f,      -0.0930835f, 0.0f,      0.0f});
}

TEST_CASE("recurrent operators: layout 1 is layout 0 with the batch in front") {
  Case plain = recurrent("LSTM", 4);
  plain.outputs(3);
  Case turned("LSTM");
  Tensor x = Tensor::zeros(DType::float32, {2, 3, 2});
  const Tensor given = ramp({3, 2, 2});
  for (std::int64_t t = 0; t < 3; ++t) {
    for (std::int64_t i = 0; i < 4; ++i) x.set_from_double((i / 2 * 3 + t) * 2 + i % 2, given.as_double(t * 4 + i));
  }
  turned.in(x).in(ramp({2, 8, 2})).in(ramp({2, 8, 2}, 0.08f)).in(ramp({2, 16}, 0.05f));
  turned.attr("hidden_size", std::int64_t{2}).attr("direction", std::string("bidirectional")).attr("layout", std::int64_t{1}).outputs(3);
  const Tensor y = turned.result(), expected = plain.result();
  REQUIRE(y.dims() == Dims{2, 3, 2, 2});
  for (std::int64_t t = 0; t < 3; ++t) {
    for (std::int64_t b = 0; b < 2; ++b) {
      for (std::int64_t d = 0; d < 2; ++d) {
        for (std::int64_t h = 0; h < 2; ++h)
          CHECK(y.as_double(((b * 3 + t) * 2 + d) * 2 + h) == expected.as_double(((t * 2 + d) * 2 + b) * 2 + h));
      }
    }
  }
  REQUIRE(turned.result(2).dims() == Dims{2, 2, 2});
  CHECK(turned.result(2).as_double(2) == plain.result(2).as_double(4));  // sample 0, backwards
}

TEST_CASE("recurrent operators: double and float16 agree with float") {
  Case single = recurrent("GRU", 3);
  Case wide("GRU"), half("GRU");
  for (std::size_t i = 0; i < 4; ++i) {
    const Tensor& tensor = *single.inputs[i].tensor();
    Tensor as_double = Tensor::zeros(DType::float64, tensor.dims()), as_half = Tensor::zeros(DType::float16, tensor.dims());
    for (std::int64_t k = 0; k < tensor.size(); ++k) {
      as_double.set_from_double(k, tensor.as_double(k));
      as_half.set_from_double(k, tensor.as_double(k));
    }
    wide.in(as_double);
    half.in(as_half);
  }
  for (Case* test : {&wide, &half}) test->attr("direction", std::string("bidirectional"));
  check_near(wide.floats(), single.floats(), 1e-6f);
  check_near(half.floats(), single.floats(), 2e-3f);
  CHECK(half.result().dtype() == DType::float16);
}

TEST_CASE("recurrent operators refuse operands that do not fit") {
  Case lengths = recurrent("LSTM", 4);
  lengths.in(ints32({4, 2}));
  CHECK(lengths.error().find("0 to 3 steps") != std::string::npos);
  Case bias("LSTM");
  bias.in(ramp({3, 2, 2})).in(ramp({1, 8, 2})).in(ramp({1, 8, 2})).in(ramp({1, 8}));
  CHECK(bias.error().find("expected float [1, 16]") != std::string::npos);
  Case size = recurrent("RNN", 1);
  size.attr("hidden_size", std::int64_t{3});
  CHECK(size.error().find("'hidden_size' is 3") != std::string::npos);
  Case function = recurrent("RNN", 1);
  function.attr("activations", Strings{"Tanh", "Cube"});
  CHECK(function.error().find("names 'Cube'") != std::string::npos);
  Case direction = recurrent("RNN", 1);
  direction.attr("direction", std::string("sideways"));
  CHECK(direction.error().find("'sideways'") != std::string::npos);
  Case huge("LSTM");  // 2^40 steps of nothing
  huge.in(Tensor::zeros(DType::float32, {std::int64_t{1} << 40, 1, 0})).in(Tensor::zeros(DType::float32, {1, 4, 0}));
  huge.in(Tensor::zeros(DType::float32, {1, 4, 1}));
  CHECK_FALSE(huge.error().empty());
}

TEST_CASE("LSTM: MACs of both products, and symbols through inference") {
  Model model = parsed(R"(<ir_version: 8, opset_import: ["" : 17]>
graph (float[S,B,6] x, float[2,20,6] w, float[2,20,5] r) => (float[?,?,?,?] y, float[?,?,?] h) {
  y, h = LSTM <direction = "bidirectional", hidden_size = 5> (x, w, r)
})");
  const auto status = ops::infer_types(model);
  INFO((status ? std::string() : status.error().message));
  REQUIRE(status.has_value());
  CHECK(to_string(model.graph.value(model.graph.find_value("y")).type) == "float[S,2,B,5]");
  CHECK(to_string(model.graph.value(model.graph.find_value("h")).type) == "float[2,B,5]");
  Model fixed = parsed(R"(<ir_version: 8, opset_import: ["" : 17]>
graph (float[7,1,6] x, float[2,20,6] w, float[2,20,5] r) => (float[7,2,1,5] y) {
  y = LSTM <direction = "bidirectional", hidden_size = 5> (x, w, r)
})");
  REQUIRE(ops::infer_types(fixed).has_value());
  const ops::Facts facts = ops::facts_of(fixed, fixed.graph, fixed.graph.node_order()[0]);
  CHECK(ops::macs(facts.space) == 7 * 2 * 20 * (6 + 5));
}

TEST_CASE("Einsum: every form of an equation") {
  const auto einsum = [](const std::string& equation, std::vector<Tensor> operands) {
    Case test("Einsum");
    test.attr("equation", equation);
    for (Tensor& operand : operands) test.in(std::move(operand));
    return test;
  };
  const Tensor a = floats({2, 3}, {1, 2, 3, 4, 5, 6}), b = floats({3, 2}, {1, 0, 2, 1, 0, 3}), square = floats({2, 2}, {1, 2, 3, 4});
  CHECK(einsum("ij,jk->ik", {a, b}).floats() == Floats{5, 11, 14, 23});
  CHECK(einsum("ij,jk", {a, b}).floats() == Floats{5, 11, 14, 23});
  CHECK(einsum("ba", {a}).floats() == Floats{1, 4, 2, 5, 3, 6});  // implicit: sorted
  CHECK(einsum(" i j -> j i ", {a}).floats() == Floats{1, 4, 2, 5, 3, 6});
  CHECK(einsum("ij->", {a}).floats() == Floats{21});
  CHECK(einsum("ii->i", {square}).floats() == Floats{1, 4});
  CHECK(einsum("ii", {square}).floats() == Floats{5});
  CHECK(einsum("ii,ij->j", {square, square}).floats() == Floats{13, 18});
  CHECK(einsum("...j,j->...", {a, floats({3}, {1, 1, 2})}).floats() == Floats{9, 21});
  CHECK(einsum("...ij,...jk->...ik", {a.reshaped({1, 2, 3}), Tensor::of<float>({2, 3, 2}, Floats{1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1})}).floats() ==
        Floats{1, 2, 4, 5, 3, 3, 6, 6});
  CHECK(einsum("i,i,i->i", {floats({2}, {1, 2}), floats({2}, {3, 4}), floats({2}, {5, 6})}).floats() == Floats{15, 48});
  CHECK(einsum("ij,j->ij", {a, floats({1}, {2})}).floats() == Floats{2, 4, 6, 8, 10, 12});  // extent 1 meets 3
  CHECK(einsum(",i->i", {floats({}, {3}), floats({2}, {1, 2})}).floats() == Floats{3, 6});
  CHECK(einsum("aA,Aa->", {square, square}).floats() == Floats{29});  // letters differ by case
  CHECK(einsum("ij->ij", {Tensor::zeros(DType::float32, {0, 3})}).result().dims() == Dims{0, 3});
  CHECK(einsum("ij,jk->ik", {Tensor::zeros(DType::float32, {2, 0}), Tensor::zeros(DType::float32, {0, 2})}).floats() == Floats{0, 0, 0, 0});
  const Tensor bytes = Tensor::of<std::uint8_t>({2}, std::vector<std::uint8_t>{200, 100});
  CHECK(einsum("i,i->", {bytes, bytes}).result().as_int64(0) == (200 * 200 + 100 * 100) % 256);  // wraps
  CHECK(einsum("ij,jk->ik", {a, a}).error().find("extents 3 and 2") != std::string::npos);
  CHECK(einsum("ij->ijk", {a}).error().find("each label of the output") != std::string::npos);
  CHECK(einsum("ij->ii", {a}).error().find("each label of the output") != std::string::npos);
  CHECK(einsum("ijk->i", {a}).error().find("rank 2") != std::string::npos);
  CHECK(einsum("i1->i", {a}).error().find("expected letters") != std::string::npos);
  CHECK(einsum("......i->i", {a}).error().find("at most one ellipsis") != std::string::npos);
  CHECK(einsum("ij,jk->ik", {a}).error().find("has 2 terms") != std::string::npos);
  CHECK(einsum("ii->i", {a}).error().find("repeats") != std::string::npos);
  Case wide = einsum("a,b,c,d,e,f->abcdef", std::vector<Tensor>(6, Tensor::zeros(DType::float32, {100})));
  CHECK_FALSE(wide.error().empty());  // 10^12 elements
}

TEST_CASE("Attention: a window of three keys, and hostile operands") {
  const auto attention = [](std::vector<Tensor> operands) {
    Case test("Attention");
    test.opset = 25;
    for (Tensor& operand : operands) test.in(std::move(operand));
    return test;
  };
  // Scores are all 0, so each query averages the values of the keys that it may see: itself and one on each side.
  const Tensor q = Tensor::zeros(DType::float32, {1, 1, 4, 2}), v = floats({1, 1, 4, 1}, {1, 2, 4, 8});
  Case window = attention({q, q, v});
  window.attr("left_window_size", std::int64_t{1}).attr("right_window_size", std::int64_t{1});
  check_near(window.floats(), {1.5f, 7.0f / 3, 14.0f / 3, 6.0f});
  Case causal = attention({q, q, v});
  causal.attr("is_causal", std::int64_t{1}).attr("left_window_size", std::int64_t{1});
  check_near(causal.floats(), {1.0f, 1.5f, 3.0f, 6.0f});
  // A mask shorter than the keys hides those beyond it.
  Case padded = attention({q, q, v, Tensor::zeros(DType::float32, {4, 2})});
  check_near(padded.floats(), {1.5f, 1.5f, 1.5f, 1.5f});
  CHECK(attention({q, Tensor::zeros(DType::float32, {1, 1, 4, 3}), v}).error().find("Q, K and V have shapes") != std::string::npos);
  CHECK(attention({q, q, v, Tensor::zeros(DType::float32, {3, 4})}).error().find("attn_mask") != std::string::npos);
  CHECK(attention({q.reshaped({1, 4, 2}), q.reshaped({1, 4, 2}), v.reshaped({1, 4, 1})}).error().find("multiple of 0 heads") != std::string::npos);
  const Tensor none = Tensor::zeros(DType::float32, {1, 4, 0});
  Case heads = attention({none, none, none});  // 0 is a multiple of any number, whose heads no shape can hold
  heads.attr("q_num_heads", std::numeric_limits<std::int64_t>::max()).attr("kv_num_heads", std::numeric_limits<std::int64_t>::max());
  CHECK(heads.error().find("heads") != std::string::npos);
  Case lengths = attention({q, q, v});
  lengths.absent().absent().absent().in(ints({5}));
  CHECK(lengths.error().find("expected 0 to 4 keys") != std::string::npos);
  Case groups = attention({Tensor::zeros(DType::float32, {1, 3, 4, 2}), Tensor::zeros(DType::float32, {1, 2, 4, 2}), Tensor::zeros(DType::float32, {1, 2, 4, 1})});
  CHECK(groups.error().find("divisor") != std::string::npos);
  Case lonely = attention({q, q, v});
  lonely.absent().in(Tensor::zeros(DType::float32, {1, 1, 1, 2}));
  CHECK(lonely.error().find("one without the other") != std::string::npos);
}

TEST_CASE("TensorScatter wraps, and refuses what does not fit") {
  Case test("TensorScatter");
  test.opset = 24;
  test.in(floats({1, 4, 1}, {0, 0, 0, 0})).in(floats({1, 2, 1}, {5, 6})).in(ints({std::int64_t{3}}));
  CHECK(test.error().find("do not fit a cache of 4") != std::string::npos);
  test.attr("mode", std::string("circular"));
  CHECK(test.floats() == Floats{6, 0, 0, 5});
  test.attr("axis", std::int64_t{0});
  CHECK(test.error().find("batch axis") != std::string::npos);
}

TEST_CASE("pooling of regions") {
  const Tensor x = ramp({1, 1, 4, 5});
  Case pool("MaxRoiPool");
  pool.in(x).in(floats({2, 5}, {0, 0, 0, 3, 3, 0, 1, 1, 4, 2})).attr("pooled_shape", Ints{2, 2});
  check_near(pool.floats(), {0.4f, 0.9f, 0.6f, 1.1f, 0.4f, 0.9f, 0.5f, 1.0f});
  pool.attr("pooled_shape", Ints{2, 3}).attr("spatial_scale", 1.5f);  // regions reach out of the image
  check_near(pool.floats(), {0.5f, 1.0f, 0.1f, 0.6f, 1.1f, 0.2f, 1.0f, 1.0f, 0.0f, 1.1f, 1.1f, 0.0f});
  Case image("MaxRoiPool");
  image.in(x).in(floats({1, 5}, {1, 0, 0, 3, 3})).attr("pooled_shape", Ints{2, 2});
  CHECK(image.error().find("expected an image of 0 to 0") != std::string::npos);
  const Tensor region = floats({1, 4}, {0.5f, 0.2f, 3.1f, 2.9f});
  Case align("RoiAlign");
  align.in(x).in(region).in(ints({std::int64_t{0}})).attr("output_height", std::int64_t{2}).attr("output_width", std::int64_t{2});
  Case old = align;
  old.opset = 13;  // half pixels are opset 16's
  check_near(old.floats(), {0.05125f, 0.1175f, 0.18625f, 0.2525f});
  align.attr("sampling_ratio", std::int64_t{2});
  check_near(align.floats(), {-0.1525f, -0.20125f, -0.0175f, -0.0662501f});
  Case wide("RoiAlign");  // asked for a sample per element, this region would take for ever
  wide.in(x).in(floats({1, 4}, {0, 0, 1e8f, 1e8f})).in(ints({std::int64_t{0}}));
  CHECK(wide.error().find("samples for a bin") != std::string::npos);
  Case missing("RoiAlign");
  missing.in(x).in(region).in(ints({std::int64_t{1}}));
  CHECK(missing.error().find("batch_indices") != std::string::npos);
}

TEST_CASE("MaxUnpool refuses indices outside its result") {
  Case test("MaxUnpool");
  test.in(floats({1, 1, 1, 2}, {1, 2})).in(Tensor::of<std::int64_t>({1, 1, 1, 2}, Ints{0, 8})).attr("kernel_shape", Ints{2, 2}).attr("strides", Ints{2, 2});
  CHECK(test.error().find("expected 0 to 7") != std::string::npos);
}

TEST_CASE("GridSample: every mode and padding, and positions that are no numbers") {
  const auto sample = [](const std::string& mode, const std::string& padding, const Floats& positions) {
    Case test("GridSample");
    test.in(ramp({1, 1, 4, 5})).in(floats({1, 1, static_cast<std::int64_t>(positions.size() / 2), 2}, positions));
    test.attr("mode", mode).attr("padding_mode", padding);
    return test;
  };
  const Floats at = {-1.3f, 0.2f, 0.7f, -0.4f, 2.5f, 1.6f};
  check_near(sample("bilinear", "zeros", at).floats(), {0.0f, 0.195f, 0.0f});
  check_near(sample("linear", "border", at).floats(), {-0.91f, 0.195f, 0.2f});
  check_near(sample("linear", "reflection", at).floats(), {-0.56f, 0.195f, 0.18f});
  check_near(sample("bicubic", "zeros", at).floats(), {0.0963563f, 0.216832f, 0.0f});
  check_near(sample("cubic", "border", at).floats(), {-0.913601f, 0.2142f, 0.2f});
  check_near(sample("cubic", "reflection", at).floats(), {-0.564772f, 0.2142f, 0.31666f});
  check_near(sample("nearest", "zeros", at).floats(), {0.0f, 0.0f, 0.0f});
  check_near(sample("nearest", "border", at).floats(), {-0.9f, 0.0f, 0.2f});
  check_near(sample("nearest", "reflection", at).floats(), {-0.9f, 0.0f, 0.5f});
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN(), kInf = std::numeric_limits<float>::infinity();
  for (const char* mode : {"nearest", "linear", "cubic"}) {
    for (const char* padding : {"zeros", "border", "reflection"}) {
      const Floats values = sample(mode, padding, {kNan, 0, kInf, -kInf, 3e38f, -3e38f}).floats();
      for (const float value : values) CHECK((value != value || std::fabs(value) <= 2.0f));  // some element or zero, and no crash
    }
  }
}

TEST_CASE("DeformConv: groups of channels and of offsets") {
  Case test("DeformConv");
  test.opset = 19;
  test.in(ramp({1, 2, 3, 3})).in(ramp({2, 1, 2, 2})).in(ramp({1, 16, 2, 2}, 0.09f)).in(ramp({2})).in(ramp({1, 8, 2, 2}, 0.05f, 0.5f));
  test.attr("group", std::int64_t{2}).attr("offset_group", std::int64_t{2});
  check_near(test.floats(), {-1.05997f, -0.969701f, -1.05914f, -1.26819f, 0.33372f, -0.109674f, 0.601202f, 0.471728f});
  test.attr("offset_group", std::int64_t{1});
  CHECK(test.error().find("offset") != std::string::npos);
}

TEST_CASE("losses refuse classes that are none") {
  Case test("NegativeLogLikelihoodLoss");
  test.in(floats({2, 3}, {1, 2, 3, 4, 5, 6})).in(ints({2, 3}));
  CHECK(test.error().find("expected a class from 0 to 2") != std::string::npos);
  test.attr("ignore_index", std::int64_t{3});
  CHECK(test.floats() == Floats{-3});  // the mean of the one that counts
  Case shape("SoftmaxCrossEntropyLoss");
  shape.in(floats({2, 3}, {1, 2, 3, 4, 5, 6})).in(ints({0, 1, 2}));
  CHECK(shape.error().find("expected int32 or int64 [2]") != std::string::npos);
}

TEST_CASE("Hardmax takes the first maximum") {
  Case test("Hardmax");
  test.in(floats({2, 3}, {1, 3, 3, -1, -2, -1}));
  CHECK(test.floats() == Floats{0, 1, 0, 1, 0, 0});
}

TEST_CASE("Dropout in training mode: the same numbers every time, other ones for another seed") {
  const auto dropout = [](std::int64_t seed, float ratio) {
    Case test("Dropout");
    test.in(floats({1000}, Floats(1000, 1.0f))).in(Tensor::scalar<float>(ratio)).in(Tensor::scalar<bool>(true));
    return test.attr("seed", seed).outputs(2);
  };
  const Floats first = dropout(7, 0.25f).floats();
  CHECK(first == dropout(7, 0.25f).floats());
  CHECK(first != dropout(8, 0.25f).floats());
  std::size_t kept = 0;
  for (const float value : first) {
    CHECK((value == 0.0f || value == static_cast<float>(1 / 0.75)));
    kept += value != 0.0f ? 1 : 0;
  }
  CHECK(kept > 700);
  CHECK(kept < 800);
  CHECK(dropout(7, 1.0f).error().find("in [0, 1)") != std::string::npos);
}

TEST_CASE("BatchNormalization's running mean and variance each keep the element type of their own") {
  Model model = testing::parsed(R"(<ir_version: 8, opset_import: ["" : 15]> g
    (float[2,1,2] x, float[1] s, float[1] b, double[1] m, float[1] v) => (float[...] y, double[...] mean, float[...] variance)
    { y, mean, variance = BatchNormalization <training_mode = 1> (x, s, b, m, v) })");
  REQUIRE(ops::infer_types(model).has_value());
  const auto type = [&](const char* name) { return model.graph.value(model.graph.find_value(name)).type; };
  CHECK(type("mean").dtype == DType::float64);
  CHECK(type("variance").dtype == DType::float32);
  CHECK(type("variance").shape.known_dims() == Dims{1});
  const Case node = Case("BatchNormalization").attr("training_mode", std::int64_t{1})
                        .in(Tensor::zeros(DType::float32, {2, 1, 2})).in(Tensor::zeros(DType::float32, {1}))
                        .in(Tensor::zeros(DType::float32, {1})).in(Tensor::zeros(DType::float64, {1}))
                        .in(Tensor::zeros(DType::float32, {1})).outputs(3);
  CHECK(node.result(1).dtype() == DType::float64);
  CHECK(node.result(2).dtype() == DType::float32);
}
