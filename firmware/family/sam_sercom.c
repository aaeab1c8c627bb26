/* Driver of the SERCOM of the SAM D21 as an asynchronous serial port. The board's set-up has reset it and chosen its pads
 * (RXPO and TXPO of CTRLA).
 */
#ifndef ARDUINO

#include "tg_board.h"
#include "tg_board_config.h"
#include "tg_uart.h"

typedef struct {
    volatile uint32_t control_a, control_b;
    volatile uint32_t reserved_8;
    volatile uint16_t baud;
    volatile uint8_t pulse, reserved_f[5];
    volatile uint8_t interrupt_clear, reserved_15, interrupt_set, reserved_17, flags, reserved_19;
    volatile uint16_t status;
    volatile uint32_t busy;
    volatile uint32_t reserved_20[2];
    volatile uint16_t data;
} tg_uart_t;

#define TG_UART ((tg_uart_t *)TG_UART_ADDRESS)
#define TG_INTERNAL_CLOCK (UINT32_C(1) << 2) /* control_a */
#define TG_LSB_FIRST (UINT32_C(1) << 30)
#define TG_ON (UINT32_C(1) << 1)
#define TG_RX_TX ((UINT32_C(1) << 17) | (UINT32_C(1) << 16)) /* control_b */

enum { TG_CAN_WRITE = 1, TG_RECEIVED = 4 }; /* flags */

/* 16 samples a bit and arithmetic baud rate: 65536 * (1 - 16 * baud / clock), SAM D21 data sheet 25.6.2.3. */
#define TG_BAUD_VALUE                                                                                    \
    (65536u - (uint32_t)(((UINT64_C(65536) * 16 * TG_BAUD) + TG_UART_CLOCK_HZ / 2) / TG_UART_CLOCK_HZ))

static void tg_settle(void)
{
    while (TG_UART->busy) {
    }
}

void tg_uart_start(void)
{
    TG_UART->control_a |= TG_INTERNAL_CLOCK | TG_LSB_FIRST;
    TG_UART->control_b = TG_RX_TX;
    tg_settle();
    TG_UART->baud = (uint16_t)TG_BAUD_VALUE;
    TG_UART->control_a |= TG_ON;
    tg_settle();
}

int tg_uart_read(void)
{
    return TG_UART->flags & TG_RECEIVED ? TG_UART->data & 0xFF : -1;
}

void tg_uart_write(uint8_t byte)
{
    while (!(TG_UART->flags & TG_CAN_WRITE)) {
    }
    TG_UART->data = byte;
}

#endif
