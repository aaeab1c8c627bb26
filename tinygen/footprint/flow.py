"""What one instruction does to the stack and where the program goes on, said the same way for every processor."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from tinygen.footprint.listing import Instruction, Listing

PLACE = re.compile(r"(?:^|[\s,])(?:0x)?([0-9a-f]+) <([^>]+)>")


@dataclass(frozen=True)
class Step:
    """The effect of one instruction.

    `push` bytes are put on the stack, or taken from it when negative; where the instruction is `conditional` they may
    not be. The program goes on at the next instruction if it `falls`, and at `jumps`; `computed` is a jump to a place
    that is found when the program runs, as in the table of a switch. `calls` is a function that returns, with
    `call_bytes` of stack for its return address; `indirect_call` is a call of one that a pointer says,
    or a jump to it. `unclear` says why all this is not known.
    """

    push: int = 0
    conditional: bool = False
    falls: bool = True
    jumps: tuple[int, ...] = ()
    computed: bool = False
    calls: int | None = None
    call_bytes: int = 0
    indirect_call: bool = False
    unclear: str = ""


Decoder = Callable[[Listing, int, Instruction], Step]
"""The effect of the instruction at that address of the listing."""
RETURN = Step(falls=False)
COMPUTED = Step(falls=False, computed=True)


def place(operands: str) -> int | None:
    """The address of code that the operands name, as in `1c <function+0x8>`."""
    found = PLACE.search(operands)
    return int(found[1], 16) if found else None
