// Small hand-made Programs that together use every kernel: for tests of files, of emitted C and of validation.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <vector>

#include "lib/ops/lower_common.h"
#include "lib/plan/program.h"
#include "lib/runtime/bevel_runtime.h"
#include "lib/support/random.h"

namespace bevel::test {

class ProgramBuilder {
 public:
  explicit ProgramBuilder(std::uint64_t seed) : random_(seed) {}

  std::uint32_t activation(const std::string& name, DType dtype, Dims dims, std::uint32_t storage = BVL_STORAGE_ARENA) {
    plan::ProgramTensor tensor;
    tensor.name = name;
    tensor.dtype = dtype;
    tensor.model_dtype = dtype;
    tensor.storage = storage;
    tensor.bytes = static_cast<std::uint64_t>(*packed_bytes(dtype, *element_count(dims)));
    tensor.dims = tensor.logical_dims = std::move(dims);
    tensor.offset = take(tensor.bytes);
    if (dtype == DType::int8) tensor.quantization = ops::Quantization{DType::int8, {0.0371f}, {-5}, -1};
    if (dtype == DType::int16) tensor.quantization = ops::Quantization{DType::int16, {0.00037f}, {0}, -1};
    return add(std::move(tensor));
  }
  std::uint32_t input(const std::string& name, DType dtype, Dims dims) {
    return entry_.inputs.emplace_back(activation(name, dtype, std::move(dims), BVL_STORAGE_INPUT));
  }
  std::uint32_t output(const std::string& name, DType dtype, Dims dims) {
    return entry_.outputs.emplace_back(activation(name, dtype, std::move(dims), BVL_STORAGE_OUTPUT));
  }
  std::uint32_t constant(const std::string& name, Tensor value) {
    plan::ProgramTensor tensor;
    tensor.name = name;
    tensor.dtype = value.dtype();
    tensor.dims = tensor.logical_dims = value.dims();
    tensor.storage = BVL_STORAGE_CONSTANT;
    tensor.bytes = value.bytes().size();
    tensor.offset = program_.constant_bytes;
    program_.constant_bytes = (tensor.offset + tensor.bytes + 63) / 64 * 64;
    tensor.constant = std::move(value);
    return add(std::move(tensor));
  }
  // What outlives a call; `initial` undefined: zeros.
  std::uint32_t state(const std::string& name, DType dtype, Dims dims, Tensor initial) {
    plan::ProgramTensor tensor;
    tensor.name = name;
    tensor.dtype = dtype;
    tensor.storage = BVL_STORAGE_STATE;
    tensor.bytes = static_cast<std::uint64_t>(*packed_bytes(dtype, *element_count(dims)));
    tensor.dims = tensor.logical_dims = std::move(dims);
    tensor.offset = program_.state_bytes;
    program_.state_bytes = (tensor.offset + tensor.bytes + 15) / 16 * 16;
    tensor.constant = std::move(initial);
    return add(std::move(tensor));
  }
  std::uint32_t int8s(const std::string& name, Dims dims) {
    std::vector<std::int8_t> values(static_cast<std::size_t>(*element_count(dims)));
    for (auto& v : values) v = static_cast<std::int8_t>(random_.next());
    return constant(name, Tensor::of<std::int8_t>(std::move(dims), values));
  }
  // Rows of packed int4 weights.
  std::uint32_t int4_rows(const std::string& name, std::int64_t rows, std::int64_t depth) {
    std::vector<std::int8_t> values(static_cast<std::size_t>(rows * depth));
    for (auto& v : values) v = static_cast<std::int8_t>(static_cast<int>(random_.below(16)) - 8);
    return constant(name, ops::packed_int4_rows(values, rows));
  }
  // Any float16 but NaN, whose bits machines give differently: also subnormals, and infinities unless `finite`.
  std::uint32_t halves(const std::string& name, Dims dims, bool finite) {
    std::vector<std::uint16_t> values(static_cast<std::size_t>(*element_count(dims)));
    for (auto& v : values) {
      v = static_cast<std::uint16_t>(random_.next() & (finite ? 0xbbffu : 0xffffu));
      if ((v & 0x7c00u) == 0x7c00u) v = static_cast<std::uint16_t>(v & 0xfc00u);
    }
    return constant(name, Tensor::from_bytes(DType::float16, std::move(dims), std::as_bytes(std::span(values))));
  }
  std::uint32_t int64s(const std::string& name, std::int64_t count) {
    std::vector<std::int64_t> values(static_cast<std::size_t>(count));
    for (auto& v : values) v = static_cast<std::int64_t>(random_.below(20'000'000'001)) - 10'000'000'000;
    return constant(name, Tensor::of<std::int64_t>({count}, values));
  }
  std::uint32_t int16s(const std::string& name, Dims dims) {
    std::vector<std::int16_t> values(static_cast<std::size_t>(*element_count(dims)));
    for (auto& v : values) v = static_cast<std::int16_t>(random_.below(32768));
    return constant(name, Tensor::of<std::int16_t>(std::move(dims), values));
  }
  std::uint32_t int32s(const std::string& name, std::int64_t count) {
    std::vector<std::int32_t> values(static_cast<std::size_t>(count));
    for (auto& v : values) v = static_cast<std::int32_t>(random_.below(20001)) - 10000;
    return constant(name, Tensor::of<std::int32_t>({count}, values));
  }
  std::uint32_t floats(const std::string& name, Dims dims, float low, float high) {
    std::vector<float> values(static_cast<std::size_t>(*element_count(dims)));
    for (auto& v : values) v = random_.uniform(low, high);
    return constant(name, Tensor::of<float>(std::move(dims), values));
  }
  template <typename Params>
  void step(bvl_kernel kernel, const std::string& name, std::vector<std::uint32_t> inputs, std::uint32_t output,
            const Params& params, std::int64_t range) {
    plan::ProgramStep step;
    step.kernel = kernel;
    step.name = name;
    step.inputs = std::move(inputs);
    step.outputs = {output};
    step.params = ops::as_words(params);
    step.range = static_cast<std::uint32_t>(range);
    step.scratch_bytes = bvl_kernel_scratch(kernel, step.params.data());
    step.scratch_offset = take(step.scratch_bytes);
    program_.steps.push_back(std::move(step));
  }
  plan::Program finish() {
    entry_.step_count = static_cast<std::uint32_t>(program_.steps.size());
    program_.entries = {entry_};
    return program_;
  }

 private:
  std::uint64_t take(std::uint64_t bytes) {
    const std::uint64_t offset = program_.arena_bytes;
    program_.arena_bytes = (offset + bytes + 15) / 16 * 16;
    return offset;
  }
  std::uint32_t add(plan::ProgramTensor tensor) {
    program_.tensors.push_back(std::move(tensor));
    return static_cast<std::uint32_t>(program_.tensors.size() - 1);
  }
  Random random_;
  plan::Program program_;
  plan::ProgramEntry entry_;
};

// An image classifier in integers: convolutions of odd sizes, residual, product, pools, table, padding, softmax. Names that
// would break C text.
inline plan::Program integer_program() {
  ProgramBuilder b(11);
  const auto x = b.input("image */ \"x\\\n", DType::int8, {1, 9, 11, 3});
  const auto conv = [&](const std::string& name, std::uint32_t from, std::uint32_t to, bvl_conv2d_s8_params p, bool depthwise) {
    const Dims dims = depthwise ? Dims{p.kernel_h, p.kernel_w, p.out_c} : Dims{p.out_c, p.kernel_h, p.kernel_w, p.in_c / p.groups};
    b.step(depthwise ? BVL_KERNEL_DEPTHWISE_CONV2D_S8 : BVL_KERNEL_CONV2D_S8, name,
           {from, b.int8s(name + " weights", dims), b.int32s(name + " bias", p.out_c), b.floats(name + " multipliers", {p.out_c}, 0.0002f, 0.004f)},
           to, p, p.out_h);
  };
  // pad by one column and row: fill, then copy into the interior
  const auto padded = b.activation("padded", DType::int8, {1, 11, 13, 3});
  b.step(BVL_KERNEL_FILL, "pad", {}, padded, bvl_fill_params{1, 11 * 13 * 3, -7}, 1);
  b.step(BVL_KERNEL_COPY, "pad", {x}, padded, bvl_copy_params{1, 2, {9, 33}, {33, 1}, {39, 1}, 0, 42}, 9);
  const auto c1 = b.activation("c1", DType::int8, {1, 6, 7, 10});
  conv("conv-1", padded, c1, {1, 11, 13, 3, 6, 7, 10, 3, 3, 2, 2, 1, 1, 1, 1, 1, -7, 4, -128, 127}, false);
  const auto c2 = b.activation("c2", DType::int8, {1, 6, 7, 10});
  conv("int", c1, c2, {1, 6, 7, 10, 6, 7, 10, 3, 3, 1, 1, 1, 1, 1, 1, 10, 4, -3, -128, 90}, true);
  const auto c3 = b.activation("c3", DType::int8, {1, 6, 7, 10});
  conv("conv.3", c2, c3, {1, 6, 7, 10, 6, 7, 10, 1, 1, 1, 1, 1, 1, 0, 0, 2, -3, 5, -128, 127}, false);
  const auto sum = b.activation("sum", DType::int8, {1, 6, 7, 10});
  b.step(BVL_KERNEL_ADD_S8, "add", {c2, c3}, sum, bvl_add_s8_params{2, {42, 10}, {10, 1}, {10, 1}, -3, 5, 1, 0.731f, 0.52f, -128, 127}, 42);
  const auto gate = b.activation("gate", DType::int8, {1, 1, 1, 10});
  b.step(BVL_KERNEL_AVG_POOL_S8, "squeeze", {sum}, gate, bvl_avg_pool_s8_params{1, 6, 7, 10, 1, 1, 6, 7, 1, 1, 1, 1, 0, 0, 0, 0, 0, 1, -9, 0.03f, 0.01f, -128, 127}, 1);
  const auto sigmoid = b.activation("sigmoid", DType::int8, {1, 1, 1, 10});
  b.step(BVL_KERNEL_LUT_S8, "sigmoid", {gate, b.int8s("table", {256})}, sigmoid, bvl_lut_s8_params{10}, 1);
  const auto scaled = b.activation("scaled", DType::int8, {1, 6, 7, 10});
  b.step(BVL_KERNEL_MUL_S8, "mul", {sum, sigmoid}, scaled, bvl_mul_s8_params{2, {42, 10}, {10, 1}, {0, 1}, 1, -128, 3, 0.0039f, -128, 127}, 42);
  const auto pooled = b.activation("pooled", DType::int8, {1, 3, 3, 10});
  b.step(BVL_KERNEL_MAX_POOL_S8, "max pool", {scaled}, pooled, bvl_max_pool_s8_params{1, 6, 7, 10, 3, 3, 3, 3, 2, 2, 1, 1, 1, 0, -128, 127}, 3);
  const auto logits = b.output("logits", DType::int8, {1, 11});
  b.step(BVL_KERNEL_DENSE_S8, "dense", {pooled, b.int8s("dense weights", {11, 90}), b.int32s("dense bias", 11), b.floats("dense multipliers", {11}, 0.0005f, 0.002f)},
         logits, bvl_dense_s8_params{1, 90, 11, 3, 2, -128, 127}, 11);
  const auto rows = b.output("rows", DType::int8, {3, 6});
  b.step(BVL_KERNEL_DENSE_S8, "dense rows", {pooled, b.int8s("rows weights", {6, 30}), b.int32s("rows bias", 6), b.floats("rows multipliers", {6}, 0.0005f, 0.002f)},
         rows, bvl_dense_s8_params{3, 30, 6, 3, 2, -128, 127}, 3);
  std::vector<std::uint32_t> exponentials(256);
  for (std::size_t d = 0; d < 256; ++d) exponentials[d] = static_cast<std::uint32_t>(0x80000000u >> (d / 16)) - static_cast<std::uint32_t>(d % 16) * 77;
  const auto probabilities = b.output("probabilities", DType::int8, {1, 11});
  b.step(BVL_KERNEL_SOFTMAX_S8, "softmax", {logits, b.constant("exp", Tensor::of<std::uint32_t>({256}, exponentials))}, probabilities,
         bvl_softmax_s8_params{1, 11, 1}, 1);
  return b.finish();
}

// A depthwise-separable network with channel counts around the widths of vector registers, so that what replaces portable C on
// a machine runs both its wide loops and its rests.
inline plan::Program wide_program() {
  ProgramBuilder b(14);
  const auto conv = [&](const std::string& name, std::uint32_t from, Dims dims, const bvl_conv2d_s8_params& p, bool depthwise) {
    const auto to = b.activation(name, DType::int8, std::move(dims));
    const Dims weights = depthwise ? Dims{p.kernel_h, p.kernel_w, p.out_c} : Dims{p.out_c, p.kernel_h, p.kernel_w, p.in_c / p.groups};
    b.step(depthwise ? BVL_KERNEL_DEPTHWISE_CONV2D_S8 : BVL_KERNEL_CONV2D_S8, name,
           {from, b.int8s(name + " weights", weights), b.int32s(name + " bias", p.out_c), b.floats(name + " multipliers", {p.out_c}, 0.0002f, 0.002f)},
           to, p, p.out_h);
    return to;
  };
  const auto image = b.input("image", DType::int8, {1, 16, 17, 3});
  const auto stem = conv("stem", image, {1, 8, 9, 40}, {1, 16, 17, 3, 8, 9, 40, 3, 3, 2, 2, 1, 1, 0, 1, 1, -11, 6, -128, 127}, false);
  const auto spatial = conv("depthwise", stem, {1, 8, 9, 40}, {1, 8, 9, 40, 8, 9, 40, 3, 3, 1, 1, 1, 1, 1, 1, 40, 6, -2, -128, 101}, true);
  const auto mixed = conv("pointwise", spatial, {1, 8, 9, 67}, {1, 8, 9, 40, 8, 9, 67, 1, 1, 1, 1, 1, 1, 0, 0, 1, -2, 9, -128, 127}, false);
  const auto deep = conv("depthwise 2", mixed, {1, 8, 9, 67}, {1, 8, 9, 67, 8, 9, 67, 5, 3, 1, 1, 1, 1, 2, 1, 67, 9, -4, -128, 127}, true);
  const auto sum = b.activation("sum", DType::int8, {1, 8, 9, 67});
  b.step(BVL_KERNEL_ADD_S8, "residual", {mixed, deep}, sum, bvl_add_s8_params{1, {4824}, {1}, {1}, 9, -4, 2, 0.61f, 0.47f, -128, 127}, 4824);
  const auto pooled = b.activation("pooled", DType::int8, {1, 1, 1, 67});
  b.step(BVL_KERNEL_AVG_POOL_S8, "pool", {sum}, pooled, bvl_avg_pool_s8_params{1, 8, 9, 67, 1, 1, 8, 9, 1, 1, 1, 1, 0, 0, 0, 0, 0, 2, -9, 0.03f, 0.01f, -128, 127}, 1);
  b.step(BVL_KERNEL_DENSE_S8, "classes", {pooled, b.int8s("class weights", {37, 67}), b.int32s("class bias", 37), b.floats("class multipliers", {37}, 0.0005f, 0.002f)},
         b.output("logits", DType::int8, {1, 37}), bvl_dense_s8_params{1, 67, 37, -9, 2, -128, 127}, 37);
  return b.finish();
}

// int4 weights: convolutions plain, strided, grouped, depthwise and pointwise, products of one row and of several, with depths and
// channel counts on both sides of a block.
inline plan::Program packed_program() {
  ProgramBuilder b(15);
  const auto conv = [&](const std::string& name, std::uint32_t from, Dims dims, const bvl_conv2d_s8_w4_params& p, bool depthwise) {
    const auto to = b.activation(name, DType::int8, std::move(dims));
    const std::int64_t taps = std::int64_t{p.kernel_h} * p.kernel_w;
    const auto weights = depthwise ? b.int4_rows(name + " weights", taps, p.out_c) : b.int4_rows(name + " weights", p.out_c, taps * (p.in_c / p.groups));
    b.step(depthwise ? BVL_KERNEL_DEPTHWISE_CONV2D_S8_W4 : BVL_KERNEL_CONV2D_S8_W4, name,
           {from, weights, b.int32s(name + " bias", p.out_c), b.floats(name + " multipliers", {p.out_c}, 0.003f, 0.04f)}, to, p, p.out_h);
    return to;
  };
  const auto image = b.input("image", DType::int8, {1, 16, 17, 3});
  const auto stem = conv("stem", image, {1, 8, 9, 40}, {1, 16, 17, 3, 8, 9, 40, 3, 3, 2, 2, 1, 1, 0, 1, 1, -11, 6, -128, 127}, false);
  const auto spatial = conv("depthwise", stem, {1, 8, 9, 40}, {1, 8, 9, 40, 8, 9, 40, 3, 3, 1, 1, 1, 1, 1, 1, 40, 6, -2, -128, 101}, true);
  const auto mixed = conv("pointwise", spatial, {1, 8, 9, 67}, {1, 8, 9, 40, 8, 9, 67, 1, 1, 1, 1, 1, 1, 0, 0, 1, -2, 9, -128, 127}, false);
  const auto deep = conv("depthwise 2", mixed, {1, 8, 9, 67}, {1, 8, 9, 67, 8, 9, 67, 5, 3, 1, 1, 1, 1, 2, 1, 67, 9, -4, -128, 127}, true);
  const auto grouped = conv("grouped", deep, {1, 4, 9, 2}, {1, 8, 9, 67, 4, 9, 2, 2, 1, 2, 1, 1, 1, 0, 0, 1, -4, 3, -128, 127}, false);
  const auto last = conv("two groups", grouped, {1, 4, 9, 6}, {1, 4, 9, 2, 4, 9, 6, 3, 3, 1, 1, 1, 1, 1, 1, 2, 3, -1, -100, 127}, false);
  const auto logits = b.output("logits", DType::int8, {1, 37});
  b.step(BVL_KERNEL_DENSE_S8_W4, "classes",
         {last, b.int4_rows("class weights", 37, 216), b.int32s("class bias", 37), b.floats("class multipliers", {37}, 0.005f, 0.02f)}, logits,
         bvl_dense_s8_w4_params{1, 216, 37, -1, 2, -128, 127}, 37);
  const auto rows = b.output("rows", DType::int8, {8, 5});
  b.step(BVL_KERNEL_DENSE_S8_W4, "rows", {last, b.int4_rows("rows weights", 5, 27), b.int32s("rows bias", 5), b.floats("rows multipliers", {5}, 0.005f, 0.02f)},
         rows, bvl_dense_s8_w4_params{8, 27, 5, -1, 2, -128, 127}, 8);
  return b.finish();
}

// int16 activations with int8 weights, biases past 32 bits: every kernel of theirs, between a float input and outputs of every kind.
inline plan::Program wide_activation_program() {
  ProgramBuilder b(16);
  const auto s16 = DType::int16;
  const auto conv = [&](const std::string& name, std::uint32_t from, Dims dims, const bvl_conv2d_s16_params& p, bool depthwise) {
    const auto to = b.activation(name, DType::int16, std::move(dims));
    const Dims weights = depthwise ? Dims{p.kernel_h, p.kernel_w, p.out_c} : Dims{p.out_c, p.kernel_h, p.kernel_w, p.in_c / p.groups};
    b.step(depthwise ? BVL_KERNEL_DEPTHWISE_CONV2D_S16 : BVL_KERNEL_CONV2D_S16, name,
           {from, b.int8s(name + " weights", weights), b.int64s(name + " bias", p.out_c), b.floats(name + " multipliers", {p.out_c}, 0.0000002f, 0.00002f)},
           to, p, p.out_h);
    return to;
  };
  const auto image = b.input("image", s16, {1, 9, 11, 3});
  const auto stem = conv("stem", image, {1, 5, 6, 22}, {1, 9, 11, 3, 5, 6, 22, 3, 3, 2, 2, 1, 1, 1, 1, 1, -32768, 32767}, false);
  const auto spatial = conv("depthwise", stem, {1, 5, 6, 22}, {1, 5, 6, 22, 5, 6, 22, 3, 3, 1, 1, 1, 1, 1, 1, 22, -32768, 30000}, true);
  const auto mixed = conv("deep", spatial, {1, 5, 6, 22}, {1, 5, 6, 22, 5, 6, 22, 5, 3, 1, 1, 1, 1, 2, 1, 1, -32768, 32767}, false);
  const auto grouped = conv("grouped", mixed, {1, 5, 6, 22}, {1, 5, 6, 22, 5, 6, 22, 1, 1, 1, 1, 1, 1, 0, 0, 2, -32768, 32767}, false);
  const auto sum = b.activation("sum", s16, {1, 5, 6, 22});
  b.step(BVL_KERNEL_ADD_S16, "add", {spatial, grouped}, sum, bvl_add_s16_params{2, {30, 22}, {22, 1}, {22, 1}, 0.731f, 0.52f, -32768, 32767}, 30);
  const auto gate = b.activation("gate", s16, {1, 1, 1, 22});
  b.step(BVL_KERNEL_AVG_POOL_S16, "squeeze", {sum}, gate, bvl_avg_pool_s16_params{1, 5, 6, 22, 1, 1, 5, 6, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0.0003f, 0.0001f, -32768, 32767}, 1);
  const auto sigmoid = b.activation("sigmoid", s16, {1, 1, 1, 22});
  b.step(BVL_KERNEL_UNARY_S16, "sigmoid", {gate}, sigmoid, bvl_unary_s16_params{BVL_UNARY_SIGMOID, 22, 0, 0, 0.0002f, 0.00003f, -32768, 32767}, 1);
  const auto tanh = b.output("tanh", s16, {1, 1, 1, 22});
  b.step(BVL_KERNEL_UNARY_S16, "tanh", {gate}, tanh, bvl_unary_s16_params{BVL_UNARY_TANH, 22, 0, 0, 0.0001f, 0.00003f, -32768, 32767}, 1);
  const auto scaled = b.activation("scaled", s16, {1, 5, 6, 22});
  b.step(BVL_KERNEL_MUL_S16, "mul", {sum, sigmoid}, scaled, bvl_mul_s16_params{2, {30, 22}, {22, 1}, {0, 1}, 0.000031f, -32768, 32767}, 30);
  const auto pooled = b.activation("pooled", s16, {1, 2, 3, 22});
  b.step(BVL_KERNEL_MAX_POOL_S16, "max pool", {scaled}, pooled, bvl_max_pool_s16_params{1, 5, 6, 22, 2, 3, 3, 3, 2, 2, 1, 1, 0, 1, -32768, 32767}, 2);
  const auto rescaled = b.activation("rescaled", s16, {1, 2, 3, 22});
  b.step(BVL_KERNEL_RESCALE_S16, "rescale", {pooled}, rescaled, bvl_rescale_s16_params{132, 0.00031f, 0.00043f, 0, 32767}, 1);
  const auto logits = b.output("logits", s16, {1, 7});
  b.step(BVL_KERNEL_DENSE_S16, "dense", {rescaled, b.int8s("dense weights", {7, 132}), b.int64s("dense bias", 7), b.floats("dense multipliers", {7}, 0.000001f, 0.00001f)},
         logits, bvl_dense_s16_params{1, 132, 7, -32768, 32767}, 7);
  const auto rows = b.output("rows", s16, {3, 6});
  b.step(BVL_KERNEL_DENSE_S16, "rows", {rescaled, b.int8s("rows weights", {6, 44}), b.int64s("rows bias", 6), b.floats("rows multipliers", {6}, 0.000001f, 0.00001f)},
         rows, bvl_dense_s16_params{3, 44, 6, -32768, 32767}, 3);
  const auto probabilities = b.output("probabilities", s16, {1, 7});
  b.step(BVL_KERNEL_SOFTMAX_S16, "softmax", {logits}, probabilities, bvl_softmax_s16_params{1, 7, 1, 0.0002f, 0.0000305f, -32768, 32767}, 1);
  const auto real = b.activation("real", DType::float32, {3, 6});
  b.step(BVL_KERNEL_DEQUANTIZE_S16_F32, "dequantize", {rows}, real, bvl_dequantize_s16_f32_params{18, 0.0031f}, 1);
  b.step(BVL_KERNEL_QUANTIZE_F32_S16, "quantize", {real}, b.output("again", s16, {3, 6}), bvl_quantize_f32_s16_params{18, 0.0029f, -32768, 32767}, 1);
  return b.finish();
}

// Float activations with weights of 4, 8 and 16 bits, tables of the same by indices that also lie outside of them.
inline plan::Program stored_program() {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  ProgramBuilder b(17);
  const auto q = b.input("q", DType::int8, {1, 6, 7, 5});
  const auto narrow = b.input("narrow", DType::int32, {9});
  const auto wide = b.input("wide", DType::int64, {4});
  const auto x = b.activation("x", DType::float32, {1, 6, 7, 5});
  b.step(BVL_KERNEL_DEQUANTIZE_S8_F32, "dequantize", {q}, x, bvl_dequantize_s8_f32_params{210, 0.03f, 3}, 1);
  const auto weights = [&](int bits, std::int64_t rows, std::int64_t depth) {
    return bits == 4 ? b.int4_rows("w4", rows, depth) : bits == 8 ? b.int8s("w8", {rows, depth}) : b.halves("w16", {rows, depth}, true);
  };
  for (const int bits : {4, 8, 16}) {
    b.step(BVL_KERNEL_CONV2D_F32_W, "conv", {x, weights(bits, 6, 45), b.floats("s", {6}, 0.01f, 0.1f), b.floats("b", {6}, -1, 1)},
           b.output("conv", DType::float32, {1, 3, 4, 6}),
           bvl_conv2d_f32_w_params{1, 6, 7, 5, 3, 4, 6, 3, 3, 2, 2, 1, 1, 1, 1, 1, bits == 8 ? 0.0f : -kInfinity, kInfinity, bits}, 3);
    b.step(BVL_KERNEL_CONV2D_F32_W, "depthwise", {x, weights(bits, 5, 9), b.floats("s", {5}, 0.01f, 0.1f), b.floats("b", {5}, -1, 1)},
           b.output("depthwise", DType::float32, {1, 6, 7, 5}),
           bvl_conv2d_f32_w_params{1, 6, 7, 5, 6, 7, 5, 3, 3, 1, 1, 1, 1, 1, 1, 5, -kInfinity, kInfinity, bits}, 6);
    b.step(BVL_KERNEL_MATMUL_F32_W, "matmul", {x, weights(bits, 11, 35), b.floats("s", {11, 3}, 0.01f, 0.1f), b.floats("b", {11}, -1, 1)},
           b.output("matmul", DType::float32, {6, 11}), bvl_matmul_f32_w_params{6, 35, 11, 16, bits, -kInfinity, 6}, 6);
    const auto table = bits == 16 ? b.halves("t16", {13, 21}, false) : weights(bits, 13, 21);
    b.step(BVL_KERNEL_GATHER_F32_W, "gather rows", {table, narrow, b.floats("s", {13, 3}, 0.01f, 0.1f)}, b.output("rows", DType::float32, {9, 21}),
           bvl_gather_f32_w_params{13, 9, 21, 8, 1, bits, 4}, 9);
    b.step(BVL_KERNEL_GATHER_F32_W, "gather columns", {table, wide, b.floats("s", {21}, 0.01f, 0.1f)}, b.output("columns", DType::float32, {4, 21}),
           bvl_gather_f32_w_params{13, 4, 21, 1, 0, bits, 8}, 4);
  }
  b.step(BVL_KERNEL_GATHER, "gather", {q, wide}, b.output("gathered", DType::int8, {6, 4, 5}), bvl_gather_params{6, 7, 4, 5, 8}, 24);
  return b.finish();
}

// Float kernels between dequantize and quantize: every unary and binary operation, reductions, pools, products.
inline plan::Program float_program() {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  ProgramBuilder b(12);
  const auto q = b.input("q", DType::int8, {1, 6, 6, 4});
  const auto x = b.activation("x", DType::float32, {1, 6, 6, 4});
  b.step(BVL_KERNEL_DEQUANTIZE_S8_F32, "dequantize", {q}, x, bvl_dequantize_s8_f32_params{144, 0.03f, 3}, 1);
  auto value = x;
  for (int op = 0; op <= BVL_UNARY_CEIL; ++op) {
    const bool positive = op == BVL_UNARY_LOG || op == BVL_UNARY_SQRT || op == BVL_UNARY_RECIPROCAL;
    auto source = value;
    if (positive || op == BVL_UNARY_FLOOR) {  // away from zero, from integers, and back into range
      source = b.activation("shifted", DType::float32, {144});
      b.step(BVL_KERNEL_BINARY_F32, "shift", {x, b.floats("shift", {1}, 4.5f, 5.5f)}, source,
             bvl_binary_f32_params{BVL_BINARY_ADD, 1, {144}, {1}, {0}, -kInfinity, kInfinity}, 144);
    }
    value = b.activation("unary", DType::float32, {144});
    const bool clip = op == BVL_UNARY_CLIP;
    b.step(BVL_KERNEL_UNARY_F32, "unary", {source}, value, bvl_unary_f32_params{op, 144, clip ? -3.0f : 0.3f, clip ? 3.0f : 0.5f}, 1);
    const auto out = b.output("unary", DType::float32, {144});
    b.step(BVL_KERNEL_COPY, "keep", {value}, out, bvl_copy_params{4, 1, {144}, {1}, {1}, 0, 0}, 144);
  }
  for (int op = 0; op <= BVL_BINARY_PRELU; ++op) {
    const auto out = b.output("binary", DType::float32, {36, 4});
    b.step(BVL_KERNEL_BINARY_F32, "binary", {x, b.floats("slope", {4}, 0.1f, 2)}, out,
           bvl_binary_f32_params{op, 2, {36, 4}, {4, 1}, {0, 1}, op ? -kInfinity : 0, 6}, 36);
  }
  const auto conv = b.activation("conv", DType::float32, {1, 3, 3, 6});
  b.step(BVL_KERNEL_CONV2D_F32, "conv", {x, b.floats("w", {6, 3, 3, 4}, -0.3f, 0.3f), b.floats("b", {6}, -1, 1)}, conv,
         bvl_conv2d_f32_params{1, 6, 6, 4, 3, 3, 6, 3, 3, 2, 2, 1, 1, 1, 1, 1, -kInfinity, kInfinity}, 3);
  const auto average = b.output("average", DType::float32, {1, 2, 2, 6});
  b.step(BVL_KERNEL_AVG_POOL_F32, "average", {conv}, average, bvl_avg_pool_f32_params{1, 3, 3, 6, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, 0, 0}, 2);
  const auto largest = b.output("largest", DType::float32, {1, 2, 2, 6});
  b.step(BVL_KERNEL_MAX_POOL_F32, "largest", {conv}, largest, bvl_max_pool_f32_params{1, 3, 3, 6, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0}, 2);
  const auto product = b.activation("product", DType::float32, {9, 11});
  b.step(BVL_KERNEL_MATMUL_F32, "matmul", {conv, b.floats("m", {6, 11}, -1, 1), b.floats("mb", {11}, -1, 1)}, product,
         bvl_matmul_f32_params{1, 9, 6, 11, 0, 0, 0, 1, -kInfinity, kInfinity}, 9);
  for (int log = 0; log < 2; ++log) {
    b.step(BVL_KERNEL_SOFTMAX_F32, "softmax", {product}, b.output("softmax", DType::float32, {9, 11}), bvl_softmax_f32_params{9, 11, 1, log}, 9);
  }
  for (int op = 0; op <= BVL_REDUCE_MIN; ++op) {
    b.step(BVL_KERNEL_REDUCE_F32, "reduce", {product}, b.output("reduce", DType::float32, {11}), bvl_reduce_f32_params{op, 1, 9, 11}, 1);
  }
  const auto out = b.output("out", DType::int8, {9, 11});
  b.step(BVL_KERNEL_QUANTIZE_F32_S8, "quantize", {product}, out, bvl_quantize_f32_s8_params{99, 0.02f, -7, -128, 127}, 1);
  return b.finish();
}

// Two states that each call reads and writes: `decayed` begins as given, `total` as zeros.
//   decayed = x + 0.5 * decayed;  total = total + dequantize(x);  outputs: the new decayed, the new total
inline plan::Program stateful_program() {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  ProgramBuilder b(13);
  const auto x = b.input("x", DType::int8, {1, 6});
  const auto decayed = b.state("decayed", DType::int8, {1, 6}, Tensor::of<std::int8_t>({1, 6}, {100, -100, 50, -50, 7, 1}));
  const auto total = b.state("total", DType::float32, {1, 6}, Tensor());
  const auto sum = b.output("sum", DType::int8, {1, 6});
  b.step(BVL_KERNEL_ADD_S8, "decay", {x, decayed}, sum, bvl_add_s8_params{1, {6}, {1}, {1}, 0, 0, 0, 1.0f, 0.5f, -128, 127}, 6);
  b.step(BVL_KERNEL_COPY, "keep decayed", {sum}, decayed, bvl_copy_params{1, 1, {6}, {1}, {1}, 0, 0}, 6);
  const auto real = b.activation("real", DType::float32, {1, 6});
  b.step(BVL_KERNEL_DEQUANTIZE_S8_F32, "dequantize", {x}, real, bvl_dequantize_s8_f32_params{6, 0.25f, 3}, 1);
  const auto grown = b.output("grown", DType::float32, {1, 6});
  b.step(BVL_KERNEL_BINARY_F32, "accumulate", {real, total}, grown,
         bvl_binary_f32_params{BVL_BINARY_ADD, 1, {6}, {1}, {1}, -kInfinity, kInfinity}, 6);
  b.step(BVL_KERNEL_COPY, "keep total", {grown}, total, bvl_copy_params{4, 1, {6}, {1}, {1}, 0, 0}, 6);
  return b.finish();
}

// Attention: two heads of products of activations, read where their projections lie, a mask, and a linear layer with int4 weights in blocks. The mask
// is any int64: values of all sizes are compared and cast.
inline plan::Program attention_program() {
  ProgramBuilder b(18);
  const auto x = b.input("tokens", DType::int8, {1, 7, 22});
  const auto mask = b.input("mask", DType::int64, {1, 7});
  const auto dense = [&](const std::string& name, std::uint32_t from, std::uint32_t to, const bvl_dense_s8_w4_blocks_params& p) {
    const std::int64_t blocks = (p.in_c + p.block - 1) / p.block;
    b.step(BVL_KERNEL_DENSE_S8_W4_BLOCKS, name,
           {from, b.int4_rows(name + " weights", p.out_c, p.in_c), b.int16s(name + " factors", {p.out_c, blocks}), b.int64s(name + " bias", p.out_c),
            b.floats(name + " multipliers", {p.out_c}, 1e-9f, 1e-6f)},
           to, p, p.rows == 1 ? p.out_c : p.rows);
  };
  const auto queries = b.activation("queries", DType::int8, {1, 7, 2, 9}), keys = b.activation("keys", DType::int8, {1, 7, 2, 9});
  dense("query", x, queries, {7, 22, 18, 8, 3, -128, 127});
  dense("key", x, keys, {7, 22, 18, 16, -4, -128, 127});
  const auto scores = b.activation("scores", DType::int8, {1, 2, 7, 7});
  b.step(BVL_KERNEL_MATMUL_S8, "scores", {queries, keys}, scores,
         bvl_matmul_s8_params{1, {2}, {9}, {9}, 7, 9, 7, 18, 1, 18, 3, -4, 5, 0.0007f, -128, 127}, 14);
  const auto zero = b.constant("zero", Tensor::of<std::int64_t>({1}, {0}));
  const auto hidden = b.activation("hidden", DType::boolean, {1, 7});
  b.step(BVL_KERNEL_COMPARE, "is hidden", {mask, zero}, hidden, bvl_compare_params{BVL_COMPARE_GREATER, BVL_ELEMENT_INT64, 1, {7}, {1}, {0}}, 7);
  const auto real = b.activation("real scores", DType::float32, {1, 2, 7, 7});
  b.step(BVL_KERNEL_DEQUANTIZE_S8_F32, "dequantize", {scores}, real, bvl_dequantize_s8_f32_params{98, 0.03f, 5}, 1);
  const auto lowest = b.constant("lowest", Tensor::of<float>({1}, {-10000.0f}));
  const auto masked = b.activation("masked", DType::float32, {1, 2, 7, 7});
  b.step(BVL_KERNEL_SELECT, "mask", {hidden, lowest, real}, masked, bvl_select_params{4, 2, {14, 7}, {0, 1}, {0, 0}, {7, 1}}, 14);
  const auto weights = b.activation("weights", DType::float32, {1, 2, 7, 7});
  b.step(BVL_KERNEL_SOFTMAX_F32, "softmax", {masked}, weights, bvl_softmax_f32_params{14, 7, 1, 0}, 14);
  const auto probabilities = b.activation("probabilities", DType::int8, {1, 2, 7, 7});
  b.step(BVL_KERNEL_QUANTIZE_F32_S8, "quantize", {weights}, probabilities, bvl_quantize_f32_s8_params{98, 0.00390625f, -128, -128, 127}, 1);
  const auto mixed = b.activation("mixed", DType::int8, {1, 2, 7, 9});  // columns of the values are gathered
  b.step(BVL_KERNEL_MATMUL_S8, "mix", {probabilities, keys}, mixed,
         bvl_matmul_s8_params{1, {2}, {49}, {9}, 7, 7, 9, 7, 18, 1, -128, -4, 2, 0.004f, -128, 127}, 14);
  const auto heads = b.output("heads", DType::int8, {1, 7, 2, 9});
  b.step(BVL_KERNEL_COPY, "join", {mixed}, heads, bvl_copy_params{1, 3, {7, 2, 9}, {9, 63, 1}, {18, 9, 1}, 0, 0}, 7);
  const auto logits = b.output("logits", DType::int8, {1, 13});
  dense("classes", heads, logits, {1, 126, 13, 64, 1, -100, 120});
  const auto counted = b.output("mask as float", DType::float32, {1, 7});
  b.step(BVL_KERNEL_CAST, "cast", {mask}, counted, bvl_cast_params{7, BVL_ELEMENT_INT64, BVL_ELEMENT_FLOAT32}, 1);
  const auto low_bits = b.output("low bits", DType::int32, {1, 7}), visible = b.output("hidden as int32", DType::int32, {1, 7});
  b.step(BVL_KERNEL_CAST, "narrow", {mask}, low_bits, bvl_cast_params{7, BVL_ELEMENT_INT64, BVL_ELEMENT_INT32}, 1);
  b.step(BVL_KERNEL_CAST, "count", {hidden}, visible, bvl_cast_params{7, BVL_ELEMENT_BOOL, BVL_ELEMENT_INT32}, 1);
  return b.finish();
}

// Bytes that start at a 64-byte boundary; the allocation ends with them, so that a checker sees what reads past.
class AlignedBytes {
 public:
  explicit AlignedBytes(std::size_t size)
      : data_(static_cast<std::uint8_t*>(::operator new(size, std::align_val_t{64}))), size_(size) {
    std::memset(data_.get(), 0, size);
  }
  explicit AlignedBytes(std::span<const std::byte> bytes) : AlignedBytes(bytes.size()) {
    if (size_ > 0) std::memcpy(data(), bytes.data(), size_);
  }
  [[nodiscard]] std::uint8_t* data() { return data_.get(); }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  struct Free {
    void operator()(std::uint8_t* bytes) const { ::operator delete(bytes, std::align_val_t{64}); }
  };
  std::unique_ptr<std::uint8_t, Free> data_;
  std::size_t size_;
};

}  // namespace bevel::test
