// Emitted C gives the runtime's bytes: the hand-made Programs, through scripts/check-emitted-c (every compiler and machine
// that it finds here).
#include <catch2/catch.hpp>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>

#include "lib/emit/emit_c.h"
#include "lib/runtime/bevel_runtime.h"
#include "tests/common/program_zoo.h"

namespace {

namespace fs = std::filesystem;
using bevel::test::AlignedBytes;

void write(const fs::path& path, const std::string& text) {
  std::ofstream out(path, std::ios::binary);
  out << text;
  REQUIRE(out.good());
}

// model.c, model.h, and the vectors that the script compares: all inputs of a sample in order, all outputs in order.
void write_folder(const bevel::plan::Program& program, const fs::path& folder, int samples) {
  fs::create_directories(folder);
  const auto source = bevel::emit::emit_c(program);
  REQUIRE(source);
  write(folder / "model.h", source->header);
  write(folder / "model.c", source->source);
  const auto bytes = bevel::plan::program_bytes(program);
  AlignedBytes file(bytes);
  bvl_program opened;
  REQUIRE(bvl_open(file.data(), file.size(), &opened, nullptr) == BVL_OK);
  AlignedBytes arena(opened.header->arena_bytes), state(opened.header->state_bytes);
  std::memset(state.data(), 0xa5, state.size());
  bvl_reset(&opened, state.data());
  bevel::Random random(77);
  std::string inputs, outputs;
  for (int i = 0; i < samples; ++i) {
    const bvl_entry* entry = opened.entries;
    for (std::uint32_t k = 0; k < entry->input_count + entry->output_count; ++k) {
      const bvl_tensor& tensor = opened.tensors[opened.operands[entry->operands + k]];
      char* place = reinterpret_cast<char*>(arena.data() + tensor.offset);
      if (k == entry->input_count) REQUIRE(bvl_run(&opened, entry, arena.data(), arena.size(), state.data(), state.size()) == BVL_OK);
      if (k < entry->input_count) {
        for (std::uint64_t b = 0; b < tensor.bytes; ++b) place[b] = static_cast<char>(random.next());
      }
      (k < entry->input_count ? inputs : outputs).append(place, tensor.bytes);
    }
  }
  write(folder / "inputs.bin", inputs);
  write(folder / "outputs.bin", outputs);
}

void check(const bevel::plan::Program& program, const std::string& name) {
  const fs::path folder = fs::path(BEVEL_BINARY_DIR) / "emitted_c" / name;
  write_folder(program, folder, 5);
  const std::string command = std::string(BEVEL_SOURCE_DIR) + "/scripts/check-emitted-c '" + folder.string() + "'";
  CHECK(std::system(command.c_str()) == 0);
}

}  // namespace

TEST_CASE("integer program") { check(bevel::test::integer_program(), "integer"); }
TEST_CASE("stateful program") { check(bevel::test::stateful_program(), "stateful"); }
TEST_CASE("float program") { check(bevel::test::float_program(), "float"); }
TEST_CASE("attention program") { check(bevel::test::attention_program(), "attention"); }
TEST_CASE("packed program") { check(bevel::test::packed_program(), "packed"); }
TEST_CASE("program with int16 activations") { check(bevel::test::wide_activation_program(), "int16"); }
TEST_CASE("program with stored weights") { check(bevel::test::stored_program(), "stored"); }

TEST_CASE("each kernel alone compiles without a warning") {
  const fs::path folder = fs::path(BEVEL_BINARY_DIR) / "emitted_c" / "alone";
  fs::create_directories(folder);
  std::set<bvl_kernel> seen;
  for (bevel::plan::Program program : {bevel::test::integer_program(), bevel::test::float_program(), bevel::test::packed_program(),
                                       bevel::test::wide_activation_program(), bevel::test::stored_program(), bevel::test::attention_program()}) {
    for (std::uint32_t i = 0; i < program.steps.size(); ++i) {
      if (!seen.insert(program.steps[i].kernel).second) continue;
      program.entries[0].first_step = i;
      program.entries[0].step_count = 1;
      const std::string name = bvl_kernel_name(program.steps[i].kernel);
      const auto source = bevel::emit::emit_c(program, {"only_" + name});
      REQUIRE(source);
      write(folder / ("only_" + name + ".h"), source->header);
      write(folder / ("only_" + name + ".c"), source->source);
    }
  }
  CHECK(seen.size() >= 40);
  for (const char* compiler : {"gcc", "clang", "arm-none-eabi-gcc -mthumb -mcpu=cortex-m0plus"}) {
    const std::string program = std::string(compiler).substr(0, std::string(compiler).find(' '));
    if (std::system(("command -v " + program + " > /dev/null").c_str()) != 0) {
      WARN(program << " is not installed: skipped");
      continue;
    }
    INFO(compiler);
    CHECK(std::system(("cd '" + folder.string() + "' && " + compiler + " -std=c11 -O1 -Wall -Wextra -Wconversion -Werror -c only_*.c").c_str()) == 0);
  }
}

TEST_CASE("emission is deterministic and refuses names that are no identifiers") {
  const auto program = bevel::test::integer_program();
  const auto first = bevel::emit::emit_c(program), second = bevel::emit::emit_c(program);
  REQUIRE(first);
  REQUIRE(second);
  CHECK(first->source == second->source);
  CHECK(first->header == second->header);
  for (const char* name : {"", "1st", "a-b", "int", "class", "bvl_x", "x\n"}) {
    INFO(name);
    const auto result = bevel::emit::emit_c(program, {name});
    REQUIRE_FALSE(result);
    CHECK(result.error().code == bevel::ExitCode::usage);
  }
  const auto named = bevel::emit::emit_c(program, {"kws_v2"});
  REQUIRE(named);
  CHECK(named->header.find("void kws_v2_infer(void* arena);") != std::string::npos);
}
