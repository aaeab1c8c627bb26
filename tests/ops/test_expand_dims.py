from __future__ import annotations

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.movement import check_types, like, random_axis, read_by_kernel, refuse, then_read
from tests.oracles import check_operator
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """A new axis at any place, counted from either end."""
    rank = len(x.shape)
    if rank > 4:
        return False
    axis = random_axis(build, rank + 1)
    shape = np.expand_dims(np.empty(x.shape), axis).shape
    axis_input = build.constant(build.pick([axis, [axis]]), build.pick(["int32", "int64"]))
    build.op("EXPAND_DIMS", [x, axis_input], [like(build, x, shape)])
    return True


@pytest.mark.parametrize("seed", range(3))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(then_read(emit), seed, golden, ranks=(1, 2, 3, 4))


def test_types(golden: Golden) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        y = build.op("EXPAND_DIMS", [x, build.constant(-2, "int32")], [like(build, x, (2, 1, 3))])[0]
        read_by_kernel(build, y)

    check_types(add, (2, 3), golden)


@pytest.mark.parametrize(
    ("axis", "shape", "text"),
    [
        (3, (2, 3, 1), "axis is out of range, found 3, expected -3 to 2"),
        (-4, (2, 3, 1), "axis is out of range"),
        ([0, 1], (1, 1, 2, 3), "axis must be one number, found 2 numbers"),
        (0, (2, 3, 1), "wrong shape, found [2, 3, 1], expected [1, 2, 3]"),
    ],
)
def test_wrong_axis(axis: object, shape: tuple[int, ...], text: str) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("EXPAND_DIMS", [x, build.constant(axis, "int32")], [like(build, x, shape)])

    refuse(add, (2, 3), "EXPAND_DIMS", text)


def test_axis_at_run_time() -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("EXPAND_DIMS", [x, build.input((1,), "int32")], [like(build, x, (1, 2, 3))])

    refuse(add, (2, 3), "input 1 ('t1') must be known at compile time")


def test_other_scale() -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("EXPAND_DIMS", [x, build.constant(0, "int32")], [build.tensor((1, 2, 3), "int8", 0.25, 3)])

    refuse(add, (2, 3), "must have the same scale and zero point, found 0.5, 3 and 0.25, 3")
