/* Register-blocked dot products of int8 rows, and the patches (im2col of two output pixels) that convolutions feed them.
 *
 * Portable: a patch is int8. With Arm's DSP extension (Cortex-M4, M7, M33) a patch is int16, both pixels interleaved, so that
 * SMLAD takes two products at a time: for every four elements of depth the words (x0,x2) (x1,x3) of pixel 0, then of pixel 1;
 * SXTB16 splits a word of four weights into the same pairs. Sums are exact, so the order does not matter. */
#ifndef BEVEL_DOT_S8_H
#define BEVEL_DOT_S8_H

#include "lib/runtime/kernels/bevel_kernel_common.h"

#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__) && defined(__ARM_ARCH) && !defined(__aarch64__) && \
    __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define BVL_ARM_DSP 1
#else
#define BVL_ARM_DSP 0
#endif

/* The inner loops below are written out: compilers run out of registers there and spill pointers. They take thirteen registers,
 * which unoptimized code does not leave. */
#if BVL_ARM_DSP && defined(__OPTIMIZE__)
#define BVL_ARM_LOOPS 1
#else
#define BVL_ARM_LOOPS 0
#endif

#if BVL_ARM_DSP
static inline uint32_t bvl_load4(const int8_t* bytes) {
  uint32_t word;
  memcpy(&word, bytes, sizeof word);
  return word;
}
/* Sign-extended bytes 0 and 2 (1 and 3) of a word as two int16; the second adds them to two int16. */
static inline uint32_t bvl_bytes02(uint32_t word) {
  uint32_t pair;
  __asm__("sxtb16 %0, %1" : "=r"(pair) : "r"(word));
  return pair;
}
static inline uint32_t bvl_bytes13(uint32_t word) {
  uint32_t pair;
  __asm__("sxtb16 %0, %1, ror #8" : "=r"(pair) : "r"(word));
  return pair;
}
static inline uint32_t bvl_add_bytes02(uint32_t pair, uint32_t word) {
  __asm__("sxtab16 %0, %1, %2" : "=r"(pair) : "r"(pair), "r"(word));
  return pair;
}
static inline uint32_t bvl_add_bytes13(uint32_t pair, uint32_t word) {
  __asm__("sxtab16 %0, %1, %2, ror #8" : "=r"(pair) : "r"(pair), "r"(word));
  return pair;
}
/* acc + a.low * b.low + a.high * b.high, and the single products. */
static inline uint32_t bvl_smlad(uint32_t a, uint32_t b, uint32_t acc) {
  __asm__("smlad %0, %1, %2, %3" : "=r"(acc) : "r"(a), "r"(b), "r"(acc));
  return acc;
}
static inline uint32_t bvl_smlabb(uint32_t a, uint32_t b, uint32_t acc) {
  __asm__("smlabb %0, %1, %2, %3" : "=r"(acc) : "r"(a), "r"(b), "r"(acc));
  return acc;
}
static inline uint32_t bvl_smlatt(uint32_t a, uint32_t b, uint32_t acc) {
  __asm__("smlatt %0, %1, %2, %3" : "=r"(acc) : "r"(a), "r"(b), "r"(acc));
  return acc;
}
#endif

/* acc[i] += sum of x * row i of four weight rows. */
static inline void bvl_dot_1x4(const int8_t* x, const int8_t* const w[4], int32_t depth, uint32_t acc[4]) {
  uint32_t a0 = acc[0], a1 = acc[1], a2 = acc[2], a3 = acc[3];
  const int8_t *w0 = w[0], *w1 = w[1], *w2 = w[2], *w3 = w[3];
  int32_t k = 0;
#if BVL_ARM_LOOPS
#define BVL_ROW(acc, row)                                                                       \
  "ldr %[v], [%[" row "]], #4\n\tsxtb16 %[t], %[v]\n\tsxtb16 %[v], %[v], ror #8\n\t"      \
  "smlad %[" acc "], %[x02], %[t], %[" acc "]\n\tsmlad %[" acc "], %[x13], %[v], %[" acc "]\n\t"
#define BVL_FOUR                                                                                \
  "ldr %[v], [%[x]], #4\n\tsxtb16 %[x02], %[v]\n\tsxtb16 %[x13], %[v], ror #8\n\t"        \
  BVL_ROW("a0", "w0") BVL_ROW("a1", "w1") BVL_ROW("a2", "w2") BVL_ROW("a3", "w3")
  if (depth >= 8) {
    const int8_t* end = x + (depth & ~7);
    uint32_t v, t, x02, x13;
    __asm__ volatile("1:\n\t" BVL_FOUR BVL_FOUR "ldr %[v], %[end]\n\tcmp %[x], %[v]\n\tbne 1b"
                     : [a0] "+r"(a0), [a1] "+r"(a1), [a2] "+r"(a2), [a3] "+r"(a3), [w0] "+r"(w0), [w1] "+r"(w1),
                       [w2] "+r"(w2), [w3] "+r"(w3), [x] "+r"(x), [v] "=&r"(v), [t] "=&r"(t), [x02] "=&r"(x02),
                       [x13] "=&r"(x13)
                     : [end] "m"(end)
                     : "cc", "memory");
    k = depth & ~7;
  }
#undef BVL_FOUR
#undef BVL_ROW
#endif
#if BVL_ARM_DSP
  for (; k + 4 <= depth; k += 4) {
    const uint32_t word = bvl_load4(x), x02 = bvl_bytes02(word), x13 = bvl_bytes13(word);
    const uint32_t v0 = bvl_load4(w0), v1 = bvl_load4(w1), v2 = bvl_load4(w2), v3 = bvl_load4(w3);
    a0 = bvl_smlad(x13, bvl_bytes13(v0), bvl_smlad(x02, bvl_bytes02(v0), a0));
    a1 = bvl_smlad(x13, bvl_bytes13(v1), bvl_smlad(x02, bvl_bytes02(v1), a1));
    a2 = bvl_smlad(x13, bvl_bytes13(v2), bvl_smlad(x02, bvl_bytes02(v2), a2));
    a3 = bvl_smlad(x13, bvl_bytes13(v3), bvl_smlad(x02, bvl_bytes02(v3), a3));
    x += 4, w0 += 4, w1 += 4, w2 += 4, w3 += 4;
  }
#endif
  for (; k < depth; ++k) {
    const int32_t value = *x++;
    a0 = bvl_mac(a0, value, *w0++);
    a1 = bvl_mac(a1, value, *w1++);
    a2 = bvl_mac(a2, value, *w2++);
    a3 = bvl_mac(a3, value, *w3++);
  }
  acc[0] = a0, acc[1] = a1, acc[2] = a2, acc[3] = a3;
}

#if BVL_ARM_DSP
/* Element `at` of a pixel's patch. */
static inline int16_t* bvl_patch_element(void* patch, int32_t at) {
  return (int16_t*)patch + (at / 4) * 8 + (at & 2) / 2 + (at & 1) * 2;
}
static inline void* bvl_patch_of_pixel(void* scratch, int32_t depth, int32_t pixel) {
  (void)depth;
  return (int16_t*)scratch + 4 * pixel;
}
#else
static inline void* bvl_patch_of_pixel(void* scratch, int32_t depth, int32_t pixel) {
  return (int8_t*)scratch + depth * pixel;
}
#endif

/* Appends `count` values at `at`: of `source`, or `fill` when source is null. */
static inline void bvl_patch_put(void* patch, int32_t at, const int8_t* source, int32_t count, int32_t fill) {
#if BVL_ARM_DSP
  const uint32_t pair = ((uint32_t)fill & 0xffffu) * 0x10001u;
  while (count > 0) {
    if ((at & 3) == 0 && count >= 4) {
      uint32_t* words = (uint32_t*)patch + at;
      const uint32_t four = source ? bvl_load4(source) : 0;
      words[0] = source ? bvl_bytes02(four) : pair;
      words[1] = source ? bvl_bytes13(four) : pair;
      source = source ? source + 4 : source;
      at += 4;
      count -= 4;
    } else {
      *bvl_patch_element(patch, at++) = (int16_t)(source ? *source++ : fill);
      --count;
    }
  }
#else
  if (source) memcpy((int8_t*)patch + at, source, (size_t)count);
  else memset((int8_t*)patch + at, fill, (size_t)count);
#endif
}

/* acc = {w0*p0, w0*p1, w1*p0, w1*p1} added, p the patches of the two pixels in scratch. */
static inline void bvl_dot_2x2(const int8_t* w0, const int8_t* w1, const void* scratch, int32_t depth, uint32_t acc[4]) {
  uint32_t a00 = acc[0], a01 = acc[1], a10 = acc[2], a11 = acc[3];
#if BVL_ARM_DSP
  const uint32_t* x = (const uint32_t*)scratch;
#if BVL_ARM_LOOPS
#define BVL_CHANNEL(first, second, row)                                                         \
  "ldr %[v], [%[" row "]], #4\n\tsxtb16 %[t], %[v]\n\tsxtb16 %[v], %[v], ror #8\n\t"      \
  "smlad %[" first "], %[x0], %[t], %[" first "]\n\tsmlad %[" second "], %[x2], %[t], %[" second "]\n\t" \
  "smlad %[" first "], %[x1], %[v], %[" first "]\n\tsmlad %[" second "], %[x3], %[v], %[" second "]\n\t"
#define BVL_FOUR                                                                                \
  "ldrd %[x0], %[x1], [%[x]], #8\n\tldrd %[x2], %[x3], [%[x]], #8\n\t"                      \
  BVL_CHANNEL("a00", "a01", "w0") BVL_CHANNEL("a10", "a11", "w1")
  if (depth >= 8) {
    const uint32_t* pairs_end = x + (depth & ~7);
    uint32_t v, t, x0, x1, x2, x3;
    __asm__ volatile("1:\n\t" BVL_FOUR BVL_FOUR "ldr %[v], %[end]\n\tcmp %[x], %[v]\n\tbne 1b"
                     : [a00] "+r"(a00), [a01] "+r"(a01), [a10] "+r"(a10), [a11] "+r"(a11), [w0] "+r"(w0),
                       [w1] "+r"(w1), [x] "+r"(x), [v] "=&r"(v), [t] "=&r"(t), [x0] "=&r"(x0), [x1] "=&r"(x1),
                       [x2] "=&r"(x2), [x3] "=&r"(x3)
                     : [end] "m"(pairs_end)
                     : "cc", "memory");
  }
#undef BVL_FOUR
#undef BVL_CHANNEL
#endif
  const uint32_t* end = (const uint32_t*)scratch + (depth & ~3);
  while (x != end) {
    const uint32_t v0 = bvl_load4(w0), v1 = bvl_load4(w1);
    const uint32_t v0_02 = bvl_bytes02(v0), v0_13 = bvl_bytes13(v0), v1_02 = bvl_bytes02(v1), v1_13 = bvl_bytes13(v1);
    a00 = bvl_smlad(x[1], v0_13, bvl_smlad(x[0], v0_02, a00));
    a10 = bvl_smlad(x[1], v1_13, bvl_smlad(x[0], v1_02, a10));
    a01 = bvl_smlad(x[3], v0_13, bvl_smlad(x[2], v0_02, a01));
    a11 = bvl_smlad(x[3], v1_13, bvl_smlad(x[2], v1_02, a11));
    x += 4, w0 += 4, w1 += 4;
  }
  for (int32_t k = 0; k < (depth & 3); ++k) {
    const int16_t* element = (const int16_t*)(const void*)x + (k & 2) / 2 + (k & 1) * 2;
    const int32_t x0 = element[0], x1 = element[4], v0 = *w0++, v1 = *w1++;
    a00 = bvl_mac(a00, x0, v0);
    a01 = bvl_mac(a01, x1, v0);
    a10 = bvl_mac(a10, x0, v1);
    a11 = bvl_mac(a11, x1, v1);
  }
#elif defined(__ARM_ARCH_6M__)
  /* Eight registers that instructions can name: one channel at a time keeps all in them. */
  const int8_t* p0 = (const int8_t*)scratch;
  const int8_t* p1 = p0 + depth;
  for (int32_t k = 0; k < depth; ++k) {
    const int32_t v = w0[k];
    a00 = bvl_mac(a00, p0[k], v);
    a01 = bvl_mac(a01, p1[k], v);
  }
  for (int32_t k = 0; k < depth; ++k) {
    const int32_t v = w1[k];
    a10 = bvl_mac(a10, p0[k], v);
    a11 = bvl_mac(a11, p1[k], v);
  }
#else
  const int8_t* p0 = (const int8_t*)scratch;
  const int8_t* p1 = p0 + depth;
  for (int32_t k = 0; k < depth; ++k) {
    const int32_t x0 = p0[k], x1 = p1[k], v0 = w0[k], v1 = w1[k];
    a00 = bvl_mac(a00, x0, v0);
    a01 = bvl_mac(a01, x1, v0);
    a10 = bvl_mac(a10, x0, v1);
    a11 = bvl_mac(a11, x1, v1);
  }
#endif
  acc[0] = a00, acc[1] = a01, acc[2] = a10, acc[3] = a11;
}

#endif
