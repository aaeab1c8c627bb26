/* The application of a board without a framework: answers commands over the serial port. Type help% there. */
#ifndef ARDUINO

#include "tg_board.h"
#include "tg_protocol.h"

int main(void)
{
    tg_board_start();
    tg_protocol_start();
    for (;;) {
        tg_protocol_poll();
    }
}

#endif
