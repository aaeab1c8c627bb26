from __future__ import annotations

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.movement import check_types, like, refuse
from tests.ops.test_pad import random_paddings
from tests.oracles import check_model, check_operator
from tests.weighted import bias_for
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any amounts of any value, the ends and the zero point often."""
    found = random_paddings(build, x)
    if found is None:
        return False
    value = build.pick([-128, 127, x.zero_point, int(build.rng.integers(-128, 128))])
    fill = build.constant(build.pick([value, [value]]), x.dtype, x.scale, x.zero_point)
    build.op("PADV2", [x, build.constant(found[0], "int32"), fill], [like(build, x, found[1])])
    return True


@pytest.mark.parametrize("seed", range(3))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=(1, 2, 3, 4))


@pytest.mark.parametrize("value", [0, 1, -1, 77, 0.1, -(2**31), 2**31 - 1, 2**40 + 3])
def test_types(golden: Golden, value: float) -> None:
    """Values of equal bytes and of different ones, each in every type that holds it."""

    def add(build: ModelBuilder, x: Value) -> None:
        stored = np.float32(value) if x.dtype == "float32" else np.int64(value)
        if x.dtype not in ("float32", "bool") and not np.iinfo(x.dtype).min <= stored <= np.iinfo(x.dtype).max:
            stored = np.int64(5)
        fill = build.constant(stored.astype(x.dtype), x.dtype, x.scale, x.zero_point or 0)
        build.op("PADV2", [x, build.constant([[0, 1], [2, 0]], "int32"), fill], [like(build, x, (3, 5))])

    check_types(add, (2, 3), golden)


def refuse_fill(value: object, text: str, dtype: str = "int8", scale: float | None = 0.5) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.random_input((1,))
        fill = build.constant(value, dtype, scale, 3)
        build.op("PADV2", [x, build.constant([[0, 1]], "int32"), fill], [like(build, x, (4,))])
        order = build.constant([0], "int32")
        build.op("TRANSPOSE", [build.pool[1], order], [like(build, build.pool[1], (1,))])

    refuse(add, (3,), "PADV2", text, dtype=dtype)


def test_wrong_fill() -> None:
    refuse_fill([1, 2], "padding value must be one number, found shape [2]")
    refuse_fill(1, "must have the same scale and zero point, found 0.25, 3 and 0.5, 3", scale=0.25)
    refuse_fill(1, "must have the same scale and zero point, found none on", scale=None)
    refuse_fill(np.inf, "padding value must be a finite number, found inf", dtype="float32", scale=None)


def test_fill_at_run_time() -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        fill = build.input((1,), "int8", 0.5, 3)
        build.op("PADV2", [x, build.constant([[0, 1]], "int32"), fill], [like(build, x, (4,))])

    refuse(add, (3,), "input 2 ('t1') must be known at compile time")


def test_before_convolution(golden: Golden) -> None:
    """A fill other than the zero point must not vanish into the convolution."""
    build = ModelBuilder()
    x = build.input((1, 4, 4, 2), "int8", 0.5, 3)
    for value in (3, 4):
        fill = build.constant(value, "int8", 0.5, 3)
        amounts = build.constant([[0, 0], [1, 0], [0, 1], [0, 0]], "int32")
        padded = build.op("PADV2", [x, amounts, fill], [like(build, x, (1, 5, 5, 2))])[0]
        weights = build.constant(build.rng.integers(-127, 128, (3, 2, 2, 2)), "int8", 0.01, 0)
        y = build.random_output((1, 4, 4, 3))
        bias = bias_for(build, padded, 0.01, 3)
        build.op("CONV_2D", [padded, weights, bias], [y], "Conv2D", padding=1, strideH=1, strideW=1)
    check_model(build.finish(), golden)
