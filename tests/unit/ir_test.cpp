#include <catch2/catch.hpp>

#include <atomic>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <limits>
#include <thread>

#include "lib/ir/graph.h"
#include "lib/ir/verify.h"
#include "lib/support/random.h"

using namespace bevel;

namespace {

// x -> a -> b -> y, with one constant.
struct Chain {
  Graph graph;
  ValueId x, w, a, y;
  NodeId first, second;
  Chain() {
    x = graph.add_input("x", Type::tensor(DType::float32, {4}));
    w = graph.add_constant("w", Tensor::of<float>({4}, std::vector<float>{1, 2, 3, 4}));
    a = graph.add_value("a");
    y = graph.add_value("y");
    first = graph.add_node(make("Add", {x, w}, a));
    second = graph.add_node(make("Relu", {a}, y));
    graph.add_output(y);
  }
  static Node make(std::string op, std::vector<ValueId> inputs, ValueId output) {
    Node node;
    node.op_type = std::move(op);
    node.inputs = std::move(inputs);
    node.outputs = {output};
    return node;
  }
};

}  // namespace

TEST_CASE("names are made unique and stay findable") {
  Graph graph;
  CHECK(graph.value(graph.add_value("v")).name == "v");
  CHECK(graph.value(graph.add_value("v")).name == "v_1");
  CHECK(graph.value(graph.add_value("")).name == "value");
  CHECK(graph.find_value("v_1").valid());
  CHECK_FALSE(graph.find_value("none").valid());
}

TEST_CASE("replacing the uses of an output keeps the output's name") {
  Chain chain;
  REQUIRE(chain.graph.replace_uses(chain.y, chain.a));
  CHECK(chain.graph.value(chain.graph.outputs()[0]).name == "y");
  CHECK(chain.graph.outputs()[0] == chain.a);
  CHECK(chain.graph.erase_dead().nodes == 1);
  REQUIRE(verify(chain.graph));
}

TEST_CASE("an output is not redirected to an input or a constant") {
  Chain chain;
  CHECK_FALSE(chain.graph.replace_uses(chain.y, chain.x));
  CHECK(chain.graph.outputs()[0] == chain.y);
  REQUIRE(verify(chain.graph));
}

TEST_CASE("dead nodes go from the end, then unused constants") {
  Chain chain;
  const ValueId z = chain.graph.add_value("z");
  const ValueId q = chain.graph.add_value("q");
  chain.graph.add_node(Chain::make("Neg", {chain.w}, z));
  chain.graph.add_node(Chain::make("Neg", {z}, q));
  chain.graph.add_constant("unused", Tensor::scalar<float>(1));
  const auto swept = chain.graph.erase_dead();
  CHECK(swept.nodes == 2);
  CHECK(swept.constants == 1);
  REQUIRE(verify(chain.graph));
  chain.graph.compact();
  REQUIRE(verify(chain.graph));
  CHECK(chain.graph.node_capacity() == 2);
}

TEST_CASE("sorting keeps a sorted order and finds a cycle") {
  Graph graph;
  const ValueId a = graph.add_value("a"), b = graph.add_value("b");
  const NodeId second = graph.add_node(Chain::make("Relu", {a}, b));
  const ValueId x = graph.add_input("x", {});
  const NodeId first = graph.add_node(Chain::make("Relu", {x}, a));
  graph.add_output(b);
  REQUIRE(graph.sort());
  CHECK(graph.node_order() == std::vector<NodeId>{first, second});
  graph.set_operand(first, 0, b);
  CHECK_FALSE(graph.sort());
  CHECK(graph.find_cycle().valid());
}

TEST_CASE("a copied graph shares tensors and is edited alone") {
  Chain chain;
  Graph copy = chain.graph;
  Tensor changed = *copy.constant(chain.w);
  changed.mutable_values<float>()[0] = 9;
  copy.set_constant(chain.w, changed);
  CHECK(chain.graph.constant(chain.w)->values<float>()[0] == 1);
  CHECK(copy.constant(chain.w)->values<float>()[0] == 9);
}

TEST_CASE("sub-byte elements are packed, first in the low bits") {
  Tensor tensor = Tensor::zeros(DType::int4, {3});
  for (int i = 0; i < 3; ++i) tensor.set_from_int64(i, -1 - i);
  CHECK(tensor.as_int64s() == std::vector<std::int64_t>{-1, -2, -3});
  CHECK(static_cast<int>(tensor.bytes()[0]) == 0xEF);
  CHECK(tensor.bytes().size() == 2);
}

TEST_CASE("a type is shown with its symbols made printable") {
  Shape shape = Shape::of({2, 3});
  shape.dims[0] = Dim::named("N\x1b[31m\n");
  const std::string text = to_string(Type::tensor(DType::float32, shape));
  CHECK(text == "float[" + printable(shape.dims[0].symbol) + ",3]");
  CHECK(text.find('\x1b') == std::string::npos);
  CHECK(text.find('\n') == std::string::npos);
  CHECK(to_string(Type::tensor(DType::float32, Shape(std::vector<Dim>{Dim::named("N"), Dim()}))) == "float[N,?]");
}

TEST_CASE("element counts are checked for overflow") {
  CHECK(element_count(Dims{3, 0, 5}) == 0);
  CHECK_FALSE(element_count(Dims{std::int64_t{1} << 40, std::int64_t{1} << 40}));
  CHECK_FALSE(element_count(Dims{-1}));
  CHECK_FALSE(packed_bytes(DType::float64, std::numeric_limits<std::int64_t>::max()));
}

TEST_CASE("16-bit floats round half to even and widen exactly") {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float wide = widen_float16(half);
    if (std::isnan(wide)) CHECK(std::isnan(widen_float16(narrow_float16(wide))));
    else CHECK(narrow_float16(wide) == half);
    const float brain = widen_bfloat16(half);
    if (!std::isnan(brain)) CHECK(narrow_bfloat16(brain) == half);
  }
  CHECK(narrow_float16(65520.0f) == 0x7C00);        // ties to even past the largest: infinity
  CHECK(narrow_float16(65519.0f) == 0x7BFF);
  CHECK(narrow_float16(0x1p-25f) == 0);             // half of the smallest subnormal ties to zero
  CHECK(narrow_float16(0x1.8p-25f) == 1);
  CHECK(narrow_bfloat16(0x1.01p0f) == 0x3F80);      // tie to even
  CHECK(narrow_bfloat16(0x1.03p0f) == 0x3F82);
}

TEST_CASE("8-bit and 4-bit floats round trip and saturate") {
  for (const DType dtype : {DType::float8e4m3fn, DType::float8e4m3fnuz, DType::float8e5m2, DType::float8e5m2fnuz,
                            DType::float8e8m0, DType::float4e2m1}) {
    for (int bits = 0; bits < (dtype == DType::float4e2m1 ? 16 : 256); ++bits) {
      const float wide = widen_small_float(dtype, static_cast<std::uint8_t>(bits));
      CAPTURE(dtype_name(dtype), bits, wide);
      const std::uint8_t back = narrow_small_float(dtype, wide, false);
      if (std::isnan(wide)) CHECK(std::isnan(widen_small_float(dtype, back)));
      else CHECK(back == bits);
    }
  }
  CHECK(widen_small_float(DType::float8e4m3fn, narrow_small_float(DType::float8e4m3fn, 1e9f, true)) == 448.0f);
  CHECK(std::isnan(widen_small_float(DType::float8e4m3fn, narrow_small_float(DType::float8e4m3fn, 1e9f, false))));
  CHECK(widen_small_float(DType::float8e5m2, narrow_small_float(DType::float8e5m2, -1e9f, true)) == -57344.0f);
  CHECK(std::isinf(widen_small_float(DType::float8e5m2, narrow_small_float(DType::float8e5m2, 1e9f, false))));
  CHECK(widen_small_float(DType::float4e2m1, narrow_small_float(DType::float4e2m1, 100.0f, true)) == 6.0f);
  // As test_cast_FLOAT_to_FLOAT4E2M1 of ONNX's operator tests: there is no NaN.
  const float nan = std::numeric_limits<float>::quiet_NaN();
  CHECK(narrow_small_float(DType::float4e2m1, nan) == 8);
  CHECK(narrow_small_float(DType::float4e2m1, std::copysign(nan, -1.0f)) == 0);
}

TEST_CASE("a misaligned tensor is counted once its aligned copy was made, whoever asks meanwhile") {
  const std::string path = "./ir_test_mapped.bin";
  constexpr std::size_t kFloats = 1 << 16;
  {
    std::ofstream file(path, std::ios::binary);
    file.put('x');
    for (std::size_t i = 0; i < kFloats; ++i) {
      const auto value = static_cast<float>(i);
      file.write(reinterpret_cast<const char*>(&value), sizeof value);
    }
  }
  auto file = MappedFile::open(path);
  REQUIRE(file.has_value());
  const Tensor tensor = Tensor::mapped(DType::float32, {kFloats}, *file, 1, kFloats * 4);
  CHECK(tensor.heap_bytes() == 0);
  std::vector<std::thread> threads;
  std::atomic<bool> sound = true;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      if (t % 2 == 0 && tensor.values<float>()[kFloats - 1] != static_cast<float>(kFloats - 1)) sound = false;
      const std::size_t bytes = tensor.heap_bytes();
      if (bytes != 0 && bytes != kFloats * 4) sound = false;
    });
  }
  for (std::thread& thread : threads) thread.join();
  CHECK(sound);
  CHECK(tensor.heap_bytes() == kFloats * 4);
  std::remove(path.c_str());
}
