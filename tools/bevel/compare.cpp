#include <memory>

#include "lib/driver/execute.h"
#include "lib/report/report.h"
#include "tools/bevel/command.h"

namespace bevel::cli {

Command compare_command() {
  struct Flags {
    driver::CompareRequest request;
    bool json = false;
  };
  const auto flags = std::make_shared<Flags>();
  driver::CompareRequest& request = flags->request;
  return with_bounds({"compare",
          "two models (or .bvl files) side by side: SQNR, agreement, metric",
          "bevel compare model.onnx model.int8.onnx --data eval.json --max-drop 1",
          {{"A", &request.a, "the reference", true},
           {"B", &request.b, "what is compared with it", true},
           {"--data", &request.data, "samples; default: seeded random inputs"},
           {"--max-drop", &request.max_drop, "fail (exit 4) when the metric drops by more points; agreement without labels"},
           shape_flag(request.shapes), samples_flag(request.max_samples), json_flag(flags->json), threads_flag(request.threads)},
          [flags] {
            const auto record = driver::compare(flags->request);
            if (!record) return report_failure(record.error());
            if (!record->passed)
              report_failure({ExitCode::verification,
                              fmt::format("verification failed: B drops by {:.3f} points where --max-drop allows {:.3f}.",
                                          *record->drop, *record->max_drop)});
            return print_result(flags->json ? report::to_json(*record) : report::summary(*record, {color_wanted()}),
                                record->passed ? ExitCode::ok : ExitCode::verification);
          }}, request.bounds);
}

}  // namespace bevel::cli
