from __future__ import annotations

import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.movement import check_types, like, random_axis, random_cuts, refuse
from tests.oracles import check_operator
from tinygen.verify.golden import Golden


def add_split(build: ModelBuilder, x: Value, axis: int, sizes: list[int], named: list[int] | None = None) -> None:
    """SPLIT_V into parts of the given sizes, `named` in the file."""
    shapes = [(*x.shape[: axis % len(x.shape)], size, *x.shape[axis % len(x.shape) + 1 :]) for size in sizes]
    inputs = [x, build.constant(named or sizes, "int32"), build.constant(axis, "int32")]
    build.op("SPLIT_V", inputs, [like(build, x, shape) for shape in shapes], "SplitV", numSplits=len(sizes))


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any axis, counted from either end, into any sizes, one of them perhaps -1."""
    rank = len(x.shape)
    if rank == 0:
        return False
    axis = random_axis(build, rank)
    sizes = random_cuts(build, x.shape[axis], int(build.rng.integers(1, min(x.shape[axis], 8) + 1)))
    named = list(sizes)
    if build.chance(0.5):
        named[int(build.rng.integers(len(named)))] = -1
    add_split(build, x, axis, sizes, named)
    return True


@pytest.mark.parametrize("seed", range(3))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=(1, 2, 3, 4, 5))


def test_types(golden: Golden) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        add_split(build, x, 1, [1, 2])
        add_split(build, x, -1, [1, 3], [1, -1])

    check_types(add, (2, 3, 4), golden, beyond=("bool",))


@pytest.mark.parametrize(
    ("axis", "named", "text"),
    [
        (0, [1, 1], "sizes do not add up, found [1, 1], expected 3, one of them -1 at most"),
        (0, [-1, -1], "sizes do not add up"),
        (0, [4, -1], "sizes do not add up, found [4, -1]"),
        (0, [5, -2], "sizes do not add up, found [5, -2]"),
        (0, [1, 1, 1], "wrong shape, found [3], expected [2]"),
        (1, [1, 3], "wrong shape, found [1, 4], expected [3, 1]"),
        (2, [1, 3], "axis is out of range, found 2"),
    ],
)
def test_wrong_sizes(axis: int, named: list[int], text: str) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        inputs = [x, build.constant(named, "int32"), build.constant(axis, "int32")]
        build.op("SPLIT_V", inputs, [like(build, x, (size, 4)) for size in (1, 2)], "SplitV", numSplits=2)

    refuse(add, (3, 4), "SPLIT_V", text)


def test_sizes_at_run_time() -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        inputs = [x, build.input((1,), "int32"), build.constant(0, "int32")]
        build.op("SPLIT_V", inputs, [like(build, x, (3,))], "SplitV", numSplits=1)

    refuse(add, (3,), "input 1 ('t1') must be known at compile time")
