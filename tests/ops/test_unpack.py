from __future__ import annotations

import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.movement import check_types, like, random_axis, refuse
from tests.oracles import check_model, check_operator
from tinygen.verify.golden import Golden


def add_unpack(build: ModelBuilder, x: Value, axis: int) -> None:
    """UNPACK of all slices along `axis`."""
    shape = list(x.shape)
    parts = shape.pop(axis)
    build.op("UNPACK", [x], [like(build, x, shape) for _ in range(parts)], "Unpack", num=parts, axis=axis)


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any axis that is not too long, counted from either end."""
    rank = len(x.shape)
    axis = random_axis(build, rank) if rank > 1 else 0
    if rank < 2 or x.shape[axis] > 12:
        return False
    add_unpack(build, x, axis)
    return True


@pytest.mark.parametrize("seed", range(3))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=(2, 3, 4, 5))


def test_types(golden: Golden) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        for axis in (0, 1, -1):
            add_unpack(build, x, axis)

    check_types(add, (2, 3, 4), golden, beyond=("int64",))


def test_into_scalars(golden: Golden) -> None:
    build = ModelBuilder()
    add_unpack(build, build.random_input((3,)), 0)
    check_model(build.finish(), golden)


@pytest.mark.parametrize(
    ("axis", "parts", "text"),
    [
        (1, 3, "axis 1 has another size than outputs, found 4, expected 3"),
        (2, 3, "axis is out of range, found 2, expected -2 to 1"),
        (0, 2, "wrong number of outputs, found 3, expected 2"),
    ],
)
def test_wrong_axis(axis: int, parts: int, text: str) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("UNPACK", [x], [like(build, x, (4,)) for _ in range(3)], "Unpack", num=parts, axis=axis)

    refuse(add, (3, 4), "UNPACK", text)


def test_wrong_output() -> None:
    def add_shape(build: ModelBuilder, x: Value) -> None:
        build.op("UNPACK", [x], [like(build, x, (5,))], "Unpack", num=1, axis=0)

    def add_scale(build: ModelBuilder, x: Value) -> None:
        build.op("UNPACK", [x], [build.tensor((4,), "int8", 0.25, 3)], "Unpack", num=1, axis=0)

    refuse(add_shape, (1, 4), "wrong shape, found [5], expected [4]")
    refuse(add_scale, (1, 4), "must have the same scale and zero point, found 0.5, 3 and 0.25, 3")
