// Figures over samples: accuracy, SQNR, agreement. Sums run in sample order, in double, whatever the thread count.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "lib/ir/tensor.h"
#include "lib/support/result.h"

namespace bevel::data {

// Index of the largest element; of equal ones the lowest index wins; NaN never wins.
std::int64_t argmax(const Tensor& output);

// A labelled metric, fed one sample's first output after another. Percent for top-k (0..100), 0..1 for auc.
class Metric {
 public:
  virtual ~Metric() = default;
  virtual Status add(const Tensor& output, std::int64_t label) = 0;
  [[nodiscard]] virtual double value() const = 0;
  [[nodiscard]] virtual std::string name() const = 0;
};
// "top1", "topK" (top5, ...), "auc", "mse". Unknown names: exit 5.
Result<std::unique_ptr<Metric>> make_metric(const std::string& name);

// Signal to quantization noise of one output, pooled over samples: 10 log10(sum ref^2 / sum (ref - test)^2).
// Identical outputs give +infinity; a NaN or Inf on one side only gives -infinity. NaN equals NaN, Inf equals Inf.
class Comparison {
 public:
  void add(const Tensor& reference, const Tensor& test);
  [[nodiscard]] double sqnr_db() const;
  // Fraction of samples with the same argmax.
  [[nodiscard]] double agreement() const;
  [[nodiscard]] double max_abs_difference() const { return max_difference_; }
  [[nodiscard]] std::int64_t identical() const { return identical_; }  // elements with equal values
  [[nodiscard]] std::int64_t elements() const { return elements_; }
  [[nodiscard]] std::int64_t samples() const { return samples_; }

 private:
  double signal_ = 0, noise_ = 0, max_difference_ = 0;
  bool broken_ = false;
  std::int64_t agreeing_ = 0, samples_ = 0, identical_ = 0, elements_ = 0;
};

}  // namespace bevel::data
