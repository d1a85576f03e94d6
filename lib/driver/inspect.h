// What a model is made of and what would become of it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "lib/driver/bounds.h"
#include "lib/report/record.h"
#include "lib/support/result.h"

namespace bevel::driver {

struct InspectRequest {
  std::filesystem::path model;
  std::vector<std::string> shapes;
  BoundsFlags bounds;
};
// Rows are the file's own nodes (lifted to the base opset); the forecast of what stays float is made on the simplified model by
// the quantize pass itself, with stand-in ranges, and by lowering its result.
Result<report::InspectRecord> inspect(const InspectRequest& request);

}  // namespace bevel::driver
