/* Driver of the USART of STM32 F1, F2, F4 and L1, which has one register for data. */
#ifndef ARDUINO

#include "tg_board.h"
#include "tg_board_config.h"
#include "tg_uart.h"

typedef struct {
    volatile uint32_t status, data, baud_rate, control_1;
} tg_uart_t;

#define TG_UART ((tg_uart_t *)TG_UART_ADDRESS)

enum { TG_RX_FULL = 1 << 5, TG_TX_EMPTY = 1 << 7 };                            /* status */
enum { TG_RX_ENABLE = 1 << 2, TG_TX_ENABLE = 1 << 3, TG_UART_ENABLE = 1 << 13 }; /* control_1 */

/* Reset has left 8 data bits, no parity, 1 stop bit and 16 samples a bit. */
void tg_uart_start(void)
{
    TG_UART->baud_rate = (TG_UART_CLOCK_HZ + TG_BAUD / 2) / TG_BAUD;
    TG_UART->control_1 = TG_UART_ENABLE | TG_TX_ENABLE | TG_RX_ENABLE;
}

/* Reading the status and then the data also clears the errors: a byte that was overrun stops nothing. */
int tg_uart_read(void)
{
    return TG_UART->status & TG_RX_FULL ? (int)(TG_UART->data & 0xFFu) : -1;
}

void tg_uart_write(uint8_t byte)
{
    while (!(TG_UART->status & TG_TX_EMPTY)) {
    }
    TG_UART->data = byte;
}

#endif
