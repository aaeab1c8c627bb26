"""Turns placed items into a smaller arena: each goes where it drives out the least, what it drives out is placed next.

Items have a weight that grows whenever they had to drive out another, so that those that are hard to place come to
stay: as in "guided ejection search", which Nagata and Braysy (2009) use for the routes of vehicles.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator, Sequence

import numpy as np

from tinygen.ir import Array
from tinygen.memory.bounds import Item
from tinygen.memory.exact import arena_end

MOVES = 12_000
"""Items placed, in all attempts together; six times as many as there are, where that is more."""
ATTEMPT = 1_000
"""Items placed in one attempt, at most; as many as there are, where that is more."""
STALE = 6_000
"""Items placed in vain one after the other, after which no more are; half of all, where that is more."""
HOPELESS = 4_000
"""Items placed, after which an arena must be less than what somebody has already."""
PARTS = (8, 64, None)
"""Attempts are for arenas smaller by these parts of what is above the goal; by one byte at the last."""
OUTSIDE = -(1 << 40)
"""The offset of an item that has no place: too far from all to touch them."""


def shrink(
    items: Sequence[Item],
    near: Sequence[Sequence[tuple[int, int, int]]],
    starts: Sequence[Sequence[int]],
    goal: int,
    below: float = math.inf,
) -> list[int]:
    """The offsets of the smallest arena found from `starts`, of which the first is the best; `goal` bytes are enough.

    An arena of `below` bytes or more is of no use: it is given up early.
    `near` has for each item (other, low, high), when offset - offset of other must not be in low <= ... < high.
    """
    search = _Search(items, near)
    best = [*starts[0]]
    tries = _tries(starts)
    start, part = next(tries)
    hopeless, stale = search.left - HOPELESS, max(STALE, search.left // 2)
    kept = search.left - stale
    while (end := arena_end(items, best)) > goal and search.left > max(kept, 0 if end < below else hopeless):
        limit = end - 1 if part is None else max(goal, end - 1 - (end - goal) // part)
        found = search.fit(best if start is None else start, limit)
        if found is not None:
            best, kept = found, search.left - stale
        else:
            start, part = next(tries)
    return best


def _tries(starts: Sequence[Sequence[int]]) -> Iterator[tuple[Sequence[int] | None, int | None]]:
    """What to begin with, and how much smaller the arena is to be: the best one, in turn with the starts."""
    while True:
        for parts in (PARTS[:-1], PARTS[-1:]):
            yield from itertools.product((None, *reversed(starts)), parts)


class _Search:
    """Items, and what restricts each as arrays."""

    def __init__(self, items: Sequence[Item], near: Sequence[Sequence[tuple[int, int, int]]]) -> None:
        self.items, self.chance = items, random.Random(0)
        self.left, self.attempt = max(MOVES, 6 * len(items)), max(ATTEMPT, len(items))
        limits = [np.array(found, np.int64).reshape(-1, 3).T for found in near]
        self.sizes = [item.bytes for item in items]
        self.others = [found[0] for found in limits]
        self.lows = [found[1] for found in limits]
        self.highs = [found[2] for found in limits]

    def fit(self, offsets: Sequence[int], limit: int) -> list[int] | None:
        """Offsets within `limit` bytes, found from `offsets` on; None when that takes too long."""
        placed: Array = np.array(offsets, np.int64)
        weights: Array = np.ones(len(self.items))
        waiting = {i for i, item in enumerate(self.items) if offsets[i] + item.bytes > limit}
        placed[list(waiting)] = OUTSIDE
        for _ in range(min(self.attempt, self.left)):
            if not waiting:
                return [int(offset) for offset in placed]
            self.left -= 1
            item = self._next(waiting)
            waiting.discard(item)
            place, out = self._place(item, placed, weights, limit)
            if place < 0:
                return None
            weights[item] += bool(out)
            placed[item] = place
            placed[list(out)] = OUTSIDE
            waiting |= out
        return None

    def _next(self, waiting: set[int]) -> int:
        """One of the largest."""
        largest = max(map(self.sizes.__getitem__, waiting))
        return self.chance.choice([item for item in waiting if self.sizes[item] == largest])

    def _place(self, item: int, placed: Array, weights: Array, limit: int) -> tuple[int, set[int]]:
        """The place where an item drives out the least weight, and what that is; -1 if it is too large for any."""
        size, alignment = self.items[item].bytes, self.items[item].alignment
        highest = (limit - size) // alignment * alignment
        if highest < 0:
            return -1, set()
        others = self.others[item]
        lows, highs = placed[others] + self.lows[item], placed[others] + self.highs[item]
        ends = (-(-highs // alignment) * alignment, (lows - 1) // alignment * alignment)
        places = np.concatenate(([0, highest], *ends))
        places = places[(places >= 0) & (places <= highest)]
        places.sort()
        first_of_equals = np.ones(len(places), np.bool_)
        np.not_equal(places[1:], places[:-1], out=first_of_equals[1:])
        places = places[first_of_equals]
        touched = (lows[:, None] <= places) & (places < highs[:, None])
        costs = weights[others] @ touched
        cheapest = np.flatnonzero(costs == costs.min())
        chosen = int(cheapest[self.chance.randrange(len(cheapest))])
        return int(places[chosen]), {int(other) for other in others[touched[:, chosen]]}
