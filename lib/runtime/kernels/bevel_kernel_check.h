/* Checks that stand beside the kernels: run once, by bvl_open, so that no step of a hostile file can read or write outside
 * its operands. A check sees the parameters and the operands' descriptions, never their values: kernels must be safe for any
 * values. Every check demands the exact range and enough scratch. Not part of emitted C. */
#ifndef BEVEL_KERNEL_CHECK_H
#define BEVEL_KERNEL_CHECK_H

#include <stdint.h>

#include "lib/runtime/bevel_format.h"

/* Indices inside kernels are int32, and a stride may be added once past the end: no tensor of a step has more elements, no
 * stride is longer. */
#define BVL_MAX_ELEMENTS 0x3fffffff

/* -1: not positive, or past BVL_MAX_ELEMENTS. */
static inline int64_t bvl_times(int64_t a, int64_t b) {
  if (a <= 0 || b <= 0 || a > BVL_MAX_ELEMENTS || b > BVL_MAX_ELEMENTS || a * b > BVL_MAX_ELEMENTS) return -1;
  return a * b;
}

static inline int64_t bvl_times4(int64_t a, int64_t b, int64_t c, int64_t d) {
  return bvl_times(bvl_times(a, b), bvl_times(c, d));
}

/* The operand has the dtype and holds at least `count` elements, aligned. */
static inline int bvl_operand_ok(const bvl_tensor* tensor, uint32_t dtype, uint32_t element_bytes, int64_t count) {
  return count > 0 && tensor->dtype == dtype && tensor->encoding == BVL_ENCODING_DENSE &&
         (uint64_t)count * element_bytes <= tensor->bytes && tensor->offset % element_bytes == 0;
}
static inline int bvl_s8_ok(const bvl_tensor* tensor, int64_t count) {
  return bvl_operand_ok(tensor, BVL_INT8, 1, count);
}
static inline int bvl_f32_ok(const bvl_tensor* tensor, int64_t count) {
  return bvl_operand_ok(tensor, BVL_FLOAT32, 4, count);
}
static inline int bvl_s16_ok(const bvl_tensor* tensor, int64_t count) {
  return bvl_operand_ok(tensor, BVL_INT16, 2, count);
}
static inline int bvl_s64_ok(const bvl_tensor* tensor, int64_t count) {
  return bvl_operand_ok(tensor, BVL_INT64, 8, count);
}
static inline int bvl_s32_ok(const bvl_tensor* tensor, int64_t count) {
  return bvl_operand_ok(tensor, BVL_INT32, 4, count);
}

/* The operand holds `count` elements of one of BVL_ELEMENT_*. */
static inline int bvl_element_ok(const bvl_tensor* tensor, int32_t element, int64_t count) {
  switch (element) {
    case BVL_ELEMENT_BOOL: return bvl_operand_ok(tensor, BVL_BOOL, 1, count);
    case BVL_ELEMENT_INT32: return bvl_operand_ok(tensor, BVL_INT32, 4, count);
    case BVL_ELEMENT_INT64: return bvl_operand_ok(tensor, BVL_INT64, 8, count);
    case BVL_ELEMENT_FLOAT32: return bvl_operand_ok(tensor, BVL_FLOAT32, 4, count);
    default: return 0;
  }
}

/* Packed int4 weights: `rows` rows of `depth`, each padded to whole blocks of eight (bevel_dot_w4.h). */
static inline int bvl_w4_ok(const bvl_tensor* tensor, int64_t rows, int64_t depth) {
  const int64_t count = depth <= 0 || depth > BVL_MAX_ELEMENTS - 7 ? -1 : bvl_times(rows, (depth + 7) / 8 * 8);
  return count > 0 && tensor->dtype == BVL_INT4 && tensor->encoding == BVL_ENCODING_DENSE && (uint64_t)count / 2 <= tensor->bytes &&
         tensor->offset % 4 == 0;
}

/* Rows as bevel_weight_rows.h reads them. */
static inline int bvl_weight_rows_ok(const bvl_tensor* tensor, int32_t bits, int64_t rows, int64_t depth) {
  if (bits == 4) return bvl_w4_ok(tensor, rows, depth);
  return bits == 8 ? bvl_s8_ok(tensor, bvl_times(rows, depth))
                   : bits == 16 && bvl_operand_ok(tensor, BVL_FLOAT16, 2, bvl_times(bvl_times(rows, depth), 2) / 2);
}

/* Indices of rows: any values. */
static inline int bvl_indices_ok(const bvl_tensor* tensor, int32_t bytes, int64_t count) {
  return bytes == 8 ? bvl_operand_ok(tensor, BVL_INT64, 8, bvl_times(count, 1))
                    : bytes == 4 && bvl_operand_ok(tensor, BVL_INT32, 4, bvl_times(count, 1));
}

static inline int bvl_counts_ok(const bvl_step* step, uint32_t inputs, uint32_t outputs, int64_t range) {
  return step->input_count == inputs && step->output_count == outputs && range > 0 && (int64_t)step->range == range;
}

static inline int bvl_is_s8(int32_t value) { return value >= -128 && value <= 127; }
static inline int bvl_bounds_ok(int32_t zero_point, int32_t low, int32_t high) {
  return bvl_is_s8(zero_point) && bvl_is_s8(low) && bvl_is_s8(high) && low <= high;
}
static inline int bvl_bounds_s16_ok(int32_t low, int32_t high) { return low >= -32768 && high <= 32767 && low <= high; }

/* One axis of a sliding window: all positions that its arithmetic forms fit int32. */
static inline int bvl_window_ok(int32_t in, int32_t out, int32_t kernel, int32_t stride, int32_t dilation, int32_t pad) {
  if (in <= 0 || out <= 0 || kernel <= 0 || stride <= 0 || dilation <= 0 || pad < 0) return 0;
  return (int64_t)(out - 1) * stride + (int64_t)kernel * dilation + pad + (int64_t)in < BVL_MAX_ELEMENTS / 2;
}

/* Rows times columns of a window's taps inside the image fits int32. In a window that lies in the padding the last tap may come
 * up to `pad` before the first. */
static inline int bvl_window_counts_ok(int32_t kernel_h, int32_t pad_top, int32_t kernel_w, int32_t pad_left) {
  return bvl_times((int64_t)kernel_h + pad_top, (int64_t)kernel_w + pad_left) > 0;
}

static inline int64_t bvl_blocks_of_1024(int32_t count) { return ((int64_t)count + 1023) / 1024; }

/* A strided walk over dims stays inside [0, elements): element offsets, strides of either sign. */
static inline int bvl_strides_ok(int32_t rank, const int32_t* dims, const int32_t* strides, int64_t offset,
                                 int64_t elements) {
  int64_t low = offset, high = offset;
  for (int32_t k = 0; k < rank; ++k) {
    if (strides[k] > BVL_MAX_ELEMENTS || strides[k] < -BVL_MAX_ELEMENTS) return 0;
    const int64_t reach = (int64_t)(dims[k] - 1) * strides[k];
    if (reach < 0) low += reach;
    else high += reach;
    if (low < 0 || high >= elements) return 0;
  }
  return elements <= BVL_MAX_ELEMENTS && low >= 0 && high < elements;
}

/* Product of dims, -1 when rank or a dim is out of bounds. */
static inline int64_t bvl_dims_count(int32_t rank, const int32_t* dims) {
  int64_t count = 1;
  if (rank < 1 || rank > BVL_MAX_RANK) return -1;
  for (int32_t k = 0; k < rank; ++k) count = bvl_times(count, dims[k]);
  return count;
}

#endif
