/* The application under Arduino: answers commands over the serial port. Type help% in the serial monitor. */
#ifdef ARDUINO

#include <Arduino.h>

#include "tg_board.h"
#include "tg_protocol.h"

void setup()
{
    tg_board_start();
    tg_protocol_start();
}

void loop()
{
    tg_protocol_poll();
}

#endif
