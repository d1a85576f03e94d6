// TreeEnsemble (ai.onnx.ml 5): decision trees over rows of features. Inner nodes and leaves lie in two parallel lists; a tree is
// what its root reaches.
#include <algorithm>
#include <cmath>
#include <numbers>

#include "lib/ops/tensor_family.h"
#include "lib/runtime/bevel_math.h"

namespace bevel::ops {
namespace {

enum class Branch : std::uint8_t { leq, lt, gte, gt, eq, neq, member };
enum class Aggregate : std::uint8_t { average, sum, min, max };
enum class Transform : std::uint8_t { none, softmax, logistic, softmax_zero, probit };

struct TreeNode {
  Branch branch = Branch::leq;
  bool true_leaf = false, false_leaf = false, missing_is_true = false;
  std::int64_t feature = 0, on_true = 0, on_false = 0;
  double split = 0;
  std::vector<double> members;  // sorted
};
struct Leaf {
  std::int64_t target = 0;
  double weight = 0;
};
struct Ensemble {
  std::vector<TreeNode> nodes;
  std::vector<Leaf> leaves;
  std::vector<std::int64_t> roots;
  std::int64_t targets = 1, features = 0;  // features: one more than the largest in use
  Aggregate aggregate = Aggregate::sum;
  Transform transform = Transform::none;
};

// A list attribute of exactly `count` entries, each in [0, limit).
Result<std::vector<std::int64_t>> indices(const Node& node, std::string_view name, std::size_t count, std::int64_t limit) {
  BEVEL_TRY(auto values, attr_ints(node, name));
  if (values.size() != count) return fail_input("attribute '{}' has {} entries, expected {}", name, values.size(), count);
  for (const std::int64_t value : values) {
    if (value < 0 || value >= limit) return fail_input("attribute '{}' holds {}, expected 0 to {}", name, value, limit - 1);
  }
  return values;
}

Result<std::vector<double>> numbers(const Node& node, std::string_view name, std::size_t count) {
  const Tensor* tensor = attr_tensor(node, name);
  if (tensor == nullptr) return fail_input("attribute '{}' is missing or no tensor", name);
  if (!is_plain_float(tensor->dtype())) return fail_dtype(tensor->dtype(), name);
  if (tensor->size() != static_cast<std::int64_t>(count)) return fail_input("attribute '{}' has {} entries, expected {}", name, tensor->size(), count);
  return to_doubles(*tensor);
}

Result<std::int64_t> target_count(const Node& node) {
  BEVEL_TRY(const std::int64_t targets, attr_int(node, "n_targets", 1));
  if (targets < 1) return fail_input("attribute 'n_targets' is {}, expected 1 or more", targets);
  return targets;
}

// One set per node with Branch::member, in the order of the nodes, each ended by a NaN.
Status read_members(const Node& node, Ensemble& ensemble) {
  const Tensor* tensor = attr_tensor(node, "membership_values");
  std::vector<double> values;
  if (tensor != nullptr) {
    if (!is_plain_float(tensor->dtype())) return fail_dtype(tensor->dtype(), "membership_values");
    values = to_doubles(*tensor);
  }
  std::size_t at = 0;
  for (TreeNode& tree_node : ensemble.nodes) {
    if (tree_node.branch != Branch::member) continue;
    while (at < values.size() && values[at] == values[at]) tree_node.members.push_back(values[at++]);
    if (at == values.size()) return fail_input("attribute 'membership_values' ends before the sets of all BRANCH_MEMBER nodes");
    ++at;
    std::sort(tree_node.members.begin(), tree_node.members.end());
  }
  if (at != values.size()) return fail_input("attribute 'membership_values' holds more sets than there are BRANCH_MEMBER nodes");
  return {};
}

Result<Ensemble> read_ensemble(const Node& node) {
  Ensemble ensemble;
  BEVEL_TRY(ensemble.targets, target_count(node));
  BEVEL_TRY(const std::int64_t aggregate, attr_int(node, "aggregate_function", 1));
  BEVEL_TRY(const std::int64_t transform, attr_int(node, "post_transform", 0));
  if (aggregate < 0 || aggregate > 3) return fail_input("attribute 'aggregate_function' is {}, expected 0 to 3", aggregate);
  if (transform < 0 || transform > 4) return fail_input("attribute 'post_transform' is {}, expected 0 to 4", transform);
  ensemble.aggregate = static_cast<Aggregate>(aggregate);
  ensemble.transform = static_cast<Transform>(transform);
  const Tensor* modes = attr_tensor(node, "nodes_modes");
  if (modes == nullptr || modes->dtype() != DType::uint8) return fail_input("attribute 'nodes_modes' is missing or no tensor of uint8");
  const auto count = static_cast<std::size_t>(modes->size());
  BEVEL_TRY(const auto leaf_targets, attr_ints(node, "leaf_targetids"));
  const auto leaf_count = static_cast<std::int64_t>(leaf_targets.size());
  BEVEL_TRY(const auto targets, indices(node, "leaf_targetids", leaf_targets.size(), ensemble.targets));
  BEVEL_TRY(const auto weights, numbers(node, "leaf_weights", leaf_targets.size()));
  for (std::size_t i = 0; i < targets.size(); ++i) ensemble.leaves.push_back({targets[i], weights[i]});
  BEVEL_TRY(const auto features, indices(node, "nodes_featureids", count, INT64_MAX));
  BEVEL_TRY(const auto splits, numbers(node, "nodes_splits", count));
  BEVEL_TRY(const auto true_leaves, indices(node, "nodes_trueleafs", count, 2));
  BEVEL_TRY(const auto false_leaves, indices(node, "nodes_falseleafs", count, 2));
  BEVEL_TRY(const auto on_true, indices(node, "nodes_truenodeids", count, INT64_MAX));
  BEVEL_TRY(const auto on_false, indices(node, "nodes_falsenodeids", count, INT64_MAX));
  const bool missing_stated = has_attr(node, "nodes_missing_value_tracks_true");
  BEVEL_TRY(const auto missing, indices(node, "nodes_missing_value_tracks_true", missing_stated ? count : 0, 2));
  ensemble.nodes.resize(count);
  for (std::size_t i = 0; i < count; ++i) {
    TreeNode& tree_node = ensemble.nodes[i];
    const std::int64_t mode = modes->as_int64(static_cast<std::int64_t>(i));
    if (mode > 6) return fail_input("attribute 'nodes_modes' holds {}, expected 0 to 6", mode);
    tree_node = {static_cast<Branch>(mode), true_leaves[i] == 1, false_leaves[i] == 1, missing_stated && missing[i] == 1,
                 features[i], on_true[i], on_false[i], splits[i], {}};
    const auto limit = [&](bool leaf) { return leaf ? leaf_count : static_cast<std::int64_t>(count); };
    if (on_true[i] >= limit(tree_node.true_leaf) || on_false[i] >= limit(tree_node.false_leaf)) {
      return fail_input("node {} of the trees leads to {} and {}, but there are {} nodes and {} leaves", i, on_true[i], on_false[i], count, leaf_count);
    }
    ensemble.features = std::max(ensemble.features, features[i] + 1);
  }
  BEVEL_TRY(const auto roots, attr_ints(node, "tree_roots"));
  BEVEL_TRY(ensemble.roots, indices(node, "tree_roots", roots.size(), static_cast<std::int64_t>(count)));
  BEVEL_TRY_STATUS(read_members(node, ensemble));
  return ensemble;
}

bool holds(const TreeNode& node, double value) {
  if (value != value && node.missing_is_true) return true;
  switch (node.branch) {
    case Branch::leq: return value <= node.split;
    case Branch::lt: return value < node.split;
    case Branch::gte: return value >= node.split;
    case Branch::gt: return value > node.split;
    case Branch::eq: return value == node.split;
    case Branch::neq: return value != node.split;
    case Branch::member: return value == value && std::binary_search(node.members.begin(), node.members.end(), value);
  }
  return false;
}

// The leaves that rows of features end in. Trees may share nodes (converters lead all values of a set to one child), and a node
// leads all of them to the same leaf: it is asked once per row, so that a row takes no more steps than there are nodes and roots.
class Descent {
 public:
  explicit Descent(const Ensemble& ensemble) : ensemble_(ensemble), seen_(ensemble.nodes.size()) {}

  Result<const Leaf*> leaf_of(std::int64_t root, std::int64_t row, const double* features) {
    path_.clear();
    std::int64_t at = root;
    for (bool is_leaf = false; !is_leaf;) {
      Seen& seen = seen_[static_cast<std::size_t>(at)];
      if (seen.row == row) {
        if (seen.leaf < 0) return fail_input("the tree whose root is node {} goes round in a circle", root);
        at = seen.leaf;
        break;
      }
      seen = {row, -1};
      path_.push_back(static_cast<std::size_t>(at));
      const TreeNode& node = ensemble_.nodes[static_cast<std::size_t>(at)];
      const bool taken = holds(node, features[node.feature]);
      is_leaf = taken ? node.true_leaf : node.false_leaf;
      at = taken ? node.on_true : node.on_false;
    }
    for (const std::size_t passed : path_) seen_[passed].leaf = at;
    return &ensemble_.leaves[static_cast<std::size_t>(at)];
  }

 private:
  struct Seen {
    std::int64_t row = -1;   // the last that came by
    std::int64_t leaf = -1;  // where it ended; -1 while it is on its way
  };
  const Ensemble& ensemble_;
  std::vector<Seen> seen_;  // per node
  std::vector<std::size_t> path_;
};

// The quantile of the normal distribution: sqrt(2) erfinv(2p - 1), from Winitzki's closed form (2008) by Newton's steps.
double probit(double p) {
  const double x = 2 * p - 1;
  if (!(x > -1 && x < 1)) return x == 1 ? HUGE_VAL : x == -1 ? -HUGE_VAL : std::nan("");
  constexpr double kA = 0.147;
  const double log = bvl_log((1 - x) * (1 + x)), half = 2 / (std::numbers::pi * kA) + log / 2;
  double y = std::copysign(std::sqrt(std::sqrt(half * half - log / kA) - half), x);
  for (int step = 0; step < 4; ++step) {
    const double slope = 2 / std::sqrt(std::numbers::pi) * bvl_exp(-y * y);
    if (slope == 0) break;
    y -= (bvl_erf(y) - x) / slope;
  }
  return std::numbers::sqrt2 * y;
}

// In place, over the targets of one row.
void transform_row(Transform transform, std::span<double> row) {
  switch (transform) {
    case Transform::none: return;
    case Transform::logistic:
      for (double& value : row) value = 1 / (1 + bvl_exp(-value));
      return;
    case Transform::probit:
      for (double& value : row) value = probit(value);
      return;
    case Transform::softmax:
    case Transform::softmax_zero: {
      // softmax_zero leaves out the targets that no leaf voted for: a score of 0 stays 0.
      const double largest = *std::max_element(row.begin(), row.end());
      double sum = 0;
      for (double& value : row) {
        if (transform == Transform::softmax_zero && value == 0) continue;
        value = bvl_exp(value - largest);
        sum += value;
      }
      if (sum == 0) return;
      for (double& value : row) value /= sum;
      return;
    }
  }
}

Status infer(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "X", 2, 2));
  BEVEL_TRY(const std::int64_t targets, target_count(ctx.node()));
  Shape shape = unknown_dims(2);
  if (input_shape(ctx, 0).has_rank) shape.dims[0] = input_shape(ctx, 0).dims[0];
  shape.dims[1] = Dim(targets);
  set_output_like_input(ctx, std::move(shape));
  return {};
}

Outputs evaluate(const EvalContext& ctx) {
  const Tensor& x = ctx.tensor(0);
  if (!is_plain_float(x.dtype())) return fail_dtype(x.dtype(), "the input");
  if (x.rank() != 2) return fail_operand(0, "X", "rank is {}, expected 2", x.rank());
  BEVEL_TRY(const Ensemble ensemble, read_ensemble(ctx.node()));
  if (x.dim(0) > 0 && !ensemble.roots.empty() && ensemble.features > x.dim(1)) {
    return fail_operand(0, "X", "has {} features, but the trees read {}", x.dim(1), ensemble.features);
  }
  const Dims dims{x.dim(0), ensemble.targets};
  BEVEL_TRY_STATUS(ctx.reserve(DType::float64, dims));
  BEVEL_TRY_STATUS(ctx.reserve(DType::float64, x.dims()));
  const std::vector<double> features = to_doubles(x);
  const auto targets = static_cast<std::size_t>(ensemble.targets);
  std::vector<double> scores(static_cast<std::size_t>(*element_count(dims)));
  if (scores.empty()) return std::vector<Datum>{Tensor::zeros(x.dtype(), dims)};  // however many targets there are
  std::vector<bool> voted(targets);
  Descent descent(ensemble);
  for (std::int64_t row = 0; row < x.dim(0); ++row) {
    const std::span<double> score(scores.data() + static_cast<std::size_t>(row) * targets, targets);
    std::fill(voted.begin(), voted.end(), false);
    for (const std::int64_t root : ensemble.roots) {
      BEVEL_TRY(const Leaf* leaf, descent.leaf_of(root, row, features.data() + row * x.dim(1)));
      const auto target = static_cast<std::size_t>(leaf->target);
      double& value = score[target];
      if (ensemble.aggregate == Aggregate::min && voted[target]) value = std::min(value, leaf->weight);
      else if (ensemble.aggregate == Aggregate::max && voted[target]) value = std::max(value, leaf->weight);
      else value += leaf->weight;
      voted[target] = true;
    }
    if (ensemble.aggregate == Aggregate::average) {
      for (double& value : score) value /= static_cast<double>(std::max<std::size_t>(ensemble.roots.size(), 1));
    }
    transform_row(ensemble.transform, score);
  }
  return std::vector<Datum>{from_doubles(x.dtype(), dims, scores)};
}

}  // namespace

extern const OpRecord tree_ensemble_record{.domain = "ai.onnx.ml", .name = "TreeEnsemble", .since = 5, .infer = infer,
                                           .evaluate = evaluate};

}  // namespace bevel::ops
