"""Kernels that compute one row at a time: exact from rows at any address, with nothing kept between the calls."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dsp import check_files
from tests.modelbuilder import ModelBuilder
from tests.overlap_harness import layers
from tests.rows_harness import by_rows, check_rows, rows_of
from tests.test_convolution_dsp import SAME, VALID, convolution
from tests.test_depthwise_dsp import depthwise
from tests.test_overlap_windows import BOARDS, LEAST_FILTERS, random_pools, slope, window_of
from tests.test_pool_dsp import pool
from tinygen.ops import depthwise_mve, depthwise_rows_dsp, depthwise_v6m


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


@pytest.mark.parametrize("core", ["c", "dsp", "v6m", "mve"])
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


@pytest.mark.parametrize(("core", "seed"), [("c", 0), ("dsp", 0), ("dsp", 1)])
def test_depthwise(core: str, seed: int) -> None:
    check_rows(layers(random_depthwise(seed, core).finish(), BOARDS[core]))


def test_grouped_convolution() -> None:
    build = ModelBuilder()
    for filters in (4, 8):
        convolution(build, (1, 5, 6, 8), filters, (3, 3), groups=4)
    check_rows(layers(build.finish()))


@pytest.mark.parametrize("core", ["c", "dsp"])
@pytest.mark.parametrize("op", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_pooling(op: str, core: str) -> None:
    check_rows(layers(random_pools(9, op, odd=True, batches=1).finish(), BOARDS[core]))


@pytest.mark.parametrize("core", ["c", "dsp"])
def test_means_of_whole_images(core: str) -> None:
    """Gathered: in words of four channels, or one by one; sums of 16 bits, or of 32."""
    build = ModelBuilder()
    for shape in ((1, 5, 6, 8), (1, 3, 13, 4), (1, 25, 5, 64), (1, 4, 4, 6), (1, 20, 20, 4), (1, 1, 7, 12)):
        pool(build, "AVERAGE_POOL_2D", shape, shape[1:3], activation=build.pick([0, 3]), zero_point=-3)
    net = layers(build.finish(), BOARDS[core])
    assert all(rows.gathers for rows in rows_of(net))
    check_rows(net)


def test_batches_have_no_rows() -> None:
    build = ModelBuilder()
    for core in ("c", "dsp"):
        convolution(build, (2, 5, 6, 3))
        depthwise(build, (2, 5, 6, 4))
        depthwise(build, (2, 5, 6, 4), kernel=(2, 2))
        assert all(choice.rows is None for choice in layers(build.finish(), BOARDS[core]).choices)


def test_depthwise_for_helium() -> None:
    """All rows under each are copied, and filled where there are none."""
    build = ModelBuilder(np.random.default_rng(3))
    for kernel, stride, padding in (((3, 3), 1, SAME), ((3, 3), 2, SAME), ((3, 5), (1, 2), SAME), ((3, 2), 1, VALID)):
        for depth in (8, 13):
            depthwise(build, (1, 6, 7, depth), stride, padding, kernel=kernel, y_zero=build.pick([-128, 3]))
    net = layers(build.finish(), BOARDS["mve"])
    assert {rows.template for rows in rows_of(net)} == {depthwise_mve.TEMPLATE}
    check_rows(net)


def test_depthwise_for_helium_in_groups() -> None:
    """Eight or sixteen channels at a time, where there are more and none is left over."""
    build = ModelBuilder(np.random.default_rng(3))
    for depth, kernel, stride, padding in (
        (16, (3, 3), 1, SAME),
        (32, (3, 3), 2, SAME),
        (48, (5, 5), 1, SAME),
        (24, (3, 2), 1, VALID),
    ):
        depthwise(build, (1, 6, 7, depth), stride, padding, kernel=kernel, y_zero=build.pick([-128, 3]))
    depthwise(build, (1, 4, 4, 20))
    depthwise(build, (1, 4, 4, 16), multiplier=2)
    net = layers(build.finish(), BOARDS["mve"])
    small = [rows.small for rows in rows_of(net)]
    assert [rows and rows.kernel.values["group"] for rows in small] == [8, 16, 16, 8, None, None]
    check_rows(replace(net, choices=tuple(choice.small for choice in net.choices)))


def test_depthwise_for_armv6m() -> None:
    build = ModelBuilder(np.random.default_rng(4))
    for shape in ((1, 6, 7, 3), (1, 7, 4, 2), (1, 1, 5, 4)):
        for stride in (1, 2):
            depthwise(build, shape, stride, activation=build.pick([0, 3]), x_zero=build.random_zero_point())
    net = layers(build.finish(), BOARDS["v6m"])
    assert {rows.template for rows in rows_of(net)} == {depthwise_v6m.TEMPLATE}
    check_rows(net)


def test_depthwise_of_every_width() -> None:
    """Pixels and pairs of pixels, loops of them, the output that is left; channels that are no multiple of four."""
    build = ModelBuilder()
    for width, depth in ((1, 4), (2, 5), (5, 8), (14, 7), (27, 4), (28, 4)):
        for stride, padding in ((1, SAME), (2, SAME), (1, VALID)):
            if padding == SAME or width >= 3:
                depthwise(build, (1, 3, width, depth), stride, padding)
    net = layers(build.finish(), BOARDS["dsp"])
    assert {rows.template for rows in rows_of(net)} == {depthwise_rows_dsp.TEMPLATE}
    check_rows(net, samples=2)


def test_depthwise_of_channels_that_are_far_apart() -> None:
    """Offsets of loads, and of the way back to the next channel, that take more than one instruction."""
    build = ModelBuilder()
    for width, depth in ((5, 600), (7, 301), (1, 2047), (1, 2048)):
        depthwise(build, (1, 2, width, depth), 1)
    net = layers(build.finish(), BOARDS["dsp"])
    assert [rows.template for rows in rows_of(net)][:3] == [depthwise_rows_dsp.TEMPLATE] * 3
    check_rows(net, samples=1)


def test_every_compiler(tmp_path: Path) -> None:
    """No warning, with the instructions and without."""
    build = ModelBuilder()
    for width, zero in ((5, -128), (14, -128), (6, 3)):
        convolution(build, (1, 5, width, 3), y_zero=zero)
        convolution(build, (1, 5, width, 8), 9, (3, 3), (2, 2), y_zero=zero)
        depthwise(build, (1, 5, width, 5), y_zero=zero)
        depthwise(build, (1, 5, width, 8), 2, y_zero=zero)
        depthwise(build, (1, 5, width, 3), y_zero=zero, kernel=(5, 4), multiplier=2)
    check_files(by_rows(layers(build.finish(), BOARDS["dsp"])), tmp_path, ("-O0", "-O2", "-Os"))
