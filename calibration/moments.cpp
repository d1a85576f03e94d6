#include "calibration/moments.h"

#include <algorithm>
#include <cmath>

#include "calibration/integer_products.h"
#include "lib/ops/op.h"

namespace bevel::calibration {
namespace {

// Sums of one operand take no more memory than this.
constexpr std::uint64_t kMostSumBytes = std::uint64_t{2} << 30;
// Features of a tile of sums: two blocks of rows fit into the first cache.
constexpr std::int64_t kTile = 32;

template <typename Body>
void with_floats(const Tensor& tensor, Body body) {
  if (tensor.dtype() == DType::float32) body(tensor.values<float>());
  else body(std::span<const float>(tensor.as_floats()));
}

}  // namespace

int grid_exponent(float magnitude) {
  if (magnitude == 0) return 0;
  int exponent = 0;
  std::frexp(static_cast<double>(magnitude), &exponent);  // exact
  exponent -= 11;
  return static_cast<double>(magnitude) <= std::ldexp(static_cast<double>(kLargestInteger), exponent) ? exponent : exponent + 1;
}

std::int16_t on_grid(float value, int exponent) {
  return static_cast<std::int16_t>(std::nearbyint(std::ldexp(static_cast<double>(value), -exponent)));
}

Result<OperandRows> OperandRows::create(const Model& model, const data::OperandKey& key) {
  OperandRows rows;
  rows.model_ = &model;
  rows.key_ = key;
  rows.node_ = model.graph.find_node(key.node);
  if (!rows.node_.valid()) return fail_input("the model has no node '{}' to measure an operand of", printable(key.node));
  const Node& node = model.graph.node(rows.node_);
  if (key.operand < 0 || key.operand > 1 || static_cast<std::size_t>(key.operand) >= node.inputs.size() ||
      !node.inputs[static_cast<std::size_t>(key.operand)].valid() ||
      ops::facts_of(model, model.graph, rows.node_).space.kind != ops::OpKind::bilinear) {
    return fail_input("node '{}' ({}): operand {} brings no rows to products; moments are of operands 0 and 1 of convolutions and matrix products",
                      printable(key.node), printable(node.op_type), key.operand);
  }
  rows.value_ = model.graph.value(node.inputs[static_cast<std::size_t>(key.operand)]).name;
  rows.spaces_ = std::make_shared<Spaces>();
  return rows;
}

Result<ops::GatheredRows> OperandRows::gather(const Tensor& tensor, std::int64_t positions, std::uint64_t seed) const {
  ops::IterationSpace space;
  {
    const std::scoped_lock lock(spaces_->mutex);
    const auto found = spaces_->known.find(tensor.dims());
    if (found != spaces_->known.end()) space = found->second;
  }
  if (space.loops.empty()) {
    const auto operand = static_cast<std::size_t>(key_.operand);
    space = ops::space_at(*model_, model_->graph, node_, operand, tensor.dims());
    if (operand == 1) space = ops::with_operands_swapped(std::move(space));
    constexpr std::size_t kKnownShapes = 64;
    const std::scoped_lock lock(spaces_->mutex);
    if (spaces_->known.size() < kKnownShapes) spaces_->known.emplace(tensor.dims(), space);
  }
  auto rows = ops::gather_rows(space, tensor, positions, seed);
  if (!rows) {
    return fail_input("{} ('{}') of shape {} cannot be taken apart into the rows of a plain sum of products", place(), printable(value_),
                      to_string(Type::tensor(tensor.dtype(), tensor.dims())));
  }
  return std::move(*rows);
}

Status MomentSums::see(std::size_t sample, const ops::GatheredRows& rows, const ops::GatheredRows* reference) {
  const auto largest = [](const ops::GatheredRows& from) {
    std::vector<float> by_group(static_cast<std::size_t>(from.groups), 0.0f);
    const auto size = static_cast<std::size_t>(from.rows * from.k);
    for (std::size_t g = 0; g < by_group.size(); ++g)
      for (std::size_t i = 0; i < size; ++i) by_group[g] = std::max(by_group[g], std::fabs(from.values[g * size + i]));
    return by_group;
  };
  const auto raise = [](std::vector<float>& to, const std::vector<float>& by) {
    to.resize(std::max(to.size(), by.size()), 0.0f);
    for (std::size_t g = 0; g < by.size(); ++g) to[g] = std::max(to[g], by[g]);
  };
  if (reference != nullptr && (reference->groups != rows.groups || reference->rows != rows.rows || reference->k != rows.k)) {
    return fail_input("the model's rows are {} groups of {} x {}, the reference's {} of {} x {}", rows.groups, rows.rows, rows.k,
                      reference->groups, reference->rows, reference->k);
  }
  const std::vector<float> own = largest(rows), other = reference != nullptr ? largest(*reference) : std::vector<float>();
  const std::scoped_lock lock(mutex_);
  shapes_[sample] = {rows.groups, rows.rows, rows.k};
  raise(largest_, own);
  raise(largest_reference_, other);
  return {};
}

Status MomentSums::start(const std::string& place, bool with_reference) {
  with_reference_ = with_reference;
  if (shapes_.empty()) return fail_input("{} was never computed", place);
  const Shape& first = shapes_.begin()->second;
  for (const auto& [sample, shape] : shapes_) {
    if (shape.groups != first.groups || shape.k != first.k) {
      return fail_input("{} has rows of {} groups of {} elements in sample {}, but of {} of {} in the first: their moments cannot be summed", place,
                        shape.groups, shape.k, sample, first.groups, first.k);
    }
  }
  groups_ = first.groups;
  k_ = first.k;
  std::uint64_t bytes = sizeof(std::int64_t) * (with_reference ? 2 : 1);
  for (const std::int64_t factor : {groups_, k_, k_}) {
    if (__builtin_mul_overflow(bytes, static_cast<std::uint64_t>(factor), &bytes) || bytes > kMostSumBytes) {
      return fail_input("{} has {} groups of rows of {} elements: their second moments do not fit into {} bytes", place, groups_, k_, kMostSumBytes);
    }
  }
  blocks_ = (k_ + kTile - 1) / kTile;
  moments_.resize(static_cast<std::size_t>(groups_));
  for (std::size_t g = 0; g < moments_.size(); ++g) {
    data::SecondMoment& moment = moments_[g];
    moment.grid_exponent = grid_exponent(largest_[g]);
    moment.sum.resize(static_cast<std::size_t>(k_));
    moment.gram.resize(static_cast<std::size_t>(k_ * k_));
    if (!with_reference) continue;
    moment.reference_exponent = grid_exponent(largest_reference_[g]);
    moment.reference_sum.resize(static_cast<std::size_t>(k_));
    moment.cross.resize(static_cast<std::size_t>(k_ * k_));
  }
  return {};
}

std::int64_t MomentSums::elements_of(std::size_t sample) const {
  const auto found = shapes_.find(sample);
  return found == shapes_.end() ? 0 : found->second.groups * found->second.rows * found->second.k * (with_reference_ ? 2 : 1);
}

void MomentSums::make_room(std::span<const std::size_t> samples) {
  begin_.clear();
  std::size_t rows = 0;
  for (const std::size_t sample : samples) {
    const auto found = shapes_.find(sample);
    if (found == shapes_.end()) continue;
    begin_[sample] = rows;
    rows += static_cast<std::size_t>(found->second.rows);
  }
  length_ = (rows + kLane - 1) / kLane * kLane;
  const std::size_t size = static_cast<std::size_t>(groups_ * k_) * length_;
  rows_.assign(size, 0);
  if (with_reference_) reference_rows_.assign(size, 0);
  for (data::SecondMoment& moment : moments_) moment.rows += static_cast<std::int64_t>(rows);
}

void MomentSums::put(std::size_t sample, const ops::GatheredRows& rows, const ops::GatheredRows* reference) {
  const auto begin = begin_.find(sample);
  if (begin == begin_.end()) return;
  const auto k = static_cast<std::size_t>(k_), count = static_cast<std::size_t>(rows.rows);
  const auto place = [&](const ops::GatheredRows& from, std::vector<std::int16_t>& into, auto exponent_of) {
    for (std::size_t g = 0; g < moments_.size(); ++g) {
      // Exact but for the one rounding: a power of two in double reaches every exponent of a float.
      const double factor = std::ldexp(1.0, -exponent_of(moments_[g]));
      for (std::size_t r = 0; r < count; ++r) {
        const float* row = from.values.data() + (g * count + r) * k;
        std::int16_t* out = into.data() + g * k * length_ + begin->second + r;
        for (std::size_t i = 0; i < k; ++i) out[i * length_] = static_cast<std::int16_t>(std::nearbyint(static_cast<double>(row[i]) * factor));
      }
    }
  };
  place(rows, rows_, [](const data::SecondMoment& moment) { return moment.grid_exponent; });
  if (with_reference_ && reference != nullptr)
    place(*reference, reference_rows_, [](const data::SecondMoment& moment) { return moment.reference_exponent; });
}

// By group, then by block of rows of the gram and of the cross, of which one tile is a whole band.
std::size_t MomentSums::tiles() const { return static_cast<std::size_t>(groups_ * blocks_); }

void MomentSums::add_tile(std::size_t tile) {
  const std::int64_t g = static_cast<std::int64_t>(tile) / blocks_, first = static_cast<std::int64_t>(tile) % blocks_ * kTile;
  const auto k = static_cast<std::size_t>(k_);
  const auto i0 = static_cast<std::size_t>(first), count = std::min(static_cast<std::size_t>(kTile), k - i0);
  data::SecondMoment& moment = moments_[static_cast<std::size_t>(g)];
  const std::int16_t* x = rows_.data() + static_cast<std::size_t>(g) * k * length_;
  const std::int16_t* r = with_reference_ ? reference_rows_.data() + static_cast<std::size_t>(g) * k * length_ : nullptr;
  for (std::size_t i = i0; i < i0 + count; ++i) {
    for (std::size_t at = 0; at < length_; ++at) {
      moment.sum[i] += x[i * length_ + at];
      if (r != nullptr) moment.reference_sum[i] += r[i * length_ + at];
    }
  }
  for (std::size_t j0 = 0; j0 < k; j0 += kTile) {
    const std::size_t width = std::min(static_cast<std::size_t>(kTile), k - j0);
    if (j0 >= i0) add_products(x + i0 * length_, count, x + j0 * length_, width, length_, length_, j0 == i0, moment.gram.data() + i0 * k + j0, k);
    if (r != nullptr) add_products(r + i0 * length_, count, x + j0 * length_, width, length_, length_, false, moment.cross.data() + i0 * k + j0, k);
  }
}

void MomentSums::end_batch() {
  rows_.clear();
  reference_rows_.clear();
}

std::vector<data::SecondMoment> MomentSums::take() {
  const auto k = static_cast<std::size_t>(k_);
  for (data::SecondMoment& moment : moments_)
    for (std::size_t i = 0; i < k; ++i)
      for (std::size_t j = 0; j < i; ++j) moment.gram[i * k + j] = moment.gram[j * k + i];
  return std::move(moments_);
}

Result<std::pair<std::int64_t, std::int64_t>> ChannelSums::extent_and_inner(const Tensor& tensor) const {
  const auto rank = static_cast<int>(tensor.rank());
  const int axis = key_.axis < 0 ? key_.axis + rank : key_.axis;
  if (axis < 0 || axis >= rank) return fail_input("value \"{}\" has rank {}, so no axis {}", printable(key_.value), rank, key_.axis);
  std::int64_t inner = 1;
  for (std::size_t i = static_cast<std::size_t>(axis) + 1; i < tensor.rank(); ++i) inner *= tensor.dim(i);
  return std::pair{tensor.dim(static_cast<std::size_t>(axis)), inner};
}

Status ChannelSums::see(std::size_t sample, const Tensor& tensor) {
  BEVEL_TRY(const auto layout, extent_and_inner(tensor));
  const auto [extent, inner] = layout;
  std::vector<data::ChannelStatistics> own(static_cast<std::size_t>(extent));
  with_floats(tensor, [&, extent = extent, inner = inner](std::span<const float> values) {
    for (std::size_t at = 0, channel = 0; at < values.size(); at += static_cast<std::size_t>(inner), channel = (channel + 1) % own.size()) {
      data::ChannelStatistics& statistics = own[channel];
      for (std::int64_t i = 0; i < inner; ++i) {
        const float x = values[at + static_cast<std::size_t>(i)];
        statistics.minimum = statistics.count == 0 ? x : std::min(statistics.minimum, x);
        statistics.maximum = statistics.count == 0 ? x : std::max(statistics.maximum, x);
        ++statistics.count;
      }
    }
  });
  const std::scoped_lock lock(mutex_);
  extents_[sample] = extent;
  channels_.resize(std::max(channels_.size(), own.size()));
  for (std::size_t c = 0; c < own.size(); ++c) {
    data::ChannelStatistics& into = channels_[c];
    if (own[c].count == 0) continue;
    // -0 and 0 are one: which of them stays must not hang on the order.
    into.minimum = (into.count == 0 ? own[c].minimum : std::min(into.minimum, own[c].minimum)) + 0.0f;
    into.maximum = (into.count == 0 ? own[c].maximum : std::max(into.maximum, own[c].maximum)) + 0.0f;
    into.count += own[c].count;
  }
  return {};
}

Status ChannelSums::start() {
  if (extents_.empty()) return fail_input("value \"{}\" was never computed, or is empty", printable(key_.value));
  for (const auto& [sample, extent] : extents_) {
    if (extent != extents_.begin()->second) {
      return fail_input("value \"{}\" has {} channels along axis {} in sample {}, but {} in the first", printable(key_.value), extent, key_.axis,
                        sample, extents_.begin()->second);
    }
  }
  for (data::ChannelStatistics& channel : channels_)
    channel.grid_exponent = grid_exponent(std::max(std::fabs(channel.minimum), std::fabs(channel.maximum)));
  return {};
}

Status ChannelSums::add(const Tensor& tensor) {
  BEVEL_TRY(const auto layout, extent_and_inner(tensor));
  const std::int64_t inner = layout.second;
  std::vector<std::pair<std::int64_t, std::int64_t>> own(channels_.size());
  with_floats(tensor, [&](std::span<const float> values) {
    for (std::size_t at = 0, channel = 0; at < values.size(); at += static_cast<std::size_t>(inner), channel = (channel + 1) % own.size()) {
      const double factor = std::ldexp(1.0, -channels_[channel].grid_exponent);
      for (std::int64_t i = 0; i < inner; ++i) {
        const auto q = static_cast<std::int64_t>(std::nearbyint(static_cast<double>(values[at + static_cast<std::size_t>(i)]) * factor));
        own[channel].first += q;
        own[channel].second += q * q;
      }
    }
  });
  const std::scoped_lock lock(mutex_);
  for (std::size_t c = 0; c < own.size(); ++c) {
    channels_[c].sum += own[c].first;
    channels_[c].square_sum += own[c].second;
  }
  return {};
}

}  // namespace bevel::calibration
