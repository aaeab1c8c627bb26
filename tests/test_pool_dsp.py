"""Poolings for cores with the DSP extension: their C on this computer, their instructions in the emulator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests.dsp import BOARDS, NONE, RELU, RELU6, check, check_compilers, compiled
from tests.modelbuilder import ModelBuilder
from tests.weighted import output_size, random_window
from tinygen import target
from tinygen.ir import Array
from tinygen.ops import pool_dsp, pool_words
from tinygen.verify.compare import verify

DSP, PLAIN = "kernels/pool_2d.dsp.c.j2", "kernels/pool_2d.c.j2"
AVERAGE, MAXIMUM = "AVERAGE_POOL_2D", "MAX_POOL_2D"


def pool(
    build: ModelBuilder,
    op: str,
    shape: Sequence[int],
    kernel: tuple[int, int],
    activation: int = NONE,
    zero_point: int = 3,
) -> None:
    """One pooling without padding of an input of its own, windows side by side."""
    batch, height, width, depth = shape
    out = (batch, (height - kernel[0]) // kernel[0] + 1, (width - kernel[1]) // kernel[1] + 1, depth)
    x = build.input(shape, "int8", 0.05, zero_point)
    y = build.tensor(out, "int8", 0.05, zero_point)
    sizes = {"filterHeight": kernel[0], "filterWidth": kernel[1], "strideH": kernel[0], "strideW": kernel[1]}
    build.op(op, [x], [y], "Pool2D", **sizes, padding=1, fusedActivationFunction=activation)


def templates(build: ModelBuilder) -> list[str]:
    """Of each layer."""
    program = compiled(build).program
    functions = {function.name: function.template for function in program.functions}
    return [functions[call.function] for call in program.calls]


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("op", [AVERAGE, MAXIMUM])
def test_random(op: str, board: str) -> None:
    """Any window, stride, padding, batch, number of channels from a word on, and activation."""
    build = ModelBuilder(np.random.default_rng(BOARDS.index(board)))
    for _ in range(12):
        height, width, depth = (int(size) for size in build.rng.integers([1, 1, 4], [9, 9, 21]))
        window = random_window(build, height, width, dilated=False)
        batch = build.pick([1, 1, 2])
        zero = build.random_zero_point()
        x = build.input((batch, height, width, depth), "int8", 0.05, zero)
        y = build.tensor((batch, *output_size(window, height, width), depth), "int8", 0.05, zero)
        options = {key: value for key, value in window.options().items() if not key.startswith("dilation")}
        options["fusedActivationFunction"] = build.pick([NONE, NONE, RELU, RELU6])
        build.op(op, [x], [y], "Pool2D", filterHeight=window.kernel[0], filterWidth=window.kernel[1], **options)
    assert DSP in templates(build)
    check(build, [board])


@pytest.mark.parametrize("extreme", [-128, 127])
def test_sums_at_their_ends(extreme: int) -> None:
    """The largest window whose sums fit 16 bits, those of which each line does, one whose lines are longer."""
    shapes = [(1, 15, 17, 8), (1, 16, 16, 5), (1, 2, 255, 4), (1, 1, 256, 4), (1, 16, 8, 9)]
    build = ModelBuilder()
    for shape in shapes:
        pool(build, AVERAGE, shape, shape[1:3])
    assert templates(build) == [DSP] * 3 + [pool_words.TEMPLATE, DSP]
    samples: list[list[Array]] = [[np.full(shape, extreme, np.int8) for shape in shapes]]
    verdict = verify(compiled(build), samples, interpreter=False, board=target.load(BOARDS[0]))
    assert verdict.difference is None, str(verdict.difference)


def test_every_mean() -> None:
    """Of every number of elements and every sum, as the kernel makes it: halves away from zero."""
    for area in range(1, pool_dsp.MOST_AREA + 1):
        values = pool_dsp.mean_values(area)
        sums = np.arange(-128 * area, 127 * area + 1)
        scaled = (sums * values["mean_multiplier"] >> 16) + values["mean_addend"]
        means = (scaled if area % 2 else scaled + (scaled - 1 >> 31)) >> values["mean_bits"]
        assert values["mean_multiplier"] < 2**31
        np.testing.assert_array_equal(means, np.sign(sums) * ((np.abs(sums) + area // 2) // area))


@pytest.mark.parametrize("shift", range(1, 8))
def test_every_mean_by_a_shift(shift: int) -> None:
    """Of 2 to 128 elements, in the lower lane of a word beside the least and the greatest sum."""
    area = 1 << shift
    sums, bias = np.arange(-128 * area, 127 * area + 1), 128 * area
    wanted = np.sign(sums) * ((np.abs(sums) + area // 2) // area)
    for upper in (-128, 127):
        lanes = (sums + bias) + (area * upper + bias << 16)
        positive = lanes >> shift + 7 & 0x00010001
        means = (lanes + positive + (area // 2 - 1) * 0x10001) >> shift & 0x00FF00FF
        assert lanes.max() < 2**32
        np.testing.assert_array_equal(means & 0xFFFF, wanted + 128)
        np.testing.assert_array_equal(means >> 16, upper + 128)


def test_halves() -> None:
    """Means between two whole numbers, on both sides of zero: here and in the emulator."""
    build = ModelBuilder()
    shapes = [(1, 2, 20, 8), (1, 4, 36, 5), (1, 6, 40, 4), (1, 8, 16, 7), (1, 2, 9, 9)]
    for shape, kernel in zip(shapes, ((2, 2), (2, 3), (3, 4), (8, 16), (2, 1)), strict=True):
        pool(build, AVERAGE, shape, kernel, activation=RELU6, zero_point=-100)
        pool(build, AVERAGE, shape, kernel)
    assert set(templates(build)) == {DSP}
    rng = np.random.default_rng(3)
    twice = [shape for shape in shapes for _ in range(2)]
    samples: list[list[Array]] = [[rng.integers(-3, 3, shape).astype(np.int8) for shape in twice] for _ in range(3)]
    verdict = verify(compiled(build), samples, interpreter=False, board=target.load(BOARDS[0]))
    assert verdict.difference is None, str(verdict.difference)


def test_windows_of_many_elements() -> None:
    """Sums of lines added up: inside the image and over its borders, words of channels by two and by one."""
    build = ModelBuilder()
    pool(build, AVERAGE, (1, 40, 21, 8), (20, 20))
    pool(build, AVERAGE, (2, 17, 18, 7), (17, 18), RELU6)
    x, y = build.input((1, 18, 19, 4), "int8", 0.05, -7), build.tensor((1, 9, 19, 4), "int8", 0.05, -7)
    build.op(AVERAGE, [x], [y], "Pool2D", filterHeight=18, filterWidth=19, strideH=2, strideW=1, padding=0)
    assert templates(build) == [DSP] * 3
    check(build)


def test_what_is_left_to_plain_c() -> None:
    """Less than a word of channels, a maximum with an upper limit."""
    build = ModelBuilder()
    pool(build, AVERAGE, (1, 4, 4, 3), (2, 2))
    pool(build, MAXIMUM, (1, 4, 4, 3), (2, 2))
    pool(build, MAXIMUM, (1, 4, 4, 8), (2, 2), RELU6, -128)
    assert templates(build) == [PLAIN] * 3
    pool(build, MAXIMUM, (1, 4, 4, 8), (2, 2), RELU)
    pool(build, AVERAGE, (1, 4, 4, 8), (2, 2), RELU6, -128)
    assert templates(build) == [PLAIN] * 3 + [DSP] * 2
    check(build)


def test_compilers(tmp_path: Path) -> None:
    build = ModelBuilder()
    for op in (AVERAGE, MAXIMUM):
        pool(build, op, (1, 6, 4, 8), (3, 2), RELU)
        pool(build, op, (2, 6, 4, 7), (2, 4))
        x, y = build.input((1, 5, 5, 7), "int8", 0.05, 3), build.tensor((1, 3, 3, 7), "int8", 0.05, 3)
        build.op(op, [x], [y], "Pool2D", filterHeight=3, filterWidth=3, strideH=2, strideW=2, padding=0)
    pool(build, AVERAGE, (1, 17, 16, 8), (17, 16))
    assert set(templates(build)) == {DSP}
    check_compilers(build, tmp_path)
