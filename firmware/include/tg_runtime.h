/* What generated kernels need: constants in flash, and quantised arithmetic equal to TensorFlow Lite's reference.
 * Header only, C99 and C++; part of every generated project.
 */
#ifndef TG_RUNTIME_H
#define TG_RUNTIME_H

#include <stdint.h>
#include <string.h>

#define TG_RUNTIME_VERSION 1

/* Define TG_LAYER_DONE(layer) before the model's source to observe an inference layer by layer; or define TG_LAYER_CYCLES
 * for all sources, and the function below.
 */
#if defined(TG_LAYER_CYCLES) && !defined(TG_LAYER_DONE)
#ifdef __cplusplus
extern "C"
#endif
void tg_layer_done(int32_t layer);
#define TG_LAYER_DONE(layer) tg_layer_done(layer)
#endif
#ifndef TG_LAYER_DONE
#define TG_LAYER_DONE(layer) ((void)0)
#endif

/* A kernel and its callers are compiled apart: GCC 12 at -O2 else builds arena addresses into a copy of the kernel, may
 * then take the copy's stores for stores to nothing, and drops the call.
 */
#if defined(__clang__)
#define TG_NOINLINE __attribute__((noinline))
#elif defined(__GNUC__) && __GNUC__ >= 8
#define TG_NOINLINE __attribute__((noipa))
#elif defined(__GNUC__)
#define TG_NOINLINE __attribute__((noinline, noclone))
#else
#define TG_NOINLINE
#endif

/* Constants: AVR keeps them in program memory and reads them with its own instructions. */
#if defined(__AVR__)
#include <avr/pgmspace.h>
#define TG_CONST PROGMEM
static inline int8_t tg_load_s8(const int8_t *p) { return (int8_t)pgm_read_byte(p); }
static inline uint8_t tg_load_u8(const uint8_t *p) { return pgm_read_byte(p); }
static inline int16_t tg_load_s16(const int16_t *p) { return (int16_t)pgm_read_word(p); }
static inline uint16_t tg_load_u16(const uint16_t *p) { return pgm_read_word(p); }
static inline int32_t tg_load_s32(const int32_t *p) { return (int32_t)pgm_read_dword(p); }
static inline float tg_load_f32(const float *p) { return pgm_read_float(p); }
static inline void tg_load_bytes(void *to, const void *from, size_t count) { memcpy_P(to, from, count); }
#else
#define TG_CONST
static inline int8_t tg_load_s8(const int8_t *p) { return *p; }
static inline uint8_t tg_load_u8(const uint8_t *p) { return *p; }
static inline int16_t tg_load_s16(const int16_t *p) { return *p; }
static inline uint16_t tg_load_u16(const uint16_t *p) { return *p; }
static inline int32_t tg_load_s32(const int32_t *p) { return *p; }
static inline float tg_load_f32(const float *p) { return *p; }
static inline void tg_load_bytes(void *to, const void *from, size_t count) { memcpy(to, from, count); }
#endif

/* A variable in a certain RAM of the board, named as tinygen names it, where the linker script puts the section .bss.tg_NAME
 * there. Others take it for what its name begins with: a variable like any other.
 */
#if defined(__ELF__) && defined(__GNUC__)
#define TG_REGION(name) __attribute__((section(".bss.tg_" name)))
#else
#define TG_REGION(name)
#endif

static inline int32_t tg_min(int32_t a, int32_t b) { return a < b ? a : b; }
static inline int32_t tg_max(int32_t a, int32_t b) { return a > b ? a : b; }
static inline int32_t tg_clamp(int32_t value, int32_t low, int32_t high) { return tg_min(tg_max(value, low), high); }

static inline int64_t tg_load_s64(const int64_t *p)
{
    int64_t value;
    tg_load_bytes(&value, p, sizeof value);
    return value;
}

/* value limited to 32 bits. */
static inline int32_t tg_limit_s64(int64_t value)
{
    return value < INT32_MIN ? INT32_MIN : value > INT32_MAX ? INT32_MAX : (int32_t)value;
}

/* value * 2^shift, wrapped to 32 bits. */
static inline int32_t tg_shift_left(int32_t value, int32_t shift) { return (int32_t)((uint32_t)value << shift); }

/* round(a * b / 2^31), halves up; a and b not both INT32_MIN. */
static inline int32_t tg_doubling_high_multiply(int32_t a, int32_t b)
{
    return (int32_t)(((int64_t)a * b + INT64_C(0x40000000)) >> 31);
}

/* round(value / 2^exponent), halves away from zero; exponent 0 to 31. */
static inline int32_t tg_rounding_shift_right(int32_t value, int32_t exponent)
{
    const int32_t mask = (int32_t)((UINT32_C(1) << exponent) - 1);
    const int32_t remainder = value & mask;
    const int32_t threshold = (mask >> 1) + (value < 0 ? 1 : 0);
    return (value >> exponent) + (remainder > threshold ? 1 : 0);
}

/* value * multiplier * 2^(shift - 31) in two roundings; shift -31 to 30. */
static inline int32_t tg_requantize(int32_t value, int32_t multiplier, int32_t shift)
{
    if (shift > 0) {
        return tg_doubling_high_multiply(tg_shift_left(value, shift), multiplier);
    }
    return tg_rounding_shift_right(tg_doubling_high_multiply(value, multiplier), -shift);
}

/* value * multiplier * 2^(shift - 31) in one rounding, halves up; shift -31 to 30. */
static inline int32_t tg_requantize_single(int32_t value, int32_t multiplier, int32_t shift)
{
    const int32_t total = 31 - shift;
    return (int32_t)(((int64_t)value * multiplier + (INT64_C(1) << (total - 1))) >> total);
}

/* Instructions of cores with the DSP extension (Armv7E-M, Armv8-M), and their meaning in C for all others. Their names are
 * Arm's. A word may hold two int16 (the first in its low half) or four int8.
 */
#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && defined(__OPTIMIZE__)
#define TG_DSP_ASM 1
#else
#define TG_DSP_ASM 0
#endif

/* Whole loops as instructions, which take all 14 registers beside memory operands: clang keeps registers for the addresses of
 * these, and -fno-omit-frame-pointer keeps one. Define it as 0 for the same loops in C.
 */
#ifndef TG_DSP_ASM_LOOPS
#if TG_DSP_ASM && !defined(__clang__)
#define TG_DSP_ASM_LOOPS 1
#else
#define TG_DSP_ASM_LOOPS 0
#endif
#endif

/* Four bytes at any address: these cores load words from odd addresses too, unless a program forbids it (CCR.UNALIGN_TRP). */
static inline uint32_t tg_load_word(const void *p)
{
    uint32_t word;
    memcpy(&word, p, sizeof word);
    return word;
}

/* The same at a multiple of four, for cores that load words from nowhere else. */
static inline uint32_t tg_load_aligned_word(const void *p)
{
#if defined(__GNUC__)
    return tg_load_word(__builtin_assume_aligned(p, 4));
#else
    return tg_load_word(p);
#endif
}

/* Two int16 in a word. */
static inline uint32_t tg_halves(int16_t first, int16_t second) { return (uint16_t)first | (uint32_t)(uint16_t)second << 16; }

/* Four bytes of a and of b to 16 bits each: a word of bytes 0 and 2 of a, one of b, then bytes 1 and 3. All pointers advance. */
static inline void tg_widen_two(const int8_t **a, const int8_t **b, uint32_t **to);

/* a + b and a - b, wrapped to 32 bits. */
static inline int32_t tg_wrapping_add(int32_t a, int32_t b) { return (int32_t)((uint32_t)a + (uint32_t)b); }
static inline int32_t tg_wrapping_sub(int32_t a, int32_t b) { return (int32_t)((uint32_t)a - (uint32_t)b); }

#if TG_DSP_ASM

static inline uint32_t tg_sxtb16(uint32_t bytes)
{
    uint32_t halves;
    __asm("sxtb16 %0, %1" : "=r"(halves) : "r"(bytes));
    return halves;
}

static inline uint32_t tg_sxtb16_ror8(uint32_t bytes)
{
    uint32_t halves;
    __asm("sxtb16 %0, %1, ror #8" : "=r"(halves) : "r"(bytes));
    return halves;
}

static inline uint32_t tg_uxtb16(uint32_t bytes)
{
    uint32_t halves;
    __asm("uxtb16 %0, %1" : "=r"(halves) : "r"(bytes));
    return halves;
}

static inline uint32_t tg_uxtb16_ror8(uint32_t bytes)
{
    uint32_t halves;
    __asm("uxtb16 %0, %1, ror #8" : "=r"(halves) : "r"(bytes));
    return halves;
}

static inline uint32_t tg_sxtab16(uint32_t sums, uint32_t bytes)
{
    uint32_t result;
    __asm("sxtab16 %0, %1, %2" : "=r"(result) : "r"(sums), "r"(bytes));
    return result;
}

static inline uint32_t tg_sxtab16_ror8(uint32_t sums, uint32_t bytes)
{
    uint32_t result;
    __asm("sxtab16 %0, %1, %2, ror #8" : "=r"(result) : "r"(sums), "r"(bytes));
    return result;
}

static inline uint32_t tg_pkhbt(uint32_t x, uint32_t y)
{
    uint32_t result;
    __asm("pkhbt %0, %1, %2, lsl #16" : "=r"(result) : "r"(x), "r"(y));
    return result;
}

static inline uint32_t tg_pkhtb(uint32_t x, uint32_t y)
{
    uint32_t result;
    __asm("pkhtb %0, %1, %2, asr #16" : "=r"(result) : "r"(y), "r"(x));
    return result;
}

static inline uint32_t tg_sadd16(uint32_t x, uint32_t y)
{
    uint32_t result;
    __asm("sadd16 %0, %1, %2" : "=r"(result) : "r"(x), "r"(y));
    return result;
}

static inline uint32_t tg_ssub16(uint32_t x, uint32_t y)
{
    uint32_t result;
    __asm("ssub16 %0, %1, %2" : "=r"(result) : "r"(x), "r"(y));
    return result;
}

/* One statement: SEL reads the flags of SSUB8. */
static inline uint32_t tg_max_bytes(uint32_t x, uint32_t y)
{
    uint32_t largest;
    __asm("ssub8 %0, %1, %2\n"
          "sel %0, %1, %2"
          : "=&r"(largest)
          : "r"(x), "r"(y)
          : "cc");
    return largest;
}

static inline int32_t tg_smlad(uint32_t x, uint32_t y, int32_t sum)
{
    int32_t result;
    __asm("smlad %0, %1, %2, %3" : "=r"(result) : "r"(x), "r"(y), "r"(sum));
    return result;
}

static inline int32_t tg_smlawb(int32_t a, uint32_t x, int32_t sum)
{
    int32_t result;
    __asm("smlawb %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(x), "r"(sum));
    return result;
}

static inline int32_t tg_smlawt(int32_t a, uint32_t x, int32_t sum)
{
    int32_t result;
    __asm("smlawt %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(x), "r"(sum));
    return result;
}

static inline int32_t tg_smmla(int32_t a, int32_t b, int32_t sum)
{
    int32_t result;
    __asm("smmla %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

static inline int32_t tg_smmlar(int32_t a, int32_t b, int32_t sum)
{
    int32_t result;
    __asm("smmlar %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

/* One statement, so that loads stand together and stores are not paired: STRD takes a cycle more than two STR. */
static inline void tg_widen_two(const int8_t **a, const int8_t **b, uint32_t **to)
{
    uint32_t first, second, third, fourth;
    __asm volatile(
        "ldr %[third], [%[a]], #4\n"
        "ldr %[fourth], [%[b]], #4\n"
        "sxtb16 %[first], %[third]\n"
        "sxtb16 %[second], %[fourth]\n"
        "sxtb16 %[third], %[third], ror #8\n"
        "sxtb16 %[fourth], %[fourth], ror #8\n"
        "str %[first], [%[to]], #4\n"
        "str %[second], [%[to]], #4\n"
        "str %[third], [%[to]], #4\n"
        "str %[fourth], [%[to]], #4\n"
        : [a] "+r"(*a), [b] "+r"(*b), [to] "+r"(*to), [first] "=&r"(first), [second] "=&r"(second), [third] "=&r"(third),
          [fourth] "=&r"(fourth)
        :
        : "memory");
}

static inline int16_t tg_ssat16(int32_t value)
{
    int32_t result;
    __asm("ssat %0, #16, %1" : "=r"(result) : "r"(value));
    return (int16_t)result;
}

/* One statement: apart, all loads of a window come first, and registers do not suffice for them. */
static inline void tg_two_taps(const int16_t *a, const int16_t *b, uint32_t word, int32_t *first, int32_t *second)
{
    uint32_t x, y, pair;
    __asm volatile(
        "ldr %[x], [%[a]]\n"
        "ldr %[y], [%[b]]\n"
        "sxtb16 %[pair], %[word]\n"
        "sxtb16 %[word], %[word], ror #8\n"
        "pkhbt %[a], %[x], %[y], lsl #16\n"
        "pkhtb %[y], %[y], %[x], asr #16\n"
        "smlad %[first], %[a], %[pair], %[first]\n"
        "smlad %[second], %[y], %[word], %[second]\n"
        : [first] "+r"(*first), [second] "+r"(*second), [word] "+r"(word), [a] "+r"(a), [x] "=&r"(x), [y] "=&r"(y),
          [pair] "=&r"(pair)
        : [b] "r"(b)
        : "memory");
}

#else

/* Bytes 0 and 2, each to 16 bits. */
static inline uint32_t tg_sxtb16(uint32_t bytes)
{
    return tg_halves((int8_t)(bytes & 255), (int8_t)(bytes >> 16 & 255));
}

/* Bytes 1 and 3, each to 16 bits. */
static inline uint32_t tg_sxtb16_ror8(uint32_t bytes) { return tg_sxtb16(bytes >> 8); }

/* The same without sign. */
static inline uint32_t tg_uxtb16(uint32_t bytes) { return bytes & 0x00FF00FF; }
static inline uint32_t tg_uxtb16_ror8(uint32_t bytes) { return bytes >> 8 & 0x00FF00FF; }

/* Two sums of 16 bits plus bytes 0 and 2, and plus bytes 1 and 3. */
static inline uint32_t tg_sxtab16(uint32_t sums, uint32_t bytes)
{
    const uint32_t terms = tg_sxtb16(bytes);
    return ((sums + terms) & 65535) | ((sums >> 16) + (terms >> 16)) << 16;
}
static inline uint32_t tg_sxtab16_ror8(uint32_t sums, uint32_t bytes) { return tg_sxtab16(sums, bytes >> 8); }

/* The lower halves of x and y as one word, and the upper ones; that of x first. */
static inline uint32_t tg_pkhbt(uint32_t x, uint32_t y) { return (x & 65535) | y << 16; }
static inline uint32_t tg_pkhtb(uint32_t x, uint32_t y) { return x >> 16 | (y & 0xFFFF0000); }

/* Sums and differences of 16 bits, wrapped. */
static inline uint32_t tg_sadd16(uint32_t x, uint32_t y) { return ((x + y) & 65535) | ((x >> 16) + (y >> 16)) << 16; }
static inline uint32_t tg_ssub16(uint32_t x, uint32_t y) { return ((x - y) & 65535) | ((x >> 16) - (y >> 16)) << 16; }

/* The larger of each two bytes. */
static inline uint32_t tg_max_bytes(uint32_t x, uint32_t y)
{
    uint32_t largest = 0;
    for (uint32_t at = 0; at < 32; at += 8) {
        const int8_t first = (int8_t)(x >> at & 255), second = (int8_t)(y >> at & 255);
        largest |= (uint32_t)(uint8_t)(first > second ? first : second) << at;
    }
    return largest;
}

/* sum plus the products of the first and of the second halves, wrapped to 32 bits. */
static inline int32_t tg_smlad(uint32_t x, uint32_t y, int32_t sum)
{
    const int32_t first = (int32_t)(int16_t)(x & 65535) * (int16_t)(y & 65535);
    const int32_t second = (int32_t)(int16_t)(x >> 16) * (int16_t)(y >> 16);
    return tg_wrapping_add(tg_wrapping_add(sum, first), second);
}

/* sum + floor(a * half / 2^16), wrapped to 32 bits, for the first half of x and for the second. */
static inline int32_t tg_smlawb(int32_t a, uint32_t x, int32_t sum)
{
    return tg_wrapping_add(sum, (int32_t)(((int64_t)a * (int16_t)(x & 65535)) >> 16));
}
static inline int32_t tg_smlawt(int32_t a, uint32_t x, int32_t sum) { return tg_smlawb(a, x >> 16, sum); }

/* sum + floor(a * b / 2^32), wrapped to 32 bits. */
static inline int32_t tg_smmla(int32_t a, int32_t b, int32_t sum)
{
    return tg_wrapping_add(sum, (int32_t)(((int64_t)a * b) >> 32));
}

/* sum + round(a * b / 2^32), halves up, wrapped to 32 bits. */
static inline int32_t tg_smmlar(int32_t a, int32_t b, int32_t sum)
{
    return tg_wrapping_add(sum, (int32_t)(((int64_t)a * b + INT64_C(0x80000000)) >> 32));
}

static inline void tg_widen_two(const int8_t **a, const int8_t **b, uint32_t **to)
{
    const uint32_t first = tg_load_word(*a), second = tg_load_word(*b);
    (*to)[0] = tg_sxtb16(first);
    (*to)[1] = tg_sxtb16(second);
    (*to)[2] = tg_sxtb16_ror8(first);
    (*to)[3] = tg_sxtb16_ror8(second);
    *a += 4;
    *b += 4;
    *to += 4;
}

/* value limited to 16 bits. */
static inline int16_t tg_ssat16(int32_t value) { return (int16_t)tg_clamp(value, -32768, 32767); }

/* Two channels of two taps: a[0], b[0] times bytes 0 and 2 of a word to the first sum, a[1], b[1] times bytes 1 and 3 to the
 * second.
 */
static inline void tg_two_taps(const int16_t *a, const int16_t *b, uint32_t word, int32_t *first, int32_t *second)
{
    *first = tg_smlad(tg_halves(a[0], b[0]), tg_sxtb16(word), *first);
    *second = tg_smlad(tg_halves(a[1], b[1]), tg_sxtb16_ror8(word), *second);
}

#endif

/* value, and value >> shift, limited to 8 bits; shift 1 to 31. Armv7-M has this instruction without the extension. */
#if defined(__thumb2__) && defined(__OPTIMIZE__)
static inline int8_t tg_ssat8(int32_t value)
{
    int32_t result;
    __asm("ssat %0, #8, %1" : "=r"(result) : "r"(value));
    return (int8_t)result;
}

/* A macro: the shift is part of the instruction. */
#define tg_ssat8_asr(value, shift) \
    __extension__({ \
        int32_t tg_result; \
        __asm("ssat %0, #8, %1, asr %2" : "=r"(tg_result) : "r"((int32_t)(value)), "I"(shift)); \
        (int8_t)tg_result; \
    })

#else
static inline int8_t tg_ssat8(int32_t value) { return (int8_t)tg_clamp(value, -128, 127); }
static inline int8_t tg_ssat8_asr(int32_t value, int32_t shift) { return (int8_t)tg_clamp(value >> shift, -128, 127); }
#endif

/* round(value * multiplier / 2^32), halves up. */
static inline int32_t tg_scale(int32_t value, int32_t multiplier) { return tg_smmlar(value, multiplier, 0); }

/* Instructions of cores with Helium, the vectors of Armv8.1-M: 16 bytes or four words at a time, in q0 to q7. Kernels for them
 * are loops of instructions, with their meaning in C beside them for all others. -fno-omit-frame-pointer keeps a register that
 * they need: define it as 0 then.
 */
#ifndef TG_MVE_ASM
#if defined(__ARM_FEATURE_MVE) && defined(__OPTIMIZE__) && !defined(__clang__)
#define TG_MVE_ASM 1
#else
#define TG_MVE_ASM 0
#endif
#endif

/* memset, of one byte at least, and memcpy: 16 bytes at a time. */
#if TG_MVE_ASM
static inline void tg_fill_bytes(int8_t *to, int8_t value, int32_t count)
{
    __asm volatile(
        "vdup.8 q0, %[value]\n"
        "dlstp.8 lr, %[count]\n"
        "1:\n"
        "vstrb.8 q0, [%[to]], #16\n"
        "letp lr, 1b\n"
        : [to] "+r"(to)
        : [value] "r"(value), [count] "r"(count)
        : "q0", "lr", "memory");
}

static inline void tg_copy_bytes(int8_t *to, const int8_t *from, int32_t count)
{
    __asm volatile(
        "wlstp.8 lr, %[count], 2f\n"
        "1:\n"
        "vldrb.u8 q0, [%[from]], #16\n"
        "vstrb.8 q0, [%[to]], #16\n"
        "letp lr, 1b\n"
        "2:\n"
        : [to] "+r"(to), [from] "+r"(from)
        : [count] "r"(count)
        : "q0", "lr", "memory");
}
#else
static inline void tg_fill_bytes(int8_t *to, int8_t value, int32_t count) { memset(to, value, (size_t)count); }
static inline void tg_copy_bytes(int8_t *to, const int8_t *from, int32_t count) { memcpy(to, from, (size_t)count); }
#endif

/* value * 2^shift rounded to nearest, halves up; shift -31 to 0. */
static inline int32_t tg_vrshl(int32_t value, int32_t shift)
{
    return (int32_t)(((int64_t)value * 2 + (INT64_C(1) << -shift)) >> (1 - shift));
}

/* Scaling as the reference does it in float64, value * scale rounded once, halves away from zero. The generator chooses the
 * first of tg_requantize_single and these two whose result is proved equal for every sum that a layer can have.
 */

/* value * (multiplier + fraction / 2^31) * 2^(shift - 31), rounded to nearest, halves up; fraction below 2^31. */
static inline int32_t tg_requantize_fine(int32_t value, int32_t multiplier, int32_t fraction, int32_t shift)
{
    const int32_t total = 31 - shift;
    const int64_t product = (int64_t)value * multiplier + (((int64_t)value * fraction) >> 31);
    return (int32_t)((product + (INT64_C(1) << (total - 1))) >> total);
}

/* round(value * scale) for the float64 scale (multiplier * 2^31 + fraction) * 2^(shift - 53); shift -31 to 21.
 * The product rounds to 53 bits before it rounds to an integer, so half a unit of its last place counts as the next one.
 */
static inline int32_t tg_requantize_f64(int32_t value, int32_t multiplier, int32_t fraction, int32_t shift)
{
    const int32_t total = 22 - shift;
    const uint32_t size = value < 0 ? 0 - (uint32_t)value : (uint32_t)value;
    const uint64_t low = (uint64_t)size * (uint32_t)fraction;
    const uint64_t high = (uint64_t)size * (uint32_t)multiplier + (low >> 31);
    uint32_t half_place = (uint32_t)(high >> 22);
    while (half_place & (half_place - 1)) {
        half_place &= half_place - 1;
    }
    const uint64_t product = high + ((((uint32_t)low & INT32_MAX) + half_place) >> 31);
    const int32_t rounded = (int32_t)((product + (UINT64_C(1) << (total - 1))) >> total);
    return value < 0 ? -rounded : rounded;
}

/* value rounded to the nearest integer, halves away from zero, and limited; NaN gives low. low and high within 2^24. */
static inline int32_t tg_round_f32(float value, int32_t low, int32_t high)
{
    if (!(value > (float)low)) {
        return low;
    }
    if (value >= (float)high) {
        return high;
    }
    const int32_t whole = (int32_t)value;
    const float rest = value - (float)whole;
    return whole + (rest >= 0.5f ? 1 : 0) - (rest <= -0.5f ? 1 : 0);
}

/* `table` [513] over all int16, at value: lines over 128 of them. */
static inline int32_t tg_interpolate(const int16_t *table, int32_t value)
{
    const int16_t *place = table + ((value >> 7) + 256);
    const int32_t base = tg_load_s16(place);
    return base + (((tg_load_s16(place + 1) - base) * (value & 127) + 64) >> 7);
}

/* 1 / (1 + value) for value in [0, 1), both Q0.31: three steps of Newton's method, equal to gemmlowp's. */
static inline int32_t tg_reciprocal_of_one_plus(int32_t value)
{
    const int32_t half = (int32_t)(((int64_t)value + INT64_C(0x80000000)) >> 1);
    int32_t found = 1515870810 + tg_doubling_high_multiply(half, -1010580540); /* 48/17 - 32/17 * half in Q2.29 */
    for (int32_t step = 0; step < 3; ++step) {
        const int32_t error = 536870912 - tg_doubling_high_multiply(half, found);
        found += tg_shift_left(tg_doubling_high_multiply(found, error), 2);
    }
    return found < 1073741824 ? found * 2 : INT32_MAX;
}

#endif
