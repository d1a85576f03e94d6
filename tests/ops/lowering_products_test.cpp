// Lowering of products: convolutions and matrix products on 8-bit and 16-bit integers, and floats with stored weights.
#include "lib/ops/op.h"
#include "tests/common/lowering_case.h"

using namespace bevel;
using namespace bevel::test;

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
  LoweringCase c{"mixed", {"2,12"}, "2,12", ", float[] s8 = {0.05}, int8[] z8 = {3}",
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
  LoweringCase zero{"zero point", {"1,4"}, "1,4", ", float[] s = {0.1}, int16[] z = {5}", "q = QuantizeLinear (x0, s, z)\n d = DequantizeLinear (q, s, z)\n y = Relu (d)"};
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

TEST_CASE("blocks of int4 weights: integers, from the packed weights") {
  const std::string scales = ", float[4,4] sw = {0.01, 0.02, 0.03, 0.04, 0.05, 0.01, 0.02, 0.03, 0.013, 0.0002, 0.024, 0.031, 0.041, 0.0151, 0.021, 0.037}";
  const auto weights = [](const std::string& dims) { return ", int4[" + dims + "] qw = random(2)"; };
  check_four({"blocks of 16", {"5,64"}, "5,4", scales + weights("64,4"), "w = DequantizeLinear <axis = 0, block_size = 16> (qw, sw)\n y = MatMul (x0, w)", 1, false, "0.2"}, 128);
  check_four({"a shorter last block, a bias and a clamp", {"2,3,99"}, "2,3,4", scales + weights("99,4") + ", float[4] b = {0.5, -3, 2, 1}",
              "w = DequantizeLinear <axis = 0, block_size = 32> (qw, sw)\n p = MatMul (x0, w)\n s = Add (p, b)\n y = Relu (s)", 1, false, "0.2"}, 4 * 104 / 2);
  check_four({"one block of all", {"3,21"}, "3,4", ", float[1,4] sw = {0.1, 0.02, 0.03, 0.04}" + weights("21,4"),
              "w = DequantizeLinear <axis = 0, block_size = 32> (qw, sw)\n y = MatMul (x0, w)", 1, false, "0.2"}, 48);
  check_four({"Gemm transB", {"1,64"}, "1,4", scales + weights("4,64") + ", int32[4] qb = {12, -70, 33, 500}, float[] sb = {0.01}",
              "w = DequantizeLinear <axis = 1, block_size = 16> (qw, sw)\n b = DequantizeLinear (qb, sb)\n y = Gemm <transB = 1> (x0, w, b)", 1, false, "0.2"}, 128);
  check_four({"uint4 around 8", {"1,64"}, "1,4", scales + ", uint4[64,4] qw = random(5), uint4[4,4] zw = {8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8}",
              "w = DequantizeLinear <axis = 0, block_size = 16> (qw, sw, zw)\n y = MatMul (x0, w)", 1, false, "0.2"}, 128);
}

TEST_CASE("blocks that integer kernels do not take run in float from the packed weights") {
  LoweringCase c{"blocks of 12", {"5,24"}, "5,4", ", float[2,4] sw = {0.01, 0.02, 0.03, 0.04, 0.05, 0.01, 0.02, 0.03}, int4[24,4] qw = random(2)",
                 "w = DequantizeLinear <axis = 0, block_size = 12> (qw, sw)\n y = MatMul (x0, w)", 1, false, "0.2"};
  c.opset = 21;
  const Model model = parsed(text_of(c, "int8"));
  const auto inputs = random_inputs(model, 7);
  const auto expected = reference(model, inputs), found = by_program(model, inputs, false);
  CHECK(found[0].same_bits(by_group_kernels(model, inputs)[0]));
  for (std::int64_t i = 0; i < expected[0].size(); ++i) CHECK(std::abs(found[0].as_int64(i) - expected[0].as_int64(i)) <= 1);
  const auto plan = plan::plan_model(model);
  REQUIRE(plan);
  REQUIRE(plan->stays_float.size() == 1);
  CHECK(plan->stays_float[0].reason.find("takes multiples of 8") != std::string::npos);
  for (const plan::ProgramTensor& tensor : plan->program.tensors) {
    if (tensor.storage == BVL_STORAGE_CONSTANT && tensor.dtype == DType::float32) CHECK(tensor.bytes <= 4 * 8);
  }
}

TEST_CASE("a bias added behind a product is the product's") {
  const std::string weights = ", float[4] sw = {0.011, 0.007, 0.02, 0.003}, int8[4] zw = {0, 0, 0, 0}, int8[16,4] qw = random(1)";
  const std::string product = "w = DequantizeLinear <axis = 1> (qw, sw, zw)\n p = MatMul (x0, w)\n ";
  for (const char* dims : {"5", "2,3", "2,1,3"}) {
    const std::string x = std::string(dims) + ",16", y = std::string(dims) + ",4";
    check_integer({"bias", {x}, y, weights + ", float[4] b = {0.5, -3, 2, 1}", product + "y = Add (p, b)", 1, false, "0.1"});
    check_integer({"in front, and clamped", {x}, y, weights + ", float[1,4] b = {0.5, -3, 2, 1}", product + "s = Add (b, p)\n y = Relu (s)", 1, false, "0.1"});
    check_integer({"one for all", {x}, y, weights + ", float[] b = {1.5}", product + "y = Sub (p, b)", 1, false, "0.1"});
    check_wide({"int16", {x}, y, weights + ", float[4] b = {0.5, -3, 2, 1}", product + "y = Add (p, b)", 1, false, "0.1"});
  }
  const auto reasons = [&](const std::string& bias, const std::string& sum, const std::string& y = "5,4") {
    std::string text;
    for (const plan::Group& group : plan::group_graph(parsed(text_of({"no bias", {"5,16"}, y, weights + bias, product + sum}, "int8"))).groups) text += group.reason;
    return text;
  };
  CHECK(reasons(", float[4] b = {0.5, -3, 2, 1}", "y = Add (p, b)").empty());
  CHECK(reasons(", float[5,1] b = {0.5, -3, 2, 1, 0}", "y = Add (p, b)").find("is not quantized") != std::string::npos);   // by row
  CHECK(reasons(", float[4] b = {0.5, -3, 2, 1}", "y = Sub (b, p)").find("is not quantized") != std::string::npos);
  CHECK(reasons(", float[3,1,1] b = {0.5, -3, 2}", "y = Add (p, b)", "3,5,4").find("is not quantized") != std::string::npos);  // it grows
  CHECK(reasons(", float[4] b = {0.5, -3, 2, 1e12}", "y = Add (p, b)").find("32 bits may not hold") != std::string::npos);
}

TEST_CASE("products of two activations") {
  check_integer({"matrices", {"5,7", "7,3"}, "5,3", "", "y = MatMul (x0, x1)", 1, false, "0.1"});
  check_integer({"one product", {"5,1", "1,3"}, "5,3", "", "y = MatMul (x0, x1)", 1, false, "0.1"});
  check_integer({"batches", {"2,3,5,8", "2,3,8,4"}, "2,3,5,4", "", "y = MatMul (x0, x1)", 1, false, "0.1"});
  check_integer({"batches that broadcast", {"2,1,5,8", "3,8,4"}, "2,3,5,4", "", "y = MatMul (x0, x1)", 1, false, "0.1"});
  check_integer({"a vector", {"2,3,5,8", "8"}, "2,3,5", "", "y = MatMul (x0, x1)", 1, false, "0.1"});
  check_integer({"a vector first", {"8", "2,8,4"}, "2,4", "", "y = MatMul (x0, x1)", 1, false, "0.1"});
  check_integer({"a clamp", {"5,7", "7,3"}, "5,3", "", "p = MatMul (x0, x1)\n y = Relu (p)", 1, false, "0.1"});
  check_integer({"batches of weights", {"2,5,8"}, "2,5,4", ", float[] sw = {0.01}, uint8[] zw = {100}, uint8[2,8,4] qw = random(1)",
                 "w = DequantizeLinear (qw, sw, zw)\n y = MatMul (x0, w)", 1, false, "0.1"});
  // Heads as attention splits them: no operand is moved, only the sum of all at the end is.
  const LoweringCase heads{"heads", {"1,6,12", "1,6,12"}, "1,3,6,6", ", int64[4] split = {1, 6, 3, 4}, float[] sh = {0.05}, int8[] zh = {5}, float[] sk = {0.031}, int8[] zk = {-20}",
                           "r = Reshape (x0, split)\n rq = QuantizeLinear (r, sh, zh)\n rd = DequantizeLinear (rq, sh, zh)\n a = Transpose <perm = [0, 2, 1, 3]> (rd)\n"
                           " aq = QuantizeLinear (a, sh, zh)\n ad = DequantizeLinear (aq, sh, zh)\n"
                           " s = Reshape (x1, split)\n sq = QuantizeLinear (s, sk, zk)\n sd = DequantizeLinear (sq, sk, zk)\n b = Transpose <perm = [0, 2, 3, 1]> (sd)\n"
                           " bq = QuantizeLinear (b, sk, zk)\n bd = DequantizeLinear (bq, sk, zk)\n y = MatMul (ad, bd)", 1, false, "0.1"};
  check_integer(heads, {"int8"});
  const auto plan = plan::plan_model(parsed(text_of(heads, "int8")));
  REQUIRE(plan);
  REQUIRE(plan->program.steps.size() == 1);
  CHECK(plan->program.steps[0].kernel == BVL_KERNEL_MATMUL_S8);

  const Model operators = parsed(R"(<ir_version: 8, opset_import: ["" : 13]>
main (uint8[2,5,6] a, uint8[2,6,4] b) => (uint8[2,5,4] y)
<float[] sa = {0.05}, uint8[] za = {130}, float[] sb = {0.02}, uint8[] zb = {100}, float[] sy = {0.03}, uint8[] zy = {120}>
{ y = QLinearMatMul (a, sa, za, b, sb, zb, sy, zy) })");
  const auto inputs = random_inputs(operators, 3);
  const auto expected = reference(operators, inputs), found = by_program(operators, inputs, true);
  for (std::int64_t i = 0; i < expected[0].size(); ++i) CHECK(std::abs(found[0].as_int64(i) - expected[0].as_int64(i)) <= 1);
  CHECK(found[0].same_bits(by_group_kernels(operators, inputs)[0]));

  const auto reason = [](const LoweringCase& c, const std::string& dtype) {
    std::string text;
    for (const plan::Group& group : plan::group_graph(parsed(text_of(c, dtype))).groups) text += group.reason;
    return text;
  };
  CHECK(reason({"width", {"2,33025", "33025,2"}, "2,2", "", "y = MatMul (x0, x1)"}, "int8").empty());
  CHECK(reason({"width", {"2,33026", "33026,2"}, "2,2", "", "y = MatMul (x0, x1)"}, "int8").find("32 bits are sure to hold 33025") != std::string::npos);
  LoweringCase wide{"int16", {"2,3", "3,2"}, "2,2", "", "y = MatMul (x0, x1)"};
  wide.opset = 21;
  CHECK(reason(wide, "int16").find("two int16 activations") != std::string::npos);
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
