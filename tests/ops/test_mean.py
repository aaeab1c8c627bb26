from __future__ import annotations

import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_model, check_operator
from tests.reduction import random_axes, refused
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any axes, kept or not, at the input's scale or another."""
    rank = len(x.shape)
    if rank == 0:
        return False
    axes = build.pick([[1, 2], [2, 1]]) if rank == 4 and build.chance(0.4) else random_axes(build, rank)
    keep = build.chance(0.5)
    reduced = {axis % rank for axis in axes}
    shape = [1 if axis in reduced else size for axis, size in enumerate(x.shape) if keep or axis not in reduced]
    y = build.random_output(shape, like=x if build.chance(0.3) else None)
    named = build.constant(axes[0] if len(axes) == 1 and build.chance(0.5) else axes, "int32")
    build.op("MEAN", [x, named], [y], "Reducer", keepDims=keep)
    return True


@pytest.mark.parametrize("seed", range(4))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=(1, 2, 3, 4, 5))


def _mean(
    shape: tuple[int, ...],
    axes: list[int],
    out: tuple[int, ...],
    scales: tuple[float, float] = (0.1, 0.1),
    keep: bool = False,
) -> ModelBuilder:
    build = ModelBuilder()
    x = build.input(shape, "int8", scales[0], -128)
    y = build.tensor(out, "int8", scales[1], 127)
    build.op("MEAN", [x, build.constant(axes, "int32")], [y], "Reducer", keepDims=keep)
    return build


@pytest.mark.parametrize("ratio", (1e-12, 1e-9, 1e-5, 0.999, 1.0, 7.0, 3e4))
def test_scales(golden: Golden, ratio: float) -> None:
    check_model(_mean((2, 9, 11, 3), [1, 2], (2, 3), (ratio, 1.0)).finish(), golden)


def test_alternating_axes(golden: Golden) -> None:
    check_model(_mean((3, 2, 3, 2, 3), [0, 2, 4], (1, 2, 1, 2, 1), keep=True).finish(), golden)


def test_axes_of_one_element(golden: Golden) -> None:
    check_model(_mean((1, 5, 1), [0, 2], (5,)).finish(), golden)
    check_model(_mean((1, 1), [0, 1], ()).finish(), golden)


def test_no_axes(golden: Golden) -> None:
    check_model(_mean((2, 3), [], (2, 3)).finish(), golden)


def test_refused() -> None:
    refused(_mean((2, 3), [2], (2,)), "axis is out of range, found 2, expected -2 to 1")
    refused(_mean((2, 3), [1], (3,)), "wrong shape, found .3., expected .2.")
    refused(_mean((2, 3), [1], (2,), keep=True), "wrong shape, found .2., expected .2, 1.")
    refused(_mean((3000, 3000), [0, 1], ()), "too many elements to sum in 32 bits, found 9000000")
    build = ModelBuilder()
    x, y = build.input((2, 3), "int8", 0.1, 0), build.tensor((2,), "int8", 0.1, 0)
    build.op("MEAN", [x, build.constant([1.0], "float32")], [y], "Reducer")
    refused(build, "element type this operator does not take, found float32")
    build = ModelBuilder()
    x, axis = build.input((2, 3), "int8", 0.1, 0), build.input((1,), "int32")
    build.op("MEAN", [x, axis], [build.tensor((2,), "int8", 0.1, 0)], "Reducer")
    refused(build, "must be known at compile time")
