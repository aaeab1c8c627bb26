"""Decodes RISC-V instructions, as objdump prints them, into steps."""

from __future__ import annotations

from tinygen.footprint.flow import RETURN, Step, place
from tinygen.footprint.listing import Instruction, Listing

LINK = "ra"


def decode(listing: Listing, address: int, instruction: Instruction) -> Step:
    """The effect of one instruction."""
    name, operands = instruction.mnemonic.removeprefix("c."), instruction.operands
    first, *others = (part.strip() for part in operands.split(","))
    if name in ("ret", "mret", "ebreak", "unimp"):
        return RETURN
    if name in ("jal", "jalr"):
        target = place(operands)
        return Step(indirect_call=True) if target is None else Step(calls=target)
    if name == "jr":
        # Of a switch, or a call that is the last thing its function does: code does not tell.
        return RETURN if first == LINK else Step(falls=False, computed=True, indirect_call=True)
    if first == "sp" and not name.startswith("s"):
        number = others[-1] if name.startswith("add") and others[:1] == ["sp"] else ""
        if not number.lstrip("-").isdigit():
            return Step(unclear=f"{name} {operands}")
        return Step(-int(number))
    target = place(operands) if name.startswith(("b", "j")) else None
    return Step(jumps=(target,), falls=name != "j") if target is not None else Step()
