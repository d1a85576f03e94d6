#include "lib/data/metrics.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include "lib/support/check.h"

namespace bevel::data {
namespace {

// Calls visit(index, value as double); float32, the usual case, without a call per element.
template <typename Visit>
void for_each_value(const Tensor& tensor, const Visit& visit) {
  if (tensor.dtype() == DType::float32) {
    std::int64_t index = 0;
    for (const float value : tensor.values<float>()) visit(index++, static_cast<double>(value));
    return;
  }
  for (std::int64_t index = 0; index < tensor.size(); ++index) visit(index, tensor.as_double(index));
}

class TopK final : public Metric {
 public:
  explicit TopK(std::int64_t k) : k_(k) {}
  Status add(const Tensor& output, std::int64_t label) override {
    if (label < 0 || label >= output.size()) {
      return fail_input("label {} is outside the {} classes of the model's output", label, output.size());
    }
    if (k_ >= output.size()) {
      return fail_input("the metric top{} on an output of {} class(es) holds for every answer; expected a K below the number of classes",
                        k_, output.size());
    }
    // The rank of the label: how many classes come before it (greater, or equal with a lower index; NaN never does).
    const double score = output.as_double(label);
    std::int64_t before = std::isnan(score) ? k_ : 0;
    for_each_value(output, [&](std::int64_t index, double value) {
      before += value > score || (value == score && index < label);
    });
    correct_ += before < k_;
    ++samples_;
    return {};
  }
  [[nodiscard]] double value() const override {
    return samples_ == 0 ? 0 : 100.0 * static_cast<double>(correct_) / static_cast<double>(samples_);
  }
  [[nodiscard]] std::string name() const override { return fmt::format("top{}", k_); }

 private:
  std::int64_t k_, correct_ = 0, samples_ = 0;
};

// Area under the ROC curve as the Mann-Whitney statistic, ties counted half (Hanley and McNeil, Radiology 143, 1982).
class Auc final : public Metric {
 public:
  Status add(const Tensor& output, std::int64_t label) override {
    if (label != 0 && label != 1) return fail_input("label {} is not 0 or 1, as the metric auc needs", label);
    if (output.size() != 1 && output.size() != 2) {
      return fail_input("the metric auc needs an output of one score, or of two classes; this one has {} elements",
                        output.size());
    }
    const double score = output.as_double(output.size() - 1);
    if (std::isnan(score)) return fail_input("a score is NaN, which the metric auc cannot rank");
    scores_.emplace_back(score, label);
    return {};
  }
  [[nodiscard]] double value() const override {
    auto sorted = scores_;
    std::sort(sorted.begin(), sorted.end());
    double wins = 0, negatives = 0, positives = 0;
    for (std::size_t i = 0; i < sorted.size();) {
      double tied[2] = {0, 0};
      const double score = sorted[i].first;
      for (; i < sorted.size() && sorted[i].first == score; ++i) tied[sorted[i].second] += 1;
      wins += tied[1] * (negatives + 0.5 * tied[0]);
      negatives += tied[0];
      positives += tied[1];
    }
    return negatives == 0 || positives == 0 ? 0.5 : wins / (negatives * positives);
  }
  [[nodiscard]] std::string name() const override { return "auc"; }

 private:
  std::vector<std::pair<double, std::int64_t>> scores_;
};

class MeanSquaredError final : public Metric {
 public:
  Status add(const Tensor& output, std::int64_t label) override {
    if (output.size() != 1) {
      return fail_input("the metric mse compares one number with the label; this output has {} elements",
                        output.size());
    }
    const double difference = output.as_double(0) - static_cast<double>(label);
    sum_ += difference * difference;
    ++samples_;
    return {};
  }
  [[nodiscard]] double value() const override { return samples_ == 0 ? 0 : sum_ / static_cast<double>(samples_); }
  [[nodiscard]] std::string name() const override { return "mse"; }

 private:
  double sum_ = 0;
  std::int64_t samples_ = 0;
};

}  // namespace

std::int64_t argmax(const Tensor& output) {
  std::int64_t best = 0;
  double best_value = std::numeric_limits<double>::quiet_NaN();
  for_each_value(output, [&](std::int64_t index, double value) {
    if (std::isnan(value)) return;
    if (std::isnan(best_value) || value > best_value) {
      best = index;
      best_value = value;
    }
  });
  return best;
}

Result<std::unique_ptr<Metric>> make_metric(const std::string& name) {
  if (name == "auc") return std::make_unique<Auc>();
  if (name == "mse") return std::make_unique<MeanSquaredError>();
  if (name.starts_with("top")) {
    std::int64_t k = 0;
    const char* end = name.data() + name.size();
    const auto [rest, error] = std::from_chars(name.data() + 3, end, k);
    if (error == std::errc() && rest == end && k >= 1 && name[3] != '0') return std::make_unique<TopK>(k);
  }
  return fail_input("unknown metric \"{}\": expected top1, topK (top5, ...), auc or mse", printable(name));
}

void Comparison::add(const Tensor& reference, const Tensor& test) {
  ++samples_;
  if (reference.size() != test.size() || reference.dtype() == DType::string || test.dtype() == DType::string) {
    // Strings have no distance, different shapes no pairs: equal or broken.
    const bool equal = reference.same_bits(test);
    broken_ = broken_ || !equal;
    agreeing_ += equal;
    elements_ += reference.size();
    identical_ += equal ? reference.size() : 0;
    return;
  }
  agreeing_ += argmax(reference) == argmax(test);
  elements_ += reference.size();
  for_each_value(reference, [&](std::int64_t index, double expected) {
    const double found = test.as_double(index);
    if (expected == found || (std::isnan(expected) && std::isnan(found))) {
      ++identical_;
      if (std::isfinite(expected)) signal_ += expected * expected;
      return;
    }
    if (!std::isfinite(expected) || !std::isfinite(found)) {
      broken_ = true;
      max_difference_ = std::numeric_limits<double>::infinity();
      return;
    }
    const double difference = expected - found;
    signal_ += expected * expected;
    noise_ += difference * difference;
    max_difference_ = std::max(max_difference_, std::fabs(difference));
  });
}

double Comparison::sqnr_db() const {
  if (broken_) return -std::numeric_limits<double>::infinity();
  if (noise_ == 0) return std::numeric_limits<double>::infinity();
  return 10.0 * std::log10(signal_ / noise_);  // a figure for people: rounded before it is printed
}

double Comparison::agreement() const {
  return samples_ == 0 ? 0 : static_cast<double>(agreeing_) / static_cast<double>(samples_);
}

}  // namespace bevel::data
