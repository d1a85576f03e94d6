// A Program in the C runtime: opened, and run when it opens. Its hashes are made right after each mutation, or nothing would get past them.
#include <cstdlib>

#include "tests/common/bvl_hashes.h"
#include "tests/fuzz/fuzz.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed) {
  if (seed % 4 == 0) return LLVMFuzzerMutate(data, size, max_size);
  if (seed % 4 == 1 || size < 256) {
    size = LLVMFuzzerMutate(data, size, max_size);
  } else {  // of a whole number of words: tables of structures stay in step
    const std::size_t at = (seed / 4 % (size / 4)) * 4, length = seed % 3 == 0 ? 4 : 1;
    (void)LLVMFuzzerMutate(data + at, length, length);
  }
  bvl_make_hashes_right(data, size);
  return size;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  void* file = nullptr;  // of exactly its size, so that AddressSanitizer sees the first byte beyond
  FUZZ_CHECK(::posix_memalign(&file, BVL_ALIGNMENT, size + (size == 0)) == 0);
  std::memcpy(file, data, size);
  bvl_program program;
  std::uint32_t failed = 0;
  if (bvl_open(file, size, &program, &failed) == BVL_OK) bvl_run_all(&program);
  std::free(file);
  return 0;
}
