/* The operands of matmul_s8: where a batch begins, sums of rows, and columns of b along k with what their zero points make of them. */
#ifndef BEVEL_MATMUL_S8_H
#define BEVEL_MATMUL_S8_H

#include "lib/runtime/kernels/bevel_kernel_common.h"

static inline int32_t bvl_batch_offset(int32_t batch, int32_t rank, const int32_t* dims, const int32_t* strides) {
  int32_t at = 0;
  for (int32_t k = rank - 1; k >= 0; --k) {
    at += batch % dims[k] * strides[k];
    batch /= dims[k];
  }
  return at;
}

static inline uint32_t bvl_row_sum(const int8_t* x, int32_t count) {
  uint32_t sum = 0;
  for (int32_t k = 0; k < count; ++k) {
    const int32_t value = x[k];
    sum += (uint32_t)value;
  }
  return sum;
}

/* Columns c to c + count - 1 of b, the last of all again past the end: pointers to in_c values in a row, and in_c * a_zp * b_zp - a_zp * sum. Columns
 * that do not lie so are gathered into `room`, count * in_c bytes. */
static inline void bvl_columns(const bvl_matmul_s8_params* p, const int8_t* b, int32_t c, int32_t count, int8_t* room,
                               const int8_t** columns, uint32_t* start) {
  for (int32_t i = 0; i < count; ++i) {
    const int8_t* column = b + bvl_min(c + i, p->out_c - 1) * p->b_column;
    if (p->b_step != 1) {
      int8_t* to = room + i * p->in_c;
      for (int32_t k = 0; k < p->in_c; ++k) to[k] = column[k * p->b_step];
      column = to;
    }
    columns[i] = column;
    start[i] = (uint32_t)p->a_zp * ((uint32_t)p->in_c * (uint32_t)p->b_zp - bvl_row_sum(column, p->in_c));
  }
}

#endif
