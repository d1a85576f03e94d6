// Runs every case of tests/passes/*.txt: text in, pipeline, text out.
//
//   === name of the case
//   pipeline: fold-pad,eliminate-dead
//   <model in the text form>
//   ---
//   <model as printed afterwards; or the word "unchanged">
//
// Passes that need statistics or choices find them in lines after the pipeline's:
//   measure: x -1 2.5            every value asked for must have one, if it is not optional: two samples, -1 and 2.5
//   rows: node 3 -1 / 2 5        the rows that operand 0 of a node brings to its products (integers, one group): (3, -1), (2, 5)
//   reference_rows: node 3 0 / 2 4   what it brings in the reference model, which is the text after a line "+++"
//   samples: 12                  or that many seeded random samples, which are run; the model as it was is the passes' reference
//   recipe: {"format": "bevel-recipe/1", ...}
// In such a case the notes of the passes follow the model, one line each: "# node (Op): text".
//
// Beside the text, each case checks that the result verifies, that it parses back to itself, and that the passes were honest: some
// pass reported changes exactly when the text changed. Every pass of passes.def must occur in some case's pipeline as the first
// or last one, in a case that changes and in a case that does not.
//
// BEVEL_UPDATE_GOLDENS=1 rewrites the expected texts (scripts/update-goldens); the diff is then reviewed as code.
#include <catch2/catch.hpp>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "calibration/calibration.h"
#include "lib/driver/samples.h"
#include "lib/ir/text.h"
#include "lib/ir/verify.h"
#include "lib/ops/op.h"
#include "lib/support/worker_pool.h"
#include "passes/pass.h"

using namespace bevel;

namespace {

struct Case {
  std::string name, pipeline, input, expected;
  std::vector<std::string> measures;
  std::string recipe;
  std::string samples;
  std::vector<std::string> rows, reference_rows;
  std::string reference;  // a model, where the passes' reference is not the input
  [[nodiscard]] bool has_choices() const { return !measures.empty() || !rows.empty() || !recipe.empty() || !samples.empty(); }
};

struct File {
  std::filesystem::path path;
  std::string head;  // comments before the first case
  std::vector<Case> cases;
};

File read_file(const std::filesystem::path& path) {
  File file;
  file.path = path;
  std::ifstream stream(path);
  std::string line;
  std::string* into = &file.head;
  while (std::getline(stream, line)) {
    if (line.starts_with("=== ")) {
      file.cases.emplace_back();
      file.cases.back().name = line.substr(4);
      into = &file.cases.back().input;
    } else if (line.starts_with("pipeline: ") && !file.cases.empty() && file.cases.back().input.empty()) {
      file.cases.back().pipeline = line.substr(10);
    } else if (line.starts_with("measure: ") && !file.cases.empty() && file.cases.back().input.empty()) {
      file.cases.back().measures.push_back(line.substr(9));
    } else if (line.starts_with("samples: ") && !file.cases.empty() && file.cases.back().input.empty()) {
      file.cases.back().samples = line.substr(9);
    } else if (line.starts_with("rows: ") && !file.cases.empty() && file.cases.back().input.empty()) {
      file.cases.back().rows.push_back(line.substr(6));
    } else if (line.starts_with("reference_rows: ") && !file.cases.empty() && file.cases.back().input.empty()) {
      file.cases.back().reference_rows.push_back(line.substr(16));
    } else if (line == "+++") {
      into = &file.cases.back().reference;
    } else if (line.starts_with("recipe: ") && !file.cases.empty() && file.cases.back().input.empty()) {
      file.cases.back().recipe = line.substr(8);
    } else if (line == "---") {
      into = &file.cases.back().expected;
    } else {
      *into += line + "\n";
    }
  }
  return file;
}

std::string trimmed(const std::string& text) {
  const auto first = text.find_first_not_of(" \n");
  const auto last = text.find_last_not_of(" \n");
  return first == std::string::npos ? "" : text.substr(first, last - first + 1);
}

void write_file(const File& file) {
  std::ofstream stream(file.path);
  stream << file.head;
  for (std::size_t i = 0; i < file.cases.size(); ++i) {
    const Case& one = file.cases[i];
    stream << "=== " << one.name << "\npipeline: " << one.pipeline << "\n";
    for (const std::string& measure : one.measures) stream << "measure: " << measure << "\n";
    if (!one.samples.empty()) stream << "samples: " << one.samples << "\n";
    for (const std::string& rows : one.rows) stream << "rows: " << rows << "\n";
    for (const std::string& rows : one.reference_rows) stream << "reference_rows: " << rows << "\n";
    if (!one.recipe.empty()) stream << "recipe: " << one.recipe << "\n";
    stream << trimmed(one.input) << "\n";
    if (!one.reference.empty()) stream << "+++\n" << trimmed(one.reference) << "\n";
    stream << "---\n" << trimmed(one.expected) << "\n";
    if (i + 1 < file.cases.size()) stream << "\n";
  }
}

// "node 3 -1 / 2 5": by node, rows.
using NamedRows = std::map<std::string, std::vector<std::vector<std::int64_t>>>;
NamedRows named_rows(const std::vector<std::string>& lines) {
  NamedRows result;
  for (const std::string& line : lines) {
    std::istringstream words(line);
    std::string word;
    words >> word;
    auto& rows = result[word];
    rows.emplace_back();
    while (words >> word) {
      if (word == "/") rows.emplace_back();
      else rows.back().push_back(std::stoll(word));
    }
  }
  return result;
}

// Answers from the case's "measure:" and "rows:" lines.
class CannedMeasure final : public data::Measure {
 public:
  explicit CannedMeasure(const Case& one) : rows_(named_rows(one.rows)), reference_rows_(named_rows(one.reference_rows)) {
    for (const std::string& line : one.measures) {
      std::istringstream words(line);
      std::string name;
      float low = 0, high = 0;
      words >> name >> low >> high;
      REQUIRE(words);
      data::ValueStatistics& value = values_[name];
      value.minimum = low;
      value.maximum = high;
      value.histogram.add(low);
      value.histogram.add(high);
    }
  }
  Result<data::Statistics> measure(const Model& model, const data::Request& request) override {
    data::Statistics statistics;
    statistics.samples = 2;
    for (const std::string& name : request.values) {
      INFO(name);
      CHECK(model.graph.find_value(name).valid());
      const auto found = values_.find(name);
      REQUIRE(found != values_.end());
      statistics.values.insert(*found);
    }
    for (const std::string& name : request.optional_values)
      if (const auto found = values_.find(name); found != values_.end()) statistics.values.insert(*found);
    for (const data::OperandKey& key : request.moments) {
      INFO(key.node);
      CHECK(model.graph.find_node(key.node).valid());
      REQUIRE(rows_.contains(key.node));
      const auto& x = rows_[key.node];
      const auto& r = request.reference != nullptr ? reference_rows_[key.node] : std::vector<std::vector<std::int64_t>>();
      const std::size_t k = x[0].size();
      data::SecondMoment moment;
      moment.rows = static_cast<std::int64_t>(x.size());
      moment.sum.resize(k), moment.gram.resize(k * k);
      if (request.reference != nullptr) moment.reference_sum.resize(k), moment.cross.resize(k * k);
      for (std::size_t row = 0; row < x.size(); ++row) {
        for (std::size_t i = 0; i < k; ++i) {
          moment.sum[i] += x[row].at(i);
          if (request.reference != nullptr) moment.reference_sum[i] += r.at(row).at(i);
          for (std::size_t j = 0; j < k; ++j) {
            moment.gram[i * k + j] += x[row][i] * x[row][j];
            if (request.reference != nullptr) moment.cross[i * k + j] += r[row][i] * x[row][j];
          }
        }
      }
      statistics.moments[key] = {std::move(moment)};
    }
    return statistics;
  }
  [[nodiscard]] bool has_samples() const override { return !rows_.empty(); }

 private:
  NamedRows rows_, reference_rows_;
  std::map<std::string, data::ValueStatistics> values_;
};

// What the runner makes of a model text; fails the test when anything is unsound.
struct Outcome {
  std::string before, after;
  std::string notes;
  std::size_t changes = 0;
};

Outcome run_case(const Case& one) {
  auto model = parse_text(one.input);
  INFO((model ? "" : model.error().message));
  REQUIRE(model.has_value());
  REQUIRE(verify(*model).has_value());
  auto steps = passes::parse_pipeline(one.pipeline);
  INFO((steps ? "" : steps.error().message));
  REQUIRE(steps.has_value());
  Outcome outcome;
  outcome.before = print(*model);
  passes::PassContext context;
  CannedMeasure measure(one);
  passes::Recipe recipe;
  if (one.has_choices()) context.measure = &measure;
  WorkerPool pool(2);
  driver::Samples samples;
  std::unique_ptr<data::Measure> running;
  const Model reference = *model;
  if (!one.samples.empty()) {
    auto made = driver::random_samples(data::inputs_needing_data(model->graph), std::stoul(one.samples));
    REQUIRE(made.has_value());
    samples = std::move(*made);
    running = calibration::measure_by_running(*samples.dataset, pool);
    context.measure = running.get();
    context.reference = &reference;
  }
  if (!one.recipe.empty()) {
    auto parsed = passes::parse_recipe(one.recipe, "recipe");
    INFO((parsed ? "" : parsed.error().message));
    REQUIRE(parsed.has_value());
    recipe = *parsed;
    context.recipe = &recipe;
  }
  Model stated_reference;
  if (!one.reference.empty()) {
    auto parsed = parse_text(one.reference);
    INFO((parsed ? "" : parsed.error().message));
    REQUIRE(parsed.has_value());
    stated_reference = std::move(*parsed);
    REQUIRE(ops::infer_types(stated_reference).has_value());
    context.reference = &stated_reference;
  }
  passes::RunOptions options;
  options.verify_each = true;
  auto reports = passes::run_pipeline(*model, *steps, context, options);
  INFO((reports ? "" : reports.error().message));
  REQUIRE(reports.has_value());
  for (const auto& report : *reports) {
    outcome.changes += report.stats.changes;
    if (!one.has_choices()) continue;
    for (const auto& note : report.stats.notes) {
      outcome.notes += "\n# " + note.node + " (" + note.op_type + "): " + note.text;
    }
  }
  outcome.after = print(*model);
  const auto sound = verify(*model);
  INFO((sound ? "" : sound.error().message));
  CHECK(sound.has_value());
  PrintOptions whole;
  whole.max_elements = INT64_MAX;
  const auto again = parse_text(print(*model, whole));
  INFO((again ? "" : again.error().message));
  REQUIRE(again.has_value());
  CHECK(print(*again, whole) == print(*model, whole));
  return outcome;
}

// Inference refines declared types, which the text shows: the text before is printed after inference.
std::string inferred_text(const std::string& input) {
  auto model = parse_text(input);
  REQUIRE(model.has_value());
  const auto status = ops::infer_types(*model);
  INFO((status ? "" : status.error().message));
  REQUIRE(status.has_value());
  return print(*model);
}

std::vector<File> all_files() {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(BEVEL_SOURCE_DIR "/tests/passes")) {
    if (entry.path().extension() == ".txt") paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  std::vector<File> files;
  for (const auto& path : paths) files.push_back(read_file(path));
  return files;
}

}  // namespace

TEST_CASE("pass goldens") {
  const bool update = std::getenv("BEVEL_UPDATE_GOLDENS") != nullptr;
  for (File& file : all_files()) {
    for (Case& one : file.cases) {
      DYNAMIC_SECTION(file.path.filename().string() << ": " << one.name) {
        const Outcome outcome = run_case(one);
        const std::string before = inferred_text(one.input);
        CHECK((outcome.changes > 0) == (outcome.after != before));
        const std::string expected = trimmed(one.expected);
        const std::string after = (outcome.after == before ? "unchanged" : trimmed(outcome.after)) + outcome.notes;
        if (update) {
          one.expected = after;
          // Each section sees the file as it was read: write this case into the file as it now is.
          File now = read_file(file.path);
          for (Case& stored : now.cases) {
            if (stored.name == one.name) stored.expected = one.expected;
          }
          write_file(now);
        } else {
          CHECK(after == expected);
        }
      }
    }
  }
}

TEST_CASE("every pass has a golden that changes and one that does not") {
  std::map<std::string, std::pair<int, int>> found;
  std::map<std::string, int> names;
  for (const File& file : all_files()) {
    for (const Case& one : file.cases) {
      CHECK(++names[file.path.filename().string() + ": " + one.name] == 1);
      const auto steps = passes::parse_pipeline(one.pipeline);
      REQUIRE(steps.has_value());
      // "unchanged", and perhaps notes
      const bool unchanged = trimmed(one.expected).starts_with("unchanged");
      for (const passes::PassRecord* pass : std::set{steps->front().pass, steps->back().pass}) {
        auto& counts = found[std::string(pass->name)];
        ++(unchanged ? counts.second : counts.first);
      }
    }
  }
  for (const passes::PassRecord* record : passes::all_passes()) {
    INFO(record->name);
    CHECK(found[std::string(record->name)].first > 0);
    CHECK(found[std::string(record->name)].second > 0);
  }
}

TEST_CASE("pass records are sound") {
  std::map<std::string_view, int> names;
  for (const passes::PassRecord* record : passes::all_passes()) {
    INFO(record->name);
    CHECK(++names[record->name] == 1);
    CHECK(passes::find_pass(record->name) == record);
    CHECK(record->run != nullptr);
    CHECK_FALSE(record->summary.empty());
  }
  CHECK(passes::find_pass("nothing") == nullptr);
}

TEST_CASE("the simplify pipeline names every exact and rounding pass") {
  const auto steps = passes::parse_pipeline(passes::named_pipeline("simplify"));
  REQUIRE(steps.has_value());
  for (const passes::PassRecord* record : passes::all_passes()) {
    if (record->accuracy == passes::Accuracy::lossy || record->name == "simplify" || record->name == "equalize-channels") continue;
    if (record->name == "propagate-quantization") continue;  // it adds nodes: for what lowers a model, not for what tidies it
    const bool named = std::any_of(steps->begin(), steps->end(),
                                   [&](const passes::PipelineStep& step) { return step.pass == record; });
    INFO(record->name);
    CHECK(named);
  }
}

TEST_CASE("pipelines are parsed strictly") {
  const auto message = [](const std::string& text) {
    const auto steps = passes::parse_pipeline(text);
    REQUIRE_FALSE(steps.has_value());
    CHECK(steps.error().code == ExitCode::usage);
    return steps.error().message;
  };
  CHECK(passes::parse_pipeline(" fold-pad , eliminate-dead{} ")->size() == 2);
  CHECK(message("fold-pads").find("did you mean 'fold-pad'?") != std::string::npos);
  CHECK(message("zzzzzz").find("did you mean") == std::string::npos);
  CHECK(message("").find("names no pass") != std::string::npos);
  CHECK(message("fold-pad,").find("expected a pass's name after ','") != std::string::npos);
  CHECK(message("fold-pad eliminate-dead").find("expected ','") != std::string::npos);
  CHECK(message("fold-pad{size=1}").find("has no option 'size'") != std::string::npos);
  CHECK(message("fold-pad{").find("expected an option's name or '}'") != std::string::npos);
}

TEST_CASE("a pass that breaks the model is found out, and leaves a reproducer") {
  const passes::PassRecord breaks = {"breaks", "for this test", passes::Accuracy::exact, {},
                                     [](Model& model, const passes::Options&, passes::PassContext&) -> Result<passes::PassStats> {
                                       model.graph.mutable_value(model.graph.outputs()[0]).uses.push_back({NodeId(std::size_t{0}), 0});
                                       return passes::PassStats{};
                                     }};
  const std::string text = R"(<ir_version: 8, opset_import: ["" : 13]>
g (float[2] x) => (float[2] y)
<float[100] w = random(1)>
{
  [a] r = Relu (x)
  [b] y = Add (r, r)
})";
  auto model = parse_text(text);
  REQUIRE(model.has_value());
  const Model before = *model;
  std::vector<passes::PipelineStep> steps = *passes::parse_pipeline("eliminate-common-subexpressions");
  steps.push_back({&breaks, {}});
  steps.push_back(steps[0]);
  passes::PassContext context;
  passes::RunOptions options;
  options.verify_each = true;
  const auto folder = std::filesystem::temp_directory_path() / "bevel_goldens_test_reproducer";
  std::filesystem::remove_all(folder);
  options.reproducer = folder.string();
  const auto reports = passes::run_pipeline(*model, steps, context, options);
  REQUIRE_FALSE(reports.has_value());
  CHECK(reports.error().code == ExitCode::internal);
  INFO(reports.error().message);
  CHECK(reports.error().message.find("pass 'breaks': the pass left an unsound model: graph 'g': value 'y'") == 0);
  CHECK(reports.error().message.find("reproduce it") != std::string::npos);
  const auto read = [](const std::filesystem::path& path) {
    std::ifstream stream(path);
    std::stringstream content;
    content << stream.rdbuf();
    return content.str();
  };
  const auto again = parse_text(read(folder / "model.txt"));
  REQUIRE(again.has_value());
  CHECK(again->graph.constant(again->graph.find_value("w"))->same_bits(*before.graph.constant(before.graph.find_value("w"))));
  CHECK(read(folder / "pipeline.txt") == "breaks,eliminate-common-subexpressions\n");
  std::filesystem::remove_all(folder);
}

TEST_CASE("inference's contradictions are the model's fault") {
  auto model = parse_text(R"(<ir_version: 8, opset_import: ["" : 13]>
    g (float[2] x) => (float[3] y) { y = Relu (x) })");
  REQUIRE(model.has_value());
  passes::PassContext context;
  const auto steps = passes::parse_pipeline("eliminate-dead");
  const auto reports = passes::run_pipeline(*model, *steps, context);
  REQUIRE_FALSE(reports.has_value());
  CHECK(reports.error().code == ExitCode::input);
}
