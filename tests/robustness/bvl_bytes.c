#define _POSIX_C_SOURCE 200809L  /* posix_memalign */
/* bvl_bytes FILE...: changes a .bvl file at every byte, and cuts it off at every length, and gives each to the C runtime, which must refuse
 * it or run it without harm. Built with AddressSanitizer and UndefinedBehaviorSanitizer, together with the runtime, whatever the rest is
 * built with; blocks are of exactly the size that the runtime is told. */
#include <stdio.h>

#include "tests/common/bvl_hashes.h"

static size_t opened, tried;

/* Opens a copy of exactly `size` bytes; runs it when it opens. */
static int try_bytes(const uint8_t* bytes, size_t size, int run) {
  void* copy = NULL;
  if (posix_memalign(&copy, BVL_ALIGNMENT, size + (size == 0)) != 0) exit(2);
  memcpy(copy, bytes, size);
  bvl_program program;
  uint32_t failed = 0;
  const int good = bvl_open(copy, size, &program, &failed) == BVL_OK;
  if (good && run) bvl_run_all(&program);
  free(copy);
  ++tried;
  opened += (size_t)good;
  return good;
}

/* Weights and the like may be any bytes: nothing there is an index. */
static int is_constant(const uint8_t* bytes, size_t at) {
  const bvl_header* header = (const bvl_header*)(const void*)bytes;
  for (uint32_t i = 0; i < header->section_count; ++i) {
    bvl_section section;
    memcpy(&section, bytes + sizeof *header + i * sizeof section, sizeof section);
    if (section.kind == BVL_SECTION_CONSTANTS && at >= section.offset && at - section.offset < section.bytes) return 1;
  }
  return 0;
}

static int judge(const char* path) {
  FILE* file = fopen(path, "rb");
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) return 0;
  const size_t size = (size_t)ftell(file);
  rewind(file);
  uint8_t* whole = aligned_alloc(BVL_ALIGNMENT, (size + BVL_ALIGNMENT) / BVL_ALIGNMENT * BVL_ALIGNMENT);
  uint8_t* changed = malloc(size);
  if (whole == NULL || changed == NULL || fread(whole, 1, size, file) != size) return 0;
  fclose(file);
  opened = tried = 0;
  int right = try_bytes(whole, size, 1);
  if (!right) fprintf(stderr, "%s does not open as it is\n", path);
  for (size_t length = 0; length < size; ++length)
    if (try_bytes(whole, length, 0)) right = 0, fprintf(stderr, "%s: its first %zu bytes open\n", path, length);
  memcpy(changed, whole, size);
  size_t flips = 0;
  for (size_t at = 0; at < size; ++at) {
    changed[at] ^= (uint8_t)(1u << (at % 8));
    flips += (size_t)try_bytes(changed, size, 1);
    changed[at] = whole[at];
  }
  const int large = size > 16384; /* then one change a byte, and every fourth is run */
  static const uint8_t kChanges[] = {0x01, 0x80, 0xff, 0x10};
  for (size_t at = 0; at < size; ++at) {
    if (is_constant(whole, at)) continue;
    for (size_t k = 0; k < (large ? 1 : sizeof kChanges); ++k) {
      changed[at] ^= kChanges[(at + k) % sizeof kChanges];
      bvl_make_hashes_right(changed, size);
      try_bytes(changed, size, !large || at % 4 == 0);
      memcpy(changed, whole, size < 4096 ? size : 4096); /* header and table, where the hashes are */
      changed[at] = whole[at];
    }
  }
  printf("%s: %zu bytes, %zu changed files: %zu opened and ran, %zu of them flipped in bytes that nothing reads\n", path, size, tried, opened,
         flips);
  free(whole);
  free(changed);
  return right;
}

int main(int argc, char** argv) {
  int right = argc > 1;
  for (int i = 1; i < argc; ++i) right = judge(argv[i]) && right;
  return right ? 0 : 1;
}
