/* A .bvl file whose bytes were changed, with its hashes made right: so that what is behind them is tried. C11 and C++20. */
#ifndef BEVEL_TESTS_BVL_HASHES_H
#define BEVEL_TESTS_BVL_HASHES_H

#include <stdlib.h>
#include <string.h>

#include "lib/runtime/bevel_runtime.h"

static inline void bvl_make_hashes_right(uint8_t* data, size_t size) {
  bvl_header header;
  if (size < sizeof header) return;
  memcpy(&header, data, sizeof header);
  const uint64_t table = (uint64_t)header.section_count * sizeof(bvl_section);
  if (header.section_count > 64 || sizeof header + table > size) return;
  for (uint32_t i = 0; i < header.section_count; ++i) {
    bvl_section section;
    uint8_t* at = data + sizeof header + i * sizeof section;
    memcpy(&section, at, sizeof section);
    if (section.offset > size || section.bytes > size - section.offset) continue;
    section.hash = bvl_hash(data + section.offset, (size_t)section.bytes);
    memcpy(at, &section, sizeof section);
  }
  header.header_hash = 0;
  uint8_t* whole = (uint8_t*)malloc(sizeof header + (size_t)table);
  if (whole == NULL) return;
  memcpy(whole, &header, sizeof header);
  memcpy(whole + sizeof header, data + sizeof header, (size_t)table);
  header.header_hash = bvl_hash(whole, sizeof header + (size_t)table);
  free(whole);
  memcpy(data, &header, sizeof header);
}

/* Runs every entry of an opened Program in blocks of just the stated sizes; too large ones are left out. */
static inline void bvl_run_all(const bvl_program* program) {
  const uint64_t most = (uint64_t)16 << 20;
  const size_t arena_bytes = (size_t)program->header->arena_bytes, state_bytes = (size_t)program->header->state_bytes;
  if (program->header->arena_bytes > most || program->header->state_bytes > most) return;
  for (uint32_t i = 0; i < program->step_count; ++i)
    if (program->steps[i].range > (1u << 24)) return;
  void* arena = NULL;
  void* state = NULL;
  if (posix_memalign(&arena, 64, arena_bytes + (arena_bytes == 0)) == 0 && posix_memalign(&state, 64, state_bytes + (state_bytes == 0)) == 0) {
    memset(arena, 0x5a, arena_bytes);
    if (state_bytes > 0) bvl_reset(program, state);
    for (uint32_t i = 0; i < program->entry_count && i < 4; ++i)
      (void)bvl_run(program, &program->entries[i], arena, arena_bytes, state_bytes > 0 ? state : NULL, state_bytes);
  }
  free(arena);
  free(state);
}

#endif
