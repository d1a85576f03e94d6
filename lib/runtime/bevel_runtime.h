/* The host and device interface of the runtime: open a .bvl in place, run an entry. Freestanding C11: no heap, no globals,
 * no libc beyond memcpy, memset and strlen. All validation happens in bvl_open; bvl_run has none in its loop. */
#ifndef BEVEL_RUNTIME_H
#define BEVEL_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#include "lib/runtime/bevel_format.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
  BVL_OK = 0,
  BVL_ERROR_TRUNCATED,    /* shorter than its header says */
  BVL_ERROR_MAGIC,        /* not a Program */
  BVL_ERROR_VERSION,      /* newer format, numeric mode or feature */
  BVL_ERROR_HASH,         /* a flipped bit */
  BVL_ERROR_SECTION,      /* a section is missing, misplaced, or unknown and must be understood */
  BVL_ERROR_TENSOR,       /* a tensor's rank, dims, bytes, place or quantization is inconsistent */
  BVL_ERROR_STEP,         /* an operand, parameter, range or scratch of a step is out of bounds */
  BVL_ERROR_KERNEL,       /* unknown kernel or kernel version */
  BVL_ERROR_ENTRY,
  BVL_ERROR_ALIGNMENT,    /* file, arena or state pointer is not aligned */
  BVL_ERROR_ARENA         /* arena or state too small */
} bvl_status;

/* A validated Program: pointers into the file's bytes, which must outlive it. */
typedef struct {
  const uint8_t* file;
  const bvl_header* header;
  const bvl_tensor* tensors;
  const bvl_quant* quants;
  const bvl_step* steps;
  const uint32_t* operands;
  const uint32_t* params;
  const bvl_entry* entries;
  const uint8_t* constants;
  const char* strings;
  const uint8_t* state_init; /* NULL: zeros */
  uint32_t tensor_count, quant_count, step_count, operand_count, param_count, entry_count;
  uint64_t constant_bytes, string_bytes;
} bvl_program;

/* file: BVL_ALIGNMENT aligned. On failure *failed_index (may be NULL) is the offending tensor, step, section or entry. */
bvl_status bvl_open(const void* file, size_t bytes, bvl_program* program, uint32_t* failed_index);
const char* bvl_status_text(bvl_status status);

uint64_t bvl_hash(const void* bytes, size_t count); /* FNV-1a 64 */

/* Where an entry's input or output lies; write inputs before bvl_run, read outputs after. Input and output bytes may share
 * memory with later (earlier) activations: write all inputs before each run. */
void* bvl_input(const bvl_program* program, const bvl_entry* entry, uint32_t index, void* arena);
const void* bvl_output(const bvl_program* program, const bvl_entry* entry, uint32_t index, void* arena);

/* Sets the states to their initial values. */
void bvl_reset(const bvl_program* program, void* state);

/* Checks the pointers and sizes once, then runs. state may be NULL when state_bytes is 0. */
bvl_status bvl_run(const bvl_program* program, const bvl_entry* entry, void* arena, size_t arena_bytes, void* state,
                   size_t state_bytes);

/* One step on caller-given operands (the evaluator's way in): the same function tables as bvl_run. NULL: unknown kernel. */
bvl_kernel_fn* bvl_kernel_function(uint32_t kernel);
/* Portable C, whatever the host offers: overrides are tested against it. */
bvl_kernel_fn* bvl_portable_kernel_function(uint32_t kernel);
/* Scratch that the portable kernel and every override need; params as in the step. */
uint64_t bvl_kernel_scratch(uint32_t kernel, const void* params);

/* Parameter layout of a kernel: one char per 32-bit word, 'i' or 'f'; NULL: unknown kernel. */
const char* bvl_kernel_param_layout(uint32_t kernel);
const char* bvl_kernel_name(uint32_t kernel);
uint32_t bvl_kernel_version(uint32_t kernel);

#ifdef __cplusplus
}
#endif
#endif
