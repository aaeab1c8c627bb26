/* Runs an AVR program in simavr, instruction by instruction, from one stop to the next; board_simavr.py drives it. */
#include <simavr/avr_uart.h>
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

/* A queue of bytes; a full one takes no more. The indices wrap on their own. */
enum { QUEUE_BYTES = 1 << 15 };
typedef struct {
    uint8_t bytes[QUEUE_BYTES];
    uint32_t first, end;
} queue_t;

/* What a program has executed so far, and how many bytes of program memory it has read as data. */
typedef struct {
    uint64_t cycles, instructions, flash_read_bytes;
} counts_t;

typedef struct {
    avr_t *avr;
    elf_firmware_t firmware;
    uint32_t stop, end_of_data;
    int low_instructions;
    avr_irq_t *serial;
    int serial_is_full;
    queue_t to_board, from_board;
    counts_t counts;
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

static uint32_t queue_put(queue_t *queue, const uint8_t *bytes, uint32_t count)
{
    uint32_t done = 0;
    while (done < count && queue->end - queue->first < QUEUE_BYTES) {
        queue->bytes[queue->end++ % QUEUE_BYTES] = bytes[done++];
    }
    return done;
}

static uint32_t queue_get(queue_t *queue, uint8_t *bytes, uint32_t count)
{
    uint32_t done = 0;
    while (done < count && queue->first != queue->end) {
        bytes[done++] = queue->bytes[queue->first++ % QUEUE_BYTES];
    }
    return done;
}

/* The UART takes bytes until it says that it is full, which it may say while it gets one. */
static void feed_serial(board_t *board)
{
    uint8_t byte;
    while (!board->serial_is_full && queue_get(&board->to_board, &byte, 1)) {
        avr_raise_irq(board->serial + UART_IRQ_INPUT, byte);
    }
}

static void serial_has_room(struct avr_irq_t *irq, uint32_t value, void *board)
{
    (void)irq;
    (void)value;
    ((board_t *)board)->serial_is_full = 0;
    feed_serial(board);
}

static void serial_is_full(struct avr_irq_t *irq, uint32_t value, void *board)
{
    (void)irq;
    (void)value;
    ((board_t *)board)->serial_is_full = 1;
}

static void serial_sent(struct avr_irq_t *irq, uint32_t value, void *board)
{
    const uint8_t byte = (uint8_t)value;
    (void)irq;
    queue_put(&((board_t *)board)->from_board, &byte, 1);
}

/* Connect the UART of that name ('0', '1', ...); 0 when the MCU has none such. */
int board_connect(board_t *board, char uart)
{
    uint32_t flags = 0;
    board->serial = avr_io_getirq(board->avr, AVR_IOCTL_UART_GETIRQ(uart), 0);
    if (!board->serial) {
        return 0;
    }
    avr_ioctl(board->avr, AVR_IOCTL_UART_SET_FLAGS(uart), &flags);
    avr_irq_register_notify(board->serial + UART_IRQ_OUTPUT, serial_sent, board);
    avr_irq_register_notify(board->serial + UART_IRQ_OUT_XON, serial_has_room, board);
    avr_irq_register_notify(board->serial + UART_IRQ_OUT_XOFF, serial_is_full, board);
    board->serial_is_full = 1;
    return 1;
}

/* Send bytes to the connected UART as it takes them; how many of them there was room for. */
uint32_t board_send(board_t *board, const uint8_t *bytes, uint32_t count)
{
    const uint32_t taken = queue_put(&board->to_board, bytes, count);
    feed_serial(board);
    return taken;
}

/* The bytes that the connected UART has sent; how many, at most `count`. */
uint32_t board_receive(board_t *board, uint8_t *bytes, uint32_t count)
{
    return queue_get(&board->from_board, bytes, count);
}

static int stack_is_low(board_t *board)
{
    const uint8_t *data = board->avr->data;
    const uint32_t pointer = data[R_SPL] | (uint32_t)data[R_SPH] << 8;
    board->low_instructions = pointer + 1 < board->end_of_data ? board->low_instructions + 1 : 0;
    return board->low_instructions >= LEAST_LOW_INSTRUCTIONS;
}

/* LPM and ELPM, which read a byte: AVR Instruction Set Manual, DS40002198. */
static int reads_flash(const avr_t *avr)
{
    const uint32_t code = avr->flash[avr->pc] | (uint32_t)avr->flash[avr->pc + 1] << 8;
    return code == 0x95C8 || code == 0x95D8 || (code & 0xFE0C) == 0x9004;
}

/* Run to the next stop, for at most `cycles`. */
int board_run(board_t *board, uint64_t cycles)
{
    avr_t *avr = board->avr;
    const uint64_t limit = avr->cycle + cycles;
    avr_global_logger_set(keep_message);
    message[0] = 0;
    do {
        const int reads = reads_flash(avr);
        const int state = avr_run(avr);
        ++board->counts.instructions;
        board->counts.flash_read_bytes += (uint64_t)reads;
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

const counts_t *board_counts(board_t *board)
{
    board->counts.cycles = board->avr->cycle;
    return &board->counts;
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
