/* Runs an AVR program in simavr, instruction by instruction, from one stop to the next; board_simavr.py drives it. */
#include <simavr/sim_avr.h>
#include <simavr/sim_elf.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a run ended with. */
enum { STOP, LIMIT, RESET, CRASH, HALT, STACK };

/* Writing a new stack pointer takes two instructions with the status register's in between, so that for two instructions
 * it may be up to 255 bytes too low.
 */
enum { LEAST_LOW_INSTRUCTIONS = 3 };

typedef struct {
    avr_t *avr;
    elf_firmware_t firmware;
    uint32_t stop, end_of_data;
    int low_instructions;
} board_t;

static char message[256];

static void keep_message(avr_t *avr, const int level, const char *format, va_list arguments)
{
    (void)avr;
    if (level == LOG_ERROR && !message[0]) {
        vsnprintf(message, sizeof message, format, arguments);
    }
}

void board_close(board_t *board)
{
    if (board->avr) {
        avr_terminate(board->avr);
        free(board->avr);
    }
    free(board);
}

/* A board with the ELF in its flash; NULL when simavr does not have the MCU or cannot read the file. */
board_t *board_open(const char *mcu, uint32_t clock_hz, const char *elf)
{
    board_t *board = calloc(1, sizeof *board);
    avr_global_logger_set(keep_message);
    board->avr = avr_make_mcu_by_name(mcu);
    if (!board->avr || elf_read_firmware(elf, &board->firmware)) {
        board_close(board);
        return NULL;
    }
    avr_init(board->avr);
    board->firmware.frequency = clock_hz;
    avr_load_firmware(board->avr, &board->firmware);
    board->avr->run_cycle_limit = 1;
    return board;
}

/* Runs end at the instruction at `stop`; the stack must stay above `end_of_data`. */
void board_watch(board_t *board, uint32_t stop, uint32_t end_of_data)
{
    board->stop = stop;
    board->end_of_data = end_of_data;
}

static int stack_is_low(board_t *board)
{
    const uint8_t *data = board->avr->data;
    const uint32_t pointer = data[R_SPL] | (uint32_t)data[R_SPH] << 8;
    board->low_instructions = pointer + 1 < board->end_of_data ? board->low_instructions + 1 : 0;
    return board->low_instructions >= LEAST_LOW_INSTRUCTIONS;
}

/* Run to the next stop, for at most `cycles`. */
int board_run(board_t *board, uint64_t cycles)
{
    avr_t *avr = board->avr;
    const uint64_t limit = avr->cycle + cycles;
    avr_global_logger_set(keep_message);
    message[0] = 0;
    do {
        const int state = avr_run(avr);
        if (state == cpu_Crashed) {
            return CRASH;
        }
        if (state != cpu_Running) {
            return HALT;
        }
        if (avr->pc == avr->reset_pc) {
            return RESET;
        }
        if (stack_is_low(board)) {
            return STACK;
        }
        if (avr->cycle > limit) {
            return LIMIT;
        }
    } while (avr->pc != board->stop);
    return STOP;
}

/* Registers, ports and RAM by their addresses in data space. */
uint8_t *board_data(board_t *board)
{
    return board->avr->data;
}

uint32_t board_program_counter(board_t *board)
{
    return board->avr->pc;
}

/* The first thing simavr complained of during the last run. */
const char *board_message(void)
{
    return message;
}
