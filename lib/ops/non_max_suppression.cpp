// NonMaxSuppression (ONNX opsets 10, 11): greedy selection of boxes per batch and class. Opset 11 changed no form.
#include <algorithm>

#include "lib/ops/scalar_operand.h"
#include "lib/ops/tensor_family.h"

namespace bevel::ops {
namespace {

Status infer(InferContext& ctx) {
  BEVEL_TRY_STATUS(expect_rank(ctx, 0, "boxes", 3, 3));
  BEVEL_TRY_STATUS(expect_rank(ctx, 1, "scores", 3, 3));
  Shape shape = unknown_dims(2);
  shape.dims[1] = Dim(3);
  ctx.set_output(0, Type::tensor(DType::int64, std::move(shape)));
  return {};
}

struct Box {
  float y0, x0, y1, x1;
};

// [y, x, y, x] of any two opposite corners, or [x centre, y centre, width, height].
Box box_of(const float* values, bool centred) {
  if (centred) {
    const float half_width = values[2] / 2, half_height = values[3] / 2;
    return {values[1] - half_height, values[0] - half_width, values[1] + half_height, values[0] + half_width};
  }
  return {std::min(values[0], values[2]), std::min(values[1], values[3]), std::max(values[0], values[2]), std::max(values[1], values[3])};
}

// In float32 and in this order, as ONNX Runtime computes it: at the threshold the last bit decides.
bool overlap_above(const Box& a, const Box& b, float threshold) {
  const float height = std::min(a.y1, b.y1) - std::max(a.y0, b.y0), width = std::min(a.x1, b.x1) - std::max(a.x0, b.x0);
  if (!(height > 0) || !(width > 0)) return false;
  const float shared = width * height;
  const float area_a = (a.x1 - a.x0) * (a.y1 - a.y0), area_b = (b.x1 - b.x0) * (b.y1 - b.y0);
  const float joined = area_a + area_b - shared;
  if (area_a <= 0 || area_b <= 0 || joined <= 0) return false;
  return shared / joined > threshold;
}

struct Candidate {
  float score;
  std::int64_t index;
};
// Best first; equal scores in the order of the boxes, NaN behind everything.
bool better(const Candidate& a, const Candidate& b) {
  const bool a_nan = a.score != a.score, b_nan = b.score != b.score;
  if (a_nan != b_nan) return b_nan;
  if (!a_nan && a.score != b.score) return a.score > b.score;
  return a.index < b.index;
}

Outputs evaluate(const EvalContext& ctx) {
  const Tensor& boxes = ctx.tensor(0);
  const Tensor& scores = ctx.tensor(1);
  if (boxes.dtype() != DType::float32) return fail_dtype(boxes.dtype(), "the boxes");
  if (scores.dtype() != DType::float32) return fail_dtype(scores.dtype(), "the scores");
  if (boxes.rank() != 3 || boxes.dim(2) != 4) return fail_operand(0, "boxes", "is {}, expected [batches, boxes, 4]", to_string(boxes.dims()));
  if (scores.rank() != 3 || scores.dim(0) != boxes.dim(0) || scores.dim(2) != boxes.dim(1)) {
    return fail_operand(1, "scores", "is {}, expected [{}, classes, {}]", to_string(scores.dims()), boxes.dim(0), boxes.dim(1));
  }
  BEVEL_TRY(const bool centred, attr_flag(ctx.node(), "center_point_box", false));
  std::int64_t most = 0;
  if (ctx.has_input(2)) {
    BEVEL_TRY(most, scalar_int(ctx, 2, "max_output_boxes_per_class"));
  }
  double overlap = 0, least = 0;
  if (ctx.has_input(3)) {
    BEVEL_TRY(overlap, scalar_double(ctx, 3, "iou_threshold"));
  }
  if (!(overlap >= 0 && overlap <= 1)) return fail_operand(3, "iou_threshold", "is {}, expected 0 to 1", overlap);
  if (ctx.has_input(4)) {
    BEVEL_TRY(least, scalar_double(ctx, 4, "score_threshold"));
  }
  const std::int64_t batches = boxes.dim(0), count = boxes.dim(1), classes = scores.dim(1);
  const float* box_values = boxes.values<float>().data();
  const float* score_values = scores.values<float>().data();
  std::vector<std::int64_t> selected;  // triples
  std::vector<Candidate> candidates;
  std::vector<Box> kept;
  for (std::int64_t row = 0; row < (most > 0 && count > 0 ? batches * classes : 0); ++row) {
    const std::int64_t batch = row / classes;
    candidates.clear();
    kept.clear();
    for (std::int64_t i = 0; i < count; ++i) {
      const float score = score_values[row * count + i];
      // The spec removes what is below the threshold; ONNX's reference and ONNX Runtime also what equals it.
      if (!ctx.has_input(4) || score > static_cast<float>(least)) candidates.push_back({score, i});
    }
    std::sort(candidates.begin(), candidates.end(), better);
    for (const Candidate& candidate : candidates) {
      if (static_cast<std::int64_t>(kept.size()) >= most) break;
      const Box box = box_of(box_values + (batch * count + candidate.index) * 4, centred);
      const bool suppressed = std::any_of(kept.begin(), kept.end(), [&](const Box& other) {
        return overlap_above(box, other, static_cast<float>(overlap));
      });
      if (suppressed) continue;
      kept.push_back(box);
      selected.insert(selected.end(), {batch, row % classes, candidate.index});
    }
  }
  const Dims dims{static_cast<std::int64_t>(selected.size() / 3), 3};
  BEVEL_TRY_STATUS(ctx.reserve(DType::int64, dims));
  return std::vector<Datum>{Tensor::of<std::int64_t>(dims, selected)};
}

}  // namespace

extern const OpRecord non_max_suppression_record{.name = "NonMaxSuppression", .since = 10, .min_inputs = 2, .max_inputs = 5,
                                                 .infer = infer, .evaluate = evaluate};

}  // namespace bevel::ops
