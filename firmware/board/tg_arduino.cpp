/* A board under Arduino: serial port and time. */
#ifdef ARDUINO

#include <Arduino.h>

#include "tg_board.h"

/* A USB port is there as soon as the computer opens it; without one, the board does not wait for ever. */
static void tg_start_serial()
{
    Serial.begin(TG_BAUD);
    while (!Serial && millis() < 2000) {
    }
}

int tg_board_read(void) { return Serial.read(); }

/* Waits until all is sent, so that an inference is not interrupted by what is left of it. */
void tg_board_write(const char *bytes, uint32_t count)
{
    Serial.write(reinterpret_cast<const uint8_t *>(bytes), static_cast<size_t>(count));
    Serial.flush();
}

uint32_t tg_board_microseconds(void) { return static_cast<uint32_t>(micros()); }

/* Some cores say the clock in a constant, some in a variable, some not at all; then a microsecond counts as a cycle. */
#ifdef F_CPU
#define TG_CYCLES_PER_MICROSECOND static_cast<uint32_t>(F_CPU / 1000000)
#else
#define TG_CYCLES_PER_MICROSECOND UINT32_C(1)
#endif

#if defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M' && __ARM_ARCH >= 7

/* The cycle counter of the debug unit, by its addresses in Arm's manuals: not all cores bring CMSIS. */
#define TG_DEMCR (*reinterpret_cast<volatile uint32_t *>(0xE000EDFC))
#define TG_DWT_CONTROL (*reinterpret_cast<volatile uint32_t *>(0xE0001000))
#define TG_DWT_CYCLES (*reinterpret_cast<volatile uint32_t *>(0xE0001004))
#define TG_DWT_LOCK (*reinterpret_cast<volatile uint32_t *>(0xE0001FB0))

static bool tg_has_dwt;

static void tg_start_cycles()
{
    TG_DEMCR |= UINT32_C(1) << 24; /* TRCENA */
    TG_DWT_LOCK = 0xC5ACCE55;      /* the Cortex-M7 locks it */
    TG_DWT_CONTROL |= 1;           /* CYCCNTENA */
    const uint32_t before = TG_DWT_CYCLES;
    delayMicroseconds(1);
    tg_has_dwt = TG_DWT_CYCLES != before;
}

uint32_t tg_board_cycles(void)
{
    return tg_has_dwt ? TG_DWT_CYCLES : tg_board_microseconds() * TG_CYCLES_PER_MICROSECOND;
}

#elif defined(__AVR__) && defined(TCNT1H) && defined(TIMSK1) && defined(TIFR1) && defined(TIMER1_OVF_vect)

/* Timer1 counts 16 bits at the processor's clock, an interrupt the rest. Its pins lose analogWrite(). */
static volatile uint16_t tg_overflows;

ISR(TIMER1_OVF_vect) { tg_overflows = tg_overflows + 1; }

static void tg_start_cycles()
{
    TCCR1A = 0;
    TCCR1B = _BV(CS10);
    TIMSK1 = _BV(TOIE1);
}

uint32_t tg_board_cycles(void)
{
    const uint8_t status = SREG;
    cli();
    const uint16_t low = TCNT1;
    const bool pending = TIFR1 & _BV(TOV1); /* an overflow that the interrupt has not counted yet */
    uint16_t high = tg_overflows;
    SREG = status;
    if (pending && low < 0x8000) {
        high = high + 1;
    }
    return static_cast<uint32_t>(high) << 16 | low;
}

#elif defined(ESP32) || defined(ESP8266)

static void tg_start_cycles() {}

uint32_t tg_board_cycles(void) { return ESP.getCycleCount(); }

#else

static void tg_start_cycles() {}

uint32_t tg_board_cycles(void) { return tg_board_microseconds() * TG_CYCLES_PER_MICROSECOND; }

#endif

void tg_board_start(void)
{
    tg_start_serial();
    tg_start_cycles();
}

#endif
