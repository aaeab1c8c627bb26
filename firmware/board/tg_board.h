/* What an application needs of its board: one serial port and time. One implementation for boards under Arduino, one for
 * Cortex-M boards without a framework.
 */
#ifndef TG_BOARD_H
#define TG_BOARD_H

#include <stdint.h>

#define TG_BAUD 115200

#ifdef __cplusplus
extern "C" {
#endif

/* Sets the board up: its clock, the serial port at TG_BAUD with 8 data bits, no parity, 1 stop bit, and the counters.
 * To be called first.
 */
void tg_board_start(void);

/* The next byte that came in over the serial port; -1 when there is none. */
int tg_board_read(void);

/* Sends bytes; returns when the last is on its way. */
void tg_board_write(const char *bytes, uint32_t count);

/* Time since the start; wraps after 71 minutes. */
uint32_t tg_board_microseconds(void);

/* Cycles of the processor, for differences only; wraps. */
uint32_t tg_board_cycles(void);

#ifdef __cplusplus
}
#endif

#endif
