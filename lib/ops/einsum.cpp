// Einsum (ONNX opsets 12, 28): sums of products over the labels that the output does not have. Repeated labels of a term are its
// diagonal, an ellipsis broadcasts, and an axis of extent 1 meets any extent.
#include "lib/ops/einsum.h"

#include <algorithm>
#include <map>

#include "lib/ops/nn_families.h"

namespace bevel::ops {
namespace {

constexpr std::size_t kMaxRank = 64;
constexpr int kEllipsisMark = 0;  // in a term as written

bool is_label(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// One term as written; an ellipsis is one mark.
Result<EinsumTerm> parse_term(std::string_view text) {
  EinsumTerm term;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == ' ') continue;
    if (is_label(text[i])) {
      term.push_back(text[i]);
    } else if (text.substr(i, 3) == "..." && std::find(term.begin(), term.end(), kEllipsisMark) == term.end()) {
      term.push_back(kEllipsisMark);
      i += 2;
    } else {
      return fail_input("attribute 'equation' has a term '{}', expected letters and at most one ellipsis", printable(text));
    }
  }
  return term;
}

// The mark replaced by the labels of `axes` axes.
EinsumTerm spelled_out(const EinsumTerm& term, std::size_t axes) {
  EinsumTerm result;
  for (const int label : term) {
    if (label != kEllipsisMark) {
      result.push_back(label);
      continue;
    }
    for (std::size_t k = axes; k-- > 0;) result.push_back(kEllipsisLabel - static_cast<int>(k));
  }
  return result;
}

Result<std::string> equation_of(const Node& node) {
  if (!has_attr(node, "equation")) return fail_input("required attribute 'equation' is missing");
  return attr_string(node, "equation", "");
}

Status infer(InferContext& ctx) {
  BEVEL_TRY(const std::string equation, equation_of(ctx.node()));
  std::vector<std::size_t> ranks;
  bool known = true;
  for (std::size_t i = 0; i < ctx.input_count(); ++i) {
    known = known && input_shape(ctx, i).has_rank;
    ranks.push_back(input_shape(ctx, i).rank());
  }
  Shape out;
  if (known) {
    BEVEL_TRY(const EinsumEquation parsed, parse_einsum(equation, ranks));
    std::map<int, Dim> extents;
    for (std::size_t i = 0; i < parsed.inputs.size(); ++i) {
      for (std::size_t axis = 0; axis < parsed.inputs[i].size(); ++axis) {
        const Dim& dim = input_shape(ctx, i).dims[axis];
        auto [entry, fresh] = extents.try_emplace(parsed.inputs[i][axis], dim);
        if (fresh) continue;
        const auto both = broadcast_shapes(Shape({entry->second}), Shape({dim}));
        if (!both) return fail_operand(i, "operand", "axis {} has another extent than its label elsewhere: {}", axis, both.error().message);
        entry->second = both->dims[0];
      }
    }
    out = Shape(std::vector<Dim>());
    for (const int label : parsed.output) {
      out.dims.push_back(extents[label]);
      out.dims.back().denotation.clear();
    }
  }
  ctx.set_output(0, Type::tensor(input_dtype(ctx, 0), std::move(out)));
  return {};
}

// A loop per label; more than two operands are products of products, which have no nest of their own.
Facts facts(const FactsContext& ctx) {
  Facts facts;
  const auto equation = equation_of(ctx.node());
  const std::size_t count = ctx.node().inputs.size();
  if (!equation || count > 2) return facts;
  std::vector<std::size_t> ranks;
  for (std::size_t i = 0; i < count; ++i) {
    facts.value.data_operands.push_back(static_cast<int>(i));
    if (!input_shape(ctx, i).has_rank) return facts;
    ranks.push_back(input_shape(ctx, i).rank());
  }
  const auto parsed = parse_einsum(*equation, ranks);
  if (!parsed) return facts;
  std::map<int, int> loops;
  IterationSpace space;
  for (std::size_t i = 0; i < count; ++i) {
    OperandMap map;
    for (std::size_t axis = 0; axis < ranks[i]; ++axis) {
      const int label = parsed->inputs[i][axis];
      const auto [entry, fresh] = loops.try_emplace(label, static_cast<int>(space.loops.size()));
      const std::int64_t size = extent(input_shape(ctx, i), axis);
      if (fresh) {
        const bool kept = std::find(parsed->output.begin(), parsed->output.end(), label) != parsed->output.end();
        space.loops.push_back({size, !kept});
      } else {
        Loop& loop = space.loops[static_cast<std::size_t>(entry->second)];
        if (loop.extent == 1 || loop.extent < 0) loop.extent = size > 1 ? size : loop.extent;
      }
      map.axes.push_back(AxisMap::follow(entry->second));
    }
    space.inputs.push_back(std::move(map));
  }
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t axis = 0; axis < ranks[i]; ++axis) {
      AxisMap& map = space.inputs[i].axes[axis];
      if (extent(input_shape(ctx, i), axis) == 1 && space.loops[static_cast<std::size_t>(map.loops[0])].extent != 1)
        map = AxisMap::broadcast();
    }
  }
  OperandMap output;
  for (const int label : parsed->output) output.axes.push_back(AxisMap::follow(loops[label]));
  space.outputs = {std::move(output)};
  space.kind = count == 2 ? OpKind::bilinear : OpKind::reduce;
  facts.space = std::move(space);
  return facts;
}

}  // namespace

Result<EinsumEquation> parse_einsum(std::string_view equation, const std::vector<std::size_t>& ranks) {
  const std::size_t arrow = equation.find("->");
  std::string_view left = equation.substr(0, arrow);
  std::vector<EinsumTerm> terms;
  while (true) {
    const std::size_t comma = left.find(',');
    BEVEL_TRY(EinsumTerm term, parse_term(left.substr(0, comma)));
    terms.push_back(std::move(term));
    if (comma == left.npos) break;
    left = left.substr(comma + 1);
  }
  if (terms.size() != ranks.size())
    return fail_input("attribute 'equation' has {} terms, expected one for each of {} inputs", terms.size(), ranks.size());
  EinsumEquation result;
  std::size_t ellipsis = 0;  // axes of the longest one
  for (std::size_t i = 0; i < terms.size(); ++i) {
    const bool open = std::find(terms[i].begin(), terms[i].end(), kEllipsisMark) != terms[i].end();
    const std::size_t labels = terms[i].size() - (open ? 1 : 0);
    if (ranks[i] > kMaxRank || (open ? labels > ranks[i] : labels != ranks[i]))
      return fail_operand(i, "operand", "has rank {}, but its term of 'equation' has {} labels", ranks[i], labels);
    ellipsis = std::max(ellipsis, open ? ranks[i] - labels : 0);
    result.inputs.push_back(spelled_out(terms[i], ranks[i] - labels));
  }
  if (arrow != equation.npos) {
    BEVEL_TRY(const EinsumTerm written, parse_term(equation.substr(arrow + 2)));
    result.output = spelled_out(written, ellipsis);
    for (std::size_t i = 0; i < result.output.size(); ++i) {
      const int label = result.output[i];
      const bool repeated = std::find(result.output.begin(), result.output.begin() + static_cast<std::ptrdiff_t>(i), label) !=
                            result.output.begin() + static_cast<std::ptrdiff_t>(i);
      const bool known = std::any_of(result.inputs.begin(), result.inputs.end(), [&](const EinsumTerm& term) {
        return std::find(term.begin(), term.end(), label) != term.end();
      });
      if (repeated || !known) {
        return fail_input("attribute 'equation' is '{}': each label of the output must stand in it once, and in an input",
                          printable(equation));
      }
    }
    return result;
  }
  // Implicit: the ellipsis, then the labels that occur once, by their codes.
  std::map<int, int> counts;
  for (const EinsumTerm& term : result.inputs) {
    for (const int label : term) ++counts[label];
  }
  for (std::size_t k = ellipsis; k-- > 0;) result.output.push_back(kEllipsisLabel - static_cast<int>(k));
  for (const auto& [label, count] : counts) {
    if (label > 0 && count == 1) result.output.push_back(label);
  }
  return result;
}

extern const OpRecord einsum_record = {
    .name = "Einsum", .since = 12, .max_inputs = -1, .infer = infer, .facts = facts, .evaluate = evaluate_einsum};

}  // namespace bevel::ops
