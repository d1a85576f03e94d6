#include "lib/ops/recurrent.h"

namespace bevel::ops {
namespace {

constexpr std::int64_t kLayoutOpset = 14;

// Names are compared without case. A function takes the next number of `activation_alpha` (and `_beta`) when it has such a
// parameter, and its own default when the list is over.
struct KnownFunction {
  std::string_view name;
  GateFunction::Kind kind;
  std::optional<float> alpha, beta;
};
constexpr KnownFunction kFunctions[] = {
    {"affine", GateFunction::affine, 1.0f, 0.0f},
    {"elu", GateFunction::elu, 1.0f, {}},
    {"hardsigmoid", GateFunction::hard_sigmoid, 0.2f, 0.5f},
    {"leakyrelu", GateFunction::leaky_relu, 0.01f, {}},
    {"relu", GateFunction::relu, {}, {}},
    {"scaledtanh", GateFunction::scaled_tanh, 1.0f, 1.0f},
    {"sigmoid", GateFunction::sigmoid, {}, {}},
    {"softplus", GateFunction::softplus, {}, {}},
    {"softsign", GateFunction::softsign, {}, {}},
    {"tanh", GateFunction::tanh, {}, {}},
    {"thresholdedrelu", GateFunction::thresholded_relu, 1.0f, {}},
};

std::string lower_case(std::string_view text) {
  std::string lower(text);
  for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return lower;
}

Result<std::vector<GateFunction>> named_functions(const Node& node, const std::vector<std::string>& names) {
  BEVEL_TRY(const auto alphas, attr_floats(node, "activation_alpha"));
  BEVEL_TRY(const auto betas, attr_floats(node, "activation_beta"));
  std::size_t next_alpha = 0, next_beta = 0;
  std::vector<GateFunction> functions;
  for (const std::string& name : names) {
    const std::string lower = lower_case(name);
    const auto* known = std::find_if(std::begin(kFunctions), std::end(kFunctions),
                                     [&](const KnownFunction& function) { return function.name == lower; });
    if (known == std::end(kFunctions)) {
      return fail_input("attribute 'activations' names '{}', expected Affine, Elu, HardSigmoid, LeakyRelu, Relu, "
                        "ScaledTanh, Sigmoid, Softplus, Softsign, Tanh or ThresholdedRelu", printable(name));
    }
    GateFunction function{known->kind, known->alpha.value_or(0), known->beta.value_or(0)};
    if (known->alpha && next_alpha < alphas.size()) function.alpha = alphas[next_alpha++];
    if (known->beta && next_beta < betas.size()) function.beta = betas[next_beta++];
    functions.push_back(function);
  }
  return functions;
}

Dim plain(Dim dim) {
  dim.denotation.clear();
  return dim;
}

}  // namespace

Result<RecurrentAttributes> recurrent_attributes(const Node& node, std::span<const GateFunction> defaults) {
  RecurrentAttributes result;
  BEVEL_TRY(const std::string direction, attr_string(node, "direction", "forward"));
  if (direction != "forward" && direction != "reverse" && direction != "bidirectional") {
    return fail_input("attribute 'direction' is '{}', expected forward, reverse or bidirectional", printable(direction));
  }
  result.directions = direction == "bidirectional" ? 2 : 1;
  result.reversed = direction == "reverse";
  BEVEL_TRY(result.batch_first, attr_flag(node, "layout", false));
  if (has_attr(node, "clip")) {
    BEVEL_TRY(const float clip, attr_float(node, "clip", 0.0f));
    if (!(clip >= 0)) return fail_input("attribute 'clip' is {}, expected 0 or more", clip);
    if (clip > 0) result.clip = clip;
  }
  const auto count = defaults.size() * static_cast<std::size_t>(result.directions);
  const Attribute* names = node.attribute("activations");
  if (names == nullptr) {
    for (std::int64_t d = 0; d < result.directions; ++d)
      result.functions.insert(result.functions.end(), defaults.begin(), defaults.end());
    return result;
  }
  const auto* list = std::get_if<std::vector<std::string>>(&names->value);
  // RNN's schema gives two functions as the default of one direction; those beyond what is used are ignored.
  if (list == nullptr || list->size() < count) {
    return fail_input("attribute 'activations' has {} names, expected {}", list == nullptr ? 0 : list->size(), count);
  }
  BEVEL_TRY(result.functions, named_functions(node, *list));
  return result;
}

Status infer_recurrent(InferContext& ctx, std::int64_t gates, std::span<const GateFunction> defaults) {
  BEVEL_TRY(const RecurrentAttributes attributes, recurrent_attributes(ctx.node(), defaults));
  BEVEL_TRY(const std::int64_t stated, attr_int(ctx.node(), "hidden_size", -1));
  if (has_attr(ctx.node(), "hidden_size") && stated < 1)
    return fail_input("attribute 'hidden_size' is {}, expected 1 or more", stated);
  constexpr std::string_view kRoles[] = {"X", "W", "R"};
  for (std::size_t i = 0; i < 3; ++i) BEVEL_TRY_STATUS(expect_rank(ctx, i, kRoles[i], 3, 3));
  BEVEL_TRY_STATUS(expect_rank(ctx, 3, "B", 2, 2));
  const Shape& x = input_shape(ctx, 0);
  const Shape& w = input_shape(ctx, 1);
  const Shape& r = input_shape(ctx, 2);
  for (std::size_t i = 1; i < 3; ++i) {
    const std::int64_t found = extent(input_shape(ctx, i), 0);
    if (found >= 0 && found != attributes.directions)
      return fail_operand(i, kRoles[i], "has {} directions, expected {}", found, attributes.directions);
  }
  if (extent(x, 2) >= 0 && extent(w, 2) >= 0 && extent(x, 2) != extent(w, 2))
    return fail_operand(1, "W", "takes inputs of {}, but X has {}", extent(w, 2), extent(x, 2));
  std::int64_t hidden = extent(r, 2);
  if (stated > 0 && hidden >= 0 && stated != hidden)
    return fail_operand(2, "R", "takes a hidden state of {}, but attribute 'hidden_size' is {}", hidden, stated);
  if (hidden < 0) hidden = stated;
  const auto width = hidden >= 0 ? checked_mul(hidden, gates) : std::nullopt;
  for (std::size_t i = 1; width && i < 3; ++i) {
    const std::int64_t found = extent(input_shape(ctx, i), 1);
    if (found >= 0 && found != *width) return fail_operand(i, kRoles[i], "has {} rows, expected {} gates of {}", found, gates, hidden);
  }
  const Dim size = hidden >= 0 ? Dim(hidden) : r.has_rank ? plain(r.dims[2]) : Dim();
  Dim steps, batch;
  if (x.has_rank) {
    steps = plain(x.dims[attributes.batch_first ? 1 : 0]);
    batch = plain(x.dims[attributes.batch_first ? 0 : 1]);
  }
  const Dim directions(attributes.directions);
  const DType dtype = input_dtype(ctx, 0);
  const Shape state = attributes.batch_first ? Shape({batch, directions, size}) : Shape({directions, batch, size});
  ctx.set_output(0, Type::tensor(dtype, attributes.batch_first ? Shape({batch, steps, directions, size})
                                                               : Shape({steps, directions, batch, size})));
  ctx.set_output(1, Type::tensor(dtype, state));
  ctx.set_output(2, Type::tensor(dtype, state));
  return {};
}

Facts recurrent_facts(const FactsContext& ctx, std::int64_t gates) {
  Facts facts;
  facts.value.data_operands = {0, 1, 2};
  const Shape& x = input_shape(ctx, 0);
  const Shape& w = input_shape(ctx, 1);
  const Shape& r = input_shape(ctx, 2);
  const auto layout = attr_flag(ctx.node(), "layout", false);
  if (!layout || x.rank() != 3 || w.rank() != 3 || r.rank() != 3) return facts;
  const bool batch_first = *layout;
  const std::int64_t hidden = extent(r, 2), input = extent(w, 2) >= 0 ? extent(w, 2) : extent(x, 2);
  const auto depth = hidden >= 0 && input >= 0 ? checked_add(hidden, input) : std::nullopt;
  // The gates are combined element by element into one hidden value, so their loop is not in the output either.
  enum : int { kStep, kBatch, kDirection, kGate, kHidden, kDepth };
  facts.space.kind = OpKind::bilinear;
  facts.space.loops = {{extent(x, batch_first ? 1 : 0), false}, {extent(x, batch_first ? 0 : 1), false},
                       {extent(w, 0), false},                   {gates, true},
                       {hidden, false},                         {depth.value_or(-1), true}};
  const AxisMap step = AxisMap::follow(kStep), batch = AxisMap::follow(kBatch), direction = AxisMap::follow(kDirection);
  const AxisMap rows = AxisMap::factors({kGate, kHidden}), column = AxisMap::follow(kHidden);
  facts.space.inputs.resize(ctx.node().inputs.size());
  facts.space.inputs[0].axes = {batch_first ? batch : step, batch_first ? step : batch, AxisMap::segment(kDepth, 0)};
  facts.space.inputs[1].axes = {direction, rows, AxisMap::segment(kDepth, 0)};
  facts.space.inputs[2].axes = {direction, rows, AxisMap::segment(kDepth, std::max<std::int64_t>(0, input))};
  if (ctx.has_input(3)) facts.space.inputs[3].axes = {direction, AxisMap{}};
  facts.space.outputs = {batch_first ? OperandMap{{batch, step, direction, column}}
                                     : OperandMap{{step, direction, batch, column}}};
  return facts;
}

Result<RecurrentShape> recurrent_shape(const EvalContext& ctx, const RecurrentAttributes& attributes, std::int64_t gates) {
  const Tensor& x = ctx.tensor(0);
  const Tensor& w = ctx.tensor(1);
  const Tensor& r = ctx.tensor(2);
  if (attributes.batch_first && ctx.opset() < kLayoutOpset)
    return fail_input("attribute 'layout' is known from opset {} on", kLayoutOpset);
  if (x.rank() != 3 || w.rank() != 3 || r.rank() != 3) {
    return fail_input("X, W and R have shapes {}, {} and {}, expected rank 3", to_string(x.dims()), to_string(w.dims()),
                      to_string(r.dims()));
  }
  RecurrentShape shape;
  shape.batch_first = attributes.batch_first;
  shape.steps = x.dim(attributes.batch_first ? 1 : 0);
  shape.batch = x.dim(attributes.batch_first ? 0 : 1);
  shape.input = x.dim(2);
  shape.hidden = r.dim(2);
  shape.gates = gates;
  shape.directions = attributes.directions;
  const auto width = checked_mul(shape.hidden, gates);
  const auto biases = width ? checked_mul(*width, 2) : std::nullopt;
  const auto peepholes = checked_mul(shape.hidden, 3);
  if (!biases || !peepholes) return fail_input("a hidden state of {} is too large", shape.hidden);
  const Dims expected[] = {x.dims(),
                           {shape.directions, *width, shape.input},
                           {shape.directions, *width, shape.hidden},
                           {shape.directions, *biases},
                           {},
                           shape.state_dims(),
                           shape.state_dims(),
                           {shape.directions, *peepholes}};
  constexpr std::string_view kRoles[] = {"X", "W", "R", "B", "sequence_lens", "initial_h", "initial_c", "P"};
  for (std::size_t i = 1; i < std::size(expected); ++i) {
    if (i == 4 || !ctx.has_input(i)) continue;
    const Tensor& tensor = ctx.tensor(i);
    if (tensor.dtype() != x.dtype() || tensor.dims() != expected[i]) {
      return fail_operand(i, kRoles[i], "is {} {}, expected {} {}", dtype_name(tensor.dtype()), to_string(tensor.dims()),
                          dtype_name(x.dtype()), to_string(expected[i]));
    }
  }
  BEVEL_TRY(const std::int64_t stated, attr_int(ctx.node(), "hidden_size", shape.hidden));
  if (stated != shape.hidden)
    return fail_operand(2, "R", "takes a hidden state of {}, but attribute 'hidden_size' is {}", shape.hidden, stated);
  const Dims gates_dims = {shape.batch, *width}, rows = {shape.steps, shape.batch, *width};
  if (!element_count(shape.y_dims()) || !element_count(gates_dims) || !element_count(rows))
    return fail_input("the result's shape {} is too large", to_string(shape.y_dims()));
  BEVEL_TRY_STATUS(ctx.reserve(DType::float64, gates_dims));  // what a cell holds of one step
  return shape;
}

Result<std::vector<std::int64_t>> sequence_lengths(const EvalContext& ctx, const RecurrentShape& shape) {
  if (!ctx.has_input(4)) return std::vector<std::int64_t>(static_cast<std::size_t>(shape.batch), shape.steps);
  const Tensor& tensor = ctx.tensor(4);
  if (tensor.dtype() != DType::int32 || tensor.dims() != Dims{shape.batch}) {
    return fail_operand(4, "sequence_lens", "is {} {}, expected int32 [{}]", dtype_name(tensor.dtype()),
                        to_string(tensor.dims()), shape.batch);
  }
  std::vector<std::int64_t> lengths = tensor.as_int64s();
  for (const std::int64_t length : lengths) {
    if (length < 0 || length > shape.steps)
      return fail_operand(4, "sequence_lens", "holds {}, expected 0 to {} steps", length, shape.steps);
  }
  return lengths;
}

}  // namespace bevel::ops
