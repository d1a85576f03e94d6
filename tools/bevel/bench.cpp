#include <memory>

#include "lib/driver/bench.h"
#include "lib/report/report.h"
#include "tools/bevel/command.h"

namespace bevel::cli {

Command bench_command() {
  struct Flags {
    driver::BenchRequest request;
    std::optional<std::size_t> repeat;
    bool json = false;
  };
  const auto flags = std::make_shared<Flags>();
  driver::BenchRequest& request = flags->request;
  return with_bounds({"bench",
          "the time of one inference on one core of this machine",
          "bevel bench model.int8.onnx --nodes",
          {{"MODEL", &request.model, "ONNX model or .bvl file", true},
           {"--data", &request.data, "samples: a bevel-data/1 description or an .npz (default: one random sample)"},
           {"--repeat", &flags->repeat, "timed runs over the samples (default: 10)", /*required=*/false, /*positive=*/true},
           {"--nodes", &request.per_node, "also the time of each node (reading a value between integer layers costs extra)"},
           shape_flag(request.shapes), samples_flag(request.max_samples), json_flag(flags->json)},
          [flags] {
            flags->request.repeat = flags->repeat.value_or(flags->request.repeat);
            const auto record = driver::bench(flags->request);
            if (!record) return report_failure(record.error());
            return print_result(flags->json ? report::to_json(*record) : report::summary(*record));
          }}, request.bounds);
}

}  // namespace bevel::cli
