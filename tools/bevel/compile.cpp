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

int run(Flags& flags) {
  if (flags.io != "int8" && flags.io != "float")
    return report_failure({ExitCode::usage, "--io '" + printable(flags.io) + "': expected int8 or float."});
  flags.request.float_io = flags.io == "float";
  const auto outcome = driver::compile(flags.request);
  if (!outcome) {
    const bool began = outcome.error().code != ExitCode::usage && !flags.request.dry_run;
    return report_failure({outcome.error().code,
                           outcome.error().message + (began ? driver::left_from_earlier_run(flags.request, true) : "")});
  }
  for (const std::string& message : outcome->record.messages) {
    const bool last = &message == &outcome->record.messages.back();
    report_failure({outcome->code,
                    message + (last ? driver::left_from_earlier_run(flags.request, flags.request.dry_run) : "")});
  }
  if (outcome->code == ExitCode::ok && flags.depfile && !flags.request.dry_run)
    if (const Status written = driver::write_depfile(*flags.depfile, flags.request.out / "report.json", outcome->read); !written)
      return report_failure(written.error());
  return print_result(flags.json ? report::to_json(outcome->record)
                                 : report::summary(outcome->record, flags.request.dry_run ? "" : flags.request.out.string(),
                                                   {color_wanted()}),
                      outcome->code);
}

}  // namespace

Command compile_command() {
  const auto flags = std::make_shared<Flags>();
  driver::CompileRequest& request = flags->request;
  return with_bounds({"compile",
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
           {"--preset", &request.recipe.preset, "fast: int8, weights rounded to nearest, one pass over the samples; balanced (default): channels equalized and weights rounded by "
            "second moments, one look at the samples per layer, mostly 1 to 6 dB more at the outputs; int4: as balanced, weights of 4 bits but for the "
            "first, last and depthwise layers, mostly 5 to 13 dB below balanced"},
           {"--precision", &request.recipe.precision, "auto: as many layers with 4-bit weights as --max-drop allows (default 1 point), measured layer by layer "
            "and then together"},
           {"--recipe", &request.recipe.recipe, "a recipe; that of an earlier output gives the same bytes"},
           {"--keep-float", &request.recipe.keep_float, "leave a node, or all nodes of an operator, in float; a list (Conv,Add), may be repeated"},
           {"--range", &request.recipe.range, "auto (default), minmax, percentile[:99.9], mse or entropy"},
           {"--activations", &request.recipe.activations, "int8 or uint8; default: the target's"},
           {"--runtime", &request.recipe.runtime, "onnxruntime-avx2: no two int8 weights saturate in ONNX Runtime's default session on x86 without VNNI; any; default: "
            "the target's"},
           {"--io", &flags->io, "int8: inputs and outputs are quantized integers; float: the conversion is inside"},
           opset_flag(request.opset), shape_flag(request.shapes), samples_flag(request.max_samples), json_flag(flags->json), dry_run_flag(request.dry_run),
           {"--depfile", &flags->depfile, "write the inputs of the outputs as a Make rule"}, threads_flag(request.threads)},
          [flags] { return run(*flags); }}, request.bounds);
}

}  // namespace bevel::cli
