"""Places items in one arena, given the distances from each other at which pairs of them may not lie."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tinygen.memory.bounds import Forbidden, Item, lower_bound
from tinygen.memory.ejection import shrink
from tinygen.memory.exact import arena_end, improve, lowest

STARTS = 2
"""Placements that are improved."""

Limits = list[list[tuple[int, int, int]]]
"""For each item: (other, low, high), when offset - offset of other must not be in low <= ... < high."""


@dataclass(frozen=True)
class Placement:
    """Offsets in one arena, and what is known of how small it could be."""

    offsets: tuple[int, ...]
    arena_bytes: int
    lower_bound: int

    @property
    def optimal(self) -> bool:
        """Whether no arena can be smaller."""
        return self.arena_bytes == self.lower_bound


def place(
    items: Sequence[Item],
    forbidden: Forbidden,
    orders: Sequence[Sequence[int]] = (),
    below: float = math.inf,
    least: int = 0,
) -> Placement:
    """The smallest arena that a bounded search finds; the same items get the same places.

    `forbidden` names a pair in one of its two orders. The caller knows more: `orders` of all items that are worth a
    try, that there is no arena of less than `least` bytes, and that one of `below` or more is of no use.
    """
    goal = max(least, lower_bound(items, forbidden))
    near = limits(len(items), forbidden)
    offsets = shrink(items, near, _in_some_order(items, near, goal, orders), goal, below)
    if goal < arena_end(items, offsets) < below:
        offsets, goal = improve(items, forbidden, offsets, goal)
    return Placement(tuple(offsets), arena_end(items, offsets), goal)


def limits(count: int, forbidden: Forbidden) -> Limits:
    """What restricts each of `count` items."""
    found: Limits = [[] for _ in range(count)]
    for (a, b), intervals in forbidden.items():
        for low, high in intervals:
            found[b].append((a, low, high))
            found[a].append((b, 1 - high, 1 - low))
    return found


def _in_some_order(items: Sequence[Item], near: Limits, goal: int, hints: Sequence[Sequence[int]]) -> list[list[int]]:
    """Of the offsets that greedy placing finds in each of several orders, the best."""
    numbers = range(len(items))
    weight = [items[i].bytes + sum(high - low for _, low, high in near[i]) for i in numbers]
    orders = [
        *hints,
        sorted(numbers, key=lambda i: (-items[i].bytes, i)),
        sorted(numbers, key=lambda i: (-weight[i], i)),
        list(numbers),
        list(reversed(numbers)),
        _outwards(items, near),
    ]
    best: list[_Ended] = []
    for order in orders:
        made = _in_order(items, near, goal, order, best)
        best = sorted([*best, *made], key=lambda one: one.end)[:STARTS]
        if best[0].end <= goal:
            return [best[0].offsets]
    return [one.offsets for one in best]


@dataclass(frozen=True)
class _Ended:
    """Offsets, and the bytes that they take."""

    offsets: list[int]
    end: int


def _in_order(
    items: Sequence[Item], near: Limits, goal: int, order: Sequence[int], others: Sequence[_Ended]
) -> list[_Ended]:
    """The best offsets of one order: all as low as they can be, or some as high as a smaller arena has them.

    None where they are no better than the last of the others, once these are enough.
    """
    largest = max(order, key=lambda i: items[i].bytes, default=0)
    below = others[-1].end if len(others) == STARTS else math.inf
    best: list[_Ended] = []
    for high in (frozenset[int](), frozenset({largest}), frozenset(order[1::2]), frozenset(order)):
        least = min((one.end for one in (*others[:1], *best)), default=goal + 1)
        offsets = _greedy(items, near, order, high, max(goal, least - 1), below)
        if offsets is not None:
            best = [_Ended(offsets, arena_end(items, offsets))]
            below = best[0].end
        if below <= goal:
            break
    return best


def _outwards(items: Sequence[Item], near: Limits) -> list[int]:
    """From the largest item on, always next the one that is largest of those that touch one already there."""
    order: list[int] = []
    seen: set[int] = set()
    for first in sorted(range(len(items)), key=lambda i: (-items[i].bytes, i)):
        touching = [] if first in seen else [(-items[first].bytes, first)]
        seen.add(first)
        while touching:
            _, item = heapq.heappop(touching)
            order.append(item)
            for other in {other for other, _, _ in near[item]} - seen:
                seen.add(other)
                heapq.heappush(touching, (-items[other].bytes, other))
    return order


def _greedy(
    items: Sequence[Item], near: Limits, order: Iterable[int], upper: frozenset[int], ceiling: int, below: float
) -> list[int] | None:
    """Each item at the lowest place left, or those of `upper` at the highest that ends by `ceiling`.

    None as soon as that takes `below` bytes or more.
    """
    offsets = [-1] * len(items)
    for item in order:
        taken = sorted((offsets[o] + low, offsets[o] + high) for o, low, high in near[item] if offsets[o] >= 0)
        place = highest(items[item], taken, ceiling) if item in upper else -1
        offsets[item] = place if place >= 0 else lowest(items[item], taken)
        if offsets[item] + items[item].bytes >= below:
            return None
    return offsets


def highest(item: Item, taken: Sequence[tuple[int, int]], ceiling: int) -> int:
    """The highest offset outside all of `taken` from which the item ends by `ceiling`, or a negative number."""
    place = (ceiling - item.bytes) // item.alignment * item.alignment
    for low, high in sorted(taken, key=lambda interval: -interval[1]):
        if high <= place:
            break
        if low <= place:
            place = (low - 1) // item.alignment * item.alignment
    return place
