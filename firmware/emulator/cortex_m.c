/* A Cortex-M program in QEMU from reset to exit: memory, faults, and files of the host through semihosting.
 * The board's harness includes this file, defines tg_main(), and links with the symbols named tg_ below.
 */
#include <stdint.h>
#include <string.h>

#define TG_REGISTER(address) (*(volatile uint32_t *)(address))
#define TG_CPACR TG_REGISTER(0xE000ED88u)
#define TG_CFSR TG_REGISTER(0xE000ED28u)
#define TG_MMFAR TG_REGISTER(0xE000ED34u)
#define TG_BFAR TG_REGISTER(0xE000ED38u)
#define TG_MPU_CTRL TG_REGISTER(0xE000ED94u)
#define TG_MPU_RNR TG_REGISTER(0xE000ED98u)
#define TG_MPU_RBAR TG_REGISTER(0xE000ED9Cu)
#define TG_MPU_RASR TG_REGISTER(0xE000EDA0u) /* RLAR in Armv8-M */
#define TG_MPU_MAIR0 TG_REGISTER(0xE000EDC0u)

/* Operations and file modes: Arm, Semihosting for AArch32 and AArch64. */
enum { TG_HOST_OPEN = 0x01, TG_HOST_CLOSE = 0x02, TG_HOST_WRITE = 0x05, TG_HOST_READ = 0x06, TG_HOST_EXIT = 0x20 };
enum { TG_READ_BINARY = 1, TG_WRITE_BINARY = 5 };
enum { TG_APPLICATION_EXIT = 0x20026 };
enum { TG_FREE_REGION = 3 }; /* of the MPU, behind those of flash, RAM and what a harness needs */
enum { TG_EXIT_DONE = 0, TG_EXIT_FILE = 101, TG_EXIT_FAULT = 102 };

extern uint8_t tg_flash_start[], tg_flash_bytes[], tg_ram_start[], tg_ram_bytes[], tg_stack_top[];
extern const uint32_t tg_regions[], tg_regions_end[]; /* of other RAM, each its origin and bytes */
extern uint8_t tg_data_start[], tg_data_bytes[], tg_data_in_flash[], tg_bss_start[], tg_bss_bytes[];
static void tg_main(void);

static uint32_t tg_host(uint32_t operation, const uint32_t *arguments)
{
    register uint32_t r0 __asm("r0") = operation;
    register const uint32_t *r1 __asm("r1") = arguments;
    __asm volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void __attribute__((noreturn)) tg_exit(uint32_t code)
{
    const uint32_t arguments[] = {TG_APPLICATION_EXIT, code};
    for (;;) {
        tg_host(TG_HOST_EXIT, arguments);
    }
}

static uint32_t tg_open(const char *name, uint32_t mode)
{
    const uint32_t arguments[] = {(uint32_t)name, mode, strlen(name)};
    const uint32_t file = tg_host(TG_HOST_OPEN, arguments);
    if (file == UINT32_MAX) {
        tg_exit(TG_EXIT_FILE);
    }
    return file;
}

static void tg_close(uint32_t file) { tg_host(TG_HOST_CLOSE, &file); }

static void tg_read(uint32_t file, void *to, uint32_t bytes)
{
    const uint32_t arguments[] = {file, (uint32_t)to, bytes};
    if (tg_host(TG_HOST_READ, arguments) != 0) {
        tg_exit(TG_EXIT_FILE);
    }
}

static void tg_write(uint32_t file, const void *from, uint32_t bytes)
{
    const uint32_t arguments[] = {file, (uint32_t)from, bytes};
    if (tg_host(TG_HOST_WRITE, arguments) != 0) {
        tg_exit(TG_EXIT_FILE);
    }
}

/* Every fault ends here, with the registers that the processor saved: r0-r3, r12, lr, pc, xpsr. Where saving them was
 * what failed, the pc is unknown. Armv6-M has no fault registers; they read as zero.
 */
static void __attribute__((used, noreturn)) tg_report_fault(const uint32_t *saved)
{
    const uint32_t failed_saving = 0x00103030u;
    const uint32_t status = TG_CFSR;
    const uint32_t report[] = {status, TG_MMFAR, TG_BFAR, status & failed_saving ? 0 : saved[6]};
    const uint32_t file = tg_open("fault.bin", TG_WRITE_BINARY);
    tg_write(file, report, sizeof report);
    tg_close(file);
    tg_exit(TG_EXIT_FAULT);
}

static void __attribute__((naked)) tg_fault(void)
{
    __asm volatile("mrs r0, msp\n"
                   "ldr r1, =tg_stack_top\n"
                   "mov sp, r1\n"
                   "ldr r1, =tg_report_fault\n"
                   "bx r1\n");
}

#if __ARM_ARCH >= 8
static void tg_allow(uint32_t region, uint32_t start, uint32_t bytes, int writable)
{
    TG_MPU_RNR = region;
    TG_MPU_RBAR = start | (writable ? 1u : 2u << 1);
    TG_MPU_RASR = ((start + bytes - 1) & ~31u) | 1u;
}
#elif __ARM_ARCH == 7
/* The start and size of every board's memories are powers of two here. */
static void tg_allow(uint32_t region, uint32_t start, uint32_t bytes, int writable)
{
    const uint32_t normal_memory = 1u << 19;
    TG_MPU_RNR = region;
    TG_MPU_RBAR = start;
    TG_MPU_RASR = (writable ? 1u << 28 | 1u << 24 : 5u << 24) | normal_memory | (30u - __builtin_clz(bytes)) << 1 | 1u;
}
#endif

/* Flash is read-only, RAM holds no code, and there is no other memory: the emulated machine has more of it, and takes
 * stores to flash.
 */
static void tg_protect_memory(void)
{
#if __ARM_ARCH >= 8
    TG_MPU_MAIR0 = 0x44;
#endif
#if __ARM_ARCH >= 7
    tg_allow(0, (uint32_t)tg_flash_start, (uint32_t)tg_flash_bytes, 0);
    tg_allow(1, (uint32_t)tg_ram_start, (uint32_t)tg_ram_bytes, 1);
    for (const uint32_t *region = tg_regions; region < tg_regions_end; region += 2) {
        tg_allow(TG_FREE_REGION + (uint32_t)(region - tg_regions) / 2, region[0], region[1], 1);
    }
    TG_MPU_CTRL = 1;
    __asm volatile("dsb\nisb" : : : "memory");
#endif
}

static void __attribute__((noinline, noreturn)) tg_start(void)
{
    memcpy(tg_data_start, tg_data_in_flash, (uint32_t)tg_data_bytes);
    memset(tg_bss_start, 0, (uint32_t)tg_bss_bytes);
    tg_protect_memory();
    tg_main();
    tg_exit(TG_EXIT_DONE);
}

/* Nothing here may touch a vector register: the FPU and MVE are off. */
static void __attribute__((noreturn)) tg_reset(void)
{
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
    TG_CPACR |= 0xFu << 20;
    __asm volatile("dsb\nisb" : : : "memory");
#endif
    tg_start();
}

typedef void (*tg_vector)(void);
__attribute__((section(".vectors"), used)) static const tg_vector tg_vectors[16] = {
    (tg_vector)tg_stack_top, tg_reset, tg_fault, tg_fault, tg_fault, tg_fault, tg_fault, tg_fault,
    tg_fault,                tg_fault, tg_fault, tg_fault, tg_fault, tg_fault, tg_fault, tg_fault,
};
