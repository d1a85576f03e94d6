#include <memory>

#include "lib/driver/convert.h"
#include "lib/report/report.h"
#include "tools/bevel/command.h"

namespace bevel::cli {

Command calibrate_command() {
  struct Flags {
    driver::CalibrateRequest request;
    bool json = false;
  };
  const auto flags = std::make_shared<Flags>();
  driver::CalibrateRequest& request = flags->request;
  return with_bounds({"calibrate",
          "measure a model's values on samples and store them as a profile",
          "bevel calibrate model.onnx --calib calib.json -o model.profile",
          {{"MODEL", &request.model, "ONNX model (float)", true},
           {"--calib", &request.calibration, "calibration samples: a bevel-data/1 description or an .npz", true},
           {"-o,--out", &request.out, "the profile", true},
           {"--merge", &request.merge, "another profile of the same model to merge in, exactly; may be repeated"},
           shape_flag(request.shapes), samples_flag(request.max_samples), json_flag(flags->json), dry_run_flag(request.dry_run),
           threads_flag(request.threads)},
          [flags] {
            const auto record = driver::calibrate(flags->request);
            if (!record) return report_failure(record.error());
            return print_result(flags->json ? report::to_json(*record) : report::summary(*record, flags->request.out.parent_path().string()));
          }}, request.bounds);
}

}  // namespace bevel::cli
