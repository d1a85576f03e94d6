#include "lib/driver/inspect.h"

#include <memory>

#include "lib/report/report.h"
#include "tools/bevel/command.h"

namespace bevel::cli {

Command inspect_command() {
  struct Flags {
    driver::InspectRequest request;
    bool json = false;
  };
  const auto flags = std::make_shared<Flags>();
  return with_bounds({"inspect",
          "operators, shapes, parameters, MACs and bytes per layer, and what would stay in float and why",
          "bevel inspect model.onnx",
          {{"MODEL", &flags->request.model, "ONNX model", true}, shape_flag(flags->request.shapes), json_flag(flags->json)},
          [flags] {
            const auto record = driver::inspect(flags->request);
            if (!record) return report_failure(record.error());
            return print_result(flags->json ? report::to_json(*record) : report::summary(*record));
          }}, flags->request.bounds);
}

}  // namespace bevel::cli
