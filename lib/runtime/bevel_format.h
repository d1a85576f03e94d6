/* The Program: fixed-width little-endian structs. A .bvl file is exactly these bytes and is executed in place after one
 * validation (bevel_runtime.h). C11 and C++20. Offsets are from the file's start unless said otherwise.
 *
 *   bvl_header | bvl_section[section_count] | sections, each 64-byte aligned
 */
#ifndef BEVEL_FORMAT_H
#define BEVEL_FORMAT_H

#include <stdint.h>

#define BVL_MAGIC 0x314c5642u /* "BVL1" */
#define BVL_VERSION 1u
#define BVL_ALIGNMENT 64u     /* of sections and of constants; tensors in the arena are 16-byte aligned */
#define BVL_ARENA_ALIGNMENT 16u
#define BVL_MAX_RANK 8
#define BVL_NONE 0xffffffffu

/* How requantization computes (bvl_header.numeric_mode). */
enum { BVL_NUMERIC_FLOAT = 0, BVL_NUMERIC_FIXED_POINT = 1 /* reserved */ };

typedef struct {
  uint32_t magic;
  uint32_t version;
  uint32_t numeric_mode;
  uint32_t features;      /* bits a runtime must know; unknown ones are refused. None is defined yet. */
  uint64_t file_bytes;
  uint64_t arena_bytes;   /* activations, inputs, outputs and scratch: one block, BVL_ARENA_ALIGNMENT aligned */
  uint64_t state_bytes;   /* outlives a call */
  uint32_t section_count;
  uint32_t reserved;
  uint64_t header_hash;   /* bvl_hash of header (with this field 0) and the section table */
} bvl_header;

enum {
  BVL_SECTION_TENSORS = 1,   /* bvl_tensor[] */
  BVL_SECTION_QUANT = 2,     /* bvl_quant[] */
  BVL_SECTION_STEPS = 3,     /* bvl_step[] */
  BVL_SECTION_OPERANDS = 4,  /* uint32_t[]: tensor indices of steps and entries */
  BVL_SECTION_PARAMS = 5,    /* uint32_t[]: parameter structs of the kernels */
  BVL_SECTION_ENTRIES = 6,   /* bvl_entry[] */
  BVL_SECTION_CONSTANTS = 7, /* bytes */
  BVL_SECTION_STRINGS = 8,   /* UTF-8, each zero-terminated */
  BVL_SECTION_STATE_INIT = 9 /* initial bytes of the states, state_bytes long; absent: zero */
};
#define BVL_SECTION_MUST_UNDERSTAND 1u

typedef struct {
  uint32_t kind;
  uint32_t flags;
  uint64_t offset;
  uint64_t bytes;
  uint64_t hash; /* bvl_hash of the bytes */
} bvl_section;

/* Element types; numbers are ONNX's. Sub-byte types are packed, first element in the low bits. */
enum {
  BVL_FLOAT32 = 1, BVL_UINT8 = 2, BVL_INT8 = 3, BVL_INT16 = 5, BVL_INT32 = 6, BVL_INT64 = 7, BVL_BOOL = 9,
  BVL_FLOAT16 = 10, BVL_UINT32 = 12, BVL_INT4 = 22
};
enum { BVL_STORAGE_ARENA = 0, BVL_STORAGE_CONSTANT = 1, BVL_STORAGE_STATE = 2, BVL_STORAGE_INPUT = 3, BVL_STORAGE_OUTPUT = 4 };
enum { BVL_QUANT_NONE = 0, BVL_QUANT_TENSOR = 1, BVL_QUANT_AXIS = 2, BVL_QUANT_BLOCK = 3 };
enum { BVL_ENCODING_DENSE = 0, BVL_ENCODING_N_M = 1, BVL_ENCODING_BLOCK = 2 };

/* dims are in memory order, row-major. INPUT and OUTPUT tensors lie in the arena too, at `offset`. */
typedef struct {
  uint8_t dtype;
  uint8_t bits;      /* per element as stored */
  uint8_t packing;   /* elements per byte for sub-byte types, else 1 */
  uint8_t rank;
  uint8_t storage;
  uint8_t quant_kind;
  uint8_t encoding;
  uint8_t model_dtype; /* INPUT/OUTPUT: the dtype of this value in the ONNX model (0: as dtype). uint8 q is held as int8 q - 128 */
  int32_t dims[BVL_MAX_RANK];
  uint64_t offset;   /* in the arena, the constants section or the state block */
  uint64_t bytes;
  uint32_t quant;    /* first bvl_quant, BVL_NONE: none */
  uint32_t quant_count; /* 1, or the extent of quant_axis */
  int32_t quant_axis;
  uint32_t name;     /* offset in strings, BVL_NONE: none */
} bvl_tensor;

typedef struct { /* real = scale * (q - zero_point) */
  float scale;
  int32_t zero_point;
} bvl_quant;

typedef struct {
  uint16_t kernel;   /* bvl_kernel: append-only */
  uint16_t version;  /* of that kernel's parameters and semantics */
  uint32_t operands; /* first index in the operands section: inputs, then outputs */
  uint16_t input_count;
  uint16_t output_count;
  uint32_t params;   /* first word in the params section */
  uint32_t param_words;
  uint32_t range;    /* the kernel's work is [0, range); any split into sub-ranges gives the same bytes */
  uint64_t scratch_offset; /* in the arena */
  uint64_t scratch_bytes;
  uint32_t name;     /* of the node that it came from */
  uint32_t reserved;
} bvl_step;

enum { BVL_ENTRY_INFER = 1, BVL_ENTRY_PREPROCESS = 2, BVL_ENTRY_TRAIN = 3 };

typedef struct {
  uint32_t kind;
  uint32_t first_step;
  uint32_t step_count;
  uint32_t operands; /* first index in the operands section: inputs, then outputs */
  uint32_t input_count;
  uint32_t output_count;
} bvl_entry;

/* Kernel ids, names and parameters: bevel_kernels.h. */
#include "lib/runtime/bevel_kernels.h"

#endif
