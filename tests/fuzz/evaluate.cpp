// Small graphs of operators that Bevel evaluates, drawn from the bytes: operator, opset, operands (constants or inputs, of any type and
// shape), attributes by the names that ONNX knows, with values that are right, nearly right and absurd. Inference and evaluation must
// refuse or answer; what inference promised of an output, evaluation must give.
#include <map>
#include <vector>

#include "lib/ops/evaluate.h"
#include "lib/ops/op.h"
#include "tests/fuzz/fuzz.h"

using namespace bevel;

namespace {

constexpr std::uint64_t kMaxBytes = std::uint64_t{1} << 20;  // of one output

std::vector<const ops::OpRecord*> evaluated_ops() {
  std::vector<const ops::OpRecord*> chosen;
  for (const ops::OpRecord* record : ops::all_ops())
    if (record->evaluate != nullptr && record->name != "If" && record->name != "Loop" && record->name != "Scan" && record->name != "SequenceMap")
      chosen.push_back(record);
  return chosen;
}

struct AttributeKind {
  const char* name;
  char kind;  // i: int, I: ints, f: float, F: floats, s: string, S: strings, t: tensor
};
constexpr AttributeKind kAttributes[] = {
    {"axis", 'i'}, {"axes", 'I'}, {"keepdims", 'i'}, {"perm", 'I'}, {"kernel_shape", 'I'}, {"strides", 'I'}, {"pads", 'I'}, {"dilations", 'I'},
    {"group", 'i'}, {"auto_pad", 's'}, {"ceil_mode", 'i'}, {"count_include_pad", 'i'}, {"storage_order", 'i'}, {"output_shape", 'I'},
    {"output_padding", 'I'}, {"alpha", 'f'}, {"beta", 'f'}, {"transA", 'i'}, {"transB", 'i'}, {"to", 'i'}, {"saturate", 'i'},
    {"value", 't'}, {"mode", 's'}, {"coordinate_transformation_mode", 's'}, {"nearest_mode", 's'}, {"cubic_coeff_a", 'f'}, {"antialias", 'i'},
    {"keep_aspect_ratio_policy", 's'}, {"exclude_outside", 'i'}, {"extrapolation_value", 'f'}, {"scales", 'F'}, {"allowzero", 'i'},
    {"largest", 'i'}, {"sorted", 'i'}, {"select_last_index", 'i'}, {"batch_dims", 'i'}, {"reduction", 's'}, {"equation", 's'},
    {"epsilon", 'f'}, {"momentum", 'f'}, {"blocksize", 'i'}, {"exclusive", 'i'}, {"reverse", 'i'}, {"direction", 's'}, {"num_outputs", 'i'},
    {"split", 'I'}, {"dtype", 'i'}, {"k", 'i'}, {"upper", 'i'}, {"fmod", 'i'}, {"p", 'i'}, {"size", 'i'}, {"bias", 'f'}, {"lambd", 'f'},
    {"min", 'f'}, {"max", 'f'}, {"seed", 'f'}, {"block_size", 'i'}, {"output_dtype", 'i'}, {"start", 'i'}, {"end", 'i'}, {"onesided", 'i'},
    {"hidden_size", 'i'}, {"activations", 'S'}, {"layout", 'i'}, {"to_type", 'i'}, {"align_corners", 'i'}, {"padding_mode", 's'},
    {"sampling_ratio", 'i'}, {"spatial_scale", 'f'}, {"output_height", 'i'}, {"output_width", 'i'}, {"num_groups", 'i'}, {"stash_type", 'i'},
    {"time_axis", 'i'}, {"batch_axis", 'i'}, {"detect_negative", 'i'}, {"detect_positive", 'i'}, {"approximate", 's'}, {"ignore_index", 'i'},
    {"sample_size", 'i'}, {"value_ints", 'I'}, {"value_int", 'i'}, {"value_floats", 'F'}, {"value_float", 'f'}, {"noop_with_empty_axes", 'i'},
    {"center_point_box", 'i'}, {"pooled_shape", 'I'}, {"starts", 'I'}, {"ends", 'I'}, {"shape", 'I'}, {"repeats", 'I'}, {"new_axis", 'i'}};

constexpr const char* kWords[] = {"constant", "edge", "reflect", "wrap", "linear", "cubic", "nearest", "asymmetric", "align_corners", "half_pixel",
                                  "pytorch_half_pixel", "tf_crop_and_resize", "floor", "ceil", "round_prefer_floor", "SAME_UPPER", "SAME_LOWER",
                                  "VALID", "NOTSET", "add", "mul", "max", "min", "none", "DCR", "CRD", "LEFT", "RIGHT", "ij,jk->ik", "ii->i",
                                  "...i,...i", "bidirectional", "reverse", "tanh", "zeros", "border", "mean", "sum", "stretch", "not_larger", ""};

std::int64_t integer(fuzz::Draw& draw) {
  constexpr std::int64_t kFar[] = {INT64_MAX, INT64_MIN, INT64_MAX - 1, INT64_MIN + 1, std::int64_t{1} << 32, -(std::int64_t{1} << 32), INT32_MAX,
                                   INT32_MIN, std::int64_t{1} << 62, 1 << 20, 65536, 1000, 255};
  const std::size_t which = draw.below(8);
  if (which == 7) return kFar[draw.below(std::size(kFar))];
  return static_cast<std::int64_t>(draw.below(which == 6 ? 64 : 8)) - (which >= 4 ? 3 : 0);
}

double real(fuzz::Draw& draw) {
  constexpr double kFar[] = {0.0, -0.0, 1e-45, 3.4e38, -3.4e38, 1e300, 0.5, 1e9, -1e19, 9.3e18};
  const std::size_t which = draw.below(16);
  if (which == 15) return kFar[draw.below(std::size(kFar))];
  if (which == 14) return draw.below(2) != 0 ? std::numeric_limits<double>::infinity() : std::numeric_limits<double>::quiet_NaN();
  return (static_cast<double>(draw.byte()) - 100) / 16;
}

DType dtype(fuzz::Draw& draw) {
  constexpr DType kFrequent[] = {DType::float32, DType::float32, DType::float32, DType::int64, DType::int64, DType::int32, DType::uint8, DType::int8,
                                 DType::boolean};
  const std::size_t which = draw.below(std::size(kFrequent) + 3);
  if (which < std::size(kFrequent)) return kFrequent[which];
  return static_cast<DType>(1 + draw.below(kDTypeCount - 1));
}

Tensor tensor(fuzz::Draw& draw) {
  const DType type = dtype(draw);
  constexpr std::int64_t kExtents[] = {1, 2, 3, 4, 5, 0, 7, 1};
  Dims dims(draw.below(6) == 5 ? draw.below(7) : draw.below(5));
  for (std::int64_t& dim : dims) dim = kExtents[draw.below(8)];
  while (*element_count(dims) > 512) dims.pop_back();
  if (type == DType::string) {
    std::vector<std::string> strings(static_cast<std::size_t>(*element_count(dims)));
    for (std::string& text : strings) text = kWords[draw.below(std::size(kWords))];
    return Tensor::of_strings(dims, std::move(strings));
  }
  Tensor made = Tensor::zeros(type, dims);
  if (type == DType::complex64 || type == DType::complex128) return made;
  // A few numbers, again and again: all of the input's bytes would go into one tensor.
  std::vector<double> reals(1 + draw.below(4));
  std::vector<std::int64_t> integers(reals.size());
  for (std::size_t i = 0; i < reals.size(); ++i) reals[i] = real(draw), integers[i] = integer(draw);
  for (std::int64_t i = 0; i < made.size(); ++i) {
    const auto at = static_cast<std::size_t>(i) % reals.size();
    const int bits = dtype_bits(type);
    std::int64_t whole = integers[at];
    if (type == DType::boolean) whole &= 1;
    else if (bits < 64) whole = static_cast<std::int64_t>(static_cast<std::uint64_t>(whole) & ((std::uint64_t{1} << (bits - 1)) - 1));
    else if (!is_floating(type) && type == DType::uint64 && whole < 0) whole = 0;
    if (is_floating(type)) made.set_from_double(i, reals[at]);
    else made.set_from_int64(i, whole);
  }
  return made;
}

Attribute attribute(fuzz::Draw& draw) {
  const AttributeKind& kind = kAttributes[draw.below(std::size(kAttributes))];
  Attribute made;
  made.name = kind.name;
  const std::size_t count = draw.below(6);
  switch (draw.below(32) == 31 ? "iIfFsSt"[draw.below(7)] : kind.kind) {
    case 'i': made.value = integer(draw); break;
    case 'f': made.value = static_cast<float>(real(draw)); break;
    case 's': made.value = std::string(kWords[draw.below(std::size(kWords))]); break;
    case 't': made.value = tensor(draw); break;
    case 'S': made.value = std::vector<std::string>(count, kWords[draw.below(std::size(kWords))]); break;
    case 'F': {
      std::vector<float> list(count);
      for (float& one : list) one = static_cast<float>(real(draw));
      made.value = std::move(list);
      break;
    }
    default: {
      std::vector<std::int64_t> list(count);
      for (std::int64_t& one : list) one = integer(draw);
      made.value = std::move(list);
    }
  }
  return made;
}

bool promised(const Type& type, const Tensor& given) {
  if (type.kind == Type::Kind::optional && type.element) return promised(*type.element, given);  // one that is there
  if (!type.is_tensor()) return type.kind == Type::Kind::unknown;
  if (type.dtype != DType::undefined && type.dtype != given.dtype()) return false;
  if (!type.shape.has_rank) return true;
  if (type.shape.rank() != given.rank()) return false;
  for (std::size_t axis = 0; axis < given.rank(); ++axis)
    if (type.shape.dims[axis].known() && type.shape.dims[axis].value != given.dim(axis)) return false;
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  static const std::vector<const ops::OpRecord*> known = evaluated_ops();
  fuzz::Draw draw(data, size);
  Model model;
  model.ir_version = 8;
  model.set_opset("", ops::kBaseOpset + static_cast<std::int64_t>(draw.below(ops::kNewestOpset - ops::kBaseOpset + 1)));
  model.set_opset("com.microsoft", 1);
  std::map<std::uint32_t, Datum> values;
  std::vector<ValueId> made;
  std::vector<NodeId> nodes;
  const std::size_t count = 1 + draw.below(3);
  for (std::size_t n = 0; n < count; ++n) {
    const ops::OpRecord& record = *known[draw.below(known.size())];
    Node node;
    node.op_type = record.name;
    node.domain = record.domain;
    node.name = "n" + std::to_string(n);
    const int most = record.max_inputs < 0 ? record.min_inputs + 3 : record.max_inputs;
    const std::size_t inputs = static_cast<std::size_t>(record.min_inputs) + draw.below(static_cast<std::size_t>(most - record.min_inputs) + 1);
    for (std::size_t i = 0; i < inputs; ++i) {
      const std::size_t from = draw.below(8);
      if (from == 0 && i >= static_cast<std::size_t>(record.min_inputs)) {
        node.inputs.emplace_back();
      } else if (from <= 2 && !made.empty()) {
        node.inputs.push_back(made[draw.below(made.size())]);
      } else {
        Tensor content = tensor(draw);
        const std::string name = "v" + std::to_string(made.size());
        const ValueId id = from == 3 ? model.graph.add_input(name, Type::tensor(content.dtype(), content.dims()))
                                     : model.graph.add_constant(name, content);
        values[id.index] = Datum(std::move(content));
        made.push_back(id);
        node.inputs.push_back(id);
      }
    }
    const std::size_t attributes = draw.below(5);
    for (std::size_t i = 0; i < attributes; ++i) {
      Attribute one = attribute(draw);
      if (node.attribute(one.name) == nullptr) node.attributes.push_back(std::move(one));
    }
    const int most_outputs = record.max_outputs < 0 ? record.min_outputs + 2 : record.max_outputs;
    const std::size_t outputs = static_cast<std::size_t>(record.min_outputs) + draw.below(static_cast<std::size_t>(most_outputs - record.min_outputs) + 1);
    for (std::size_t i = 0; i < outputs; ++i)
      node.outputs.push_back(made.emplace_back(model.graph.add_value("o" + std::to_string(n) + "_" + std::to_string(i))));
    nodes.push_back(model.graph.add_node(std::move(node)));
  }
  const Status inferred = ops::infer_types(model);
  if (!inferred) FUZZ_CHECK(inferred.error().code == ExitCode::input);
  for (const NodeId id : nodes) {
    const Node& node = model.graph.node(id);
    std::vector<Datum> inputs;
    for (const ValueId input : node.inputs) {
      const auto found = input.valid() ? values.find(input.index) : values.end();
      if (input.valid() && found == values.end()) return 0;  // of a node that was refused
      inputs.push_back(input.valid() ? found->second : Datum());
    }
    const auto outputs = ops::evaluate_node(node, model.opset(node.domain), inputs, kMaxBytes);
    if (!outputs) {
      FUZZ_CHECK(outputs.error().code == ExitCode::input);
      return 0;
    }
    for (std::size_t i = 0; i < node.outputs.size() && i < outputs->size(); ++i) {
      const Datum& given = (*outputs)[i];
      values[node.outputs[i].index] = given;
      if (!inferred || given.tensor() == nullptr) continue;
      const Type& type = model.graph.value(node.outputs[i]).type;
      if (promised(type, *given.tensor())) continue;
      std::fprintf(stderr, "%s: inference says %s, evaluation gives %s\n%s\n", node.op_type.c_str(), to_string(type).c_str(),
                   to_string(Type::tensor(given.tensor()->dtype(), given.tensor()->dims())).c_str(), "");
      FUZZ_CHECK(!"what inference promises, evaluation gives");
    }
  }
  return 0;
}
