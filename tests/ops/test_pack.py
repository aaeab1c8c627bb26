from __future__ import annotations

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.movement import MAX_ELEMENTS, check_types, like, random_axis, refuse
from tests.oracles import check_model, check_operator
from tinygen.verify.golden import Golden


def random_partner(build: ModelBuilder, x: Value) -> Value:
    """A tensor to stand beside `x`: itself, another one of its kind, a new input or a constant."""
    alike = [v for v in build.pool if (v.shape, v.scale, v.zero_point) == (x.shape, x.scale, x.zero_point)]
    kind = build.pick(["known", "input", "constant"])
    if kind == "known":
        found: Value = build.pick(alike)
        return found
    if kind == "input":
        return build.input(x.shape, x.dtype, x.scale, x.zero_point)
    return build.constant(build.rng.integers(-128, 128, x.shape), x.dtype, x.scale, x.zero_point)


def add_pack(build: ModelBuilder, parts: list[Value], axis: int) -> None:
    """PACK of tensors of one shape."""
    shape = np.stack([np.empty(part.shape) for part in parts], axis).shape
    build.op("PACK", parts, [like(build, parts[0], shape)], "Pack", valuesCount=len(parts), axis=axis)


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any new axis, counted from either end, over any number of activations and constants."""
    rank, most = len(x.shape), MAX_ELEMENTS // max(1, int(np.prod(x.shape)))
    if rank > 4 or most < 1:
        return False
    count = int(build.rng.integers(1, min(most, 5) + 1))
    parts = [x, *(random_partner(build, x) for _ in range(count - 1))]
    build.rng.shuffle(parts)
    add_pack(build, parts, random_axis(build, rank + 1))
    return True


@pytest.mark.parametrize("seed", range(3))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=(1, 2, 3, 4))


def test_types(golden: Golden) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        constant = build.constant(np.arange(6).reshape(x.shape), x.dtype, x.scale, x.zero_point or 0)
        for axis in (0, 1, -1):
            add_pack(build, [x, constant, x], axis)

    check_types(add, (2, 3), golden, beyond=("bool",))


def test_scalars(golden: Golden) -> None:
    build = ModelBuilder()
    x = build.random_input(())
    add_pack(build, [x, x, build.constant(5, "int8", x.scale, x.zero_point)], 0)
    check_model(build.finish(), golden)


@pytest.mark.parametrize(
    ("axis", "count", "text"),
    [
        (2, 2, "axis is out of range, found 2, expected -2 to 1"),
        (0, 3, "wrong number of inputs, found 2, expected 3"),
        (1, 2, "wrong shape, found [2, 3], expected [3, 2]"),
        (0, 0, "option valuesCount is out of range, found 0"),
    ],
)
def test_wrong_axis(axis: int, count: int, text: str) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("PACK", [x, x], [like(build, x, (2, 3))], "Pack", valuesCount=count, axis=axis)

    refuse(add, (3,), "PACK", text)


def test_wrong_partner() -> None:
    def add_shape(build: ModelBuilder, x: Value) -> None:
        y = build.input((4,), "int8", 0.5, 3)
        build.op("PACK", [x, y], [like(build, x, (2, 3))], "Pack", valuesCount=2)

    def add_scale(build: ModelBuilder, x: Value) -> None:
        y = build.input((3,), "int8", 0.5, 4)
        build.op("PACK", [x, y], [like(build, x, (2, 3))], "Pack", valuesCount=2)

    refuse(add_shape, (3,), "'t1' has the wrong shape, found [4], expected [3]")
    refuse(add_scale, (3,), "'t1' and 't2' must have the same scale and zero point")


def test_too_many_inputs() -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("PACK", [x] * 127, [like(build, x, (127, 3))], "Pack", valuesCount=127)

    refuse(add, (3,), "too many inputs, found 127, expected at most 126")
