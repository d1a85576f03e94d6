#include <algorithm>
#include <optional>

#include "lib/ops/axis_parts.h"
#include "lib/ops/control.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

// What a tensor weighs beside its elements: a sequence of many small ones must not outgrow the memory cap.
constexpr std::int64_t kTensorBytes = 256;

Status reserve_elements(const EvalContext& ctx, std::int64_t count) {
  return ctx.reserve(DType::uint8, Dims{count, kTensorBytes});
}

// "position" counts from the end when negative. `last`: the greatest position.
Result<std::size_t> position_operand(const EvalContext& ctx, std::size_t i, std::size_t length, std::size_t last) {
  BEVEL_TRY(const std::int64_t given, integer_operand(ctx, i, "position"));
  const auto size = static_cast<std::int64_t>(length);
  const std::int64_t position = given < 0 ? given + size : given;
  if (position < 0 || position > static_cast<std::int64_t>(last))
    return fail_operand(i, "position", "is {}, but the sequence has {} elements", given, length);
  return static_cast<std::size_t>(position);
}

Status check_element(std::size_t i, const Tensor& first, const Tensor& tensor) {
  if (tensor.dtype() == first.dtype()) return {};
  return fail_operand(i, "tensor", "has element type {}, but the sequence holds {}", dtype_name(tensor.dtype()), dtype_name(first.dtype()));
}

// Sizes of the parts of an axis: one number for all but perhaps the last, or a list.
Result<std::vector<std::int64_t>> part_sizes(const EvalContext& ctx, std::int64_t extent) {
  const Tensor& split = ctx.tensor(1);
  BEVEL_TRY(std::vector<std::int64_t> sizes, evaluated_ints(ctx, 1, "split"));
  if (split.rank() == 0) {
    const std::int64_t size = sizes[0];
    if (size <= 0) return fail_operand(1, "split", "is {}, expected 1 or more", size);
    const std::int64_t count = extent / size + (extent % size != 0);
    BEVEL_TRY_STATUS(reserve_elements(ctx, count));
    sizes.assign(static_cast<std::size_t>(count), size);
    if (extent % size != 0) sizes.back() = extent % size;
    return sizes;
  }
  std::int64_t total = 0;
  for (const std::int64_t size : sizes) {
    const auto sum = size < 0 ? std::nullopt : checked_add(total, size);
    if (!sum || *sum > extent) return fail_operand(1, "split", "has the sizes {}, which do not sum to the axis' {} entries", to_string(sizes), extent);
    total = *sum;
  }
  if (total != extent) return fail_operand(1, "split", "has the sizes {}, which do not sum to the axis' {} entries", to_string(sizes), extent);
  return sizes;
}

}  // namespace

Outputs evaluate_sequence_construct(const EvalContext& ctx) {
  Sequence sequence;
  for (std::size_t i = 0; i < ctx.input_count(); ++i) {
    BEVEL_TRY(const Tensor* tensor, tensor_operand(ctx, i, "tensor"));
    if (i > 0) BEVEL_TRY_STATUS(check_element(i, *sequence[0].tensor(), *tensor));
    sequence.emplace_back(*tensor);
  }
  return std::vector<Datum>{Datum(std::move(sequence))};
}

Outputs evaluate_sequence_empty(const EvalContext&) { return std::vector<Datum>{Datum(Sequence())}; }

Outputs evaluate_sequence_at(const EvalContext& ctx) {
  BEVEL_TRY(const Sequence* sequence, sequence_operand(ctx, 0, "sequence"));
  if (sequence->empty()) return fail_operand(0, "sequence", "is empty: it has no element to take");
  BEVEL_TRY(const std::size_t position, position_operand(ctx, 1, sequence->size(), sequence->size() - 1));
  return std::vector<Datum>{(*sequence)[position]};
}

Outputs evaluate_sequence_insert(const EvalContext& ctx) {
  BEVEL_TRY(const Sequence* sequence, sequence_operand(ctx, 0, "sequence"));
  BEVEL_TRY(const Tensor* tensor, tensor_operand(ctx, 1, "tensor"));
  if (!sequence->empty() && (*sequence)[0].tensor() != nullptr) BEVEL_TRY_STATUS(check_element(1, *(*sequence)[0].tensor(), *tensor));
  std::size_t position = sequence->size();
  if (ctx.has_input(2)) {
    BEVEL_TRY(position, position_operand(ctx, 2, sequence->size(), sequence->size()));
  }
  BEVEL_TRY_STATUS(reserve_elements(ctx, static_cast<std::int64_t>(sequence->size()) + 1));
  Sequence longer = *sequence;
  longer.insert(longer.begin() + static_cast<std::ptrdiff_t>(position), Datum(*tensor));
  return std::vector<Datum>{Datum(std::move(longer))};
}

Outputs evaluate_sequence_erase(const EvalContext& ctx) {
  BEVEL_TRY(const Sequence* sequence, sequence_operand(ctx, 0, "sequence"));
  if (sequence->empty()) return fail_operand(0, "sequence", "is empty: it has no element to erase");
  std::size_t position = sequence->size() - 1;
  if (ctx.has_input(1)) {
    BEVEL_TRY(position, position_operand(ctx, 1, sequence->size(), sequence->size() - 1));
  }
  Sequence shorter = *sequence;
  shorter.erase(shorter.begin() + static_cast<std::ptrdiff_t>(position));
  return std::vector<Datum>{Datum(std::move(shorter))};
}

Outputs evaluate_sequence_length(const EvalContext& ctx) {
  BEVEL_TRY(const Sequence* sequence, sequence_operand(ctx, 0, "sequence"));
  return std::vector<Datum>{Tensor::scalar(static_cast<std::int64_t>(sequence->size()))};
}

Outputs evaluate_split_to_sequence(const EvalContext& ctx) {
  const Tensor& input = ctx.tensor(0);
  BEVEL_TRY(const std::int64_t given, attr_int(ctx.node(), "axis", 0));
  BEVEL_TRY(const bool keep, attr_flag(ctx.node(), "keepdims", true));
  BEVEL_TRY(const std::int64_t normal, normalize_axis(given, input.rank()));
  const auto axis = static_cast<std::size_t>(normal);
  const std::int64_t extent = input.dim(axis);
  BEVEL_TRY_STATUS(ctx.reserve(input.dtype(), input.dims()));
  Sequence parts;
  if (!ctx.has_input(1)) {
    BEVEL_TRY_STATUS(reserve_elements(ctx, extent));
    for (std::int64_t i = 0; i < extent; ++i) parts.emplace_back(keep ? take_part(input, axis, i, 1) : take_entry(input, axis, i));
    return std::vector<Datum>{Datum(std::move(parts))};
  }
  BEVEL_TRY(const std::vector<std::int64_t> sizes, part_sizes(ctx, extent));
  BEVEL_TRY_STATUS(reserve_elements(ctx, static_cast<std::int64_t>(sizes.size())));
  std::int64_t begin = 0;
  for (const std::int64_t size : sizes) {
    parts.emplace_back(take_part(input, axis, begin, size));
    begin += size;
  }
  return std::vector<Datum>{Datum(std::move(parts))};
}

Outputs evaluate_concat_from_sequence(const EvalContext& ctx) {
  BEVEL_TRY(const Sequence* sequence, sequence_operand(ctx, 0, "sequence"));
  BEVEL_TRY(const std::int64_t given, require_int(ctx.node(), "axis"));
  BEVEL_TRY(const bool new_axis, attr_flag(ctx.node(), "new_axis", false));
  if (sequence->empty()) return fail_operand(0, "sequence", "is empty: there is nothing to concatenate");
  const Tensor* first = (*sequence)[0].tensor();
  if (first == nullptr) return fail_operand(0, "sequence", "holds no tensors");
  BEVEL_TRY(const std::int64_t normal, normalize_axis(given, first->rank() + (new_axis ? 1 : 0)));
  const auto axis = static_cast<std::size_t>(normal);
  std::int64_t extent = 0;
  for (const Datum& datum : *sequence) {
    const Tensor* tensor = datum.tensor();
    bool fits = tensor != nullptr && tensor->dtype() == first->dtype() && tensor->rank() == first->rank();
    for (std::size_t a = 0; fits && a < first->rank(); ++a) fits = tensor->dim(a) == first->dim(a) || (a == axis && !new_axis);
    if (!fits) return fail_operand(0, "sequence", "holds tensors that do not fit together along axis {}", given);
    const auto sum = checked_add(extent, new_axis ? 1 : tensor->dim(axis));
    if (!sum) return fail_operand(0, "sequence", "its elements have more than 2^63 entries along axis {}", given);
    extent = *sum;
  }
  Dims dims = new_axis ? with_axis(first->dims(), axis, extent) : first->dims();
  dims[axis] = extent;
  BEVEL_TRY_STATUS(ctx.reserve(first->dtype(), dims));
  Tensor whole = Tensor::zeros(first->dtype(), dims);
  std::int64_t begin = 0;
  for (const Datum& datum : *sequence) {
    const Tensor& tensor = *datum.tensor();
    if (new_axis) put_entry(tensor, whole, axis, begin);
    else put_part(tensor, whole, axis, begin);
    begin += new_axis ? 1 : tensor.dim(axis);
  }
  return std::vector<Datum>{std::move(whole)};
}

Outputs evaluate_sequence_map(const EvalContext& ctx) {
  BEVEL_TRY(const Body body, body_of(ctx.node(), "body"));
  BEVEL_TRY(const Sequence* first, sequence_operand(ctx, 0, "sequence"));
  const std::size_t results = body.graph->outputs().size();
  if (body.graph->inputs().size() != ctx.input_count())
    return fail_input("the body takes {} values; expected {}", body.graph->inputs().size(), ctx.input_count());
  for (std::size_t i = 1; i < ctx.input_count(); ++i) {
    const Sequence* other = ctx.input(i).sequence();
    if (other != nullptr && other->size() != first->size())
      return fail_operand(i, "sequence", "has {} elements, but the first has {}", other->size(), first->size());
  }
  std::vector<Sequence> made(results);
  for (std::size_t e = 0; e < first->size(); ++e) {
    std::vector<Datum> given;
    for (std::size_t i = 0; i < ctx.input_count(); ++i) {
      const Sequence* sequence = ctx.input(i).sequence();
      given.push_back(sequence != nullptr ? (*sequence)[e] : ctx.input(i));
    }
    BEVEL_TRY(std::vector<Datum> one, ctx.run_subgraph(*body.graph, body.first_capture, given));
    for (std::size_t k = 0; k < results; ++k) made[k].push_back(std::move(one[k]));
  }
  std::vector<Datum> outputs;
  for (Sequence& sequence : made) outputs.emplace_back(std::move(sequence));
  return outputs;
}

}  // namespace bevel::ops
