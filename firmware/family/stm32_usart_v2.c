/* Driver of the USART of STM32 F0, F3, F7, G0, G4, H7, L0, L4, L5, U5 and WB, which has a data register for each
 * direction, and of the LPUART of the same series. An LPUART divides in steps of 1/256 of its clock: the clock that
 * its board states is 256 times the real one.
 */
#ifndef ARDUINO

#include "tg_board.h"
#include "tg_board_config.h"
#include "tg_uart.h"

typedef struct {
    volatile uint32_t control_1, control_2, control_3, baud_rate, guard_time, timeout, request, status, clear;
    volatile uint32_t rx_data, tx_data;
} tg_uart_t;

#define TG_UART ((tg_uart_t *)TG_UART_ADDRESS)

enum { TG_UART_ENABLE = 1 << 0, TG_RX_ENABLE = 1 << 2, TG_TX_ENABLE = 1 << 3 }; /* control_1 */
enum { TG_OVERRUN_DISABLE = 1 << 12 };                                          /* control_3 */
enum { TG_RX_FULL = 1 << 5, TG_TX_EMPTY = 1 << 7 };                             /* status */

/* Reset has left 8 data bits, no parity, 1 stop bit, 16 samples a bit and no FIFO. A new byte replaces one that was
 * not read: an overrun would stop reception until it is cleared.
 */
void tg_uart_start(void)
{
    TG_UART->baud_rate = (TG_UART_CLOCK_HZ + TG_BAUD / 2) / TG_BAUD;
    TG_UART->control_3 = TG_OVERRUN_DISABLE;
    TG_UART->control_1 = TG_UART_ENABLE | TG_TX_ENABLE | TG_RX_ENABLE;
}

int tg_uart_read(void)
{
    return TG_UART->status & TG_RX_FULL ? (int)(TG_UART->rx_data & 0xFFu) : -1;
}

void tg_uart_write(uint8_t byte)
{
    while (!(TG_UART->status & TG_TX_EMPTY)) {
    }
    TG_UART->tx_data = byte;
}

#endif
