/* bvl_open: everything that bvl_run relies on is proven here, once. Nothing of the file is trusted: every offset, count and
 * product is checked before use, in 64 bits; what a kernel needs of its operands stands in the kernel's own check. */
#include <string.h>

#include "lib/runtime/kernel_table.h"

#define BVL_MAX_SECTIONS 64u

static uint64_t hash_more(uint64_t hash, const void* bytes, size_t count) {
  const uint8_t* byte = (const uint8_t*)bytes;
  for (size_t i = 0; i < count; ++i) hash = (hash ^ byte[i]) * 0x100000001b3u;
  return hash;
}

uint64_t bvl_hash(const void* bytes, size_t count) { return hash_more(0xcbf29ce484222325u, bytes, count); }

/* [offset, offset + bytes) lies in [0, limit). */
static int inside(uint64_t offset, uint64_t bytes, uint64_t limit) { return offset <= limit && bytes <= limit - offset; }

static bvl_status fail(bvl_status status, uint32_t index, uint32_t* failed_index) {
  if (failed_index) *failed_index = index;
  return status;
}

/* 0: not an element type of the format. */
static uint32_t bits_of(uint32_t dtype) {
  switch (dtype) {
    case BVL_FLOAT32: case BVL_INT32: case BVL_UINT32: return 32;
    case BVL_UINT8: case BVL_INT8: case BVL_BOOL: return 8;
    case BVL_INT16: case BVL_FLOAT16: return 16;
    case BVL_INT64: return 64;
    case BVL_INT4: return 4;
    default: return 0;
  }
}

static int tensor_ok(const bvl_program* program, const bvl_tensor* tensor) {
  const uint32_t bits = bits_of(tensor->dtype);
  if (bits == 0 || tensor->bits != bits || tensor->packing != (bits < 8 ? 8 / bits : 1)) return 0;
  if (tensor->rank > BVL_MAX_RANK || tensor->encoding != BVL_ENCODING_DENSE) return 0;
  uint64_t elements = 1;
  for (uint32_t k = 0; k < tensor->rank; ++k) {
    if (tensor->dims[k] <= 0) return 0;
    elements *= (uint32_t)tensor->dims[k];
    if (elements > 0xffffffffu) return 0;
  }
  if ((elements * bits + 7) / 8 > tensor->bytes || tensor->offset % (bits < 8 ? 1 : bits / 8) != 0) return 0;
  uint64_t limit;
  switch (tensor->storage) {
    case BVL_STORAGE_ARENA: case BVL_STORAGE_INPUT: case BVL_STORAGE_OUTPUT: limit = program->header->arena_bytes; break;
    case BVL_STORAGE_CONSTANT: limit = program->constant_bytes; break;
    case BVL_STORAGE_STATE: limit = program->header->state_bytes; break;
    default: return 0;
  }
  if (!inside(tensor->offset, tensor->bytes, limit)) return 0;
  if (tensor->name != BVL_NONE && tensor->name >= program->string_bytes) return 0;
  if (tensor->quant_kind == BVL_QUANT_NONE) return 1;
  if (tensor->quant_kind == BVL_QUANT_TENSOR) {
    if (tensor->quant_count != 1) return 0;
  } else if (tensor->quant_kind == BVL_QUANT_AXIS) {
    if (tensor->quant_axis < 0 || tensor->quant_axis >= tensor->rank ||
        tensor->quant_count != (uint32_t)tensor->dims[tensor->quant_axis]) {
      return 0;
    }
  } else {
    return 0;
  }
  if (!inside(tensor->quant, tensor->quant_count, program->quant_count)) return 0;
  for (uint32_t k = 0; k < tensor->quant_count; ++k) {
    const float scale = program->quants[tensor->quant + k].scale;
    if (!(scale > 0.0f && scale <= 3.402823466e+38f)) return 0;
  }
  return 1;
}

static int in_arena(const bvl_tensor* tensor) {
  return tensor->storage != BVL_STORAGE_CONSTANT && tensor->storage != BVL_STORAGE_STATE;
}

static int overlap(uint64_t a, uint64_t a_bytes, uint64_t b, uint64_t b_bytes) {
  return a_bytes > 0 && b_bytes > 0 && a < b + b_bytes && b < a + a_bytes;
}

/* Kernels may read an operand after they have begun to write: no output, nor the scratch, shares memory with another operand,
 * but for kernels that work in place, at the same offset. */
static int apart(const bvl_step* step, const bvl_tensor* const* in, const bvl_tensor* const* out, int in_place) {
  for (uint32_t o = 0; o < step->output_count; ++o) {
    for (uint32_t k = 0; k < (uint32_t)step->input_count + o; ++k) {
      const bvl_tensor* other = k < step->input_count ? in[k] : out[k - step->input_count];
      const int same_space = in_arena(out[o]) == in_arena(other) && other->storage != BVL_STORAGE_CONSTANT;
      if (!same_space || !overlap(out[o]->offset, out[o]->bytes, other->offset, other->bytes)) continue;
      if (!in_place || k >= step->input_count || other->offset != out[o]->offset) return 0;
    }
  }
  for (uint32_t k = 0; k < (uint32_t)step->input_count + step->output_count; ++k) {
    const bvl_tensor* operand = k < step->input_count ? in[k] : out[k - step->input_count];
    if (in_arena(operand) && overlap(operand->offset, operand->bytes, step->scratch_offset, step->scratch_bytes)) return 0;
  }
  return 1;
}

static bvl_status check_step(const bvl_program* program, const bvl_step* step) {
  const bvl_kernel_record* record = bvl_kernel_find(step->kernel);
  if (record == NULL || step->version != record->version) return BVL_ERROR_KERNEL;
  if (step->input_count > BVL_MAX_OPERANDS || step->output_count > BVL_MAX_OPERANDS || step->reserved != 0 ||
      !inside(step->operands, (uint64_t)step->input_count + step->output_count, program->operand_count) ||
      step->param_words != strlen(record->layout) || !inside(step->params, step->param_words, program->param_count) ||
      step->scratch_offset % BVL_ARENA_ALIGNMENT != 0 ||
      !inside(step->scratch_offset, step->scratch_bytes, program->header->arena_bytes) ||
      (step->name != BVL_NONE && step->name >= program->string_bytes)) {
    return BVL_ERROR_STEP;
  }
  const bvl_tensor* in[BVL_MAX_OPERANDS];
  const bvl_tensor* out[BVL_MAX_OPERANDS];
  const uint32_t* operand = program->operands + step->operands;
  for (uint32_t k = 0; k < (uint32_t)step->input_count + step->output_count; ++k) {
    if (operand[k] >= program->tensor_count) return BVL_ERROR_STEP;
    const bvl_tensor* tensor = &program->tensors[operand[k]];
    if (k < step->input_count) in[k] = tensor;
    else out[k - step->input_count] = tensor;
    if (k >= step->input_count && tensor->storage == BVL_STORAGE_CONSTANT) return BVL_ERROR_STEP;
  }
  if (!apart(step, in, out, record->in_place)) return BVL_ERROR_STEP;
  return record->check(program->params + step->params, step, in, out) ? BVL_OK : BVL_ERROR_STEP;
}

static int entry_ok(const bvl_program* program, const bvl_entry* entry) {
  if (!inside(entry->first_step, entry->step_count, program->step_count) ||
      !inside(entry->operands, (uint64_t)entry->input_count + entry->output_count, program->operand_count)) {
    return 0;
  }
  for (uint64_t k = 0; k < (uint64_t)entry->input_count + entry->output_count; ++k) {
    const uint32_t index = program->operands[entry->operands + k];
    if (index >= program->tensor_count || !in_arena(&program->tensors[index])) return 0;
  }
  return 1;
}

typedef struct {
  uint32_t kind, element;
} section_kind;
static const section_kind kSections[] = {
    {BVL_SECTION_TENSORS, sizeof(bvl_tensor)}, {BVL_SECTION_QUANT, sizeof(bvl_quant)},
    {BVL_SECTION_STEPS, sizeof(bvl_step)},     {BVL_SECTION_OPERANDS, 4},
    {BVL_SECTION_PARAMS, 4},                   {BVL_SECTION_ENTRIES, sizeof(bvl_entry)},
    {BVL_SECTION_CONSTANTS, 1},                {BVL_SECTION_STRINGS, 1},
    {BVL_SECTION_STATE_INIT, 1}};

/* Notes one known section; 0 when its size is not a number of elements. */
static int take_section(bvl_program* program, const bvl_section* section) {
  const void* bytes = program->file + section->offset;
  const uint64_t count = section->bytes / kSections[section->kind - 1].element;
  if (section->bytes % kSections[section->kind - 1].element != 0) return 0;
  if (count > 0xfffffffeu && kSections[section->kind - 1].element > 1) return 0;
  switch (section->kind) {
    case BVL_SECTION_TENSORS: program->tensors = (const bvl_tensor*)bytes, program->tensor_count = (uint32_t)count; break;
    case BVL_SECTION_QUANT: program->quants = (const bvl_quant*)bytes, program->quant_count = (uint32_t)count; break;
    case BVL_SECTION_STEPS: program->steps = (const bvl_step*)bytes, program->step_count = (uint32_t)count; break;
    case BVL_SECTION_OPERANDS: program->operands = (const uint32_t*)bytes, program->operand_count = (uint32_t)count; break;
    case BVL_SECTION_PARAMS: program->params = (const uint32_t*)bytes, program->param_count = (uint32_t)count; break;
    case BVL_SECTION_ENTRIES: program->entries = (const bvl_entry*)bytes, program->entry_count = (uint32_t)count; break;
    case BVL_SECTION_CONSTANTS: program->constants = (const uint8_t*)bytes, program->constant_bytes = count; break;
    case BVL_SECTION_STRINGS:
      program->strings = (const char*)bytes, program->string_bytes = count;
      return count == 0 || program->strings[count - 1] == '\0';
    default:
      program->state_init = (const uint8_t*)bytes;
      return count == program->header->state_bytes;
  }
  return 1;
}

static bvl_status open_sections(bvl_program* program, uint32_t* failed_index) {
  const bvl_header* header = program->header;
  const bvl_section* sections = (const bvl_section*)(const void*)(program->file + sizeof(bvl_header));
  const uint64_t table_end = sizeof(bvl_header) + (uint64_t)header->section_count * sizeof(bvl_section);
  uint32_t seen = 0;
  for (uint32_t i = 0; i < header->section_count; ++i) {
    const bvl_section* section = &sections[i];
    if (section->offset % BVL_ALIGNMENT != 0 || section->offset < table_end ||
        !inside(section->offset, section->bytes, header->file_bytes)) {
      return fail(BVL_ERROR_SECTION, i, failed_index);
    }
    if (bvl_hash(program->file + section->offset, (size_t)section->bytes) != section->hash) {
      return fail(BVL_ERROR_HASH, i, failed_index);
    }
    if (section->kind < 1 || section->kind > sizeof kSections / sizeof kSections[0]) {
      if (section->flags & BVL_SECTION_MUST_UNDERSTAND) return fail(BVL_ERROR_SECTION, i, failed_index);
      continue;
    }
    const uint32_t bit = 1u << section->kind;
    if ((seen & bit) || !take_section(program, section)) return fail(BVL_ERROR_SECTION, i, failed_index);
    seen |= bit;
  }
  if (!(seen & (1u << BVL_SECTION_TENSORS)) || !(seen & (1u << BVL_SECTION_ENTRIES))) {
    return fail(BVL_ERROR_SECTION, header->section_count, failed_index);
  }
  return BVL_OK;
}

static bvl_status open_header(const uint8_t* file, size_t bytes) {
  const bvl_header* header = (const bvl_header*)(const void*)file;
  if (bytes < sizeof(bvl_header)) {
    return bytes >= 4 && header->magic != BVL_MAGIC ? BVL_ERROR_MAGIC : BVL_ERROR_TRUNCATED;
  }
  if (header->magic != BVL_MAGIC) return BVL_ERROR_MAGIC;
  if (header->version != BVL_VERSION || header->numeric_mode != BVL_NUMERIC_FLOAT || header->features != 0) {
    return BVL_ERROR_VERSION;
  }
  const uint64_t table = (uint64_t)header->section_count * sizeof(bvl_section);
  if (header->file_bytes > bytes || sizeof(bvl_header) + table > header->file_bytes) return BVL_ERROR_TRUNCATED;
  if (header->section_count > BVL_MAX_SECTIONS || header->reserved != 0) return BVL_ERROR_SECTION;
  bvl_header unhashed = *header;
  unhashed.header_hash = 0;
  const uint64_t hash = hash_more(bvl_hash(&unhashed, sizeof unhashed), file + sizeof unhashed, (size_t)table);
  return hash == header->header_hash ? BVL_OK : BVL_ERROR_HASH;
}

bvl_status bvl_open(const void* file, size_t bytes, bvl_program* program, uint32_t* failed_index) {
  memset(program, 0, sizeof *program);
  if (failed_index) *failed_index = 0;
  if (file == NULL) return BVL_ERROR_TRUNCATED;
  if ((uintptr_t)file % BVL_ALIGNMENT != 0) return BVL_ERROR_ALIGNMENT;
  bvl_status status = open_header((const uint8_t*)file, bytes);
  if (status != BVL_OK) return status;
  program->file = (const uint8_t*)file;
  program->header = (const bvl_header*)file;
  /* Sections that are absent are empty, at an address from which none can count. */
  program->tensors = (const bvl_tensor*)file;
  program->quants = (const bvl_quant*)file;
  program->steps = (const bvl_step*)file;
  program->operands = (const uint32_t*)file;
  program->params = (const uint32_t*)file;
  program->entries = (const bvl_entry*)file;
  program->constants = program->file;
  program->strings = (const char*)file;
  status = open_sections(program, failed_index);
  if (status != BVL_OK) return status;
  for (uint32_t i = 0; i < program->tensor_count; ++i) {
    if (!tensor_ok(program, &program->tensors[i])) return fail(BVL_ERROR_TENSOR, i, failed_index);
  }
  for (uint32_t i = 0; i < program->step_count; ++i) {
    status = check_step(program, &program->steps[i]);
    if (status != BVL_OK) return fail(status, i, failed_index);
  }
  for (uint32_t i = 0; i < program->entry_count; ++i) {
    if (!entry_ok(program, &program->entries[i])) return fail(BVL_ERROR_ENTRY, i, failed_index);
  }
  return BVL_OK;
}
