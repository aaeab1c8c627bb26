"""Turns a row of depthwise windows into the multiplications that make its outputs, two neighbours of the input at once.

A word holds the elements 2j and 2j + 1 of a row, or the taps k and k + 1 of a window. Where both neighbours are under
the window they take one multiplication; one that is alone takes the same of halves. What is outside takes none.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tinygen.ops.planes import Axis

LEAST_ROUNDS = 2


@dataclass(frozen=True)
class Product:
    """Two products that are added, or one."""

    output: int
    """Of its group."""
    tap: int
    """The first of two taps."""
    halves: tuple[int, int] | None
    """Of the input's word and of the taps', 0 the lower, where there is one product; None with both."""
    first: bool
    """Of its output."""


@dataclass(frozen=True)
class Group:
    """Neighbouring outputs whose sums are made together, some times over."""

    outputs: int
    words: tuple[tuple[int, tuple[Product, ...]], ...]
    """Of a row of the input: where each word is, and what it is multiplied with."""
    rounds: int
    step: int
    """Words from one round to the next."""

    @property
    def products(self) -> int:
        """Of a round."""
        return sum(len(products) for _, products in self.words)


@dataclass(frozen=True)
class Row:
    """A row of outputs; words of later groups count from where the rounds before have moved on to."""

    groups: tuple[Group, ...]

    @property
    def advanced(self) -> int:
        """Words by which all rounds move on."""
        return sum(group.rounds * group.step for group in self.groups if group.rounds > 1)

    @property
    def printed(self) -> int:
        """Multiplications of one row of taps, as they are printed."""
        return sum(group.products for group in self.groups)

    @property
    def products(self) -> int:
        """As they are done."""
        return sum(group.products * group.rounds for group in self.groups)

    @property
    def loads(self) -> int:
        """Words that are loaded for one row of taps."""
        return sum(len(group.words) * group.rounds for group in self.groups)


def row(along: Axis, most: int) -> Row:
    """The groups of a row, each of at most so many outputs, an even number."""
    groups, moved = [], 0
    for first, outputs, rounds in _parts(along, most):
        step = outputs * along.stride // 2 if rounds > 1 else 0
        groups.append(Group(outputs, _words(along, first, outputs, moved), rounds, step))
        moved += rounds * step
    return Row(tuple(groups))


def pairs(taps: int) -> int:
    """Words of two of so many neighbouring taps, one for each two neighbours."""
    return max(1, taps - 1)


def _parts(along: Axis, most: int) -> Iterator[tuple[int, int, int]]:
    """The first output of each group, how many it has, how often: rounds where windows do not reach outside."""
    begin = -(-along.pad // along.stride)
    end = max(begin, min(along.output, (along.input + along.pad - along.kernel) // along.stride + 1))
    rounds = (end - begin) // most
    if rounds < LEAST_ROUNDS:
        yield from _split(0, along.output, most)
        return
    yield from _split(0, begin, most)
    yield begin, most, rounds
    yield from _split(begin + rounds * most, along.output, most)


def _split(first: int, end: int, most: int) -> Iterator[tuple[int, int, int]]:
    """Groups of about equal size."""
    while first < end:
        parts = -(-(end - first) // most)
        size = -(-(end - first) // parts)
        yield first, size, 1
        first += size


def _words(along: Axis, first: int, outputs: int, moved: int) -> tuple[tuple[int, tuple[Product, ...]], ...]:
    """The words under so many outputs from `first` on, in their order."""
    found = defaultdict(list)
    for output in range(outputs):
        start = (first + output) * along.stride - along.pad
        taps = range(max(0, -start), min(along.kernel, along.input - start))
        under = sorted({(start + tap) // 2 for tap in taps})
        for word in under:
            product = _product(along.kernel, output, taps, 2 * word - start, word == under[0])
            found[word - moved].append(product)
    return tuple((word, tuple(found[word])) for word in sorted(found))


def _product(kernel: int, output: int, taps: range, tap: int, first: bool) -> Product:
    """Of a word whose first element is under the window's `tap`; what lies behind a row's last element is zero."""
    if tap in taps and tap + 1 < kernel:
        return Product(output, tap, None, first)
    half = 0 if tap in taps else 1
    alone = tap + half
    pair = min(alone, max(kernel - 2, 0))
    return Product(output, pair, (half, alone - pair), first)
