// Tensors without elements, tensors without axes, operands and outputs that are left out: through import's text form, inference and
// evaluation of whole models. Expected values are NumPy's.
#include "tests/common/node_case.h"

#include "lib/eval/evaluator.h"
#include "lib/ops/op.h"

using namespace bevel;
using testing::parsed;

namespace {

std::vector<Datum> outputs(const std::string& graph, const std::vector<Datum>& inputs) {
  const auto evaluator = eval::Evaluator::create(parsed("<ir_version: 10, opset_import: [\"\" : 18]> " + graph));
  INFO((evaluator ? std::string() : evaluator.error().message));
  REQUIRE(evaluator.has_value());
  auto result = (*evaluator)->run(inputs);
  INFO((result ? std::string() : result.error().message));
  REQUIRE(result.has_value());
  return std::move(*result);
}

Tensor floats(Dims dims, std::vector<float> values) { return Tensor::of<float>(std::move(dims), values); }

}  // namespace

TEST_CASE("tensors without elements go through arithmetic, products, reductions and movement") {
  const auto result = outputs(R"(g (float[n,3] x) => (float[...] product, float[...] sum, float[...] joined, float[...] part, bool[...] small,
      float[...] turned, int64[...] shape, float[...] picked)
  < float[3,2] w = {1, 2, 3, 4, 5, 6}, float[1,3] row = {1, 2, 3}, int64[1] zero = {0}, int64[0] none = {} >
  { product = MatMul (x, w)  sum = ReduceSum <keepdims = 0> (x, zero)  joined = Concat <axis = 0> (x, row)  part = Slice (row, zero, zero, zero)
    small = Less (x, row)  turned = Transpose (x)  shape = Shape (x)  picked = Gather (row, none) })", {floats({0, 3}, {})});
  CHECK(result[0].tensor()->dims() == Dims{0, 2});
  CHECK(result[1].tensor()->as_floats() == std::vector<float>{0, 0, 0});
  CHECK(result[2].tensor()->as_floats() == std::vector<float>{1, 2, 3});
  CHECK(result[3].tensor()->dims() == Dims{0, 3});
  CHECK(result[4].tensor()->dims() == Dims{0, 3});
  CHECK(result[4].tensor()->dtype() == DType::boolean);
  CHECK(result[5].tensor()->dims() == Dims{3, 0});
  CHECK(result[6].tensor()->as_int64s() == std::vector<std::int64_t>{0, 3});
  CHECK(result[7].tensor()->dims() == Dims{0, 3});
}

TEST_CASE("tensors without axes hold one element, and come and go by Reshape, reductions and Gather") {
  const auto result = outputs(R"(g (float[2,2] x, float[] s) => (float[] sum, float[2,2] scaled, float[] element, float[1,1] shaped, int64[0] shape)
  < int64[0] scalar = {}, int64[2] ones = {1, 1}, int64[] last = {-1}, int64[1] flat = {-1} >
  { sum = ReduceSum <keepdims = 0> (x)  scaled = Mul (x, s)  line = Reshape (x, flat)  element = Gather (line, last)
    shaped = Reshape (s, ones)  back = Reshape (shaped, scalar)  shape = Shape (back) })",
                              {floats({2, 2}, {1, 2, 3, 4}), floats({}, {10})});
  CHECK(result[0].tensor()->dims() == Dims{});
  CHECK(result[0].tensor()->as_floats() == std::vector<float>{10});
  CHECK(result[1].tensor()->as_floats() == std::vector<float>{10, 20, 30, 40});
  CHECK(result[2].tensor()->dims() == Dims{});
  CHECK(result[2].tensor()->as_floats() == std::vector<float>{4});
  CHECK(result[3].tensor()->dims() == Dims{1, 1});
  CHECK(result[4].tensor()->dims() == Dims{0});
}

TEST_CASE("operands and outputs that are left out, in the middle and at the end") {
  const auto result = outputs(R"(g (float[4] x) => (float[...] clipped, float[2] second, float[2] values, float[4] kept)
  < float[] high = {2}, int64[1] two = {2} >
  { clipped = Clip (x, "", high)  "", second = Split <num_outputs = 2> (x)  values, "" = TopK (x, two)  kept = Dropout (x, "", "") })",
                              {floats({4}, {1, 4, 3, 2})});
  CHECK(result[0].tensor()->as_floats() == std::vector<float>{1, 2, 2, 2});
  CHECK(result[1].tensor()->as_floats() == std::vector<float>{3, 2});
  CHECK(result[2].tensor()->as_floats() == std::vector<float>{4, 3});
  CHECK(result[3].tensor()->as_floats() == std::vector<float>{1, 4, 3, 2});
}
