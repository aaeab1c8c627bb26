"""Decodes AVR instructions, as objdump prints them, into steps."""

from __future__ import annotations

import re

from tinygen.footprint.flow import COMPUTED, RETURN, Decoder, Step
from tinygen.footprint.listing import Instruction, Listing

TARGET = re.compile(r"\.([+-]\d+)|(0x[0-9a-f]+|^0$)")
SKIPS = ("cpse", "sbrc", "sbrs", "sbic", "sbis")
SP_LOW, ZERO = "0x3d", "r1"
TABLE_JUMP = "__tablejump2__"
LOOKBACK_BYTES = 20
"""Between a change of the frame pointer, Y, and the instruction that makes it the stack pointer."""


def decoder(return_bytes: int) -> Decoder:
    """The decoder for a part whose calls put that many bytes on the stack: 3 with more than 128 kB of flash, else 2."""

    def decode(listing: Listing, address: int, instruction: Instruction) -> Step:
        name = instruction.mnemonic
        if name in ("call", "rcall"):
            target = _target(instruction)
            if target == instruction.following:  # a short way to make room
                return Step(return_bytes)
            return Step(calls=target, call_bytes=return_bytes)
        if name in ("icall", "eicall"):
            return Step(indirect_call=True, call_bytes=return_bytes)
        if name in ("jmp", "rjmp") and listing.labels.get(_target(instruction)) == TABLE_JUMP:
            return COMPUTED
        return _decode(listing, address, instruction)

    return decode


def _decode(listing: Listing, address: int, instruction: Instruction) -> Step:
    name = instruction.mnemonic
    if name in ("push", "pop"):
        return Step(1 if name == "push" else -1)
    if name in ("ret", "reti"):
        return RETURN
    if name in ("ijmp", "eijmp"):  # a switch goes by a function of the compiler's library, TABLE_JUMP
        return Step(falls=False, indirect_call=True)
    if name in SKIPS:
        following = listing.instructions.get(instruction.following)
        return Step(jumps=(following.following,) if following else ())
    if name in ("jmp", "rjmp"):
        return Step(falls=False, jumps=(_target(instruction),))
    if name.startswith("br") and name != "break":
        return Step(jumps=(_target(instruction),))
    if name == "out" and instruction.operands.startswith(SP_LOW):
        return _new_stack_pointer(listing, address, instruction)
    return Step()


def _target(instruction: Instruction) -> int:
    """Where a call or jump goes: relative to what follows it, or an address."""
    found = TARGET.search(instruction.operands)
    if found is None:
        return -1
    # A relative operand counts from the next word, and every such instruction is one word.
    return instruction.following + int(found[1]) if found[1] else int(found[2], 16)


def _new_stack_pointer(listing: Listing, address: int, instruction: Instruction) -> Step:
    """SP becomes Y, which the compiler's code keeps equal to SP but for the change of it just before."""
    high = None
    for at in range(address - 2, address - LOOKBACK_BYTES, -2):
        before = listing.instructions.get(at)
        if before is None or not before.operands.startswith(("r28", "r29")):
            continue
        number = before.operands.split(",")[-1].strip()
        if before.mnemonic in ("sbiw", "adiw"):
            return Step(int(number, 16) if before.mnemonic == "sbiw" else -int(number, 16))
        if before.mnemonic in ("sbci", "sbc"):
            high = 0 if number == ZERO else int(number, 16)
        elif before.mnemonic == "subi" and high is not None:
            size = high << 8 | int(number, 16)
            return Step(size - (1 << 16) if size >> 15 else size)
        elif before.mnemonic == "subi":  # of the low byte alone
            break
    return Step(unclear=f"out {instruction.operands}")
