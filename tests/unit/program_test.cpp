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
  return {bytes_of(bevel::test::integer_program()), bytes_of(bevel::test::float_program()),
          bytes_of(bevel::test::stateful_program()), bytes_of(bevel::test::packed_program()),
          bytes_of(bevel::test::wide_activation_program()), bytes_of(bevel::test::stored_program()),
          bytes_of(bevel::test::attention_program())};
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
      for (std::uint32_t k = 0; k < entry->input_count; ++k) {
        const bvl_tensor& input = program.tensors[program.operands[entry->operands + k]];
        auto* x = static_cast<std::uint8_t*>(bvl_input(&program, entry, k, arena.data()));
        for (std::uint64_t i = 0; i < input.bytes; ++i) x[i] = static_cast<std::uint8_t>(i * 37);
      }
      AlignedBytes state(program.header->state_bytes);
      std::memset(state.data(), fill, state.size());
      bvl_reset(&program, state.data());
      REQUIRE(bvl_run(&program, entry, arena.data(), arena.size(), state.data(), state.size()) == BVL_OK);
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

TEST_CASE("states begin as the Program says and outlive a call") {
  AlignedBytes file(bytes_of(bevel::test::stateful_program()));
  bvl_program program;
  REQUIRE(open(file, program) == BVL_OK);
  AlignedBytes arena(program.header->arena_bytes), state(program.header->state_bytes);
  const std::int8_t x[6] = {10, 10, 10, 10, 10, 10};
  const auto call = [&] {
    std::memcpy(bvl_input(&program, program.entries, 0, arena.data()), x, sizeof x);
    REQUIRE(bvl_run(&program, program.entries, arena.data(), arena.size(), state.data(), state.size()) == BVL_OK);
  };
  const auto sums = [&] {
    const auto* y = static_cast<const std::int8_t*>(bvl_output(&program, program.entries, 0, arena.data()));
    return std::vector<int>(y, y + 6);
  };
  const auto totals = [&] {
    const auto* y = static_cast<const float*>(bvl_output(&program, program.entries, 1, arena.data()));
    return std::vector<float>(y, y + 6);
  };
  for (int round = 0; round < 2; ++round) {
    std::memset(state.data(), 0x77, state.size());
    bvl_reset(&program, state.data());
    call();
    CHECK(sums() == std::vector<int>{60, -40, 35, -15, 14, 10});  // 10 + initial / 2, half to even
    CHECK(totals() == std::vector<float>(6, 1.75f));
    call();
    CHECK(sums() == std::vector<int>{40, -10, 28, 2, 17, 15});
    CHECK(totals() == std::vector<float>(6, 3.5f));
  }
  CHECK(bvl_run(&program, program.entries, arena.data(), arena.size(), state.data(), state.size() - 1) == BVL_ERROR_ARENA);
  CHECK(bvl_run(&program, program.entries, arena.data(), arena.size(), nullptr, state.size()) == BVL_ERROR_ARENA);

  bevel::plan::Program zeros = bevel::test::stateful_program();  // no initial values: no section, zeros
  for (auto& tensor : zeros.tensors) {
    if (tensor.storage == BVL_STORAGE_STATE) tensor.constant = {};
  }
  AlignedBytes plain(bytes_of(zeros));
  REQUIRE(open(plain, program) == BVL_OK);
  CHECK(program.state_init == nullptr);
  std::memset(state.data(), 0x77, state.size());
  bvl_reset(&program, state.data());
  call();
  CHECK(sums() == std::vector<int>(6, 10));
}

TEST_CASE("overrides of this machine give the bytes of portable C, over whole networks") {
  for (const auto& source : {bevel::test::integer_program(), bevel::test::wide_program(), bevel::test::float_program(), bevel::test::stateful_program(),
                             bevel::test::packed_program(), bevel::test::wide_activation_program(), bevel::test::stored_program(), bevel::test::attention_program()}) {
    AlignedBytes file(bytes_of(source));
    bvl_program program;
    REQUIRE(open(file, program) == BVL_OK);
    const bvl_entry& entry = program.entries[0];
    AlignedBytes arena(program.header->arena_bytes), state(program.header->state_bytes);
    AlignedBytes portable_arena(arena.size()), portable_state(state.size());
    bvl_reset(&program, state.data());
    bvl_reset(&program, portable_state.data());
    bevel::Random random(5);
    for (int sample = 0; sample < 4; ++sample) {
      for (std::uint32_t k = 0; k < entry.input_count; ++k) {
        const bvl_tensor& input = program.tensors[program.operands[entry.operands + k]];
        for (std::uint64_t i = 0; i < input.bytes; ++i) {
          arena.data()[input.offset + i] = portable_arena.data()[input.offset + i] = static_cast<std::uint8_t>(random.next());
        }
      }
      REQUIRE(bvl_run(&program, &entry, arena.data(), arena.size(), state.data(), state.size()) == BVL_OK);
      for (std::uint32_t s = 0; s < entry.step_count; ++s) {
        const bvl_step& step = program.steps[entry.first_step + s];
        std::vector<const void*> in;
        std::vector<void*> out;
        for (std::uint32_t k = 0; k < std::uint32_t{step.input_count} + step.output_count; ++k) {
          const bvl_tensor& tensor = program.tensors[program.operands[step.operands + k]];
          std::uint8_t* block = tensor.storage == BVL_STORAGE_STATE ? portable_state.data() : portable_arena.data();
          if (k >= step.input_count) out.push_back(block + tensor.offset);
          else in.push_back(tensor.storage == BVL_STORAGE_CONSTANT ? program.constants + tensor.offset : block + tensor.offset);
        }
        bvl_portable_kernel_function(step.kernel)(program.params + step.params, in.data(), out.data(),
                                                  portable_arena.data() + step.scratch_offset, 0, step.range);
      }
      for (std::uint32_t k = 0; k < entry.output_count; ++k) {
        const bvl_tensor& output = program.tensors[program.operands[entry.operands + entry.input_count + k]];
        INFO("output " << k << " of sample " << sample);
        CHECK(std::memcmp(arena.data() + output.offset, portable_arena.data() + output.offset, output.bytes) == 0);
      }
      CHECK(std::memcmp(state.data(), portable_state.data(), state.size()) == 0);
    }
  }
}

TEST_CASE("what a newer Bevel wrote is refused, and what may be ignored is ignored") {
  const auto bytes = bytes_of(bevel::test::stateful_program());
  struct Opened {
    bvl_status status;
    std::uint32_t index;
    bool has_initial_state;
  };
  const auto changed = [&](auto change) {
    AlignedBytes file(bytes);
    change(reinterpret_cast<bvl_header*>(file.data()), reinterpret_cast<bvl_section*>(file.data() + sizeof(bvl_header)));
    rehash(file);
    bvl_program program;
    Opened opened{};
    opened.status = bvl_open(file.data(), file.size(), &program, &opened.index);
    opened.has_initial_state = program.state_init != nullptr;
    return opened;
  };
  const auto status = [&](auto change) { return changed(change).status; };
  const auto section = [](bvl_section* sections, std::uint32_t kind) {
    while (sections->kind != kind) ++sections;
    return sections;
  };
  const auto step = [&](bvl_header* header, bvl_section* sections, std::uint32_t i) {
    return reinterpret_cast<bvl_step*>(reinterpret_cast<std::uint8_t*>(header) + section(sections, BVL_SECTION_STEPS)->offset) + i;
  };

  const Opened plain = changed([](auto*, auto*) {});
  CHECK(plain.status == BVL_OK);
  CHECK(plain.has_initial_state);

  CHECK(status([](auto* h, auto*) { h->version = BVL_VERSION + 1; }) == BVL_ERROR_VERSION);
  CHECK(status([](auto* h, auto*) { h->version = 0; }) == BVL_ERROR_VERSION);
  for (int bit : {0, 7, 31}) {
    CHECK(status([bit](auto* h, auto*) { h->features = std::uint32_t{1} << bit; }) == BVL_ERROR_VERSION);
  }
  CHECK(status([](auto* h, auto*) { h->numeric_mode = BVL_NUMERIC_FIXED_POINT; }) == BVL_ERROR_VERSION);
  CHECK(status([](auto* h, auto*) { h->numeric_mode = 2; }) == BVL_ERROR_VERSION);

  // The section of initial states stands for one that this runtime does not know.
  const auto place = [&] {
    const auto* sections = reinterpret_cast<const bvl_section*>(bytes.data() + sizeof(bvl_header));
    std::uint32_t i = 0;
    while (sections[i].kind != BVL_SECTION_STATE_INIT) ++i;
    return i;
  }();
  for (std::uint32_t kind : {0u, 10u, 0x80000001u, 0xffffffffu}) {
    const Opened must = changed([&](auto*, auto* s) { section(s, BVL_SECTION_STATE_INIT)->kind = kind; });
    CHECK(must.status == BVL_ERROR_SECTION);
    CHECK(must.index == place);
    const Opened optional = changed([&](auto*, auto* s) {
      bvl_section* unknown = section(s, BVL_SECTION_STATE_INIT);
      unknown->kind = kind;
      unknown->flags = 0;
    });
    CHECK(optional.status == BVL_OK);
    CHECK_FALSE(optional.has_initial_state);
  }
  // Known ones: twice, of a wrong size, or absent.
  CHECK(status([&](auto*, auto* s) { section(s, BVL_SECTION_STATE_INIT)->kind = BVL_SECTION_CONSTANTS; }) == BVL_ERROR_SECTION);
  CHECK(status([&](auto*, auto* s) { section(s, BVL_SECTION_STATE_INIT)->bytes -= 16; }) == BVL_ERROR_SECTION);
  CHECK(status([&](auto*, auto* s) {
          bvl_section* tensors = section(s, BVL_SECTION_TENSORS);
          tensors->kind = 77;
          tensors->flags = 0;
        }) == BVL_ERROR_SECTION);

  const auto newer = changed([&](auto* h, auto* s) { step(h, s, 2)->version += 1; });
  CHECK(newer.status == BVL_ERROR_KERNEL);
  CHECK(newer.index == 2);
  CHECK(status([&](auto* h, auto* s) { step(h, s, 0)->version = 0; }) == BVL_ERROR_KERNEL);
  CHECK(status([&](auto* h, auto* s) { step(h, s, 0)->kernel = 0; }) == BVL_ERROR_KERNEL);
  CHECK(status([&](auto* h, auto* s) { step(h, s, 0)->kernel = 60000; }) == BVL_ERROR_KERNEL);
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
