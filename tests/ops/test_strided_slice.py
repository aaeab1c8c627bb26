from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.movement import Add, check_types, like, refuse
from tests.oracles import check_model, check_operator
from tinygen.verify.golden import Golden

FAR = 99


@dataclass
class Entries:
    """Begin, end, strides and masks as they grow, beside the NumPy index that they stand for."""

    begin: list[int] = field(default_factory=list)
    end: list[int] = field(default_factory=list)
    strides: list[int] = field(default_factory=list)
    masks: dict[str, int] = field(default_factory=dict)
    index: list[Any] = field(default_factory=list)

    def add(self, begin: int, end: int, stride: int, index: Any, *masks: str) -> None:
        """One more entry, with its bit set in each of `masks`."""
        for mask in masks:
            self.masks[mask] = self.masks.get(mask, 0) | 1 << len(self.begin)
        self.begin.append(begin)
        self.end.append(end)
        self.strides.append(stride)
        self.index.append(index)


def add_random_range(build: ModelBuilder, entries: Entries, size: int) -> None:
    """A range of one axis that takes at least one element, its ends written in any way that means the same."""
    stride = build.pick([1, 1, 1, 2, 3, -1, -2])
    positions = list(range(size))[:: 1 if stride > 0 else -1]
    first = int(build.rng.integers(size)) if build.chance(0.6) else 0
    last = int(build.rng.integers(first, size)) if build.chance(0.6) else size - 1
    begin, stop = positions[first], positions[last] + (1 if stride > 0 else -1)
    index = slice(begin, stop if stop >= 0 else None, stride)
    masks = []
    if first == 0 and build.chance(0.5):
        masks.append("beginMask")
        begin = int(build.rng.integers(-FAR, FAR))
    elif build.chance(0.3):
        begin -= size
    if last == size - 1 and (stop < 0 or build.chance(0.5)):
        masks.append("endMask")
        stop = int(build.rng.integers(-FAR, FAR))
    elif 0 <= stop < size and build.chance(0.3):
        stop -= size
    elif stop == size and build.chance(0.3):
        stop = FAR
    entries.add(begin, stop, stride, index, *masks)


def random_entries(build: ModelBuilder, shape: tuple[int, ...]) -> Entries:
    """Ranges, single indices, new axes and an ellipsis for the axes of `shape`, the last of them perhaps unnamed."""
    entries, rank = Entries(), len(shape)
    ellipsis = int(build.rng.integers(rank)) if build.chance(0.2) else None
    hidden = int(build.rng.integers(1, rank - ellipsis + 1)) if ellipsis is not None else 0
    named = rank if build.chance(0.8) or ellipsis is not None else int(build.rng.integers(1, rank + 1))
    for axis, size in enumerate(shape[:named]):
        if build.chance(0.1) and len(entries.begin) < 6:
            entries.add(0, 1, 1, np.newaxis, "newAxisMask", *build.pick([(), ("beginMask",), ("shrinkAxisMask",)]))
        if axis == ellipsis:
            entries.add(0, 0, 1, Ellipsis, "ellipsisMask")
        if ellipsis is not None and ellipsis <= axis < ellipsis + hidden:
            continue
        if build.chance(0.15):
            position = int(build.rng.integers(size))
            entries.add(
                position - size * build.chance(0.3), 0, 1, position, "shrinkAxisMask", *build.pick([(), ("endMask",)])
            )
        else:
            add_random_range(build, entries, size)
    return entries


def add_slice(build: ModelBuilder, x: Value, entries: Entries, shape: tuple[int, ...], offset: bool = False) -> None:
    """STRIDED_SLICE by `entries`."""
    inputs = [x, *(build.constant(values, "int32") for values in (entries.begin, entries.end, entries.strides))]
    build.op("STRIDED_SLICE", inputs, [like(build, x, shape)], "StridedSlice", offset=offset, **entries.masks)


def emit(build: ModelBuilder, x: Value) -> bool:
    """Ranges of either direction, single indices, new axes, an ellipsis, all masks."""
    if not 1 <= len(x.shape) <= 5:
        return False
    entries = random_entries(build, x.shape)
    shape = np.empty(x.shape)[tuple(entries.index)].shape
    if not 1 <= len(shape) <= 5 or len(entries.begin) > 5:
        return False
    add_slice(build, x, entries, shape)
    return True


@pytest.mark.parametrize("seed", range(4))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=(1, 2, 3, 4, 5), most=6)


def one_axis(begin: int, end: int, stride: int, shape: tuple[int, ...], offset: bool = False, **masks: int) -> Add:
    """STRIDED_SLICE with a single entry."""

    def add(build: ModelBuilder, x: Value) -> None:
        add_slice(build, x, Entries([begin], [end], [stride], masks), shape, offset)

    return add


def test_types(golden: Golden) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        for begin, end, strides, shape in (
            ([0, 2, 0], [2, 0, 4], [1, -1, 2], (2, 2, 2)),
            ([1, 0, 1], [2, 3, 3], [1, 1, 1], (1, 3, 2)),
            ([0, 0, 1], [2, 3, 2], [1, 1, 1], (2, 3, 1)),
        ):
            add_slice(build, x, Entries(begin, end, strides), shape)

    check_types(add, (2, 3, 4), golden)


def test_reversal(golden: Golden) -> None:
    """All of it backwards: one loop."""
    build = ModelBuilder()
    x = build.random_input((3, 4, 5))
    add_slice(build, x, Entries([0] * 3, [0] * 3, [-1] * 3, {"beginMask": 7, "endMask": 7}), (3, 4, 5))
    check_model(build.finish(), golden)


@pytest.mark.parametrize(
    ("begin", "end", "stride", "count"), [(1, 3, 1, 3), (0, 5, 2, 3), (-4, 3, 1, 3), (-1, 1, 1, 1), (4, -3, -1, 3)]
)
def test_offset(golden: Golden, begin: int, end: int, stride: int, count: int) -> None:
    """End counts from begin."""
    build = ModelBuilder()
    one_axis(begin, end, stride, (count,), offset=True)(build, build.random_input((6,)))
    check_model(build.finish(), golden)


def test_limits(golden: Golden) -> None:
    """Begin and end beyond the axis count as its ends, even for a single index before it."""
    build = ModelBuilder()
    x = build.random_input((6,))
    one_axis(-9, 99, 1, (6,))(build, x)
    one_axis(99, -99, -4, (2,))(build, x)
    one_axis(-9, 0, 1, (), shrinkAxisMask=1)(build, x)
    check_model(build.finish(), golden)


@pytest.mark.parametrize(
    ("add", "text"),
    [
        (one_axis(0, 6, 0, (6,)), "stride is 0"),
        (one_axis(6, 7, 1, (), shrinkAxisMask=1), "entry 0 takes no element, found index 6, stride 1"),
        (one_axis(1, 0, -1, (), shrinkAxisMask=1), "entry 0 takes no element, found index 1, stride -1"),
        (one_axis(1, 4, 1, (4,)), "wrong shape, found [4], expected [3]"),
        (one_axis(4, 3, 1, (3,), offset=True), "entry 0 leaves its axis, found 3 elements from 4"),
        (one_axis(0, 1, 1, (1, 6), offset=True, newAxisMask=1), "masks do not suit the entries"),
        (one_axis(0, 1, 1, (1, 6), newAxisMask=2), "masks do not suit the entries"),
    ],
)
def test_wrong_entry(add: Add, text: str) -> None:
    refuse(add, (6,), "STRIDED_SLICE", text)


@pytest.mark.parametrize(
    ("count", "masks", "text"),
    [
        (3, {}, "slice has more entries than its input has axes, found 3"),
        (3, {"ellipsisMask": 1}, "ellipsis is ambiguous, found 1 for 0 axes"),
        (2, {"ellipsisMask": 3}, "ellipsis is ambiguous, found 2 for"),
    ],
)
def test_wrong_number_of_entries(count: int, masks: dict[str, int], text: str) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        add_slice(build, x, Entries([0] * count, [1] * count, [1] * count, masks), (1, 1))

    refuse(add, (2, 3), "STRIDED_SLICE", text)


def test_unequal_entries() -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        add_slice(build, x, Entries([0], [1], [1, 1]), (1, 3))

    refuse(add, (2, 3), "wrong shape, found [2], expected [1]")


def test_entries_of_int64() -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        inputs = [x, *(build.constant([value], "int64") for value in (0, 1, 1))]
        build.op("STRIDED_SLICE", inputs, [like(build, x, (1,))], "StridedSlice")

    refuse(add, (2,), "element type this operator does not take, found int64, expected int32")


def test_begin_at_run_time() -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        inputs = [x, build.input((1,), "int32"), build.constant([2], "int32"), build.constant([1], "int32")]
        build.op("STRIDED_SLICE", inputs, [like(build, x, (2,))], "StridedSlice")

    refuse(add, (2,), "input 1 ('t1') must be known at compile time")
