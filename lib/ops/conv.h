// Geometry of convolutions, shared by Conv, ConvInteger, QLinearConv and their lowering.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lib/ops/sliding_window.h"

namespace bevel::ops {

// x [batch, channels, in...], w [out_channels, channels / groups, kernel...], y [batch, out_channels, out...].
struct ConvShape {
  std::int64_t batch = 0, channels = 0, out_channels = 0, groups = 1;
  std::vector<WindowAxis> axes;
  [[nodiscard]] std::int64_t group_in() const { return channels / groups; }
  [[nodiscard]] std::int64_t group_out() const { return out_channels / groups; }
  [[nodiscard]] std::int64_t in_size() const;      // elements of one input plane
  [[nodiscard]] std::int64_t out_size() const;     // of one output plane
  [[nodiscard]] std::int64_t kernel_size() const;  // of one kernel plane
  [[nodiscard]] Dims out_dims() const;
};

// Checks attributes and extents. Message without file and node.
Result<ConvShape> conv_shape(const Node& node, std::span<const std::int64_t> x, std::span<const std::int64_t> w);

// Evaluation of Conv and ConvTranspose: X (input 0) is a float type, W (1) and, where there is one, B (2) are of the same, and B has one
// element per output channel.
Status check_float_operands(const EvalContext& ctx, std::int64_t out_channels);

// Inference of y's shape from operands x and w (their indices differ between Conv and QLinearConv).
Result<Shape> infer_conv_shape(const InferContext& ctx, std::size_t x, std::size_t w);
// The iteration space; `operands` lists which input is x, which w, which bias (-1: none).
IterationSpace conv_space(const FactsContext& ctx, std::size_t input_count, int x, int w, int bias);

}  // namespace bevel::ops
