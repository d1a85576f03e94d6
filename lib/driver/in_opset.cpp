#include "lib/driver/in_opset.h"

#include "lib/ops/op.h"
#include "lib/ops/opset.h"

namespace bevel::driver {

Status check_opset(std::optional<std::size_t> opset) {
  if (!opset || (*opset >= ops::kOldestOpset && *opset <= ops::kNewestOpset)) return {};
  return fail(ExitCode::usage, "--opset {}: expected an opset of {} to {}.", *opset, ops::kOldestOpset, ops::kNewestOpset);
}

Status put_in_opset(Model& model, std::optional<std::size_t> opset) {
  if (!opset || model.opset() == static_cast<std::int64_t>(*opset)) return {};
  BEVEL_TRY_STATUS(ops::infer_types(model));  // passes leave types of new values open, and the opsets differ in types
  return ops::convert_opset(model, static_cast<std::int64_t>(*opset));
}

}  // namespace bevel::driver
