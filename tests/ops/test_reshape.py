from __future__ import annotations

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.movement import check_types, like, read_by_kernel, refuse, then_read
from tests.oracles import check_model, check_operator
from tinygen.driver import Model, compile_model
from tinygen.frontend import tflite
from tinygen.verify.golden import Golden


def random_shape(build: ModelBuilder, size: int) -> list[int]:
    """Sizes whose product is `size`, in random number and order."""
    shape: list[int] = []
    while size > 1:
        factor = build.pick([f for f in range(2, size + 1) if size % f == 0])
        shape.append(factor)
        size //= factor
    shape += [1] * int(build.rng.integers(0 if shape else 1, 3))
    build.rng.shuffle(shape)
    return [*shape[:5], int(np.prod(shape[5:]))]


def emit(build: ModelBuilder, x: Value) -> bool:
    """Shape from the second input or from the option, one size perhaps -1."""
    shape = random_shape(build, int(np.prod(x.shape)))
    wanted = list(shape)
    if build.chance(0.5):
        wanted[int(build.rng.integers(len(wanted)))] = -1
    option = {"options": "Reshape", "newShape": wanted}
    kind = build.pick(["input", "option", "both"])
    inputs = [x] if kind == "option" else [x, build.constant(wanted, "int32")]
    build.op("RESHAPE", inputs, [like(build, x, shape)], **({} if kind == "input" else option))
    return True


@pytest.mark.parametrize("seed", range(3))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(then_read(emit), seed, golden, ranks=(1, 2, 3, 4))


def test_types(golden: Golden) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        y = build.op("RESHAPE", [x, build.constant([4, -1], "int32")], [like(build, x, (4, 6))])[0]
        read_by_kernel(build, y)

    check_types(add, (2, 3, 4), golden)


def test_no_code() -> None:
    build = ModelBuilder()
    x = build.random_input((2, 3))
    emit(build, x)
    data = build.finish()
    compiled = compile_model(Model("test", data, tflite.read(data, "test")), name="test")
    assert not compiled.program.calls
    assert compiled.plan.arena_bytes == 6


def test_chain_keeps_its_source_alive(golden: Golden) -> None:
    """Two aliases of one tensor, read late, while others come and go."""
    build = ModelBuilder()
    x = build.random_input((2, 12))
    emit(build, x)
    first = build.pool[-1]
    emit(build, first)
    order = build.constant([1, 0], "int32")
    turned = build.op("TRANSPOSE", [x, order], [like(build, x, (12, 2))])[0]
    build.op("TRANSPOSE", [turned, order], [like(build, x, (2, 12))])
    check_model(build.finish([*build.pool[1:3], build.pool[-1]]), golden)


def test_scalars(golden: Golden) -> None:
    build = ModelBuilder()
    x = build.random_input((1, 1))
    scalar = build.op("RESHAPE", [x], [like(build, x, ())], "Reshape", newShape=[0])[0]
    y = build.op("RESHAPE", [scalar, build.constant([1], "int32")], [like(build, x, (1,))])[0]
    read_by_kernel(build, y)
    check_model(build.finish(), golden)


def test_shape_input_of_another_type_is_ignored(golden: Golden) -> None:
    build = ModelBuilder()
    x = build.random_input((2, 3))
    shape = build.constant([9, 9], "int64")
    y = build.op("RESHAPE", [x, shape], [like(build, x, (6,))], "Reshape", newShape=[6])[0]
    read_by_kernel(build, y)
    check_model(build.finish(), golden)


def test_no_shape_asked_for() -> None:
    build = ModelBuilder()
    x = build.random_input((2, 3))
    read_by_kernel(build, build.op("RESHAPE", [x], [like(build, x, (6,))])[0])
    check_model(build.finish(), None)


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ([-1, -1], "new shape does not suit the input, found [-1, -1], expected 6 elements"),
        ([-2, -3], "new shape does not suit the input"),
        ([4, -1], "new shape does not suit the input"),
        ([0, -1], "new shape does not suit the input"),
        ([2, 3], "wrong shape, found [6], expected [2, 3]"),
        ([3], "wrong shape, found [6], expected [3]"),
    ],
)
def test_wrong_shape(wanted: list[int], text: str) -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("RESHAPE", [x, build.constant(wanted, "int32")], [like(build, x, (6,))])

    refuse(add, (2, 3), "RESHAPE", text)


def test_wrong_size() -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("RESHAPE", [x], [like(build, x, (7,))])

    refuse(add, (2, 3), "input and output differ in size, found [2, 3] and [7]")


def test_wrong_type() -> None:
    def add(build: ModelBuilder, x: Value) -> None:
        build.op("RESHAPE", [x], [build.tensor((6,), "int16")])

    refuse(add, (2, 3), "element types differ, found int8 and int16")
