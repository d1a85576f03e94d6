#include <memory>

#include "lib/driver/convert.h"
#include "lib/report/report.h"
#include "tools/bevel/command.h"

namespace bevel::cli {

Command opt_command() {
  struct Flags {
    driver::OptimizeRequest request;
    bool json = false;
  };
  const auto flags = std::make_shared<Flags>();
  driver::OptimizeRequest& request = flags->request;
  request.command = "opt";
  return with_bounds({"opt",
          "run a pipeline of passes (for experiments and for reduced reproducers)",
          "bevel opt model.onnx --pipeline \"fold-constants,fold-batch-norm\" -o out.onnx",
          {{"MODEL", &request.model, "ONNX model", true},
           {"--pipeline", &request.pipeline, "passes of `bevel passes`, as \"a,b{option=value}\", or a named pipeline", true},
           {"-o,--out", &request.out, "the resulting model", true},
           {"--data", &request.data, "samples for the check; default: seeded random inputs"},
           {"--calib", &request.calibration, "samples for passes that measure"},
           {"--profile", &request.profile, "a profile for passes that measure, instead of --calib"},
           {"--recipe", &request.recipe, "choices for passes that take them"},
           {"--verify", &request.verify_each, "verify the graph after every pass"},
           {"--reproducer", &request.reproducer, "folder that receives model and pipeline when a pass fails"},
           shape_flag(request.shapes), samples_flag(request.max_samples), json_flag(flags->json), dry_run_flag(request.dry_run),
           threads_flag(request.threads)},
          [flags] {
            const auto record = driver::optimize(flags->request);
            if (!record) return report_failure(record.error());
            return print_result(flags->json ? report::to_json(*record) : report::summary(*record, flags->request.out.parent_path().string()));
          }}, request.bounds);
}

}  // namespace bevel::cli
