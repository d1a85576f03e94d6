// write_programs FOLDER: the hand-made Programs of tests/common as .bvl files, for programs that do not link the compiler.
#include <filesystem>
#include <fstream>

#include "tests/common/program_zoo.h"

int main(int argc, char** argv) {
  using namespace bevel;
  if (argc != 2) return 2;
  const std::filesystem::path folder = argv[1];
  const std::pair<const char*, plan::Program> programs[] = {
      {"integer.bvl", test::integer_program()}, {"float.bvl", test::float_program()}, {"stateful.bvl", test::stateful_program()},
      {"packed.bvl", test::packed_program()}, {"wide.bvl", test::wide_program()},
      {"int16.bvl", test::wide_activation_program()}, {"stored.bvl", test::stored_program()},
      {"attention.bvl", test::attention_program()}};
  for (const auto& [name, program] : programs) {
    const std::vector<std::byte> bytes = plan::program_bytes(program);
    std::ofstream(folder / name, std::ios::binary).write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  }
}
