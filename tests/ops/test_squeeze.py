from __future__ import annotations

import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.movement import check_types, like, read_by_kernel, refuse, then_read
from tests.oracles import check_operator
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Some axes of size 1, counted from either end and perhaps named twice, or all of them unnamed."""
    rank = len(x.shape)
    ones = [axis for axis, size in enumerate(x.shape) if size == 1]
    if not ones or len(ones) == rank:
        return False
    if build.chance(0.3):
        build.op("SQUEEZE", [x], [like(build, x, [size for size in x.shape if size != 1])], "Squeeze")
        return True
    chosen = build.rng.choice(ones, int(build.rng.integers(1, len(ones) + 1))).tolist()
    named = [axis - rank * build.chance(0.5) for axis in chosen]
    shape = [size for axis, size in enumerate(x.shape) if axis not in chosen]
    build.op("SQUEEZE", [x], [like(build, x, shape)], "Squeeze", squeezeDims=named)
    return True


@pytest.mark.parametrize("seed", range(3))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(then_read(emit), seed, golden, ranks=(2, 3, 4, 5), most=3)


def test_types(golden: Golden) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        y = build.op("SQUEEZE", [x], [like(build, x, (2, 4))], "Squeeze", squeezeDims=[1])[0]
        read_by_kernel(build, y)

    check_types(add, (2, 1, 4), golden)


@pytest.mark.parametrize(
    ("axes", "text"),
    [
        ([0], "axis 0 cannot be left out, found shape [2, 1, 4], expected size 1 there"),
        ([3], "axis is out of range, found 3, expected -3 to 2"),
        ([-4], "axis is out of range"),
        ([], "wrong shape, found [2, 1, 4], expected [2, 4]"),
    ],
)
def test_wrong_axes(axes: list[int], text: str) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("SQUEEZE", [x], [like(build, x, x.shape)], "Squeeze", squeezeDims=axes)

    refuse(add, (2, 1, 4), "SQUEEZE", text)
