"""The placer of items in an arena: no forbidden distance, no better arena by trying all, bounds that hold."""

from __future__ import annotations

import itertools
import random
import time

import pytest

from tinygen.memory.bounds import Forbidden, Intervals, Item, apart, lower_bound
from tinygen.memory.exact import improve
from tinygen.memory.offsets import Placement, place

Instance = tuple[list[Item], dict[tuple[int, int], Intervals]]


def instance(seed: int, count: int, longest: int, sizes: int, alignments: tuple[int, ...] = (1, 2, 4)) -> Instance:
    """Items with random lifetimes; some that follow each other may overlap, some pairs have several intervals."""
    rng = random.Random(seed)
    alignment = rng.choice(alignments)
    items = [Item(rng.randint(1, sizes), rng.choice((alignment, alignment, 4))) for _ in range(count)]
    lives = [(start, start + rng.randrange(longest)) for start in (rng.randrange(count) for _ in range(count))]
    forbidden: dict[tuple[int, int], Intervals] = {}
    for a, b in itertools.combinations(range(count), 2):
        if lives[a][0] > lives[b][1] or lives[b][0] > lives[a][1]:
            continue
        forbidden[a, b] = apart(items[a], items[b])
        if lives[a][1] == lives[b][0] and rng.random() < 0.7:
            low, high = sorted(rng.sample(range(-items[b].bytes, items[a].bytes + 1), 2))
            middle = rng.randint(low, high)
            forbidden[a, b] = tuple((x, y) for x, y in ((low, middle - 1), (middle + 1, high)) if x < y)
    return items, forbidden


def is_allowed(items: list[Item], forbidden: Forbidden, offsets: tuple[int, ...]) -> bool:
    distances = ((offsets[b] - offsets[a], intervals) for (a, b), intervals in forbidden.items())
    aligned = all(offset >= 0 and offset % item.alignment == 0 for item, offset in zip(items, offsets, strict=True))
    return aligned and not any(low <= d < high for d, intervals in distances for low, high in intervals)


def end(items: list[Item], offsets: tuple[int, ...]) -> int:
    return max(offset + item.bytes for item, offset in zip(items, offsets, strict=True))


def check(items: list[Item], forbidden: Forbidden, found: Placement) -> None:
    assert is_allowed(items, forbidden, found.offsets)
    assert found.arena_bytes == end(items, found.offsets)
    assert found.lower_bound <= found.arena_bytes
    assert lower_bound(items, forbidden) <= found.lower_bound


@pytest.mark.parametrize("seed", range(60))
def test_nothing_smaller_exists(seed: int) -> None:
    """Against all offsets of four small items; the search must also say that it knows."""
    items, forbidden = instance(seed, 4, 3, 5)
    found = place(items, forbidden)
    check(items, forbidden, found)
    assert found.optimal
    smaller = (range(0, found.arena_bytes - item.bytes, item.alignment) for item in items)
    assert not any(is_allowed(items, forbidden, offsets) for offsets in itertools.product(*smaller))


@pytest.mark.parametrize("seed", range(40))
def test_every_placement_is_allowed(seed: int) -> None:
    items, forbidden = instance(seed, 30, 5, 200)
    found = place(items, forbidden)
    check(items, forbidden, found)
    assert found == place(items, forbidden), "the same items get the same places"


@pytest.mark.parametrize("seed", range(20))
def test_bad_offsets_are_improved(seed: int) -> None:
    """Branch and bound alone, from all items in a row."""
    items, forbidden = instance(seed, 5, 3, 60, (1,))
    row = [offset * 4 for offset in itertools.accumulate((item.bytes for item in items), initial=0)][:-1]
    offsets, proved = improve(items, forbidden, row, lower_bound(items, forbidden))
    assert is_allowed(items, forbidden, tuple(offsets))
    assert end(items, tuple(offsets)) == proved == place(items, forbidden).arena_bytes


def test_a_better_arrangement_than_any_first_fit_by_size() -> None:
    """Items that leave a gap for one another only when the largest does not come first."""
    items = [Item(4), Item(6), Item(4), Item(6), Item(2)]
    pairs = [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4), (1, 4)]
    found = place(items, {(a, b): apart(items[a], items[b]) for a, b in pairs})
    assert found.optimal and found.arena_bytes == 12


def test_bound_counts_overlaps() -> None:
    """The second begins at least 5 bytes before the first, so that they share 3; the third shares nothing."""
    items = [Item(10), Item(8), Item(5)]
    forbidden = {(0, 1): ((-4, 10),), (0, 2): apart(items[0], items[2]), (1, 2): apart(items[1], items[2])}
    assert lower_bound(items, forbidden) == 10 + 8 - 3 + 5
    assert place(items, forbidden).arena_bytes == 10 + 8 - 3 + 5


def test_bound_counts_alignment() -> None:
    """Only the last item may end at any byte."""
    items = [Item(5, 4), Item(7, 4), Item(1, 4)]
    forbidden = {(a, b): apart(items[a], items[b]) for a, b in itertools.combinations(range(3), 2)}
    assert lower_bound(items, forbidden) == 8 + 8 + 1
    assert place(items, forbidden).arena_bytes == 17


def test_nothing_to_place() -> None:
    assert place([], {}) == Placement((), 0, 0)
    assert place([Item(7, 4)], {}) == Placement((0,), 7, 7)
    assert place([Item(0), Item(3)], {(0, 1): apart(Item(0), Item(3))}).arena_bytes == 3


def test_hundreds_of_rows() -> None:
    """Rows of three streamed layers of equal sizes, each alive for a few steps: optimal, and fast."""
    items: list[Item] = []
    lives: list[tuple[int, int]] = []
    for row in range(100):
        for layer, size in enumerate((64, 128, 96)):
            items.append(Item(size, 4))
            lives.append((row + layer, row + layer + 2))
    pairs = itertools.combinations(range(len(items)), 2)
    alive = [(a, b) for a, b in pairs if lives[a][0] <= lives[b][1] and lives[b][0] <= lives[a][1]]
    began = time.process_time()
    found = place(items, {(a, b): apart(items[a], items[b]) for a, b in alive})
    assert time.process_time() - began < 5
    assert found.optimal and found.arena_bytes == 3 * (64 + 128 + 96)


@pytest.mark.parametrize("seed", range(3))
def test_two_hundred_layers(seed: int) -> None:
    items, forbidden = instance(seed, 400, 4, 10_000, (4,))
    began = time.process_time()
    check(items, forbidden, place(items, forbidden))
    assert time.process_time() - began < 5
