"""Proves how deep the stack of a program can get, from its instructions: every path, every call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinygen.footprint.flow import Decoder, Step
from tinygen.footprint.listing import Listing

MOST_BYTES = 1 << 17
"""No stack is as large: what gets here mostly grows in a loop."""
PADDING = ("nop", "nop.w")


@dataclass(frozen=True)
class Bound:
    """The most bytes of stack that a piece of code takes; None when that cannot be known, and `why`."""

    bytes: int | None
    why: str = ""

    def plus(self, more: int) -> Bound:
        """The bound of what takes that many bytes more."""
        return self if self.bytes is None else Bound(self.bytes + more)


def largest(bounds: Sequence[Bound]) -> Bound:
    """What holds for each of them."""
    unknown = next((bound for bound in bounds if bound.bytes is None), None)
    return unknown or Bound(max((bound.bytes or 0 for bound in bounds), default=0))


class StackWalker:
    """Follows the instructions of a program; `pointers` are all functions that a call through a pointer may reach.

    A path's depth only grows with what is put on the stack, so an instruction is looked at again whenever it is reached
    deeper than before; that ends, or the depth grows without end and there is no bound. A jump to a computed place is
    one to any instruction of its function that no other path reaches: compilers make it from a switch, within which the
    depth is the same everywhere.
    """

    def __init__(self, listing: Listing, decode: Decoder, pointers: Sequence[int]) -> None:
        self._listing, self._decode, self._pointers = listing, decode, pointers
        self._found: dict[int, Bound | None] = {}

    def bound(self, entry: int) -> Bound:
        """The bound of the function at that address, the return address that its caller pushes not counted."""
        if entry not in self._found:
            self._found[entry] = None
            self._found[entry] = self._walk(entry)
        return self._found[entry] or Bound(None, f"{self._name(entry)} calls itself")

    def _name(self, address: int) -> str:
        return self._listing.function(address)[0]

    def _walk(self, entry: int) -> Bound:
        seen: dict[int, int] = {}
        computed: dict[int, int] = {}
        pending = [(entry, 0)]
        deepest = 0
        while pending or (pending := self._unreached(computed, seen)):
            address, depth = pending.pop()
            if address in seen and seen[address] >= depth:
                continue
            seen[address] = depth
            instruction = self._listing.code(address)
            if instruction is None:
                return Bound(None, f"{self._name(entry)} goes on at {address:#x}, where there is no code")
            step = self._decode(self._listing, address, instruction)
            reached = self._reached(step, address, depth)
            if reached.bytes is None:
                return reached
            if reached.bytes > MOST_BYTES:
                return Bound(
                    None, f"{self._name(entry)} takes more than {MOST_BYTES} bytes, or more with each round of a loop"
                )
            deepest = max(deepest, reached.bytes)
            after = depth + max(step.push, 0 if step.conditional else step.push)
            pending += [(target, after) for target in step.jumps]
            if step.falls and not self._ends_with_call(step, instruction.following):
                pending.append((instruction.following, after))
            if step.computed:
                computed[address] = depth
        return Bound(deepest)

    def _reached(self, step: Step, address: int, depth: int) -> Bound:
        """The depth while the instruction and what it calls run."""
        if step.unclear:
            return Bound(None, f"{self._name(address)} has {step.unclear}")
        if step.indirect_call:
            if not self._pointers and not step.computed:
                return Bound(None, f"{self._name(address)} calls through a pointer")
            return largest([Bound(0), *map(self.bound, self._pointers)]).plus(depth + step.call_bytes)
        if step.calls is None:
            return Bound(depth + max(step.push, 0))
        return self.bound(step.calls).plus(depth + step.call_bytes)

    def _ends_with_call(self, step: Step, following: int) -> bool:
        """Whether a call is the last of its function: what it calls does not return."""
        if step.calls is None:
            return False
        return following in self._listing.labels or self._listing.code(following) is None

    def _unreached(self, computed: Mapping[int, int], seen: Mapping[int, int]) -> list[tuple[int, int]]:
        """The first instruction that no path reached so far of a function with a jump to a computed place."""
        for jump, depth in computed.items():
            for address in self._listing.function(jump)[1]:
                instruction = self._listing.code(address)
                if instruction and address not in seen and instruction.mnemonic not in PADDING:
                    return [(address, depth)]
        return []
