// Symbolic dimensions bound to numbers, by symbol or by an input's whole shape, in the graph and its subgraphs.
#include <algorithm>

#include "lib/ops/family.h"

namespace bevel::ops {
namespace {

constexpr int kMaxDepth = 64;

void bind_symbol(Type& type, const std::string& symbol, std::int64_t value) {
  for (Dim& dim : type.shape.dims) {
    if (dim.named() && dim.symbol == symbol) {
      dim.value = value;
      dim.symbol.clear();
    }
  }
  if (type.element) {
    Type element = *type.element;
    bind_symbol(element, symbol, value);
    type.element = std::make_shared<const Type>(std::move(element));
  }
}

bool mentions(const Type& type, const std::string& symbol) {
  if (type.element && mentions(*type.element, symbol)) return true;
  return std::any_of(type.shape.dims.begin(), type.shape.dims.end(),
                     [&](const Dim& dim) { return dim.named() && dim.symbol == symbol; });
}

// Returns how many values mentioned the symbol.
std::size_t bind_in_graph(Graph& graph, const std::string& symbol, std::int64_t value, int depth) {
  std::size_t bound = 0;
  for (const ValueId id : graph.value_ids()) {
    if (!mentions(graph.value(id).type, symbol)) continue;
    Type type = graph.value(id).type;
    bind_symbol(type, symbol, value);
    graph.set_type(id, std::move(type));
    ++bound;
  }
  if (depth >= kMaxDepth) return bound;
  const auto bind_inner = [&](const GraphPtr& inner) -> GraphPtr {
    if (!inner) return inner;
    auto copy = std::make_shared<Graph>(*inner);
    bound += bind_in_graph(*copy, symbol, value, depth + 1);
    return copy;
  };
  for (const NodeId id : graph.node_order()) {
    for (Attribute& attribute : graph.mutable_node(id).attributes) {
      if (auto* one = std::get_if<GraphPtr>(&attribute.value)) *one = bind_inner(*one);
      if (auto* list = std::get_if<std::vector<GraphPtr>>(&attribute.value)) {
        for (GraphPtr& inner : *list) inner = bind_inner(inner);
      }
    }
  }
  return bound;
}

}  // namespace

Status bind_shapes(Model& model, std::span<const ShapeBinding> bindings) {
  Graph& graph = model.graph;
  for (const ShapeBinding& binding : bindings) {
    for (const std::int64_t extent : binding.dims) {
      if (extent < 0) {
        return fail(ExitCode::usage, "shape of '{}': {} is not an extent", printable(binding.name), extent);
      }
    }
    const ValueId input = graph.find_value(binding.name);
    if (!input.valid() || !graph.value(input).is_input) {
      if (binding.dims.size() != 1) {
        return fail(ExitCode::usage,
                    "shape of '{}': the model has no input of this name, and a symbol takes one extent, not {}",
                    printable(binding.name), binding.dims.size());
      }
      if (bind_in_graph(graph, binding.name, binding.dims[0], 0) == 0) {
        return fail(ExitCode::usage,
                    "shape of '{}': the model has neither an input nor a symbolic dimension of this name",
                    printable(binding.name));
      }
      continue;
    }
    const Type declared = graph.value(input).type;
    const Shape wanted = Shape::of(binding.dims);
    if (declared.kind != Type::Kind::tensor && declared.kind != Type::Kind::unknown) {
      return fail(ExitCode::usage, "shape of '{}': this input is not a tensor", printable(binding.name));
    }
    if (auto merged = unify_shapes(declared.shape, wanted); !merged) {
      return fail(ExitCode::usage, "shape of '{}': the model declares {}, which {} contradicts ({})",
                  printable(binding.name), bevel::to_string(declared), to_string(binding.dims), merged.error().message);
    }
    for (std::size_t i = 0; i < declared.shape.dims.size(); ++i) {
      const Dim now = graph.value(input).type.shape.dims[i];  // an earlier axis may have bound the same symbol
      if (now.known() && now.value != binding.dims[i]) {
        return fail(ExitCode::usage, "shape of '{}': axis {} is both {} and {}", printable(binding.name), i, now.value,
                    binding.dims[i]);
      }
      if (now.named()) bind_in_graph(graph, now.symbol, binding.dims[i], 0);
    }
    Type type = graph.value(input).type;
    type.kind = Type::Kind::tensor;
    type.shape = wanted;
    graph.set_type(input, std::move(type));
  }
  return {};
}

}  // namespace bevel::ops
