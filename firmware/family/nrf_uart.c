/* Driver of the UART of the nRF51 and nRF52 series. The board's set-up has turned it off and chosen its pins (PSELTXD,
 * PSELRXD).
 */
#ifndef ARDUINO

#include "tg_board.h"
#include "tg_board_config.h"
#include "tg_uart.h"

#define TG_UART(offset) (*(volatile uint32_t *)(TG_UART_ADDRESS + (offset)))
#define TG_START_RECEIVER TG_UART(0x000)
#define TG_START_TRANSMITTER TG_UART(0x008)
#define TG_RECEIVED TG_UART(0x108)
#define TG_SENT TG_UART(0x11C)
#define TG_ENABLE TG_UART(0x500)
#define TG_RX_DATA TG_UART(0x518)
#define TG_TX_DATA TG_UART(0x51C)
#define TG_BAUD_RATE TG_UART(0x524)
#define TG_CONFIG TG_UART(0x56C)

enum { TG_ENABLE_UART = 4 };
enum { TG_BAUD_STEP = 0x1000 }; /* the lower bits of the baud rate do not count */

void tg_uart_start(void)
{
    const uint32_t baud = (uint32_t)(((uint64_t)TG_BAUD << 32) / TG_UART_CLOCK_HZ);
    TG_ENABLE = TG_ENABLE_UART;
    TG_CONFIG = 0; /* no parity, no handshake */
    TG_BAUD_RATE = (baud + TG_BAUD_STEP / 2) & ~(TG_BAUD_STEP - 1u);
    TG_RECEIVED = 0;
    TG_SENT = 0;
    TG_START_TRANSMITTER = 1;
    TG_START_RECEIVER = 1;
}

/* The event is cleared first: reading the data raises it again when the next byte already waits. */
int tg_uart_read(void)
{
    if (!TG_RECEIVED) {
        return -1;
    }
    TG_RECEIVED = 0;
    return (int)(TG_RX_DATA & 0xFFu);
}

/* There is no flag that says "ready" before the first byte, so each byte is waited for after it was given. */
void tg_uart_write(uint8_t byte)
{
    TG_SENT = 0;
    TG_TX_DATA = byte;
    while (!TG_SENT) {
    }
}

#endif
