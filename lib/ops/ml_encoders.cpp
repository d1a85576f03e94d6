// ai.onnx.ml on single elements: Binarizer (1), LabelEncoder (1, 2, 4), ArrayFeatureExtractor (1).
#include <algorithm>
#include <map>

#include "lib/ops/movement.h"
#include "lib/ops/strings.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

// --- Binarizer -------------------------------------------------------------------------------------------------------
Facts pointwise(const FactsContext& ctx) {
  Facts facts;
  facts.space = elementwise_space(ctx, 1);
  facts.value.layout = LayoutRule::follow;
  facts.value.data_operands = {0};
  return facts;
}
Facts binarizer_facts(const FactsContext& ctx) {
  Facts facts = pointwise(ctx);
  facts.value.monotone = true;
  facts.value.result = {0, 1};
  return facts;
}

Outputs evaluate_binarizer(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const float threshold, attr_float(ctx.node(), "threshold", 0));
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), x.dims()));
  Tensor out = Tensor::zeros(x.dtype(), x.dims());
  const bool known = dispatch_numeric(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto in = x.values<T>();
    auto results = out.mutable_values<T>();
    for (std::size_t i = 0; i < in.size(); ++i) {
      results[i] = store<T>(static_cast<ComputeOf<T>>(static_cast<double>(load(in[i])) > threshold ? 1 : 0));
    }
  });
  if (!known) return fail_dtype(x.dtype(), "the input");
  return std::vector<Datum>{std::move(out)};
}

// --- LabelEncoder ----------------------------------------------------------------------------------------------------
Tensor list_of(std::vector<std::string> strings) {
  const auto count = static_cast<std::int64_t>(strings.size());
  return Tensor::of_strings({count}, std::move(strings));
}
template <typename T>
Tensor list_of(const std::vector<T>& values) {
  return Tensor::of<T>({static_cast<std::int64_t>(values.size())}, values);
}

// The one list among <prefix>strings, <prefix>int64s, <prefix>floats and <prefix>tensor.
Result<Tensor> one_list(const Node& node, const std::string& prefix) {
  std::vector<Tensor> found;
  if (has_attr(node, prefix + "strings")) {
    BEVEL_TRY(auto strings, attr_strings(node, prefix + "strings"));
    found.push_back(list_of(std::move(strings)));
  }
  if (has_attr(node, prefix + "int64s")) {
    BEVEL_TRY(const auto ints, attr_ints(node, prefix + "int64s"));
    found.push_back(list_of(ints));
  }
  if (has_attr(node, prefix + "floats")) {
    BEVEL_TRY(const auto floats, attr_floats(node, prefix + "floats"));
    found.push_back(list_of(floats));
  }
  if (const Tensor* tensor = attr_tensor(node, prefix + "tensor")) {
    if (tensor->rank() > 1) return fail_input("attribute '{}tensor' has rank {}, expected 1", prefix, tensor->rank());
    found.push_back(*tensor);
  }
  if (found.size() != 1) return fail_input("{} attributes '{}*', expected one", found.size(), prefix);
  const DType dtype = found[0].dtype();
  if (dtype != DType::string && !is_integer(dtype) && !is_plain_float(dtype)) return fail_dtype(dtype, "attribute " + prefix + "tensor");
  return found[0];
}

struct Labels {
  Tensor keys, values, otherwise;  // otherwise: one element of the values' dtype
};

Result<Tensor> default_value(const Node& node, DType dtype) {
  if (const Tensor* tensor = attr_tensor(node, "default_tensor")) {
    if (tensor->dtype() != dtype || tensor->size() != 1) {
      return fail_input("attribute 'default_tensor' has {} elements of {}, expected one of {}", tensor->size(), dtype_name(tensor->dtype()), dtype_name(dtype));
    }
    return *tensor;
  }
  if (dtype == DType::string) {
    BEVEL_TRY(std::string text, attr_string(node, "default_string", "_Unused"));
    return list_of(std::vector<std::string>{std::move(text)});
  }
  Tensor value = Tensor::zeros(dtype, {1});
  if (is_integer(dtype)) {
    BEVEL_TRY(const std::int64_t number, attr_int(node, "default_int64", -1));
    value.set_from_int64(0, number);
  } else {
    BEVEL_TRY(const float number, attr_float(node, "default_float", -0.0f));
    value.set_from_double(0, number);
  }
  return value;
}

// Opset 1 has one list of strings; a key's value is its place, or the other way round for integers.
Result<Labels> read_labels(const Node& node, DType input) {
  Labels labels;
  if (has_attr(node, "classes_strings")) {
    BEVEL_TRY(auto strings, attr_strings(node, "classes_strings"));
    std::vector<std::int64_t> places(strings.size());
    for (std::size_t i = 0; i < places.size(); ++i) places[i] = static_cast<std::int64_t>(i);
    labels.keys = list_of(places);
    labels.values = list_of(std::move(strings));
    if (input == DType::string) std::swap(labels.keys, labels.values);
  } else {
    BEVEL_TRY(labels.keys, one_list(node, "keys_"));
    BEVEL_TRY(labels.values, one_list(node, "values_"));
  }
  if (labels.keys.size() != labels.values.size()) return fail_input("{} keys and {} values", labels.keys.size(), labels.values.size());
  if (input != DType::undefined && labels.keys.dtype() != input) {
    return fail_operand(0, "X", "element type is {}, but the keys are {}", dtype_name(input), dtype_name(labels.keys.dtype()));
  }
  BEVEL_TRY(labels.otherwise, default_value(node, labels.values.dtype()));
  return labels;
}

Status infer_label_encoder(InferContext& ctx) {
  if (input_dtype(ctx, 0) == DType::undefined && has_attr(ctx.node(), "classes_strings")) return {};
  BEVEL_TRY(const Labels labels, read_labels(ctx.node(), input_dtype(ctx, 0)));
  Shape shape = input_shape(ctx, 0);
  for (Dim& dim : shape.dims) dim.denotation.clear();
  ctx.set_output(0, Type::tensor(labels.values.dtype(), std::move(shape)));
  return {};
}

// A float's key: NaN is one, and so is zero.
std::uint64_t float_key(double value) {
  if (value != value) return ~std::uint64_t{0};
  return std::bit_cast<std::uint64_t>(value == 0 ? 0.0 : value);
}

// Writes to `out` the value of each element of x. A later key counts more than an equal one before it.
template <typename Key, typename KeyOf>
void look_up(const Labels& labels, const Tensor& x, Tensor& out, KeyOf key_of) {
  std::map<Key, std::int64_t> place;
  for (std::int64_t i = 0; i < labels.keys.size(); ++i) place[key_of(labels.keys, i)] = i;
  ElementCopier value(labels.values, out), otherwise(labels.otherwise, out);
  for (std::int64_t i = 0; i < x.size(); ++i) {
    const auto found = place.find(key_of(x, i));
    if (found != place.end()) value.copy(found->second, i);
    else otherwise.copy(0, i);
  }
}

Outputs evaluate_label_encoder(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const Labels labels, read_labels(ctx.node(), x.dtype()));
  BEVEL_TRY_STATUS(ctx.reserve(labels.values.dtype(), x.dims()));
  Tensor out = Tensor::zeros(labels.values.dtype(), x.dims());
  if (x.dtype() == DType::string) {
    look_up<std::string>(labels, x, out, [](const Tensor& t, std::int64_t i) { return t.strings()[static_cast<std::size_t>(i)]; });
  } else if (is_integer(x.dtype())) {
    look_up<std::int64_t>(labels, x, out, [](const Tensor& t, std::int64_t i) { return t.as_int64(i); });
  } else {
    look_up<std::uint64_t>(labels, x, out, [](const Tensor& t, std::int64_t i) { return float_key(t.as_double(i)); });
  }
  return std::vector<Datum>{std::move(out)};
}

// --- ArrayFeatureExtractor -------------------------------------------------------------------------------------------
// Picks along the last axis; a vector counts as a matrix of one row.
Status infer_extractor(InferContext& ctx) {
  Shape shape = input_shape(ctx, 0);
  if (shape.has_rank) {
    if (shape.rank() == 0) return fail_operand(0, "X", "is a scalar, expected rank 1 or more");
    shape.dims.back() = Dim();
    if (const auto dims = input_shape(ctx, 1).known_dims()) {
      if (const auto count = element_count(*dims)) shape.dims.back() = Dim(*count);
    }
    if (shape.rank() == 1) shape.dims.insert(shape.dims.begin(), Dim(1));
  }
  set_output_like_input(ctx, std::move(shape));
  return {};
}

Outputs evaluate_extractor(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  const Tensor& indices = ctx.tensor(1);
  if (x.rank() == 0) return fail_operand(0, "X", "is a scalar, expected rank 1 or more");
  if (indices.dtype() != DType::int64) return fail_operand(1, "Y", "element type is {}, expected int64", dtype_name(indices.dtype()));
  const std::int64_t extent = x.dims().back(), count = indices.size();
  const auto places = indices.values<std::int64_t>();
  for (const std::int64_t place : places) {
    if (place < 0 || place >= extent) return fail_operand(1, "Y", "index {} is out of range for {} elements", place, extent);
  }
  Dims dims = x.dims();
  dims.back() = count;
  if (dims.size() == 1) dims.insert(dims.begin(), 1);
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), dims));
  Tensor out = Tensor::zeros(x.dtype(), dims);
  ElementCopier copier(x, out);
  const std::int64_t rows = product(x.dims(), 0, x.rank() - 1);
  for (std::int64_t row = 0; row < (count > 0 ? rows : 0); ++row) {
    for (std::int64_t i = 0; i < count; ++i) copier.copy(row * extent + places[static_cast<std::size_t>(i)], row * count + i);
  }
  return std::vector<Datum>{std::move(out)};
}

}  // namespace

extern const OpRecord binarizer_record{.domain = "ai.onnx.ml", .name = "Binarizer", .infer = infer_same_type, .facts = binarizer_facts,
                                       .evaluate = evaluate_binarizer};
extern const OpRecord label_encoder_record{.domain = "ai.onnx.ml", .name = "LabelEncoder", .infer = infer_label_encoder,
                                           .facts = pointwise, .evaluate = evaluate_label_encoder};
extern const OpRecord array_feature_extractor_record{.domain = "ai.onnx.ml", .name = "ArrayFeatureExtractor", .min_inputs = 2,
                                                     .max_inputs = 2, .infer = infer_extractor, .evaluate = evaluate_extractor};

}  // namespace bevel::ops
