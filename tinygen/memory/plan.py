"""Places every buffer in one arena so that no value is overwritten before it was read last."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from tinygen.ir import Graph
from tinygen.memory.bounds import Item, lower_bound
from tinygen.memory.lifetimes import Buffer, buffers
from tinygen.memory.moments import least_bytes
from tinygen.memory.offsets import place
from tinygen.memory.overlap import forbidden
from tinygen.memory.rows import Priced, Run
from tinygen.memory.schedule import BEFORE, schedule
from tinygen.memory.views import Storage, storage
from tinygen.ops.spec import Kernel, Rows

Kernels = Sequence[Kernel | None]
"""The kernel of each node; None for a node without code."""
Placed = Sequence[tuple[Buffer, int]]


@dataclass(frozen=True)
class ArenaPart:
    """A piece of the arena in a region of RAM; the one for ordinary variables has no name."""

    region: str
    start: int
    bytes: int


@dataclass(frozen=True)
class Plan:
    """Byte offsets into one arena."""

    tensors: Mapping[int, int]
    """Tensor id -> offset, for every tensor that is computed or given."""
    scratch: Mapping[int, int]
    """Node index -> offset of its scratch."""
    buffers: tuple[tuple[Buffer, int], ...]
    """Each buffer with its offset."""
    arena_bytes: int
    alignment_bytes: int
    lower_bound: int
    """Bytes that every plan needs for these kernels in this order."""
    moved: frozenset[int]
    """Indices of the nodes that need no call: what they would move is in its place already."""
    peak_step: int
    """The moment at which most bytes are needed, the earliest of equals; -1 is before the first."""
    nodes: tuple[int, ...] = ()
    """The node at work at each moment."""
    runs: tuple[Run, ...] = ()
    """The nodes that are computed row by row."""
    priced: tuple[Priced, ...] = ()
    """These runs with what each brings and takes."""
    cycles: float = 0
    """About what an inference takes without runs, by the model of `priced`."""
    rows: Mapping[int, tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Tensor id -> the offset of each of its rows, for every tensor whose rows each have a place of their own."""
    parts: tuple[ArenaPart, ...] = ()
    """Where the arena lies in several pieces, or not among the ordinary variables; no buffer lies in two of them."""


def plan(
    graph: Graph,
    kernels: Kernels,
    alignment_bytes: int = 4,
    rows: Sequence[Rows | None] = (),
    runs: Sequence[Run] = (),
    below: float = math.inf,
) -> Plan:
    """The smallest plan that a bounded search finds; the same graph always gets the same one.

    What is joined or cut along its outermost axis is not moved, unless a plan that moves it is smaller. The nodes of
    `runs` are computed row by row, by these `rows`. A plan of `below` bytes or more need not be the smallest.
    """
    fixed = frozenset(t for run in runs for t in (*run.read, *run.loose, graph.nodes[run.last].outputs[0]))
    aliases = storage(graph, alignment_bytes, joined=False)
    joined = storage(graph, alignment_bytes, fixed=fixed)
    found = _plan(graph, kernels, rows, runs, joined, alignment_bytes, below)
    if joined.moved == aliases.moved:
        return found
    other = _plan(graph, kernels, rows, runs, aliases, alignment_bytes, min(below, found.arena_bytes))
    return min(found, other, key=lambda plan: plan.arena_bytes)


def needed(graph: Graph, kernels: Kernels, alignment_bytes: int, step: int) -> int:
    """Bytes that every plan needs at one step."""
    planned = schedule(graph, kernels)
    wanted = buffers(graph, planned, storage(graph, alignment_bytes, joined=False))
    alive = [buffer for buffer in wanted if buffer.alive(step)]
    return lower_bound(_items(alive, alignment_bytes), forbidden(graph, planned, alive))


def _plan(
    graph: Graph,
    kernels: Kernels,
    rows: Sequence[Rows | None],
    runs: Sequence[Run],
    places: Storage,
    alignment_bytes: int,
    below: float,
) -> Plan:
    called = [None if i in places.moved else kernel for i, kernel in enumerate(kernels)]
    planned = schedule(graph, called, rows, runs)
    wanted = buffers(graph, planned, places)
    items, limits = _items(wanted, alignment_bytes), forbidden(graph, planned, wanted)
    live = least_bytes(graph, planned, wanted)
    found = place(items, limits, _orders(wanted), below, int(live.max()))
    placed = list(zip(wanted, found.offsets, strict=True))
    made = as_plan(placed, alignment_bytes, found.lower_bound, places.moved, BEFORE + int(live.argmax()))
    return replace(made, runs=tuple(runs), nodes=tuple(moment.node for moment in planned.moments))


def _orders(wanted: Sequence[Buffer]) -> list[list[int]]:
    """The order in which buffers begin to be needed, that in which they end from behind.

    Both also by size first; and where there are rows, those first behind the scratch that nodes share: they take turns
    in a few places, and what stays long lies beyond them.
    """
    begin = sorted(range(len(wanted)), key=lambda i: (wanted[i].first, -wanted[i].bytes, i))
    end = sorted(range(len(wanted)), key=lambda i: (-wanted[i].last, -wanted[i].bytes, i))
    found = [order for times in (begin, end) for order in (sorted(times, key=lambda i: -wanted[i].bytes), times)]
    if any(map(_is_row, wanted)):
        found += [
            sorted(times, key=lambda i: (len(wanted[i].scratch_of) < 2, not _is_row(wanted[i])))
            for times in (begin, end)
        ]
    return found


def _is_row(buffer: Buffer) -> bool:
    """Whether it is a row that has a place of its own."""
    return buffer.whole is None and buffer.parts[0].row is not None


def _items(wanted: Sequence[Buffer], alignment_bytes: int) -> list[Item]:
    return [Item(buffer.bytes, max(alignment_bytes, buffer.item_bytes)) for buffer in wanted]


def as_plan(placed: Placed, alignment_bytes: int, lower_bound: int, moved: frozenset[int], peak_step: int) -> Plan:
    """The plan that puts each buffer at its offset."""
    return Plan(
        MappingProxyType({t: offset + start for b, offset in placed for t, start in _starts(b)}),
        MappingProxyType({node: offset for b, offset in placed for node in b.scratch_of}),
        tuple(placed),
        max((offset + buffer.bytes for buffer, offset in placed), default=0),
        max([alignment_bytes, *(buffer.item_bytes for buffer, _ in placed)]),
        lower_bound,
        moved,
        peak_step,
        rows=MappingProxyType(_rows(placed)),
    )


def _starts(buffer: Buffer) -> Iterator[tuple[int, int]]:
    """Each tensor of a buffer, and where it begins in it."""
    for part in (buffer.whole,) if buffer.whole else buffer.parts:
        if part.row is None:
            yield from ((tensor, part.offset) for tensor in part.tensors)


def _rows(placed: Placed) -> dict[int, tuple[int, ...]]:
    """The tensors whose rows each have a place, and these places."""
    found: dict[int, dict[int, int]] = {}
    for buffer, offset in placed:
        row = buffer.parts[0].row
        if row is not None and _is_row(buffer):
            found.setdefault(buffer.tensors[0], {})[row] = offset
    return {tensor: tuple(places[row] for row in range(len(places))) for tensor, places in found.items()}
