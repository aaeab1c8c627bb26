/* A Cortex-M board without a framework: start-up, faults, serial port and time. */
#ifndef ARDUINO

#include <stdbool.h>
#include <stddef.h>

#include "tg_board.h"
#include "tg_board_config.h"
#include "tg_uart.h"

#define TG_REGISTER(address) (*(volatile uint32_t *)(address))
#define TG_SYSTICK_CONTROL TG_REGISTER(0xE000E010u)
#define TG_SYSTICK_RELOAD TG_REGISTER(0xE000E014u)
#define TG_SYSTICK_VALUE TG_REGISTER(0xE000E018u)
#define TG_INTERRUPTS_OFF ((volatile uint32_t *)0xE000E180)
#define TG_VECTOR_TABLE TG_REGISTER(0xE000ED08u)
#define TG_CPACR TG_REGISTER(0xE000ED88u)
#define TG_CFSR TG_REGISTER(0xE000ED28u)
#define TG_BFAR TG_REGISTER(0xE000ED38u)
#define TG_DEMCR TG_REGISTER(0xE000EDFCu)
#define TG_DWT_CONTROL TG_REGISTER(0xE0001000u)
#define TG_DWT_CYCLES TG_REGISTER(0xE0001004u)
#define TG_DWT_LOCK TG_REGISTER(0xE0001FB0u)

enum { TG_INTERRUPT_WORDS = __ARM_ARCH >= 7 ? 8 : 1 };
enum { TG_SYSTICK_ENABLE = 1, TG_SYSTICK_INTERRUPT = 2, TG_SYSTICK_PROCESSOR_CLOCK = 4, TG_SYSTICK_LAST = 0xFFFFFF };
#define TG_TRACE_ENABLE (UINT32_C(1) << 24)
#define TG_BUS_ADDRESS_VALID (UINT32_C(1) << 15)

/* From the linker script. */
extern uint32_t tg_data_start[], tg_data_end[], tg_data_in_flash[];
extern uint32_t *const tg_zeroed_start[], *const tg_zeroed_end[];
extern uint32_t tg_stack_top[], tg_ram_start[], tg_ram_end[];
extern void (*tg_init_start[])(void);
extern void (*tg_init_end[])(void);

typedef void (*tg_vector_t)(void);
extern const tg_vector_t tg_vectors[16];
int main(void);
void tg_reset(void);

static volatile uint32_t tg_systick_wraps;
static bool tg_has_dwt;

static void tg_systick(void) { ++tg_systick_wraps; }

/* SysTick counts down 24 bits and interrupts when they are used up; every Cortex-M has it. The DWT's counter has 32 bits
 * and needs no interrupt; Armv6-M and emulators lack it.
 */
static void tg_start_counters(void)
{
    TG_SYSTICK_RELOAD = TG_SYSTICK_LAST;
    TG_SYSTICK_VALUE = 0;
    TG_SYSTICK_CONTROL = TG_SYSTICK_ENABLE | TG_SYSTICK_INTERRUPT | TG_SYSTICK_PROCESSOR_CLOCK;
#if __ARM_ARCH >= 7
    TG_DEMCR |= TG_TRACE_ENABLE;
    TG_DWT_LOCK = 0xC5ACCE55u; /* the Cortex-M7 locks it */
    TG_DWT_CYCLES = 0;
    TG_DWT_CONTROL |= 1u;
    const uint32_t before = TG_DWT_CYCLES;
    tg_has_dwt = TG_DWT_CYCLES != before;
#endif
}

static uint64_t tg_systick_cycles(void)
{
    uint32_t wraps, value;
    do {
        wraps = tg_systick_wraps;
        value = TG_SYSTICK_VALUE;
    } while (wraps != tg_systick_wraps);
    return ((uint64_t)wraps << 24) + (TG_SYSTICK_LAST - value);
}

void tg_board_start(void)
{
    tg_uart_start();
    tg_start_counters();
}

int tg_board_read(void) { return tg_uart_read(); }

void tg_board_write(const char *bytes, uint32_t count)
{
    for (uint32_t i = 0; i < count; ++i) {
        tg_uart_write((uint8_t)bytes[i]);
    }
}

#if TG_CLOCK_HZ % 1000000
#error "The clock is not whole megahertz, in which time is counted"
#endif

uint32_t tg_board_microseconds(void) { return (uint32_t)(tg_systick_cycles() / (TG_CLOCK_HZ / 1000000u)); }

uint32_t tg_board_cycles(void) { return tg_has_dwt ? TG_DWT_CYCLES : (uint32_t)tg_systick_cycles(); }

static void tg_write_text(const char *text)
{
    for (; *text; ++text) {
        tg_uart_write((uint8_t)*text);
    }
}

static void tg_write_hex(uint32_t value)
{
    for (int32_t shift = 28; shift >= 0; shift -= 4) {
        tg_uart_write((uint8_t)"0123456789abcdef"[value >> shift & 15u]);
    }
}

/* Every fault ends here, with the registers that the processor saved: r0-r3, r12, lr, pc, xpsr. A stack that overflowed
 * did not save them. Armv6-M has no fault registers; they read as zero.
 */
static void __attribute__((used, noreturn)) tg_report_fault(const uint32_t *saved)
{
    const uint32_t status = TG_CFSR;
    tg_write_text("\r\ne-[Fault: ");
    if (saved < tg_ram_start || saved + 8 > tg_ram_end) {
        tg_write_text("stack overflow");
    } else {
        tg_write_text("at 0x");
        tg_write_hex(saved[6]);
    }
    tg_write_text(", status 0x");
    tg_write_hex(status);
    if (status & TG_BUS_ADDRESS_VALID) {
        tg_write_text(", address 0x");
        tg_write_hex(TG_BFAR);
    }
    tg_write_text("]\r\n");
    for (;;) {
    }
}

static void __attribute__((naked)) tg_fault(void)
{
    __asm volatile("mrs r0, msp\n"
                   "ldr r1, =tg_stack_top\n"
                   "mov sp, r1\n"
                   "ldr r1, =tg_report_fault\n"
                   "bx r1\n");
}

/* A boot loader may leave interrupts on that have no vector here, or all of them masked. */
static void tg_take_over_interrupts(void)
{
    for (uint32_t i = 0; i < TG_INTERRUPT_WORDS; ++i) {
        TG_INTERRUPTS_OFF[i] = 0xFFFFFFFFu;
    }
    TG_VECTOR_TABLE = (uint32_t)tg_vectors;
    __asm volatile("dsb\nisb\ncpsie i" : : : "memory");
}

/* The board comes first: RAM may need its power or its clock. */
static void __attribute__((noinline, noreturn)) tg_start(void)
{
    tg_take_over_interrupts();
    tg_board_setup();
    for (ptrdiff_t i = 0; i < tg_data_end - tg_data_start; ++i) {
        tg_data_start[i] = tg_data_in_flash[i];
    }
    for (uint32_t *const *range = tg_zeroed_start; range < tg_zeroed_end; range += 2) {
        for (uint32_t *word = range[0]; word < range[1]; ++word) {
            *word = 0;
        }
    }
    for (ptrdiff_t i = 0; i < tg_init_end - tg_init_start; ++i) {
        tg_init_start[i]();
    }
    main();
    for (;;) {
    }
}

/* Nothing here may touch a register of the FPU or the vector unit: they are off. */
void tg_reset(void)
{
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    TG_CPACR |= 0xFu << 20;
    __asm volatile("dsb\nisb" : : : "memory");
#endif
    tg_start();
}

__attribute__((section(".vectors"), used)) const tg_vector_t tg_vectors[16] = {
    (tg_vector_t)tg_stack_top, tg_reset, tg_fault, tg_fault, tg_fault, tg_fault, tg_fault, tg_fault,
    tg_fault,                  tg_fault, tg_fault, tg_fault, tg_fault, tg_fault, tg_fault, tg_systick,
};

#endif
