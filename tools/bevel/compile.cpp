#include "lib/driver/compile.h"

#include <memory>

#include "lib/driver/depfile.h"
#include "lib/report/report.h"
#include "tools/bevel/command.h"

namespace bevel::cli {

namespace {

struct Flags {
  driver::CompileRequest request;
  std::optional<std::filesystem::path> depfile;
  std::string target, io = "int8";
  bool json = false;
};

Status write_dependencies(const Flags& flags) {
  if (!flags.depfile || flags.request.dry_run) return {};
  std::vector<std::filesystem::path> files{flags.request.model};
  for (const auto& data : {flags.request.calibration, flags.request.evaluation}) {
    if (!data) continue;
    const auto more = driver::data_dependencies(*data);
    files.insert(files.end(), more.begin(), more.end());
  }
  if (flags.request.profile) files.push_back(*flags.request.profile);
  if (flags.request.recipe.recipe) files.push_back(*flags.request.recipe.recipe);
  if (flags.request.target.find('/') != std::string::npos) files.emplace_back(flags.request.target);
  return driver::write_depfile(*flags.depfile, flags.request.out / "report.json", files);
}

int run(Flags& flags) {
  if (flags.io != "int8" && flags.io != "float")
    return report_failure({ExitCode::usage, "--io '" + printable(flags.io) + "': expected int8 or float."});
  flags.request.float_io = flags.io == "float";
  const auto outcome = driver::compile(flags.request);
  if (!outcome) return report_failure(outcome.error());
  for (const std::string& message : outcome->record.messages) report_failure({outcome->code, message});
  if (outcome->code == ExitCode::ok)
    if (const Status written = write_dependencies(flags); !written) return report_failure(written.error());
  return print_result(flags.json ? report::to_json(outcome->record)
                                 : report::summary(outcome->record, flags.request.out.string(), {color_wanted()}),
                      outcome->code);
}

}  // namespace

Command compile_command() {
  const auto flags = std::make_shared<Flags>();
  driver::CompileRequest& request = flags->request;
  return {"compile",
          "the whole road: an int8 ONNX model, C source, a .bvl file and a report, inside a device's budget",
          "bevel compile model.onnx --target stm32l4r5 --calib calib.json --eval eval.json --max-drop 1 "
          "--budget ram=64K,latency=50ms --out build/model",
          {{"MODEL", &request.model, "ONNX model (float)", true},
           {"--target", &request.target, "a device of `bevel targets`, or the path of a device record", true},
           {"--calib", &request.calibration, "calibration samples: a bevel-data/1 description or an .npz"},
           {"--profile", &request.profile, "a calibration profile of `bevel calibrate`, instead of --calib"},
           {"--eval", &request.evaluation, "evaluation samples; without them the calibration samples are used"},
           {"-o,--out", &request.out, "folder for the outputs", true},
           {"--max-drop", &request.max_drop, "fail (exit 4) when the metric drops by more points; agreement without labels"},
           {"--budget", &request.budget, "ram=64K,flash=256K,latency=50ms,energy=2mJ (K = 1024); default: the device's memory"},
           {"--recipe", &request.recipe.recipe, "a recipe; that of an earlier output gives the same bytes"},
           {"--keep-float", &request.recipe.keep_float, "leave a node, or all nodes of an operator, in float; may be repeated"},
           {"--range", &request.recipe.range, "minmax, percentile[:99.9], mse or entropy"},
           {"--activations", &request.recipe.activations, "int8 or uint8; default: the target's"},
           {"--io", &flags->io, "int8: inputs and outputs are quantized integers; float: the conversion is inside"},
           shape_flag(request.shapes), samples_flag(request.max_samples), json_flag(flags->json), dry_run_flag(request.dry_run),
           {"--depfile", &flags->depfile, "write the inputs of the outputs as a Make rule"}, threads_flag(request.threads)},
          [flags] { return run(*flags); }};
}

}  // namespace bevel::cli
