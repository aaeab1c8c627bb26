from __future__ import annotations

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.movement import MAX_ELEMENTS, check_types, like, random_axis, refuse
from tests.oracles import check_model, check_operator
from tinygen.verify.golden import Golden


def random_partner(build: ModelBuilder, x: Value, axis: int) -> Value:
    """A tensor to stand beside `x` along `axis`: one that the graph has, a new input or a constant."""
    shape = list(x.shape)
    shape[axis] = int(build.rng.integers(1, 6))
    fitting = [
        v
        for v in build.pool
        if len(v.shape) == len(shape)
        and (v.scale, v.zero_point) == (x.scale, x.zero_point)
        and all(a == b for i, (a, b) in enumerate(zip(v.shape, shape, strict=True)) if i != axis % len(shape))
    ]
    kind = build.pick(["known", "input", "constant"])
    if kind == "known":
        found: Value = build.pick(fitting)
        return found
    if kind == "input":
        return build.input(shape, x.dtype, x.scale, x.zero_point)
    return build.constant(build.rng.integers(-128, 128, shape), x.dtype, x.scale, x.zero_point)


def add_concatenation(build: ModelBuilder, parts: list[Value], axis: int) -> None:
    """CONCATENATION of tensors that fit."""
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    build.op("CONCATENATION", parts, [like(build, parts[0], shape)], "Concatenation", axis=axis)


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any axis, counted from either end, over any number of activations and constants."""
    if not x.shape:
        return False
    axis = random_axis(build, len(x.shape))
    parts = [x, *(random_partner(build, x, axis) for _ in range(int(build.rng.integers(0, 5))))]
    if sum(int(np.prod(part.shape)) for part in parts) > MAX_ELEMENTS:
        return False
    build.rng.shuffle(parts)
    add_concatenation(build, parts, axis)
    return True


@pytest.mark.parametrize("seed", range(3))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=(1, 2, 3, 4, 5), most=6)


def test_types(golden: Golden) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        constant = build.constant(np.arange(6).reshape(x.shape), x.dtype, x.scale, x.zero_point or 0)
        for axis in (0, -1):
            add_concatenation(build, [x, constant, x], axis)

    check_types(add, (2, 3), golden)


def test_empty_constant() -> None:
    """An input without elements takes no part."""
    build = ModelBuilder()
    x = build.random_input((2, 3))
    empty = build.constant(np.empty((0, 3)), "int8", x.scale, x.zero_point)
    add_concatenation(build, [empty, x, empty, x], 0)
    check_model(build.finish(), None)


def test_of_int16_with_other_scales(golden: Golden) -> None:
    """The interpreter moves int16 values as they are; it does not rescale them."""
    build = ModelBuilder()
    parts = [build.input((2, 3), "int16", scale, 0) for scale in (0.5, 0.25)]
    add_concatenation(build, parts, 1)
    check_model(build.finish(), golden)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize(("scale", "zero_point"), [(0.25, 3), (0.5, 4), (None, 0)])
def test_other_scale(dtype: str, scale: float | None, zero_point: int) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        y = build.input((2, 3), dtype, scale, zero_point)
        add_concatenation(build, [x, y], 1)

    refuse(add, (2, 3), "CONCATENATION", "must have the same scale and zero point", dtype=dtype)


@pytest.mark.parametrize(
    ("axis", "shape", "text"),
    [
        (2, (2, 6), "axis is out of range, found 2, expected -2 to 1"),
        (1, (2, 5), "wrong shape, found [2, 5], expected [2, 6]"),
    ],
)
def test_wrong_axis(axis: int, shape: tuple[int, ...], text: str) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("CONCATENATION", [x, x], [like(build, x, shape)], "Concatenation", axis=axis)

    refuse(add, (2, 3), "CONCATENATION", text)


@pytest.mark.parametrize(
    ("shape", "text"),
    [((3, 3), "'t1' has the wrong shape, found [3, 3], expected [2, 3]"), ((2,), "'t1' has the wrong rank")],
)
def test_wrong_partner(shape: tuple[int, ...], text: str) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        inputs = [x, build.input(shape, "int8", 0.5, 3)]
        build.op("CONCATENATION", inputs, [like(build, x, (2, 6))], "Concatenation", axis=1)

    refuse(add, (2, 3), text)


def test_fused_activation() -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        y = like(build, x, (2, 6))
        build.op("CONCATENATION", [x, x], [y], "Concatenation", axis=1, fusedActivationFunction=1)

    refuse(add, (2, 3), "fused activation is not supported, found RELU, expected NONE")


def test_too_many_inputs() -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        add_concatenation(build, [x] * 127, 0)

    refuse(add, (2,), "wrong number of inputs, found 127, expected 1 to 126")


def test_missing_input() -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("CONCATENATION", [x, None], [like(build, x, (2,))], "Concatenation", axis=0)

    refuse(add, (2,), "input 1 is missing")
