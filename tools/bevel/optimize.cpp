#include <memory>

#include "lib/driver/convert.h"
#include "lib/report/report.h"
#include "tools/bevel/command.h"

namespace bevel::cli {

Command optimize_command() {
  struct Flags {
    driver::OptimizeRequest request;
    bool json = false;
  };
  const auto flags = std::make_shared<Flags>();
  driver::OptimizeRequest& request = flags->request;
  return with_bounds({"optimize",
          "simplify a model without changing what it computes, and check that it still does",
          "bevel optimize model.onnx -o model.opt.onnx",
          {{"MODEL", &request.model, "ONNX model", true},
           {"-o,--out", &request.out, "the simplified model", true},
           {"--data", &request.data, "samples for the check; default: seeded random inputs"},
           opset_flag(request.opset), shape_flag(request.shapes), samples_flag(request.max_samples), json_flag(flags->json), dry_run_flag(request.dry_run),
           threads_flag(request.threads)},
          [flags] {
            const auto record = driver::optimize(flags->request);
            if (!record) return report_failure(record.error());
            return print_result(flags->json ? report::to_json(*record) : report::summary(*record, flags->request.out.parent_path().string()));
          }}, request.bounds);
}

}  // namespace bevel::cli
