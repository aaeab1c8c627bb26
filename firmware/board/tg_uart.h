/* The serial port of a board without a framework: one driver for each kind of peripheral, at the address in
 * tg_board_config.h.
 */
#ifndef TG_UART_H
#define TG_UART_H

#include <stdint.h>

/* Sends and receives at TG_BAUD, 8N1; the clocks and pins of the peripheral are already set up. */
void tg_uart_start(void);

/* The next byte, or -1 when there is none. Bytes that were lost leave no trace and no fault. */
int tg_uart_read(void);

/* Sends one byte, after the byte before it. */
void tg_uart_write(uint8_t byte);

#endif
