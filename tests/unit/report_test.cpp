// Records to JSON, Markdown and summaries; staging of outputs; flags of shapes.
#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "lib/driver/depfile.h"
#include "lib/driver/load.h"
#include "lib/driver/staging.h"
#include "lib/driver/verify.h"
#include "lib/report/report.h"

using namespace bevel;
namespace fs = std::filesystem;

namespace {

report::CompileRecord small_record() {
  report::CompileRecord record;
  record.model.graph = "a|b";
  record.target.name = "here";
  record.samples = report::SampleSource{"evaluation", 10, "00"};
  record.metric = report::MetricFigures{"top1", 90.0, 80.0, 80.0};
  record.int8_outputs = {{"y", 20.5, 0.9, 0.25, 3, 100}, {"z", std::numeric_limits<double>::infinity(), 1, 0, 100, 100}};
  record.layers = {{"bad\xff|name", "conv2d_s8", 10, 20, 30, 12.5}};
  record.budget = {{"ram", "B", 2048, 1024, false, false, "stated"}};
  return record;
}

fs::path fresh_folder() {
  const fs::path folder = fs::temp_directory_path() / "bevel_report_test";
  fs::remove_all(folder);
  fs::create_directories(folder);
  return folder;
}

std::size_t entries(const fs::path& folder) {
  return static_cast<std::size_t>(std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

}  // namespace

TEST_CASE("a report is valid JSON with the documented keys, whatever the names hold") {
  const std::string text = report::to_json(small_record());
  REQUIRE(text.back() == '\n');
  const auto json = nlohmann::json::parse(text);
  CHECK(json["format"] == "bevel-report/1");
  CHECK(json["metric"]["int8"] == 80.0);
  CHECK(json["sqnr_db"] == 20.5);  // the least over the outputs
  CHECK(json["agreement"] == 0.9);
  CHECK(json["outputs"]["int8"][1]["sqnr_db"] == "inf");
  CHECK(json["budget"][0]["met"] == false);
  CHECK(json["max_drop"].is_null());
  CHECK(text == report::to_json(small_record()));
}

TEST_CASE("names cannot break a Markdown table") {
  const std::string text = report::to_markdown(small_record());
  CHECK(text.find("a\\|b") != std::string::npos);
  CHECK(text.find("bad\xff|name") == std::string::npos);
  CHECK(text.find("**missed**") != std::string::npos);
}

TEST_CASE("nothing that names hold reaches a terminal as a command") {
  // Escape sequences, a bell, DEL, C1's CSI, invalid UTF-8, and what turns the writing direction or ends a line.
  const std::string bad = "a\x1b[2J\x1b]0;t\x07\r\x7f\xc2\x9b" "1m\xff\xe2\x80\xae\xe2\x80\xa8\xe2\x81\xa6" "b";
  report::CompileRecord compile = small_record();
  compile.status = "budget-missed";
  compile.messages = compile.warnings = compile.notes = {bad};
  compile.model.graph = compile.target.name = compile.target.summary = compile.metric->name = compile.peak_step = bad;
  compile.peak_tensors = compile.largest_weights = {{bad, 1}};
  compile.layers = {{bad, bad, 1, 1, 1, 1.0}};
  compile.stays_float = {{bad, bad, bad}};
  compile.int8_outputs = compile.runtime_outputs = {{bad, 1.0, 1.0, 0, 1, 1}};
  report::WriteRecord write;
  write.files = {{bad, 1}};
  write.stays_float = compile.stays_float;
  write.notes = write.warnings = {bad};
  write.not_checked = bad;
  write.samples = compile.samples;
  write.outputs = compile.int8_outputs;
  report::RunRecord run;
  run.whole_tensors = true;
  run.inputs = run.outputs = {{bad, bad}};
  report::InspectRecord inspect;
  inspect.graph = inspect.opsets = bad;
  inspect.inputs = inspect.outputs = {{bad, bad}};
  inspect.layers.resize(1);
  inspect.layers[0].node = inspect.layers[0].op_type = inspect.layers[0].shape = bad;
  inspect.added_nodes = {{bad, bad}};
  inspect.stays_float = compile.stays_float;
  inspect.notes = {bad};
  report::InspectRecord unknown = inspect;
  unknown.stays_float_unknown = bad;
  report::CompareRecord compare;
  compare.outputs = compile.int8_outputs;
  compare.notes = {bad};
  compare.metric = bad;
  report::BenchRecord bench;
  bench.nodes = {{bad, bad, 1.0}};
  report::EvalRecord eval;
  eval.notes = {bad};
  eval.metric = bad;
  for (const std::string& text :
       {report::summary(compile, bad), report::to_markdown(compile), report::to_json(compile), report::summary(write, bad),
        report::to_json(write), report::summary(run, bad), report::to_json(run), report::summary(inspect), report::to_json(inspect),
        report::summary(unknown), report::to_json(unknown), report::summary(compare), report::to_json(compare), report::summary(bench),
        report::to_json(bench), report::summary(eval), report::to_json(eval)}) {
    INFO(text);
    for (const char c : text) CHECK((c == '\n' || (static_cast<unsigned char>(c) >= 0x20 && c != 0x7f)));
    for (const char* sequence : {"\xc2\x9b", "\xe2\x80\xae", "\xe2\x80\xa8", "\xe2\x81\xa6"}) CHECK(text.find(sequence) == std::string::npos);
    CHECK(text.find("[2J") != std::string::npos);  // shown, without the escape before it
  }
}

TEST_CASE("a summary says MISSED, and has colour only when asked") {
  report::CompileRecord record = small_record();
  record.status = "budget-missed";
  const std::string plain = report::summary(record, "out");
  CHECK(plain.find("MISSED") != std::string::npos);
  CHECK(plain.find('\x1b') == std::string::npos);
  CHECK(report::summary(record, "out", {true}).find('\x1b') != std::string::npos);
}

TEST_CASE("numbers as a person reads them") {
  CHECK(report::grouped(0) == "0");
  CHECK(report::grouped(999) == "999");
  CHECK(report::grouped(1234567) == "1,234,567");
  CHECK(report::human_bytes(1536) == "1.5 KiB");
  CHECK(report::human_quantity(0.0123, "s") == "12.3 ms");
  CHECK(report::decibels(std::numeric_limits<double>::infinity()) == "identical");
}

TEST_CASE("staged files appear together, and nothing else stays") {
  const fs::path folder = fresh_folder();
  {
    auto staging = driver::Staging::create(folder / "new/deep", true);
    REQUIRE(staging);
    REQUIRE(staging->write("a.txt", std::string_view("first")));
    REQUIRE(staging->write("b.txt", std::string_view("second")));
    CHECK_FALSE(fs::exists(folder / "new/deep/a.txt"));
    REQUIRE(staging->publish({"a.txt", "b.txt"}));
  }
  CHECK(entries(folder / "new/deep") == 2);
  {
    auto abandoned = driver::Staging::create(folder / "other/deep", true);
    REQUIRE(abandoned);
    REQUIRE(abandoned->write("a.txt", std::string_view("first")));
  }
  CHECK_FALSE(fs::exists(folder / "other"));
  const auto absent = driver::Staging::create(folder / "nowhere", false);
  REQUIRE_FALSE(absent);
  CHECK(absent.error().code == ExitCode::output);
  {
    auto interrupted = driver::Staging::create(folder / "cut/deep", true);
    REQUIRE(interrupted->write("a.txt", std::string_view("first")));
    driver::remove_open_staging();
    CHECK_FALSE(fs::exists(folder / "cut"));
  }
  fs::remove_all(folder);
}

TEST_CASE("shapes on the command line") {
  const auto good = driver::parse_shapes({"N=8", "image=1x3x224x224", "a=b=2"});
  REQUIRE(good);
  CHECK((*good)[0].dims == Dims{8});
  CHECK((*good)[1].dims == Dims{1, 3, 224, 224});
  CHECK((*good)[2].name == "a=b");
  for (const char* bad : {"N", "=3", "N=", "N=x", "N=1x", "N=-1", "N=1x x2", "N=99999999999999999999"}) {
    INFO(bad);
    const auto result = driver::parse_shapes({bad});
    REQUIRE_FALSE(result);
    CHECK(result.error().code == ExitCode::usage);
  }
}

TEST_CASE("points lost, by metric") {
  CHECK(driver::drop_in_points("top1", 90, 88.5) == Approx(1.5));
  CHECK(driver::drop_in_points("auc", 0.99, 0.97) == Approx(2));
  CHECK(driver::drop_in_points("mse", 0.5, 0.6) == Approx(20));
  CHECK(driver::drop_in_points("top1", 88, 90) < 0);
}

TEST_CASE("a dependency file is a rule that Make can read") {
  const fs::path folder = fresh_folder();
  REQUIRE(driver::write_depfile(folder / "out.d", "out/report.json", {"d.json", "my data.npz", "a$b#c"}));
  std::ifstream stream(folder / "out.d");
  const std::string text((std::istreambuf_iterator<char>(stream)), {});
  CHECK(text == "out/report.json: \\\n  d.json \\\n  my\\ data.npz \\\n  a$$b\\#c\n");
  fs::remove_all(folder);
}
