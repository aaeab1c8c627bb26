"""Kernels that compute one row at a time: exact from rows at any address, with nothing kept between the calls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder
from tests.overlap_harness import layers
from tests.rows_harness import check_rows
from tests.test_convolution_dsp import SAME, VALID, convolution
from tests.test_depthwise_dsp import depthwise
from tests.test_overlap_windows import BOARDS, LEAST_FILTERS, slope, window_of


def random_convolutions(seed: int, core: str, count: int = 10) -> ModelBuilder:
    """Any window, all zero points, outputs of one sign and of both."""
    build = ModelBuilder(np.random.default_rng(seed))
    for _ in range(count):
        height, width, depth = (int(size) for size in build.rng.integers(1, [10, 10, 9]))
        window = window_of(build, height, width, core)
        shape, filters = (1, height, width, depth), int(build.rng.integers(LEAST_FILTERS, 12))
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, build.random_zero_point(), 3])}
        choice: dict[str, Any] = {**zeros, "activation": build.pick([0, 0, 1, 3]), "slope": slope(depth)}
        dilation = (window.dilation[0], 1) if core == "mve" else window.dilation
        padding = SAME if window.same else VALID
        convolution(build, shape, filters, window.kernel, window.stride, dilation, padding, **choice)
    return build


@pytest.mark.parametrize("core", ["dsp"])
def test_convolution(core: str) -> None:
    check_rows(layers(random_convolutions(1, core).finish(), BOARDS[core]))


def random_depthwise(seed: int, core: str, count: int = 12) -> ModelBuilder:
    """3x3 and other windows, several filters for each channel, outputs of one sign and of both."""
    build = ModelBuilder(np.random.default_rng(seed))
    rng = build.rng
    for _ in range(count):
        height, width, depth = (int(size) for size in rng.integers([1, 2, 1], [11, 13, 10]))
        kernel = (3, 3) if build.chance(0.6) else build.pick([(2, 4), (5, 3), (1, 2)])
        step = build.pick([1, 1, 2])
        stride = (step, step) if kernel == (3, 3) else build.pick([(1, 2), (3, 1), (1, 1)])
        padding = VALID if build.chance(0.4) and kernel[0] <= height and kernel[1] <= width else SAME
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, -128, 3])}
        choice: dict[str, Any] = {**zeros, "activation": build.pick([0, 0, 3]), "slope": 10 ** rng.uniform(-3.5, -2)}
        shape, multiplier = (1, height, width, depth), build.pick([1, 1, 1, 2])
        depthwise(build, shape, stride, padding, kernel=kernel, multiplier=multiplier, **choice)
    return build


@pytest.mark.parametrize("core", ["dsp"])
@pytest.mark.parametrize("seed", range(2))
def test_depthwise(core: str, seed: int) -> None:
    check_rows(layers(random_depthwise(seed, core).finish(), BOARDS[core]))
