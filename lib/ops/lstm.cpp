// LSTM (ONNX opsets 7, 14, 22): gates in the order input, output, forget, cell; peepholes of input, output, forget.
#include "lib/ops/recurrent.h"

namespace bevel::ops {
namespace {

constexpr std::int64_t kGates = 4;
constexpr GateFunction kDefaults[] = {{GateFunction::sigmoid}, {GateFunction::tanh}, {GateFunction::tanh}};

Status infer(InferContext& ctx) { return infer_recurrent(ctx, kGates, kDefaults); }
Facts facts(const FactsContext& ctx) { return recurrent_facts(ctx, kGates); }

template <typename C>
class LstmCell {
 public:
  static constexpr bool kHasCell = true;
  LstmCell(const EvalContext& ctx, const RecurrentAttributes& attributes, const RecurrentShape& shape, bool coupled)
      : attributes_(attributes), shape_(shape), coupled_(coupled) {
    if (ctx.has_input(3)) bias_.emplace(ctx.tensor(3));
    if (ctx.has_input(7)) peepholes_.emplace(ctx.tensor(7));
  }

  void start(std::int64_t direction, std::vector<C>& bias) const {
    const std::size_t width = bias.size();
    for (std::size_t g = 0; g < width; ++g) {
      const std::size_t at = static_cast<std::size_t>(direction) * 2 * width + g;
      bias[g] = bias_ ? (*bias_)[at] + (*bias_)[at + width] : C{0};
    }
  }

  void step(std::int64_t direction, const C* recurrent, C* gates, const RecurrentState<C>& state,
            RecurrentState<C>& next) const {
    const std::int64_t hidden = shape_.hidden, width = kGates * hidden;
    multiply_into<C>(shape_.batch, width, hidden, {state.hidden.data(), hidden, 1}, {recurrent, width, 1}, gates, width);
    const GateFunction* functions = attributes_.functions.data() + direction * 3;
    const C* peephole = peepholes_ ? peepholes_->data() + direction * 3 * hidden : nullptr;
    const auto activate = [&](int function, C x) { return functions[function](clipped(attributes_, x)); };
    for (std::int64_t b = 0; b < shape_.batch; ++b) {
      const C* row = gates + b * width;
      for (std::int64_t h = 0; h < hidden; ++h) {
        const auto at = static_cast<std::size_t>(b * hidden + h);
        const C before = state.cell[at];
        const auto with_peephole = [&](std::int64_t gate, std::int64_t weights, C cell) {
          const C sum = row[gate * hidden + h];
          return peephole != nullptr ? sum + peephole[weights * hidden + h] * cell : sum;
        };
        const C input = activate(0, with_peephole(0, 0, before));
        const C forget = coupled_ ? C{1} - input : activate(0, with_peephole(2, 2, before));
        const C cell = forget * before + input * activate(1, row[3 * hidden + h]);
        const C output = activate(0, with_peephole(1, 1, cell));
        next.cell[at] = cell;
        next.hidden[at] = output * functions[2](cell);
      }
    }
  }

 private:
  const RecurrentAttributes& attributes_;
  const RecurrentShape& shape_;
  bool coupled_;
  std::optional<FloatOperand<C>> bias_, peepholes_;
};

Outputs evaluate_lstm(const EvalContext& ctx) {
  BEVEL_TRY(const RecurrentAttributes attributes, recurrent_attributes(ctx.node(), kDefaults));
  BEVEL_TRY(const bool coupled, attr_flag(ctx.node(), "input_forget", false));
  BEVEL_TRY(const RecurrentShape shape, recurrent_shape(ctx, attributes, kGates));
  return with_compute_type(ctx.tensor(0).dtype(), "X", [&](auto tag) -> Outputs {
    using C = typename decltype(tag)::type;
    LstmCell<C> cell(ctx, attributes, shape, coupled);
    return run_recurrent<C>(ctx, attributes, shape, cell);
  });
}

}  // namespace

extern const OpRecord lstm_record = {.name = "LSTM",
                                     .min_inputs = 3,
                                     .max_inputs = 8,
                                     .min_outputs = 0,
                                     .max_outputs = 3,
                                     .infer = infer,
                                     .facts = facts,
                                     .evaluate = evaluate_lstm};

}  // namespace bevel::ops
