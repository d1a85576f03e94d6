/* The kernels: ids, parameter structs and the one signature they share.
 *
 * A kernel's record is stated once, in BVL_KERNELS; its parameters once, as a field list from which the struct and the
 * emitter's table derive. Fields are 32 bits: I int32_t, F float, A int32_t[8].
 *
 * Integer kernels, all on int8 (a model's uint8 q is held as q - 128; its zero point likewise):
 *   y = clamp(round_half_even(float(acc) * multiplier) + zero_point, low, high)
 * acc is exact: int32, lowering proves the width. The clamp is done on the float before rounding, which is the same.
 * Activations are channels-last. Weights' zero points are 0.
 *
 * What bvl_open demands of every step, beside the shapes: dtypes exactly as stated here; no operand with more than 2^30 - 1
 * elements; the range exactly as stated; at least bvl_kernel_scratch bytes of scratch; outputs and scratch share no memory
 * with another operand, except that add_s8, mul_s8, lut_s8, binary_f32, unary_f32, add_s16, mul_s16, rescale_s16 and unary_s16 may
 * write over an input that starts at the same offset (and whose element each output element alone reads: not a broadcast one).
 */
#ifndef BEVEL_KERNELS_H
#define BEVEL_KERNELS_H

#include <stdint.h>

/* in: tensors in the step's order (activations and constants); out likewise. The kernel does units [begin, end) of its
 * range. scratch is BVL_ARENA_ALIGNMENT aligned; when a caller splits the range over threads each needs its own. */
typedef void bvl_kernel_fn(const void* params, const void* const* in, void* const* out, void* scratch, uint32_t begin,
                           uint32_t end);

/* conv2d_s8: reads x [n,in_h,in_w,in_c], weights [out_c,kernel_h,kernel_w,in_c/groups], bias int32 [out_c],
 * multipliers float [out_c]; writes y [n,out_h,out_w,out_c]. 1-D convolutions have h = 1. Range: n*out_h rows.
 * `bias` has the input's zero point folded in: bias - in_zp * sum(weights of that output channel); padding reads in_zp.
 * scratch: bvl_conv2d_s8_scratch(params) bytes. */
#define BVL_CONV2D_S8_FIELDS(I, F, A)                                                                        \
  I(n) I(in_h) I(in_w) I(in_c) I(out_h) I(out_w) I(out_c) I(kernel_h) I(kernel_w) I(stride_h) I(stride_w)   \
  I(dilation_h) I(dilation_w) I(pad_top) I(pad_left) I(groups) I(in_zp) I(out_zp) I(low) I(high)

/* depthwise_conv2d_s8: as conv2d_s8 with in_c = groups, out_c = in_c * multiplier; weights [kernel_h,kernel_w,out_c];
 * output channel c reads input channel c / (out_c / in_c). */
#define BVL_DEPTHWISE_CONV2D_S8_FIELDS(I, F, A) BVL_CONV2D_S8_FIELDS(I, F, A)

/* dense_s8: reads x [rows,in_c], weights [out_c,in_c], bias int32 [out_c] (zero point folded in), multipliers float [out_c];
 * writes y [rows,out_c]. Range: rows*out_c outputs when rows = 1, else rows. */
#define BVL_DENSE_S8_FIELDS(I, F, A) I(rows) I(in_c) I(out_c) I(in_zp) I(out_zp) I(low) I(high)

/* add_s8: reads a, b; y = clamp(r((a - a_zp) * a_multiplier + (b - b_zp) * b_multiplier) + out_zp), each product and the sum rounded to
 * float32 in that order. dims are the output's, strides in elements (0: broadcast). Range: dims[0]. Sub has a
 * negative b_multiplier. `rank` leading entries of dims and strides are used. in place allowed. */
#define BVL_ADD_S8_FIELDS(I, F, A) \
  I(rank) A(dims) A(a_strides) A(b_strides) I(a_zp) I(b_zp) I(out_zp) F(a_multiplier) F(b_multiplier) I(low) I(high)

/* mul_s8: y = clamp(r((a - a_zp) * (b - b_zp) * multiplier + (out_zp + 128)) - 128): zero point inside the rounding, in the
 * uint8 domain, as ONNX Runtime computes it. */
#define BVL_MUL_S8_FIELDS(I, F, A) \
  I(rank) A(dims) A(a_strides) A(b_strides) I(a_zp) I(b_zp) I(out_zp) F(multiplier) I(low) I(high)

/* avg_pool_s8: x [n,in_h,in_w,c]; acc = sum(x - in_zp) over the window inside the image; divisor n = elements inside the image, or
 * the window clipped to image plus padding when count_padding; y = clamp(r(acc * (in_scale / (out_scale * n))) + out_zp).
 * Range: n*out_h rows. */
#define BVL_AVG_POOL_S8_FIELDS(I, F, A)                                                                  \
  I(n) I(in_h) I(in_w) I(c) I(out_h) I(out_w) I(kernel_h) I(kernel_w) I(stride_h) I(stride_w)           \
  I(dilation_h) I(dilation_w) I(pad_top) I(pad_left) I(pad_bottom) I(pad_right) I(count_padding) I(in_zp) I(out_zp) F(in_scale) F(out_scale) I(low) I(high)

/* max_pool_s8: padding never wins (a window wholly in it gives low); then clamped. Range: n*out_h rows. */
#define BVL_MAX_POOL_S8_FIELDS(I, F, A)                                                        \
  I(n) I(in_h) I(in_w) I(c) I(out_h) I(out_w) I(kernel_h) I(kernel_w) I(stride_h) I(stride_w) \
  I(dilation_h) I(dilation_w) I(pad_top) I(pad_left) I(low) I(high)

/* softmax_s8: reads x [outer,depth,inner] (along depth), table uint32 [256], table[d] = round(exp(-in_scale * d) * 2^31) for
 * d = max - x; y = clamp(round_half_even(table[d] * 256 / sum)) - 128): output scale 1/256, zero point -128, all in
 * integers. Range: outer. */
#define BVL_SOFTMAX_S8_FIELDS(I, F, A) I(outer) I(depth) I(inner)

/* lut_s8: reads x, table int8 [256]; y = table[x + 128]; any pointwise function, requantization included. Range: count/1024
 * rounded up (blocks of 1024). in place allowed. */
#define BVL_LUT_S8_FIELDS(I, F, A) I(count)

/* copy: out[out_offset + sum i_k*out_strides[k]] = in[in_offset + sum i_k*in_strides[k]] for i in dims; elements of element_bytes (1,
 * 2, 4 or 8). Transpose, slice, concat segment, expand, pad interior. Range: dims[0]. */
#define BVL_COPY_FIELDS(I, F, A) I(element_bytes) I(rank) A(dims) A(in_strides) A(out_strides) I(in_offset) I(out_offset)

/* fill: sets `count` elements of element_bytes to the low bytes of `bits`. Range: 1. */
#define BVL_FILL_FIELDS(I, F, A) I(element_bytes) I(count) I(bits)

/* quantize_f32_s8: y = clamp(r(x / scale) + zp) (NaN gives low). dequantize_s8_f32: y = (x - zp) * scale. Range: blocks of 1024. */
#define BVL_QUANTIZE_F32_S8_FIELDS(I, F, A) I(count) F(scale) I(zp) I(low) I(high)
#define BVL_DEQUANTIZE_S8_F32_FIELDS(I, F, A) I(count) F(scale) I(zp)

/* Float kernels, for what stays float. Sums run in the order of the index, starting from the bias (or 0); products are rounded
 * before they are added. conv2d_f32: weights [out_c,kernel_h,kernel_w,in_c/groups], bias [out_c]. low/high clamp the result. */
#define BVL_CONV2D_F32_FIELDS(I, F, A)                                                                     \
  I(n) I(in_h) I(in_w) I(in_c) I(out_h) I(out_w) I(out_c) I(kernel_h) I(kernel_w) I(stride_h) I(stride_w) \
  I(dilation_h) I(dilation_w) I(pad_top) I(pad_left) I(groups) F(low) F(high)
/* matmul_f32: a [batch,rows,in_c] (batch stride a_batch elements), b [batch,in_c,out_c] or, with b_transposed, [batch,out_c,in_c]; optional
 * third operand bias [out_c] when has_bias; y = a*b + bias, clamped. Range: batch*rows. */
#define BVL_MATMUL_F32_FIELDS(I, F, A) \
  I(batch) I(rows) I(in_c) I(out_c) I(a_batch) I(b_batch) I(b_transposed) I(has_bias) F(low) F(high)
/* binary_f32: op one of BVL_BINARY_*; broadcasting as add_s8; PRELU is a < 0 ? a * b : a; MIN and MAX give NaN when a is NaN;
 * the result is clamped. Range: dims[0]. */
#define BVL_BINARY_F32_FIELDS(I, F, A) I(op) I(rank) A(dims) A(a_strides) A(b_strides) F(low) F(high)
/* unary_f32: op one of BVL_UNARY_*, with constants alpha and beta; functions are bevel_math.h's. Range: blocks of 1024. in place
 * allowed. CLIP min(max(x, alpha), beta); LEAKY_RELU x < 0 ? x * alpha : x; HARD_SIGMOID min(max(x * alpha + beta, 0), 1);
 * HARD_SWISH x times that; ELU x < 0 ? alpha * expm1(x) : x; SOFTPLUS max(x, 0) + log1p(exp(-|x|)); GELU 0.5 * x * (1 +
 * erf(x * sqrt(1/2))); GELU_TANH 0.5 * x * (1 + tanh(sqrt(2/pi) * (x + 0.044715 * x^3))). */
#define BVL_UNARY_F32_FIELDS(I, F, A) I(op) I(count) F(alpha) F(beta)
/* avg_pool_f32: the sum of the elements inside the image, in order, over the divisor of avg_pool_s8; max_pool_f32: as
 * max_pool_s8, NaN wins, an empty window gives -inf. Range: n*out_h rows. softmax_f32: shifted by the largest, summed in order;
 * `log`: (x - largest) - log(sum). Range: outer. */
#define BVL_AVG_POOL_F32_FIELDS(I, F, A)                                                       \
  I(n) I(in_h) I(in_w) I(c) I(out_h) I(out_w) I(kernel_h) I(kernel_w) I(stride_h) I(stride_w) \
  I(dilation_h) I(dilation_w) I(pad_top) I(pad_left) I(pad_bottom) I(pad_right) I(count_padding)
#define BVL_MAX_POOL_F32_FIELDS(I, F, A)                                                       \
  I(n) I(in_h) I(in_w) I(c) I(out_h) I(out_w) I(kernel_h) I(kernel_w) I(stride_h) I(stride_w) \
  I(dilation_h) I(dilation_w) I(pad_top) I(pad_left)
#define BVL_SOFTMAX_F32_FIELDS(I, F, A) I(outer) I(depth) I(inner) I(log)
/* reduce_f32: x [outer,depth,inner] over depth; op one of BVL_REDUCE_*. Range: outer. */
#define BVL_REDUCE_F32_FIELDS(I, F, A) I(op) I(outer) I(depth) I(inner)

/* conv2d_s8_w4, depthwise_conv2d_s8_w4, dense_s8_w4: as the kernels without _w4, with int4 weights, two to a byte, which are unpacked
 * in the kernel. Rows of weights ([out_c] rows of kernel_h*kernel_w*in_c/groups; depthwise: [kernel_h*kernel_w] rows of out_c; dense:
 * [out_c] rows of in_c) are padded with zeros to a multiple of 8, and each eight of them stand in the order 0 4 1 5 2 6 3 7
 * (bevel_dot_w4.h). acc is exact as well: lowering proves that 16 * (acc - bias) fits int32. */
#define BVL_CONV2D_S8_W4_FIELDS(I, F, A) BVL_CONV2D_S8_FIELDS(I, F, A)
#define BVL_DEPTHWISE_CONV2D_S8_W4_FIELDS(I, F, A) BVL_CONV2D_S8_FIELDS(I, F, A)
#define BVL_DENSE_S8_W4_FIELDS(I, F, A) BVL_DENSE_S8_FIELDS(I, F, A)

/* int16 activations, symmetric (no zero points), and int8 weights: y = clamp(round_half_even(float(acc) * multiplier), low, high), acc
 * exact in 64 bits. Bias int64 [out_c]; padding is 0. */
#define BVL_CONV2D_S16_FIELDS(I, F, A)                                                                     \
  I(n) I(in_h) I(in_w) I(in_c) I(out_h) I(out_w) I(out_c) I(kernel_h) I(kernel_w) I(stride_h) I(stride_w) \
  I(dilation_h) I(dilation_w) I(pad_top) I(pad_left) I(groups) I(low) I(high)
#define BVL_DEPTHWISE_CONV2D_S16_FIELDS(I, F, A) BVL_CONV2D_S16_FIELDS(I, F, A)
#define BVL_DENSE_S16_FIELDS(I, F, A) I(rows) I(in_c) I(out_c) I(low) I(high)
/* add_s16: r(a * a_multiplier + b * b_multiplier), each product and the sum rounded. mul_s16: r(float(a * b) * multiplier). */
#define BVL_ADD_S16_FIELDS(I, F, A) I(rank) A(dims) A(a_strides) A(b_strides) F(a_multiplier) F(b_multiplier) I(low) I(high)
#define BVL_MUL_S16_FIELDS(I, F, A) I(rank) A(dims) A(a_strides) A(b_strides) F(multiplier) I(low) I(high)
/* As avg_pool_s8 and max_pool_s8. */
#define BVL_AVG_POOL_S16_FIELDS(I, F, A)                                                       \
  I(n) I(in_h) I(in_w) I(c) I(out_h) I(out_w) I(kernel_h) I(kernel_w) I(stride_h) I(stride_w) \
  I(dilation_h) I(dilation_w) I(pad_top) I(pad_left) I(pad_bottom) I(pad_right) I(count_padding) F(in_scale) F(out_scale) I(low) I(high)
#define BVL_MAX_POOL_S16_FIELDS(I, F, A) BVL_MAX_POOL_S8_FIELDS(I, F, A)
/* rescale_s16: r((x * in_scale) / out_scale). unary_s16: r(f(x * in_scale) / out_scale), f as unary_f32's. softmax_s16 (along depth): with e_d =
 * exp((x_d - largest) * in_scale), r((e_d / sum) / out_scale), summed in order. Everything in float32 in this order. Ranges: blocks of
 * 1024; outer. */
#define BVL_RESCALE_S16_FIELDS(I, F, A) I(count) F(in_scale) F(out_scale) I(low) I(high)
#define BVL_UNARY_S16_FIELDS(I, F, A) I(op) I(count) F(alpha) F(beta) F(in_scale) F(out_scale) I(low) I(high)
#define BVL_SOFTMAX_S16_FIELDS(I, F, A) I(outer) I(depth) I(inner) F(in_scale) F(out_scale) I(low) I(high)
#define BVL_QUANTIZE_F32_S16_FIELDS(I, F, A) I(count) F(scale) I(low) I(high)
#define BVL_DEQUANTIZE_S16_F32_FIELDS(I, F, A) I(count) F(scale)

/* Float kernels whose weights stay small in flash; bits: 8 int8, 4 int4 in padded rows as the _w4 kernels', 16 float16, widened exactly.
 * Operands: x, weights, scales, bias [out_c].
 * matmul_f32_w: x [rows,in_c], weights [out_c] rows of in_c, scales [out_c, blocks] for blocks of `block` weights along in_c (the last may be
 * shorter): y = bias + s_0 * sum_0 + s_1 * sum_1 + ..., added in this order, each sum over its block's x * weight, in the order of the
 * index from 0, each product rounded; clamped. Range: rows. conv2d_f32_w: conv2d_f32's windows, weights [out_c] rows of
 * kernel_h*kernel_w*in_c/groups, scales [out_c]: y = bias + s * sum, clamped. Range: n*out_h rows. */
#define BVL_MATMUL_F32_W_FIELDS(I, F, A) I(rows) I(in_c) I(out_c) I(block) I(bits) F(low) F(high)
#define BVL_CONV2D_F32_W_FIELDS(I, F, A) BVL_CONV2D_F32_FIELDS(I, F, A) I(bits)
/* gather: y [outer,count] rows of row_bytes out of x [outer,extent], by indices [count] of index_bytes (4: int32, 8: int64). Negative indices
 * count from the end; those out of range, which ONNX forbids, give the first or the last row. Range: outer*count.
 * gather_f32_w: operands table [extent] rows of `depth` (bits as above), indices, scales; y = weight * scale, one scale for each
 * `block` elements of a row, the same for all rows unless row_scales. Range: count. */
#define BVL_GATHER_FIELDS(I, F, A) I(outer) I(extent) I(count) I(row_bytes) I(index_bytes)
#define BVL_GATHER_F32_W_FIELDS(I, F, A) I(extent) I(count) I(depth) I(block) I(row_scales) I(bits) I(index_bytes)

/* matmul_s8: the product of two activations. Reads a and b; y [dims[0],..,dims[rank-1],rows,out_c], of which the leading axes are batches. Element
 * (batch i.., row r, k) of a lies at sum i_d*a_strides[d] + r*a_row + k, element (i.., k, column c) of b at sum i_d*b_strides[d] +
 * k*b_step + c*b_column: transposed operands are read where they lie. acc = sum over k of (a - a_zp) * (b - b_zp), int32: exact up to 33025 products;
 * y = clamp(r(acc * multiplier) + out_zp). Range: batches*rows. scratch: bvl_matmul_s8_scratch(params) bytes. */
#define BVL_MATMUL_S8_FIELDS(I, F, A)                                                                     \
  I(rank) A(dims) A(a_strides) A(b_strides) I(rows) I(in_c) I(out_c) I(a_row) I(b_step) I(b_column)        \
  I(a_zp) I(b_zp) I(out_zp) F(multiplier) I(low) I(high)

/* dense_s8_w4_blocks: as dense_s8_w4, with a scale for each `block` weights along in_c (a multiple of 8; the last block may be shorter). Reads x,
 * weights as dense_s8_w4's, factors int16 [out_c, blocks], bias int64 [out_c] (zero point folded in), multipliers float [out_c]:
 * acc = bias + sum over blocks of factor * (the block's sum of x * weight), exact in 64 bits: a block's sum is taken in 32.
 * y = clamp(r(float(acc) * multiplier) + out_zp): a block's scale is factor * multiplier. Range as dense_s8's. */
#define BVL_DENSE_S8_W4_BLOCKS_FIELDS(I, F, A) I(rows) I(in_c) I(out_c) I(block) I(out_zp) I(low) I(high)

/* select: y = condition ? a : b, elements of element_bytes (1, 2, 4 or 8), condition bytes (0: false); strides as add_s8's. Range: dims[0]. */
#define BVL_SELECT_FIELDS(I, F, A) I(element_bytes) I(rank) A(dims) A(condition_strides) A(a_strides) A(b_strides)
/* compare: y = bytes 0 or 1 of a OP b, op one of BVL_COMPARE_*, on elements of one of BVL_ELEMENT_* but BOOL; false where one is NaN. Strides as
 * add_s8's. Range: dims[0]. */
#define BVL_COMPARE_FIELDS(I, F, A) I(op) I(element) I(rank) A(dims) A(a_strides) A(b_strides)
/* cast: from one of BVL_ELEMENT_* to another, but not from FLOAT32 to an integer. To FLOAT32 rounds half to even, to INT32 keeps the low bits,
 * to BOOL is x != 0. Range: blocks of 1024. */
#define BVL_CAST_FIELDS(I, F, A) I(count) I(from) I(to)

enum { BVL_BINARY_ADD, BVL_BINARY_SUB, BVL_BINARY_MUL, BVL_BINARY_DIV, BVL_BINARY_MIN, BVL_BINARY_MAX, BVL_BINARY_PRELU };
enum {
  BVL_UNARY_CLIP /* alpha low, beta high */, BVL_UNARY_LEAKY_RELU, BVL_UNARY_SIGMOID, BVL_UNARY_TANH,
  BVL_UNARY_HARD_SIGMOID, BVL_UNARY_HARD_SWISH, BVL_UNARY_ELU, BVL_UNARY_SOFTPLUS, BVL_UNARY_GELU,
  BVL_UNARY_GELU_TANH, BVL_UNARY_ERF, BVL_UNARY_EXP, BVL_UNARY_LOG, BVL_UNARY_SQRT, BVL_UNARY_RECIPROCAL,
  BVL_UNARY_ABS, BVL_UNARY_NEG, BVL_UNARY_FLOOR, BVL_UNARY_CEIL
};
enum { BVL_REDUCE_SUM, BVL_REDUCE_MEAN, BVL_REDUCE_MAX, BVL_REDUCE_MIN };
enum { BVL_COMPARE_EQUAL, BVL_COMPARE_LESS, BVL_COMPARE_LESS_OR_EQUAL, BVL_COMPARE_GREATER, BVL_COMPARE_GREATER_OR_EQUAL };
enum { BVL_ELEMENT_BOOL, BVL_ELEMENT_INT32, BVL_ELEMENT_INT64, BVL_ELEMENT_FLOAT32 };

/* X(id, NAME, name, version): append-only. */
#define BVL_KERNELS(X)                               \
  X(1, CONV2D_S8, conv2d_s8, 1)                      \
  X(2, DEPTHWISE_CONV2D_S8, depthwise_conv2d_s8, 1)  \
  X(3, DENSE_S8, dense_s8, 1)                        \
  X(4, ADD_S8, add_s8, 1)                            \
  X(5, MUL_S8, mul_s8, 1)                            \
  X(6, AVG_POOL_S8, avg_pool_s8, 1)                  \
  X(7, MAX_POOL_S8, max_pool_s8, 1)                  \
  X(8, SOFTMAX_S8, softmax_s8, 1)                    \
  X(9, LUT_S8, lut_s8, 1)                            \
  X(10, COPY, copy, 1)                               \
  X(11, FILL, fill, 1)                               \
  X(12, QUANTIZE_F32_S8, quantize_f32_s8, 1)         \
  X(13, DEQUANTIZE_S8_F32, dequantize_s8_f32, 1)     \
  X(14, CONV2D_F32, conv2d_f32, 1)                   \
  X(15, MATMUL_F32, matmul_f32, 1)                   \
  X(16, BINARY_F32, binary_f32, 1)                   \
  X(17, UNARY_F32, unary_f32, 1)                     \
  X(18, AVG_POOL_F32, avg_pool_f32, 1)               \
  X(19, MAX_POOL_F32, max_pool_f32, 1)               \
  X(20, SOFTMAX_F32, softmax_f32, 1)                 \
  X(21, REDUCE_F32, reduce_f32, 1)                   \
  X(22, CONV2D_S8_W4, conv2d_s8_w4, 1)               \
  X(23, DEPTHWISE_CONV2D_S8_W4, depthwise_conv2d_s8_w4, 1) \
  X(24, DENSE_S8_W4, dense_s8_w4, 1)                 \
  X(25, CONV2D_S16, conv2d_s16, 1)                   \
  X(26, DEPTHWISE_CONV2D_S16, depthwise_conv2d_s16, 1) \
  X(27, DENSE_S16, dense_s16, 1)                     \
  X(28, ADD_S16, add_s16, 1)                         \
  X(29, MUL_S16, mul_s16, 1)                         \
  X(30, AVG_POOL_S16, avg_pool_s16, 1)               \
  X(31, MAX_POOL_S16, max_pool_s16, 1)               \
  X(32, RESCALE_S16, rescale_s16, 1)                 \
  X(33, UNARY_S16, unary_s16, 1)                     \
  X(34, SOFTMAX_S16, softmax_s16, 1)                 \
  X(35, QUANTIZE_F32_S16, quantize_f32_s16, 1)       \
  X(36, DEQUANTIZE_S16_F32, dequantize_s16_f32, 1)   \
  X(37, MATMUL_F32_W, matmul_f32_w, 1)               \
  X(38, CONV2D_F32_W, conv2d_f32_w, 1)               \
  X(39, GATHER, gather, 1)                           \
  X(40, GATHER_F32_W, gather_f32_w, 1)               \
  X(41, MATMUL_S8, matmul_s8, 1)                     \
  X(42, DENSE_S8_W4_BLOCKS, dense_s8_w4_blocks, 1)   \
  X(43, SELECT, select, 1)                           \
  X(44, COMPARE, compare, 1)                         \
  X(45, CAST, cast, 1)

#define BVL_FIELD_I(name) int32_t name;
#define BVL_FIELD_F(name) float name;
#define BVL_FIELD_A(name) int32_t name[8];
#define BVL_DECLARE(id, NAME, name, version)                                                  \
  typedef struct { BVL_##NAME##_FIELDS(BVL_FIELD_I, BVL_FIELD_F, BVL_FIELD_A) } bvl_##name##_params;
BVL_KERNELS(BVL_DECLARE)
#undef BVL_DECLARE

typedef enum {
#define BVL_ENUM(id, NAME, name, version) BVL_KERNEL_##NAME = id,
  BVL_KERNELS(BVL_ENUM)
#undef BVL_ENUM
} bvl_kernel;

#endif
