// GRU (ONNX opsets 7, 14, 22): gates in the order update, reset, hidden. With linear_before_reset the reset gate scales
// the hidden gate's recurrent product, else the hidden state in front of it.
#include "lib/ops/recurrent.h"

namespace bevel::ops {
namespace {

constexpr std::int64_t kGates = 3;
constexpr GateFunction kDefaults[] = {{GateFunction::sigmoid}, {GateFunction::tanh}};

Status infer(InferContext& ctx) { return infer_recurrent(ctx, kGates, kDefaults); }
Facts facts(const FactsContext& ctx) { return recurrent_facts(ctx, kGates); }

template <typename C>
class GruCell {
 public:
  static constexpr bool kHasCell = false;
  GruCell(const EvalContext& ctx, const RecurrentAttributes& attributes, const RecurrentShape& shape, bool linear)
      : attributes_(attributes), shape_(shape), linear_(linear) {
    if (ctx.has_input(3)) bias_.emplace(ctx.tensor(3));
    scratch_.resize(static_cast<std::size_t>(shape.batch * shape.hidden));
  }

  void start(std::int64_t direction, std::vector<C>& bias) const {
    const std::size_t width = bias.size();
    for (std::size_t g = 0; g < width; ++g) {
      const std::size_t at = static_cast<std::size_t>(direction) * 2 * width + g;
      const bool apart = linear_ && g >= width / 3 * 2;  // then the recurrent bias of the hidden gate is scaled too
      bias[g] = !bias_ ? C{0} : apart ? (*bias_)[at] : (*bias_)[at] + (*bias_)[at + width];
    }
  }

  void step(std::int64_t direction, const C* recurrent, C* gates, const RecurrentState<C>& state,
            RecurrentState<C>& next) {
    const std::int64_t hidden = shape_.hidden, width = kGates * hidden;
    multiply_into<C>(shape_.batch, 2 * hidden, hidden, {state.hidden.data(), hidden, 1}, {recurrent, width, 1}, gates, width);
    const GateFunction* functions = attributes_.functions.data() + direction * 2;
    const auto activate = [&](int function, C x) { return functions[function](clipped(attributes_, x)); };
    for (std::int64_t b = 0; b < shape_.batch; ++b) {
      for (std::int64_t h = 0; h < 2 * hidden; ++h) gates[b * width + h] = activate(0, gates[b * width + h]);
      for (std::int64_t h = 0; h < hidden; ++h) {
        const auto at = static_cast<std::size_t>(b * hidden + h);
        scratch_[at] = linear_ ? (bias_ ? (*bias_)[static_cast<std::size_t>((direction * 2 + 1) * width + 2 * hidden + h)] : C{0})
                               : gates[b * width + hidden + h] * state.hidden[at];
      }
    }
    const C* hidden_columns = recurrent + 2 * hidden;
    if (linear_) {
      multiply_into<C>(shape_.batch, hidden, hidden, {state.hidden.data(), hidden, 1}, {hidden_columns, width, 1},
                       scratch_.data(), hidden);
    } else {
      multiply_into<C>(shape_.batch, hidden, hidden, {scratch_.data(), hidden, 1}, {hidden_columns, width, 1},
                       gates + 2 * hidden, width);
    }
    for (std::int64_t b = 0; b < shape_.batch; ++b) {
      const C* row = gates + b * width;
      for (std::int64_t h = 0; h < hidden; ++h) {
        const auto at = static_cast<std::size_t>(b * hidden + h);
        const C sum = linear_ ? row[2 * hidden + h] + row[hidden + h] * scratch_[at] : row[2 * hidden + h];
        const C update = row[h];
        next.hidden[at] = (C{1} - update) * activate(1, sum) + update * state.hidden[at];
      }
    }
  }

 private:
  const RecurrentAttributes& attributes_;
  const RecurrentShape& shape_;
  bool linear_;
  std::optional<FloatOperand<C>> bias_;
  std::vector<C> scratch_;  // [batch, hidden]
};

Outputs evaluate_gru(const EvalContext& ctx) {
  BEVEL_TRY(const RecurrentAttributes attributes, recurrent_attributes(ctx.node(), kDefaults));
  BEVEL_TRY(const std::int64_t linear, attr_int(ctx.node(), "linear_before_reset", 0));
  BEVEL_TRY(const RecurrentShape shape, recurrent_shape(ctx, attributes, kGates));
  return with_compute_type(ctx.tensor(0).dtype(), "X", [&](auto tag) -> Outputs {
    using C = typename decltype(tag)::type;
    GruCell<C> cell(ctx, attributes, shape, linear != 0);
    return run_recurrent<C>(ctx, attributes, shape, cell);
  });
}

}  // namespace

extern const OpRecord gru_record = {.name = "GRU",
                                    .min_inputs = 3,
                                    .max_inputs = 6,
                                    .min_outputs = 0,
                                    .max_outputs = 2,
                                    .infer = infer,
                                    .facts = facts,
                                    .evaluate = evaluate_gru};

}  // namespace bevel::ops
