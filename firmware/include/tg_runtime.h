/* What generated kernels need: constants in flash, and quantised arithmetic equal to TensorFlow Lite's reference.
 * Header only, C99 and C++; part of every generated project.
 */
#ifndef TG_RUNTIME_H
#define TG_RUNTIME_H

#include <stdint.h>
#include <string.h>

#define TG_RUNTIME_VERSION 1

/* Define TG_LAYER_DONE(layer) before the model's source to observe an inference layer by layer. */
#ifndef TG_LAYER_DONE
#define TG_LAYER_DONE(layer) ((void)0)
#endif

#if defined(__GNUC__)
#define TG_NOINLINE __attribute__((noinline))
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
static inline int32_t tg_load_s32(const int32_t *p) { return (int32_t)pgm_read_dword(p); }
static inline float tg_load_f32(const float *p) { return pgm_read_float(p); }
static inline void tg_load_bytes(void *to, const void *from, size_t count) { memcpy_P(to, from, count); }
#else
#define TG_CONST
static inline int8_t tg_load_s8(const int8_t *p) { return *p; }
static inline uint8_t tg_load_u8(const uint8_t *p) { return *p; }
static inline int16_t tg_load_s16(const int16_t *p) { return *p; }
static inline int32_t tg_load_s32(const int32_t *p) { return *p; }
static inline float tg_load_f32(const float *p) { return *p; }
static inline void tg_load_bytes(void *to, const void *from, size_t count) { memcpy(to, from, count); }
#endif

static inline int32_t tg_min(int32_t a, int32_t b) { return a < b ? a : b; }
static inline int32_t tg_max(int32_t a, int32_t b) { return a > b ? a : b; }
static inline int32_t tg_clamp(int32_t value, int32_t low, int32_t high) { return tg_min(tg_max(value, low), high); }

/* value * 2^shift, wrapped to 32 bits. */
static inline int32_t tg_shift_left(int32_t value, int32_t shift) { return (int32_t)((uint32_t)value << shift); }

/* round(a * b / 2^31), halves away from zero; saturates the one product that does not fit. */
static inline int32_t tg_doubling_high_multiply(int32_t a, int32_t b)
{
    const int64_t product = (int64_t)a * b;
    const int64_t nudged = product + (product >= 0 ? INT64_C(0x40000000) : 1 - INT64_C(0x40000000));
    const int64_t high = nudged / INT64_C(0x80000000);
    return high > INT32_MAX ? INT32_MAX : (int32_t)high;
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

#endif
