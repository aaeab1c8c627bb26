"""Poolings in vectors of Helium: their C on this computer, their instructions in QEMU's Cortex-M55."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import dsp
from tests.dsp import NONE, RELU, RELU6
from tests.modelbuilder import ModelBuilder
from tests.overlap_harness import check_tight, layers
from tests.rows_harness import check_rows
from tests.test_generated_c import check_sanitized
from tests.test_mve import CORE, M55, templates
from tests.test_pool_dsp import AVERAGE, MAXIMUM, pool
from tests.weighted import output_size, random_window
from tinygen import target
from tinygen.ir import Array
from tinygen.ops import pool_mve
from tinygen.verify.compare import verify

MVE = pool_mve.TEMPLATE


def pool_at(
    build: ModelBuilder,
    op: str,
    shape: tuple[int, int, int, int],
    kernel: tuple[int, int],
    stride: tuple[int, int],
    same: bool,
    activation: int = NONE,
    zero: int = 3,
) -> None:
    """One pooling with any stride, with padding or without."""
    height, width = (
        -(-size // step) if same else (size - reach) // step + 1
        for size, step, reach in zip(shape[1:3], stride, kernel, strict=True)
    )
    x = build.input(shape, "int8", 0.05, zero)
    y = build.tensor((shape[0], height, width, shape[3]), "int8", 0.05, zero)
    sizes = {"filterHeight": kernel[0], "filterWidth": kernel[1], "strideH": stride[0], "strideW": stride[1]}
    build.op(op, [x], [y], "Pool2D", **sizes, padding=0 if same else 1, fusedActivationFunction=activation)


@pytest.mark.parametrize("op", [AVERAGE, MAXIMUM])
def test_random(op: str, tmp_path: Path) -> None:
    """Any window, stride, padding, batch, number of channels from four on, and activation."""
    build = ModelBuilder(np.random.default_rng(len(op)))
    for _ in range(16):
        height, width, depth = (int(size) for size in build.rng.integers([1, 1, 4], [9, 9, 40]))
        window = random_window(build, height, width, dilated=False)
        batch, zero = build.pick([1, 1, 2]), build.random_zero_point()
        x = build.input((batch, height, width, depth), "int8", 0.05, zero)
        y = build.tensor((batch, *output_size(window, height, width), depth), "int8", 0.05, zero)
        options = {key: value for key, value in window.options().items() if not key.startswith("dilation")}
        options["fusedActivationFunction"] = build.pick([NONE, NONE, RELU, RELU6])
        build.op(op, [x], [y], "Pool2D", filterHeight=window.kernel[0], filterWidth=window.kernel[1], **options)
    result = dsp.check(build, [M55], 3)
    found = templates(result)
    assert found.count(MVE) >= (6 if op == AVERAGE else len(found)), found
    check_sanitized(result.model.data, tmp_path, CORE)


def test_every_number_of_channels() -> None:
    """Whole vectors and parts of one; pixels that a load's offset reaches and those that it does not."""
    build = ModelBuilder()
    for depth in (*range(4, 20), 32, 33, 127, 128, 130):
        pool(build, AVERAGE, (1, 2, 4, depth), (2, 2))
        pool(build, MAXIMUM, (1, 2, 4, depth), (2, 2))
    assert set(templates(dsp.check(build, [M55], 3))) == {MVE}


def test_windows_of_every_size() -> None:
    """Elements that are printed one after another, rounds of them, and those behind; single lines and several."""
    build = ModelBuilder()
    for kernel, width in (
        ((1, 9), 9),
        ((1, 10), 12),
        ((3, 3), 4),
        ((4, 4), 5),
        ((5, 4), 5),
        ((3, 23), 24),
        ((25, 5), 5),
    ):
        pool(build, AVERAGE, (1, kernel[0], width, 8), kernel)
        pool(build, MAXIMUM, (1, kernel[0], width, 8), kernel)
    found = dsp.check(build, [M55], 3).program.functions
    assert {function.template for function in found} == {MVE}
    forms = {(values["unrolled"], values["lines"] > 1) for values in (function.values for function in found)}
    assert len(forms) == 4


@pytest.mark.parametrize("extreme", [-128, 127])
def test_sums_at_their_ends(extreme: int) -> None:
    """The largest windows whose sums have 16 bits, and larger ones."""
    shapes = [(1, 15, 17, 8), (1, 16, 16, 8), (1, 15, 15, 5), (1, 32, 32, 4)]
    build = ModelBuilder()
    for shape in shapes:
        pool(build, AVERAGE, shape, shape[1:3])
    result = dsp.compiled(build, M55)
    assert set(templates(result)) == {MVE}
    assert [function.values["lanes"] for function in result.program.functions] == [8, 4, 4, 4]
    samples: list[list[Array]] = [[np.full(shape, extreme, np.int8) for shape in shapes]]
    verdict = verify(result, samples, interpreter=False, board=target.load(M55))
    assert verdict.difference is None, str(verdict.difference)


def test_every_mean() -> None:
    """Of every number of elements and every sum, as the vectors make it: halves away from zero."""
    for area in (*range(1, 256), 256, 300, 576, 1000, 2401):
        values = pool_mve.mean(area, 8 if area <= pool_mve.MOST_SHORT_AREA else pool_mve.LONG_LANES)
        sums = np.arange(-128 * area, 127 * area + 1)
        scaled = sums - (values.below & (sums < 0)) << values.left
        assert abs(scaled).max() < 2**31 > values.multiplier
        if values.multiplier > 1:
            scaled = scaled * values.multiplier + 2**30 >> 31
        means = (scaled * 2 + (1 << values.shift)) >> values.shift + 1
        np.testing.assert_array_equal(means, np.sign(sums) * ((np.abs(sums) + area // 2) // area))


def test_halves() -> None:
    """Means between two whole numbers, on both sides of zero."""
    build = ModelBuilder()
    shapes = [(1, 2, 20, 8), (1, 4, 36, 5), (1, 6, 40, 4)]
    for shape, kernel in zip(shapes, ((2, 2), (2, 3), (3, 4)), strict=True):
        pool(build, AVERAGE, shape, kernel, activation=RELU6, zero_point=-100)
        pool(build, AVERAGE, shape, kernel)
    result, rng = dsp.compiled(build, M55), np.random.default_rng(3)
    assert set(templates(result)) == {MVE}
    twice = [shape for shape in shapes for _ in range(2)]
    samples: list[list[Array]] = [[rng.integers(-3, 3, shape).astype(np.int8) for shape in twice] for _ in range(3)]
    verdict = verify(result, samples, interpreter=False, board=target.load(M55))
    assert verdict.difference is None, str(verdict.difference)


def images(build: ModelBuilder) -> None:
    """Poolings of one image: windows side by side and over each other, inside the image and beyond it."""
    for op in (AVERAGE, MAXIMUM):
        pool_at(build, op, (1, 6, 7, 9), (2, 3), (2, 2), same=False)
        pool_at(build, op, (1, 7, 14, 8), (3, 11), (2, 1), same=False, activation=RELU, zero=-100)
    for depth in (4, 19):
        pool_at(build, MAXIMUM, (1, 5, 6, depth), (3, 3), (2, 2), same=True)
        pool_at(build, MAXIMUM, (1, 5, 6, depth), (2, 3), (1, 1), same=True)


def test_where_the_output_may_lie_over_the_input() -> None:
    build = ModelBuilder()
    images(build)
    net = layers(build.finish(), M55)
    assert {choice.variant.name for choice in net.choices} == {"mve"}
    assert check_tight(net) > 0


def test_rows_of_images() -> None:
    """Row by row, from rows that lie anywhere; a mean of all of them is gathered."""
    build = ModelBuilder()
    images(build)
    pool(build, AVERAGE, (1, 4, 5, 8), (4, 5))
    net = layers(build.finish(), M55)
    assert {choice.variant.name for choice in net.choices} == {"mve"}
    check_rows(net)


def test_what_is_left_to_other_kernels() -> None:
    """A few channels, means over a border."""
    build = ModelBuilder()
    pool(build, AVERAGE, (1, 4, 4, 3), (2, 2))
    pool(build, MAXIMUM, (1, 4, 4, 3), (2, 2))
    pool_at(build, AVERAGE, (1, 5, 5, 8), (3, 3), (2, 2), same=True)
    found = templates(dsp.check(build, [M55], 3))
    assert MVE not in found, found
