"""Places items in one arena, given the distances from each other at which pairs of them may not lie."""

from __future__ import annotations

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
    items: Sequence[Item], forbidden: Forbidden, orders: Sequence[Sequence[int]] = (), below: float = math.inf
) -> Placement:
    """The smallest arena that a bounded search finds; the same items get the same places.

    `forbidden` names a pair in one of its two orders. `orders` of all items are worth a try, as the caller knows more.
    Where less than `below` bytes seem out of reach, no more is tried.
    """
    goal = lower_bound(items, forbidden)
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
    found: list[list[int]] = []
    for order in orders:
        found.append(_in_order(items, near, goal, order, found))
        if arena_end(items, found[-1]) <= goal:
            return found[-1:]
    return sorted(found, key=lambda offsets: arena_end(items, offsets))[:STARTS]


def _in_order(
    items: Sequence[Item], near: Limits, goal: int, order: Sequence[int], others: Sequence[list[int]]
) -> list[int]:
    """The best offsets of one order: all as low as they can be, or some as high as a smaller arena has them."""
    largest = max(order, key=lambda i: items[i].bytes, default=0)
    found: list[list[int]] = []
    for high in (frozenset[int](), frozenset({largest}), frozenset(order[1::2]), frozenset(order)):
        least = min((arena_end(items, offsets) for offsets in (*others, *found)), default=goal + 1)
        found.append(_greedy(items, near, order, high, max(goal, least - 1)))
        if arena_end(items, found[-1]) <= goal:
            break
    return min(found, key=lambda offsets: arena_end(items, offsets))


def _outwards(items: Sequence[Item], near: Limits) -> list[int]:
    """From the largest item on, always next the one that is largest of those that touch one already there."""
    order: list[int] = []
    left, touching = set(range(len(items))), set[int]()
    while left:
        item = max(touching or left, key=lambda i: (items[i].bytes, -i))
        order.append(item)
        left.discard(item)
        touching = (touching | {other for other, _, _ in near[item]}) & left
    return order


def _greedy(
    items: Sequence[Item], near: Limits, order: Iterable[int], upper: frozenset[int], ceiling: int
) -> list[int]:
    """Each item at the lowest place left, or those of `upper` at the highest that ends by `ceiling`."""
    offsets = [-1] * len(items)
    for item in order:
        taken = sorted((offsets[o] + low, offsets[o] + high) for o, low, high in near[item] if offsets[o] >= 0)
        place = highest(items[item], taken, ceiling) if item in upper else -1
        offsets[item] = place if place >= 0 else lowest(items[item], taken)
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
