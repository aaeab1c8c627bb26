"""Turns buffers into the bytes that each moment needs: no arena can be smaller."""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import pairwise

import numpy as np

from tinygen.ir import Array, Graph
from tinygen.memory.bounds import Intervals, Item, most_shared
from tinygen.memory.lifetimes import Buffer, Part
from tinygen.memory.overlap import between, seen
from tinygen.memory.schedule import Schedule

Parts = dict[int, list[tuple[int, Part]]]
"""Moment -> parts, each with the number of its buffer."""


def least_bytes(graph: Graph, planned: Schedule, wanted: Sequence[Buffer]) -> Array:
    """[moments + 2]: from before the first moment to behind the last; what may be shared at a moment counts once."""
    change = np.zeros(len(planned.moments) + 3, np.int64)
    dying: Parts = {}
    born: Parts = {}
    for number, buffer in enumerate(wanted):
        for size, first, last in _held(buffer):
            change[first + 1] += size
            change[last + 2] -= size
        for part in buffer.parts:
            dying.setdefault(part.last, []).append((number, part))
            born.setdefault(part.first, []).append((number, part))
    live: Array = np.cumsum(change)[:-1]
    for moment in born.keys() & dying.keys():
        live[moment + 1] -= _shared(graph, planned, wanted, dying[moment], born[moment])
    return live


def _held(buffer: Buffer) -> Iterator[tuple[int, int, int]]:
    """How many bytes hold a value from which moment to which; those that two parts share count once."""
    parts = sorted(buffer.parts, key=lambda part: part.offset)
    if buffer.scratch_of or all(one.offset + one.bytes <= next.offset for one, next in pairwise(parts)):
        yield from ((part.bytes, part.first, part.last) for part in parts)
        return
    changes = sorted({*(part.first for part in parts), *(part.last + 1 for part in parts)})
    for first, behind in pairwise(changes):
        yield covered((p.offset, p.offset + p.bytes) for p in parts if p.first <= first <= p.last), first, behind - 1


def _shared(
    graph: Graph,
    planned: Schedule,
    wanted: Sequence[Buffer],
    dying: Collection[tuple[int, Part]],
    born: Collection[tuple[int, Part]],
) -> int:
    """The most bytes that what dies at a moment shares with what is born then."""
    shares: dict[tuple[int, Part], int] = {}
    pairs = {
        (seen(wanted[a], p, wanted[b]), (b, seen(wanted[b], q, wanted[a]))) for a, p in dying for b, q in born if a != b
    }
    for p, (b, q) in pairs:
        shift = p.offset - q.offset
        apart = tuple((low - shift, high - shift) for low, high in between(graph, planned, p, q))
        shares[b, q] = shares.get((b, q), 0) + _most_shared(p.bytes, q.bytes, apart)
    return sum(min(q.bytes, most) for (_, q), most in shares.items())


@functools.cache
def _most_shared(one_bytes: int, other_bytes: int, apart: Intervals) -> int:
    return most_shared(0, 1, [Item(one_bytes), Item(other_bytes)], {(0, 1): apart})


def covered(spans: Iterable[tuple[int, int]]) -> int:
    """Bytes in at least one of the spans."""
    total = end = 0
    for start, stop in sorted(spans):
        total += max(0, stop - max(start, end))
        end = max(end, stop)
    return total
