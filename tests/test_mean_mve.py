"""Means over pixels in vectors of Helium: their C on this computer, their instructions in QEMU's Cortex-M55."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from tests import dsp
from tests.dsp import RELU
from tests.modelbuilder import ModelBuilder
from tests.overlap_harness import check_tight, layers
from tests.rows_harness import check_rows
from tests.test_generated_c import check_sanitized
from tests.test_mve import CORE, M55, check_compilers, templates
from tests.test_pool_dsp import AVERAGE, MAXIMUM, pool
from tests.test_pool_mve import pool_at
from tinygen import target
from tinygen.ir import Array
from tinygen.ops import mean_mve
from tinygen.verify.compare import verify

MVE = mean_mve.TEMPLATE


def mean(
    build: ModelBuilder,
    shape: Sequence[int],
    axes: Sequence[int] = (1, 2),
    scales: Sequence[float] = (0.05, 0.02),
    zeros: Sequence[int] = (3, -5),
    keep: bool = True,
) -> None:
    """One mean of an input of its own."""
    out = [1 if axis in axes else size for axis, size in enumerate(shape) if keep or axis not in axes]
    x, y = build.input(shape, "int8", scales[0], zeros[0]), build.tensor(out, "int8", scales[1], zeros[1])
    build.op("MEAN", [x, build.constant(list(axes), "int32")], [y], "Reducer", keepDims=keep)


def test_random(tmp_path: Path) -> None:
    """Any pixels and channels, axes before and behind those that stay, outputs of one sign and both."""
    build = ModelBuilder()
    for _ in range(14):
        images, height, width, depth = (int(size) for size in build.rng.integers([1, 1, 2, 4], [4, 12, 12, 40]))
        zeros = build.pick([-128, build.random_zero_point()]), build.pick([-128, build.random_zero_point()])
        scales = 0.05, 0.05 * 2 ** float(build.rng.uniform(-2, 1))
        axes = build.pick([(1, 2), (1, 2), (0, 1, 2), (1,), (0, 1)])
        mean(build, (images, height, width, depth), axes, scales, zeros, keep=build.chance(0.5))
    result = dsp.check(build, [M55], 3)
    found = templates(result)
    assert found.count(MVE) >= 10, found
    forms = [function.values for function in result.program.functions if function.template == MVE]
    assert {values["signed"] for values in forms} == {True, False} and {values["lanes"] for values in forms} == {4, 8}
    check_sanitized(result.model.data, tmp_path, CORE)


def test_every_number_of_channels() -> None:
    build = ModelBuilder()
    for depth in (*range(4, 18), 32, 127, 128, 130):
        mean(build, (1, 3, 4, depth))
    assert set(templates(dsp.check(build, [M55], 3))) == {MVE}


@pytest.mark.parametrize("extreme", [-128, 127])
def test_sums_at_their_ends(extreme: int) -> None:
    """The most pixels whose sums have 16 bits, and more; zero points at the other end."""
    shapes = [(1, 15, 17, 8), (1, 16, 16, 8), (1, 40, 50, 4), (1, 15, 17, 5)]
    build = ModelBuilder()
    for shape in shapes:
        mean(build, shape, scales=(0.05, 0.05), zeros=(-1 - extreme, 3))
    result = dsp.compiled(build, M55)
    assert [function.values["lanes"] for function in result.program.functions] == [8, 4, 4, 4]
    samples: list[list[Array]] = [[np.full(shape, extreme, np.int8) for shape in shapes]]
    verdict = verify(result, samples, interpreter=False, board=target.load(M55))
    assert verdict.difference is None, str(verdict.difference)


def test_halves() -> None:
    """Means between two whole numbers on both sides of zero: away from it."""
    build = ModelBuilder()
    shapes = [(64, 2, 2, 8), (64, 2, 4, 5), (64, 4, 4, 8)]
    for shape in shapes:
        mean(build, shape, scales=(0.05, 0.05), zeros=(0, 0))
    result, rng = dsp.compiled(build, M55), np.random.default_rng(2)
    assert set(templates(result)) == {MVE}
    samples: list[list[Array]] = [[rng.integers(-3, 4, shape).astype(np.int8) for shape in shapes]]
    verdict = verify(result, samples, interpreter=False, board=target.load(M55))
    assert verdict.difference is None, str(verdict.difference)


def test_where_the_output_may_lie_and_rows() -> None:
    """At the bound of the rule and one byte beyond; rows of an image are gathered."""
    build = ModelBuilder()
    for shape in ((1, 3, 4, 8), (1, 5, 3, 19)):
        mean(build, shape, scales=(0.05, 0.02))
    net = layers(build.finish(), M55)
    assert {choice.variant.name for choice in net.choices} == {"mve"}
    assert check_tight(net) > 0
    check_rows(net)


def test_what_is_left_to_plain_c() -> None:
    """A few channels, means of channels, axes that are apart, means that are scaled up."""
    build = ModelBuilder()
    mean(build, (1, 4, 4, 3))
    mean(build, (1, 4, 4, 8), (3,))
    mean(build, (2, 4, 4, 8), (0, 2))
    mean(build, (1, 1, 2, 8), scales=(0.5, 0.1))
    assert MVE not in templates(dsp.check(build, [M55], 3))


def test_all_compilers(tmp_path: Path) -> None:
    """Means, and poolings too."""
    build = ModelBuilder()
    for op in (AVERAGE, MAXIMUM):
        pool(build, op, (1, 6, 4, 8), (3, 2), RELU)
        pool(build, op, (2, 6, 20, 7), (2, 20))
    pool_at(build, MAXIMUM, (1, 5, 5, 7), (3, 3), (2, 2), same=True)
    mean(build, (1, 5, 5, 16))
    mean(build, (2, 17, 16, 9), zeros=(-128, -128))
    check_compilers(build, tmp_path)
