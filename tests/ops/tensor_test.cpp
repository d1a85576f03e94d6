// Corners of the tensor families that ONNX's node tests leave out: hostile sizes, integer edges, sub-byte elements, old
// forms, integers known in part, facts.
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "lib/eval/evaluator.h"
#include "lib/ir/text.h"
#include "lib/ops/evaluate.h"
#include "lib/ops/facts_derived.h"
#include "lib/ops/movement.h"
#include "tests/common/node_case.h"

namespace {

using namespace bevel;
using testing::Case;
using testing::parsed;
using Ints = std::vector<std::int64_t>;
using Floats = std::vector<float>;

Tensor list(const Ints& values) { return Tensor::of<std::int64_t>({static_cast<std::int64_t>(values.size())}, values); }
Tensor floats(const Floats& values) { return Tensor::of<float>({static_cast<std::int64_t>(values.size())}, values); }
Tensor iota(Dims dims) {
  Tensor tensor = Tensor::zeros(DType::float32, std::move(dims));
  for (std::int64_t i = 0; i < tensor.size(); ++i) tensor.set_from_double(i, static_cast<double>(i));
  return tensor;
}
template <typename T>
std::vector<T> values(const Tensor& tensor) {
  const auto span = tensor.values<T>();
  return {span.begin(), span.end()};
}
bool has(const std::string& text, const std::string& part) { return text.find(part) != text.npos; }

// The inferred type of a value of a model given as text.
std::string inferred(const std::string& text, const std::string& name) {
  Model model = parsed(text);
  const auto status = ops::infer_types(model);
  if (!status) return status.error().message;
  return to_string(model.graph.value(model.graph.find_value(name)).type);
}
std::vector<Datum> evaluated(const std::string& text, const std::vector<Datum>& inputs, const eval::Tap* tap = nullptr) {
  const auto evaluator = eval::Evaluator::create(parsed(text));
  INFO((evaluator ? std::string() : evaluator.error().message));
  REQUIRE(evaluator.has_value());
  auto outputs = (*evaluator)->run(inputs, tap);
  INFO((outputs ? std::string() : outputs.error().message));
  REQUIRE(outputs.has_value());
  return std::move(*outputs);
}

}  // namespace

TEST_CASE("integer arithmetic wraps and never divides by zero") {
  constexpr auto kLowest = std::numeric_limits<std::int32_t>::min();
  const auto ints = [](std::vector<std::int32_t> v) { return Tensor::of<std::int32_t>({static_cast<std::int64_t>(v.size())}, v); };
  CHECK(values<std::int32_t>(Case("Div").in(ints({kLowest, 7, -7})).in(ints({-1, -2, 2})).result()) ==
        std::vector<std::int32_t>{kLowest, -3, -3});
  CHECK(has(Case("Div").in(ints({1, 2})).in(ints({1, 0})).error(), "element 1 is 0"));
  CHECK(has(Case("Mod").in(ints({1})).in(ints({0})).error(), "is 0"));
  CHECK(values<std::int32_t>(Case("Mod").in(ints({kLowest, 7, -7, 7})).in(ints({-1, -2, 2, 2})).result()) ==
        std::vector<std::int32_t>{0, -1, 1, 1});
  CHECK(values<std::int32_t>(Case("Mod").attr("fmod", std::int64_t{1}).in(ints({-7, 7})).in(ints({2, -2})).result()) ==
        std::vector<std::int32_t>{-1, 1});
  CHECK(has(Case("Mod").in(floats({1})).in(floats({2})).error(), "fmod"));
  const auto bytes = Tensor::of<std::uint8_t>({3}, std::vector<std::uint8_t>{255, 1, 128});
  const auto shifts = Tensor::of<std::uint8_t>({3}, std::vector<std::uint8_t>{8, 7, 200});
  CHECK(values<std::uint8_t>(Case("BitShift").attr("direction", std::string("LEFT")).in(bytes).in(shifts).result()) ==
        std::vector<std::uint8_t>{0, 128, 0});
  CHECK(values<std::int32_t>(Case("Pow").in(ints({2, -1, 3, 0})).in(list({10, -3, -1, 0})).result()) ==
        std::vector<std::int32_t>{1024, -1, 0, 1});
  CHECK(has(Case("Pow").in(ints({0})).in(list({-1})).error(), "negative power"));
  CHECK(has(Case("Add").in(ints({1})).in(floats({1})).error(), "element type"));
}

TEST_CASE("minima and maxima keep NaN, broadcasting keeps empty shapes") {
  const float nan = std::nanf("");
  CHECK(std::isnan(values<float>(Case("Max").in(floats({nan})).in(floats({1})).result())[0]));
  CHECK(std::isnan(values<float>(Case("Min").in(floats({1})).in(floats({nan})).result())[0]));
  CHECK(Case("Add").in(Tensor::zeros(DType::float32, {0, 3})).in(Tensor::zeros(DType::float32, {1, 3})).result().dims() == Dims{0, 3});
  CHECK(has(Case("Add").in(iota({2, 3})).in(iota({2, 4})).error(), "do not broadcast"));
}

TEST_CASE("hostile sizes are refused before anything is allocated") {
  CHECK(has(Case("Expand").in(floats({1})).in(list({1000000, 1000000, 1000000})).error(), "more than"));
  CHECK(!Case("ConstantOfShape").in(list({std::int64_t{1} << 62, 4})).error().empty());
  CHECK(!Case("ConstantOfShape").in(list({-1})).error().empty());
  CHECK(!Case("Tile").in(floats({1})).in(list({std::numeric_limits<std::int64_t>::max()})).error().empty());
  CHECK(!Case("Range").in(Tensor::scalar(std::int64_t{0})).in(Tensor::scalar(std::numeric_limits<std::int64_t>::max())).in(Tensor::scalar(std::int64_t{1})).error().empty());
  CHECK(!Case("Range").in(Tensor::scalar(0.0f)).in(Tensor::scalar(1.0f)).in(Tensor::scalar(0.0f)).error().empty());
  CHECK(!Case("Pad").in(floats({1})).in(list({std::numeric_limits<std::int64_t>::max(), 5})).error().empty());
  CHECK(!Case("OneHot").in(list({0})).in(Tensor::scalar(std::int64_t{1} << 40)).in(floats({0, 1})).error().empty());
  CHECK(!Case("Resize").in(iota({1, 2})).absent().in(floats({1, 1e30f})).error().empty());
  CHECK(!Case("Resize").in(iota({1, 2})).absent().in(floats({1, std::nanf("")})).error().empty());
  CHECK(!Case("Unsqueeze").in(floats({1})).in(list({0, 0})).error().empty());
  CHECK(!Case("DepthToSpace").attr("blocksize", std::int64_t{1} << 40).in(iota({1, 4, 1, 1})).error().empty());
  CHECK(!Case("TopK").in(floats({1, 2})).in(list({3})).outputs(2).error().empty());
  CHECK(has(Case("Gather").in(floats({1, 2})).in(list({2})).error(), "out of range"));
  CHECK(has(Case("Transpose").attr("perm", Ints{0, 0}).in(iota({2, 2})).error(), "permutation"));
}

TEST_CASE("slices clamp, wrap and step backwards") {
  const auto slice = [](Ints starts, Ints ends, Ints steps) {
    return values<float>(Case("Slice").in(floats({0, 1, 2, 3, 4})).in(list(starts)).in(list(ends)).in(list({0})).in(list(steps)).result());
  };
  constexpr auto kMin = std::numeric_limits<std::int64_t>::min(), kMax = std::numeric_limits<std::int64_t>::max();
  CHECK(slice({1}, {kMax}, {2}) == Floats{1, 3});
  CHECK(slice({-1}, {kMin}, {-2}) == Floats{4, 2, 0});
  CHECK(slice({kMax}, {kMin}, {-1}) == Floats{4, 3, 2, 1, 0});
  CHECK(slice({kMax}, {kMin}, {kMin}) == Floats{4});
  CHECK(slice({0}, {kMax}, {kMax}) == Floats{0});
  CHECK(slice({3}, {1}, {1}).empty());
  CHECK(has(Case("Slice").in(floats({0})).in(list({0})).in(list({1})).in(list({0})).in(list({0})).error(), "is 0"));
}

TEST_CASE("reshape: zero, minus one, and both") {
  CHECK(Case("Reshape").in(iota({2, 3, 4})).in(list({0, -1})).result().dims() == Dims{2, 12});
  CHECK(Case("Reshape").attr("allowzero", std::int64_t{1}).in(iota({0, 3})).in(list({3, 0})).result().dims() == Dims{3, 0});
  CHECK(has(Case("Reshape").in(iota({2, 3})).in(list({-1, -1})).error(), "more than one"));
  CHECK(has(Case("Reshape").in(iota({2, 3})).in(list({4, -1})).error(), "does not divide"));
  CHECK(has(Case("Reshape").in(iota({2, 3})).in(list({std::int64_t{1} << 40, std::int64_t{1} << 40})).error(), "does not hold"));
  CHECK(has(Case("Squeeze").in(iota({2, 1})).in(list({0})).error(), "cannot be squeezed"));
}

TEST_CASE("pads reflect over several periods, wrap, and crop") {
  const auto pad = [](const std::string& mode, Ints pads) {
    return values<float>(Case("Pad").attr("mode", mode).in(floats({0, 1, 2})).in(list(pads)).result());
  };
  CHECK(pad("reflect", {5, 5}) == Floats{1, 0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2, 1});
  CHECK(pad("wrap", {4, 1}) == Floats{2, 0, 1, 2, 0, 1, 2, 0});
  CHECK(pad("edge", {1, 2}) == Floats{0, 0, 1, 2, 2, 2});
  CHECK(pad("constant", {-1, 1}) == Floats{1, 2, 0});
  CHECK(pad("constant", {-4, 4}) == Floats{0, 0, 0});
  CHECK(has(Case("Pad").in(floats({0})).in(list({-2, 0})).error(), "no valid extent"));
}

TEST_CASE("packed sub-byte elements move and convert") {
  Tensor nibbles = Tensor::zeros(DType::int4, {2, 3});
  for (std::int64_t i = 0; i < 6; ++i) nibbles.set_from_int64(i, i - 3);
  const Tensor turned = Case("Transpose").in(nibbles).result();
  CHECK(turned.as_int64s() == Ints{-3, 0, -2, 1, -1, 2});
  CHECK(Case("Concat").attr("axis", std::int64_t{1}).in(nibbles).in(nibbles).result().as_int64s() ==
        Ints{-3, -2, -1, -3, -2, -1, 0, 1, 2, 0, 1, 2});
  CHECK(Case("Gather").attr("axis", std::int64_t{1}).in(nibbles).in(list({2, -3})).result().as_int64s() == Ints{-1, -3, 2, 0});
  Case cast("Cast");
  cast.opset = 23;
  CHECK(cast.attr("to", std::int64_t{1}).in(nibbles).result().as_floats() == Floats{-3, -2, -1, 0, 1, 2});
  const auto to = [](DType dtype, Floats in, std::int64_t saturate) {
    Case c("Cast");
    c.opset = 23;
    return c.attr("to", static_cast<std::int64_t>(dtype)).attr("saturate", saturate).in(floats(in)).result();
  };
  CHECK(to(DType::uint4, {15, 3.9f}, 1).as_int64s() == Ints{15, 3});
  CHECK(to(DType::float8e4m3fn, {1000, -1000, 0.5f}, 1).as_floats() == Floats{448, -448, 0.5f});
  CHECK(std::isnan(to(DType::float8e4m3fn, {1000}, 0).as_double(0)));
  CHECK(to(DType::boolean, {0, -0.0f, 0.5f}, 1).as_int64s() == Ints{0, 0, 1});
  CHECK(to(DType::int8, {127.9f, -128.9f}, 1).as_int64s() == Ints{127, -128});
  CHECK(to(DType::string, {0.5f, std::numeric_limits<float>::infinity()}, 1).strings() == std::vector<std::string>{"0.5", "INF"});
  Case parse("Cast");
  CHECK(parse.attr("to", std::int64_t{1}).in(Tensor::of_strings({3}, {"1e-2", "-INF", "+7"})).result().as_floats() ==
        Floats{0.01f, -std::numeric_limits<float>::infinity(), 7});
  Case bad("Cast");
  CHECK(has(bad.attr("to", std::int64_t{1}).in(Tensor::of_strings({1}, {"seven"})).error(), "not a number"));
}

TEST_CASE("opset 24 to 28: powers of two by three roundings, signed shifts, float remainders, blocks in either order") {
  const auto to_power = [](Floats in, const char* mode, std::int64_t saturate) {
    Case c("Cast");
    c.opset = 24;
    c.attr("to", static_cast<std::int64_t>(DType::float8e8m0)).attr("round_mode", std::string(mode)).attr("saturate", saturate);
    return c.in(floats(in)).result();
  };
  CHECK(to_power({1, 1.25f, 1.5f, 1.75f, 3}, "up", 1).as_floats() == Floats{1, 2, 2, 2, 4});
  CHECK(to_power({1, 1.25f, 1.5f, 1.75f, 3}, "down", 1).as_floats() == Floats{1, 1, 1, 1, 2});
  CHECK(to_power({1, 1.25f, 1.5f, 1.75f, 3}, "nearest", 1).as_floats() == Floats{1, 1, 2, 2, 4});
  CHECK(to_power({std::numeric_limits<float>::infinity(), 0, 0x1p-140f}, "up", 1).as_floats() == Floats{0x1p127f, 0x1p-127f, 0x1p-127f});
  const Tensor lost = to_power({std::numeric_limits<float>::infinity(), 0, 0x1.fp127f}, "nearest", 0);
  for (std::int64_t i = 0; i < 3; ++i) CHECK(std::isnan(lost.as_double(i)));
  Case sideways("Cast");
  CHECK(has(sideways.attr("to", std::int64_t{24}).attr("round_mode", std::string("away")).in(floats({1})).error(), "round_mode"));

  const auto shift = [](const char* direction, std::int64_t opset) {
    Case c("BitShift");
    c.opset = opset;
    c.attr("direction", std::string(direction));
    return c.in(Tensor::of<std::int8_t>({5}, std::vector<std::int8_t>{-8, -1, 64, -5, 5}))
        .in(Tensor::of<std::int8_t>({5}, std::vector<std::int8_t>{1, 8, 1, -1, -1}));
  };
  CHECK(shift("RIGHT", 28).result().as_int64s() == Ints{-4, -1, 32, -1, 0});
  CHECK(shift("LEFT", 28).result().as_int64s() == Ints{-16, 0, -128, 0, 0});
  CHECK(has(shift("LEFT", 27).error(), "int8"));

  const auto modulo = [](std::int64_t opset) {
    Case c("Mod");
    c.opset = opset;
    return c.in(floats({-7, 7, -6, 0.0f, 5})).in(floats({3, -3, 3, -2, -std::numeric_limits<float>::infinity()}));
  };
  CHECK(modulo(28).floats() == Floats{2, -2, 0, -0.0f, -std::numeric_limits<float>::infinity()});
  CHECK(std::signbit(modulo(28).floats()[3]));
  CHECK(has(modulo(27).error(), "fmod"));

  const auto deep = [](const char* mode) {
    Case c("SpaceToDepth");
    c.opset = 28;
    return c.attr("blocksize", std::int64_t{2}).attr("mode", std::string(mode)).in(Tensor::of<float>({1, 2, 2, 2}, Floats{0, 1, 2, 3, 4, 5, 6, 7}));
  };
  CHECK(deep("DCR").floats() == Floats{0, 4, 1, 5, 2, 6, 3, 7});
  CHECK(deep("CRD").floats() == Floats{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(has(deep("RCD").error(), "DCR or CRD"));
}

TEST_CASE("resize keeps proportions, antialiases with unit weight, and crops") {
  const auto resize = [](Tensor x, Ints sizes, std::vector<std::pair<std::string, AttributeValue>> attributes) {
    Case c("Resize");
    c.opset = 19;
    for (auto& [name, value] : attributes) c.attr(name, value);
    return c.in(std::move(x)).absent().absent().in(list(sizes)).result();
  };
  CHECK(resize(iota({2, 4}), {6, 6}, {{"keep_aspect_ratio_policy", std::string("not_larger")}}).dims() == Dims{3, 6});
  CHECK(resize(iota({2, 4}), {6, 6}, {{"keep_aspect_ratio_policy", std::string("not_smaller")}}).dims() == Dims{6, 12});
  for (const char* mode : {"linear", "cubic"}) {
    Tensor ones = Tensor::zeros(DType::float32, {17});
    for (float& value : ones.mutable_values<float>()) value = 1;
    for (const float value : values<float>(resize(ones, {5}, {{"mode", std::string(mode)}, {"antialias", std::int64_t{1}}}))) {
      CHECK(value == Approx(1).margin(1e-6));
    }
  }
  CHECK(values<float>(resize(floats({0, 1, 2, 3}), {2}, {{"mode", std::string("linear")}})) == Floats{0.5f, 2.5f});
  // float32 rounding decides the extent, as in ONNX Runtime: 0.7f * 10 is 7.
  Case scaled("Resize");
  CHECK(scaled.in(iota({10})).absent().in(floats({0.7f})).result().dims() == Dims{7});
  Case both("Resize");
  CHECK(has(both.in(iota({2})).absent().in(floats({1})).in(list({2})).error(), "both"));
}

TEST_CASE("reductions: no axes, empty axes, nothing to reduce") {
  const Tensor x = iota({2, 3});
  CHECK(Case("ReduceSum").in(x).result().dims() == Dims{1, 1});
  CHECK(Case("ReduceSum").attr("noop_with_empty_axes", std::int64_t{1}).in(x).in(list({})).result().same_bits(x));
  CHECK(values<float>(Case("ReduceMax").attr("keepdims", std::int64_t{0}).in(Tensor::zeros(DType::float32, {2, 0})).in(list({1})).result()) ==
        Floats(2, -std::numeric_limits<float>::infinity()));
  CHECK(values<float>(Case("ReduceProd").in(Tensor::zeros(DType::float32, {0})).result()) == Floats{1});
  CHECK(has(Case("ReduceSum").in(x).in(list({0, -2})).error(), "twice"));
  CHECK(values<float>(Case("ReduceLogSumExp").in(floats({1000, 1000})).result())[0] == Approx(1000.6931));
  const float inf = std::numeric_limits<float>::infinity();
  CHECK(values<float>(Case("ReduceLogSumExp").in(floats({-inf, -inf})).result())[0] == -inf);
  CHECK(values<std::int64_t>(Case("ArgMax").attr("select_last_index", std::int64_t{1}).in(floats({3, 1, 3})).result()) == Ints{2});
  CHECK(!Case("ArgMax").in(Tensor::zeros(DType::float32, {0})).error().empty());
}

TEST_CASE("order: ties by index, NaN on top; scatter adds repeatedly") {
  const float nan = std::nanf("");
  const Case top = Case("TopK").in(floats({1, nan, 2, 2})).in(list({3})).outputs(2);
  CHECK(values<std::int64_t>(top.result(1)) == Ints{1, 2, 3});
  CHECK(values<std::int64_t>(Case("TopK").attr("largest", std::int64_t{0}).in(floats({1, nan, 2, 2})).in(list({4})).outputs(2).result(1)) == Ints{0, 2, 3, 1});
  const auto at = Tensor::of<std::int64_t>({2, 1}, Ints{1, 1});
  CHECK(values<float>(Case("ScatterND").attr("reduction", std::string("add")).in(floats({0, 1})).in(at).in(floats({5, 7})).result()) == Floats{0, 13});
  CHECK(values<float>(Case("CumSum").attr("reverse", std::int64_t{1}).attr("exclusive", std::int64_t{1}).in(floats({1, 2, 3})).in(Tensor::scalar(std::int64_t{0})).result()) == Floats{5, 3, 0});
  CHECK(Case("NonZero").in(Tensor::scalar(2.0f)).result().dims() == Dims{0, 1});
}

TEST_CASE("walks over every element size agree with a naive one") {
  for (const DType dtype : {DType::uint8, DType::float16, DType::float32, DType::int64, DType::complex128, DType::uint2, DType::string}) {
    Tensor x = Tensor::zeros(dtype, {2, 3, 5});
    if (dtype == DType::string) {
      for (std::size_t i = 0; i < 30; ++i) x.mutable_strings()[i] = std::to_string(i);
    } else {
      std::uint8_t next = 1;
      for (std::byte& byte : x.mutable_bytes()) byte = static_cast<std::byte>(next++);
    }
    const std::vector<int> perm{2, 0, 1}, back{1, 2, 0};
    const Tensor turned = ops::permute(x, perm);
    CHECK(turned.dims() == Dims{5, 2, 3});
    const Tensor again = ops::permute(turned, back);
    if (dtype == DType::uint2) CHECK(again.as_int64s() == x.as_int64s());
    else CHECK(again.same_bits(x));
    if (dtype == DType::string) CHECK(turned.strings()[1 * 6 + 1 * 3 + 2] == std::to_string(1 * 15 + 2 * 5 + 1));
  }
}

TEST_CASE("symbols flow through shape arithmetic") {
  // As PyTorch flattens: Reshape(x, Concat(Shape(x)[0], -1)).
  const std::string flatten = R"(<ir_version: 8, opset_import: ["" : 13]>
"g" (float["N",3,4] x) => (float[...] y)
<int64 zero = {0}, int64[1] axes = {0}, int64[1] rest = {-1}>
{
  s = Shape(x)
  n = Gather(s, zero)
  n1 = Unsqueeze(n, axes)
  shape = Concat <axis = 0> (n1, rest)
  r = Reshape(x, shape)
  y = Identity(r)
})";
  CHECK(inferred(flatten, "r") == "float[N,12]");
  const std::string halves = R"(<ir_version: 8, opset_import: ["" : 13]>
"g" (float["N",8] x) => (float[...] y)
<int64[1] two = {2}, int64[1] one = {1}, int64[1] start = {1}, int64[1] end = {2}>
{
  s = Shape(x)
  width = Slice(s, start, end)
  half = Div(width, two)
  same = Mul(s, one)
  filled = ConstantOfShape(half)
  z = ConstantOfShape(same)
  y = Identity(z)
})";
  CHECK(inferred(halves, "filled") == "float[4]");
  CHECK(inferred(halves, "z") == "float[N,8]");
  CHECK(has(inferred(R"(<ir_version: 8, opset_import: ["" : 13]>
"g" (float[2,3] x, float[2,4] w) => (float[...] y)
{
  y = Add(x, w)
})", "y"), "do not broadcast"));
}

TEST_CASE("old forms are lifted and mean the same") {
  const auto x = Datum(iota({1, 1, 2, 2}));
  const auto up = evaluated(R"(<ir_version: 4, opset_import: ["" : 9]>
"g" (float[1,1,2,2] x) => (float[...] y)
<float[4] scales = {1.0, 1.0, 2.0, 1.5}>
{
  y = Upsample <mode = "nearest"> (x, scales)
})", {x});
  CHECK(up[0].tensor()->dims() == Dims{1, 1, 4, 3});
  CHECK(values<float>(*up[0].tensor()) == Floats{0, 0, 1, 0, 0, 1, 2, 2, 3, 2, 2, 3});
  const auto old = evaluated(R"(<ir_version: 4, opset_import: ["" : 7]>
"g" (float[1,1,2,2] x) => (float[...] y, float[...] z)
{
  a = Slice <axes = [2], starts = [1], ends = [9]> (x)
  b = Pad <pads = [0,0,0,1,0,0,0,0], value = 5.0> (a)
  c = Squeeze <axes = [0]> (b)
  p, q = Split <axis = 2, split = [1,2]> (c)
  y = ReduceSum <axes = [2], keepdims = 0> (q)
  z = Unsqueeze <axes = [0]> (p)
})", {x});
  CHECK(values<float>(*old[0].tensor()) == Floats{5});
  CHECK(old[1].tensor()->dims() == Dims{1, 1, 1, 1});
  CHECK(values<float>(*old[1].tensor()) == Floats{5});
}

TEST_CASE("the evaluator: taps, caps, captured values, wrong inputs") {
  const std::string branches = R"(<ir_version: 8, opset_import: ["" : 13]>
"g" (bool c, float[2] x) => (float[...] y)
<float[1] two = {2.0}>
{
  d = Add(x, x)
  y = If <then_branch = "t" () => (float[...] a) { a = Mul(d, two) }, else_branch = "e" () => (float[...] b) { b = Sub(x, d) }> (c)
})";
  const Datum x(floats({1, 2}));
  const auto flag = [](bool value) { return Datum(Tensor::scalar(value)); };
  CHECK(values<float>(*evaluated(branches, {flag(true), x})[0].tensor()) == Floats{4, 8});
  CHECK(values<float>(*evaluated(branches, {flag(false), x})[0].tensor()) == Floats{-1, -2});

  std::vector<std::string> seen;
  const eval::Tap tap = [&seen](const std::string& name, const Tensor&) -> Status {
    seen.push_back(name);
    return {};
  };
  evaluated(branches, {flag(true), x}, &tap);
  CHECK(seen == std::vector<std::string>{"d", "y"});

  auto strict = eval::Evaluator::create(parsed(branches));
  REQUIRE(strict.has_value());
  CHECK(has((*strict)->run(std::vector<Datum>{flag(true), Datum(floats({1}))}).error().message, "input 'x'"));
  CHECK(has((*strict)->run(std::vector<Datum>{x}).error().message, "2 inputs"));
  (*strict)->set_tapped({"y"});
  seen.clear();
  REQUIRE((*strict)->run(std::vector<Datum>{flag(true), x}, &tap).has_value());
  CHECK(seen == std::vector<std::string>{"y"});

  eval::EvalOptions capped;
  capped.max_memory_bytes = 1 << 16;
  const auto small = eval::Evaluator::create(parsed(R"(<ir_version: 8, opset_import: ["" : 13]>
"g" (int64[2] shape) => (float[...] y)
{
  ["big"] y = ConstantOfShape(shape)
})"), capped);
  REQUIRE(small.has_value());
  const auto refused = (*small)->run(std::vector<Datum>{Datum(list({100000, 100000}))});
  REQUIRE(!refused.has_value());
  CHECK(has(refused.error().message, "'big'"));
  CHECK(has(refused.error().message, "memory cap"));

  const auto unknown = eval::cannot_evaluate(parsed(R"(<ir_version: 8, opset_import: ["" : 13, "acme" : 1]>
"g" (float[2] x) => (float[...] y)
{
  ["odd"] y = acme.Odd(x)
})"));
  REQUIRE(unknown.has_value());
  CHECK(has(*unknown, "'odd'"));
  CHECK(has(*unknown, "acme"));
}

TEST_CASE("facts: segments, factors, roles, clamps") {
  Model model = parsed(R"(<ir_version: 8, opset_import: ["" : 13]>
"g" (float[1,4,6] x, float[1,2,6] w) => (float[...] y, float[...] z)
<float six = {6.0}, int64[4] shape = {1, 2, 3, 6}, int64[1] last = {2}>
{
  ["join"] j = Concat <axis = 1> (x, w)
  ["fold"] f = Reshape(j, shape)
  ["cap"] y = Min(f, six)
  ["mean"] z = ReduceMean <axes = [2]> (j)
})");
  REQUIRE(ops::infer_types(model).has_value());
  const auto facts = [&model](const char* name) { return ops::facts_of(model, model.graph, model.graph.find_node(name)); };
  const ops::Facts join = facts("join");
  CHECK(join.value.quant == ops::QuantRole::same_scale);
  REQUIRE(join.space.inputs.size() == 2);
  CHECK(join.space.inputs[1].axes[1].kind == ops::AxisMap::Kind::segment);
  CHECK(join.space.inputs[1].axes[1].begin == 4);
  const ops::Facts fold = facts("fold");
  CHECK(fold.space.inputs[0].axes[1].kind == ops::AxisMap::Kind::factors);
  CHECK(fold.space.inputs[0].axes[1].loops.size() == 2);
  CHECK(fold.space.inputs[0].axes[2].kind == ops::AxisMap::Kind::follow);
  const ops::Facts cap = facts("cap");
  REQUIRE(cap.value.clamp.has_value());
  CHECK(cap.value.clamp->high == 6);
  CHECK(cap.value.data_operands == std::vector<int>{0});
  CHECK(facts("mean").value.quant == ops::QuantRole::own_scale);
  CHECK(facts("mean").space.kind == ops::OpKind::reduce);
}
