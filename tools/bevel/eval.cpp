#include <memory>

#include "lib/driver/execute.h"
#include "lib/report/report.h"
#include "tools/bevel/command.h"

namespace bevel::cli {

Command eval_command() {
  struct Flags {
    driver::EvalRequest request;
    bool json = false;
  };
  const auto flags = std::make_shared<Flags>();
  driver::EvalRequest& request = flags->request;
  return with_bounds({"eval",
          "the labelled metric of a model or a .bvl file",
          "bevel eval model.int8.onnx --data eval.json",
          {{"MODEL", &request.model, "ONNX model or .bvl file", true},
           {"--data", &request.data, "labelled samples: a bevel-data/1 description", true},
           shape_flag(request.shapes), samples_flag(request.max_samples), json_flag(flags->json), threads_flag(request.threads)},
          [flags] {
            const auto record = driver::evaluate(flags->request);
            if (!record) return report_failure(record.error());
            return print_result(flags->json ? report::to_json(*record) : report::summary(*record));
          }}, request.bounds);
}

}  // namespace bevel::cli
