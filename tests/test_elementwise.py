from __future__ import annotations

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tinygen.driver import Model, compile_model
from tinygen.frontend import tflite
from tinygen.ops.elementwise import Loop, collapse


@pytest.mark.parametrize(
    ("shapes", "loops"),
    [
        (((2, 3, 4), (2, 3, 4), (2, 3, 4)), (Loop(24, (1, 1, 1)),)),
        (((2, 3, 4), (1,), (2, 3, 4)), (Loop(24, (1, 0, 1)),)),
        (((), (), ()), ()),
        (((1, 1), (1,), (1, 1)), ()),
        (((1, 5, 7, 8), (8,), (1, 5, 7, 8)), (Loop(35, (8, 0, 8)), Loop(8, (1, 1, 1)))),
        (((1, 5, 7, 8), (1, 5, 7, 1), (1, 5, 7, 8)), (Loop(35, (8, 1, 8)), Loop(8, (1, 0, 1)))),
        (((3, 1), (1, 4), (3, 4)), (Loop(3, (1, 0, 4)), Loop(4, (0, 1, 1)))),
        (((2, 3, 4), (2, 1, 4), (2, 3, 4)), (Loop(2, (12, 4, 12)), Loop(3, (4, 0, 4)), Loop(4, (1, 1, 1)))),
    ],
)
def test_collapse(shapes: tuple[tuple[int, ...], ...], loops: tuple[Loop, ...]) -> None:
    assert collapse(*shapes) == loops


@pytest.mark.parametrize("seed", range(50))
def test_loops_visit_what_numpy_broadcasts(seed: int) -> None:
    rng = np.random.default_rng(seed)
    shape = tuple(int(size) for size in rng.integers(1, 4, rng.integers(0, 7)))
    shapes = [tuple(size if rng.random() < 0.6 else 1 for size in shape)[rng.integers(0, 2) :] for _ in range(2)]
    output = np.broadcast_shapes(*shapes)
    loops = collapse(*shapes, output)
    places = np.zeros((1, 3), np.int64)
    for loop in loops:
        steps = np.arange(loop.extent)[:, None] * np.array(loop.strides)
        places = (places[:, None] + steps).reshape(-1, 3)
    for tensor, tensor_shape in enumerate([*shapes, output]):
        indices = np.arange(int(np.prod(tensor_shape))).reshape(tensor_shape)
        np.testing.assert_array_equal(places[:, tensor], np.broadcast_to(indices, output).ravel())


def _functions(build: ModelBuilder) -> list[str]:
    data = build.finish()
    compiled = compile_model(Model("test", data, tflite.read(data, "test model")), name="test")
    return [call.function for call in compiled.program.calls]


@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "PRELU"])
@pytest.mark.parametrize("constant", [(), (1, 1), (8,)])
def test_a_repeated_constant_makes_a_table(op: str, constant: tuple[int, ...]) -> None:
    build = ModelBuilder()
    x = build.input((2, 8), "int8", 0.1, 3)
    build.op(op, [x, build.constant(np.full(constant, 5), "int8", 0.1, 0)], [build.tensor((2, 8), "int8", 0.1, 3)])
    assert _functions(build) == ["tg_lookup_s8_1"]


@pytest.mark.parametrize("op", ["ADD", "SUB", "MUL", "MAXIMUM", "MINIMUM", "PRELU"])
def test_a_tensor_met_by_itself_makes_a_table(op: str) -> None:
    build = ModelBuilder()
    x = build.input((2, 8), "int8", 0.1, 3)
    build.op(op, [x, x], [build.tensor((2, 8), "int8", 0.1, 3)])
    assert _functions(build) == ["tg_lookup_s8_1"]


@pytest.mark.parametrize(
    ("op", "function"),
    [
        ("ADD", "tg_add_scaled_sum_s8_1"),
        ("SUB", "tg_sub_scaled_sum_s8_1"),
        ("MUL", "tg_mul_s8_1"),
        ("MAXIMUM", "tg_maximum_s8_1"),
        ("MINIMUM", "tg_minimum_s8_1"),
    ],
)
def test_an_input_that_repeats_makes_no_table(op: str, function: str) -> None:
    build = ModelBuilder()
    x = build.input((1, 8), "int8", 0.1, 3)
    build.op(op, [x, build.constant(np.full((2, 1), 5), "int8", 0.1, 0)], [build.tensor((2, 8), "int8", 0.1, 3)])
    assert _functions(build) == [function]


def test_the_compiler_keeps_the_call() -> None:
    """GCC 12 dropped this layer while it was free to build the arena's address into the kernel."""
    build = ModelBuilder()
    x = build.input((1, 6, 4, 1), "int8", 0.1)
    constant = build.constant(np.arange(6).reshape(3, 1, 1, 2), "int8", 0.1)
    build.op("MAXIMUM", [constant, x], [build.tensor((3, 6, 4, 2), "int8", 0.1)], "MaximumMinimum")
    check_model(build.finish(), None)
