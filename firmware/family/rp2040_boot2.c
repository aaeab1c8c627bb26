/* The second stage of the RP2040's boot. The boot ROM copies the first 256 bytes of flash into RAM and runs them when their
 * last word is the CRC-32 of the others (RP2040 Datasheet, 2.8.1.3). They make flash readable as memory, with the plain
 * read command that all chips know, and start the program whose vectors follow them. The words are this code:
 */
#ifndef ARDUINO

#include <stdint.h>

/*
            .syntax unified
            .cpu cortex-m0plus
            .thumb
            ldr     r0, ssi
            movs    r1, #0
            str     r1, [r0, #0x08]     @ SSIENR: off, or nothing can be set
            movs    r2, #2
            str     r2, [r0, #0x14]     @ BAUDR: clk_sys / 2
            ldr     r2, ctrlr0
            str     r2, [r0, #0x00]     @ CTRLR0: send command and address, then read 32 bits, on one wire
            str     r1, [r0, #0x04]     @ CTRLR1: one word a read
            ldr     r2, spi_ctrlr0
            movs    r3, #0xF4
            str     r2, [r0, r3]        @ SPI_CTRLR0: command 03h of 8 bits, 24 bits of address
            movs    r1, #1
            str     r1, [r0, #0x08]     @ SSIENR: on; flash is memory from here on
            ldr     r0, vectors
            ldr     r1, vtor
            str     r0, [r1]
            ldmia   r0, {r0, r1}        @ stack pointer and reset handler
            msr     msp, r0
            bx      r1
            .balign 4
ssi:        .word   0x18000000
ctrlr0:     .word   0x001F0300
spi_ctrlr0: .word   0x03000218
vectors:    .word   0x10000100
vtor:       .word   0xE000ED08
*/
extern const uint32_t tg_boot2[64];
__attribute__((section(".boot2"), used)) const uint32_t tg_boot2[64] = {
    0x21004809, 0x22026081, 0x4A086142, 0x60416002, 0x23F44A07, 0x210150C2, 0x48066081, 0x60084906,
    0xF380C803, 0x47088808, 0x18000000, 0x001F0300, 0x03000218, 0x10000100, 0xE000ED08, [63] = 0x65DB332E,
};

#endif
