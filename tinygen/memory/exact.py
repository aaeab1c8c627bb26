"""Improves placed offsets by branch and bound, or proves that no smaller arena exists."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.ir import Array
from tinygen.memory.bounds import Forbidden, Item, cliques

WORK = 800_000
"""Bounds looked at in one search, at most."""
TOTAL_WORK = 3_000_000
"""In all searches together, but for the last."""
PARTS = 3
"""Cliques that are looked at on their own, at most."""


def improve(items: Sequence[Item], forbidden: Forbidden, offsets: Sequence[int], goal: int) -> tuple[list[int], int]:
    """(offsets of the smallest arena found, what is proved that every arena needs).

    `goal` is proved before. What a clique needs is needed by all: it is found first, as that is quick.
    """
    end = arena_end(items, offsets)
    for clique in _largest(items, forbidden):
        if goal < end and len(clique) < len(items):
            number = {item: index for index, item in enumerate(clique)}
            among = {(number[a], number[b]): v for (a, b), v in forbidden.items() if a in number and b in number}
            inside = [items[i] for i in clique]
            goal = max(goal, _bisect(inside, among, [offsets[i] for i in clique], goal)[1])
    return _bisect(items, forbidden, offsets, goal)


def _largest(items: Sequence[Item], forbidden: Forbidden) -> list[list[int]]:
    """The cliques of most bytes."""
    found = {tuple(sorted(clique)) for clique in cliques(len(items), forbidden)}
    return [list(c) for c in sorted(found, key=lambda c: (-sum(items[i].bytes for i in c), c))[:PARTS]]


def _bisect(items: Sequence[Item], forbidden: Forbidden, offsets: Sequence[int], goal: int) -> tuple[list[int], int]:
    """The same by searches for arenas of sizes between `goal` and the present one, the smallest first."""
    best, low, limit, work = list(offsets), goal, goal, 0
    while low < (end := arena_end(items, best)) and work < TOTAL_WORK:
        found = _Search(items, forbidden, min(limit, end - 1))
        work += WORK - found.left + len(items) ** 2
        if found.offsets is not None:
            best, end = found.offsets, arena_end(items, found.offsets)
        else:
            low = min(limit, end - 1) + 1
            goal = low if found.complete else goal
        limit = (low + end - 1) // 2
    return best, goal


def arena_end(items: Sequence[Item], offsets: Sequence[int]) -> int:
    """The bytes that items at these offsets take."""
    return max((offset + item.bytes for item, offset in zip(items, offsets, strict=True)), default=0)


class _Search:
    """Looks for offsets within `limit` bytes.

    Items that find a place wherever the others lie are left out and placed last. Of the others, bounds are kept on
    every difference of offsets, closed under addition; a pair that is too close when all lie as low as they may is
    branched upon, to lie on either side of what is forbidden.
    """

    def __init__(self, items: Sequence[Item], forbidden: Forbidden, limit: int) -> None:
        self.items, self.limit, self.left = items, limit, WORK
        self.near: list[list[tuple[int, int, int]]] = [[] for _ in items]
        for (a, b), intervals in forbidden.items():
            for low, high in intervals:
                self.near[b].append((a, low, high))
                self.near[a].append((b, 1 - high, 1 - low))
        self.easy = self._easy()
        self.core = sorted(set(range(len(items))) - set(self.easy))
        number = {item: index for index, item in enumerate(self.core)}
        rows = [(number[o], number[i], low, high) for i in self.core for o, low, high in self.near[i] if o in number]
        self.from_, self.to, self.low, self.high = np.array(rows, np.int64).reshape(-1, 4).T
        self.alignments = np.array([items[i].alignment for i in self.core] + [1])
        self.step = min((items[i].alignment for i in self.core), default=1)
        self.sizes = np.array([items[i].bytes for i in self.core], np.int64)
        self.complete = True
        found = self._run()
        self.offsets = None if found is None else self._with_easy(found)

    def _easy(self) -> list[int]:
        """Items that the others cannot keep from finding a place, in an order in which that holds."""
        room = [(self.limit - item.bytes) // item.alignment + 1 for item in self.items]
        taken = [sum(self._positions(i, low, high) for _, low, high in near) for i, near in enumerate(self.near)]
        easy: list[int] = []
        left, done = {item for item in range(len(self.items)) if taken[item] < room[item]}, set[int]()
        while left:
            item = min(left)
            left.discard(item)
            done.add(item)
            easy.append(item)
            for other, low, high in self.near[item]:
                taken[other] -= self._positions(other, low, high)
                if other not in done and taken[other] < room[other]:
                    left.add(other)
        return easy

    def _positions(self, item: int, low: int, high: int) -> int:
        """How many of the item's positions an interval takes at most."""
        return -(-(high - low) // self.items[item].alignment)

    def _run(self) -> list[int] | None:
        origin = len(self.core)
        latest = (self.limit - self.sizes) // self.alignments[:-1] * self.alignments[:-1]
        if (latest < 0).any():
            return None
        if (origin + 1) ** 2 > WORK:
            self.complete = False
            return None
        bounds = np.zeros((origin + 1, origin + 1), np.int64)
        bounds[:-1] = -latest[:, None]
        np.fill_diagonal(bounds, 0)
        states: list[tuple[Array, tuple[int, int, int]]] = [(bounds, (origin, origin, 0))]
        while states:
            bounds, edge = states.pop()
            if not (self._add(bounds, *edge) and self._propagate(bounds)):
                continue
            if self.left < 0:
                self.complete = False
                return None
            lowest_places = bounds[origin]
            violated = self._violated(lowest_places)
            if violated is None:
                return [int(place) for place in lowest_places[:-1]]
            a, b, low, high = (int(rows[violated]) for rows in (self.from_, self.to, self.low, self.high))
            distance = int(lowest_places[b] - lowest_places[a])
            sides = [(b, a, 1 - low), (a, b, high)]
            nearest = sides if high - distance < distance - low + 1 else sides[::-1]
            states += [(bounds.copy(), nearest[0]), (bounds, nearest[1])]
        return None

    def _add(self, bounds: Array, a: int, b: int, least: int) -> bool:
        """Offset b - offset a is `least` or more: with all that follows; False when that is impossible."""
        least = -(-least // self.step) * self.step
        if least + int(bounds[b, a]) > 0:
            return False
        if least > bounds[a, b]:
            self.left -= bounds.size
            np.maximum(bounds, bounds[:, a, None] + (bounds[b] + least), out=bounds)
        return True

    def _propagate(self, bounds: Array) -> bool:
        """Raise every bound that lies in a forbidden interval to its end; False when nothing is left of a range."""
        origin = len(self.core)
        while True:
            least = bounds[self.from_, self.to]
            inside = np.flatnonzero((self.low <= least) & (least < self.high))
            for row in inside.tolist():
                if self.left < 0:
                    return True
                if not self._add(bounds, int(self.from_[row]), int(self.to[row]), int(self.high[row])):
                    return False
            aligned = -(-bounds[origin] // self.alignments) * self.alignments
            unaligned = np.flatnonzero(aligned > bounds[origin])
            for item in unaligned.tolist():
                if not self._add(bounds, origin, item, int(aligned[item])):
                    return False
            if not (len(inside) or len(unaligned)) or self.left < 0:
                return True

    def _violated(self, places: Array) -> int | None:
        """The pair of most bytes that lies too close at these places."""
        distance = places[self.to] - places[self.from_]
        rows = np.flatnonzero((self.low <= distance) & (distance < self.high))
        if not len(rows):
            return None
        return int(rows[np.argmax(self.sizes[self.from_[rows]] + self.sizes[self.to[rows]])])

    def _with_easy(self, offsets: Sequence[int]) -> list[int]:
        """The core's offsets, and then the easy items' as low as each fits."""
        placed = dict(zip(self.core, offsets, strict=True))
        for item in reversed(self.easy):
            taken = [(placed[o] + low, placed[o] + high) for o, low, high in self.near[item] if o in placed]
            placed[item] = lowest(self.items[item], sorted(taken))
        return [placed[item] for item in range(len(self.items))]


def lowest(item: Item, taken: Sequence[tuple[int, int]]) -> int:
    """The lowest offset outside all of `taken`, which are sorted."""
    place = 0
    for low, high in taken:
        if low > place:
            break
        if high > place:
            place = -(-high // item.alignment) * item.alignment
    return place
