/* Running a Program that bvl_open has validated. */
#include <string.h>

#include "lib/runtime/kernel_table.h"

static uint8_t* writable_place(const bvl_tensor* tensor, uint8_t* arena, uint8_t* state) {
  return (tensor->storage == BVL_STORAGE_STATE ? state : arena) + tensor->offset;
}

static const uint8_t* place(const bvl_program* program, const bvl_tensor* tensor, const uint8_t* arena,
                                  const uint8_t* state) {
  if (tensor->storage == BVL_STORAGE_CONSTANT) return program->constants + tensor->offset;
  return (tensor->storage == BVL_STORAGE_STATE ? state : arena) + tensor->offset;
}

void* bvl_input(const bvl_program* program, const bvl_entry* entry, uint32_t index, void* arena) {
  if (index >= entry->input_count) return NULL;
  return (uint8_t*)arena + program->tensors[program->operands[entry->operands + index]].offset;
}

const void* bvl_output(const bvl_program* program, const bvl_entry* entry, uint32_t index, void* arena) {
  if (index >= entry->output_count) return NULL;
  return (uint8_t*)arena + program->tensors[program->operands[entry->operands + entry->input_count + index]].offset;
}

void bvl_reset(const bvl_program* program, void* state) {
  if (program->header->state_bytes == 0 || state == NULL) return;
  if (program->state_init) memcpy(state, program->state_init, (size_t)program->header->state_bytes);
  else memset(state, 0, (size_t)program->header->state_bytes);
}

bvl_status bvl_run(const bvl_program* program, const bvl_entry* entry, void* arena, size_t arena_bytes, void* state,
                   size_t state_bytes) {
  const bvl_header* header = program->header;
  if (((uintptr_t)arena | (uintptr_t)state) % BVL_ARENA_ALIGNMENT != 0) return BVL_ERROR_ALIGNMENT;
  if (arena_bytes < header->arena_bytes || state_bytes < header->state_bytes) return BVL_ERROR_ARENA;
  if ((arena == NULL && header->arena_bytes > 0) || (state == NULL && header->state_bytes > 0)) return BVL_ERROR_ARENA;
  uint64_t nothing = 0;  /* where tensors without elements are when there is no memory */
  uint8_t* const arena_base = arena != NULL ? (uint8_t*)arena : (uint8_t*)&nothing;
  uint8_t* const state_base = state != NULL ? (uint8_t*)state : (uint8_t*)&nothing;
  const bvl_step* step = program->steps + entry->first_step;
  for (uint32_t i = 0; i < entry->step_count; ++i, ++step) {
    const void* in[BVL_MAX_OPERANDS];
    void* out[BVL_MAX_OPERANDS];
    const uint32_t* operand = program->operands + step->operands;
    for (uint32_t k = 0; k < step->input_count; ++k) {
      in[k] = place(program, &program->tensors[*operand++], arena_base, state_base);
    }
    for (uint32_t k = 0; k < step->output_count; ++k) {
      out[k] = writable_place(&program->tensors[*operand++], arena_base, state_base);
    }
    bvl_kernel_function(step->kernel)(program->params + step->params, in, out, arena_base + step->scratch_offset, 0, step->range);
  }
  return BVL_OK;
}

const char* bvl_status_text(bvl_status status) {
  switch (status) {
    case BVL_OK: return "ok";
    case BVL_ERROR_TRUNCATED: return "the file is shorter than its header says";
    case BVL_ERROR_MAGIC: return "not a Bevel program";
    case BVL_ERROR_VERSION: return "made for a newer runtime: format version, numeric mode or feature";
    case BVL_ERROR_HASH: return "damaged: a hash does not match";
    case BVL_ERROR_SECTION: return "a section is missing, misplaced, or unknown and must be understood";
    case BVL_ERROR_TENSOR: return "a tensor's rank, dimensions, bytes, place or quantization is inconsistent";
    case BVL_ERROR_STEP: return "an operand, parameter, range or scratch of a step is out of bounds";
    case BVL_ERROR_KERNEL: return "unknown kernel or kernel version";
    case BVL_ERROR_ENTRY: return "an entry's steps or operands are out of bounds";
    case BVL_ERROR_ALIGNMENT: return "file, arena or state is not aligned";
    case BVL_ERROR_ARENA: return "arena or state is too small";
  }
  return "unknown status";
}
