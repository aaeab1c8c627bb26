"""The record of what a replayed inference took."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinygen.program import Program

PAINT = 0xA5
"""What the stack is filled with, to see how much of it an inference used."""


@dataclass(frozen=True)
class Counts:
    """What a layer took; None is what the emulator does not tell.

    `cycles` are without wait states. Reads from flash are of data: `constant_read_bytes` of weights and tables,
    `literal_read_bytes` of the constants between the instructions. `stall_cycles` and `unaided_stall_cycles` are those
    of a flash with wait states, where the next line is fetched ahead and where it is not.
    """

    instructions: int
    cycles: int | None = None
    constant_read_bytes: int | None = None
    literal_read_bytes: int | None = None
    stall_cycles: int | None = None
    unaided_stall_cycles: int | None = None

    def __add__(self, other: Counts) -> Counts:
        return Counts(
            self.instructions + other.instructions,
            _sum(self.cycles, other.cycles),
            _sum(self.constant_read_bytes, other.constant_read_bytes),
            _sum(self.literal_read_bytes, other.literal_read_bytes),
            _sum(self.stall_cycles, other.stall_cycles),
            _sum(self.unaided_stall_cycles, other.unaided_stall_cycles),
        )


@dataclass(frozen=True)
class Replay:
    """One inference: each layer, its outputs' bytes, and how deep its stack got."""

    layers: tuple[Counts, ...]
    outputs: tuple[bytes, ...]
    stack_bytes: int


def _sum(a: int | None, b: int | None) -> int | None:
    return None if a is None or b is None else a + b


def by_layer(program: Program, parts: Sequence[Counts], rest: Counts) -> tuple[Counts, ...]:
    """What each layer took, from what led up to each stop; the last stop also has the rest of the inference."""
    if not parts:
        return ()
    found: dict[int, Counts] = {}
    for stop, counts in zip(program.stops, (*parts[:-1], parts[-1] + rest), strict=True):
        found[stop.layer] = found[stop.layer] + counts if stop.layer in found else counts
    return tuple(found[call.layer] for call in program.calls)


def painted(stack: bytes) -> int:
    """How many bytes of a stack from its lowest address on are still as they were filled."""
    return len(stack) - len(stack.lstrip(bytes([PAINT])))
