// Signals, selection, random numbers and images: what ONNX's node tests leave out, hostile operands above all.
// Expected transforms are NumPy's (numpy.fft).
#include <catch2/catch.hpp>
#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "lib/ops/fourier.h"
#include "tests/common/node_case.h"

namespace {

using namespace bevel;
using Catch::Matchers::Contains;
using testing::Case;
using testing::parsed;
using Ints = std::vector<std::int64_t>;
using Floats = std::vector<float>;

Tensor list(const Ints& values) { return Tensor::of<std::int64_t>({static_cast<std::int64_t>(values.size())}, values); }
Tensor floats(Dims dims, const Floats& values) { return Tensor::of<float>(std::move(dims), values); }
Tensor scalar(std::int64_t value) { return Tensor::scalar(value); }
Tensor bytes(std::string_view text) {
  return Tensor::from_bytes(DType::uint8, {static_cast<std::int64_t>(text.size())}, std::as_bytes(std::span(text.data(), text.size())));
}

std::string inferred(const std::string& text, const std::string& name) {
  Model model = parsed(text);
  const auto status = ops::infer_types(model);
  if (!status) return status.error().message;
  return to_string(model.graph.value(model.graph.find_value(name)).type);
}

void check_close(const Tensor& got, const Floats& expected) {
  const Floats values = got.as_floats();
  REQUIRE(values.size() == expected.size());
  for (std::size_t i = 0; i < values.size(); ++i) {
    INFO(i);
    CHECK(values[i] == Approx(expected[i]).margin(1e-5));
  }
}

const Floats kSignal = {1, 2, -1, 3, 0.5f};

Case dft(std::int64_t opset) {
  Case node("DFT");
  node.opset = opset;
  return node;
}

}  // namespace

TEST_CASE("DFT of lengths that are no power of two, padded, cut and inverted") {
  const Tensor signal = floats({5, 1}, kSignal);
  check_close(dft(20).in(signal).in(scalar(7)).result(),
              {5.5f, 0, -0.6838905f, -1.6734444f, 3.6381413f, -0.4291609f, -2.2042508f, -4.0869187f, -2.2042508f, 4.0869187f,
               3.6381413f, 0.4291609f, -0.6838905f, 1.6734444f});
  check_close(dft(20).in(signal).in(scalar(3)).result(), {2, 0, 0.5f, -2.5980762f, 0.5f, 2.5980762f});
  check_close(dft(20).attr("inverse", std::int64_t{1}).in(signal).in(scalar(6)).result(),
              {0.9166667f, 0, -0.125f, 0.0721688f, 0.5416667f, 0.5051815f, -0.75f, 0, 0.5416667f, -0.5051815f, -0.125f, -0.0721688f});
  const Tensor half = dft(20).attr("onesided", std::int64_t{1}).in(signal).result();
  CHECK(half.dims() == Dims{3, 2});
  check_close(half, {5.5f, 0, 0.1545085f, 0.9245562f, -0.4045085f, -4.6859039f});
  // Back from the half spectrum: the length stated, or the even one.
  const auto back = [&] { return dft(20).attr("onesided", std::int64_t{1}).attr("inverse", std::int64_t{1}).in(half); };
  check_close(back().in(scalar(5)).result(), kSignal);
  const Tensor even = back().result();
  CHECK(even.dims() == Dims{4, 1});
  check_close(even, {1.3511271f, 1.0138490f, 1.1966186f, 1.9384052f});
}

TEST_CASE("DFT's axis is an attribute up to opset 19 and an input after it") {
  const Tensor x = floats({2, 3, 1}, {1, 2, 3, 4, 5, 6});
  const Tensor along_rows = dft(19).in(x).result();
  CHECK(along_rows.dims() == Dims{2, 3, 2});
  check_close(along_rows, {6, 0, -1.5f, 0.8660254f, -1.5f, -0.8660254f, 15, 0, -1.5f, 0.8660254f, -1.5f, -0.8660254f});
  const Floats along_columns = {5, 0, 7, 0, 9, 0, -3, 0, -3, 0, -3, 0};
  check_close(dft(17).attr("axis", std::int64_t{0}).in(x).result(), along_columns);
  check_close(dft(20).in(x).absent().in(scalar(-3)).result(), along_columns);
  CHECK_THAT(dft(20).in(x).absent().in(scalar(2)).error(), Contains("not a signal axis"));
  CHECK_THAT(dft(17).attr("axis", std::int64_t{-1}).in(x).error(), Contains("not a signal axis"));
}

TEST_CASE("DFT and STFT refuse what has no transform") {
  const Tensor x = floats({5, 1}, kSignal);
  CHECK_THAT(dft(20).in(x).in(scalar(0)).error(), Contains("length 0"));
  CHECK_THAT(dft(20).in(x).in(scalar(-4)).error(), Contains("length -4"));
  CHECK_THAT(dft(20).in(x).in(scalar(std::numeric_limits<std::int64_t>::max())).error(), Contains("beyond the limit"));
  CHECK_THAT(dft(20).in(x).in(scalar(std::int64_t{1} << 30)).error(), Contains("more than"));
  CHECK_THAT(dft(20).in(floats({1, 3}, {1, 2, 3})).error(), Contains("the last dimension is 3"));
  CHECK_THAT(dft(20).in(floats({0, 1}, {})).error(), Contains("length 0"));
  CHECK_THAT(dft(20).attr("onesided", std::int64_t{1}).in(floats({2, 2}, {1, 2, 3, 4})).error(), Contains("complex"));
  CHECK_THAT(dft(20).in(list({1, 2})).error(), Contains("int64"));
  const Tensor signal = floats({1, 4, 1}, {1, 2, 3, 4});
  CHECK_THAT(Case("STFT").in(signal).in(scalar(0)).error(), Contains("frame_step"));
  CHECK_THAT(Case("STFT").in(signal).in(scalar(1)).absent().in(scalar(5)).error(), Contains("does not fit"));
  CHECK_THAT(Case("STFT").in(signal).in(scalar(1)).in(floats({3}, {1, 1, 1})).in(scalar(2)).error(), Contains("window"));
}

TEST_CASE("STFT slides by frame_step and leaves the rest") {
  const Tensor signal = floats({1, 6, 1}, {0, 1, 2, 3, 4, 5});
  const Tensor out = Case("STFT").in(signal).in(scalar(2)).absent().in(scalar(3)).result();
  CHECK(out.dims() == Dims{1, 2, 2, 2});
  check_close(out, {3, 0, -1.5f, 0.8660254f, 9, 0, -1.5f, 0.8660254f});
  const Tensor weighted = Case("STFT").attr("onesided", std::int64_t{0}).in(signal).in(scalar(6)).in(floats({2}, {1, 2})).result();
  CHECK(weighted.dims() == Dims{1, 1, 2, 2});
  check_close(weighted, {2, 0, -2, 0});
}

TEST_CASE("a Fourier transform of every length inverts itself") {
  for (std::size_t length = 1; length <= 40; ++length) {
    std::vector<ops::Complex> signal(length);
    for (std::size_t n = 0; n < length; ++n) signal[n] = {std::sin(static_cast<double>(n * n)), static_cast<double>(n % 5)};
    const auto original = signal;
    ops::FourierTransform(length, false).run(signal.data());
    ops::FourierTransform(length, true).run(signal.data());
    for (std::size_t n = 0; n < length; ++n) {
      INFO(length << " " << n);
      CHECK(signal[n].re == Approx(original[n].re).margin(1e-12));
      CHECK(signal[n].im == Approx(original[n].im).margin(1e-12));
    }
  }
}

TEST_CASE("windows of size 0 and 1, in integers, and of hostile sizes") {
  CHECK(Case("HannWindow").in(scalar(0)).result().dims() == Dims{0});
  CHECK(Case("HannWindow").attr("periodic", std::int64_t{0}).in(scalar(1)).floats() == Floats{1});
  check_close(Case("HannWindow").attr("periodic", std::int64_t{0}).in(scalar(5)).result(), {0, 0.5f, 1, 0.5f, 0});
  const Tensor integers = Case("HammingWindow").attr("output_datatype", std::int64_t{7}).in(scalar(4)).result();
  CHECK(integers.as_int64s() == Ints{0, 0, 1, 0});
  CHECK_THAT(Case("BlackmanWindow").in(scalar(-1)).error(), Contains("size"));
  CHECK_THAT(Case("BlackmanWindow").in(scalar(std::numeric_limits<std::int64_t>::max())).error(), Contains("more than"));
  CHECK_THAT(Case("BlackmanWindow").attr("output_datatype", std::int64_t{8}).in(scalar(4)).error(), Contains("output_datatype"));
}

TEST_CASE("MelWeightMatrix's edges must lie within the transform") {
  const auto mel = [](std::int64_t bands, std::int64_t length, std::int64_t rate, float low, float high) {
    return Case("MelWeightMatrix").in(scalar(bands)).in(scalar(length)).in(scalar(rate)).in(Tensor::scalar(low)).in(Tensor::scalar(high));
  };
  CHECK(mel(0, 16, 8192, 0, 4096).result().dims() == Dims{9, 0});
  CHECK_THAT(mel(4, 16, 8192, 0, 8192).error(), Contains("beyond"));
  CHECK_THAT(mel(4, 16, 8192, 100, 50).error(), Contains("lower_edge_hertz"));
  CHECK_THAT(mel(4, 16, 0, 0, 50).error(), Contains("sample_rate"));
  CHECK_THAT(mel(std::int64_t{1} << 40, 16, 8192, 0, 50).error(), Contains("num_mel_bins"));
  CHECK_THAT(mel(1 << 30, 1 << 30, 8192, 0, 50).error(), Contains("more than"));
}

TEST_CASE("shapes of transforms are inferred, symbols included") {
  CHECK(inferred(R"(<ir_version: 9, opset_import: ["" : 20]> g (float[N,100,1] x) => (float[?,?,?] y) { y = DFT <onesided = 1> (x) })", "y") == "float[N,51,2]");
  CHECK(inferred(R"(<ir_version: 9, opset_import: ["" : 20]> g (float[N,S,2] x) => (float[?,?,?] y) { y = DFT (x) })", "y") == "float[N,S,2]");
  CHECK(inferred(R"(<ir_version: 9, opset_import: ["" : 20]> g (float[N,51,2] x) => (float[?,?,?] y) { y = DFT <onesided = 1, inverse = 1> (x) })", "y") == "float[N,100,1]");
  CHECK(inferred(R"(<ir_version: 9, opset_import: ["" : 18]> g (float[N,480,1] x, float[160] w) => (float[?,?,?,?] y) <int64 s = {80}> { y = STFT (x, s, w) })", "y") ==
        "float[N,5,81,2]");
  CHECK(inferred(R"(<ir_version: 9, opset_import: ["" : 18]> g () => (float[?] y) <int64 s = {80}> { y = HannWindow (s) })", "y") == "float[80]");
}

TEST_CASE("NonMaxSuppression keeps the order of equal scores, drops NaN last and takes hostile limits") {
  const Tensor boxes = floats({1, 3, 4}, {0, 0, 1, 1, 1, 1, 0, 0, 5, 5, 6, 6});
  const auto nms = [&](const Floats& scores, std::int64_t most) {
    return Case("NonMaxSuppression").in(boxes).in(floats({1, 1, 3}, scores)).in(scalar(most));
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(nms({0.5f, 0.5f, 0.5f}, 9).result().as_int64s() == Ints{0, 0, 0, 0, 0, 2});  // the second is the first, corners swapped
  CHECK(nms({nan, 0.5f, 0.25f}, std::numeric_limits<std::int64_t>::max()).result().as_int64s() == Ints{0, 0, 1, 0, 0, 2});
  CHECK(nms({1, 1, 1}, -5).result().dims() == Dims{0, 3});
  CHECK(Case("NonMaxSuppression").in(boxes).in(floats({1, 1, 3}, {1, 1, 1})).result().dims() == Dims{0, 3});
  CHECK_THAT(nms({1, 1, 1}, 1).in(Tensor::scalar(1.5f)).error(), Contains("iou_threshold"));
  CHECK_THAT(Case("NonMaxSuppression").in(boxes).in(floats({1, 3, 1}, {1, 1, 1})).error(), Contains("expected [1, classes, 3]"));
}

TEST_CASE("Unique orders NaN last as one value, slices lexicographically, and keeps first occurrences") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  Case node("Unique");
  node.outputs(4).in(floats({6}, {2, nan, 1, nan, -0.0f, 0}));
  const Tensor values = node.result(0);
  REQUIRE(values.size() == 4);
  CHECK(std::signbit(values.as_double(0)));
  CHECK(std::isnan(values.as_double(3)));
  CHECK(node.result(1).as_int64s() == Ints{4, 2, 0, 1});
  CHECK(node.result(2).as_int64s() == Ints{2, 3, 1, 3, 0, 0});
  CHECK(node.result(3).as_int64s() == Ints{2, 1, 1, 2});
  Case columns("Unique");
  columns.outputs(4).attr("axis", std::int64_t{-1}).attr("sorted", std::int64_t{0});
  columns.in(Tensor::of_strings({2, 3}, {"b", "a", "b", "x", "y", "x"}));
  CHECK(columns.result(0).dims() == Dims{2, 2});
  CHECK(columns.result(0).strings() == std::vector<std::string>{"b", "a", "x", "y"});
  CHECK(columns.result(2).as_int64s() == Ints{0, 1, 0});
  CHECK(Case("Unique").in(floats({0, 2}, {})).result().dims() == Dims{0});
  Case empty("Unique");
  CHECK(empty.outputs(4).attr("axis", std::int64_t{0}).in(floats({2, 0}, {})).result().dims() == Dims{1, 0});
  CHECK_THAT(Case("Unique").attr("axis", std::int64_t{1}).in(list({1})).error(), Contains("axis"));
}

TEST_CASE("CenterCropPad cuts and pads on each axis, the smaller half in front") {
  const Tensor x = floats({2, 3}, {0, 1, 2, 3, 4, 5});
  const Tensor y = Case("CenterCropPad").in(x).in(list({5, 2})).result();
  CHECK(y.as_floats() == Floats{0, 0, 0, 1, 3, 4, 0, 0, 0, 0});
  CHECK(Case("CenterCropPad").attr("axes", Ints{-1}).in(x).in(list({0})).result().dims() == Dims{2, 0});
  CHECK_THAT(Case("CenterCropPad").in(x).in(list({5, -2})).error(), Contains("entry 1"));
  CHECK_THAT(Case("CenterCropPad").in(x).in(list({5})).error(), Contains("for 2 axes"));
  CHECK_THAT(Case("CenterCropPad").attr("axes", Ints{1, 1}).in(x).in(list({5, 5})).error(), Contains("axis"));
  CHECK_THAT(Case("CenterCropPad").in(x).in(list({std::int64_t{1} << 40, std::int64_t{1} << 40})).error(), Contains("more than"));
  CHECK(inferred(R"(<ir_version: 9, opset_import: ["" : 18]> g (float[N,3,H,W] x) => (float[?,?,?,?] y) <int64[2] s = {8, 9}> { y = CenterCropPad <axes = [2, 3]> (x, s) })", "y") ==
        "float[N,3,8,9]");
}

TEST_CASE("Det of empty, singular and permuted matrices") {
  CHECK(Case("Det").in(floats({0, 0}, {})).floats() == Floats{1});
  CHECK(Case("Det").in(floats({2, 2}, {1, 2, 2, 4})).floats() == Floats{0});
  CHECK(Case("Det").in(floats({3, 3}, {0, 2, 0, 3, 0, 0, 0, 0, 4})).floats() == Floats{-24});
  CHECK(Case("Det").in(floats({0, 2, 2}, {})).result().dims() == Dims{0});
  CHECK_THAT(Case("Det").in(floats({2, 3}, {1, 2, 3, 4, 5, 6})).error(), Contains("square"));
  CHECK(inferred(R"(<ir_version: 9, opset_import: ["" : 22]> g (float[N,3,3] x) => (float[?] y) { y = Det (x) })", "y") == "float[N]");
}

TEST_CASE("CumProd and BitCast at their edges") {
  Case product("CumProd");
  product.opset = 26;
  CHECK(product.attr("exclusive", std::int64_t{1}).attr("reverse", std::int64_t{1}).in(list({2, 3, 4})).in(scalar(0)).result().as_int64s() == Ints{12, 4, 1});
  Case old("CumProd");
  CHECK_THAT(old.in(list({2})).in(scalar(0)).error(), Contains("known from opset 26"));
  const auto cast = [](std::int64_t to) {
    Case node("BitCast");
    node.opset = 26;
    return node.attr("to", to);
  };
  CHECK(cast(6).in(floats({2}, {1, -0.0f})).result().as_int64s() == Ints{0x3f800000, std::numeric_limits<std::int32_t>::min()});
  Tensor nibbles = Tensor::zeros(DType::int4, {3});
  nibbles.set_from_int64(1, -1);
  CHECK(cast(21).in(nibbles).result().as_int64s() == Ints{0, 15, 0});
  CHECK_THAT(cast(7).in(floats({1}, {1})).error(), Contains("same width"));
  CHECK_THAT(cast(8).in(floats({1}, {1})).error(), Contains("fixed width"));
  CHECK_THAT(cast(99).in(floats({1}, {1})).error(), Contains("to"));
}

TEST_CASE("random operators give the same numbers each time, others per node and seed, within their distributions") {
  const auto draw = [](const std::string& op, const std::string& name, float seed) {
    Case node(op);
    node.node.name = name;
    if (seed != 0) node.attr("seed", seed);
    return node.attr("shape", Ints{2, 500}).floats();
  };
  for (const std::string op : {"RandomUniform", "RandomNormal"}) {
    CHECK(draw(op, "a", 0) == draw(op, "a", 0));
    CHECK(draw(op, "a", 0) != draw(op, "b", 0));
    CHECK(draw(op, "a", 3) == draw(op, "b", 3));
    CHECK(draw(op, "a", 3) != draw(op, "a", 4));
  }
  double sum = 0, squares = 0;
  for (const float value : draw("RandomNormal", "n", 0)) {
    sum += value;
    squares += value * value;
  }
  CHECK(std::fabs(sum / 1000) < 0.12);  // four standard errors
  CHECK(std::fabs(squares / 1000 - 1) < 0.18);
  const Tensor uniform = Case("RandomUniformLike").attr("low", -2.0f).attr("high", 3.0f).attr("dtype", std::int64_t{11}).in(list(Ints(1000))).result();
  CHECK(uniform.dtype() == DType::float64);
  for (std::int64_t i = 0; i < uniform.size(); ++i) CHECK((uniform.as_double(i) >= -2 && uniform.as_double(i) < 3));
  const Tensor coins = Case("Bernoulli").attr("dtype", std::int64_t{9}).in(floats({1000}, Floats(1000, 0.25f))).result();
  CHECK(coins.dtype() == DType::boolean);
  const auto ones = coins.values<std::uint8_t>();
  CHECK(std::abs(std::count(ones.begin(), ones.end(), 1) - 250) < 55);
  CHECK(Case("Bernoulli").in(floats({3}, {0, 1, 0})).floats() == Floats{0, 1, 0});
  const float low = -std::numeric_limits<float>::infinity();
  const Tensor picked = Case("Multinomial").attr("sample_size", std::int64_t{50}).in(floats({2, 3}, {low, 5, low, 0, low, 0})).result();
  CHECK(picked.dims() == Dims{2, 50});
  for (std::int64_t i = 0; i < 50; ++i) CHECK(picked.as_int64(i) == 1);
  for (std::int64_t i = 50; i < 100; ++i) CHECK(picked.as_int64(i) != 1);
}

TEST_CASE("random operators refuse hostile sizes and distributions") {
  CHECK_THAT(Case("RandomNormal").error(), Contains("shape"));
  CHECK_THAT(Case("RandomNormal").attr("shape", Ints{-1}).error(), Contains("shape"));
  CHECK_THAT(Case("RandomNormal").attr("shape", Ints{std::int64_t{1} << 62, 8}).error(), Contains("shape"));
  CHECK_THAT(Case("RandomNormal").attr("shape", Ints{std::int64_t{1} << 40}).error(), Contains("more than"));
  CHECK_THAT(Case("RandomNormal").attr("shape", Ints{1}).attr("dtype", std::int64_t{7}).error(), Contains("int64"));
  CHECK_THAT(Case("RandomNormalLike").in(list({1})).error(), Contains("int64"));
  CHECK_THAT(Case("Bernoulli").in(floats({1}, {1.5f})).error(), Contains("probability"));
  const float low = -std::numeric_limits<float>::infinity();
  CHECK_THAT(Case("Multinomial").in(floats({1, 2}, {low, low})).error(), Contains("no distribution"));
  CHECK_THAT(Case("Multinomial").in(floats({1, 0}, {})).error(), Contains("classes"));
  CHECK_THAT(Case("Multinomial").attr("sample_size", std::int64_t{-1}).in(floats({1, 1}, {0})).error(), Contains("sample_size"));
}

TEST_CASE("random nodes are not folded though their operands are constant") {
  Model model = parsed(R"(<ir_version: 9, opset_import: ["" : 22]> g () => (float[4] y) <float[4] c = {0, 0, 0, 0}> { y = RandomNormalLike (c) })");
  std::vector<ops::ComputedValue> computed;
  REQUIRE(ops::infer_types(model, computed).has_value());
  const ValueId y = model.graph.find_value("y");
  CHECK(std::none_of(computed.begin(), computed.end(), [&](const auto& value) { return value.value == y; }));
}

TEST_CASE("ImageDecoder reads pixmaps, gives nothing for damage, and names what it cannot read") {
  const auto decoded = [](std::string_view text) {
    Case node("ImageDecoder");
    node.opset = 20;
    return node.in(bytes(text));
  };
  const auto pixels = [&](std::string_view text) { return decoded(text).result().as_int64s(); };
  CHECK(pixels("P3 # a comment\n2 1 15\n15 0 7  0 0 15\n") == Ints{255, 0, 119, 0, 0, 255});
  CHECK(pixels(std::string_view("P5 1 2 65535\n\xFF\xFF\x80\x00", 17)) == Ints{255, 255, 255, 128, 128, 128});
  CHECK(pixels("P1\n3 1\n101\n") == Ints{0, 0, 0, 255, 255, 255, 0, 0, 0});
  CHECK(pixels("P4\n3 1\n\xA0") == Ints{0, 0, 0, 255, 255, 255, 0, 0, 0});
  CHECK(decoded("P6\n2 1\n255\n\x01\x02\x03").result().dims() == Dims{0, 0, 3});
  CHECK(decoded("P6\n2 99999999999 255\n").result().dims() == Dims{0, 0, 3});
  CHECK(decoded("P2\n2 1 65535\n655361").result().dims() == Dims{0, 0, 3});  // one sample, not two
  CHECK(decoded("P3\n1 1 9\n10 0 0").result().dims() == Dims{0, 0, 3});
  CHECK(decoded("").result().dims() == Dims{0, 0, 3});
  CHECK(decoded("\xFF\xD8\xFF\xE0 no image at all").attr("pixel_format", std::string("Grayscale")).result().dims() == Dims{0, 0, 1});
  CHECK_THAT(decoded("P6\n4000 4000\n255\n").error(), Contains("more than"));
  // Nothing is wrong with an image that is too large, so that an empty result would not be true.
  CHECK_THAT(decoded("P6\n40000 40000\n255\n").error(), Contains("40000 x 40000 pixels is beyond the limit of 134217728"));
  CHECK_THAT(decoded("P6\n2000000 1\n255\n").error(), Contains("1048576 on a side"));
  const std::string_view png_header("\x89PNG\r\n\x1A\n\0\0\0\x0DIHDR\0\x10\0\x01\0\0\0\x01\x08\x02\0\0\0", 29);
  const std::string_view png_crc("\x9C\x6F\xBE\x22\0\0\0\0IDAT\x35\xAF\x06\x1E", 16);
  CHECK_THAT(decoded(std::string(png_header) + std::string(png_crc)).error(), Contains("1048577 x 1 pixels"));
  CHECK_THAT(decoded(std::string_view("RIFF\0\0\0\0WEBPVP8 ", 16)).error(), Contains("WebP"));
  CHECK_THAT(decoded(std::string_view("II*\0\0\0\0\0\0\0\0\0", 12)).error(), Contains("TIFF"));
  CHECK_THAT(decoded("P5 1 1 255 x").attr("pixel_format", std::string("RGBA")).error(), Contains("pixel_format"));
}

TEST_CASE("a BMP of every depth, bottom up and top down") {
  const auto bmp = [](std::int32_t width, std::int32_t height, std::uint16_t depth, std::uint32_t colors, std::string_view rest) {
    std::string file = "BM";
    const auto put = [&](std::uint32_t value, int size) {
      for (int i = 0; i < size; ++i) file += i < 4 ? static_cast<char>(value >> 8 * i) : '\0';
    };
    put(0, 8);
    put(54 + colors * 4, 4);
    put(40, 4);
    put(static_cast<std::uint32_t>(width), 4);
    put(static_cast<std::uint32_t>(height), 4);
    put(1, 2);
    put(depth, 2);
    put(0, 16);
    put(colors, 4);
    put(0, 4);
    file += rest;
    Case node("ImageDecoder");
    node.opset = 20;
    return node.in(bytes(file));
  };
  const std::string rows("\x01\x02\x03\x00\x04\x05\x06\x00", 8);
  CHECK(bmp(1, 2, 24, 0, rows).result().as_int64s() == Ints{6, 5, 4, 3, 2, 1});
  CHECK(bmp(1, -2, 24, 0, rows).result().as_int64s() == Ints{3, 2, 1, 6, 5, 4});
  CHECK(bmp(2, 1, 32, 0, rows).result().as_int64s() == Ints{3, 2, 1, 6, 5, 4});
  CHECK(bmp(2, 1, 4, 2, rows + std::string("\x10\x00\x00\x00", 4)).result().as_int64s() == Ints{6, 5, 4, 3, 2, 1});
  CHECK(bmp(2, 1, 1, 2, rows + std::string("\x40\x00\x00\x00", 4)).result().as_int64s() == Ints{3, 2, 1, 6, 5, 4});
  CHECK(bmp(1, 1, 8, 2, rows + std::string("\x02\x00\x00\x00", 4)).result().dims() == Dims{0, 0, 3});  // no such color
  CHECK(bmp(1, 3, 24, 0, rows).result().dims() == Dims{0, 0, 3});
  CHECK_THAT(bmp(1, std::numeric_limits<std::int32_t>::min(), 24, 0, rows).error(), Contains("1 x 2147483648 pixels"));
  CHECK(bmp(-1, 1, 24, 0, rows).result().dims() == Dims{0, 0, 3});
}
