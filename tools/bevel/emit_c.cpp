#include <memory>

#include "lib/driver/convert.h"
#include "lib/driver/staging.h"
#include "lib/report/report.h"
#include "tools/bevel/command.h"

namespace bevel::cli {

Command emit_c_command() {
  struct Flags {
    driver::EmitRequest request;
    std::string io = "int8";
    bool json = false;
  };
  const auto flags = std::make_shared<Flags>();
  driver::EmitRequest& request = flags->request;
  return with_bounds({"emit-c",
          "C source and a .bvl file of a model as it is (quantized or float)",
          "bevel emit-c model.int8.onnx -o generated/",
          {{"MODEL", &request.model, "ONNX model", true},
           {"-o,--out", &request.out, "folder that receives NAME.c, NAME.h and NAME.bvl", true},
           {"--name", &request.name, "prefix of files and identifiers (default: model)"},
           {"--io", &flags->io, "int8: inputs and outputs are quantized integers; float: the conversion is inside"},
           shape_flag(request.shapes), json_flag(flags->json), dry_run_flag(request.dry_run), threads_flag(request.threads)},
          [flags] {
            if (flags->io != "int8" && flags->io != "float")
              return report_failure({ExitCode::usage, "--io '" + printable(flags->io) + "': expected int8 or float."});
            flags->request.float_io = flags->io == "float";
            const auto record = driver::emit_c(flags->request);
            if (!record) {
              const auto& request = flags->request;
              const bool began = record.error().code != ExitCode::usage && !request.dry_run;
              const std::string left =
                  began ? driver::earlier_outputs(request.out, {request.name + ".c", request.name + ".h", request.name + ".bvl"}) : "";
              return report_failure({record.error().code, record.error().message + left});
            }
            return print_result(flags->json ? report::to_json(*record) : report::summary(*record, flags->request.out.string()));
          }}, request.bounds);
}

}  // namespace bevel::cli
