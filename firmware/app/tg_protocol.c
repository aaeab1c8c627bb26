/* The serial protocol of the MLPerf Tiny benchmark's harness: reads commands, runs the model, sends replies.
 *
 * A command ends at its %. Its reply is lines that begin with m- or e- (an error), the last of them m-ready. The table
 * of all commands is near the end.
 */
#include "tg_protocol.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include <tg_runtime.h>

#include "tg_board.h"
#include "tg_model.h"

#define TG_VENDOR "tinygen"
#define TG_COMMAND_LENGTH 80 /* at most, without its % */
#define TG_WORDS 3           /* of the longest command: infer N W */

/* Text that stays in flash: AVR has hardly the RAM for it. */
#ifdef __AVR__
#define TG_TEXT(text) PSTR(text)
#else
#define TG_TEXT(text) (text)
#endif

/* For what is called from many places: inlined at -O2, it makes the program a third larger. */
#define TG_SMALL TG_NOINLINE

/* ---- Sending ---- */

/* Bytes on their way out: a USB port sends a packet for each write. */
static char tg_out[32];
static uint8_t tg_out_count;

static TG_SMALL void tg_put(char c)
{
    tg_out[tg_out_count++] = c;
    if (c == '\n' || tg_out_count == sizeof tg_out) {
        tg_board_write(tg_out, tg_out_count);
        tg_out_count = 0;
    }
}

static char tg_text_at(const char *text) { return (char)tg_load_s8((const int8_t *)text); }

static TG_SMALL void tg_put_number(uint32_t number)
{
    char digits[10];
    uint8_t count = 0;
    do {
        digits[count++] = (char)('0' + number % 10u);
        number /= 10u;
    } while (number != 0);
    while (count != 0) {
        tg_put(digits[--count]);
    }
}

/* Sends a TG_TEXT with `number` in the place of each #. */
static TG_SMALL void tg_put_text_with(const char *text, uint32_t number)
{
    for (; tg_text_at(text) != '\0'; ++text) {
        if (tg_text_at(text) == '#') {
            tg_put_number(number);
        } else {
            tg_put(tg_text_at(text));
        }
    }
}

static TG_SMALL void tg_put_text(const char *text) { tg_put_text_with(text, 0); }

static TG_SMALL void tg_put_line_with(const char *text, uint32_t number)
{
    tg_put_text_with(text, number);
    tg_put('\r');
    tg_put('\n');
}

static TG_SMALL void tg_put_line(const char *text) { tg_put_line_with(text, 0); }

static void tg_end_line(void) { tg_put_line(TG_TEXT("")); }

static TG_SMALL void tg_put_hex_digit(uint8_t digit) { tg_put((char)(digit < 10 ? '0' + digit : 'a' + digit - 10)); }

static TG_SMALL void tg_put_hex(uint8_t byte)
{
    tg_put_hex_digit(byte >> 4);
    tg_put_hex_digit(byte & 15u);
}

typedef struct {
    uint32_t whole, thousandths;
} tg_decimal_t;

/* fraction * 1000 / 2^places, to nearest, ties to even; fraction below 2^24 and 2^places, places 1 to 34. */
static uint32_t tg_thousandths(uint32_t fraction, uint32_t places)
{
    const uint32_t scaled = fraction * 125u; /* 1000 is 125 * 2^3: in this form it fits 32 bits */
    if (places <= 3) {
        return scaled << (3 - places);
    }
    const uint32_t shift = places - 3;
    const uint32_t rest = scaled & ((UINT32_C(1) << shift) - 1);
    const uint32_t half = UINT32_C(1) << (shift - 1);
    const uint32_t below = scaled >> shift;
    return rest > half || (rest == half && below % 2 != 0) ? below + 1 : below;
}

/* The bits of a positive float as a decimal, without float arithmetic: it is 24 bits times a power of two. Rounds as
 * printf("%.3f") does. From 2^32 on, infinity included, it is 4294967295.000.
 */
static tg_decimal_t tg_decimal(uint32_t bits)
{
    const uint32_t exponent = bits >> 23; /* plus 127 */
    const uint32_t mantissa = (bits & 0x7FFFFFu) | 0x800000u;
    tg_decimal_t decimal = {0, 0};
    if (exponent >= 127 + 32) {
        decimal.whole = UINT32_MAX;
    } else if (exponent >= 127 + 23) {
        decimal.whole = mantissa << (exponent - (127 + 23));
    } else if (exponent >= 127 + 23 - 34) { /* below, and for denormals, it is less than 0.0005 */
        const uint32_t places = 127 + 23 - exponent; /* behind the binary point */
        decimal.whole = places < 24 ? mantissa >> places : 0;
        decimal.thousandths = tg_thousandths(places < 24 ? mantissa - (decimal.whole << places) : mantissa, places);
        if (decimal.thousandths == 1000) {
            decimal.thousandths = 0;
            ++decimal.whole;
        }
    }
    return decimal;
}

/* Sends a number with three decimals; not a number is nan. */
static void tg_put_value(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    const uint32_t positive = bits & 0x7FFFFFFFu;
    if (positive > 0x7F800000u) {
        tg_put_text(TG_TEXT("nan"));
        return;
    }
    if (bits != positive) {
        tg_put('-');
    }
    const tg_decimal_t decimal = tg_decimal(positive);
    tg_put_number(decimal.whole);
    tg_put('.');
    for (uint32_t one = 100; one != 0; one /= 10) {
        tg_put((char)('0' + decimal.thousandths / one % 10));
    }
}

/* ---- The command at hand ---- */

static char tg_line[TG_COMMAND_LENGTH + 1];
static uint8_t tg_line_length; /* one more than fits stands for too many */

/* The words of the line, and behind them the first that no command has; those that are not there are empty. */
static const char *tg_words[TG_WORDS + 1];

/* Cuts the line into words, in place. */
static void tg_split(void)
{
    char *c = tg_line;
    tg_line[tg_line_length] = '\0';
    for (uint8_t i = 0; i <= TG_WORDS; ++i) {
        while (*c == ' ') {
            *c++ = '\0';
        }
        tg_words[i] = c;
        while (*c != ' ' && *c != '\0') {
            ++c;
        }
    }
}

static TG_SMALL bool tg_is(const char *word, const char *text)
{
    while (*word != '\0' && *word == tg_text_at(text)) {
        ++word;
        ++text;
    }
    return *word == tg_text_at(text);
}

static TG_SMALL void tg_say_unknown(void)
{
    tg_put_text(TG_TEXT("e-[Unknown command: "));
    for (uint8_t i = 0; i < tg_line_length; ++i) {
        tg_put(tg_line[i] != '\0' ? tg_line[i] : ' ');
    }
    tg_put_line(TG_TEXT("]"));
}

/* What a hexadecimal digit stands for; 16 for any other character. */
static TG_SMALL uint8_t tg_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return (uint8_t)(c - '0');
    }
    const char lower = (char)(c | ' ');
    return lower >= 'a' && lower <= 'f' ? (uint8_t)(lower - 'a' + 10) : 16;
}

/* Whether `word` is a decimal number that fits 32 bits. */
static bool tg_parse(const char *word, uint32_t *number)
{
    if (*word == '\0') {
        return false;
    }
    *number = 0;
    for (; *word != '\0'; ++word) {
        const uint8_t digit = tg_digit(*word);
        if (digit > 9 || *number > (UINT32_MAX - digit) / 10u) {
            return false;
        }
        *number = *number * 10u + digit;
    }
    return true;
}

/* Whether `word` is a number from `low` to `high`; if not, says so with the name of the argument. */
static bool tg_take_number(const char *argument, const char *word, uint32_t low, uint32_t high, uint32_t *number)
{
    if (tg_parse(word, number) && *number >= low && *number <= high) {
        return true;
    }
    tg_put_text(TG_TEXT("e-["));
    tg_put_text(argument);
    tg_put_text_with(TG_TEXT(": expected a number from #"), low);
    tg_put_text_with(TG_TEXT(" to #, found "), high);
    if (*word == '\0') {
        tg_put_text(TG_TEXT("nothing"));
    }
    for (; *word != '\0'; ++word) {
        tg_put(*word);
    }
    tg_put_line(TG_TEXT("]"));
    return false;
}

/* ---- Who is here ---- */

static void tg_name(void) { tg_put_line(TG_TEXT("m-name-dut-[" TG_VENDOR "]")); }

static void tg_profile(void)
{
    tg_put_line(TG_TEXT("m-profile-[ULPMark for tinyML Firmware V0.0.1]"));
    tg_put_line(TG_TEXT("m-model-[" TG_MODEL_NAME "]"));
}

static void tg_put_time(uint32_t microseconds) { tg_put_line_with(TG_TEXT("m-lap-us-#"), microseconds); }

static void tg_timestamp(void) { tg_put_time(tg_board_microseconds()); }

/* ---- The input ---- */

/* All inputs, one after another. Kept apart from the model's, which an inference overwrites. */
static uint8_t tg_input[TG_MODEL_INPUT_BYTES];
static uint32_t tg_input_expected; /* bytes, by the last db load */
static uint32_t tg_input_loaded;

/* Whether there was a db load; if not, says so. */
static TG_SMALL bool tg_is_loading(void)
{
    if (tg_input_expected == 0) {
        tg_put_line(TG_TEXT("e-[db load N comes first]"));
    }
    return tg_input_expected != 0;
}

static void tg_start_load(const char *size)
{
    uint32_t bytes;
    if (!tg_take_number(TG_TEXT("db load"), size, 1, TG_MODEL_INPUT_BYTES, &bytes)) {
        return;
    }
    tg_input_expected = bytes;
    tg_input_loaded = 0;
    tg_put_line_with(TG_TEXT("m-[Expecting # bytes]"), bytes);
}

/* Takes all bytes of a command, or none when one is wrong; those after the last expected count for nothing. */
static void tg_take_bytes(const char *digits)
{
    if (!tg_is_loading()) {
        return;
    }
    uint8_t count = 0;
    for (; digits[count] != '\0'; ++count) {
        if (tg_digit(digits[count]) > 15) {
            tg_put_text(TG_TEXT("e-[Not a hex digit: "));
            tg_put(digits[count]);
            tg_put_line(TG_TEXT("]"));
            return;
        }
    }
    if (count % 2 != 0) {
        tg_put_line_with(TG_TEXT("e-[Odd number of hex digits: #]"), count);
        return;
    }
    for (uint8_t i = 0; i < count && tg_input_loaded < tg_input_expected; i = (uint8_t)(i + 2)) {
        tg_input[tg_input_loaded++] = (uint8_t)(tg_digit(digits[i]) << 4 | tg_digit(digits[i + 1]));
        if (tg_input_loaded == tg_input_expected) {
            tg_put_line(TG_TEXT("m-load-done"));
        }
    }
}

static void tg_print_input(void)
{
    if (!tg_is_loading()) {
        return;
    }
    for (uint32_t i = 0; i < tg_input_loaded; ++i) {
        tg_put_text(i % 8 == 0 ? TG_TEXT("m-buffer-") : TG_TEXT("-"));
        tg_put_hex(tg_input[i]);
        if (i % 8 == 7 || i + 1 == tg_input_loaded) {
            tg_end_line();
        }
    }
}

static void tg_db(void)
{
    if (tg_is(tg_words[1], TG_TEXT("load"))) {
        tg_start_load(tg_words[2]);
    } else if (*tg_words[1] == '\0' || *tg_words[2] != '\0') {
        tg_say_unknown();
    } else if (tg_is(tg_words[1], TG_TEXT("print"))) {
        tg_print_input();
    } else {
        tg_take_bytes(tg_words[1]);
    }
}

/* ---- Inference ---- */

static bool tg_has_outputs;
static uint32_t tg_cycles_total; /* of the last inference */

#ifdef TG_LAYER_CYCLES
/* Of each layer of the last inference, and when a layer, or a part of one, last ended. */
static uint32_t tg_cycles_of[TG_MODEL_LAYERS], tg_cycles_at;

void tg_layer_done(int32_t layer)
{
    const uint32_t now = tg_board_cycles();
    tg_cycles_of[layer] += now - tg_cycles_at;
    tg_cycles_at = now;
}
#endif

static void tg_run_model(uint32_t times)
{
    for (; times != 0; --times) {
        tg_model_set_inputs(tg_input);
        const uint32_t start = tg_board_cycles();
#ifdef TG_LAYER_CYCLES
        memset(tg_cycles_of, 0, sizeof tg_cycles_of);
        tg_cycles_at = start;
#endif
        tg_model_invoke();
        tg_cycles_total = tg_board_cycles() - start;
    }
}

/* Whether there are outputs of an inference; if not, says so. */
static TG_SMALL bool tg_was_run(void)
{
    if (!tg_has_outputs) {
        tg_put_line(TG_TEXT("e-[infer comes first]"));
    }
    return tg_has_outputs;
}

static void tg_results(void)
{
    if (!tg_was_run()) {
        return;
    }
    tg_put_text(TG_TEXT("m-results-["));
    for (uint32_t output = 0; output < TG_MODEL_OUTPUTS; ++output) {
        const uint32_t count = tg_model_output_count(output);
        for (uint32_t i = 0; i < count; ++i) {
            if (output != 0 || i != 0) {
                tg_put(',');
            }
            tg_put_value(tg_model_value(output, i));
        }
    }
    tg_put_line(TG_TEXT("]"));
}

static void tg_infer(void)
{
    uint32_t times = 1, warmup = 10;
    if (*tg_words[1] != '\0' && !tg_take_number(TG_TEXT("infer N"), tg_words[1], 1, UINT32_MAX, &times)) {
        return;
    }
    if (*tg_words[2] != '\0' && !tg_take_number(TG_TEXT("infer W"), tg_words[2], 0, UINT32_MAX, &warmup)) {
        return;
    }
    if (tg_input_loaded < tg_input_expected) {
        tg_put_text_with(TG_TEXT("e-[Input incomplete: # of "), tg_input_loaded);
        tg_put_line_with(TG_TEXT("# bytes]"), tg_input_expected);
        return;
    }
    tg_put_line_with(TG_TEXT("m-warmup-start-#"), warmup);
    tg_run_model(warmup);
    tg_put_line(TG_TEXT("m-warmup-done"));
    tg_put_line_with(TG_TEXT("m-infer-start-#"), times);
    /* Both times go out afterwards: sending takes longer than many an inference. */
    const uint32_t start = tg_board_microseconds();
    tg_run_model(times);
    const uint32_t end = tg_board_microseconds();
    tg_has_outputs = true;
    tg_put_time(start);
    tg_put_time(end);
    tg_put_line(TG_TEXT("m-infer-done"));
    tg_results();
}

/* The bytes of all outputs as they lie in memory. */
static void tg_outputs(void)
{
    if (!tg_was_run()) {
        return;
    }
    for (uint32_t output = 0; output < TG_MODEL_OUTPUTS; ++output) {
        const uint8_t *bytes = tg_model_output(output);
        const uint32_t count = tg_model_output_bytes(output);
        for (uint32_t i = 0; i < count; ++i) {
            if (i % 32 == 0) {
                tg_put_text_with(TG_TEXT("m-output-#-"), output);
            }
            tg_put_hex(bytes[i]);
            if (i % 32 == 31 || i + 1 == count) {
                tg_end_line();
            }
        }
    }
}

static void tg_cycles(void)
{
    if (!tg_was_run()) {
        return;
    }
#ifdef TG_LAYER_CYCLES
    for (uint32_t i = 0; i < TG_MODEL_LAYERS; ++i) {
        tg_put_text_with(TG_TEXT("m-layer-#-"), i);
        tg_put_line_with(TG_TEXT("#"), tg_cycles_of[i]);
    }
#endif
    tg_put_line_with(TG_TEXT("m-cycles-#"), tg_cycles_total);
}

/* ---- All commands ---- */

static void tg_help(void)
{
    tg_put_line(TG_TEXT("m-help-[name, profile, timestamp]\r\n"
                        "m-help-[db load N, then db HH..: N bytes of input]\r\n"
                        "m-help-[db print: the input]\r\n"
                        "m-help-[infer N W: N inferences after W to warm up]\r\n"
                        "m-help-[results, outputs: in decimals, in hex]\r\n"
                        "m-help-[cycles: of each layer]"));
}

typedef struct {
    char name[10];
    uint8_t words; /* at most, the name included */
    void (*answer)(void);
} tg_command_t;

static const tg_command_t tg_commands[] TG_CONST = {
    {"name", 1, tg_name},
    {"profile", 1, tg_profile},
    {"timestamp", 1, tg_timestamp},
    {"db", 3, tg_db},
    {"infer", 3, tg_infer},
    {"results", 1, tg_results},
    {"outputs", 1, tg_outputs},
    {"cycles", 1, tg_cycles},
    {"help", 1, tg_help},
};

static void tg_answer(void)
{
    if (tg_line_length > TG_COMMAND_LENGTH) {
        tg_put_line(TG_TEXT("e-[Command longer than 80 characters]"));
        return;
    }
    tg_split();
    for (size_t i = 0; i < sizeof tg_commands / sizeof *tg_commands; ++i) {
        tg_command_t command;
        tg_load_bytes(&command, &tg_commands[i], sizeof command);
        if (tg_is(tg_words[0], tg_commands[i].name) && *tg_words[command.words] == '\0') {
            command.answer();
            return;
        }
    }
    tg_say_unknown();
}

static void tg_ready(void) { tg_put_line(TG_TEXT("m-ready")); }

/* Takes one byte. What is not printable becomes a question mark, so that none ends a string early. */
static void tg_take(char c)
{
    if (c == '%') {
        tg_answer();
        tg_ready();
        tg_line_length = 0;
        return;
    }
    if (tg_line_length == 0 && (c == '\r' || c == '\n')) {
        return;
    }
    if (tg_line_length < sizeof tg_line) {
        tg_line[tg_line_length++] = c >= ' ' && c <= '~' ? c : '?';
    }
}

void tg_protocol_start(void)
{
    tg_put_line(TG_TEXT("m-timestamp-mode-performance"));
    tg_timestamp();
    tg_put_line(TG_TEXT("m-init-done"));
    tg_ready();
}

void tg_protocol_poll(void)
{
    for (int byte = tg_board_read(); byte >= 0; byte = tg_board_read()) {
        tg_take((char)byte);
    }
}
