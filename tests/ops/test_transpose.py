from __future__ import annotations

import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.movement import check_types, like, refuse
from tests.oracles import check_model, check_operator
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any permutation, its axes counted from either end."""
    rank = len(x.shape)
    if not 1 <= rank <= 6:
        return False
    order = build.rng.permutation(rank)
    named = [int(axis) - rank * build.chance(0.2) for axis in order]
    build.op("TRANSPOSE", [x, build.constant(named, "int32")], [like(build, x, [x.shape[axis] for axis in order])])
    return True


@pytest.mark.parametrize("seed", range(3))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=(1, 2, 3, 4))


@pytest.mark.parametrize("seed", range(2))
def test_random_of_high_rank(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=(5, 6), most=4)


def test_types(golden: Golden) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        for order in ([2, 0, 1], [1, 0, 2], [0, 1, 2]):
            shape = [x.shape[axis] for axis in order]
            build.op("TRANSPOSE", [x, build.constant(order, "int32")], [like(build, x, shape)])

    check_types(add, (2, 3, 4), golden)


def test_single_element(golden: Golden) -> None:
    build = ModelBuilder()
    x = build.random_input((1, 1))
    build.op("TRANSPOSE", [x, build.constant([1, 0], "int32")], [like(build, x, (1, 1))])
    check_model(build.finish(), golden)


@pytest.mark.parametrize(
    ("order", "text"),
    [
        ([0, 0], "permutation names an axis twice, found [0, 0]"),
        ([0, -2], "permutation names an axis twice"),
        ([0, 2], "axis is out of range, found 2, expected -2 to 1"),
        ([0], "wrong shape, found [1], expected [2]"),
        ([0, 1], "wrong shape, found [3, 2], expected [2, 3]"),
    ],
)
def test_wrong_order(order: list[int], text: str) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("TRANSPOSE", [x, build.constant(order, "int32")], [like(build, x, (3, 2))])

    refuse(add, (2, 3), "TRANSPOSE", text)


def test_order_of_int64() -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("TRANSPOSE", [x, build.constant([1, 0], "int64")], [like(build, x, (3, 2))])

    refuse(add, (2, 3), "element type this operator does not take, found int64, expected int32")


def test_order_at_run_time() -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("TRANSPOSE", [x, build.input((2,), "int32")], [like(build, x, (3, 2))])

    refuse(add, (2, 3), "input 1 ('t1') must be known at compile time")


def test_too_many_axes() -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("TRANSPOSE", [x, build.constant(range(9), "int32")], [like(build, x, x.shape)])

    refuse(add, (1,) * 9, "wrong rank, found shape [1, 1, 1, 1, 1, 1, 1, 1, 1], expected rank 1 or 2")
