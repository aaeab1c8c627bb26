"""Places every buffer in one arena so that those needed at one moment share no byte."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tinygen.ir import Graph
from tinygen.memory.lifetimes import Buffer, buffers

ATTEMPTS = 300
"""Orders tried by the search, fewer when one meets the lower bound."""

Placed = list[tuple[Buffer, int]]


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


def plan(graph: Graph, scratch_bytes: Sequence[int], alignment_bytes: int = 4) -> Plan:
    """The smallest plan that a bounded search finds; the same graph always gets the same one."""
    wanted = buffers(graph, scratch_bytes)
    return as_plan(_search(wanted, alignment_bytes), alignment_bytes)


def as_plan(placed: Placed, alignment_bytes: int) -> Plan:
    """The plan that puts each buffer at its offset."""
    return Plan(
        MappingProxyType({tensor: offset for buffer, offset in placed for tensor in buffer.tensors}),
        MappingProxyType({b.scratch_of: offset for b, offset in placed if b.scratch_of is not None}),
        tuple(placed),
        _end(placed),
        max([alignment_bytes, *(buffer.item_bytes for buffer, _ in placed)]),
    )


def lower_bound(wanted: Sequence[Buffer]) -> int:
    """Most bytes alive at one moment: no plan needs less."""
    steps = {buffer.first for buffer in wanted}
    return max((sum(b.bytes for b in wanted if b.first <= step <= b.last) for step in steps), default=0)


def busiest_step(wanted: Sequence[Buffer]) -> int:
    """The step at which most bytes are alive, the earliest of equals; -1 is before the first node."""
    steps = sorted({buffer.first for buffer in wanted})
    return max(steps, key=lambda step: sum(b.bytes for b in wanted if b.first <= step <= b.last), default=-1)


def peak_step(plan: Plan) -> int:
    """The step at which most bytes are alive under `plan`."""
    return busiest_step([buffer for buffer, _ in plan.buffers])


def most_alive(plan: Plan) -> list[Buffer]:
    """The buffers that are alive at `peak_step`, largest first."""
    step = peak_step(plan)
    alive = [buffer for buffer, _ in plan.buffers if buffer.first <= step <= buffer.last]
    return sorted(alive, key=lambda buffer: (-buffer.bytes, buffer.tensors))


def _search(wanted: Sequence[Buffer], alignment: int) -> Placed:
    """First-fit in several orders: by size, by time, then the best so far with one buffer moved to the front.

    Moving a buffer that ends highest to the front lets it choose its place first, as in hill climbing over orders.
    """
    goal = lower_bound(wanted)
    orders = [
        sorted(wanted, key=lambda b: (-b.bytes, b.first, b.tensors)),
        sorted(wanted, key=lambda b: (b.first, -b.bytes, b.tensors)),
        sorted(wanted, key=lambda b: (-(b.last - b.first), -b.bytes, b.tensors)),
    ]
    best = min((_place(order, alignment) for order in orders), key=_end)
    chance = random.Random(0)  # seeded: the same input gives the same bytes
    order = [buffer for buffer, _ in best]
    for _ in range(ATTEMPTS):
        if _end(best) <= goal:
            break
        highest = [i for i, (b, offset) in enumerate(best) if offset + b.bytes == _end(best)]
        moved = chance.choice(highest) if chance.random() < 0.5 else chance.randrange(len(order))
        target = chance.randrange(moved + 1)
        changed = [*order[:target], order[moved], *order[target:moved], *order[moved + 1 :]]
        placed = _place(changed, alignment)
        if _end(placed) <= _end(best):
            best, order = placed, changed
    return best


def _end(placed: Placed) -> int:
    return max((offset + buffer.bytes for buffer, offset in placed), default=0)


def _place(order: Sequence[Buffer], alignment: int) -> Placed:
    placed: Placed = []
    for buffer in order:
        placed.append((buffer, _fit(buffer, placed, max(alignment, buffer.item_bytes))))
    return placed


def _fit(buffer: Buffer, placed: Placed, alignment: int) -> int:
    """The offset of the smallest gap that holds the buffer, or of the end of the last one."""
    taken = sorted((offset, offset + other.bytes) for other, offset in placed if other.overlaps(buffer))
    best, best_gap, free = -1, -1, 0
    for start, end in taken:
        gap = start - free
        if gap >= buffer.bytes and (best < 0 or gap < best_gap):
            best, best_gap = free, gap
        free = max(free, -(-end // alignment) * alignment)
    return best if best >= 0 else free
