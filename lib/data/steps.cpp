#include "lib/data/steps.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

namespace bevel::data {
namespace {

// An image as planes x height x width x interleaved channels: HWC is {1, h, w, c}, CHW is {c, h, w, 1}.
struct Planes {
  std::int64_t planes = 1, height = 0, width = 0, inner = 1;
};

Result<Planes> planes_of(const Tensor& image, bool channels_first, std::string_view step, const std::string& where) {
  if (image.rank() == 2) return Planes{1, image.dim(0), image.dim(1), 1};
  if (image.rank() != 3) {
    return fail_input("{}: step \"{}\" needs an image of [h, w] or [h, w, channels]; the sample is [{}]", where, step,
                      fmt::join(image.dims(), ", "));
  }
  if (channels_first) return Planes{image.dim(0), image.dim(1), image.dim(2), 1};
  return Planes{1, image.dim(0), image.dim(1), image.dim(2)};
}

Dims with_size(const Tensor& image, bool channels_first, std::int64_t height, std::int64_t width) {
  Dims dims = image.dims();
  const std::size_t first = image.rank() == 3 && channels_first ? 1 : 0;
  dims[first] = height;
  dims[first + 1] = width;
  return dims;
}

std::size_t element_bytes(const Tensor& tensor) { return static_cast<std::size_t>(dtype_bits(tensor.dtype())) / 8; }

// What one output position reads along an axis: weights of consecutive input positions, clamped to the edge.
struct Taps {
  std::int64_t first = 0;
  std::vector<double> weights;
};
// The triangle filter of ONNX Resize (linear): one input pixel wide when enlarging, 1/scale wide when shrinking.
std::vector<Taps> linear_taps(std::int64_t from, std::int64_t to) {
  const double scale = static_cast<double>(to) / static_cast<double>(from);
  const double narrow = std::min(scale, 1.0);
  std::vector<Taps> taps(static_cast<std::size_t>(to));
  for (std::int64_t i = 0; i < to; ++i) {
    const double center = (static_cast<double>(i) + 0.5) / scale - 0.5;
    Taps& tap = taps[static_cast<std::size_t>(i)];
    tap.first = static_cast<std::int64_t>(std::floor(center - 1 / narrow)) + 1;
    double sum = 0;
    for (std::int64_t k = tap.first; static_cast<double>(k) < center + 1 / narrow; ++k) {
      const double weight = std::max(0.0, 1 - std::fabs(static_cast<double>(k) - center) * narrow);
      tap.weights.push_back(weight);
      sum += weight;
    }
    for (double& weight : tap.weights) weight /= sum;
  }
  return taps;
}

Result<Tensor> crop(const Tensor& image, const Step& step, const std::string& where) {
  BEVEL_TRY(const Planes size, planes_of(image, step.channels_first, "crop", where));
  if (step.height > size.height || step.width > size.width) {
    return fail_input("{}: step \"crop\" to {} x {} is larger than the image of {} x {} (height x width)", where, step.height,
                      step.width, size.height, size.width);
  }
  Tensor result = Tensor::zeros(image.dtype(), with_size(image, step.channels_first, step.height, step.width));
  const std::int64_t top = (size.height - step.height) / 2, left = (size.width - step.width) / 2;
  const std::size_t pixel = static_cast<std::size_t>(size.inner) * element_bytes(image);
  const std::byte* source = image.bytes().data();
  std::byte* target = result.mutable_bytes().data();
  const std::size_t row = static_cast<std::size_t>(step.width) * pixel;
  for (std::int64_t plane = 0; plane < size.planes; ++plane) {
    for (std::int64_t y = 0; y < step.height; ++y, target += row) {
      const std::int64_t from = (plane * size.height + top + y) * size.width + left;
      std::memcpy(target, source + static_cast<std::size_t>(from) * pixel, row);
    }
  }
  return result;
}

// The sample as outer x channels x inner around its channel axis.
struct Channels {
  std::int64_t outer = 1, count = 1, inner = 1;
};
Channels channels_of(const Tensor& sample, bool channels_first) {
  Channels result;
  if (sample.rank() == 0) return result;
  const std::size_t axis = channels_first ? 0 : sample.rank() - 1;
  for (std::size_t i = 0; i < sample.rank(); ++i) {
    (i < axis ? result.outer : i == axis ? result.count : result.inner) *= sample.dim(i);
  }
  return result;
}

Result<Tensor> reverse_channels(const Tensor& image, const Step& step, const std::string& where) {
  const Channels size = channels_of(image, step.channels_first);
  if (image.rank() != 3 || size.count != 3) {
    return fail_input("{}: step \"channels\" needs an image of 3 channels; the sample is [{}]", where,
                      fmt::join(image.dims(), ", "));
  }
  if (!step.reverse) return image;
  Tensor result = Tensor::zeros(image.dtype(), image.dims());
  const std::size_t run = static_cast<std::size_t>(size.inner) * element_bytes(image);
  const std::byte* source = image.bytes().data();
  std::byte* target = result.mutable_bytes().data();
  for (std::int64_t outer = 0; outer < size.outer; ++outer) {
    for (std::size_t c = 0; c < 3; ++c) std::memcpy(target + c * run, source + (2 - c) * run, run);
    source += 3 * run;
    target += 3 * run;
  }
  return result;
}

Result<Tensor> cast(const Tensor& sample, DType dtype, const std::string& where) {
  if (sample.dtype() == dtype) return sample;
  if (sample.dtype() == DType::complex64 || sample.dtype() == DType::complex128) {
    return fail_input("{}: step \"cast\" cannot convert complex numbers", where);
  }
  if (dtype == DType::float32) return Tensor::of<float>(sample.dims(), sample.as_floats());
  Tensor result = Tensor::zeros(dtype, sample.dims());
  const bool from_integer = !is_floating(sample.dtype());
  const int bits = dtype_bits(dtype);
  const double low = is_signed_integer(dtype) ? -std::ldexp(1.0, bits - 1) : 0;
  const double high = std::ldexp(1.0, is_signed_integer(dtype) ? bits - 1 : bits);
  for (std::int64_t i = 0; i < sample.size(); ++i) {
    if (dtype == DType::boolean) {
      result.set_from_int64(i, sample.as_double(i) != 0);
    } else if (is_floating(dtype)) {
      result.set_from_double(i, sample.as_double(i));
    } else {
      const double value = std::trunc(sample.as_double(i));
      if (!(value >= low && value < high)) {
        return fail_input("{}: step \"cast\": the value {} does not fit {}", where, sample.as_double(i), dtype_name(dtype));
      }
      result.set_from_int64(i, from_integer ? sample.as_int64(i) : static_cast<std::int64_t>(value));
    }
  }
  return result;
}

Result<Tensor> arithmetic(const Tensor& sample, const Step& step, const std::string& where) {
  if (sample.dtype() == DType::complex64 || sample.dtype() == DType::complex128) {
    return fail_input("{}: step \"{}\" cannot convert complex numbers", where, step_name(step.kind));
  }
  const Channels size = channels_of(sample, step.channels_first);
  const auto count = static_cast<std::int64_t>(step.numbers.size());
  if (count != 1 && count != size.count) {
    return fail_input("{}: step \"{}\" has {} numbers, the sample of shape [{}] has {} channels", where,
                      step_name(step.kind), count, fmt::join(sample.dims(), ", "), size.count);
  }
  std::vector<float> values = sample.as_floats();
  float* value = values.data();
  for (std::int64_t outer = 0; outer < size.outer; ++outer) {
    for (std::int64_t c = 0; c < size.count; ++c) {
      const float number = step.numbers[count == 1 ? 0 : static_cast<std::size_t>(c)];
      for (std::int64_t inner = 0; inner < size.inner; ++inner, ++value) {
        *value = step.kind == Step::Kind::subtract ? *value - number : *value / number;
      }
    }
  }
  return Tensor::of<float>(sample.dims(), values);
}

Result<Tensor> transpose(const Tensor& image, bool to_chw, const std::string& where) {
  if (image.rank() != 3) {
    return fail_input("{}: step \"layout\" needs an image of three axes; the sample is [{}]", where,
                      fmt::join(image.dims(), ", "));
  }
  const Dims& from = image.dims();
  const Dims to = to_chw ? Dims{from[2], from[0], from[1]} : Dims{from[1], from[2], from[0]};
  // Both are the transpose of a matrix: [h*w, c] <-> [c, h*w].
  const std::int64_t rows = to_chw ? from[0] * from[1] : from[0], columns = image.size() / std::max<std::int64_t>(rows, 1);
  Tensor result = Tensor::zeros(image.dtype(), to);
  const std::size_t element = element_bytes(image);
  const std::byte* source = image.bytes().data();
  std::byte* target = result.mutable_bytes().data();
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t column = 0; column < columns; ++column, source += element) {
      std::memcpy(target + static_cast<std::size_t>(column * rows + row) * element, source, element);
    }
  }
  return result;
}

}  // namespace

std::string_view step_name(Step::Kind kind) {
  constexpr std::string_view kNames[] = {"resize", "crop", "channels", "cast", "subtract", "divide", "layout"};
  return kNames[static_cast<std::size_t>(kind)];
}

void bind_layouts(std::vector<Step>& steps) {
  bool channels_first = false;
  for (Step& step : steps) {
    step.channels_first = channels_first;
    if (step.kind == Step::Kind::layout) channels_first = step.to_chw;
  }
}

Result<Tensor> resize(const Tensor& image, std::int64_t height, std::int64_t width, bool channels_first,
                      const std::string& where) {
  BEVEL_TRY(const Planes size, planes_of(image, channels_first, "resize", where));
  if (image.size() == 0) return fail_input("{}: step \"resize\": the image is empty", where);
  const bool bytes = image.dtype() == DType::uint8;
  const Dims dims = with_size(image, channels_first, height, width);
  const auto count = element_count(dims);
  if (!count || *count > (std::int64_t{1} << 30)) {
    return fail_input("{}: step \"resize\" to {} x {} is beyond the limit of 2^30 elements", where, height, width);
  }
  Tensor result = Tensor::zeros(bytes ? DType::uint8 : DType::float32, dims);
  const std::vector<float> source = image.as_floats();
  const auto columns = linear_taps(size.width, width), rows = linear_taps(size.height, height);
  const auto inner = static_cast<std::size_t>(size.inner), out_row = static_cast<std::size_t>(width) * inner;
  const auto edge = [](std::int64_t index, std::int64_t extent) {
    return static_cast<std::size_t>(std::clamp<std::int64_t>(index, 0, extent - 1));
  };
  std::vector<double> narrowed(static_cast<std::size_t>(size.height) * out_row), row(out_row);
  for (std::int64_t plane = 0; plane < size.planes; ++plane) {
    std::fill(narrowed.begin(), narrowed.end(), 0.0);
    for (std::int64_t y = 0; y < size.height; ++y) {
      const float* in = source.data() + static_cast<std::size_t>((plane * size.height + y) * size.width) * inner;
      double* out = narrowed.data() + static_cast<std::size_t>(y) * out_row;
      for (const Taps& tap : columns) {
        for (std::size_t k = 0; k < tap.weights.size(); ++k) {
          const float* pixel = in + edge(tap.first + static_cast<std::int64_t>(k), size.width) * inner;
          for (std::size_t c = 0; c < inner; ++c) out[c] += tap.weights[k] * static_cast<double>(pixel[c]);
        }
        out += inner;
      }
    }
    for (std::int64_t y = 0; y < height; ++y) {
      const Taps& tap = rows[static_cast<std::size_t>(y)];
      std::fill(row.begin(), row.end(), 0.0);
      for (std::size_t k = 0; k < tap.weights.size(); ++k) {
        const double* in = narrowed.data() + edge(tap.first + static_cast<std::int64_t>(k), size.height) * out_row;
        for (std::size_t i = 0; i < out_row; ++i) row[i] += tap.weights[k] * in[i];
      }
      const std::size_t at = static_cast<std::size_t>(plane * height + y) * out_row;
      if (bytes) {
        auto* out = result.mutable_values<std::uint8_t>().data() + at;
        for (std::size_t i = 0; i < out_row; ++i) {
          out[i] = static_cast<std::uint8_t>(std::clamp(std::nearbyint(row[i]), 0.0, 255.0));
        }
      } else {
        float* out = result.mutable_values<float>().data() + at;
        for (std::size_t i = 0; i < out_row; ++i) out[i] = static_cast<float>(row[i]);
      }
    }
  }
  return result;
}

Result<Tensor> apply_steps(Tensor sample, const std::vector<Step>& steps, const std::string& where) {
  if (!steps.empty() && sample.size() == 0) return fail_input("{}: the sample is empty", where);
  for (const Step& step : steps) {
    Result<Tensor> next = Tensor();
    switch (step.kind) {
      case Step::Kind::resize: next = resize(sample, step.height, step.width, step.channels_first, where); break;
      case Step::Kind::crop: next = crop(sample, step, where); break;
      case Step::Kind::channels: next = reverse_channels(sample, step, where); break;
      case Step::Kind::cast: next = cast(sample, step.dtype, where); break;
      case Step::Kind::subtract:
      case Step::Kind::divide: next = arithmetic(sample, step, where); break;
      case Step::Kind::layout:
        // The layout the channels already have: nothing to move.
        if (step.to_chw == step.channels_first) continue;
        next = transpose(sample, step.to_chw, where);
        break;
    }
    if (!next) return next;
    sample = std::move(*next);
  }
  return sample;
}

}  // namespace bevel::data
