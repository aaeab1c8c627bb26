"""Places every buffer in one arena so that no value is overwritten before it was read last."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from tinygen.ir import Graph
from tinygen.memory.bounds import Forbidden, Item, lower_bound
from tinygen.memory.lifetimes import Buffer, buffers
from tinygen.memory.offsets import place
from tinygen.memory.overlap import forbidden
from tinygen.memory.rows import Run
from tinygen.memory.views import Storage, storage
from tinygen.ops.spec import Kernel

Kernels = Sequence[Kernel | None]
"""The kernel of each node; None for a node without code."""
Placed = Sequence[tuple[Buffer, int]]


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
    """The step at which most bytes are needed, the earliest of equals; -1 is before the first node."""
    runs: tuple[Run, ...] = ()
    """The nodes that are computed row by row."""
    rows: Mapping[int, tuple[int, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """Tensor id -> the offset of each of its rows, for every tensor whose rows each have a place of their own."""


def plan(graph: Graph, kernels: Kernels, alignment_bytes: int = 4) -> Plan:
    """The smallest plan that a bounded search finds; the same graph always gets the same one.

    What is joined or cut along its outermost axis is not moved, unless a plan that moves it is smaller.
    """
    aliases = storage(graph, alignment_bytes, joined=False)
    joined = storage(graph, alignment_bytes)
    found = _plan(graph, kernels, joined, alignment_bytes)
    if joined.moved == aliases.moved:
        return found
    return min(found, _plan(graph, kernels, aliases, alignment_bytes), key=lambda plan: plan.arena_bytes)


def needed(graph: Graph, kernels: Kernels, alignment_bytes: int, step: int) -> int:
    """Bytes that every plan needs at one step."""
    wanted = buffers(graph, _scratch(kernels), storage(graph, alignment_bytes, joined=False))
    alive = [buffer for buffer in wanted if buffer.alive(step)]
    return lower_bound(_items(alive, alignment_bytes), forbidden(graph, kernels, alive))


def _busiest(wanted: Sequence[Buffer], items: Sequence[Item], limits: Forbidden) -> int:
    """The step at which most bytes are needed."""

    def need(step: int) -> int:
        alive = [i for i, buffer in enumerate(wanted) if buffer.alive(step)]
        pairs = ((a, b) for a, b in itertools.combinations(range(len(alive)), 2) if (alive[a], alive[b]) in limits)
        return lower_bound([items[i] for i in alive], {(a, b): limits[alive[a], alive[b]] for a, b in pairs})

    steps = sorted({part.first for buffer in wanted for part in buffer.parts})
    return max(steps, key=need, default=-1)


def _plan(graph: Graph, kernels: Kernels, places: Storage, alignment_bytes: int) -> Plan:
    called = [None if i in places.moved else kernel for i, kernel in enumerate(kernels)]
    wanted = buffers(graph, _scratch(called), places)
    items, limits = _items(wanted, alignment_bytes), forbidden(graph, called, wanted)
    found = place(items, limits)
    placed = list(zip(wanted, found.offsets, strict=True))
    return as_plan(placed, alignment_bytes, found.lower_bound, places.moved, _busiest(wanted, items, limits))


def _scratch(kernels: Kernels) -> list[int]:
    return [kernel.scratch_bytes if kernel else 0 for kernel in kernels]


def _items(wanted: Sequence[Buffer], alignment_bytes: int) -> list[Item]:
    return [Item(buffer.bytes, max(alignment_bytes, buffer.item_bytes)) for buffer in wanted]


def as_plan(placed: Placed, alignment_bytes: int, lower_bound: int, moved: frozenset[int], peak_step: int) -> Plan:
    """The plan that puts each buffer at its offset."""
    return Plan(
        MappingProxyType(
            {tensor: offset + part.offset for b, offset in placed for part in b.parts for tensor in part.tensors}
        ),
        MappingProxyType({b.scratch_of: offset for b, offset in placed if b.scratch_of is not None}),
        tuple(placed),
        max((offset + buffer.bytes for buffer, offset in placed), default=0),
        max([alignment_bytes, *(buffer.item_bytes for buffer, _ in placed)]),
        lower_bound,
        moved,
        peak_step,
    )
