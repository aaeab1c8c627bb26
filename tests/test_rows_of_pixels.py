"""What is computed pixel by pixel, a row at a time by its own kernel: exact from rows anywhere, over each other too."""

from __future__ import annotations

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.overlap_harness import layers
from tests.rows_harness import check_rows
from tests.test_pointwise_dsp import pointwise

BYTE = "int8", 0.1, 3
SHAPE = (1, 3, 5, 9)


@pytest.mark.parametrize("board", [None, "nucleo_l4r5zi", "pico"])
def test_pointwise(board: str | None) -> None:
    build = ModelBuilder(np.random.default_rng(2))
    for _ in range(10):
        height, width, depth, filters = build.rng.integers([1, 2, 4, 4], [5, 7, 30, 30]).tolist()
        pointwise(build, (1, height, width, depth), filters, build.pick([0, 3]), y_zero=3, slope=0.02 / depth)
    check_rows(layers(build.finish(), board))


@pytest.mark.parametrize("board", [None, "nucleo_l4r5zi"])
def test_elements(board: str | None) -> None:
    """Two inputs, one of them with one channel too; tables; rows side by side."""
    build = ModelBuilder(np.random.default_rng(3))

    def output(shape: tuple[int, ...] = SHAPE) -> list[Value]:
        return [build.tensor(shape, "int8", 0.2, -5)]

    for op, options in (("ADD", "Add"), ("SUB", "Sub"), ("MUL", "Mul"), ("MAXIMUM", "MaximumMinimum")):
        for shape in (SHAPE, (*SHAPE[:3], 1)):
            build.op(op, [build.input(SHAPE, *BYTE), build.input(shape, *BYTE)], output(), options)
    build.op("PRELU", [build.input(SHAPE, *BYTE), build.constant(np.ones((1, 1, 9)), "int8", 0.1, 0)], output())
    build.op("LOGISTIC", [build.input(SHAPE, *BYTE)], [build.tensor(SHAPE, "int8", 1 / 256, -128)])
    build.op("SOFTMAX", [build.input(SHAPE, *BYTE)], [build.tensor(SHAPE, "int8", 1 / 256, -128)], "Softmax", beta=1.0)
    build.op("QUANTIZE", [build.input(SHAPE, *BYTE)], output(), "Quantize")
    parts = [build.input((*SHAPE[:3], depth), *BYTE) for depth in (4, 1, 7)]
    build.op("CONCATENATION", parts, [build.tensor((*SHAPE[:3], 12), *BYTE)], "Concatenation", axis=3)
    check_rows(layers(build.finish(), board))


@pytest.mark.parametrize("board", [None, "nucleo_l4r5zi"])
def test_columns(board: str | None) -> None:
    """Some columns, the first and the last too; columns of one pixel, and several images side by side."""
    build = ModelBuilder(np.random.default_rng(4))
    for first, width in ((0, 2), (3, 2), (1, 1), (0, 5)):
        sliced(build, SHAPE, (0, 0, first, 0), (1, 3, width, 9))
    for widths in ((1, 4), (5, 2, 3)):
        parts = [build.input((1, 3, width, 9), *BYTE) for width in widths]
        build.op("CONCATENATION", parts, [build.tensor((1, 3, sum(widths), 9), *BYTE)], "Concatenation", axis=2)
    check_rows(layers(build.finish(), board))


def sliced(build: ModelBuilder, shape: tuple[int, ...], begin: tuple[int, ...], size: tuple[int, ...]) -> None:
    """A SLICE of an input of that shape."""
    where = [build.constant(np.array(values), "int32") for values in (begin, size)]
    build.op("SLICE", [build.input(shape, *BYTE), *where], [build.tensor(size, *BYTE)])


def test_what_has_no_such_rows() -> None:
    """A constant that differs by row, an input that repeats down the rows, some rows, rows one after another, words."""
    build = ModelBuilder()
    y = [build.tensor(SHAPE, "int8", 0.2, -5) for _ in range(2)]
    build.op("ADD", [build.input(SHAPE, *BYTE), build.constant(np.arange(3).reshape(3, 1, 1), *BYTE)], y[:1], "Add")
    build.op("ADD", [build.input(SHAPE, *BYTE), build.input((1, 1, 1, 9), *BYTE)], y[1:], "Add")
    sliced(build, SHAPE, (0, 1, 0, 0), (1, 2, 5, 9))
    sliced(build, (2, *SHAPE[1:]), (0, 0, 1, 0), (2, 3, 3, 9))
    parts = [build.input(SHAPE, *BYTE) for _ in range(2)]
    build.op("CONCATENATION", parts, [build.tensor((1, 6, 5, 9), *BYTE)], "Concatenation", axis=1)
    fixed = build.constant(np.ones((1, 3, 1, 9)), *BYTE)
    build.op("CONCATENATION", [parts[0], fixed], [build.tensor((1, 3, 6, 9), *BYTE)], "Concatenation", axis=2)
    build.op("QUANTIZE", [build.input(SHAPE, "float32")], [build.tensor(SHAPE, *BYTE)], "Quantize")
    assert [choice.rows for choice in layers(build.finish()).choices] == [None] * 7
