#include <memory>

#include "lib/driver/convert.h"
#include "lib/report/report.h"
#include "tools/bevel/command.h"

namespace bevel::cli {

Command quantize_command() {
  struct Flags {
    driver::QuantizeRequest request;
    bool json = false;
  };
  const auto flags = std::make_shared<Flags>();
  driver::QuantizeRequest& request = flags->request;
  return with_bounds({"quantize",
          "an int8 ONNX model (QuantizeLinear / DequantizeLinear), compared with its source",
          "bevel quantize model.onnx --calib calib.json -o model.int8.onnx",
          {{"MODEL", &request.model, "ONNX model (float)", true},
           {"--calib", &request.calibration, "calibration samples: a bevel-data/1 description or an .npz; weights alone, dynamic and float16 need none"},
           {"--profile", &request.profile, "a calibration profile of `bevel calibrate`, instead of --calib"},
           {"--eval", &request.evaluation, "samples for the check; default: the calibration samples"},
           {"-o,--out", &request.out, "the int8 model", true},
           {"--max-drop", &request.max_drop, "fail (exit 4) when the metric drops by more points; agreement without labels"},
           {"--target", &request.target, "take the activations' dtype and the runtime from this device, and limits for --precision auto"},
           {"--preset", &request.recipe.preset, "fast: int8, weights rounded to nearest, one pass over the samples; balanced (default): channels equalized and weights rounded by "
            "second moments, one look at the samples per layer, mostly 1 to 6 dB more at the outputs; int4: as balanced, weights of 4 bits but for the "
            "first, last and depthwise layers, mostly 5 to 13 dB below balanced; mixed: as --precision auto, some ten times as long as balanced"},
           {"--precision", &request.recipe.precision, "auto: int4, int8, int16 activations or float for each group of layers, measured one by one and together: the fewest bytes that "
            "keep --max-drop (default 1 point) and the target's limits"},
           {"--budget", &request.budget, "limits of the target for --precision auto: ram=64K,flash=256K,latency=50ms,energy=2mJ"},
           {"--recipe", &request.recipe.recipe, "a recipe: precision and range per node"},
           {"--write-recipe", &request.write_recipe, "write what was chosen as a recipe: with it the same model and data give the same bytes"},
           {"--keep-float", &request.recipe.keep_float, "leave a node, or all nodes of an operator, in float; a list (Conv,Add), may be repeated"},
           {"--range", &request.recipe.range, "auto (default), minmax, percentile[:99.9], mse or entropy"},
           {"--activations", &request.recipe.activations, "int8, uint8, int16, dynamic: on grids chosen in each run, or float32: weights alone"},
           {"--weights", &request.recipe.weights, "int8, int4; float16, bfloat16, float8e4m3 or float8e5m2: ONNX alone"},
           {"--block-size", &request.recipe.block_size, "of int4 weights of matrices: 16, 32, 64 or 128 elements share a scale (default 0: a channel)"},
           {"--matmul-form", &request.recipe.matmul_form, "of int4 blocks: qdq (default), or nbits: ONNX Runtime's MatMulNBits"},
           {"--runtime", &request.recipe.runtime, "onnxruntime-avx2: no two int8 weights saturate the 16-bit sums of ONNX Runtime's default session on x86 without "
            "VNNI, which then gives the exact session's results; any (default without --target)"},
           opset_flag(request.opset), shape_flag(request.shapes), samples_flag(request.max_samples), json_flag(flags->json),
           dry_run_flag(request.dry_run), threads_flag(request.threads)},
          [flags] {
            const auto record = driver::quantize(flags->request);
            if (!record) return report_failure(record.error());
            return print_result(flags->json ? report::to_json(*record) : report::summary(*record, flags->request.out.parent_path().string()));
          }}, request.bounds);
}

}  // namespace bevel::cli
