/* Driver of the UART of Arm's Cortex-M System Design Kit, which the MPS2 and MPS3 boards have. */
#ifndef ARDUINO

#include "tg_board.h"
#include "tg_board_config.h"
#include "tg_uart.h"

typedef struct {
    volatile uint32_t data, state, control, interrupt, divider;
} tg_uart_t;

#define TG_UART ((tg_uart_t *)TG_UART_ADDRESS)

enum { TG_TX_FULL = 1, TG_RX_FULL = 2 };      /* state */
enum { TG_TX_ENABLE = 1, TG_RX_ENABLE = 2 }; /* control */

void tg_uart_start(void)
{
    TG_UART->divider = TG_UART_CLOCK_HZ / TG_BAUD;
    TG_UART->control = TG_TX_ENABLE | TG_RX_ENABLE;
}

int tg_uart_read(void)
{
    return TG_UART->state & TG_RX_FULL ? (int)(TG_UART->data & 0xFFu) : -1;
}

void tg_uart_write(uint8_t byte)
{
    while (TG_UART->state & TG_TX_FULL) {
    }
    TG_UART->data = byte;
}

#endif
