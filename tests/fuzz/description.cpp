// A data description, its references and its steps on a small picture.
#include <nlohmann/json.hpp>

#include "lib/data/description.h"
#include "lib/support/strict_json.h"
#include "tests/fuzz/fuzz.h"

using namespace bevel;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto json = parse_strict_json(text, "x.json");
  if (json) FUZZ_CHECK(parse_strict_json(json->dump(-1, ' ', true, nlohmann::json::error_handler_t::replace), "again"));
  const auto description = data::parse_description(text, "x.json");
  if (!description) {
    FUZZ_CHECK(description.error().code == ExitCode::input);
    return 0;
  }
  FUZZ_CHECK(json);
  for (const auto& input : description->inputs) {
    FUZZ_CHECK(input.from.path.find("..") == std::string::npos || data::parse_reference(input.from.text, "again"));
    std::uint64_t pixels = 1;
    for (const data::Step& step : input.steps)
      if (step.height > 0) pixels = std::max(pixels, static_cast<std::uint64_t>(step.height) * static_cast<std::uint64_t>(step.width));
    if (pixels > (1u << 18) || input.steps.size() > 16) continue;
    (void)data::apply_steps(Tensor::zeros(DType::uint8, {5, 7, 3}), input.steps, "x");
    (void)data::apply_steps(Tensor::zeros(DType::float32, {4}), input.steps, "x");
  }
  return 0;
}
