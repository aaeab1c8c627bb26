"""Improves placed offsets by branch and bound, or proves that no smaller arena exists."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinygen.memory.bounds import Forbidden, Intervals, Item

STEPS = 10_000
"""Pairs looked at in one search, at most."""
SEARCHES = 6
"""At most."""

Pair = tuple[int, int, Intervals]


def improve(items: Sequence[Item], forbidden: Forbidden, offsets: Sequence[int], goal: int) -> tuple[list[int], int]:
    """(offsets of the smallest arena found, what is proved that every arena needs).

    Arena sizes between `goal` and the present one are tried by bisection, the smallest first.
    """
    best, low, limit = list(offsets), goal, goal
    for _ in range(SEARCHES):
        end = max(o + item.bytes for o, item in zip(best, items, strict=True))
        if low >= end:
            break
        limit = min(limit, end - 1)
        found = _Search(items, forbidden, limit)
        if found.offsets is not None:
            best, limit = found.offsets, (low + limit) // 2
            continue
        low = limit + 1
        goal = low if found.complete else goal
        limit = (low + end) // 2
    return best, goal


@dataclass
class _State:
    """What is left of the choices: the range of each offset, and of the distance of each pair."""

    earliest: list[int]
    latest: list[int]
    least: list[int]
    most: list[int]


class _Search:
    """Looks for offsets within `limit` bytes.

    Items that find a place wherever the others lie are left out and placed last. Of the others all take their earliest
    offsets; a pair that is too close then is branched upon, to lie on either side of what is forbidden.
    """

    def __init__(self, items: Sequence[Item], forbidden: Forbidden, limit: int) -> None:
        self.items, self.limit, self.steps = items, limit, 0
        self.pairs: list[Pair] = [(a, b, intervals) for (a, b), intervals in forbidden.items() if intervals]
        self.near: list[list[int]] = [[] for _ in items]
        for number, (a, b, _) in enumerate(self.pairs):
            self.near[a].append(number)
            self.near[b].append(number)
        self.easy = self._easy()
        inner = set(range(len(items))) - set(self.easy)
        self.core = [n for n, (a, b, _) in enumerate(self.pairs) if a in inner and b in inner]
        self.in_core = set(self.core)
        self.complete = True
        found = self._run()
        self.offsets = None if found is None else self._with_easy(found)

    def _easy(self) -> list[int]:
        """Items that the others cannot keep from finding a place, in an order in which that holds."""
        room = [(self.limit - item.bytes) // item.alignment + 1 for item in self.items]
        taken = [sum(self._positions(item, number) for number in near) for item, near in enumerate(self.near)]
        easy: list[int] = []
        left = {item for item in range(len(self.items)) if taken[item] < room[item]}
        done: set[int] = set()
        while left:
            item = min(left)
            left.discard(item)
            done.add(item)
            easy.append(item)
            for number in self.near[item]:
                a, b, _ = self.pairs[number]
                other = b if a == item else a
                taken[other] -= self._positions(other, number)
                if other not in done and taken[other] < room[other]:
                    left.add(other)
        return easy

    def _positions(self, item: int, number: int) -> int:
        """How many of the item's positions the other one of a pair can take at most."""
        return sum(-(-(high - low) // self.items[item].alignment) for low, high in self.pairs[number][2])

    def _run(self) -> list[int] | None:
        start = _State(
            [0] * len(self.items),
            [(self.limit - item.bytes) // item.alignment * item.alignment for item in self.items],
            [-self.limit] * len(self.pairs),
            [self.limit] * len(self.pairs),
        )
        if min(start.latest) < 0:
            return None
        states = [(start, self.core)]
        while states:
            state, changed = states.pop()
            if not self._propagate(state, changed):
                continue
            if self.steps > STEPS:
                self.complete = False
                return None
            violated = self._violated(state)
            if violated is None:
                return state.earliest
            states += [(branch, [violated]) for branch in self._branches(state, violated)]
        return None

    def _propagate(self, state: _State, changed: Sequence[int]) -> bool:
        """Narrow the ranges until nothing changes; False when one is empty."""
        queue, waiting = list(changed), set(changed)
        earliest, latest = state.earliest, state.latest
        while queue:
            number = queue.pop()
            waiting.discard(number)
            self.steps += 1
            a, b, intervals = self.pairs[number]
            least = max(state.least[number], earliest[b] - latest[a])
            most = min(state.most[number], latest[b] - earliest[a])
            for low, high in intervals:
                least = high if low <= least < high else least
            for low, high in reversed(intervals):
                most = low - 1 if low <= most < high else most
            if least > most:
                return False
            state.least[number], state.most[number] = least, most
            for item, first, last in (
                (b, earliest[a] + least, latest[a] + most),
                (a, earliest[b] - most, latest[b] - least),
            ):
                step = self.items[item].alignment
                first = max(earliest[item], -(-first // step) * step)
                last = min(latest[item], last // step * step)
                if first > last:
                    return False
                if (first, last) != (earliest[item], latest[item]):
                    earliest[item], latest[item] = first, last
                    for other in self.near[item]:
                        if other in self.in_core and other not in waiting:
                            waiting.add(other)
                            queue.append(other)
        return True

    def _violated(self, state: _State) -> int | None:
        """The pair of most bytes that lies too close when all items lie as early as they may."""
        worst, size = None, -1
        for number in self.core:
            a, b, intervals = self.pairs[number]
            distance = state.earliest[b] - state.earliest[a]
            bytes_ = self.items[a].bytes + self.items[b].bytes
            if bytes_ > size and any(low <= distance < high for low, high in intervals):
                worst, size = number, bytes_
        return worst

    def _branches(self, state: _State, number: int) -> list[_State]:
        """A state for each range of distances that the pair may have, the nearest to the present one last."""
        a, b, intervals = self.pairs[number]
        distance = state.earliest[b] - state.earliest[a]
        least, ranges = state.least[number], []
        for low, high in intervals:
            if least <= low - 1:
                ranges.append((least, min(low - 1, state.most[number])))
            least = max(least, high)
        if least <= state.most[number]:
            ranges.append((least, state.most[number]))
        ranges.sort(key=lambda r: -max(r[0] - distance, distance - r[1]))
        branches = []
        for low, high in ranges:
            branch = _State(list(state.earliest), list(state.latest), list(state.least), list(state.most))
            branch.least[number], branch.most[number] = low, high
            branches.append(branch)
        return branches

    def _with_easy(self, offsets: Sequence[int]) -> list[int]:
        """The core's offsets, and then the easy items' as low as each fits."""
        placed = {item: offsets[item] for item in set(range(len(self.items))) - set(self.easy)}
        for item in reversed(self.easy):
            taken = []
            for number in self.near[item]:
                a, b, intervals = self.pairs[number]
                if a == item and b in placed:
                    taken += [(placed[b] - high + 1, placed[b] - low + 1) for low, high in intervals]
                elif b == item and a in placed:
                    taken += [(placed[a] + low, placed[a] + high) for low, high in intervals]
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
