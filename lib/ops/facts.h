// Facts are data: what a pass, the planner or the search may know of an op without knowing its name.
//
// The iteration space follows MLIR's structured ops: an op is a loop nest; for each operand axis the space says which
// loop it follows. Everything else is derived in facts_derived.h: MACs, per-channel axes, reduction length, coupling.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace bevel::ops {

enum class OpKind : std::uint8_t {
  opaque,       // nothing is promised
  bilinear,     // sums of products of two operands (Conv, MatMul): MACs = product of the loops
  elementwise,  // each output element reads one element of each operand (after broadcasting)
  reduce,       // sums, means, maxima over reduced loops (pooling, Reduce*)
  move,         // output elements are input elements (or a constant fill), no arithmetic
};

struct Loop {
  std::int64_t extent = -1;  // -1: unknown
  bool reduced = false;      // not in the output
};

struct AxisMap {
  enum class Kind : std::uint8_t {
    broadcast,  // extent 1, or absent: the same element for every iteration
    follow,     // index = loops[0]
    window,     // index = loops[0] * stride + loops[1] * dilation - pad_begin
    segment,    // index = loops[0] - begin: a part of a concatenated or split loop
    factors,    // index = row-major combination of loops, outermost first (groups, reshape, heads)
    opaque,     // data-dependent or not stated
  };
  Kind kind = Kind::opaque;
  std::vector<int> loops;
  std::int64_t stride = 1;
  std::int64_t dilation = 1;
  std::int64_t pad_begin = 0;
  std::int64_t begin = 0;

  static AxisMap broadcast() { return {Kind::broadcast, {}}; }
  static AxisMap follow(int loop) { return {Kind::follow, {loop}}; }
  static AxisMap factors(std::vector<int> loops) { return {Kind::factors, std::move(loops)}; }
  static AxisMap window(int outer, int inner, std::int64_t stride, std::int64_t dilation, std::int64_t pad_begin) {
    return {Kind::window, {outer, inner}, stride, dilation, pad_begin};
  }
  static AxisMap segment(int loop, std::int64_t begin) { return {Kind::segment, {loop}, 1, 1, 0, begin}; }
};

// One entry per operand axis; empty for absent operands and for operands that carry no data (shapes, axes).
struct OperandMap {
  std::vector<AxisMap> axes;
};

struct IterationSpace {
  OpKind kind = OpKind::opaque;
  std::vector<Loop> loops;
  std::vector<OperandMap> inputs;
  std::vector<OperandMap> outputs;
};

struct Interval {
  double low = -std::numeric_limits<double>::infinity();
  double high = std::numeric_limits<double>::infinity();
};

// How the op takes part in 8-bit quantization. A pass reads this; it never asks for op names.
enum class QuantRole : std::uint8_t {
  none,           // stays float
  bilinear,       // operand 0 activation, operand 1 weight (or activation), optional int32 bias
  arithmetic,     // elementwise on operands with their own scales; the output has its own (Add, Mul)
  same_scale,     // data movement: output (and all data inputs) share one scale (Reshape, Concat, MaxPool)
  own_scale,      // one data input, the output has its own scale (average pooling, mean)
  table,          // unary pointwise: a 256-entry table
  fixed_output,   // output scale and zero point are fixed by `fixed_scale` (Softmax)
};

// Which memory order the integer (and float) kernels want; see lib/ops/lowering.h.
enum class LayoutRule : std::uint8_t {
  channels_last,  // logical N,C,spatial.. stored as N,spatial..,C
  follow,         // any order, the same for all data operands and the output
  logical,        // row-major logical order
};

struct ValueFacts {
  QuantRole quant = QuantRole::none;
  LayoutRule layout = LayoutRule::logical;
  int bias_operand = -1;              // for bilinear
  std::vector<int> data_operands;     // operands that carry data to be quantized (not shapes, axes, pads, scales)
  bool monotone = false;              // non-decreasing in its data operand
  Interval result;                    // range of the result whatever the inputs
  // The op is min(max(x, low), high) of its data operand: it may fold into its producer's quantized range.
  std::optional<Interval> clamp;
  // For same_scale ops that insert a constant (Pad): that value must be representable.
  std::optional<double> fill;
  // For fixed_output: real value = fixed_scale * (q - qmin).
  double fixed_scale = 0;
  // The op computes nothing at inference (Identity, Dropout, Cast to the same type).
  bool identity = false;
  // Deterministic and free of side effects, so that constant folding and common subexpressions may touch it.
  bool pure = true;
};

struct Facts {
  IterationSpace space;
  ValueFacts value;
};

}  // namespace bevel::ops
