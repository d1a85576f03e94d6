#include "lib/ops/family.h"

#include <algorithm>

namespace bevel::ops {
namespace {

constexpr std::string_view kKindNames[] = {"a float", "an int",  "a string", "a tensor", "a graph", "floats",
                                           "ints",    "strings", "tensors",  "graphs",   "opaque",
                                           "a type",  "a sparse tensor", "a reference to a function's attribute"};

template <typename T>
Result<T> typed(const Node& node, std::string_view name, T fallback, std::string_view expected) {
  const Attribute* attribute = node.attribute(name);
  if (attribute == nullptr) return fallback;
  if (const T* value = std::get_if<T>(&attribute->value)) return *value;
  // An empty list has no kind of its own on the wire.
  if constexpr (std::is_same_v<T, std::vector<std::int64_t>> || std::is_same_v<T, std::vector<float>>) {
    const auto* ints = std::get_if<std::vector<std::int64_t>>(&attribute->value);
    const auto* floats = std::get_if<std::vector<float>>(&attribute->value);
    if ((ints != nullptr && ints->empty()) || (floats != nullptr && floats->empty())) return T{};
  }
  return fail_input("attribute '{}' is {}, expected {}", printable(name), kKindNames[attribute->value.index()],
                    expected);
}

const Shape& shape_of(const Type& type) {
  static const Shape unknown;
  return type.is_tensor() ? type.shape : unknown;
}

}  // namespace

bool has_attr(const Node& node, std::string_view name) { return node.attribute(name) != nullptr; }

Result<std::int64_t> attr_int(const Node& node, std::string_view name, std::int64_t fallback) {
  return typed<std::int64_t>(node, name, fallback, "an int");
}
Result<float> attr_float(const Node& node, std::string_view name, float fallback) {
  return typed<float>(node, name, fallback, "a float");
}
Result<std::string> attr_string(const Node& node, std::string_view name, std::string_view fallback) {
  return typed<std::string>(node, name, std::string(fallback), "a string");
}
Result<std::vector<std::int64_t>> attr_ints(const Node& node, std::string_view name,
                                            std::vector<std::int64_t> fallback) {
  return typed<std::vector<std::int64_t>>(node, name, std::move(fallback), "ints");
}
Result<std::vector<float>> attr_floats(const Node& node, std::string_view name, std::vector<float> fallback) {
  return typed<std::vector<float>>(node, name, std::move(fallback), "floats");
}
const Tensor* attr_tensor(const Node& node, std::string_view name) {
  const Attribute* attribute = node.attribute(name);
  return attribute == nullptr ? nullptr : std::get_if<Tensor>(&attribute->value);
}
const GraphPtr* attr_graph(const Node& node, std::string_view name) {
  const Attribute* attribute = node.attribute(name);
  return attribute == nullptr ? nullptr : std::get_if<GraphPtr>(&attribute->value);
}
Result<std::int64_t> require_int(const Node& node, std::string_view name) {
  if (!has_attr(node, name)) return fail_input("required attribute '{}' is missing", name);
  return attr_int(node, name, 0);
}
Result<DType> attr_dtype(const Node& node, std::string_view name, DType fallback) {
  BEVEL_TRY(const std::int64_t number, attr_int(node, name, static_cast<std::int64_t>(fallback)));
  if (number < 0 || number >= kDTypeCount || (number != 0 && !is_known_dtype(static_cast<int>(number)))) {
    return fail_input("attribute '{}' is {}, expected the number of an element type (1 to {})", name, number,
                      kDTypeCount - 1);
  }
  return static_cast<DType>(number);
}
Result<bool> attr_flag(const Node& node, std::string_view name, bool fallback) {
  BEVEL_TRY(const std::int64_t value, attr_int(node, name, fallback ? 1 : 0));
  if (value != 0 && value != 1) return fail_input("attribute '{}' is {}, expected 0 or 1", name, value);
  return value == 1;
}

std::string to_string(std::span<const std::int64_t> dims) {
  std::string text = "[";
  for (std::size_t i = 0; i < dims.size(); ++i) text += fmt::format("{}{}", i == 0 ? "" : ", ", dims[i]);
  return text + "]";
}

std::optional<std::int64_t> checked_add(std::int64_t a, std::int64_t b) {
  std::int64_t sum = 0;
  if (__builtin_add_overflow(a, b, &sum)) return std::nullopt;
  return sum;
}
std::optional<std::int64_t> checked_mul(std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  if (__builtin_mul_overflow(a, b, &result)) return std::nullopt;
  return result;
}

Dims row_major_strides(std::span<const std::int64_t> dims) {
  Dims strides(dims.size(), 1);
  // max(1, d): with an empty axis no element is ever addressed, and the product cannot overflow.
  for (std::size_t i = dims.size(); i-- > 1;) {
    strides[i - 1] = checked_mul(strides[i], std::max<std::int64_t>(1, dims[i])).value_or(0);
  }
  return strides;
}

std::int64_t product(std::span<const std::int64_t> dims, std::size_t first, std::size_t last) {
  std::int64_t result = 1;
  for (std::size_t i = first; i < last; ++i) {
    if (dims[i] == 0) return 0;
  }
  for (std::size_t i = first; i < last; ++i) result = checked_mul(result, dims[i]).value_or(0);
  return result;
}

Result<std::int64_t> normalize_axis(std::int64_t axis, std::size_t rank, bool allow_end) {
  const auto signed_rank = static_cast<std::int64_t>(rank);
  const std::int64_t last = allow_end ? signed_rank : signed_rank - 1;
  if (axis < -signed_rank || axis > last) {
    return fail_input("axis {} is out of range for rank {}, expected {} to {}", axis, rank, -signed_rank, last);
  }
  return axis < 0 ? axis + signed_rank : axis;
}

Result<std::vector<std::int64_t>> normalize_axes(std::span<const std::int64_t> axes, std::size_t rank) {
  std::vector<std::int64_t> result;
  result.reserve(std::min(axes.size(), rank));
  for (const std::int64_t axis : axes) {
    BEVEL_TRY(const std::int64_t normal, normalize_axis(axis, rank));
    if (std::find(result.begin(), result.end(), normal) != result.end()) {
      return fail_input("axis {} appears twice", axis);
    }
    result.push_back(normal);
  }
  return result;
}

Result<Dims> broadcast_dims(std::span<const std::int64_t> a, std::span<const std::int64_t> b) {
  const std::size_t rank = std::max(a.size(), b.size());
  Dims out(rank, 1);
  for (std::size_t i = 0; i < rank; ++i) {
    const std::int64_t x = i + a.size() < rank ? 1 : a[i + a.size() - rank];
    const std::int64_t y = i + b.size() < rank ? 1 : b[i + b.size() - rank];
    if (x != y && x != 1 && y != 1) {
      return fail_input("shapes {} and {} do not broadcast: axis {} has {} and {}", to_string(a), to_string(b), i, x,
                        y);
    }
    out[i] = x == 1 ? y : x;
  }
  return out;
}

Result<Shape> broadcast_shapes(const Shape& a, const Shape& b) {
  if (!a.has_rank || !b.has_rank) return Shape();
  const std::size_t rank = std::max(a.rank(), b.rank());
  std::vector<Dim> out(rank);
  for (std::size_t i = 0; i < rank; ++i) {
    const Dim x = i + a.rank() < rank ? Dim(1) : a.dims[i + a.rank() - rank];
    const Dim y = i + b.rank() < rank ? Dim(1) : b.dims[i + b.rank() - rank];
    if (x.known() && x.value == 1) {
      out[i] = y;
    } else if (y.known() && y.value == 1) {
      out[i] = x;
    } else if (x.known() && y.known()) {
      if (x.value != y.value) {
        return fail_input("shapes {} and {} do not broadcast: axis {} has {} and {}",
                          bevel::to_string(Type::tensor(DType::undefined, a)),
                          bevel::to_string(Type::tensor(DType::undefined, b)), i, x.value, y.value);
      }
      out[i] = x;
    } else if (x.known()) {
      out[i] = x;
    } else if (y.known()) {
      out[i] = y;
    } else if (x.named() && x == y) {
      out[i] = x;
    }
    out[i].denotation.clear();
  }
  return Shape(std::move(out));
}

Result<Dim> unify_dims(const Dim& a, const Dim& b) {
  if (a.known() && b.known() && a.value != b.value) return fail_input("extents {} and {} differ", a.value, b.value);
  if (a.known()) return a;
  if (b.known()) return b;
  return a.named() ? a : b;
}

Result<Shape> unify_shapes(const Shape& a, const Shape& b) {
  if (!a.has_rank) return b;
  if (!b.has_rank) return a;
  if (a.rank() != b.rank()) return fail_input("ranks {} and {} differ", a.rank(), b.rank());
  std::vector<Dim> dims(a.rank());
  for (std::size_t i = 0; i < dims.size(); ++i) {
    auto dim = unify_dims(a.dims[i], b.dims[i]);
    if (!dim) return located(fmt::format("axis {}", i), dim.error());
    dims[i] = std::move(*dim);
  }
  return Shape(std::move(dims));
}

Dims broadcast_strides(std::span<const std::int64_t> dims, std::span<const std::int64_t> out) {
  const Dims own = row_major_strides(dims);
  Dims strides(out.size(), 0);
  for (std::size_t i = 0; i < dims.size(); ++i) {
    const std::size_t axis = i + out.size() - dims.size();
    strides[axis] = dims[i] == 1 ? 0 : own[i];
  }
  return strides;
}

const Shape& input_shape(const InferContext& ctx, std::size_t i) { return shape_of(ctx.input_type(i)); }
DType input_dtype(const InferContext& ctx, std::size_t i) {
  const Type& type = ctx.input_type(i);
  return type.is_tensor() ? type.dtype : DType::undefined;
}
const Shape& input_shape(const FactsContext& ctx, std::size_t i) { return shape_of(ctx.input_type(i)); }
const Shape& output_shape(const FactsContext& ctx, std::size_t i) { return shape_of(ctx.output_type(i)); }

Status infer_same_type(InferContext& ctx) {
  Type type = ctx.input_type(0);
  if (type.kind == Type::Kind::unknown) return {};
  type.denotation.clear();
  for (Dim& dim : type.shape.dims) dim.denotation.clear();
  ctx.set_output(0, std::move(type));
  return {};
}

Status expect_rank(const InferContext& ctx, std::size_t i, std::string_view role, std::size_t least, std::size_t most) {
  const Shape& shape = input_shape(ctx, i);
  if (!shape.has_rank || (shape.rank() >= least && shape.rank() <= most)) return {};
  if (most >= 64) return fail_operand(i, role, "rank is {}, expected at least {}", shape.rank(), least);
  if (least == most) return fail_operand(i, role, "rank is {}, expected {}", shape.rank(), least);
  return fail_operand(i, role, "rank is {}, expected {} to {}", shape.rank(), least, most);
}

Status expect_dtype(DType found, std::size_t i, std::string_view role, std::initializer_list<DType> allowed) {
  if (found == DType::undefined || std::find(allowed.begin(), allowed.end(), found) != allowed.end()) return {};
  std::string names;
  for (const DType dtype : allowed) names += fmt::format("{}{}", names.empty() ? "" : ", ", dtype_name(dtype));
  return fail_operand(i, role, "element type is {}, expected {}", dtype_name(found), names);
}

IterationSpace elementwise_space(const FactsContext& ctx, std::size_t operands) {
  IterationSpace space;
  const Shape& out = output_shape(ctx, 0);
  if (!out.has_rank) return space;
  for (std::size_t i = 0; i < operands; ++i) {
    if (ctx.has_input(i) && (!input_shape(ctx, i).has_rank || input_shape(ctx, i).rank() > out.rank())) return space;
  }
  space.kind = OpKind::elementwise;
  OperandMap result;
  for (std::size_t axis = 0; axis < out.rank(); ++axis) {
    space.loops.push_back({extent(out.dims[axis]), false});
    result.axes.push_back(AxisMap::follow(static_cast<int>(axis)));
  }
  for (std::size_t i = 0; i < operands; ++i) {
    OperandMap map;
    if (ctx.has_input(i)) {
      const Shape& shape = input_shape(ctx, i);
      for (std::size_t axis = 0; axis < shape.rank(); ++axis) {
        const std::size_t loop = axis + out.rank() - shape.rank();
        const bool stretched = shape.dims[axis].known() && shape.dims[axis].value == 1 &&
                               !(out.dims[loop].known() && out.dims[loop].value == 1);
        map.axes.push_back(stretched ? AxisMap::broadcast() : AxisMap::follow(static_cast<int>(loop)));
      }
    }
    space.inputs.push_back(std::move(map));
  }
  space.outputs.push_back(std::move(result));
  return space;
}

Facts unary_facts(const FactsContext& ctx, bool monotone, Interval result) {
  Facts facts;
  facts.space = elementwise_space(ctx, 1);
  facts.value.quant = QuantRole::table;
  facts.value.layout = LayoutRule::follow;
  facts.value.data_operands = {0};
  facts.value.monotone = monotone;
  facts.value.result = result;
  return facts;
}

std::vector<double> to_doubles(const Tensor& tensor) {
  std::vector<double> result(static_cast<std::size_t>(tensor.size()));
  const bool direct = dispatch_numeric(tensor.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto values = tensor.values<T>();
    for (std::size_t i = 0; i < values.size(); ++i) result[i] = static_cast<double>(load(values[i]));
  });
  if (!direct) {
    for (std::size_t i = 0; i < result.size(); ++i) result[i] = tensor.as_double(static_cast<std::int64_t>(i));
  }
  return result;
}

namespace {
template <typename V>
Tensor from_values(DType dtype, Dims dims, std::span<const V> values) {
  Tensor tensor = Tensor::zeros(dtype, std::move(dims));
  const bool direct = dispatch_floats(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    const auto out = tensor.mutable_values<T>();
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = store<T>(static_cast<ComputeOf<T>>(values[i]));
  });
  if (!direct) {
    for (std::size_t i = 0; i < values.size(); ++i) {
      tensor.set_from_double(static_cast<std::int64_t>(i), static_cast<double>(values[i]));
    }
  }
  return tensor;
}
}  // namespace

Tensor from_floats(DType dtype, Dims dims, std::span<const float> values) {
  return from_values(dtype, std::move(dims), values);
}
Tensor from_doubles(DType dtype, Dims dims, std::span<const double> values) {
  return from_values(dtype, std::move(dims), values);
}

std::optional<IntegerRange> integer_range(DType dtype) {
  if (!is_integer(dtype) || dtype_bits(dtype) > 32) return std::nullopt;
  const int bits = dtype_bits(dtype);
  if (is_signed_integer(dtype))
    return IntegerRange{-(std::int64_t{1} << (bits - 1)), (std::int64_t{1} << (bits - 1)) - 1};
  return IntegerRange{0, (std::int64_t{1} << bits) - 1};
}

Failure fail_dtype(DType dtype, std::string_view role) {
  return fail_input("element type {} of {} is not supported by this operator's evaluation", dtype_name(dtype), role);
}

}  // namespace bevel::ops
