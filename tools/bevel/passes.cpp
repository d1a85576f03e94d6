#include <memory>

#include "lib/driver/catalogue.h"
#include "lib/report/report.h"
#include "tools/bevel/command.h"

namespace bevel::cli {

Command passes_command() {
  const auto json = std::make_shared<bool>(false);
  return {"passes",
          "the passes, their options and what they may change",
          "bevel passes",
          {json_flag(*json)},
          [json] {
            const auto rows = driver::passes_table();
            return print_result(*json ? report::to_json(rows) : report::summary(rows));
          }};
}

}  // namespace bevel::cli
