// What a node does, read without its name: the questions that rewriting passes ask where facts (facts.h) are too coarse,
// because a rewrite needs the numbers (scales, pads, orders) and not only the kind. Every answer is nullopt unless the node is
// an operator that Bevel knows, in the form of the model's opset (kBaseOpset to kNewestOpset), with the types at hand.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "lib/ir/graph.h"

namespace bevel::ops {

// A node without operands that yields a tensor (Constant).
std::optional<Tensor> as_constant(const Model& model, const Graph& graph, NodeId node);

// Rounds to or from an integer grid (QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear): how a model states its
// quantization, so that folding one away would change what the model says and not only how.
bool is_quantization(const Node& node);

// y = x * scale[c] + shift[c], c the index along `axis` of x: BatchNormalization at inference, and Add, Sub, Mul, Div by a
// constant that varies along one axis at most. y has the shape and dtype of x, which is floating.
struct ChannelAffine {
  ValueId input;
  int axis = -1;                     // -1: one scale and one shift for all elements
  std::vector<double> scale, shift;  // one per channel, or one; all finite
  ValueId addend;                    // the constant, when the node only adds it as it stands (x + constant)
  [[nodiscard]] bool scales() const;
  [[nodiscard]] bool shifts() const;
};
std::optional<ChannelAffine> as_channel_affine(const Model& model, const Graph& graph, NodeId node);

// Operands x with f(a x) = a f(x) for every a > 0, element by element and all multiplied alike (rectifiers with any slope, Add, Max): those that
// are not listed stay as they are (PRelu's slope). Empty: none.
std::vector<std::size_t> homogeneous_operands(const Model& model, const Graph& graph, NodeId node);

// Constants that y follows, whatever the node reads: when element c of each is divided by f[c], so is y along `axis` (Mul by a constant,
// scale and bias of a LayerNormalization). Each has one element per channel.
struct ScaledResult {
  std::vector<ValueId> constants;
  int axis = -1;
};
std::optional<ScaledResult> as_scaled_result(const Model& model, const Graph& graph, NodeId node);

// y[.., c, ..] = sum over w[.., c, ..] of x * w, plus a bias per channel c (Conv, ConvTranspose, Gemm, MatMul), with a constant
// weight, and a bias that is constant or absent.
struct LinearLayer {
  ValueId input, weight, bias;
  std::int64_t channels = 0;   // output channels
  int output_axis = 1;         // of y, that c runs along
  int channel_axis = 0;        // of w, that c runs along, within a group when group_axis is set
  int group_axis = -1;         // of w, whose index / (extent / groups) is the group (ConvTranspose)
  std::int64_t groups = 1;
  int bias_operand = -1;       // -1: the op takes no bias
  double bias_factor = 1;      // what the op multiplies the bias with (Gemm's beta)
  // The output channel that an element of w works for, from its indices along group_axis and channel_axis.
  [[nodiscard]] std::int64_t channel_of(const Dims& weight_dims, std::int64_t group_index,
                                        std::int64_t channel_index) const;
};
std::optional<LinearLayer> as_linear_layer(const Model& model, const Graph& graph, NodeId node);
// The op's bias is multiplied with 1 from now on (a new bias was given to it).
void set_unit_bias_factor(Graph& graph, NodeId node);

// y = a * b on matrices (MatMul, both operands of rank 2, floating).
struct MatrixProduct {
  ValueId a, b;
  Dim columns;  // of b and of y
};
std::optional<MatrixProduct> as_matrix_product(const Model& model, const Graph& graph, NodeId node);

// y is x surrounded by a constant (Pad in mode constant; amounts known). Negative amounts cut.
struct Padding {
  ValueId input;
  std::vector<std::int64_t> begin, end;  // one per axis of x
  double fill = 0;
};
std::optional<Padding> as_padding(const Model& model, const Graph& graph, NodeId node);

// A window that slides over axes 2.. of operand 0 with explicit padding, rounding down (Conv, MaxPool, AveragePool).
struct SlidingWindow {
  ValueId input;
  std::vector<std::int64_t> kernel, dilations, begin, end;  // one per spatial axis
  enum class Border : std::uint8_t {
    zero,    // padding counts as zeros
    absent,  // padding is passed over (maximum)
  } border = Border::zero;
  bool needs_overlap = false;  // pooling: each window must see at least one element, so padding stays below the kernel
};
std::optional<SlidingWindow> as_sliding_window(const Model& model, const Graph& graph, NodeId node);
// Other amounts of padding with the same border; the node must be one that as_sliding_window accepted.
void set_window_padding(Graph& graph, NodeId node, const std::vector<std::int64_t>& begin,
                        const std::vector<std::int64_t>& end);

// Axis k of y is axis order[k] of x (Transpose).
struct Transposition {
  ValueId input;
  std::vector<std::int64_t> order;
};
std::optional<Transposition> as_transposition(const Model& model, const Graph& graph, NodeId node);

// y has the elements of x in the same row-major order, under another shape (Reshape, Flatten, Squeeze, Unsqueeze): x.
std::optional<ValueId> as_reshaping(const Model& model, const Graph& graph, NodeId node);

// y = op(x, ...) may be computed on transposed operands: elementwise ops (broadcasting from the right), and ops whose axis is
// an attribute (Concat). Operands that are not listed in `operands` are left as they are.
struct AxisAgnostic {
  std::vector<std::size_t> operands;  // data operands, to be given transposed (those of rank 0 or one element excepted)
  std::size_t rank = 0;               // of the output
};
std::optional<AxisAgnostic> as_axis_agnostic(const Model& model, const Graph& graph, NodeId node);
// The node's operands will be transposed so that axis k becomes position[k]: renames the axes in its attributes.
void permute_axes(Graph& graph, NodeId node, const std::vector<std::int64_t>& position, std::size_t rank);

}  // namespace bevel::ops
