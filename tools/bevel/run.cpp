#include <memory>

#include "lib/driver/execute.h"
#include "lib/report/report.h"
#include "tools/bevel/command.h"

namespace bevel::cli {

Command run_command() {
  struct Flags {
    driver::RunRequest request;
    bool json = false;
  };
  const auto flags = std::make_shared<Flags>();
  driver::RunRequest& request = flags->request;
  return with_bounds({"run",
          "run a model or a .bvl file on given tensors or samples",
          "bevel run model.onnx --inputs arrays.npz -o outputs.npz",
          {{"MODEL", &request.model, "ONNX model or .bvl file", true},
           {"--inputs", &request.inputs, "whole tensors: an .npz with one array per input, or a folder of input_0.pb, ..."},
           {"--data", &request.data, "samples, one by one: a bevel-data/1 description or an .npz"},
           {"-o,--out", &request.out, "an .npz with one member per output"},
           {"--raw", &request.raw, "of a .bvl file: the device's integers"},
           shape_flag(request.shapes), samples_flag(request.max_samples), json_flag(flags->json), dry_run_flag(request.dry_run),
           threads_flag(request.threads)},
          [flags] {
            const auto record = driver::run(flags->request);
            if (!record) return report_failure(record.error());
            const bool written = flags->request.out && !flags->request.dry_run;
            return print_result(flags->json ? report::to_json(*record)
                                            : report::summary(*record, written ? flags->request.out->string() : ""));
          }}, request.bounds);
}

}  // namespace bevel::cli
