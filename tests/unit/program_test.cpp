// .bvl files: run, refused when a byte is flipped or missing, and harmless when a liar recomputes the hashes.
#include <catch2/catch.hpp>
#include <cstring>
#include <string>

#include "lib/runtime/bevel_runtime.h"
#include "tests/common/program_zoo.h"

namespace {

using bevel::test::AlignedBytes;

std::vector<std::byte> bytes_of(const bevel::plan::Program& program) { return bevel::plan::program_bytes(program); }

bvl_status open(AlignedBytes& file, bvl_program& program) {
  std::uint32_t index = 0;
  return bvl_open(file.data(), file.size(), &program, &index);
}

// Runs every entry once on a block of exactly the stated sizes, so that a checker sees any step outside of it.
void run_all(const bvl_program& program) {
  if (program.header->arena_bytes > (1u << 24) || program.header->state_bytes > (1u << 24)) return;
  AlignedBytes arena(program.header->arena_bytes), state(program.header->state_bytes);
  std::memset(arena.data(), 0x55, arena.size());
  bvl_reset(&program, state.size() ? state.data() : nullptr);
  for (std::uint32_t i = 0; i < program.entry_count; ++i) {
    CHECK(bvl_run(&program, &program.entries[i], arena.data(), arena.size(), state.data(), state.size()) == BVL_OK);
  }
}

// Sets the hashes right again, as far as the section table still makes sense.
void rehash(AlignedBytes& file) {
  bvl_header header;
  if (file.size() < sizeof header) return;
  std::memcpy(&header, file.data(), sizeof header);
  const std::uint64_t table = std::uint64_t{header.section_count} * sizeof(bvl_section);
  if (header.section_count > 64 || sizeof header + table > file.size()) return;
  for (std::uint32_t i = 0; i < header.section_count; ++i) {
    bvl_section section;
    std::uint8_t* place = file.data() + sizeof header + i * sizeof section;
    std::memcpy(&section, place, sizeof section);
    if (section.offset > file.size() || section.bytes > file.size() - section.offset) continue;
    section.hash = bvl_hash(file.data() + section.offset, section.bytes);
    std::memcpy(place, &section, sizeof section);
  }
  header.header_hash = 0;
  std::memcpy(file.data(), &header, sizeof header);
  header.header_hash = bvl_hash(file.data(), sizeof header + table);
  std::memcpy(file.data(), &header, sizeof header);
}

std::vector<std::vector<std::byte>> programs() {
  return {bytes_of(bevel::test::integer_program()), bytes_of(bevel::test::float_program())};
}

}  // namespace

TEST_CASE("programs open, run and give the same bytes twice") {
  for (const auto& bytes : programs()) {
    AlignedBytes file(bytes);
    bvl_program program;
    std::uint32_t index = 99;
    const bvl_status status = bvl_open(file.data(), file.size(), &program, &index);
    INFO(bvl_status_text(status) << " at " << index);
    REQUIRE(status == BVL_OK);
    REQUIRE(program.entry_count == 1);
    std::vector<std::string> results;
    for (int fill : {0, 255}) {  // nothing depends on what the arena held before
      AlignedBytes arena(program.header->arena_bytes);
      std::memset(arena.data(), fill, arena.size());
      const bvl_entry* entry = program.entries;
      const bvl_tensor& input = program.tensors[program.operands[entry->operands]];
      auto* x = static_cast<std::uint8_t*>(bvl_input(&program, entry, 0, arena.data()));
      for (std::uint64_t i = 0; i < input.bytes; ++i) x[i] = static_cast<std::uint8_t>(i * 37);
      REQUIRE(bvl_run(&program, entry, arena.data(), arena.size(), nullptr, 0) == BVL_OK);
      std::string& result = results.emplace_back();
      for (std::uint32_t k = 0; k < entry->output_count; ++k) {
        const bvl_tensor& output = program.tensors[program.operands[entry->operands + entry->input_count + k]];
        result.append(static_cast<const char*>(bvl_output(&program, entry, k, arena.data())), output.bytes);
      }
    }
    CHECK(results[0] == results[1]);
    AlignedBytes small(program.header->arena_bytes);
    CHECK(bvl_run(&program, program.entries, small.data(), small.size() - 1, nullptr, 0) == BVL_ERROR_ARENA);
    CHECK(bvl_run(&program, program.entries, small.data() + 1, small.size(), nullptr, 0) == BVL_ERROR_ALIGNMENT);
    CHECK(bvl_open(file.data() + 1, file.size() - 1, &program, nullptr) == BVL_ERROR_ALIGNMENT);
  }
}

TEST_CASE("a flipped bit or a missing end is refused") {
  for (const auto& bytes : programs()) {
    AlignedBytes file(bytes);
    bvl_program program;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const auto bit = static_cast<std::uint8_t>(1u << (i % 8));
      file.data()[i] ^= bit;
      if (open(file, program) == BVL_OK) run_all(program);  // padding between sections
      file.data()[i] ^= bit;
    }
    REQUIRE(open(file, program) == BVL_OK);
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      AlignedBytes part(std::span<const std::byte>(bytes.data(), size));
      REQUIRE(open(part, program) != BVL_OK);
    }
    CHECK(bvl_open(nullptr, 0, &program, nullptr) == BVL_ERROR_TRUNCATED);
  }
}

TEST_CASE("files with changed fields and right hashes are refused or harmless") {
  std::size_t opened = 0, refused = 0;
  for (const auto& bytes : programs()) {
    bvl_program program;
    AlignedBytes original(bytes);
    REQUIRE(open(original, program) == BVL_OK);
    // Constants are only values; everything in front of and behind them is structure.
    const auto constants = static_cast<std::size_t>(program.constants - program.file);
    const std::size_t constants_end = constants + program.constant_bytes;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      if (i >= constants && i < constants_end && i % 29 != 0) continue;
      for (const std::uint8_t value : {0x00, 0x01, 0x7f, 0x80, 0xff}) {
        AlignedBytes file(bytes);
        if (file.data()[i] == value) continue;
        file.data()[i] = value;
        rehash(file);
        if (open(file, program) == BVL_OK) {
          run_all(program);
          ++opened;
        } else {
          ++refused;
        }
      }
    }
  }
  CHECK(opened > 0);
  CHECK(refused > 0);
}

TEST_CASE("steps that would write a constant, overlap or lie about sizes are refused") {
  const auto refused = [](auto change) {
    bevel::plan::Program program = bevel::test::integer_program();
    change(program);
    AlignedBytes file(bytes_of(program));
    bvl_program opened;
    std::uint32_t index = 0;
    return bvl_open(file.data(), file.size(), &opened, &index);
  };
  CHECK(refused([](auto&) {}) == BVL_OK);
  CHECK(refused([](auto& p) { p.steps[2].outputs[0] = p.steps[2].inputs[1]; }) == BVL_ERROR_STEP);
  CHECK(refused([](auto& p) { p.tensors[p.steps[2].outputs[0]].offset = p.tensors[p.steps[2].inputs[0]].offset; }) == BVL_ERROR_STEP);
  CHECK(refused([](auto& p) { p.steps[2].scratch_bytes -= 16; }) == BVL_ERROR_STEP);
  CHECK(refused([](auto& p) { p.steps[2].range += 1; }) == BVL_ERROR_STEP);
  CHECK(refused([](auto& p) { p.steps[2].params[1] += 1; }) == BVL_ERROR_STEP);
  CHECK(refused([](auto& p) { p.tensors[p.steps[2].outputs[0]].offset = p.arena_bytes - 16; }) == BVL_ERROR_TENSOR);
  CHECK(refused([](auto& p) { p.steps[2].kernel = static_cast<bvl_kernel>(999); }) == BVL_ERROR_KERNEL);
  CHECK(refused([](auto& p) { p.entries[0].step_count += 1; }) == BVL_ERROR_ENTRY);
  CHECK(refused([](auto& p) { p.arena_bytes = 16; }) != BVL_OK);
}
