/* Instructions of each kernel on layers of ordinary shapes; scripts/measure-kernels builds and runs it. A line:
 * family.dtype instructions units, with the units that lowering counts for the cost model. Float kernels run on zeros, those
 * that compute a function on values from -4 to 4. */
#include "board.h"
#include "lib/runtime/bevel_format.h"

#define DECLARE(id, NAME, name, version) bvl_kernel_fn bvl_##name;
BVL_KERNELS(DECLARE)

static _Alignas(16) unsigned char x[1 << 16], w[1 << 18], y[1 << 16], scratch[1 << 14];
static int64_t bias[1024]; /* kernels on int8 see twice as many int32 */
static float multipliers[1024];

static void print_number(unsigned long long value) {
  char text[24];
  int at = (int)sizeof text;
  text[--at] = '\0';
  do text[--at] = (char)('0' + value % 10);
  while ((value /= 10) != 0);
  board_print(" ");
  board_print(text + at);
}

static void measure_on(const char* key, bvl_kernel_fn* kernel, const void* params, const void* const* in, uint32_t range,
                       unsigned long long units) {
  void* const out[] = {y};
  board_start_count();
  kernel(params, in, out, scratch, 0, range);
  const unsigned long long instructions = board_stop_count();
  board_print(key);
  print_number(instructions);
  print_number(units);
  board_print("\n");
}

static void measure(const char* key, bvl_kernel_fn* kernel, const void* params, uint32_t range, unsigned long long units) {
  const void* const in[] = {x, w, bias, multipliers};
  measure_on(key, kernel, params, in, range, units);
}

/* Float kernels on integer weights: the scales and the bias are floats. */
static void measure_weights(const char* key, bvl_kernel_fn* kernel, const void* params, uint32_t range, unsigned long long units) {
  const void* const in[] = {x, w, multipliers, multipliers};
  measure_on(key, kernel, params, in, range, units);
}

int main(void) {
  uint32_t seed = 1;
  for (unsigned i = 0; i < sizeof x; ++i) x[i] = (unsigned char)((seed = seed * 1664525u + 1013904223u) >> 24);
  for (unsigned i = 0; i < sizeof w; ++i) w[i] = (unsigned char)((seed = seed * 1664525u + 1013904223u) >> 24);
  for (unsigned i = 0; i < 1024; ++i) bias[i] = (int32_t)(seed = seed * 1664525u + 1013904223u) >> 18, multipliers[i] = 0.001f;

  const bvl_conv2d_s8_params square = {1, 16, 16, 16, 16, 16, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, 3, -5, -128, 127};
  const bvl_conv2d_s8_params point = {1, 12, 12, 64, 12, 12, 64, 1, 1, 1, 1, 1, 1, 0, 0, 1, 3, -5, -128, 127};
  measure("conv.int8", bvl_conv2d_s8, &square, 16, 16ull * 16 * 32 * 9 * 16);
  measure("conv.int8", bvl_conv2d_s8, &point, 12, 12ull * 12 * 64 * 64);
  const bvl_depthwise_conv2d_s8_params deep = {1, 12, 12, 64, 12, 12, 64, 3, 3, 1, 1, 1, 1, 1, 1, 64, 3, -5, -128, 127};
  measure("depthwise.int8", bvl_depthwise_conv2d_s8, &deep, 12, 12ull * 12 * 64 * 9);
  const bvl_dense_s8_params dense = {1, 640, 128, 3, -5, -128, 127};
  measure("dense.int8", bvl_dense_s8, &dense, 128, 640 * 128);
  const bvl_conv2d_s16_params square16 = {1, 16, 16, 16, 16, 16, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, -32768, 32767};
  const bvl_conv2d_s16_params point16 = {1, 12, 12, 64, 12, 12, 64, 1, 1, 1, 1, 1, 1, 0, 0, 1, -32768, 32767};
  measure("conv.int16", bvl_conv2d_s16, &square16, 16, 16ull * 16 * 32 * 9 * 16);
  measure("conv.int16", bvl_conv2d_s16, &point16, 12, 12ull * 12 * 64 * 64);
  const bvl_depthwise_conv2d_s16_params deep16 = {1, 12, 12, 64, 12, 12, 64, 3, 3, 1, 1, 1, 1, 1, 1, 64, -32768, 32767};
  measure("depthwise.int16", bvl_depthwise_conv2d_s16, &deep16, 12, 12ull * 12 * 64 * 9);
  const bvl_dense_s16_params dense16 = {1, 640, 128, -32768, 32767};
  measure("dense.int16", bvl_dense_s16, &dense16, 128, 640 * 128);
  const bvl_add_s16_params add16 = {1, {4096}, {1}, {1}, 0.61f, 0.47f, -32768, 32767};
  measure("elementwise.int16", bvl_add_s16, &add16, 4096, 4096);
  const bvl_mul_s16_params mul16 = {1, {4096}, {1}, {1}, 0.00001f, -32768, 32767};
  measure("elementwise.int16", bvl_mul_s16, &mul16, 4096, 4096);
  const bvl_rescale_s16_params rescale16 = {4096, 0.1f, 0.12f, -32768, 32767};
  measure("rescale.int16", bvl_rescale_s16, &rescale16, 4, 4096);
  const bvl_max_pool_s16_params largest16 = {1, 16, 16, 32, 8, 8, 2, 2, 2, 2, 1, 1, 0, 0, -32768, 32767};
  measure("pool.int16", bvl_max_pool_s16, &largest16, 8, 8 * 8 * 32 * 4);
  const bvl_avg_pool_s16_params average16 = {1, 16, 16, 32, 1, 1, 16, 16, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0.1f, 0.05f, -32768, 32767};
  measure("pool.int16", bvl_avg_pool_s16, &average16, 1, 32 * 256);
  const bvl_unary_s16_params sigmoid16 = {BVL_UNARY_SIGMOID, 4096, 0, 0, 0.0002f, 0.00003f, -32768, 32767};
  measure("table.int16", bvl_unary_s16, &sigmoid16, 4, 4096);
  const bvl_softmax_s16_params softmax16 = {8, 12, 1, 0.0002f, 0.00003f, -32768, 32767};
  measure("softmax.int16", bvl_softmax_s16, &softmax16, 8, 8 * 12);
  const bvl_conv2d_s8_w4_params square4 = {1, 16, 16, 16, 16, 16, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, 3, -5, -128, 127};
  const bvl_conv2d_s8_w4_params point4 = {1, 12, 12, 64, 12, 12, 64, 1, 1, 1, 1, 1, 1, 0, 0, 1, 3, -5, -128, 127};
  measure("conv.int4", bvl_conv2d_s8_w4, &square4, 16, 16ull * 16 * 32 * 9 * 16);
  measure("conv.int4", bvl_conv2d_s8_w4, &point4, 12, 12ull * 12 * 64 * 64);
  const bvl_depthwise_conv2d_s8_w4_params deep4 = {1, 12, 12, 64, 12, 12, 64, 3, 3, 1, 1, 1, 1, 1, 1, 64, 3, -5, -128, 127};
  measure("depthwise.int4", bvl_depthwise_conv2d_s8_w4, &deep4, 12, 12ull * 12 * 64 * 9);
  const bvl_dense_s8_w4_params dense4 = {1, 640, 128, 3, -5, -128, 127};
  measure("dense.int4", bvl_dense_s8_w4, &dense4, 128, 640 * 128);
  const bvl_dense_s8_w4_blocks_params blocks4 = {1, 640, 128, 32, -5, -128, 127};
  const void* const block_operands[] = {x, w, multipliers, bias, multipliers}; /* any bits are factors */
  measure_on("dense.int4_blocks", bvl_dense_s8_w4_blocks, &blocks4, block_operands, 128, 640 * 128);
  const bvl_matmul_s8_params scores = {1, {4}, {16}, {16}, 48, 16, 48, 64, 1, 64, 3, -5, 2, 0.001f, -128, 127};
  measure("dense.int8_activations", bvl_matmul_s8, &scores, 4 * 48, 4ull * 48 * 48 * 16);
  const bvl_matmul_s8_params values = {1, {4}, {48 * 48}, {16}, 48, 48, 16, 48, 64, 1, 3, -5, 2, 0.001f, -128, 127};
  measure("dense.int8_activations", bvl_matmul_s8, &values, 4 * 48, 4ull * 48 * 48 * 16);
  const bvl_select_params masked = {4, 2, {192, 48}, {0, 1}, {0, 0}, {48, 1}};
  measure("select", bvl_select, &masked, 192, 192 * 48);
  const bvl_compare_params compared = {BVL_COMPARE_EQUAL, BVL_ELEMENT_INT64, 1, {4096}, {1}, {0}};
  measure("compare", bvl_compare, &compared, 4096, 4096);
  const bvl_cast_params widened = {4096, BVL_ELEMENT_INT64, BVL_ELEMENT_FLOAT32};
  measure("cast", bvl_cast, &widened, 4, 4096);
  const bvl_add_s8_params add = {1, {4096}, {1}, {1}, 3, -4, 2, 0.61f, 0.47f, -128, 127};
  measure("elementwise.int8", bvl_add_s8, &add, 4096, 4096);
  const bvl_mul_s8_params mul = {1, {4096}, {1}, {1}, 3, -4, 2, 0.01f, -128, 127};
  measure("elementwise.int8", bvl_mul_s8, &mul, 4096, 4096);
  const bvl_max_pool_s8_params largest = {1, 16, 16, 32, 8, 8, 2, 2, 2, 2, 1, 1, 0, 0, -128, 127};
  measure("pool.int8", bvl_max_pool_s8, &largest, 8, 8 * 8 * 32 * 4);
  const bvl_avg_pool_s8_params average = {1, 16, 16, 32, 1, 1, 16, 16, 1, 1, 1, 1, 0, 0, 0, 0, 0, 3, -5, 0.1f, 0.05f, -128, 127};
  measure("pool.int8", bvl_avg_pool_s8, &average, 1, 32 * 256);
  const bvl_copy_params transpose = {1, 2, {64, 64}, {1, 64}, {64, 1}, 0, 0};
  measure("move.int8", bvl_copy, &transpose, 64, 4096);
  const bvl_copy_params rows = {1, 2, {16, 256}, {256, 1}, {288, 1}, 0, 16};
  measure("move.int8", bvl_copy, &rows, 16, 4096);
  const bvl_lut_s8_params table = {4096};
  measure("table.int8", bvl_lut_s8, &table, 4, 4096);
  for (uint32_t d = 0; d < 256; ++d) ((uint32_t*)(void*)w)[d] = 0x80000000u >> (d / 16);
  const bvl_softmax_s8_params softmax = {8, 12, 1};
  measure("softmax.int8", bvl_softmax_s8, &softmax, 8, 8 * 12);

  for (unsigned i = 0; i < sizeof x; ++i) x[i] = 0;
  for (unsigned i = 0; i < sizeof w; ++i) w[i] = 0;
  const bvl_conv2d_f32_params float_conv = {1, 12, 12, 16, 12, 12, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, -1e9f, 1e9f};
  measure("conv.float32", bvl_conv2d_f32, &float_conv, 12, 12ull * 12 * 32 * 9 * 16);
  const bvl_matmul_f32_params float_dense = {1, 1, 640, 64, 0, 0, 0, 0, -1e9f, 1e9f};
  measure("dense.float32", bvl_matmul_f32, &float_dense, 1, 640 * 64);
  const bvl_binary_f32_params float_add = {BVL_BINARY_ADD, 1, {4096}, {1}, {1}, -1e9f, 1e9f};
  measure("elementwise.float32", bvl_binary_f32, &float_add, 4096, 4096);
  const bvl_conv2d_f32_w_params float_conv8 = {1, 12, 12, 16, 12, 12, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, -1e9f, 1e9f, 8};
  measure_weights("conv.float32_w8", bvl_conv2d_f32_w, &float_conv8, 12, 12ull * 12 * 32 * 9 * 16);
  const bvl_conv2d_f32_w_params float_conv4 = {1, 12, 12, 16, 12, 12, 32, 3, 3, 1, 1, 1, 1, 1, 1, 1, -1e9f, 1e9f, 4};
  measure_weights("conv.float32_w4", bvl_conv2d_f32_w, &float_conv4, 12, 12ull * 12 * 32 * 9 * 16);
  const bvl_matmul_f32_w_params float_dense8 = {1, 640, 64, 640, 8, -1e9f, 1e9f};
  measure_weights("dense.float32_w8", bvl_matmul_f32_w, &float_dense8, 1, 640 * 64);
  const bvl_matmul_f32_w_params float_dense4 = {1, 640, 64, 32, 4, -1e9f, 1e9f};
  measure_weights("dense.float32_w4", bvl_matmul_f32_w, &float_dense4, 1, 640 * 64);
  const bvl_gather_params rows_of = {1, 512, 32, 128, 8};
  measure("gather", bvl_gather, &rows_of, 32, 32 * 128);
  const bvl_gather_f32_w_params table8 = {512, 32, 128, 128, 1, 8, 8};
  measure("gather.float32_w8", bvl_gather_f32_w, &table8, 32, 32 * 128);
  const bvl_conv2d_f32_params float_deep = {1, 12, 12, 64, 12, 12, 64, 3, 3, 1, 1, 1, 1, 1, 1, 64, -1e9f, 1e9f};
  measure("depthwise.float32", bvl_conv2d_f32, &float_deep, 12, 12ull * 12 * 64 * 9);
  const bvl_max_pool_f32_params float_largest = {1, 16, 16, 32, 8, 8, 2, 2, 2, 2, 1, 1, 0, 0};
  measure("pool.float32", bvl_max_pool_f32, &float_largest, 8, 8 * 8 * 32 * 4);
  const bvl_avg_pool_f32_params float_average = {1, 16, 16, 32, 1, 1, 16, 16, 1, 1, 1, 1, 0, 0, 0, 0, 0};
  measure("pool.float32", bvl_avg_pool_f32, &float_average, 1, 32 * 256);
  const bvl_copy_params float_transpose = {4, 2, {64, 64}, {1, 64}, {64, 1}, 0, 0};
  measure("move.float32", bvl_copy, &float_transpose, 64, 4096);
  const bvl_copy_params float_rows = {4, 2, {16, 256}, {256, 1}, {288, 1}, 0, 16};
  measure("move.float32", bvl_copy, &float_rows, 16, 4096);
  for (unsigned i = 0; i < 4096; ++i) ((float*)(void*)x)[i] = (float)(int32_t)(seed = seed * 1664525u + 1013904223u) / 536870912.0f;
  const bvl_unary_f32_params sigmoid = {BVL_UNARY_SIGMOID, 4096, 0.0f, 0.0f}, tanh = {BVL_UNARY_TANH, 4096, 0.0f, 0.0f};
  measure("table.float32", bvl_unary_f32, &sigmoid, 4, 4096);
  measure("table.float32", bvl_unary_f32, &tanh, 4, 4096);
  const bvl_softmax_f32_params float_softmax = {8, 12, 1, 0};
  measure("softmax.float32", bvl_softmax_f32, &float_softmax, 8, 8 * 12);
  return 0;
}
