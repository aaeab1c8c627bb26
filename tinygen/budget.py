"""Weighs what a compiled model needs against what a board has."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tinygen.driver import Compiled
from tinygen.emit import AVR_REACH_BYTES
from tinygen.memory.plan import most_alive
from tinygen.target import Target

SHOWN = 5
"""Layers and tensors that are named."""


@dataclass(frozen=True)
class Need:
    """What a model takes on one core; code comes on top of the constants, the stack on top of the arena."""

    constant_bytes: int
    arena_bytes: int

    def fits(self, board: Target) -> bool:
        """Whether the board has the room, each in one piece."""
        return self.constant_bytes <= reachable_flash_bytes(board) and self.arena_bytes <= board.largest_ram_bytes


def reachable_flash_bytes(board: Target) -> int:
    """The largest piece of flash that constants may fill: on an AVR no more than 16-bit addresses reach."""
    reach = AVR_REACH_BYTES if "avr" in board.core.features else board.largest_flash_bytes
    return min(board.largest_flash_bytes, reach)


def need(compiled: Compiled) -> Need:
    """What `compiled` takes."""
    return Need(compiled.manifest["constant_bytes"], compiled.manifest["arena_bytes"])


@dataclass(frozen=True)
class Part:
    """A share of a memory."""

    name: str
    bytes: int


@dataclass(frozen=True)
class Budget:
    """What a model needs, the room in one piece that a board has, and what takes it."""

    board: str
    need: Need
    flash_bytes: int
    ram_bytes: int
    fits: bool
    layers: tuple[Part, ...]
    """The layers with most constants."""
    tensors: tuple[Part, ...]
    """The largest tensors at the moment that needs most RAM."""

    @property
    def remedies(self) -> tuple[str, ...]:
        """What can be done, one sentence each."""
        found = []
        if self.need.constant_bytes > self.flash_bytes:
            found.append("fewer or narrower layers, the ones with most constants first")
        if self.need.arena_bytes > self.ram_bytes:
            found.append("a smaller input, or fewer channels or an earlier stride where the largest tensors are")
        return (*found, "a larger board: `tinygen boards --fits MODEL` lists those that have the room") if found else ()

    def as_json(self) -> dict[str, Any]:
        """The same facts as plain data."""
        return {**asdict(self), "remedies": list(self.remedies)}


def weigh(compiled: Compiled, board: Target) -> Budget:
    """The budget of `compiled` on `board`."""
    needed = need(compiled)
    sizes = {data.symbol: data.data.nbytes for data in compiled.program.data}
    layers = [
        Part(call.comment.split(": ")[0], sum(sizes.get(argument, 0) for argument in call.arguments))
        for call in compiled.program.calls
    ]
    tensors = [
        Part(compiled.graph.tensors[buffer.tensors[0]].name, buffer.bytes)
        for buffer in most_alive(compiled.plan)
        if buffer.tensors
    ]
    return Budget(
        board.name,
        needed,
        reachable_flash_bytes(board),
        board.largest_ram_bytes,
        needed.fits(board),
        tuple(sorted(layers, key=lambda part: -part.bytes)[:SHOWN]),
        tuple(tensors[:SHOWN]),
    )
