/* Checks what each layer reads and writes of the arena, byte by byte.
 *
 * The model is compiled with -fsanitize=thread, which calls the functions below before every access to memory; the
 * sanitizer's own library takes no part. Every byte of the arena has a tag: which byte of which value was written there
 * last. A layer may read the tags of its inputs, and what it wrote itself; it may write its outputs and its scratch.
 */
#include <stdint.h>
#include <string.h>

enum {
    INPUT,
    OUTPUT,
    SCRATCH,
    FED,       /* written on the way, not whole yet when a layer ends */
    REWRITTEN, /* an output that its layer reads and writes again */
    FAULTS = 32
};

struct range {
    int32_t start;
    int32_t bytes;
    int32_t kind;
    const uint64_t *tags; /* none for scratch */
};

/* The arena, or a part of it: its first byte counts as byte `start`. */
struct array {
    const int8_t *bytes;
    int32_t start;
    int32_t count;
};

struct fault {
    int32_t moment;
    int32_t write; /* 1 for a write, 2 for what is not as it must be when a layer ends */
    int32_t at;
    uint64_t found;
};

static const struct array *arrays;
static int32_t array_count, moments, moment;
static const struct range *ranges;
static const int32_t *firsts; /* of each moment's ranges, and of those behind the last */
static uint64_t *tags;
static struct fault *faults;
static int32_t fault_count;

static void report(int32_t write, int32_t at)
{
    if (fault_count < FAULTS) {
        const struct fault fault = {moment, write, at, tags[at]};
        faults[fault_count] = fault;
    }
    fault_count++;
}

static uint64_t scratch_tag(void) { return UINT64_MAX - 1 - (uint64_t)moment; }

/* A byte both of an input and of an output must still be the input's when it is read: that a kernel reads its
 * results again is said.
 * One of several inputs must be right for each.
 * Scratch may be read before it is written: kernels multiply that by 0.
 */
static int may_read(int32_t at)
{
    int of_input = 0, lost = 0, own = 0, scratch = 0;
    for (const struct range *r = ranges + firsts[moment]; r < ranges + firsts[moment + 1]; r++) {
        if (at < r->start || at >= r->start + r->bytes) continue;
        if (r->kind == SCRATCH) scratch = 1;
        if (r->kind == SCRATCH && tags[at] == scratch_tag()) return 1;
        if (r->kind != INPUT && r->kind != SCRATCH && r->tags[at - r->start] == tags[at]) own = 1;
        if (r->kind == REWRITTEN && r->tags[at - r->start] == tags[at]) return 1;
        if (r->kind == INPUT) of_input = 1;
        if (r->kind == INPUT && r->tags[at - r->start] != tags[at]) lost = 1;
    }
    return of_input ? !lost : own || scratch;
}

static void read_one(int32_t at)
{
    if (moment >= moments || !may_read(at)) report(0, at);
}

/* What is there already of a row that was fed, the layer that reads it may write over. */
static void write_one(int32_t at)
{
    int fed = 0;
    if (moment >= moments) {
        report(1, at);
        return;
    }
    for (const struct range *r = ranges + firsts[moment]; r < ranges + firsts[moment + 1]; r++) {
        if (r->kind == INPUT || at < r->start || at >= r->start + r->bytes) continue;
        if (r->kind == FED && tags[at] == r->tags[at - r->start]) {
            fed = 1;
            continue;
        }
        tags[at] = r->kind == SCRATCH ? scratch_tag() : r->tags[at - r->start];
        return;
    }
    if (!fed) report(1, at);
}

static void each(const void *address, uintptr_t count, void (*one)(int32_t))
{
    for (const struct array *a = arrays; a < arrays + array_count; a++) {
        const uintptr_t first = (uintptr_t)address - (uintptr_t)a->bytes;
        for (uintptr_t i = 0; i < count; i++)
            if (first + i < (uintptr_t)a->count) one(a->start + (int32_t)(first + i));
    }
}

void tagged_begin(const struct array *all_arrays, int32_t how_many, int32_t count, const struct range *all,
                  const int32_t *each_first, uint64_t *first_tags, struct fault *into)
{
    arrays = all_arrays;
    array_count = how_many;
    moments = count;
    ranges = all;
    firsts = each_first;
    tags = first_tags;
    faults = into;
    moment = fault_count = 0;
}

/* The end of a layer, or of a row of it: its outputs are whole. */
void tagged_next(void)
{
    if (moment < moments)
        for (const struct range *r = ranges + firsts[moment]; r < ranges + firsts[moment + 1]; r++)
            for (int32_t i = 0; (r->kind == OUTPUT || r->kind == REWRITTEN) && i < r->bytes; i++)
                if (tags[r->start + i] != r->tags[i]) report(2, r->start + i);
    moment++;
}

/* How many faults there were; all layers must have ended. */
int32_t tagged_end(void) { return moment == moments ? fault_count : -1; }

void *tagged_memcpy(void *to, const void *from, size_t count);
void *tagged_memcpy(void *to, const void *from, size_t count)
{
    each(from, count, read_one);
    each(to, count, write_one);
    return memmove(to, from, count);
}

void *tagged_memset(void *to, int value, size_t count);
void *tagged_memset(void *to, int value, size_t count)
{
    each(to, count, write_one);
    return memset(to, value, count);
}

#define ACCESS(name, count, one) \
    void name(void *address); \
    void name(void *address) { each(address, count, one); }
#define ACCESSES(count) \
    ACCESS(__tsan_read##count, count, read_one) \
    ACCESS(__tsan_write##count, count, write_one) \
    ACCESS(__tsan_unaligned_read##count, count, read_one) \
    ACCESS(__tsan_unaligned_write##count, count, write_one) \
    ACCESS(__tsan_volatile_read##count, count, read_one) \
    ACCESS(__tsan_volatile_write##count, count, write_one)
ACCESSES(1)
ACCESSES(2)
ACCESSES(4)
ACCESSES(8)
ACCESSES(16)

void __tsan_read_range(void *address, uintptr_t count);
void __tsan_read_range(void *address, uintptr_t count) { each(address, count, read_one); }
void __tsan_write_range(void *address, uintptr_t count);
void __tsan_write_range(void *address, uintptr_t count) { each(address, count, write_one); }
void __tsan_init(void);
void __tsan_init(void) {}
void __tsan_func_entry(void *caller);
void __tsan_func_entry(void *caller) { (void)caller; }
void __tsan_func_exit(void);
void __tsan_func_exit(void) {}
