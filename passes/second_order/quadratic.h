// A layer's error as a quadratic in its weights.
//
// The layer should give w r (float weights on the float model's rows r) and gives v x (new weights on the rows x that the compressed
// prefix brings). With H = E[x x^T] and C = E[r x^T], both about the means when a bias takes up the difference of the means,
//
//   E (w r - v x)^2  =  v H v^T - 2 w C v^T + constant  =  (v - t) A (v - t)^T - damping |v - w|^2 + constant,
//   A = H + damping I,   t = (w C + damping w) A^-1 = w + w (C - H) A^-1:
//
// the "asymmetric target" t makes up for what the prefix lost, and is held near w where the rows say little. With R^T R = A, searching for v on
// a grid is finding a near lattice point (passes/second_order/rounding.h).
//
// All of it is least squares on these rows, and too much for others: where x = r + noise, C - H holds the noise's own energy besides what
// noise and signal have in common, and so draws every weight towards zero (attenuation, W. A. Fuller, "Measurement Error Models", 1987); and a
// few samples' deviations are not those of the next. Hence a share.
//
// GPTQ: Frantar, Ashkboos, Hoefler, Alistarh, arXiv:2210.17323. Asymmetric calibration: Li et al., "GPTQv2", arXiv:2504.02692.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "lib/data/measure.h"
#include "lib/support/worker_pool.h"
#include "passes/second_order/dense.h"

namespace bevel::second_order {

struct QuadraticOptions {
  double damping = 0.01;      // of the mean of H's diagonal; doubled until A can be factored
  double least_damping = 0;   // absolute: groups of nearly no signal get this floor
  double compensation = 1;    // share of w (C - H) A^-1 that the target takes; 0: t = w
};

// Of one group. Positions are columns in the order of rounding: the last position is rounded first.
struct Quadratic {
  std::int64_t k = 0, channels = 0;
  std::vector<std::int32_t> column;  // of each position: ascending diagonal of H, so that columns that matter most come first
  Matrix a, r;                       // [k][k], by position; r: upper triangle
  Matrix weights, target;            // [position][channel]
  double damping = 0;                // as it had to be
  double shrinkage = 0;              // H's entries off the diagonal, and C - H, were multiplied with 1 - shrinkage
  std::int64_t rows = 0;
  std::int64_t dead = 0;             // columns in which x was zero in every row
};

class QuadraticBuilder {
 public:
  // `weights` [channels][k], float. `centred`: about the means.
  QuadraticBuilder(std::int64_t channels, std::int64_t k, std::vector<double> weights, bool centred, WorkerPool* pool);
  // Adds the rows of one reader of the weights, of k columns. Several readers: each about its own means.
  void add(const data::SecondMoment& moment);
  [[nodiscard]] double mean_diagonal() const;  // of H over columns that are not dead
  [[nodiscard]] Quadratic finish(const QuadraticOptions& options) &&;

 private:
  std::int64_t channels_, k_;
  std::vector<double> weights_;
  bool centred_;
  WorkerPool* pool_;
  std::int64_t rows_ = 0;
  Matrix gram_;        // sum over rows of x x^T, about the means if centred
  Matrix difference_;  // [k][channels]: (sum over rows of (r - x) x^T, likewise)^T w^T
  std::vector<bool> alive_;
};

// Means of the rows, [k].
std::vector<double> mean_of(const data::SecondMoment& moment);
std::vector<double> reference_mean_of(const data::SecondMoment& moment);  // mean_of without a reference

}  // namespace bevel::second_order
