// MatMulNBits (com.microsoft 1, ONNX Runtime's contributed operators): a float matrix times a constant matrix of 2, 4 or 8 bits in blocks
// of `block_size` elements along the sum, each with a scale and a zero point.
//   B            uint8 [N][blocks][block_size * bits / 8], the first element in the low bits of a byte
//   scales       [N][blocks]
//   zero_points  the same count: uint8, packed as B is, a row of bytes for each column; or in A's type. Absent: 2^(bits - 1)
// weight(k, n) = (q - zero point) * scale. accuracy_level tells ONNX Runtime how exactly to sum; here sums are float32.
// Reordered columns (g_idx) are refused.
#include <algorithm>

#include "lib/ops/family.h"
#include "lib/ops/matrix_product.h"
#include "lib/ops/nn_families.h"

namespace bevel::ops {
namespace {

constexpr std::int64_t kMostExtent = INT32_MAX;
enum Operand : std::size_t { kA, kB, kScales, kZeroPoints, kOrder, kBias };

struct Form {
  std::int64_t k = 0, n = 0, bits = 4, block = 0, blocks = 0;
  [[nodiscard]] std::int64_t block_bytes() const { return block * bits / 8; }
  [[nodiscard]] std::int64_t zero_bytes() const { return (blocks * bits + 7) / 8; }  // of one column
};

Result<Form> form_of(const Node& node) {
  Form form;
  BEVEL_TRY(form.k, attr_int(node, "K", 0));
  BEVEL_TRY(form.n, attr_int(node, "N", 0));
  BEVEL_TRY(form.bits, attr_int(node, "bits", 4));
  BEVEL_TRY(form.block, attr_int(node, "block_size", 0));
  if (form.k < 1 || form.k > kMostExtent || form.n < 1 || form.n > kMostExtent)
    return fail_input("attributes 'K' and 'N' are {} and {}, expected 1 or more", form.k, form.n);
  if (form.bits != 2 && form.bits != 4 && form.bits != 8) return fail_input("attribute 'bits' is {}, expected 2, 4 or 8", form.bits);
  if (form.block < 16 || form.block > kMostExtent || (form.block & (form.block - 1)) != 0)
    return fail_input("attribute 'block_size' is {}, expected a power of two from 16 on", form.block);
  form.blocks = (form.k + form.block - 1) / form.block;
  return form;
}

Status infer(InferContext& ctx) {
  BEVEL_TRY(const Form form, form_of(ctx.node()));
  BEVEL_TRY_STATUS(expect_dtype(input_dtype(ctx, kB), kB, "B", {DType::uint8}));
  const Shape& a = input_shape(ctx, kA);
  if (!a.has_rank) {
    ctx.set_output(0, Type::tensor(input_dtype(ctx, kA), Shape()));
    return {};
  }
  if (a.rank() == 0) return fail_operand(kA, "A", "is a scalar, expected rank 1 or more");
  const Dim& depth = a.dims.back();
  if (depth.known() && depth.value != form.k) return fail_operand(kA, "A", "has {} columns, and attribute 'K' is {}", depth.value, form.k);
  Shape shape = a;
  shape.dims.back() = Dim(form.n);
  ctx.set_output(0, Type::tensor(input_dtype(ctx, kA), std::move(shape)));
  return {};
}

// A matrix product for who counts; the packed operand's bytes are no loop's.
Facts facts(const FactsContext& ctx) {
  Facts facts;
  facts.value.data_operands = {0};
  const auto form = form_of(ctx.node());
  const Shape& a = input_shape(ctx, kA);
  if (!form || !a.has_rank || a.rank() == 0) return facts;
  OperandMap in, out;
  for (std::size_t i = 0; i + 1 < a.rank(); ++i) {
    facts.space.loops.push_back({extent(a, i), false});
    in.axes.push_back(AxisMap::follow(static_cast<int>(i)));
    out.axes.push_back(AxisMap::follow(static_cast<int>(i)));
  }
  const int column = static_cast<int>(a.rank()) - 1;
  facts.space.loops.push_back({form->n, false});
  facts.space.loops.push_back({form->k, true});
  in.axes.push_back(AxisMap::follow(column + 1));
  out.axes.push_back(AxisMap::follow(column));
  facts.space.kind = OpKind::bilinear;
  facts.space.inputs.resize(ctx.node().inputs.size());
  facts.space.inputs[0] = std::move(in);
  facts.space.outputs = {std::move(out)};
  return facts;
}

std::int64_t unpacked(const std::uint8_t* bytes, std::int64_t index, std::int64_t bits) {
  const std::int64_t each = 8 / bits;
  return (bytes[index / each] >> (bits * (index % each))) & ((1 << bits) - 1);
}

Status expect_size(const EvalContext& ctx, std::size_t operand, std::string_view role, std::int64_t size) {
  if (ctx.tensor(operand).size() == size) return {};
  return fail_operand(operand, role, "has {} elements, expected {}", ctx.tensor(operand).size(), size);
}

// Zero points as floats, [n][blocks].
Result<std::vector<float>> zero_points(const EvalContext& ctx, const Form& form) {
  std::vector<float> zeros(static_cast<std::size_t>(form.n * form.blocks), static_cast<float>(1 << (form.bits - 1)));
  if (!ctx.has_input(kZeroPoints)) return zeros;
  const Tensor& given = ctx.tensor(kZeroPoints);
  if (given.dtype() != DType::uint8) {
    BEVEL_TRY_STATUS(expect_dtype(given.dtype(), kZeroPoints, "zero_points", {DType::uint8, DType::float32}));
    BEVEL_TRY_STATUS(expect_size(ctx, kZeroPoints, "zero_points", form.n * form.blocks));
    return given.as_floats();
  }
  BEVEL_TRY_STATUS(expect_size(ctx, kZeroPoints, "zero_points", form.n * form.zero_bytes()));
  const auto bytes = given.values<std::uint8_t>();
  for (std::int64_t n = 0; n < form.n; ++n)
    for (std::int64_t block = 0; block < form.blocks; ++block)
      zeros[static_cast<std::size_t>(n * form.blocks + block)] =
          static_cast<float>(unpacked(bytes.data() + n * form.zero_bytes(), block, form.bits));
  return zeros;
}

Outputs evaluate(const EvalContext& ctx) {
  BEVEL_TRY(const Form form, form_of(ctx.node()));
  const Tensor& a = ctx.tensor(kA);
  BEVEL_TRY_STATUS(expect_dtype(a.dtype(), kA, "A", {DType::float32}));
  BEVEL_TRY_STATUS(expect_dtype(ctx.tensor(kB).dtype(), kB, "B", {DType::uint8}));
  BEVEL_TRY_STATUS(expect_dtype(ctx.tensor(kScales).dtype(), kScales, "scales", {DType::float32}));
  if (ctx.has_input(kOrder)) return fail_operand(kOrder, "g_idx", "reorders the rows of B, which is not supported");
  if (a.rank() == 0 || a.dims().back() != form.k)
    return fail_operand(kA, "A", "has shape {}, and attribute 'K' is {}", to_string(a.dims()), form.k);
  const auto bytes_expected = element_count(Dims{form.n, form.blocks, form.block_bytes()});
  if (!bytes_expected) return fail_operand(kB, "B", "would have more elements than can be counted");
  BEVEL_TRY_STATUS(expect_size(ctx, kB, "B", *bytes_expected));
  BEVEL_TRY_STATUS(expect_size(ctx, kScales, "scales", form.n * form.blocks));
  BEVEL_TRY_STATUS(ctx.reserve(DType::float32, Dims{form.n, form.k}));
  BEVEL_TRY(const std::vector<float> zeros, zero_points(ctx, form));
  std::vector<float> weights(static_cast<std::size_t>(form.n * form.k));  // [n][k]
  const auto bytes = ctx.tensor(kB).values<std::uint8_t>();
  const auto scales = ctx.tensor(kScales).values<float>();
  for (std::int64_t n = 0; n < form.n; ++n) {
    for (std::int64_t k = 0; k < form.k; ++k) {
      const std::int64_t at = n * form.blocks + k / form.block;
      const auto q = static_cast<float>(unpacked(bytes.data() + at * form.block_bytes(), k % form.block, form.bits));
      weights[static_cast<std::size_t>(n * form.k + k)] = (q - zeros[static_cast<std::size_t>(at)]) * scales[static_cast<std::size_t>(at)];
    }
  }
  Dims dims = a.dims();
  dims.back() = form.n;
  if (!element_count(dims)) return fail_input("the result's shape {} is too large", to_string(dims));
  BEVEL_TRY_STATUS(ctx.reserve(DType::float32, dims));
  Tensor y = Tensor::zeros(DType::float32, dims);
  const auto out = y.mutable_values<float>();
  const std::int64_t rows = a.size() / form.k;
  multiply_add(rows, form.n, form.k, {a.values<float>().data(), form.k, 1}, {weights.data(), 1, form.k}, out.data(), form.n);
  if (ctx.has_input(kBias)) {
    BEVEL_TRY_STATUS(expect_dtype(ctx.tensor(kBias).dtype(), kBias, "bias", {DType::float32}));
    BEVEL_TRY_STATUS(expect_size(ctx, kBias, "bias", form.n));
    const auto bias = ctx.tensor(kBias).values<float>();
    for (std::size_t i = 0; i < out.size(); ++i) out[i] += bias[i % bias.size()];
  }
  return std::vector<Datum>{std::move(y)};
}

}  // namespace

extern const OpRecord matmul_nbits_record = {.domain = "com.microsoft",
                                             .name = "MatMulNBits",
                                             .min_inputs = 3,
                                             .max_inputs = 6,
                                             .infer = infer,
                                             .facts = facts,
                                             .evaluate = evaluate};

}  // namespace bevel::ops
