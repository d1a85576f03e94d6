// TfIdfVectorizer (ONNX opset 9): counts of n-grams of a pool in rows of integers or strings, weighted.
#include <algorithm>
#include <map>

#include "lib/ops/strings.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

// Look-ups that one evaluation may need: a row that allows skips as long as itself takes a quadratic number of them.
constexpr std::int64_t kMaxLookups = std::int64_t{1} << 30;

enum class Weighting { tf, idf, tfidf };

// The node's attributes. Strings are numbered by their first place in the pool, so that all n-grams are of integers.
struct Pool {
  Weighting weighting = Weighting::tf;
  std::int64_t shortest = 1, longest = 1, skips = 0;
  std::vector<std::int64_t> columns;  // of the n-grams, in the pool's order
  std::vector<float> weights;         // per n-gram; empty: 1
  std::int64_t width = 0;             // columns of the output
  bool strings = false;
  std::map<std::string, std::int64_t> numbers;
  // A tree of prefixes; node 0 is the root.
  struct Prefix {
    std::map<std::int64_t, std::size_t> next;
    std::int64_t gram = -1;  // the n-gram that ends here
  };
  std::vector<Prefix> tree{1};
};

Result<std::int64_t> output_width(const Node& node) {
  BEVEL_TRY(const auto columns, attr_ints(node, "ngram_indexes"));
  if (columns.empty()) return fail_input("attribute 'ngram_indexes' is missing or empty");
  const auto [least, most] = std::minmax_element(columns.begin(), columns.end());
  if (*least < 0 || *most == INT64_MAX) return fail_input("attribute 'ngram_indexes' holds {}, expected 0 or more", *least < 0 ? *least : *most);
  return *most + 1;
}

// The pool as numbers.
Result<std::vector<std::int64_t>> pool_items(const Node& node, Pool& pool) {
  pool.strings = has_attr(node, "pool_strings");
  if (pool.strings == has_attr(node, "pool_int64s")) return fail_input("expected one of the attributes 'pool_strings' and 'pool_int64s'");
  if (!pool.strings) return attr_ints(node, "pool_int64s");
  BEVEL_TRY(const auto strings, attr_strings(node, "pool_strings"));
  std::vector<std::int64_t> items;
  for (const std::string& text : strings) {
    items.push_back(pool.numbers.emplace(text, static_cast<std::int64_t>(pool.numbers.size())).first->second);
  }
  return items;
}

Result<Pool> read_pool(const EvalContext& ctx) {
  const Node& node = ctx.node();
  Pool pool;
  BEVEL_TRY(pool.width, output_width(node));
  BEVEL_TRY(pool.columns, attr_ints(node, "ngram_indexes"));
  BEVEL_TRY(pool.weights, attr_floats(node, "weights"));
  BEVEL_TRY(pool.shortest, require_int(node, "min_gram_length"));
  BEVEL_TRY(pool.longest, require_int(node, "max_gram_length"));
  BEVEL_TRY(pool.skips, require_int(node, "max_skip_count"));
  BEVEL_TRY(const std::string mode, attr_string(node, "mode", ""));
  BEVEL_TRY(const auto starts, attr_ints(node, "ngram_counts"));
  BEVEL_TRY(const auto items, pool_items(node, pool));
  if (mode != "TF" && mode != "IDF" && mode != "TFIDF") return fail_input("attribute 'mode' is '{}', expected TF, IDF or TFIDF", printable(mode));
  pool.weighting = mode == "TF" ? Weighting::tf : mode == "IDF" ? Weighting::idf : Weighting::tfidf;
  if (pool.shortest < 1 || pool.longest < pool.shortest || pool.skips < 0) {
    return fail_input("min_gram_length {}, max_gram_length {} and max_skip_count {}: expected 1 <= min <= max and no negative skips",
                      pool.shortest, pool.longest, pool.skips);
  }
  if (!pool.weights.empty() && pool.weights.size() != pool.columns.size()) {
    return fail_input("{} weights for {} ngram_indexes", pool.weights.size(), pool.columns.size());
  }
  // Each item of the pool makes no more than one prefix and one entry of the tree that leads to it.
  constexpr std::int64_t kItemBytes = sizeof(Pool::Prefix) + sizeof(std::map<std::int64_t, std::size_t>::value_type) + 4 * sizeof(void*);
  const std::int64_t tree_bytes[] = {static_cast<std::int64_t>(items.size()), kItemBytes};
  BEVEL_TRY_STATUS(ctx.reserve(DType::uint8, tree_bytes));
  std::size_t gram = 0;
  for (std::size_t k = 0; k < starts.size(); ++k) {
    const auto total = static_cast<std::int64_t>(items.size()), size = static_cast<std::int64_t>(k) + 1;
    const std::int64_t first = starts[k], end = k + 1 < starts.size() ? starts[k + 1] : total;
    if (first < 0 || end < first || end > total || (end - first) % size != 0) {
      return fail_input("attribute 'ngram_counts' puts the {}-grams at {} to {} of a pool of {}", size, first, end, total);
    }
    for (std::int64_t at = first; at < end; at += size, ++gram) {
      if (gram >= pool.columns.size()) return fail_input("more n-grams in the pool than the {} of ngram_indexes", pool.columns.size());
      if (size < pool.shortest || size > pool.longest) continue;
      std::size_t prefix = 0;
      for (std::int64_t i = at; i < at + size; ++i) {
        const auto [entry, fresh] = pool.tree[prefix].next.emplace(items[static_cast<std::size_t>(i)], pool.tree.size());
        prefix = entry->second;
        if (fresh) pool.tree.emplace_back();
      }
      pool.tree[prefix].gram = static_cast<std::int64_t>(gram);
    }
  }
  pool.longest = std::min<std::int64_t>(pool.longest, static_cast<std::int64_t>(starts.size()));
  return pool;
}

// The largest distance between items at which a row of `count` holds a pair.
std::int64_t farthest_of(const Pool& pool, std::int64_t count) { return std::min(pool.skips, std::max<std::int64_t>(count - 2, 0)) + 1; }

// Of the look-ups that for_each_gram() does for rows of `count`, the most.
Status admit_lookups(const Pool& pool, std::int64_t rows, std::int64_t count) {
  if (rows == 0 || count == 0) return {};
  std::int64_t per_start = 0, lookups = 0;
  bool fits = true;
  for (std::int64_t distance = 1; fits && distance <= farthest_of(pool, count); ++distance) {
    per_start += std::min(pool.longest, (count - 1) / distance + 1);
    fits = !__builtin_mul_overflow(per_start, count, &lookups) && !__builtin_mul_overflow(lookups, rows, &lookups) && lookups <= kMaxLookups;
  }
  if (fits) return {};
  return fail_operand(0, "X", "has {} rows of {}: n-grams of up to {} with up to {} skips would take more than {} look-ups", rows, count,
                      pool.longest, pool.skips, kMaxLookups);
}

// Every n-gram of the row whose items stand 1, 2, ..., skips + 1 apart; single items count once.
template <typename Found>
void for_each_gram(const Pool& pool, std::span<const std::int64_t> row, Found found) {
  const auto count = static_cast<std::int64_t>(row.size());
  const std::int64_t farthest = farthest_of(pool, count);
  for (std::int64_t distance = 1; distance <= farthest; ++distance) {
    for (std::int64_t start = 0; start < count; ++start) {
      std::size_t prefix = 0;
      std::int64_t at = start;
      for (std::int64_t size = 1; size <= pool.longest && at < count; ++size, at += distance) {
        const auto next = pool.tree[prefix].next.find(row[static_cast<std::size_t>(at)]);
        if (next == pool.tree[prefix].next.end()) break;
        prefix = next->second;
        if (pool.tree[prefix].gram >= 0 && (size > 1 || distance == 1)) found(pool.tree[prefix].gram);
      }
    }
  }
}

Status infer(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "X", 0, 2));
  BEVEL_TRY(const std::int64_t width, output_width(ctx.node()));
  const Shape& input = input_shape(ctx, 0);
  Shape shape;
  if (input.has_rank) {
    shape = Shape({Dim(width)});
    if (input.rank() == 2) shape.dims.insert(shape.dims.begin(), input.dims[0]);
    shape.dims[0].denotation.clear();
  }
  ctx.set_output(0, Type::tensor(DType::float32, std::move(shape)));
  return {};
}

Outputs evaluate(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  BEVEL_TRY(const Pool pool, read_pool(ctx));
  if (x.rank() > 2) return fail_operand(0, "X", "rank is {}, expected 1 or 2", x.rank());
  const bool fits = pool.strings ? x.dtype() == DType::string : x.dtype() == DType::int32 || x.dtype() == DType::int64;
  if (!fits) {
    return fail_operand(0, "X", "element type is {}, but the pool holds {}", dtype_name(x.dtype()), pool.strings ? "strings" : "integers");
  }
  const std::int64_t rows = x.rank() == 2 ? x.dim(0) : 1, length = x.rank() == 0 ? 1 : x.dims().back();
  BEVEL_TRY_STATUS(admit_lookups(pool, rows, length));
  Dims dims{pool.width};
  if (x.rank() == 2) dims.insert(dims.begin(), rows);
  BEVEL_TRY_STATUS(ctx.reserve(DType::float32, dims));
  const std::int64_t counters[] = {static_cast<std::int64_t>(pool.columns.size())};
  BEVEL_TRY_STATUS(ctx.reserve(DType::int64, counters));
  Tensor out = Tensor::zeros(DType::float32, dims);
  auto results = out.mutable_values<float>();
  std::vector<std::int64_t> row(static_cast<std::size_t>(length)), counts(pool.columns.size());
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t i = 0; i < length; ++i) {
      auto& item = row[static_cast<std::size_t>(i)];
      if (!pool.strings) {
        item = x.as_int64(r * length + i);
        continue;
      }
      const auto number = pool.numbers.find(x.strings()[static_cast<std::size_t>(r * length + i)]);
      item = number == pool.numbers.end() ? -1 : number->second;
    }
    std::fill(counts.begin(), counts.end(), 0);
    for_each_gram(pool, row, [&](std::int64_t gram) { ++counts[static_cast<std::size_t>(gram)]; });
    for (std::size_t gram = 0; gram < counts.size(); ++gram) {
      if (counts[gram] == 0) continue;
      const float weight = pool.weighting == Weighting::tf || pool.weights.empty() ? 1.0f : pool.weights[gram];
      const float count = pool.weighting == Weighting::idf ? 1.0f : static_cast<float>(counts[gram]);
      results[static_cast<std::size_t>(r * pool.width + pool.columns[gram])] += weight * count;
    }
  }
  return std::vector<Datum>{std::move(out)};
}

}  // namespace

extern const OpRecord tf_idf_vectorizer_record{.name = "TfIdfVectorizer", .since = 9, .infer = infer, .evaluate = evaluate};

}  // namespace bevel::ops
