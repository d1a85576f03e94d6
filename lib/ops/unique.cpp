// Unique (ONNX opset 11): distinct elements, or distinct slices along an axis.
#include <algorithm>
#include <numeric>

#include "lib/ops/movement.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

Status infer(InferContext& ctx) {
  const Shape& input = input_shape(ctx, 0);
  Shape shape = unknown_dims(1);
  Shape whole = unknown_dims(1);  // of inverse_indices
  if (has_attr(ctx.node(), "axis")) {
    BEVEL_TRY(const std::int64_t given, attr_int(ctx.node(), "axis", 0));
    shape = input;
    if (input.has_rank) {
      BEVEL_TRY(const std::int64_t axis, normalize_axis(given, input.rank()));
      whole.dims[0] = input.dims[static_cast<std::size_t>(axis)];
      whole.dims[0].denotation.clear();
      shape.dims[static_cast<std::size_t>(axis)] = Dim();
    }
  } else if (const auto dims = input.known_dims()) {
    if (const auto count = element_count(*dims)) whole.dims[0] = Dim(*count);
  }
  set_output_like_input(ctx, std::move(shape));
  ctx.set_output(1, Type::tensor(DType::int64, unknown_dims(1)));
  ctx.set_output(2, Type::tensor(DType::int64, std::move(whole)));
  ctx.set_output(3, Type::tensor(DType::int64, unknown_dims(1)));
  return {};
}

// -1, 0 or 1; NaN equals itself and stands behind every number, so that this is an order.
template <typename T>
int order_of(const T& a, const T& b) {
  if constexpr (std::is_floating_point_v<T>) {
    if (a != a || b != b) return (a != a) - (b != b);
  }
  return a < b ? -1 : b < a ? 1 : 0;
}

struct Groups {
  std::vector<std::int64_t> first;    // of each distinct slice, where it first occurs
  std::vector<std::int64_t> inverse;  // of each slice, its place in `first`
  std::vector<std::int64_t> counts;
};

// Slices are the rows of `width` elements; compare(i, j) orders two rows.
template <typename Compare>
Groups group_rows(std::int64_t rows, bool sorted, Compare compare) {
  std::vector<std::int64_t> order(static_cast<std::size_t>(rows));
  std::iota(order.begin(), order.end(), 0);
  std::sort(order.begin(), order.end(), [&](std::int64_t a, std::int64_t b) {
    const int found = compare(a, b);
    return found != 0 ? found < 0 : a < b;
  });
  Groups groups;
  groups.inverse.resize(order.size());
  for (std::size_t i = 0; i < order.size(); ++i) {
    if (i == 0 || compare(order[i - 1], order[i]) != 0) {
      groups.first.push_back(order[i]);
      groups.counts.push_back(0);
    }
    groups.inverse[static_cast<std::size_t>(order[i])] = static_cast<std::int64_t>(groups.first.size()) - 1;
    ++groups.counts.back();
  }
  if (sorted) return groups;
  // In the order of first occurrence.
  std::vector<std::size_t> by_first(groups.first.size());
  std::iota(by_first.begin(), by_first.end(), std::size_t{0});
  std::sort(by_first.begin(), by_first.end(), [&](std::size_t a, std::size_t b) { return groups.first[a] < groups.first[b]; });
  Groups arranged;
  arranged.inverse = std::move(groups.inverse);
  std::vector<std::int64_t> place(by_first.size());
  for (std::size_t i = 0; i < by_first.size(); ++i) {
    place[by_first[i]] = static_cast<std::int64_t>(i);
    arranged.first.push_back(groups.first[by_first[i]]);
    arranged.counts.push_back(groups.counts[by_first[i]]);
  }
  for (std::int64_t& entry : arranged.inverse) entry = place[static_cast<std::size_t>(entry)];
  return arranged;
}

// Rows of `width` consecutive elements of `at(index)`.
template <typename At>
Groups group_elements(std::int64_t rows, std::int64_t width, bool sorted, At at) {
  return group_rows(rows, sorted, [&](std::int64_t a, std::int64_t b) {
    for (std::int64_t i = 0; i < width; ++i) {
      const int found = order_of(at(a * width + i), at(b * width + i));
      if (found != 0) return found;
    }
    return 0;
  });
}

Outputs evaluate(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const bool sorted, attr_flag(ctx.node(), "sorted", true));
  const bool flat = !has_attr(ctx.node(), "axis");
  BEVEL_TRY(const std::int64_t given, attr_int(ctx.node(), "axis", 0));
  const Dims viewed = flat ? Dims{x.size()} : x.dims();
  BEVEL_TRY(const std::int64_t normal, normalize_axis(given, viewed.size()));
  const auto axis = static_cast<std::size_t>(normal);
  const std::int64_t rows = viewed[axis];
  BEVEL_TRY_STATUS(ctx.reserve(x.dtype(), x.dims()));
  const std::int64_t lists[] = {rows, 4};
  BEVEL_TRY_STATUS(ctx.reserve(DType::int64, lists));
  // The axis goes first, so that slices are rows.
  std::vector<int> order(viewed.size());
  std::iota(order.begin(), order.end(), 0);
  std::rotate(order.begin(), order.begin() + static_cast<std::ptrdiff_t>(axis), order.begin() + static_cast<std::ptrdiff_t>(axis) + 1);
  const Tensor view = x.reshaped(viewed);
  const Tensor slices = axis == 0 ? view : permute(view, order);
  std::int64_t width = 1;
  for (std::size_t i = 0; i < viewed.size(); ++i) width *= i == axis ? 1 : viewed[i];
  Groups groups;
  bool known = dispatch_numeric(x.dtype(), [&](auto tag) {
    using T = typename decltype(tag)::type;
    const T* values = slices.values<T>().data();
    groups = group_elements(rows, width, sorted, [values](std::int64_t i) { return load(values[i]); });
  });
  if (x.dtype() == DType::string) {
    const auto& texts = slices.strings();
    groups = group_elements(rows, width, sorted, [&texts](std::int64_t i) -> const std::string& { return texts[static_cast<std::size_t>(i)]; });
    known = true;
  } else if (x.dtype() == DType::boolean) {
    groups = group_elements(rows, width, sorted, [&slices](std::int64_t i) { return slices.as_int64(i); });
    known = true;
  }
  if (!known) return fail_dtype(x.dtype(), "the input");
  Dims dims = viewed;
  dims[axis] = static_cast<std::int64_t>(groups.first.size());
  Tensor out = Tensor::zeros(x.dtype(), dims);
  if (out.size() > 0) {
    std::vector<std::vector<std::int64_t>> tables(viewed.size());
    for (std::size_t i = 0; i < viewed.size(); ++i) {
      tables[i].resize(static_cast<std::size_t>(dims[i]));
      std::iota(tables[i].begin(), tables[i].end(), 0);
    }
    tables[axis] = groups.first;
    copy_by_tables(view, out, tables);
  }
  const auto list = [](const std::vector<std::int64_t>& values) {
    return Datum(Tensor::of<std::int64_t>({static_cast<std::int64_t>(values.size())}, values));
  };
  return std::vector<Datum>{std::move(out), list(groups.first), list(groups.inverse), list(groups.counts)};
}

}  // namespace

extern const OpRecord unique_record{.name = "Unique", .since = 11, .max_outputs = 4, .infer = infer, .evaluate = evaluate};

}  // namespace bevel::ops
