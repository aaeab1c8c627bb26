from __future__ import annotations

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.movement import MAX_ELEMENTS, check_types, like, refuse
from tests.oracles import check_model, check_operator
from tinygen.verify.golden import Golden


def random_paddings(build: ModelBuilder, x: Value) -> tuple[list[list[int]], list[int]] | None:
    """(amounts, padded shape), often height and width alone; None when the result would be too large."""
    rank = len(x.shape)
    if not 1 <= rank <= 5:
        return None
    amounts = build.rng.integers(0, 4, (rank, 2)) * (build.rng.random((rank, 1)) < 0.6)
    if rank == 4 and build.chance(0.5):
        amounts[[0, 3]] = 0
    shape = [size + int(sum(pair)) for size, pair in zip(x.shape, amounts, strict=True)]
    return (amounts.tolist(), shape) if np.prod(shape) <= MAX_ELEMENTS else None


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any amounts around any axes."""
    found = random_paddings(build, x)
    if found is None:
        return False
    amounts = build.constant(found[0], build.pick(["int32", "int64"]))
    build.op("PAD", [x, amounts], [like(build, x, found[1])])
    return True


@pytest.mark.parametrize("seed", range(3))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=(1, 2, 3, 4))


def test_random_of_high_rank(golden: Golden) -> None:
    check_operator(emit, 3, golden, ranks=(5,), most=3)


def test_types(golden: Golden) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("PAD", [x, build.constant([[0, 1], [2, 0], [0, 0]], "int32")], [like(build, x, (3, 5, 4))])
        build.op("PAD", [x, build.constant([[1, 1], [1, 1], [1, 1]], "int32")], [like(build, x, (4, 5, 6))])

    check_types(add, (2, 3, 4), golden)


@pytest.mark.parametrize("zero_point", [-3, 0, 300])
def test_int16_zero_point(golden: Golden, zero_point: int) -> None:
    build = ModelBuilder()
    x = build.input((3, 4), "int16", 0.5, zero_point)
    build.op("PAD", [x, build.constant([[1, 0], [0, 2]], "int32")], [like(build, x, (4, 6))])
    check_model(build.finish(), golden)


def test_int8_without_quantisation(golden: Golden) -> None:
    build = ModelBuilder()
    x = build.input((3, 4), "int8")
    build.op("PAD", [x, build.constant([[1, 0], [0, 2]], "int32")], [like(build, x, (4, 6))])
    check_model(build.finish(), golden)


@pytest.mark.parametrize(
    ("amounts", "text"),
    [
        ([[0, 0], [-1, 2]], "padding is negative, found -1"),
        ([[0, 0], [0, 2]], "wrong shape, found [2, 4], expected [2, 5]"),
        ([[0, 1]], "wrong shape, found [1, 2], expected [2, 2]"),
        ([0, 0, 0, 1], "wrong shape, found [4], expected [2, 2]"),
    ],
)
def test_wrong_amounts(amounts: list[object], text: str) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("PAD", [x, build.constant(amounts, "int32")], [like(build, x, (2, 4))])

    refuse(add, (2, 3), "PAD", text)


def test_other_scale() -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("PAD", [x, build.constant([[0, 0], [0, 1]], "int32")], [build.tensor((2, 4), "int8", 0.25, 3)])

    refuse(add, (2, 3), "must have the same scale and zero point, found 0.5, 3 and 0.25, 3")


def test_lost_scale() -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("PAD", [x, build.constant([[0, 0], [0, 1]], "int32")], [build.tensor((2, 4), "int8")])

    refuse(add, (2, 3), "'t0' and 't2' must have the same scale and zero point, found none on 't2'")


def test_too_many_axes() -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("PAD", [x, build.constant([[0, 0]] * 6, "int32")], [like(build, x, x.shape)])

    refuse(add, (1,) * 6, "wrong rank")


def test_amounts_at_run_time() -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("PAD", [x, build.input((2, 2), "int32")], [like(build, x, (2, 4))])

    refuse(add, (2, 3), "input 1 ('t1') must be known at compile time")
