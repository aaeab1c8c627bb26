"""Decodes Thumb instructions of Cortex-M processors, as objdump prints them, into steps."""

from __future__ import annotations

import re
from dataclasses import replace

from tinygen.footprint.flow import COMPUTED, RETURN, Step, place
from tinygen.footprint.listing import Instruction, Listing

CONDITIONS = ("eq", "ne", "cs", "cc", "hs", "lo", "mi", "pl", "vs", "vc", "hi", "ls", "ge", "lt", "gt", "le")
STACK_OPERATIONS = ("push", "pop", "vpush", "vpop", "stmdb", "stmia", "ldmia", "vstmdb", "vldmia")
BASES = (*STACK_OPERATIONS, "add", "addw", "sub", "subw", "mov", "b", "bl", "blx", "bx", "ldr", "ldrd", "str", "strd")
REGISTERS = re.compile(r"\{([^}]*)\}")
WRITE_BACK = re.compile(r"\[sp, #(-?\d+)\]!|\[sp\], #(-?\d+)")
BYTES = {"r": 4, "s": 4, "d": 8, "q": 16}
WORD, VENEER = ".word", "_veneer"
COMPARES = ("cmp", "cmn", "tst", "teq")


def decode(listing: Listing, address: int, instruction: Instruction) -> Step:
    """The effect of one instruction."""
    if listing.labels.get(address, "").endswith(VENEER):
        return Step(falls=False, unclear="a veneer of the linker")
    base, conditional = _base(instruction.mnemonic)
    step = _unconditional(listing, address, base, instruction.operands)
    if not conditional:
        return step
    return replace(step, conditional=True, falls=True)


def _base(mnemonic: str) -> tuple[str, bool]:
    """The mnemonic without width and condition, and whether it had a condition."""
    name = mnemonic.removesuffix(".n").removesuffix(".w")
    if name in BASES:
        return name, False
    if name[-2:] in CONDITIONS and name[:-2] in BASES:
        return name[:-2], True
    return name, False


def _unconditional(listing: Listing, address: int, base: str, operands: str) -> Step:
    if base in ("bl", "blx"):
        target = place(operands)
        if target is None:
            return Step(indirect_call=True)
        if listing.labels.get(target, "").startswith("__gnu_thumb1_case"):
            return COMPUTED  # it goes on at a place in the table behind the call
        return Step(calls=target)
    if base == "bx":
        return RETURN if operands == "lr" else Step(falls=False, indirect_call=True)
    if base.startswith(("tbb", "tbh")):
        return COMPUTED
    if base == "udf":
        return RETURN
    if base in STACK_OPERATIONS:
        return _stack_operation(base, operands)
    return _other(listing, address, base, operands)


def _other(listing: Listing, address: int, base: str, operands: str) -> Step:
    first = operands.split(",")[0].strip()
    moved = WRITE_BACK.search(operands)
    if moved:
        return Step(-int(moved[1] or moved[2]), falls=first != "pc")
    if first == "pc":
        return RETURN if operands in ("pc, lr", "pc, ip, lr") else COMPUTED
    if first == "sp" and base in ("add", "addw", "sub", "subw"):
        amount = _amount(listing, address, operands)
        if amount is None:
            return Step(unclear=f"{base} {operands}")
        return Step(amount if base.startswith("sub") else -amount)
    if first == "sp" and not base.startswith((*COMPARES, "str")):
        return Step(unclear=f"{base} {operands}")
    target = None if base.startswith(("ldr", "vldr", "adr", "pld")) else place(operands)
    if target is None:
        return Step()
    return Step(jumps=(target,), falls=base != "b")


def _stack_operation(base: str, operands: str) -> Step:
    if not base.endswith(("push", "pop")) and not operands.startswith("sp!"):
        # A load of several registers; pc among them is a return through a frame of its own.
        return COMPUTED if "pc" in operands else Step()
    listed = REGISTERS.search(operands)
    size = sum(map(_bytes, listed[1].split(","))) if listed else 0
    down = base.endswith(("push", "db"))
    returns = not down and "pc" in operands
    return Step(size if down else -size, falls=not returns)


def _bytes(item: str) -> int:
    """The bytes of a register, or of a range as in d8-d15."""
    first, _, last = item.strip().partition("-")
    count = int(last[1:]) - int(first[1:]) + 1 if last else 1
    return count * BYTES.get(first[0] if first[1:].isdigit() else "r", 4)


def _amount(listing: Listing, address: int, operands: str) -> int | None:
    """By how much sp changes: a number, or a register that was just loaded with one."""
    last = operands.split(",")[-1].strip()
    if last.startswith("#"):
        return int(last[1:], 0)
    before = [(at, listing.instructions[at]) for at in sorted(listing.instructions) if address - 32 <= at < address]
    for at, instruction in reversed(before):
        if instruction.operands.split(",")[0] != last:
            continue
        if instruction.mnemonic.startswith("ldr") and "[pc" in instruction.operands:
            return _literal(listing, at, instruction.operands)
        break
    return None


def _literal(listing: Listing, address: int, operands: str) -> int | None:
    """The word that a load relative to pc reads, as a signed number."""
    offset = int(operands.split("#")[1].rstrip("]"), 0)
    word = listing.instructions.get((address + 4) // 4 * 4 + offset)
    if word is None or word.mnemonic != WORD:
        return None
    value = int(word.operands, 16)
    return value - (1 << 32) if value >> 31 else value
