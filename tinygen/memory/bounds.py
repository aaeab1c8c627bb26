"""Bounds from below how small an arena can be: what must coexist takes its bytes, less those that may be shared."""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

Intervals = tuple[tuple[int, int], ...]
"""Half-open, sorted, apart from each other."""
Forbidden = Mapping[tuple[int, int], Intervals]
"""(a, b) -> the values that offset b - offset a must not take; a pair that is not there may lie anyhow."""


@dataclass(frozen=True)
class Item:
    """Bytes that need a place."""

    bytes: int
    alignment: int = 1
    """A power of two."""


def apart(first: Item, second: Item) -> Intervals:
    """The distances from `first` to `second` at which they share a byte."""
    return ((1 - second.bytes, first.bytes),) if first.bytes or second.bytes else ()


def lower_bound(items: Sequence[Item], forbidden: Forbidden) -> int:
    """Bytes that every arena needs, by the cliques of items that restrict each other."""
    largest = max((item.bytes for item in items), default=0)
    found = [
        (sum(-(-items[i].bytes // items[i].alignment) * items[i].alignment for i in c), c)
        for c in cliques(len(items), forbidden)
    ]
    for total, clique in sorted(found, reverse=True):
        if total <= largest:
            break
        largest = max(largest, _needed(clique, items, forbidden))
    return largest


def cliques(count: int, forbidden: Forbidden) -> Iterator[list[int]]:
    """Sets of items that all restrict each other; every maximal one where lifetimes are intervals (chordal graphs).

    Items are taken in the order of maximum cardinality search: with each one go its neighbours taken before it.
    """
    neighbours: list[set[int]] = [set() for _ in range(count)]
    for (a, b), intervals in forbidden.items():
        if intervals:
            neighbours[a].add(b)
            neighbours[b].add(a)
    rank: dict[int, int] = {}
    seen = [0] * count
    next_ones = [(0, item) for item in range(count)]
    while next_ones:
        minus_seen, item = heapq.heappop(next_ones)
        if item in rank or -minus_seen < seen[item]:
            continue
        clique = [item]
        for other in sorted((n for n in neighbours[item] if n in rank), key=lambda n: -rank[n]):
            if neighbours[other].issuperset(clique):
                clique.append(other)
        rank[item] = len(rank)
        for other in neighbours[item]:
            if other not in rank:
                seen[other] += 1
                heapq.heappush(next_ones, (-seen[other], other))
        yield clique


def _needed(clique: Sequence[int], items: Sequence[Item], forbidden: Forbidden) -> int:
    """Bytes that items of a clique take together.

    Counted in cells of the least alignment: two items that share no byte share no cell, as each begins with one. Only
    the last cell may be left unfilled.
    """
    cell = min(items[i].alignment for i in clique)
    cells = {i: -(-items[i].bytes // cell) for i in clique}
    shared: dict[tuple[int, int], int] = {}
    for number, a in enumerate(clique):
        for b in clique[:number]:
            most = most_shared(a, b, items, forbidden, cell)
            if most:
                shared[a, b] = most
    total = sum(_union(group, cells, shared) for group in _groups(clique, shared))
    return total * cell - max(cells[i] * cell - items[i].bytes for i in clique)


def most_shared(a: int, b: int, items: Sequence[Item], forbidden: Forbidden, cell: int = 1) -> int:
    """Most cells that two items share at a distance that is allowed: next to a forbidden one, or 0."""
    swap = (a, b) not in forbidden
    intervals = forbidden[(b, a) if swap else (a, b)]
    if len(intervals) == 1 and intervals[0][1] - intervals[0][0] >= items[a].bytes + items[b].bytes - 1:
        return 0
    first, second = (-(-items[i].bytes // cell) * cell for i in ((b, a) if swap else (a, b)))
    ends = [(low - 1) // cell * cell for low, _ in intervals] + [-(-high // cell) * cell for _, high in intervals]
    lows = [low for low, _ in intervals]
    allowed = [d for d in (*ends, 0, first - second) if (i := bisect_right(lows, d)) == 0 or intervals[i - 1][1] <= d]
    return max((max(0, min(first, d + second) - max(0, d)) for d in allowed), default=0) // cell


def _groups(clique: Sequence[int], shared: Mapping[tuple[int, int], int]) -> list[list[int]]:
    """The clique in groups that share nothing with each other."""
    group = {item: [item] for item in clique}
    for a, b in shared:
        if group[a] is not group[b]:
            group[a].extend(group[b])
            for item in group[b]:
                group[item] = group[a]
    return list({id(members): members for members in group.values()}.values())


def _union(group: Sequence[int], cells: Mapping[int, int], shared: Mapping[tuple[int, int], int]) -> int:
    """Cells under a group: at least all less what pairs share, and at least those of members that share nothing."""
    taken: list[int] = []
    for item in sorted(group, key=lambda i: -cells[i]):
        if not any((item, other) in shared or (other, item) in shared for other in taken):
            taken.append(item)
    pairs = sum(most for (a, _), most in shared.items() if a in group)
    return max(sum(cells[i] for i in taken), sum(cells[i] for i in group) - pairs)
