// fold-pad: padding by a constant becomes the padding of the convolution or pooling that reads it.
//
// A Pad node writes a larger copy of its operand to memory; a window operator pads by index arithmetic, for nothing. They
// are the same where the fill is what the window's border counts as:
// - convolution and average pooling: zeros;
// - maximum pooling, whose border is passed over: minus infinity, or any fill that no element lies below (zeros after a Relu;
//   the producer's facts say so), provided that each window sees an element.
//
// Limits: amounts must be known, none negative, none along batch or channels; the window must have explicit pads and round
// down; pooling keeps less padding than its kernel on each side, and undilated windows. Average pooling that leaves
// its own padding out of the mean stays. A Pad that others read stays for them.
//
//   p = Pad (x, pads)                  # int64[8] pads = {0, 0, 1, 1, 0, 0, 1, 1}
//   y = Conv <pads = [0, 0, 0, 0]> (p, w)
// becomes
//   y = Conv <pads = [1, 1, 1, 1]> (x, w)
#include <algorithm>
#include <limits>

#include "lib/ops/op.h"
#include "lib/ops/semantics.h"
#include "passes/simplify/rewrite.h"

namespace bevel::passes {
namespace {

// No element of the value lies below `fill`.
bool bounded_below(const Model& model, const Graph& graph, ValueId value, double fill) {
  if (fill == -std::numeric_limits<double>::infinity()) return true;
  const NodeId producer = graph.value(value).producer;
  return producer.valid() && graph.value(value).output_index == 0 &&
         ops::facts_of(model, graph, producer).value.result.low >= fill;
}

bool fold(Model& model, NodeId id) {
  Graph& graph = model.graph;
  const auto window = ops::as_sliding_window(model, graph, id);
  if (!window) return false;
  const NodeId producer = graph.value(window->input).producer;
  const auto padding = producer.valid() ? ops::as_padding(model, graph, producer) : std::nullopt;
  if (!padding || padding->begin.size() != window->begin.size() + 2) return false;
  const auto negative = [](std::int64_t amount) { return amount < 0; };
  if (std::any_of(padding->begin.begin(), padding->begin.end(), negative) ||
      std::any_of(padding->end.begin(), padding->end.end(), negative)) {
    return false;
  }
  for (std::size_t axis = 0; axis < 2; ++axis) {
    if (padding->begin[axis] != 0 || padding->end[axis] != 0) return false;
  }
  if (window->border == ops::SlidingWindow::Border::zero ? padding->fill != 0
                                                          : !bounded_below(model, graph, padding->input, padding->fill)) {
    return false;
  }
  std::vector<std::int64_t> begin, end;
  for (std::size_t i = 0; i < window->begin.size(); ++i) {
    std::int64_t first = 0, last = 0;
    if (__builtin_add_overflow(window->begin[i], padding->begin[i + 2], &first) ||
        __builtin_add_overflow(window->end[i], padding->end[i + 2], &last)) {
      return false;
    }
    if (window->needs_overlap &&
        (window->dilations[i] != 1 || first >= window->kernel[i] || last >= window->kernel[i])) {
      return false;
    }
    begin.push_back(first);
    end.push_back(last);
  }
  ops::set_window_padding(graph, id, begin, end);
  graph.set_operand(id, 0, padding->input);
  return true;
}

Result<PassStats> run(Model& model, const Options&, PassContext&) {
  PassStats stats;
  for (const NodeId id : model.graph.node_order()) stats.changes += fold(model, id);
  if (stats.changes > 0) model.graph.erase_dead();
  return stats;
}

}  // namespace

extern const PassRecord fold_pad = {
    "fold-pad", "fold padding into convolutions and pooling", Accuracy::exact, {}, run};

}  // namespace bevel::passes
