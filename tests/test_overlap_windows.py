"""Kernels that move a window: results are equal at the rule of every variant, and differ one byte beyond it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder
from tests.overlap_harness import Layers, at_most, check_safe, check_tight, differing, layers, placed
from tests.test_convolution_dsp import SAME, VALID, convolution
from tests.test_depthwise_dsp import depthwise
from tests.weighted import RandomWindow, output_size, random_window
from tinygen.ops.spec import Overlap
from tinygen.variants import Choice

BOARDS = {"c": None, "dsp": "nucleo_l4r5zi", "v6m": "nucleo_g0b1re", "mve": "mps3-an547"}
LEAST_FILTERS = 4
"""With which the kernels for one instruction set are chosen."""


def window_of(build: ModelBuilder, height: int, width: int, core: str) -> RandomWindow:
    """A random window without gaps that the core's kernel takes, 1x1 with a stride only."""
    while True:
        window = random_window(build, height, width, dilated=core != "v6m")
        if window.kernel != (1, 1) or window.stride != (1, 1):
            return window


def slope(inputs: int) -> float:
    """Of a layer whose outputs spread over their range and seldom leave it."""
    return 0.006 / float(np.sqrt(inputs))


def random_convolutions(seed: int, core: str, count: int = 8) -> ModelBuilder:
    build = ModelBuilder(np.random.default_rng(seed))
    for _ in range(count):
        height, width, depth = (int(size) for size in build.rng.integers(1, [10, 10, 9]))
        window = window_of(build, height, width, core)
        shape, filters = (build.pick([1, 1, 2]), height, width, depth), int(build.rng.integers(LEAST_FILTERS, 12))
        padding = SAME if window.same else VALID
        numbers: dict[str, Any] = {
            "x_zero": 0,
            "y_zero": 0,
            "bias": 0,
            "slope": slope(window.kernel[0] * window.kernel[1] * depth),
        }
        dilation = (window.dilation[0], 1) if core == "mve" else window.dilation
        convolution(build, shape, filters, window.kernel, window.stride, dilation, padding, **numbers)
    return build


def random_depthwise(seed: int, core: str, count: int = 8) -> ModelBuilder:
    build = ModelBuilder(np.random.default_rng(seed))
    rng = build.rng
    for _ in range(count):
        height, width, depth = (int(size) for size in rng.integers([3, 4, 1], [11, 11, 6]))
        kernel = (3, 3) if core in ("v6m", "mve") else build.pick([(3, 3), (3, 3), (2, 4), (5, 3), (1, 2)])
        step = build.pick([1, 1, 2])
        stride = (step, step) if core == "v6m" else build.pick([(step, step), (1, 2), (3, 1)])
        padding = VALID if build.chance(0.4) and kernel[0] <= height and kernel[1] <= width else SAME
        padding = SAME if core == "mve" else padding
        shape = build.pick([1, 1, 2]), height, width, depth + (7 if core == "mve" else 0)
        multiplier = build.pick([1, 1, 2]) if core in ("c", "dsp") else 1
        numbers: dict[str, Any] = {"x_zero": 0, "bias": 0, "slope": 2 * slope(kernel[0] * kernel[1])}
        depthwise(build, shape, stride, padding, kernel=kernel, multiplier=multiplier, **numbers)
    return build


def random_pools(seed: int, op: str, odd: bool, batches: int = 2, count: int = 8) -> ModelBuilder:
    build = ModelBuilder(np.random.default_rng(seed))
    for _ in range(count):
        height, width, words = (int(size) for size in build.rng.integers([3, 3, 1], [10, 10, 4]))
        depth = 4 * words + (build.pick([0, 1, 3]) if odd else 0)
        window = window_of(build, height, width, "v6m")
        batch = build.pick([1, 1, batches])
        x = build.input((batch, height, width, depth), "int8", 0.05, 3)
        y = build.tensor((batch, *output_size(window, height, width), depth), "int8", 0.05, 3)
        options = {key: value for key, value in window.options().items() if not key.startswith("dilation")}
        options["fusedActivationFunction"] = 0
        build.op(op, [x], [y], "Pool2D", filterHeight=window.kernel[0], filterWidth=window.kernel[1], **options)
    return build


def kernels(net: Layers) -> set[str]:
    return {choice.variant.name for choice in net.choices}


@pytest.mark.parametrize("core", BOARDS)
def test_convolution(core: str) -> None:
    """Row by row, column by column, one pixel or three at a time."""
    net = layers(random_convolutions(5, core).finish(), BOARDS[core])
    assert core in kernels(net)
    assert check_tight(net, samples=12) >= 7


def test_grouped_convolution() -> None:
    """Each group reads channels of its own, those of later groups last."""
    build = ModelBuilder()
    for filters in (4, 8, 12):
        numbers: dict[str, Any] = {"x_zero": 0, "y_zero": 0, "bias": 0, "slope": slope(9), "groups": 4}
        convolution(build, (1, 5, 6, 8), filters, (3, 3), **numbers)
        convolution(build, (2, 5, 6, 4), filters, (2, 2), (2, 2), **numbers)
    assert check_tight(layers(build.finish())) >= 6


@pytest.mark.parametrize("core", BOARDS)
def test_depthwise(core: str) -> None:
    """A channel at a time, its rows as they are needed, or one output after another."""
    net = layers(random_depthwise(6, core, 10).finish(), BOARDS[core])
    assert kernels(net) & {core, "window_dsp"}
    assert check_tight(net, samples=12) >= 7


@pytest.mark.parametrize("core", ["c", "dsp"])
@pytest.mark.parametrize("op", ["AVERAGE_POOL_2D", "MAX_POOL_2D"])
def test_pooling(op: str, core: str) -> None:
    net = layers(random_pools(7, op, odd=core == "c" or op == "AVERAGE_POOL_2D").finish(), BOARDS[core])
    assert kernels(net) == {core}
    assert check_tight(net, samples=12) >= 7


def test_maxima_of_odd_channels() -> None:
    """The last word of channels is computed again from some that are maxima already, and on the same pixel is right."""
    net = layers(random_pools(8, "MAX_POOL_2D", odd=True).finish(), BOARDS["dsp"])
    found = {i for i, choice in enumerate(net.choices) if choice.kernel.overlaps[0].exact}
    assert len(found) >= 4
    check_safe(net, distances=(at_most, first))
    assert differing(net, placed(net, behind)) >= found


def test_transposed_convolution() -> None:
    """Outputs grow faster than inputs are read: the output begins before the input, and ends about where it ends."""
    build = ModelBuilder()
    for x, kernel, y in (
        ((1, 3, 4, 2), (3, 3), (1, 6, 8, 3)),
        ((1, 4, 3, 5), (2, 2), (1, 8, 6, 2)),
        ((2, 2, 3, 2), (3, 3), (2, 4, 6, 4)),
        ((1, 5, 5, 4), (1, 1), (1, 9, 9, 1)),
    ):
        shape, weights = build.constant(y, "int32"), build.rng.integers(-127, 128, (y[3], *kernel, x[3]))
        source, w = build.input(x, "int8", 0.5, 0), build.constant(weights, "int8", 0.01)
        output = build.tensor(y, "int8", 0.5 * 0.01 / slope(kernel[0] * x[3]), 0)
        build.op("TRANSPOSE_CONV", [shape, w, source], [output], "TransposeConv", strideH=2, strideW=2, padding=0)
    assert check_tight(layers(build.finish()), operand=2) >= 4


def planes(core: str) -> Layers:
    """Layers whose outputs may lie on pixels of their input, most of them in whole batches."""
    build = ModelBuilder(np.random.default_rng(8))
    numbers: dict[str, Any] = {"x_zero": 0, "bias": 0, "slope": 2 * slope(9)}
    for shape, stride, padding in (
        ((1, 5, 6, 3), 1, SAME),
        ((1, 9, 4, 2), 1, SAME),
        ((1, 6, 9, 4), 2, SAME),
        ((1, 9, 9, 3), 2, VALID),
        ((1, 9, 4, 3), 1, VALID),
        ((2, 6, 6, 3), 2, SAME),
        ((2, 7, 5, 3), 1, SAME),
    ):
        depthwise(build, shape, stride, padding, **numbers)
    return layers(build.finish(), BOARDS[core])


def first(_: Choice, rule: Overlap) -> int | None:
    return rule.exact[0] if rule.exact else None


def last(_: Choice, rule: Overlap) -> int | None:
    return rule.exact[-1] if rule.exact else None


def before(_: Choice, rule: Overlap) -> int | None:
    return rule.exact[0] - 1 if rule.exact else None


def behind(_: Choice, rule: Overlap) -> int | None:
    return rule.exact[-1] + 1 if rule.exact else None


@pytest.mark.parametrize("core", ["dsp", "v6m"])
def test_on_pixels_of_the_input(core: str) -> None:
    """A byte to either side meets a channel that is still to be read."""
    net = planes(core)
    found = {i for i, choice in enumerate(net.choices) if choice.kernel.overlaps[0].exact}
    assert len(found) >= 6
    check_safe(net, distances=(first, last))
    assert differing(net, placed(net, before)) >= found
    assert differing(net, placed(net, behind)) >= found


def test_in_place() -> None:
    """The layers for which it matters: one stride, as many channels out as in."""
    build = ModelBuilder()
    for shape in ((1, 5, 6, 3), (1, 9, 4, 2), (1, 25, 5, 8)):
        depthwise(build, shape)
    for core in ("dsp", "v6m"):
        for choice in layers(build.finish(), BOARDS[core]).choices:
            assert choice.variant.name in (core, "line_shared_dsp") and 0 in choice.kernel.overlaps[0].exact


def test_one_step_may_lie_anywhere() -> None:
    """All is read before the first byte is written."""
    build = ModelBuilder()
    depthwise(build, (1, 5, 6, 1), 1, y_zero=3)
    convolution(build, (1, 1, 6, 3), 5, (1, 3))
    net = layers(build.finish(), BOARDS["dsp"])
    for choice in net.choices:
        rule = choice.kernel.overlaps[0]
        assert rule.most == choice.context.input(0).bytes

    def inside(choice: Choice, rule: Overlap) -> int | None:
        return 4

    check_safe(net, distances=(inside,))
    assert at_most(net.choices[0], net.choices[0].kernel.overlaps[0]) == 30
