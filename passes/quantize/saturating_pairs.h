// Weights whose products ONNX Runtime's default int8 kernels sum in 16 bits on x86 processors without VNNI instructions.
//
// There vpmaddubsw multiplies uint8 activations with int8 weights and adds each two neighbouring products, saturating to int16; only those sums are
// added in 32 bits. The activations are raw, 0..255: their zero point is subtracted later, and int8 ones are shifted by 128 beforehand. So
// two weights a and b of one sign are computed exactly, whatever the activations, if and only if
//   255 * (|a| + |b|) <= 32767, that is |a| + |b| <= 128;
// of two signs the products make up for each other, and a single one fits. Which weights are neighbours is the order in which the kernels
// sum; it was found by letting ONNX Runtime 1.32 compute, on an emulated Haswell processor, products of which all weights but two are zero,
// for each two (tests/end_to_end/saturation.py does it again):
//   Conv           channels innermost, whatever the kernel's and the image's shape: of weights [M, C, kernel] those of positions p * C + c,
//                  c = input channel of its group, p = place in the kernel. With C odd, pairs reach over two places
//   MatMul, Gemm   along the dimension that is summed; Gemm with transB alike
//   none           depthwise convolutions with one output channel per input channel; ConvInteger; products of two activations (both are uint8,
//                  for which exact instructions are taken); all that is computed in float (ConvTranspose, int16 activations, int4 in blocks)
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "lib/ir/graph.h"
#include "lib/ops/product_view.h"

namespace bevel::passes {

enum class PairOrder : std::uint8_t {
  none,             // nothing saturates
  channels_last,    // [M, C, kernel..]: positions p * C + c
  along_last,       // [.., k]: a Gemm's transposed weights, a vector
  along_second_last  // [.., k, n]
};

constexpr int kPairLimit = 128;

// Of weights of these dims at operand 1 of such a node.
PairOrder pair_order(const Node& node, std::span<const std::int64_t> weight_dims);
// Of a node's operand 1, whatever makes it; none where operand 0 does not come from 8-bit integers.
PairOrder pair_order(const Graph& graph, NodeId node);
// The element that is summed with `element` of weights of these dims, -1 for none (an odd one out).
std::int64_t pair_partner(PairOrder order, std::span<const std::int64_t> dims, std::int64_t element);
// The same by column of the product, [view.k], as second_order::Grid takes it; empty for PairOrder::none.
std::vector<std::int32_t> pair_partners(PairOrder order, std::span<const std::int64_t> dims, const ops::ProductView& view);

constexpr bool pair_saturates(int a, int b) {
  const int above = (a > 0 ? a : 0) + (b > 0 ? b : 0), below = (a < 0 ? -a : 0) + (b < 0 ? -b : 0);
  return above > kPairLimit || below > kPairLimit;
}

// Nodes with a pair of constant int8 weights that can saturate, behind a DequantizeLinear or read by MatMulInteger as they stand.
std::vector<NodeId> saturating_layers(const Graph& graph);

// What the limit did to weights, counted over a model for the report.
struct PairLosses {
  std::int64_t layers = 0, weights = 0;  // that are summed in pairs
  std::int64_t limited = 0;              // weights that without the limit would be in a pair that can saturate
  double worst_db = 0;                   // what that cost the layer that it cost most
  std::string worst_layer;
  void add(const std::string& layer, std::int64_t layer_weights, std::int64_t layer_limited, double db);
};
std::string describe(const PairLosses& losses, std::string_view of_what);  // "weights", "layers' outputs": what the decibels are of

}  // namespace bevel::passes
