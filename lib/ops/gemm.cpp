// Gemm (ONNX opsets 7, 9, 11, 13): y = alpha * A' * B' + beta * C.
#include "lib/ops/family.h"
#include "lib/ops/lower_functions.h"
#include "lib/ops/matrix_product.h"
#include "lib/ops/nn_families.h"

namespace bevel::ops {
namespace {

struct GemmAttributes {
  float alpha = 1, beta = 1;
  bool transpose_a = false, transpose_b = false;
};

Result<GemmAttributes> attributes_of(const Node& node) {
  GemmAttributes result;
  BEVEL_TRY(result.alpha, attr_float(node, "alpha", 1.0f));
  BEVEL_TRY(result.beta, attr_float(node, "beta", 1.0f));
  BEVEL_TRY(const std::int64_t a, attr_int(node, "transA", 0));
  BEVEL_TRY(const std::int64_t b, attr_int(node, "transB", 0));
  result.transpose_a = a != 0;
  result.transpose_b = b != 0;
  return result;
}

Status infer(InferContext& ctx) {
  BEVEL_TRY(const GemmAttributes attributes, attributes_of(ctx.node()));
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "A", 2, 2));
  BEVEL_TRY_STATUS(expect_rank(ctx, 1, "B", 2, 2));
  BEVEL_TRY_STATUS(expect_rank(ctx, 2, "C", 0, 2));
  const Shape& a = input_shape(ctx, 0);
  const Shape& b = input_shape(ctx, 1);
  std::vector<Dim> dims(2);
  if (a.has_rank) dims[0] = a.dims[attributes.transpose_a ? 1 : 0];
  if (b.has_rank) dims[1] = b.dims[attributes.transpose_b ? 0 : 1];
  const std::int64_t a_depth = extent(a, attributes.transpose_a ? 0 : 1);
  const std::int64_t b_depth = extent(b, attributes.transpose_b ? 1 : 0);
  if (a_depth >= 0 && b_depth >= 0 && a_depth != b_depth) {
    return fail_operand(1, "B", "has {} rows (after transB), expected {} as A has columns (after transA)", b_depth,
                        a_depth);
  }
  ctx.set_output(0, Type::tensor(input_dtype(ctx, 0), Shape(std::move(dims))));
  return {};
}

Facts facts(const FactsContext& ctx) {
  Facts facts;
  const auto attributes = attributes_of(ctx.node());
  const Shape& a = input_shape(ctx, 0);
  const Shape& b = input_shape(ctx, 1);
  if (!attributes || !a.has_rank || !b.has_rank || a.rank() != 2 || b.rank() != 2) return facts;
  enum : int { kRow, kColumn, kDepth };
  const std::int64_t a_depth = extent(a, attributes->transpose_a ? 0 : 1);
  facts.space.kind = OpKind::bilinear;
  facts.space.loops = {{extent(a, attributes->transpose_a ? 1 : 0), false},
                       {extent(b, attributes->transpose_b ? 0 : 1), false},
                       {a_depth >= 0 ? a_depth : extent(b, attributes->transpose_b ? 1 : 0), true}};
  const auto pair = [](int first, int second) { return OperandMap{{AxisMap::follow(first), AxisMap::follow(second)}}; };
  facts.space.inputs = {attributes->transpose_a ? pair(kDepth, kRow) : pair(kRow, kDepth),
                        attributes->transpose_b ? pair(kColumn, kDepth) : pair(kDepth, kColumn)};
  facts.space.outputs = {pair(kRow, kColumn)};
  facts.value.data_operands = {0, 1};
  bool simple = attributes->alpha == 1.0f;  // an alpha or beta would need scales of its own
  if (ctx.has_input(2)) {
    const Shape& c = input_shape(ctx, 2);
    OperandMap map;
    for (std::size_t i = 0; c.has_rank && i < c.rank(); ++i) {
      const int loop = static_cast<int>(i + 2 - c.rank());
      map.axes.push_back(extent(c, i) == 1 && facts.space.loops[static_cast<std::size_t>(loop)].extent != 1
                             ? AxisMap::broadcast()
                             : AxisMap::follow(loop));
    }
    facts.space.inputs.resize(ctx.node().inputs.size());
    facts.space.inputs[2] = std::move(map);
    // A bias is one number per column, which is what a C of another shape is not.
    const bool per_column = c.has_rank && c.rank() >= 1 &&
                            extent(c, c.rank() - 1) == facts.space.loops[kColumn].extent &&
                            (c.rank() == 1 || extent(c, 0) == 1);
    simple = simple && per_column && attributes->beta == 1.0f;
    if (simple) facts.value.bias_operand = 2;
  }
  if (simple) facts.value.quant = QuantRole::bilinear;
  return facts;
}

// Opset 7 to 10 requires C; from 11 on it is optional. No other change of form.

struct GemmColumns final : Kept {
  PackedColumns columns;
  GemmColumns(std::int64_t depth, std::int64_t count, MatrixView b) : columns(depth, count, b) {}
  [[nodiscard]] std::uint64_t heap_bytes() const override { return columns.heap_bytes(); }
};

template <typename T>
using ScaleOf = std::conditional_t<std::is_floating_point_v<T>, T, std::int64_t>;

// T: the type to compute in; integers as unsigned ones, which wrap.
template <typename T>
Result<Tensor> compute(const EvalContext& ctx, DType dtype, const GemmAttributes& g, const Dims& out,
                       std::int64_t depth, const T* a, const T* b, const T* c) {
  Tensor y = Tensor::zeros(dtype, out);
  const std::int64_t rows = out[0], columns = out[1];
  T* values = y.template mutable_values<T>().data();
  const std::int64_t a_row = g.transpose_a ? 1 : depth, a_column = g.transpose_a ? rows : 1;
  const std::int64_t b_row = g.transpose_b ? 1 : columns, b_column = g.transpose_b ? depth : 1;
  // A factor that is no integer has no meaning for integers; evaluate_gemm has refused it.
  const T alpha = static_cast<T>(static_cast<ScaleOf<T>>(g.alpha)),
          beta = static_cast<T>(static_cast<ScaleOf<T>>(g.beta));
  Dims c_strides = {0, 0};
  if (c != nullptr) c_strides = broadcast_strides(ctx.tensor(2).dims(), out);
  const auto c_at = [&](std::int64_t i, std::int64_t j) { return c[i * c_strides[0] + j * c_strides[1]]; };
  const bool plain = g.alpha == 1.0f;  // then C starts the sums, as a convolution's bias does
  if (c != nullptr && plain) {
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < columns; ++j)
        values[i * columns + j] = g.beta == 1.0f ? c_at(i, j) : beta * c_at(i, j);
    }
  }
  if constexpr (std::is_same_v<T, float>) {
    // Columns that lie apart are rearranged anyway: once, of a constant.
    const bool from_input = ctx.tensor(1).dtype() == DType::float32;
    if (g.transpose_b && from_input && rows > 0 && columns > 0 && depth > 0 && ctx.reserve(dtype, ctx.tensor(1).dims())) {
      const auto packed = ctx.keep(1, [&] { return std::make_shared<const GemmColumns>(depth, columns, MatrixView{b, b_row, b_column}); });
      multiply_add(rows, {a, a_row, a_column}, static_cast<const GemmColumns&>(*packed).columns, values, columns);
    } else {
      multiply_add(rows, columns, depth, {a, a_row, a_column}, {b, b_row, b_column}, values, columns);
    }
  } else {
    multiply_add_plain(rows, columns, depth, a, a_row, a_column, b, b_row, b_column, values, columns);
  }
  if (!plain) {
    for (std::int64_t i = 0; i < rows; ++i) {
      for (std::int64_t j = 0; j < columns; ++j) {
        T& value = values[i * columns + j];
        value = alpha * value;
        if (c != nullptr) value = value + beta * c_at(i, j);
      }
    }
  }
  return y;
}

}  // namespace

Outputs evaluate_gemm(const EvalContext& ctx) {
  BEVEL_TRY(const GemmAttributes g, attributes_of(ctx.node()));
  const Tensor& a = ctx.tensor(0);
  const Tensor& b = ctx.tensor(1);
  const Tensor* c = ctx.has_input(2) ? &ctx.tensor(2) : nullptr;
  if (a.rank() != 2 || b.rank() != 2) {
    return fail_input("A has shape {} and B {}, expected matrices", to_string(a.dims()), to_string(b.dims()));
  }
  const std::int64_t rows = a.dim(g.transpose_a ? 1 : 0), depth = a.dim(g.transpose_a ? 0 : 1);
  const std::int64_t columns = b.dim(g.transpose_b ? 0 : 1);
  if (b.dim(g.transpose_b ? 1 : 0) != depth) {
    return fail_input("A has shape {} and B {}, which do not multiply with transA {} and transB {}",
                      to_string(a.dims()), to_string(b.dims()), g.transpose_a ? 1 : 0, g.transpose_b ? 1 : 0);
  }
  const Dims out = {rows, columns};
  const DType dtype = a.dtype();
  if (b.dtype() != dtype || (c != nullptr && c->dtype() != dtype))
    return fail_input("A, B and C have different element types");
  if (c != nullptr) {
    const auto shape = broadcast_dims(c->dims(), out);
    if (!shape || *shape != out) {
      return fail_operand(2, "C", "has shape {}, which does not broadcast to {}", to_string(c->dims()), to_string(out));
    }
  }
  if (is_integer(dtype)) {
    constexpr float kLimit = 1 << 24;
    for (const float factor : {g.alpha, g.beta}) {
      if (!(factor > -kLimit && factor < kLimit) || factor != static_cast<float>(static_cast<std::int32_t>(factor))) {
        return fail_input("attributes 'alpha' and 'beta' are {} and {}, expected integers for {} operands", g.alpha,
                          g.beta, dtype_name(dtype));
      }
    }
  }
  BEVEL_TRY_STATUS(ctx.reserve(dtype, out));
  const auto run = [&](auto tag) -> Outputs {
    using T = typename decltype(tag)::type;
    BEVEL_TRY(Tensor y, compute<T>(ctx, dtype, g, out, depth, a.values<T>().data(), b.values<T>().data(),
                                   c != nullptr ? c->values<T>().data() : nullptr));
    return std::vector<Datum>{std::move(y)};
  };
  switch (dtype) {
    case DType::float32:
      return run(TypeTag<float>{});
    case DType::float64:
      return run(TypeTag<double>{});
    case DType::int32:
    case DType::uint32:
      return run(TypeTag<std::uint32_t>{});
    case DType::int64:
    case DType::uint64:
      return run(TypeTag<std::uint64_t>{});
    default:
      break;
  }
  if (dtype != DType::float16 && dtype != DType::bfloat16) return fail_dtype(dtype, "A");
  BEVEL_TRY_STATUS(ctx.reserve(DType::float32, out));
  const std::vector<float> a_values = a.as_floats(), b_values = b.as_floats();
  const std::vector<float> c_values = c != nullptr ? c->as_floats() : std::vector<float>();
  BEVEL_TRY(const Tensor y, compute<float>(ctx, DType::float32, g, out, depth, a_values.data(), b_values.data(),
                                           c != nullptr ? c_values.data() : nullptr));
  return std::vector<Datum>{from_floats(dtype, out, y.values<float>())};
}

extern const OpRecord gemm_record = {.domain = "",
                                     .name = "Gemm",
                                     .min_inputs = 2,
                                     .max_inputs = 3,
                                     .infer = infer,
                                     .facts = facts,
                                     .evaluate = evaluate_gemm,
                                     .lower = lower_gemm};

}  // namespace bevel::ops
