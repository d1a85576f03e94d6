/* A walk over the leading axes of a broadcasting operation, a row of the last axis at a time. */
#ifndef BEVEL_BROADCAST_H
#define BEVEL_BROADCAST_H

#include <stdint.h>

typedef struct {
  int32_t index[8];
  int32_t a, b;   /* element offsets of the row in the operands */
  int32_t length; /* of the row */
} bvl_walk;

/* Rows of [begin, end) of axis 0; with rank 1 the row itself is [begin, end). */
static inline bvl_walk bvl_walk_start(int32_t rank, const int32_t* dims, const int32_t* a_strides,
                                      const int32_t* b_strides, int32_t begin, int32_t end) {
  bvl_walk walk;
  for (int32_t k = 0; k < 8; ++k) walk.index[k] = 0;
  walk.index[0] = begin;
  walk.a = begin * a_strides[0];
  walk.b = begin * b_strides[0];
  walk.length = rank == 1 ? end - begin : dims[rank - 1];
  return walk;
}

/* 0: that was the last row. */
static inline int bvl_walk_next(bvl_walk* walk, int32_t rank, const int32_t* dims, const int32_t* a_strides,
                                const int32_t* b_strides, int32_t end) {
  for (int32_t k = rank - 2; k >= 0; --k) {
    walk->a += a_strides[k];
    walk->b += b_strides[k];
    if (++walk->index[k] < (k == 0 ? end : dims[k])) return 1;
    walk->a -= a_strides[k] * walk->index[k];
    walk->b -= b_strides[k] * walk->index[k];
    walk->index[k] = 0;
  }
  return 0;
}

#endif
