// RNN (ONNX opsets 7, 14, 22): h = f(x * W^T + h * R^T + bias).
#include "lib/ops/recurrent.h"

namespace bevel::ops {
namespace {

constexpr std::int64_t kGates = 1;
constexpr GateFunction kDefaults[] = {{GateFunction::tanh}};

Status infer(InferContext& ctx) { return infer_recurrent(ctx, kGates, kDefaults); }
Facts facts(const FactsContext& ctx) { return recurrent_facts(ctx, kGates); }

template <typename C>
class RnnCell {
 public:
  static constexpr bool kHasCell = false;
  RnnCell(const EvalContext& ctx, const RecurrentAttributes& attributes, const RecurrentShape& shape)
      : attributes_(attributes), shape_(shape) {
    if (ctx.has_input(3)) bias_.emplace(ctx.tensor(3));
  }

  void start(std::int64_t direction, std::vector<C>& bias) const {
    for (std::size_t g = 0; g < bias.size(); ++g) {
      const std::size_t at = static_cast<std::size_t>(direction) * 2 * bias.size() + g;
      bias[g] = bias_ ? (*bias_)[at] + (*bias_)[at + bias.size()] : C{0};
    }
  }

  void step(std::int64_t direction, const C* recurrent, C* gates, const RecurrentState<C>& state,
            RecurrentState<C>& next) const {
    const std::int64_t hidden = shape_.hidden;
    multiply_into<C>(shape_.batch, hidden, hidden, {state.hidden.data(), hidden, 1}, {recurrent, hidden, 1}, gates, hidden);
    const GateFunction& function = attributes_.functions[static_cast<std::size_t>(direction)];
    for (std::size_t i = 0; i < next.hidden.size(); ++i) next.hidden[i] = function(clipped(attributes_, gates[i]));
  }

 private:
  const RecurrentAttributes& attributes_;
  const RecurrentShape& shape_;
  std::optional<FloatOperand<C>> bias_;
};

Outputs evaluate_rnn(const EvalContext& ctx) {
  BEVEL_TRY(const RecurrentAttributes attributes, recurrent_attributes(ctx.node(), kDefaults));
  BEVEL_TRY(const RecurrentShape shape, recurrent_shape(ctx, attributes, kGates));
  return with_compute_type(ctx.tensor(0).dtype(), "X", [&](auto tag) -> Outputs {
    using C = typename decltype(tag)::type;
    RnnCell<C> cell(ctx, attributes, shape);
    return run_recurrent<C>(ctx, attributes, shape, cell);
  });
}

}  // namespace

extern const OpRecord rnn_record = {.name = "RNN",
                                    .min_inputs = 3,
                                    .max_inputs = 6,
                                    .min_outputs = 0,
                                    .max_outputs = 2,
                                    .infer = infer,
                                    .facts = facts,
                                    .evaluate = evaluate_rnn};

}  // namespace bevel::ops
