// A layer with constant weights at work on rows of what it reads: what an error of its operand, or of its weights, becomes in its results.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "lib/data/measure.h"
#include "lib/ir/tensor.h"
#include "lib/ops/facts.h"
#include "lib/ops/product_view.h"

namespace bevel::passes {

// A layer's channels, or where it has more than so many, random combinations of them that stand for all, whose signs `seed` gives.
struct Projections {
  std::int64_t groups = 0, count = 0, k = 0;
  std::vector<double> vectors;                  // [groups][count][k]
  [[nodiscard]] const double* of(std::int64_t group, std::int64_t p) const { return vectors.data() + (group * count + p) * k; }
};

// What takes the place of a channel's weights before they are combined: its k elements, by index of ProductView.
using ChannelChange = std::function<void(std::int64_t group, std::int64_t channel, std::vector<double>& weights)>;

Projections project(const ops::ProductView& view, const Tensor& weights, std::int64_t most, std::uint64_t seed, const ChannelChange& change = {});

// The view of a reader whose rows were measured; nullopt where they are not rows of its products.
std::optional<ops::ProductView> view_of_rows(const ops::Facts& facts, const Tensor& weights, const data::Rows& rows);

// Sum of squares, about the mean where `centred`.
class Energy {
 public:
  void add(double value) {
    sum_ += value;
    squares_ += value * value;
    ++count_;
  }
  [[nodiscard]] double get(bool centred) const {
    const double squares = centred && count_ > 0 ? squares_ - sum_ * sum_ / count_ : squares_;
    return squares > 0 ? squares : 0;
  }

 private:
  double sum_ = 0, squares_ = 0, count_ = 0;
};

}  // namespace bevel::passes
