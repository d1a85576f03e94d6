// What LSTM, GRU and RNN share: attributes, shapes, inference, facts, and the walk over time of one direction.
//
// The gates' sums are one chain per element: bias, then the input's products, then the hidden state's. The input's part of all
// time steps is one matrix product. 16-bit floats are computed in float and rounded at the outputs.
#pragma once

#include <algorithm>
#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "lib/ops/activation_functions.h"
#include "lib/ops/float_operands.h"

namespace bevel::ops {

// One of the functions that the attribute `activations` may name.
struct GateFunction {
  enum Kind : std::uint8_t {
    affine, elu, hard_sigmoid, leaky_relu, relu, scaled_tanh, sigmoid, softplus, softsign, tanh, thresholded_relu,
  };
  Kind kind = tanh;
  float alpha = 0, beta = 0;

  template <typename C>
  C operator()(C x) const {
    const C a = static_cast<C>(alpha), b = static_cast<C>(beta);
    switch (kind) {
      case affine: return a * x + b;
      case elu: return x < 0 ? a * activation::expm1(x) : x;
      case hard_sigmoid: return activation::clamp01<C>(a * x + b);
      case leaky_relu: return x < 0 ? a * x : x;
      case relu: return activation::relu<C>(x);
      case scaled_tanh: return a * activation::tanh(b * x);
      case sigmoid: return activation::sigmoid<C>(x);
      case softplus: return activation::softplus<C>(x);
      case softsign: return x / (C{1} + (x < 0 ? -x : x));
      case tanh: return activation::tanh(x);
      case thresholded_relu: return x < a ? C{0} : x;
    }
    return x;
  }
};

struct RecurrentAttributes {
  std::int64_t directions = 1;
  bool reversed = false;     // the first direction runs backwards
  bool batch_first = false;  // layout 1
  std::optional<float> clip;
  std::vector<GateFunction> functions;  // per direction, in the order of the specification (f, g, h)
};
// `defaults`: the functions of one direction.
Result<RecurrentAttributes> recurrent_attributes(const Node& node, std::span<const GateFunction> defaults);

struct RecurrentShape {
  std::int64_t steps = 0, batch = 0, input = 0, hidden = 0, gates = 0, directions = 0;
  bool batch_first = false;
  [[nodiscard]] std::int64_t row_of(std::int64_t step, std::int64_t sample) const {
    return batch_first ? sample * steps + step : step * batch + sample;
  }
  [[nodiscard]] Dims y_dims() const {
    return batch_first ? Dims{batch, steps, directions, hidden} : Dims{steps, directions, batch, hidden};
  }
  [[nodiscard]] Dims state_dims() const {
    return batch_first ? Dims{batch, directions, hidden} : Dims{directions, batch, hidden};
  }
  [[nodiscard]] std::int64_t state_at(std::int64_t direction, std::int64_t sample) const {
    return (batch_first ? sample * directions + direction : direction * batch + sample) * hidden;
  }
  [[nodiscard]] std::int64_t y_at(std::int64_t step, std::int64_t direction, std::int64_t sample) const {
    const std::int64_t row = batch_first ? (sample * steps + step) * directions + direction
                                         : (step * directions + direction) * batch + sample;
    return row * hidden;
  }
};
// Checks the dtypes and shapes of all operands: X, W, R, B, sequence_lens, initial_h and, for LSTM, initial_c and P.
Result<RecurrentShape> recurrent_shape(const EvalContext& ctx, const RecurrentAttributes& attributes, std::int64_t gates);
// One length per sample, all of the sequence where the operand is absent.
Result<std::vector<std::int64_t>> sequence_lengths(const EvalContext& ctx, const RecurrentShape& shape);

Status infer_recurrent(InferContext& ctx, std::int64_t gates, std::span<const GateFunction> defaults);
// The gates as one product of [input, hidden state] with [W, R]: MACs, and which axes of the weights follow which loops.
Facts recurrent_facts(const FactsContext& ctx, std::int64_t gates);

// The states of one direction between two time steps.
template <typename C>
struct RecurrentState {
  std::vector<C> hidden, cell;  // [batch, hidden]
};

// Bounds the input of an activation function, where the node has a clip.
template <typename C>
C clipped(const RecurrentAttributes& attributes, C x) {
  if (!attributes.clip) return x;
  const C limit = static_cast<C>(*attributes.clip);
  return x > limit ? limit : x < -limit ? -limit : x;
}

// A cell: what it adds to the gates of a step. `Cell` has
//   start(direction, bias): the bias [gates * hidden] that the sums start from;
//   step(direction, recurrent, gates, state, next): `gates` [batch, gates * hidden] holds bias and the input's products,
//   `recurrent` is R transposed, [hidden, gates * hidden]; writes the next states of all samples.
template <typename C, typename Cell>
Outputs run_recurrent(const EvalContext& ctx, const RecurrentAttributes& attributes, const RecurrentShape& shape,
                      Cell& cell) {
  const DType dtype = ctx.tensor(0).dtype();
  const std::int64_t width = shape.gates * shape.hidden, rows = shape.steps * shape.batch;
  const Dims product_dims = {rows, width}, recurrent_dims = {shape.hidden, width};
  BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<C>::value, shape.y_dims()));
  BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<C>::value, product_dims));
  BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<C>::value, recurrent_dims));
  BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<C>::value, shape.state_dims()));
  const auto state_size = static_cast<std::size_t>(*element_count(shape.state_dims()));
  if (state_size == 0) {  // no samples, or states without elements: however many steps there are, none does anything
    std::vector<Datum> outputs{Tensor::zeros(dtype, shape.y_dims())};
    while (outputs.size() < ctx.node().outputs.size()) outputs.emplace_back(Tensor::zeros(dtype, shape.state_dims()));
    return outputs;
  }
  BEVEL_TRY(const std::vector<std::int64_t> lengths, sequence_lengths(ctx, shape));
  const bool has_cell = ctx.node().outputs.size() > 2 || Cell::kHasCell;
  const FloatOperand<C> x(ctx.tensor(0)), w(ctx.tensor(1)), r(ctx.tensor(2));
  std::vector<C> y(static_cast<std::size_t>(*element_count(shape.y_dims())), C{0}), last_hidden(state_size), last_cell;
  if (has_cell) last_cell.resize(state_size);
  const auto initial = [&](std::size_t operand, std::int64_t direction) {
    std::vector<C> values(static_cast<std::size_t>(shape.batch * shape.hidden), C{0});
    if (!ctx.has_input(operand)) return values;
    const FloatOperand<C> given(ctx.tensor(operand));
    for (std::int64_t b = 0; b < shape.batch; ++b)
      std::copy_n(given.data() + shape.state_at(direction, b), shape.hidden, values.begin() + b * shape.hidden);
    return values;
  };
  std::vector<C> products(static_cast<std::size_t>(*element_count(product_dims)));
  std::vector<C> recurrent(static_cast<std::size_t>(*element_count(recurrent_dims)));
  std::vector<C> bias(static_cast<std::size_t>(width)), gates(static_cast<std::size_t>(shape.batch * width));
  for (std::int64_t d = 0; d < shape.directions; ++d) {
    const bool reversed = attributes.reversed || d == 1;
    cell.start(d, bias);
    for (std::int64_t row = 0; row < rows; ++row) std::copy(bias.begin(), bias.end(), products.begin() + row * width);
    multiply_into<C>(rows, width, shape.input, {x.data(), shape.input, 1}, {w.data() + d * width * shape.input, 1, shape.input},
                     products.data(), width);
    for (std::int64_t g = 0; g < width; ++g) {
      for (std::int64_t h = 0; h < shape.hidden; ++h) {
        recurrent[static_cast<std::size_t>(h * width + g)] = r.data()[(d * width + g) * shape.hidden + h];
      }
    }
    RecurrentState<C> state{initial(5, d), Cell::kHasCell ? initial(6, d) : std::vector<C>()};
    RecurrentState<C> next = state;
    for (std::int64_t step = 0; step < shape.steps; ++step) {
      const auto time_of = [&](std::int64_t b) {
        const std::int64_t length = lengths[static_cast<std::size_t>(b)];
        return step >= length ? -1 : reversed ? length - 1 - step : step;
      };
      for (std::int64_t b = 0; b < shape.batch; ++b) {
        const std::int64_t row = shape.row_of(std::max<std::int64_t>(0, time_of(b)), b);
        std::copy_n(products.begin() + row * width, width, gates.begin() + b * width);
      }
      cell.step(d, recurrent.data(), gates.data(), state, next);
      for (std::int64_t b = 0; b < shape.batch; ++b) {
        const std::int64_t time = time_of(b);
        if (time < 0) continue;  // this sample's sequence is over: its state stays
        std::copy_n(next.hidden.begin() + b * shape.hidden, shape.hidden, state.hidden.begin() + b * shape.hidden);
        std::copy_n(next.hidden.begin() + b * shape.hidden, shape.hidden, y.begin() + shape.y_at(time, d, b));
        if (Cell::kHasCell)
          std::copy_n(next.cell.begin() + b * shape.hidden, shape.hidden, state.cell.begin() + b * shape.hidden);
      }
    }
    for (std::int64_t b = 0; b < shape.batch; ++b) {
      std::copy_n(state.hidden.begin() + b * shape.hidden, shape.hidden, last_hidden.begin() + shape.state_at(d, b));
      if (Cell::kHasCell)
        std::copy_n(state.cell.begin() + b * shape.hidden, shape.hidden, last_cell.begin() + shape.state_at(d, b));
    }
  }
  std::vector<Datum> outputs{from_computed<C>(dtype, shape.y_dims(), y)};
  if (ctx.node().outputs.size() > 1) outputs.emplace_back(from_computed<C>(dtype, shape.state_dims(), last_hidden));
  if (ctx.node().outputs.size() > 2) outputs.emplace_back(from_computed<C>(dtype, shape.state_dims(), last_cell));
  return outputs;
}

}  // namespace bevel::ops
