"""Depthwise convolutions that multiply pairs of elements, for Armv7-M: every shape, taps at their ends, overlaps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dsp import NONE, RELU, RELU6, compiled
from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tests.overlap_harness import check_safe, differing, layers, placed
from tests.rows_harness import check_rows
from tests.test_convolution_dsp import SAME, VALID
from tests.test_depthwise_dsp import depthwise
from tests.test_generated_c import check_sanitized
from tests.test_overlap_windows import before, behind, first, last, slope
from tests.test_v7m import BOARD, DEPTHWISE, check, compiles, templates, values
from tinygen import leaner
from tinygen.verify.golden import Golden

pytestmark = pytest.mark.usefixtures("every_function")
KERNEL = "kernels/depthwise_conv_2d.pairs.v7m.c.j2"


def test_random() -> None:
    """Both strides and paddings, even and odd rows along either axis, several filters a channel, all scalings."""
    build = ModelBuilder(np.random.default_rng(210))
    rng = build.rng
    for _ in range(20):
        height, width, depth = (int(size) for size in rng.integers([1, 18, 1], [9, 30, 5]))
        height, width = build.pick([(height, width), (width, height)])
        padding = build.pick([SAME, SAME, VALID]) if min(height, width) > 2 else SAME
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, -128, build.random_zero_point()])}
        choice = {"activation": build.pick([NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-4, -1)}
        choice["multiplier"] = build.pick([1, 1, 3])
        shape, stride = (build.pick([1, 1, 2]), height, width, depth), build.pick([1, 1, 2])
        depthwise(build, shape, stride, padding, per_channel=build.chance(0.7), **choice, **zeros)
    found = values(check(build), KERNEL)
    assert {v["fused"] for v in found} == {False, True} and {v["turned"] for v in found} == {False, True}


def test_every_length_of_a_row() -> None:
    """Rounds of steps and steps behind them, which the two passes of odd rows share unequally."""
    build = ModelBuilder(np.random.default_rng(211))
    for width in (4, 5, 6, 7, 8, 9, 15, 16, 17, 18, 19):
        depthwise(build, (1, 5, width, 2), slope=0.004, y_zero=build.pick([-128, 5]))
        depthwise(build, (1, 5, 2 * width, 2), 2, slope=0.004, y_zero=build.pick([-128, 5]))
    found = values(check(build, 2), KERNEL)
    assert {each["rounds"] > 1 for v in found for each in v["passes"]} == {False, True}


@pytest.mark.parametrize("zero_point", [-128, 127])
def test_taps_and_inputs_at_their_ends(zero_point: int, golden: Golden) -> None:
    """The greatest products of neighbouring taps; two of -128 beside each other do not fit."""
    build = ModelBuilder(np.random.default_rng(212))
    alternating = np.where(np.arange(9).reshape(1, 3, 3, 1) % 3 == 1, -128, -127)
    for weights in (127, -127, alternating, build.rng.choice([-127, 127], (1, 3, 3, 4))):
        for stride in (1, 2):
            bias = [2**28, -(2**28), 0, 900]
            depthwise(build, (1, 6, 9, 4), stride, x_zero=zero_point, weights=weights, bias=bias)
    values(check(build, 6), KERNEL)
    check_model(build.finish(), golden)
    depthwise(build, (1, 6, 9, 4), weights=-128)
    assert DEPTHWISE in templates(compiled(build, BOARD))


@pytest.mark.parametrize(
    ("shape", "stride", "own"),
    [
        ((1, 9, 9, 300), 1, True),
        ((1, 25, 5, 3), 1, True),
        ((1, 9, 9, 3), (2, 1), True),
        ((1, 12, 12, 3), 3, False),
        ((1, 3, 3, 3), 1, False),
        ((1, 3, 1100, 1), 1, False),
    ],
    ids=["far outputs", "turned", "strides apart", "stride of three", "short rows", "long rows"],
)
def test_which_kernel(shape: tuple[int, ...], stride: Any, own: bool) -> None:
    build = ModelBuilder()
    depthwise(build, shape, stride, slope=0.004)
    assert (templates(check(build, 1)) == {KERNEL}) == own


def test_small_layers_have_a_leaner_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A function must save thirty cycles for each of its bytes."""
    monkeypatch.setattr(leaner, "CYCLES_A_BYTE", 30)
    build = ModelBuilder()
    depthwise(build, (1, 9, 9, 150), slope=0.004)
    depthwise(build, (1, 9, 8, 4), slope=0.004)
    functions = compiled(build, BOARD).program.functions
    assert [(function.template, function.values["channels"]) for function in functions] == [
        (KERNEL, 150),
        (DEPTHWISE, 4),
    ]


def test_rows() -> None:
    """One row at a time, by the kernel that computes one output after another."""
    build = ModelBuilder()
    for shape, stride in (((1, 9, 9, 3), 1), ((1, 8, 12, 2), 2)):
        depthwise(build, shape, stride, slope=0.004)
    check_rows(layers(build.finish(), BOARD))


def test_where_the_output_may_lie() -> None:
    """On pixels of the input, not a byte further."""
    build = ModelBuilder(np.random.default_rng(213))
    for shape, stride in (((1, 4, 5, 3), 1), ((1, 9, 8, 4), 2), ((2, 5, 6, 2), 1)):
        depthwise(build, shape, stride, slope=2 * slope(9), x_zero=0, bias=0)
    net = layers(build.finish(), BOARD)
    assert {choice.variant.name for choice in net.choices} == {"pairs_v7m"}
    check_safe(net, distances=(first, last))
    assert len(differing(net, placed(net, before))) >= 3
    assert len(differing(net, placed(net, behind))) >= 3


def test_compilers_and_sanitizers(tmp_path: Path) -> None:
    """No warning at any level of optimisation, nothing outside its buffers: all scalings, limits, filters, passes."""
    build = ModelBuilder(np.random.default_rng(214))
    for y_zero, activation in ((-128, NONE), (3, NONE), (-100, RELU6)):
        depthwise(build, (2, 5, 7, 3), activation=activation, y_zero=y_zero)
        depthwise(build, (1, 9, 25, 2), 2, activation=activation, y_zero=y_zero, multiplier=2)
    assert templates(compiled(build, BOARD)) == {KERNEL}
    compiles(build, tmp_path)
    check_sanitized(build.finish(), tmp_path, "cortex-m3")
