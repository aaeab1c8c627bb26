"""Turns what lowering makes into one value: the program, as the templates print it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tinygen.ir import Array, Tensor
from tinygen.memory.plan import Plan

MAIN_REGION = "main"
"""What the part among the ordinary variables is called where it is not the first."""


@dataclass(frozen=True)
class Function:
    """A kernel function: a template with its numbers, shared by every layer that prints the same."""

    name: str
    template: str
    values: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Data:
    """A constant array."""

    symbol: str
    dtype: str
    data: Array
    comment: str
    plain: bool = False
    """Read by the model's user like any array, so never in a memory of its own (AVR's program memory)."""
    ram: bool = False
    """Copied to RAM at the start, like any variable with a value."""


@dataclass(frozen=True)
class Call:
    """One layer: a call of a kernel function."""

    layer: int
    function: str
    arguments: tuple[str, ...]
    comment: str
    outputs: tuple[int, ...]
    """Ids of the tensors that are complete after it."""


@dataclass(frozen=True)
class Stream:
    """Layers that are computed row by row: a function that makes their rows, each when it is needed."""

    function: str
    layers: tuple[Call, ...]
    """Each for row `y` of its output, with `arena` at hand."""
    order: str
    """The array that tells whose row is made, by the layer's place in `layers`; behind them comes a given row's."""
    events: int
    given: Given | None


@dataclass(frozen=True)
class Given:
    """An input that the caller gives row by row."""

    port: Port
    address: str
    """The C expression of where row `y` is kept."""
    row_bytes: int
    rows: int
    last_row_bytes: int


@dataclass(frozen=True)
class Piece:
    """Bytes of a tensor, and where they lie."""

    tensor: int
    start: int
    """The first of them in the tensor."""
    offset: int
    """In the arena."""
    bytes: int


@dataclass(frozen=True)
class Stop:
    """A moment of the inference that TG_LAYER_DONE shows: a part of a layer's outputs is complete."""

    layer: int
    pieces: tuple[Piece, ...]


@dataclass(frozen=True)
class Port:
    """An input or output of the model, with the shape that the file gives it."""

    symbol: str
    tensor: Tensor
    address: str
    """The C expression of its first element; none of an input that is given row by row."""


@dataclass(frozen=True)
class ArenaArray:
    """The array of the arena, or of a part of it; `region` is empty where ordinary variables lie."""

    symbol: str
    region: str
    start: int
    """How its first byte counts among the offsets of the plan."""
    bytes: int


@dataclass(frozen=True)
class Program:
    """All that the templates print."""

    name: str
    functions: tuple[Function, ...]
    data: tuple[Data, ...]
    calls: tuple[Call, ...]
    """Every layer."""
    steps: tuple[Call | Stream, ...]
    """What the inference does."""
    stops: tuple[Stop, ...]
    """In the order of the inference."""
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    plan: Plan
    macs: int

    @property
    def arenas(self) -> tuple[ArenaArray, ...]:
        """The arrays that the arena is made of."""
        return arenas(self.plan, self.name)

    def arena_at(self, offset: int) -> tuple[ArenaArray, int]:
        """The array that has the byte at an offset of the plan, and which byte of it that is."""
        return arena_at(self.arenas, offset)

    @property
    def entry(self) -> str:
        """The function that computes."""
        return f"{self.name}_feed" if self.fed else f"{self.name}_invoke"

    @property
    def accessors(self) -> tuple[str, ...]:
        """The functions that tell where inputs and outputs lie; an input that is given row by row has none."""
        return tuple(port.symbol for port in (*(() if self.fed else self.inputs), *self.outputs))

    @property
    def streams(self) -> tuple[Stream, ...]:
        """The layers that are computed row by row."""
        return tuple(step for step in self.steps if isinstance(step, Stream))

    @property
    def passes(self) -> tuple[Stream, ...]:
        """What takes the input row by row, where the caller gives it so: one after another, each all its rows."""
        return tuple(stream for stream in self.streams if stream.given)

    @property
    def fed(self) -> Stream | None:
        """The first of them."""
        return next(iter(self.passes), None)


def identifier(text: str) -> str:
    """`text` as a C identifier in lower case, outside the runtime's own `tg_` names."""
    name = re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_") or "model"
    return name if name[0].isalpha() and name.split("_")[0] != "tg" else f"m_{name}"


def arenas(plan: Plan, name: str) -> tuple[ArenaArray, ...]:
    """The arrays of a plan's arena: NAME_arena, and NAME_arena_REGION for each further part."""
    if not plan.parts:
        return (ArenaArray(f"{name}_arena", "", 0, plan.arena_bytes),)
    first, *others = plan.parts
    found = [ArenaArray(f"{name}_arena", first.region, first.start, first.bytes)]
    found += [ArenaArray(f"{name}_arena_{p.region or MAIN_REGION}", p.region, p.start, p.bytes) for p in others]
    return tuple(found)


def arena_at(arrays: Sequence[ArenaArray], offset: int) -> tuple[ArenaArray, int]:
    """The one of an arena's arrays that has the byte at an offset of the plan, and which byte of it that is."""
    array = next(array for array in reversed(arrays) if array.start <= offset)
    return array, offset - array.start
