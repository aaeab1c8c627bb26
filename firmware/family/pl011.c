/* Driver of Arm's PL011 UART, which the RP2040 has. */
#ifndef ARDUINO

#include "tg_board.h"
#include "tg_board_config.h"
#include "tg_uart.h"

typedef struct {
    volatile uint32_t data, error, reserved_08[4], flags, reserved_1c, low_power;
    volatile uint32_t divider, fraction, line, control;
} tg_uart_t;

#define TG_UART ((tg_uart_t *)TG_UART_ADDRESS)

/* The baud rate is the clock by 16, by the divider; that has 6 bits of fraction. */
#define TG_DIVIDER_64 ((TG_UART_CLOCK_HZ * 4u + TG_BAUD / 2) / TG_BAUD)

enum { TG_RX_EMPTY = 1 << 4, TG_TX_FULL = 1 << 5 };                 /* flags */
enum { TG_FIFO = 1 << 4, TG_8_BITS = 3 << 5 };                      /* line */
enum { TG_UART_ON = 1 << 0, TG_TX_ON = 1 << 8, TG_RX_ON = 1 << 9 }; /* control */

/* The divider counts from the write to `line` on (Arm DDI 0183, UARTLCR_H). */
void tg_uart_start(void)
{
    TG_UART->control = 0;
    TG_UART->divider = TG_DIVIDER_64 / 64;
    TG_UART->fraction = TG_DIVIDER_64 % 64;
    TG_UART->line = TG_FIFO | TG_8_BITS;
    TG_UART->control = TG_UART_ON | TG_TX_ON | TG_RX_ON;
}

int tg_uart_read(void)
{
    return TG_UART->flags & TG_RX_EMPTY ? -1 : (int)(TG_UART->data & 0xFFu);
}

void tg_uart_write(uint8_t byte)
{
    while (TG_UART->flags & TG_TX_FULL) {
    }
    TG_UART->data = byte;
}

#endif
