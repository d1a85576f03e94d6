// The preprocessing steps of a data description, on one sample without its batch axis (README.md).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/ir/tensor.h"
#include "lib/support/result.h"

namespace bevel::data {

struct Step {
  enum class Kind : std::uint8_t { resize, crop, channels, cast, subtract, divide, layout };
  Kind kind = Kind::cast;
  std::int64_t height = 0, width = 0;     // resize, crop
  bool reverse = false;                   // channels: "bgr"
  DType dtype = DType::undefined;         // cast
  std::vector<float> numbers;             // subtract, divide: one, or one per channel
  bool to_chw = false;                    // layout
  bool channels_first = false;            // where the channel axis is when the step runs; set by bind_layouts
};

std::string_view step_name(Step::Kind kind);
// Decides for each step where the channels are: last, until a layout step moves them.
void bind_layouts(std::vector<Step>& steps);
// Runs the steps in order; `where` names file and sample in messages. Exit code: input.
Result<Tensor> apply_steps(Tensor sample, const std::vector<Step>& steps, const std::string& where);

// Antialiased bilinear resampling of the two spatial axes, as ONNX Resize-18 with mode "linear", antialias 1 and
// coordinate_transformation_mode "half_pixel"; computed in double, columns first. uint8 rounds half to even, to uint8; other
// dtypes give float32.
Result<Tensor> resize(const Tensor& image, std::int64_t height, std::int64_t width, bool channels_first,
                      const std::string& where);

}  // namespace bevel::data
