#include <memory>

#include "lib/driver/catalogue.h"
#include "lib/report/report.h"
#include "tools/bevel/command.h"

namespace bevel::cli {

Command targets_command() {
  struct Flags {
    std::optional<std::string> name;
    bool json = false;
  };
  const auto flags = std::make_shared<Flags>();
  return {"targets",
          "the known devices; --json also tells where each figure comes from",
          "bevel targets stm32l4r5 --json",
          {{"NAME", &flags->name, "one device, or the path of a device record"}, json_flag(flags->json)},
          [flags] {
            const auto rows = driver::targets(flags->name);
            if (!rows) return report_failure(rows.error());
            return print_result(flags->json ? report::to_json(*rows) : report::summary(*rows));
          }};
}

}  // namespace bevel::cli
