#include "lib/driver/explain.h"

#include <memory>

#include "lib/report/report.h"
#include "tools/bevel/command.h"

namespace bevel::cli {

Command explain_command() {
  struct Flags {
    driver::ExplainRequest request;
    bool json = false, markdown = false;
  };
  const auto flags = std::make_shared<Flags>();
  driver::ExplainRequest& request = flags->request;
  return with_bounds({"explain",
          "where a quantized model loses its accuracy, layer by layer: how much, why, and which change of the recipe helps",
          "bevel explain model.onnx --calib calib.json --eval eval.json",
          {{"MODEL", &request.model, "ONNX model: float (it is quantized as `bevel quantize` would), or quantized by anybody", true},
           {"--calib", &request.calibration, "calibration samples: a bevel-data/1 description or an .npz"},
           {"--profile", &request.profile, "refused: a profile holds no samples to run"},
           {"--eval", &request.evaluation, "samples that errors and metric are measured on; default: the calibration samples"},
           {"--reference", &request.reference, "the float parent of a quantized MODEL; default: its own version without rounded activations"},
           {"--worst", &request.worst, "layers for which changes of the recipe are tried (default 4); 0: none"},
           {"--target", &request.target, "take the activations' dtype from this device"},
           {"--preset", &request.recipe.preset, "as for quantize"},
           {"--recipe", &request.recipe.recipe, "a recipe: precision and range per node"},
           {"--keep-float", &request.recipe.keep_float, "leave a node, or all nodes of an operator, in float; a list (Conv,Add), may be repeated"},
           {"--range", &request.recipe.range, "auto (default), minmax, percentile[:99.9], mse or entropy"},
           {"--activations", &request.recipe.activations, "int8, uint8, int16, or float32: weights alone"},
           {"--weights", &request.recipe.weights, "int8 or int4"},
           shape_flag(request.shapes), samples_flag(request.max_samples), json_flag(flags->json),
           {"--markdown", &flags->markdown, "print the result as Markdown instead of a summary"}, threads_flag(request.threads)},
          [flags] {
            if (flags->json && flags->markdown)
              return report_failure({ExitCode::usage, "--json and --markdown exclude each other: give one of them."});
            const auto record = driver::explain(flags->request);
            if (!record) return report_failure(record.error());
            return print_result(flags->json ? report::to_json(*record) : flags->markdown ? report::to_markdown(*record) : report::summary(*record));
          }}, request.bounds);
}

}  // namespace bevel::cli
