/* add_s8 for AVX2: eight elements at a time where each side runs on or stands still along the last axis. */
#if defined(__AVX2__)
#include "lib/runtime/arch/avx2/avx2_s8.h"
#include "lib/runtime/kernel_table.h"
#include "lib/runtime/kernels/bevel_broadcast.h"

static inline __m256 scaled(const int8_t* bytes, int32_t step, int32_t at, __m256i zero_point, __m256 multiplier) {
  const __m256i values = step ? _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i*)(const void*)(bytes + at)))
                              : _mm256_set1_epi32(bytes[0]);
  return _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(values, zero_point)), multiplier);
}

void bvl_add_s8_avx2(const void* params, const void* const* in, void* const* out, void* scratch, uint32_t begin,
                     uint32_t end) {
  const bvl_add_s8_params* p = (const bvl_add_s8_params*)params;
  const int32_t a_step = p->a_strides[p->rank - 1], b_step = p->b_strides[p->rank - 1];
  if ((uint32_t)a_step > 1 || (uint32_t)b_step > 1) {
    bvl_add_s8(params, in, out, scratch, begin, end);
    return;
  }
  const bvl_output_range output = bvl_make_output_range(p->out_zp, p->low, p->high);
  const __m256i a_zp = _mm256_set1_epi32(p->a_zp), b_zp = _mm256_set1_epi32(p->b_zp);
  const __m256 a_multiplier = _mm256_set1_ps(p->a_multiplier), b_multiplier = _mm256_set1_ps(p->b_multiplier);
  int32_t row_elements = 1;
  for (int32_t k = 1; k < p->rank; ++k) row_elements *= p->dims[k];
  int8_t* y = (int8_t*)out[0] + (int32_t)begin * row_elements;
  bvl_walk walk = bvl_walk_start(p->rank, p->dims, p->a_strides, p->b_strides, (int32_t)begin, (int32_t)end);
  do {
    const int8_t* a = (const int8_t*)in[0] + walk.a;
    const int8_t* b = (const int8_t*)in[1] + walk.b;
    int32_t i = 0;
    for (; i + 8 <= walk.length; i += 8) {
      const __m256 sum = _mm256_add_ps(scaled(a, a_step, i, a_zp, a_multiplier), scaled(b, b_step, i, b_zp, b_multiplier));
      _mm_storel_epi64((__m128i*)(void*)(y + i), bvl_avx2_narrow(bvl_avx2_round_clamp(sum, &output)));
    }
    for (; i < walk.length; ++i) {
      const float sum =
          (float)(a[i * a_step] - p->a_zp) * p->a_multiplier + (float)(b[i * b_step] - p->b_zp) * p->b_multiplier;
      y[i] = (int8_t)(bvl_round_clamp(sum, output.low, output.high) + output.zero_point);
    }
    y += walk.length;
  } while (bvl_walk_next(&walk, p->rank, p->dims, p->a_strides, p->b_strides, (int32_t)end));
}
#else
typedef int bvl_no_avx2; /* a translation unit must not be empty */
#endif
