// Einsum as a chain of products from the left: each operand is brought to [batch, rows, depth] and [batch, depth, columns], so
// that every sum of products is a matrix product.
#include <algorithm>
#include <iterator>
#include <map>

#include "lib/ops/einsum.h"
#include "lib/ops/float_operands.h"
#include "lib/ops/nn_families.h"

namespace bevel::ops {
namespace {

bool contains(const EinsumTerm& term, int label) { return std::find(term.begin(), term.end(), label) != term.end(); }

// An operand or a product so far: row-major, an axis per label.
template <typename T>
struct Labelled {
  EinsumTerm labels;
  Dims dims;
  std::vector<T> values;
  [[nodiscard]] std::int64_t extent_of(int label) const {
    for (std::size_t i = 0; i < labels.size(); ++i) {
      if (labels[i] == label) return dims[i];
    }
    return 1;
  }
};

// Type in which single axes are summed: double for the floats, else T itself.
template <typename T>
using SumOf = std::conditional_t<std::is_floating_point_v<T>, double, T>;

// The operand with the axes `order`, in that order: diagonals taken, other labels summed in row-major order of their first places.
template <typename T>
Result<Labelled<T>> arranged(const EvalContext& ctx, const Labelled<T>& x, const EinsumTerm& order) {
  const Dims strides = row_major_strides(x.dims);
  EinsumTerm loops = order;  // then those that are summed
  for (const int label : x.labels) {
    if (!contains(loops, label)) loops.push_back(label);
  }
  Dims extents(loops.size(), 1), steps(loops.size(), 0);
  for (std::size_t i = 0; i < loops.size(); ++i) {
    extents[i] = x.extent_of(loops[i]);
    for (std::size_t axis = 0; axis < x.labels.size(); ++axis) {
      if (x.labels[axis] == loops[i]) steps[i] += strides[axis];
    }
  }
  Labelled<T> y{order, Dims(extents.begin(), extents.begin() + static_cast<std::ptrdiff_t>(order.size())), {}};
  BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<T>::value, y.dims));
  const auto count = static_cast<std::size_t>(*element_count(y.dims));
  const Dims summed(extents.begin() + static_cast<std::ptrdiff_t>(order.size()), extents.end());
  const std::int64_t terms = product(summed, 0, summed.size());
  y.values.assign(count, T{});
  if (count == 0 || terms == 0) return y;
  Dims index(loops.size(), 0);
  std::int64_t offset = 0;
  for (T& value : y.values) {
    SumOf<T> sum{};
    for (std::int64_t term = 0; term < terms; ++term) {
      sum += static_cast<SumOf<T>>(x.values[static_cast<std::size_t>(offset)]);
      for (std::size_t i = loops.size(); i-- > 0;) {
        offset += steps[i];
        if (++index[i] < extents[i]) break;
        offset -= steps[i] * extents[i];
        index[i] = 0;
      }
    }
    value = static_cast<T>(sum);
  }
  return y;
}

template <typename T>
void multiply(std::int64_t rows, std::int64_t columns, std::int64_t depth, const T* a, const T* b, T* c) {
  if constexpr (std::is_floating_point_v<T>) {
    multiply_into<T>(rows, columns, depth, {a, depth, 1}, {b, columns, 1}, c, columns);
  } else {
    multiply_add_plain(rows, columns, depth, a, depth, std::int64_t{1}, b, columns, std::int64_t{1}, c, columns);
  }
}

// Axes of extent 1 where the other operand has more: they say nothing.
template <typename T>
void drop_broadcast(Labelled<T>& x, const Labelled<T>& other) {
  for (std::size_t i = x.labels.size(); i-- > 0;) {
    if (x.dims[i] != 1 || other.extent_of(x.labels[i]) == 1) continue;
    x.labels.erase(x.labels.begin() + static_cast<std::ptrdiff_t>(i));
    x.dims.erase(x.dims.begin() + static_cast<std::ptrdiff_t>(i));
  }
}

// The sum of products of a and b over the labels that `kept` has not.
template <typename T>
Result<Labelled<T>> contracted(const EvalContext& ctx, Labelled<T> a, Labelled<T> b, const EinsumTerm& kept) {
  drop_broadcast(a, b);
  drop_broadcast(b, a);
  EinsumTerm batch, rows, columns, depth;
  for (const int label : a.labels) {
    if (contains(batch, label) || contains(depth, label) || contains(rows, label)) continue;
    const bool shared = contains(b.labels, label), stays = contains(kept, label);
    if (shared && a.extent_of(label) != b.extent_of(label)) {
      return fail_input("a label of 'equation' has the extents {} and {}", a.extent_of(label), b.extent_of(label));
    }
    if (shared) {
      (stays ? batch : depth).push_back(label);
    } else if (stays) {
      rows.push_back(label);
    }
  }
  for (const int label : b.labels) {
    if (!contains(a.labels, label) && contains(kept, label) && !contains(columns, label)) columns.push_back(label);
  }
  const auto joined = [](const EinsumTerm& first, const EinsumTerm& second, const EinsumTerm& third) {
    EinsumTerm all = first;
    all.insert(all.end(), second.begin(), second.end());
    all.insert(all.end(), third.begin(), third.end());
    return all;
  };
  BEVEL_TRY(const Labelled<T> left, arranged(ctx, a, joined(batch, rows, depth)));
  BEVEL_TRY(const Labelled<T> right, arranged(ctx, b, joined(batch, depth, columns)));
  const auto size = [](const Labelled<T>& x, std::size_t first, std::size_t count) { return product(x.dims, first, first + count); };
  const std::int64_t count = size(left, 0, batch.size()), row_count = size(left, batch.size(), rows.size());
  const std::int64_t depth_size = size(left, batch.size() + rows.size(), depth.size());
  const std::int64_t column_count = size(right, batch.size() + depth.size(), columns.size());
  Labelled<T> y{joined(batch, rows, columns), {}, {}};
  for (const int label : y.labels)
    y.dims.push_back(contains(left.labels, label) ? left.extent_of(label) : right.extent_of(label));
  BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<T>::value, y.dims));
  y.values.assign(static_cast<std::size_t>(*element_count(y.dims)), T{});
  if (y.values.empty()) return y;
  for (std::int64_t n = 0; n < count; ++n) {
    multiply<T>(row_count, column_count, depth_size, left.values.data() + n * row_count * depth_size,
                right.values.data() + n * depth_size * column_count, y.values.data() + n * row_count * column_count);
  }
  return y;
}

template <typename T>
Result<std::vector<T>> elements_of(const EvalContext& ctx, const Tensor& tensor) {
  BEVEL_TRY_STATUS(ctx.reserve(DTypeOf<T>::value, tensor.dims()));
  if constexpr (std::is_same_v<T, float>) {
    return tensor.as_floats();
  } else if constexpr (std::is_same_v<T, double>) {
    return to_doubles(tensor);
  } else {
    std::vector<T> values(static_cast<std::size_t>(tensor.size()));
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<T>(tensor.as_int64(static_cast<std::int64_t>(i)));
    return values;
  }
}

template <typename T>
Result<Labelled<T>> evaluate_equation(const EvalContext& ctx, const EinsumEquation& equation) {
  std::map<int, std::size_t> last_use;
  for (std::size_t i = 0; i < equation.inputs.size(); ++i) {
    for (const int label : equation.inputs[i]) last_use[label] = i;
  }
  Labelled<T> result;
  for (std::size_t i = 0; i < ctx.input_count(); ++i) {
    Labelled<T> operand{equation.inputs[i], ctx.tensor(i).dims(), {}};
    for (std::size_t axis = 0; axis < operand.labels.size(); ++axis) {
      if (operand.extent_of(operand.labels[axis]) != operand.dims[axis])
        return fail_operand(i, "operand", "has shape {}: a label that it repeats has two extents", to_string(operand.dims));
    }
    BEVEL_TRY(operand.values, elements_of<T>(ctx, ctx.tensor(i)));
    if (i == 0) {
      result = std::move(operand);
      continue;
    }
    // What the output or a later operand still needs.
    EinsumTerm kept = equation.output;
    for (const EinsumTerm* labels : {&result.labels, &operand.labels}) {
      std::copy_if(labels->begin(), labels->end(), std::back_inserter(kept), [&](int label) { return last_use.at(label) > i; });
    }
    BEVEL_TRY(result, contracted(ctx, std::move(result), std::move(operand), kept));
  }
  return arranged(ctx, result, equation.output);
}

}  // namespace

Outputs evaluate_einsum(const EvalContext& ctx) {
  std::vector<std::size_t> ranks;
  const DType dtype = ctx.tensor(0).dtype();
  for (std::size_t i = 0; i < ctx.input_count(); ++i) {
    if (!ctx.has_input(i)) return fail_operand(i, "operand", "is absent");
    if (ctx.tensor(i).dtype() != dtype)
      return fail_operand(i, "operand", "element type is {}, expected {} as the first", dtype_name(ctx.tensor(i).dtype()), dtype_name(dtype));
    ranks.push_back(ctx.tensor(i).rank());
  }
  if (!has_attr(ctx.node(), "equation")) return fail_input("required attribute 'equation' is missing");
  BEVEL_TRY(const std::string text, attr_string(ctx.node(), "equation", ""));
  BEVEL_TRY(const EinsumEquation equation, parse_einsum(text, ranks));
  if (is_plain_float(dtype)) {
    return with_compute_type(dtype, "operand", [&](auto tag) -> Outputs {
      using C = typename decltype(tag)::type;
      BEVEL_TRY(const Labelled<C> y, evaluate_equation<C>(ctx, equation));
      BEVEL_TRY_STATUS(ctx.reserve(dtype, y.dims));
      return std::vector<Datum>{from_computed<C>(dtype, y.dims, y.values)};
    });
  }
  Outputs outputs = fail_dtype(dtype, "operand");
  dispatch_integers(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    using Wrapping = std::conditional_t<sizeof(T) == 8, std::uint64_t, std::uint32_t>;
    outputs = [&]() -> Outputs {
      BEVEL_TRY(const Labelled<Wrapping> y, evaluate_equation<Wrapping>(ctx, equation));
      BEVEL_TRY_STATUS(ctx.reserve(dtype, y.dims));
      Tensor result = Tensor::zeros(dtype, y.dims);
      const auto out = result.mutable_values<T>();
      for (std::size_t i = 0; i < out.size(); ++i) out[i] = static_cast<T>(y.values[i]);
      return std::vector<Datum>{std::move(result)};
    }();
  });
  return outputs;
}

}  // namespace bevel::ops
