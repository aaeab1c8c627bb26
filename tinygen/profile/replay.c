/* Runs functions of a Cortex-M program in Unicorn and counts its basic blocks, its reads from flash, and the lines that a
 * small cache in front of the flash would miss; replay.py drives it.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unicorn/unicorn.h>

/* A slow flash gives 16 bytes at a time into caches of 1 KB for code and 256 bytes for data. */
enum { LINE_BYTES = 16, CODE_LINES = 64, DATA_LINES = 16 };
enum { MOST_BLOCKS = 1 << 16 };
enum { TABLE_FULL = -1 };
static const uint32_t IT_STATE = 0x0600FC00u; /* of the status register */

typedef struct {
    uint32_t address, bytes;
    uint64_t hits, taken;
} block_t;

typedef struct {
    uint64_t constant_bytes, literal_bytes;
    uint64_t code_misses, code_jump_misses, data_misses;
} reads_t;

/* Lines, and when each was used last; never is 0. */
typedef struct {
    uint32_t lines[CODE_LINES];
    uint64_t used[CODE_LINES];
    uint64_t now;
} cache_t;

typedef struct {
    uc_engine *uc;
    block_t blocks[MOST_BLOCKS];
    uint32_t used[MOST_BLOCKS], count;
    block_t *last;
    uint32_t last_line, literals_end;
    int counting, is_full;
    reads_t reads;
    cache_t code, data;
} replay_t;

/* Whether the line is not in the cache of `size` lines; then it takes the place of the one used longest ago. */
static int misses(cache_t *cache, uint32_t size, uint32_t line)
{
    uint32_t oldest = 0;
    ++cache->now;
    for (uint32_t i = 0; i < size; ++i) {
        if (cache->lines[i] == line && cache->used[i]) {
            cache->used[i] = cache->now;
            return 0;
        }
        if (cache->used[i] < cache->used[oldest]) {
            oldest = i;
        }
    }
    cache->lines[oldest] = line;
    cache->used[oldest] = cache->now;
    return 1;
}

static void fetch(replay_t *replay, uint32_t address, uint32_t bytes)
{
    const uint32_t end = (address + bytes - 1) / LINE_BYTES;
    for (uint32_t line = address / LINE_BYTES; line <= end; ++line) {
        if (line == replay->last_line) {
            continue;
        }
        if (misses(&replay->code, CODE_LINES, line)) {
            ++replay->reads.code_misses;
            replay->reads.code_jump_misses += line != replay->last_line + 1;
        }
        replay->last_line = line;
    }
}

static block_t *find(replay_t *replay, uint32_t address, uint32_t bytes)
{
    uint32_t at = (address * 2654435761u ^ bytes * 40503u) % MOST_BLOCKS;
    while (replay->blocks[at].hits && (replay->blocks[at].address != address || replay->blocks[at].bytes != bytes)) {
        at = (at + 1) % MOST_BLOCKS;
    }
    if (!replay->blocks[at].hits) {
        if (replay->count + 1 == MOST_BLOCKS) {
            return NULL;
        }
        replay->used[replay->count++] = at;
        replay->blocks[at] = (block_t){address, bytes, 0, 0};
    }
    return &replay->blocks[at];
}

static void on_block(uc_engine *uc, uint64_t address, uint32_t bytes, void *user)
{
    replay_t *const replay = user;
    if (!replay->counting || replay->is_full) {
        return;
    }
    if (replay->last && replay->last->address + replay->last->bytes != address) {
        ++replay->last->taken;
    }
    replay->last = find(replay, (uint32_t)address, bytes);
    if (!replay->last) {
        replay->is_full = 1;
        uc_emu_stop(uc);
        return;
    }
    ++replay->last->hits;
    fetch(replay, (uint32_t)address, bytes);
}

/* Unicorn 2.1 shows a read that is conditional with the state of its IT block, and then carries that state over to the
 * next basic block, where it does not belong.
 */
static void leave_it_block(uc_engine *uc)
{
    uint32_t status = 0;
    uc_reg_read(uc, UC_ARM_REG_XPSR, &status);
    if (status & IT_STATE) {
        status &= ~IT_STATE;
        uc_reg_write(uc, UC_ARM_REG_XPSR, &status);
    }
}

static void on_flash_read(uc_engine *uc, uc_mem_type type, uint64_t address, int bytes, int64_t value, void *user)
{
    replay_t *const replay = user;
    (void)type;
    (void)value;
    leave_it_block(uc);
    if (!replay->counting) {
        return;
    }
    *(address < replay->literals_end ? &replay->reads.literal_bytes : &replay->reads.constant_bytes) += (uint32_t)bytes;
    replay->reads.data_misses += (uint64_t)misses(&replay->data, DATA_LINES, (uint32_t)address / LINE_BYTES);
}

void replay_close(replay_t *replay)
{
    if (replay->uc) {
        uc_close(replay->uc);
    }
    free(replay);
}

/* A processor without memory; NULL when Unicorn does not have the model. Its FPU, if it has one, is on. */
replay_t *replay_open(int cpu, int has_fpu)
{
    replay_t *const replay = calloc(1, sizeof *replay);
    uc_hook hook;
    uint32_t access = 0, enable = 0x40000000;
    if (uc_open(UC_ARCH_ARM, UC_MODE_THUMB | UC_MODE_MCLASS, &replay->uc) || uc_ctl_set_cpu_model(replay->uc, cpu) ||
        uc_hook_add(replay->uc, &hook, UC_HOOK_BLOCK, (void *)on_block, replay, 1, 0)) {
        replay_close(replay);
        return NULL;
    }
    if (has_fpu) {
        uc_reg_read(replay->uc, UC_ARM_REG_C1_C0_2, &access);
        access |= 0xFu << 20;
        uc_reg_write(replay->uc, UC_ARM_REG_C1_C0_2, &access);
        uc_reg_write(replay->uc, UC_ARM_REG_FPEXC, &enable);
    }
    return replay;
}

/* Memory from `start`, whole pages: RAM, or flash whose reads are counted. */
int replay_map(replay_t *replay, uint32_t start, uint32_t bytes, int is_flash)
{
    const uint64_t end = (uint64_t)start + bytes - 1;
    const uint32_t may = UC_PROT_READ | (is_flash ? UC_PROT_EXEC : UC_PROT_WRITE);
    uc_hook hook;
    uc_err error = uc_mem_map(replay->uc, start, bytes, may);
    if (!error && is_flash) {
        error = uc_hook_add(replay->uc, &hook, UC_HOOK_MEM_READ, (void *)on_flash_read, replay, start, end);
    }
    return (int)error;
}

int replay_write(replay_t *replay, uint32_t address, const uint8_t *bytes, uint32_t count)
{
    return (int)uc_mem_write(replay->uc, address, bytes, count);
}

int replay_read(replay_t *replay, uint32_t address, uint8_t *bytes, uint32_t count)
{
    return (int)uc_mem_read(replay->uc, address, bytes, count);
}

/* Reads from flash below this address are of the constants between the instructions. */
void replay_literals_end(replay_t *replay, uint32_t address) { replay->literals_end = address; }

uint32_t replay_register(replay_t *replay, int number)
{
    uint32_t value = 0;
    uc_reg_read(replay->uc, number, &value);
    return value;
}

void replay_set_register(replay_t *replay, int number, uint32_t value) { uc_reg_write(replay->uc, number, &value); }

/* Run from `address` to `until`, for at most so many microseconds; where it counts, from zero on. The last block ends
 * with a jump to `until`.
 */
int replay_run(replay_t *replay, uint32_t address, uint32_t until, uint64_t microseconds, int counting)
{
    for (uint32_t i = 0; i < replay->count; ++i) {
        replay->blocks[replay->used[i]].hits = 0;
    }
    replay->count = 0;
    replay->reads = (reads_t){0};
    replay->last = NULL;
    replay->counting = counting;
    const uc_err error = uc_emu_start(replay->uc, address | 1, until, microseconds, 0);
    replay->counting = 0;
    if (replay->last) {
        ++replay->last->taken;
    }
    return replay->is_full ? TABLE_FULL : (int)error;
}

/* How many different blocks the last run had. */
uint32_t replay_count(const replay_t *replay) { return replay->count; }

const block_t *replay_block(const replay_t *replay, uint32_t number) { return &replay->blocks[replay->used[number]]; }

const reads_t *replay_reads(const replay_t *replay) { return &replay->reads; }

const char *replay_error(int error) { return error < 0 ? "too many basic blocks" : uc_strerror((uc_err)error); }
