// Windows that slide over images: convolutions and pooling against a plain definition, equal bits however they are computed, hostile
// attributes.
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include "lib/ops/sliding_window.h"
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

// The definition of a 2-D convolution, in double.
struct Conv2d {
  std::int64_t n, c, h, w, m, kh, kw, stride, dilation, pad_begin, pad_end, groups;
};
std::vector<double> convolve(const Conv2d& s, const Floats& x, const Floats& w, const Floats& b, std::int64_t oh,
                             std::int64_t ow) {
  std::vector<double> y;
  const std::int64_t group_in = s.c / s.groups, group_out = s.m / s.groups;
  for (std::int64_t n = 0; n < s.n; ++n)
    for (std::int64_t m = 0; m < s.m; ++m)
      for (std::int64_t i = 0; i < oh; ++i)
        for (std::int64_t j = 0; j < ow; ++j) {
          double sum = b[static_cast<std::size_t>(m)];
          for (std::int64_t c = 0; c < group_in; ++c)
            for (std::int64_t u = 0; u < s.kh; ++u)
              for (std::int64_t v = 0; v < s.kw; ++v) {
                const std::int64_t r = i * s.stride - s.pad_begin + u * s.dilation;
                const std::int64_t q = j * s.stride - s.pad_begin + v * s.dilation;
                if (r < 0 || r >= s.h || q < 0 || q >= s.w) continue;
                const std::int64_t channel = m / group_out * group_in + c;
                sum += static_cast<double>(x[static_cast<std::size_t>(((n * s.c + channel) * s.h + r) * s.w + q)]) *
                       static_cast<double>(w[static_cast<std::size_t>(((m * group_in + c) * s.kh + u) * s.kw + v)]);
              }
          y.push_back(sum);
        }
  return y;
}

TEST_CASE("Conv agrees with its definition over shapes, strides, dilations, pads and groups") {
  const Conv2d cases[] = {
      {1, 3, 9, 11, 5, 3, 3, 1, 1, 1, 1, 1},   {2, 4, 8, 8, 6, 3, 2, 2, 1, 1, 0, 2},
      {1, 1, 7, 40, 1, 1, 5, 1, 2, 4, 4, 1},   {1, 6, 13, 37, 6, 3, 3, 1, 1, 1, 1, 6},
      {2, 6, 14, 70, 12, 5, 5, 2, 1, 2, 2, 6}, {1, 4, 20, 20, 4, 3, 3, 3, 1, 0, 0, 4},
      {1, 4, 12, 12, 4, 3, 3, 1, 3, 3, 3, 4},  {1, 32, 6, 6, 40, 3, 3, 1, 1, 1, 1, 1},
      {1, 8, 5, 5, 16, 1, 1, 1, 1, 0, 0, 1},   {1, 2, 3, 3, 2, 3, 3, 2, 1, 40, 40, 2},
      {1, 3, 4, 4, 7, 4, 4, 1, 1, 0, 0, 1},
  };
  for (const Conv2d& s : cases) {
    const Tensor x = random_tensor({s.n, s.c, s.h, s.w}, 1), w = random_tensor({s.m, s.c / s.groups, s.kh, s.kw}, 2);
    const Tensor b = random_tensor({s.m}, 3);
    const Tensor y = Case("Conv")
                         .in(x)
                         .in(w)
                         .in(b)
                         .attr("strides", Ints{s.stride, s.stride})
                         .attr("dilations", Ints{s.dilation, s.dilation})
                         .attr("pads", Ints{s.pad_begin, s.pad_begin, s.pad_end, s.pad_end})
                         .attr("group", s.groups)
                         .result();
    const std::int64_t oh = (s.h + s.pad_begin + s.pad_end - (s.kh - 1) * s.dilation - 1) / s.stride + 1;
    const std::int64_t ow = (s.w + s.pad_begin + s.pad_end - (s.kw - 1) * s.dilation - 1) / s.stride + 1;
    REQUIRE(y.dims() == Dims{s.n, s.m, oh, ow});
    const auto want = convolve(s, x.as_floats(), w.as_floats(), b.as_floats(), oh, ow);
    const auto got = y.as_floats();
    for (std::size_t i = 0; i < got.size(); ++i) REQUIRE(static_cast<double>(got[i]) == Approx(want[i]).margin(1e-5));
  }
}

TEST_CASE("Conv in one and three dimensions is Conv in two with extents of one") {
  const Tensor x = random_tensor({2, 3, 12}, 4), w = random_tensor({4, 3, 3}, 5);
  const Floats one = Case("Conv").in(x).in(w).attr("pads", Ints{1, 2}).attr("strides", Ints{2}).floats();
  const Floats two = Case("Conv")
                         .in(x.reshaped({2, 3, 1, 12}))
                         .in(w.reshaped({4, 3, 1, 3}))
                         .attr("pads", Ints{0, 1, 0, 2})
                         .attr("strides", Ints{1, 2})
                         .floats();
  const Floats three = Case("Conv")
                           .in(x.reshaped({2, 3, 1, 1, 12}))
                           .in(w.reshaped({4, 3, 1, 1, 3}))
                           .attr("pads", Ints{0, 0, 1, 0, 0, 2})
                           .attr("strides", Ints{1, 1, 2})
                           .floats();
  CHECK(one == two);
  CHECK(two == three);
}

TEST_CASE("Windows: hostile numbers are refused, with the attribute's name") {
  const Tensor x = random_tensor({1, 1, 4, 4}, 1), w = random_tensor({1, 1, 3, 3}, 2);
  const auto conv = [&] { return Case("Conv").in(x).in(w); };
  CHECK_THAT(conv().attr("strides", Ints{0, 1}).error(), Catch::Contains("'strides' contains 0"));
  CHECK_THAT(conv().attr("strides", Ints{1}).error(), Catch::Contains("'strides' has 1 entries, expected 2"));
  CHECK_THAT(conv().attr("dilations", Ints{std::numeric_limits<std::int64_t>::max(), 1}).error(),
             Catch::Contains("'dilations'"));
  CHECK_THAT(conv().attr("pads", Ints{-1, 0, 0, 0}).error(), Catch::Contains("'pads' contains -1"));
  CHECK_THAT(conv().attr("dilations", Ints{2, 2}).error(), Catch::Contains("reaches over 5"));
  CHECK_THAT(conv().attr("kernel_shape", Ints{2, 2}).error(), Catch::Contains("'kernel_shape'"));
  CHECK_THAT(conv().attr("group", std::int64_t{0}).error(), Catch::Contains("'group' is 0"));
  CHECK_THAT(conv().attr("group", std::int64_t{3}).error(), Catch::Contains("'group' is 3"));
  CHECK_THAT(conv().attr("auto_pad", std::string("SAME")).error(), Catch::Contains("'auto_pad' is 'SAME'"));
  CHECK_THAT(conv().attr("strides", 2.0f).error(), Catch::Contains("'strides' is a float, expected ints"));
  // An output beyond the cap is refused before it is allocated.
  CHECK_THAT(conv().attr("pads", Ints{1 << 29, 1 << 29, 1 << 29, 1 << 29}).error(), Catch::Contains("bytes"));
  CHECK_THAT(Case("MaxPool").in(x).error(), Catch::Contains("'kernel_shape' is missing"));
  CHECK_THAT(Case("MaxPool").in(x).attr("kernel_shape", Ints{2, 2}).attr("pads", Ints{2, 2, 0, 0}).error(),
             Catch::Contains("pads"));
  CHECK_THAT(Case("Conv").in(random_tensor({4, 4}, 1)).in(random_tensor({4, 4}, 1)).error(), Catch::Contains("rank 3"));
  CHECK_THAT(Case("ConvTranspose").in(x).in(w).attr("output_padding", Ints{1, 1}).error(),
             Catch::Contains("output_padding"));
  CHECK_THAT(Case("ConvTranspose").in(x).in(w).attr("output_shape", Ints{1LL << 50, 4}).error(),
             Catch::Contains("output_shape"));
  CHECK_THAT(Case("LRN").in(x).error(), Catch::Contains("'size' is missing"));
  CHECK_THAT(Case("BatchNormalization")
                 .in(x)
                 .in(random_tensor({2}, 1))
                 .in(random_tensor({1}, 1))
                 .in(random_tensor({1}, 1))
                 .in(random_tensor({1}, 1))
                 .error(),
             Catch::Contains("input 1 (scale)"));
}

TEST_CASE("Windows: ceil_mode drops a last window that starts behind the image") {
  Node node;
  node.set_attribute("kernel_shape", Ints{2});
  node.set_attribute("strides", Ints{3});
  node.set_attribute("ceil_mode", std::int64_t{1});
  node.set_attribute("pads", Ints{0, 1});
  const auto attributes = ops::window_attributes(node, 1, {});
  REQUIRE(attributes.has_value());
  CHECK(ops::window_axis(*attributes, 0, 6)->out == 2);  // ceil gives 3, the third would start at 6
  CHECK(ops::window_axis(*attributes, 0, 7)->out == 3);
}

TEST_CASE("AveragePool: a clipped last window counts image and padding only") {
  const Tensor x = Tensor::of<float>({1, 1, 4}, Floats{1, 2, 3, 4});
  const auto pool = [&] {
    return Case("AveragePool")
        .in(x)
        .attr("kernel_shape", Ints{3})
        .attr("strides", Ints{2})
        .attr("pads", Ints{1, 1})
        .attr("ceil_mode", std::int64_t{1});
  };
  CHECK(pool().floats() == Floats{1.5f, 3.0f, 4.0f});
  // Windows cover [pad,1,2], [2,3,4], [4,pad] (the third is cut to two positions).
  CHECK(pool().attr("count_include_pad", std::int64_t{1}).floats() == Floats{1.0f, 3.0f, 2.0f});
}

TEST_CASE("Pooling by rows gives the bits of pooling window by window") {
  // Asked for indices, MaxPool walks windows; a third axis of extent 1 makes AveragePool walk them.
  const Tensor x = random_tensor({2, 3, 11, 13}, 5), deep = x.reshaped({2, 3, 1, 11, 13});
  for (const std::int64_t stride : {1, 2, 3})
    for (const std::int64_t dilation : {1, 2})
      for (const std::int64_t ceil : {0, 1})
        for (const std::int64_t include : {0, 1}) {
          INFO("stride " << stride << ", dilation " << dilation << ", ceil " << ceil << ", include " << include);
          const auto pool = [&](const char* op) {
            return Case(op).attr("strides", Ints{stride, stride}).attr("dilations", Ints{dilation, dilation}).attr("ceil_mode", ceil);
          };
          const auto flat = [&](const char* op) {
            return pool(op).in(x).attr("kernel_shape", Ints{3, 2}).attr("pads", Ints{2, 0, 1, 1});
          };
          CHECK(flat("MaxPool").result().same_bits(flat("MaxPool").outputs(2).result()));
          Case average = flat("AveragePool");
          average.opset = 19;
          average.attr("count_include_pad", include);
          Case walked = Case("AveragePool").in(deep).attr("kernel_shape", Ints{1, 3, 2}).attr("pads", Ints{0, 2, 0, 0, 1, 1})
                            .attr("strides", Ints{1, stride, stride}).attr("dilations", Ints{1, dilation, dilation})
                            .attr("ceil_mode", ceil).attr("count_include_pad", include);
          walked.opset = 19;
          const Tensor rows = average.result();
          CHECK(rows.same_bits(walked.result().reshaped(rows.dims())));
        }
}

TEST_CASE("Conv: each output is one chain of fused multiply-adds, in whatever way it is computed") {
  struct Form {
    std::int64_t in, out, group, height, width, kernel, stride, dilation, pad;
  };
  for (const Form& f : {Form{3, 8, 1, 9, 11, 3, 1, 1, 1}, Form{4, 6, 2, 40, 37, 3, 1, 2, 2}, Form{5, 120, 1, 7, 7, 3, 1, 1, 1},
                        Form{6, 6, 6, 25, 5, 3, 1, 1, 1}, Form{4, 8, 4, 12, 10, 5, 2, 1, 2}, Form{3, 7, 1, 21, 20, 3, 2, 1, 0},
                        Form{2, 3, 1, 4, 90, 3, 1, 1, 1}, Form{8, 5, 1, 6, 6, 1, 1, 1, 0}, Form{1, 2, 1, 3, 3, 3, 1, 1, 20}}) {
    INFO("kernel " << f.kernel << ", group " << f.group << ", width " << f.width << ", pad " << f.pad);
    const Tensor x = random_tensor({2, f.in, f.height, f.width}, 1), w = random_tensor({f.out, f.in / f.group, f.kernel, f.kernel}, 2);
    const Tensor bias = random_tensor({f.out}, 3);
    const Tensor y = Case("Conv").in(x).in(w).in(bias).attr("group", f.group).attr("strides", Ints{f.stride, f.stride})
                         .attr("dilations", Ints{f.dilation, f.dilation}).attr("pads", Ints{f.pad, f.pad, f.pad, f.pad}).result();
    const auto xv = x.values<float>(), wv = w.values<float>(), yv = y.values<float>();
    const std::int64_t depth = f.in / f.group;
    std::size_t at = 0;
    bool same = true;
    for (std::int64_t n = 0; n < 2; ++n)
      for (std::int64_t m = 0; m < f.out; ++m)
        for (std::int64_t i = 0; i < y.dim(2); ++i)
          for (std::int64_t j = 0; j < y.dim(3); ++j, ++at) {
            float sum = bias.values<float>()[static_cast<std::size_t>(m)];
            for (std::int64_t c = 0; c < depth; ++c)
              for (std::int64_t a = 0; a < f.kernel; ++a)
                for (std::int64_t b = 0; b < f.kernel; ++b) {
                  const std::int64_t row = i * f.stride - f.pad + a * f.dilation, column = j * f.stride - f.pad + b * f.dilation;
                  const bool inside = row >= 0 && row < f.height && column >= 0 && column < f.width;
                  const std::int64_t channel = m / (f.out / f.group) * depth + c;
                  const auto from = static_cast<std::size_t>(((n * f.in + channel) * f.height + row) * f.width + column);
                  const auto weight = static_cast<std::size_t>(((m * depth + c) * f.kernel + a) * f.kernel + b);
                  sum = __builtin_fmaf(wv[weight], inside ? xv[from] : 0.0f, sum);
                }
            same = same && sum == yv[at];
          }
    CHECK(same);
  }
}

TEST_CASE("MaxPool: NaN wins, the first of equals is the index, negative inputs are not beaten by padding") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Floats with_nan =
      Case("MaxPool").in(Tensor::of<float>({1, 1, 4}, Floats{1, nan, 3, 2})).attr("kernel_shape", Ints{2}).floats();
  CHECK((std::isnan(with_nan[0]) && std::isnan(with_nan[1]) && with_nan[2] == 3));
  const Case equal = Case("MaxPool")
                         .in(Tensor::of<float>({1, 1, 2, 2}, Floats{-5, -5, -5, -5}))
                         .attr("kernel_shape", Ints{2, 2})
                         .attr("pads", Ints{1, 1, 1, 1})
                         .outputs(2);
  CHECK(equal.floats() == Floats(9, -5.0f));
  CHECK(equal.result(1).as_int64s() == Ints{0, 0, 1, 0, 0, 1, 2, 2, 3});
  CHECK(Case("MaxPool")
            .in(Tensor::of<std::int8_t>({1, 1, 2}, std::vector<std::int8_t>{-3, -7}))
            .attr("kernel_shape", Ints{2})
            .result()
            .as_int64s() == Ints{-3});
}

}  // namespace
