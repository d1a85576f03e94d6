// Pipelines: text to steps, and steps run one after the other with inference, verification, timing and reproducers.
#include <chrono>
#include <filesystem>

#include "lib/ir/text.h"
#include "lib/ir/verify.h"
#include "lib/ops/op.h"
#include "lib/support/atomic_file.h"
#include "lib/support/nearest_name.h"
#include "passes/pass.h"

namespace bevel::passes {
namespace {

// The passes that stand before `simplify` in passes.def, in that order.
const std::string& simplify_text() {
  static const std::string text = [] {
    std::string names;
    for (const PassRecord* record : all_passes()) {
      if (record->name == "simplify") break;
      names += (names.empty() ? "" : ",") + std::string(record->name);
    }
    return names;
  }();
  return text;
}

// Each round but the last changes something, and no pass undoes another's work, so that few rounds suffice (effnet_lite0:
// 4). The cap turns a fight between two passes into an error instead of a hang.
constexpr int kMaxRounds = 50;

class PipelineParser {
 public:
  explicit PipelineParser(std::string_view text) : text_(text) {}

  Result<std::vector<PipelineStep>> steps() {
    std::vector<PipelineStep> steps;
    skip();
    while (at_ < text_.size()) {
      const std::string name = word();
      if (name.empty()) return expected("a pass's name");
      const PassRecord* record = find_pass(name);
      if (record == nullptr) {
        std::vector<std::string_view> names;
        for (const PassRecord* one : all_passes()) names.push_back(one->name);
        return fail(ExitCode::usage, "pipeline: no pass is named '{}'{}; `bevel passes` lists them", printable(name),
                    suggestion(name, names));
      }
      PipelineStep step{record, {}};
      for (const OptionRecord& option : record->options) step.options.emplace(option.name, option.default_value);
      skip();
      if (at_ < text_.size() && text_[at_] == '{') BEVEL_TRY_STATUS(options(step));
      steps.push_back(std::move(step));
      skip();
      if (at_ == text_.size()) break;
      if (text_[at_] != ',') return expected("','");
      ++at_;
      skip();
      if (at_ == text_.size()) return expected("a pass's name after ','");
    }
    if (steps.empty()) return fail(ExitCode::usage, "pipeline: the text names no pass");
    return steps;
  }

 private:
  static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
  void skip() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
  }
  std::string word() {
    const std::size_t start = at_;
    while (at_ < text_.size() && !is_space(text_[at_]) && std::string_view(",{}=").find(text_[at_]) == std::string_view::npos) ++at_;
    return std::string(text_.substr(start, at_ - start));
  }
  Failure expected(std::string_view what) const {
    return fail(ExitCode::usage, "pipeline: expected {} at character {} of '{}'", what, at_ + 1, printable(text_));
  }

  // {name=value name=value}: separated by spaces or commas.
  Status options(PipelineStep& step) {
    ++at_;
    std::vector<std::string> given;
    for (;;) {
      while (at_ < text_.size() && (is_space(text_[at_]) || text_[at_] == ',')) ++at_;
      if (at_ < text_.size() && text_[at_] == '}') break;
      const std::string name = word();
      if (name.empty()) return expected("an option's name or '}'");
      const auto found = step.options.find(name);
      if (found == step.options.end()) {
        std::vector<std::string_view> names;
        for (const OptionRecord& option : step.pass->options) names.push_back(option.name);
        return fail(ExitCode::usage, "pipeline: pass '{}' has no option '{}'{}", step.pass->name, printable(name),
                    suggestion(name, names));
      }
      for (const std::string& earlier : given) {
        if (earlier == name) {
          return fail(ExitCode::usage, "pipeline: option '{}' of pass '{}' is given twice", name, step.pass->name);
        }
      }
      given.push_back(name);
      if (at_ == text_.size() || text_[at_] != '=') return expected("'=' after an option's name");
      ++at_;
      found->second = word();
    }
    ++at_;
    return {};
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

std::string to_text(std::span<const PipelineStep> steps) {
  std::string text;
  for (const PipelineStep& step : steps) {
    if (!text.empty()) text += ',';
    text += step.pass->name;
    std::string options;
    for (const auto& [name, value] : step.options) {
      for (const OptionRecord& record : step.pass->options) {
        if (record.name == name && record.default_value != value) {
          options += fmt::format("{}{}={}", options.empty() ? "" : " ", name, value);
        }
      }
    }
    if (!options.empty()) text += '{' + options + '}';
  }
  return text;
}

// The model as it was before the failing pass and what was still to run; returns what to add to the message.
std::string write_reproducer(const std::string& folder, const Model& before, std::span<const PipelineStep> rest) {
  const std::filesystem::path path(folder);
  std::error_code code;
  std::filesystem::create_directories(path, code);
  PrintOptions whole;
  whole.max_elements = INT64_MAX;
  for (const auto& [name, content] : {std::pair<const char*, std::string>("model.txt", print(before, whole)),
                                      std::pair<const char*, std::string>("pipeline.txt", to_text(rest) + "\n")}) {
    if (auto status = write_file_atomically(path / name, content); !status) {
      return "; the reproducer could not be written: " + status.error().message;
    }
  }
  return fmt::format("; '{}' and '{}' reproduce it", (path / "model.txt").string(), (path / "pipeline.txt").string());
}

Result<PassStats> run_step(Model& model, const PipelineStep& step, PassContext& context, bool verify_each) {
  BEVEL_TRY(PassStats stats, step.pass->run(model, step.options, context));
  if (stats.changes > 0) BEVEL_TRY_STATUS(ops::infer_types(model));
  if (verify_each) {
    if (auto status = verify(model); !status) {
      return fail(ExitCode::internal, "the pass left an unsound model: {}", status.error().message);
    }
  }
  return stats;
}

}  // namespace

Result<std::vector<PipelineStep>> parse_pipeline(std::string_view text) { return PipelineParser(text).steps(); }

Result<std::vector<PassReport>> run_pipeline(Model& model, std::span<const PipelineStep> pipeline, PassContext& context,
                                             const RunOptions& options) {
  BEVEL_TRY_STATUS(ops::infer_types(model));
  std::vector<PassReport> reports;
  for (std::size_t i = 0; i < pipeline.size(); ++i) {
    const PipelineStep& step = pipeline[i];
    std::optional<Model> before;  // shares all tensors
    if (!options.reproducer.empty()) before = model;
    const auto start = std::chrono::steady_clock::now();
    auto stats = run_step(model, step, context, options.verify_each);
    if (!stats) {
      Diagnostic diagnostic = std::move(stats).error();
      if (before) diagnostic.message += write_reproducer(options.reproducer, *before, pipeline.subspan(i));
      return located(fmt::format("pass '{}'", step.pass->name), std::move(diagnostic));
    }
    const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
    reports.push_back({std::string(step.pass->name), std::move(*stats), seconds.count()});
  }
  return reports;
}

std::string_view named_pipeline(std::string_view name) {
  return name == "simplify" ? std::string_view(simplify_text()) : std::string_view();
}

Result<std::vector<PassReport>> simplify(Model& model, const RunOptions& options) {
  BEVEL_TRY(const std::vector<PipelineStep> steps, parse_pipeline(simplify_text()));
  PassContext context;
  std::vector<PassReport> total;
  for (int round = 0; round < kMaxRounds; ++round) {
    BEVEL_TRY(std::vector<PassReport> reports, run_pipeline(model, steps, context, options));
    std::size_t changes = 0;
    if (total.empty()) {
      for (const PassReport& report : reports) changes += report.stats.changes;
      total = std::move(reports);
    } else {
      for (std::size_t i = 0; i < reports.size(); ++i) {
        changes += reports[i].stats.changes;
        total[i].stats.changes += reports[i].stats.changes;
        total[i].seconds += reports[i].seconds;
        for (NodeNote& note : reports[i].stats.notes) total[i].stats.notes.push_back(std::move(note));
      }
    }
    if (changes == 0) return total;
  }
  return fail(ExitCode::internal, "simplify: no fixed point after {} rounds", kMaxRounds);
}

}  // namespace bevel::passes
