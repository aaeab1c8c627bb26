"""Items that drive each other out of an arena until all have a place in a smaller one."""

from __future__ import annotations

import itertools

import pytest

from tests.test_memory_offsets import end, instance, is_allowed
from tinygen.memory import ejection
from tinygen.memory.bounds import Item, apart, lower_bound
from tinygen.memory.ejection import MOVES, _Search, shrink
from tinygen.memory.offsets import limits


@pytest.mark.parametrize("seed", range(10))
def test_a_third_of_what_items_in_a_row_take(seed: int) -> None:
    """Some overlap, some have other alignments: what is found is allowed, and far from where it began."""
    items, forbidden = instance(seed, 24, 4, 200)
    row = [offset * 4 for offset in itertools.accumulate((-(-item.bytes // 4) for item in items), initial=0)][:-1]
    goal = lower_bound(items, forbidden)
    found = shrink(items, limits(len(items), forbidden), [row], goal)
    assert is_allowed(items, forbidden, tuple(found))
    assert goal <= end(items, tuple(found)) < end(items, tuple(row)) / 3
    assert found == shrink(items, limits(len(items), forbidden), [row], goal), "the same items get the same places"


def test_all_that_is_in_the_way_goes() -> None:
    """Three items of a row have to swap: the large one first, which fits only where the others lie."""
    items = [Item(2), Item(6), Item(3)]
    pairs = {(0, 1): apart(items[0], items[1]), (1, 2): apart(items[1], items[2])}
    assert end(items, tuple(shrink(items, limits(3, pairs), [[0, 3, 9]], 9))) == 9


def test_the_goal_is_not_passed() -> None:
    """One byte less is possible, and not asked for."""
    items = [Item(4), Item(4)]
    near = limits(2, {(0, 1): apart(items[0], items[1])})
    assert shrink(items, near, [[0, 5]], 9) == [0, 5]
    assert end(items, tuple(shrink(items, near, [[0, 5]], 8))) == 8


def test_what_cannot_be() -> None:
    """An item larger than the arena, or two that have no room: the search says so, and ends."""
    items = [Item(4), Item(4)]
    near = limits(2, {(0, 1): apart(items[0], items[1])})
    assert _Search(items, near).fit([0, 4], 3) is None
    search = _Search(items, near)
    assert search.fit([0, 4], 7) is None and 0 < search.left < MOVES


def test_what_is_of_no_use_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of items in a row nothing is moved where no moves are left to come below a limit that is out of reach."""
    items, forbidden = instance(0, 24, 4, 200)
    row = [offset * 4 for offset in itertools.accumulate((-(-item.bytes // 4) for item in items), initial=0)][:-1]
    near, goal = limits(len(items), forbidden), lower_bound(items, forbidden)
    few = shrink(items, near, [row], goal, below=0)
    assert end(items, tuple(few)) >= end(items, tuple(shrink(items, near, [row], goal)))
    monkeypatch.setattr(ejection, "HOPELESS", 0)
    assert shrink(items, near, [row], goal, below=0) == row
    assert shrink(items, near, [row], goal, below=end(items, tuple(row)) + 1) != row
