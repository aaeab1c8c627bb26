"""Convolutions that multiply pairs of inputs, for Armv7-M: every shape, weights of every size, rows, overlaps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.dsp import NONE, RELU, RELU6, compiled
from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tests.overlap_harness import at_most, check_tight, layers
from tests.rows_harness import check_rows, rows_of
from tests.test_convolution_dsp import SAME, VALID, convolution
from tests.test_fully_connected_dsp import dense
from tests.test_pointwise_dsp import pointwise
from tests.test_v7m import BOARD, CONVOLUTION, MATRIX, check, templates, values
from tinygen import leaner
from tinygen.ir import Array
from tinygen.ops import convolution_pairs_v7m, pair_blocks_v7m
from tinygen.verify.golden import Golden

pytestmark = pytest.mark.usefixtures("every_function")


def test_random_pixels() -> None:
    """Any pixels, inputs and channels, all zero points, outputs of one sign and of both, limits inside the range."""
    build = ModelBuilder(np.random.default_rng(1))
    rng = build.rng
    for _ in range(14):
        height, width, depth = (int(size) for size in rng.integers([4, 1, 1], [8, 8, 40]))
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, build.random_zero_point(), 3])}
        choice = {"activation": build.pick([NONE, NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-4, -1.7)}
        shape = build.pick([1, 1, 2]), height, width, depth
        pointwise(build, shape, int(rng.integers(2, 24)), per_channel=build.chance(0.7), **choice, **zeros)
    assert {v["form"] for v in values(check(build), CONVOLUTION)} == {"line", "roundings"}


def test_every_number_of_inputs() -> None:
    """Steps, rounds of steps, words of four inputs, a last input without a neighbour."""
    build = ModelBuilder()
    for depth in (*range(1, 20), 31, 32, 33, 67):
        pointwise(build, (1, 1, 5, depth), 4, slope=0.01 / np.sqrt(depth))
    values(check(build, 2), CONVOLUTION)


def test_every_number_of_pixels() -> None:
    """Parts of many pixels, the last one shorter, with one alone."""
    build = ModelBuilder()
    for pixels in (2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 33):
        pointwise(build, (1, 1, pixels, 128), 3, slope=1e-3)
    values(check(build, 2), CONVOLUTION)


def test_random_windows() -> None:
    """Any kernel, stride, gaps and padding, windows that reach outside on all sides, columns along either axis."""
    build = ModelBuilder(np.random.default_rng(21))
    rng = build.rng
    for _ in range(24):
        height, width, depth = (int(size) for size in rng.integers([3, 3, 1], [12, 12, 20]))
        kernel = (int(rng.integers(1, 6)), int(rng.integers(1, 6)))
        choice = {
            "padding": SAME if kernel[0] * 3 > height or kernel[1] * 3 > width else build.pick([SAME, VALID]),
            "stride": tuple(int(step) for step in rng.integers(1, 3, 2)),
            "dilation": (build.pick([1, 1, 2]), build.pick([1, 1, 3])),
            "activation": build.pick([NONE, RELU, RELU6]),
            "slope": 10 ** rng.uniform(-4, -2),
            "x_zero": build.random_zero_point(),
            "y_zero": build.pick([-128, -128, build.random_zero_point()]),
        }
        convolution(build, (build.pick([1, 2]), height, width, depth), int(rng.integers(2, 14)), kernel, **choice)
    assert {v["lined"] for v in values(check(build), CONVOLUTION)} == {False, True}


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (1, 7, 7, 3), "filters": 16},
        {"shape": (1, 12, 12, 16), "filters": 16, "y_zero": 5},
        {"shape": (1, 12, 6, 1), "filters": 12, "kernel": (10, 4), "stride": (2, 2)},
        {"shape": (1, 7, 7, 3), "filters": 8, "stride": (2, 2), "padding": VALID},
        {"shape": (1, 8, 8, 16), "filters": 8, "kernel": (1, 1), "stride": (2, 2)},
        {"shape": (1, 40, 1, 6), "filters": 8, "kernel": (5, 1)},
        {"shape": (1, 1, 40, 6), "filters": 8, "kernel": (1, 5)},
        {"shape": (1, 1, 40, 6), "filters": 8, "kernel": (1, 5), "dilation": (1, 3)},
        {"shape": (1, 1, 200, 7), "filters": 8, "kernel": (1, 5), "dilation": (1, 3)},
        {"shape": (1, 9, 9, 7), "filters": 8, "dilation": (2, 2)},
        {"shape": (1, 9, 9, 4), "filters": 8, "dilation": (1, 3), "padding": VALID},
        {"shape": (1, 2, 2, 5), "filters": 7, "kernel": (5, 5)},
    ],
)
def test_windows_of_real_networks(options: dict[str, Any]) -> None:
    build = ModelBuilder()
    convolution(build, **options)
    values(check(build), CONVOLUTION)


@pytest.mark.parametrize("weight", [-128, -127, 127])
@pytest.mark.parametrize("x_zero", [-128, 0, 127])
def test_weights_and_inputs_at_their_ends(weight: int, x_zero: int) -> None:
    """Every pair of weights has to be split; the samples hold the extremes of int8."""
    build = ModelBuilder()
    reach = 64 * 128 * 255
    bias = [2**29 - reach, reach - 2**29, 0, 1000, -1000, 40000]
    signs = np.sign(build.rng.integers(0, 2, (6, 1, 1, 64)) - 0.5).astype(int)
    for data in (weight, np.clip(weight * signs, -128, 127), np.where(signs > 0, weight, 0)):
        pointwise(build, (1, 1, 40, 64), 6, weights=data, bias=bias, slope=1e-3, x_zero=x_zero)
        pointwise(build, (1, 1, 40, 64), 6, y_zero=5, weights=data, bias=bias, slope=1e-3, x_zero=x_zero)
    values(check(build, 6), CONVOLUTION)


def products(pairs: Array) -> tuple[Array, Array]:
    """The least and the greatest upper half that a pair of weights can make, tried with all inputs at their ends."""
    inputs = np.array([(first, second) for first in (1, 256) for second in (-128, 127)])
    lower = inputs[:, :1] * pairs[:, 1]
    halves = inputs @ pairs.T + (lower >> 16)
    return halves.min(axis=0), halves.max(axis=0)


def test_weights_are_split_where_they_must_be() -> None:
    """All pairs of weights: those that fit are left whole, and the parts of the others fit."""
    pairs = np.stack(np.meshgrid(np.arange(-128, 128), np.arange(-128, 128)), axis=-1).reshape(-1, 2)
    least, most = products(pairs)
    np.testing.assert_array_equal(pair_blocks_v7m.fits(pairs), (least >= -(2**15)) & (most < 2**15))
    rest = pairs // 2
    assert np.all(pair_blocks_v7m.fits(pairs - rest)) and np.all(pair_blocks_v7m.fits(rest))


@pytest.mark.parametrize("pair", [(64, 127), (64, 126), (-64, -127), (127, 1), (127, 2), (127, 3), (1, -128)])
def test_pairs_at_the_limit(pair: tuple[int, int]) -> None:
    """Beside the greatest that fits whole, for every input."""
    build = ModelBuilder()
    weights = np.zeros((4, 1, 1, 8), int)
    weights[0, 0, 0, [0, 2]] = weights[2, 0, 0, [1, 3]] = pair
    weights[1, 0, 0, [4, 6]] = weights[3, 0, 0, [7, 5]] = pair
    pointwise(build, (1, 4, 4, 8), 4, weights=weights, slope=0.005, y_zero=0)
    values(check(build, 8), CONVOLUTION)


def test_few_outputs_are_left_to_others() -> None:
    build = ModelBuilder()
    pointwise(build, (1, 1, 1, 12))
    convolution(build, (1, 5, 5, 4), kernel=(5, 5), padding=VALID)
    convolution(build, (1, 5, 5, 4), filters=1)
    assert CONVOLUTION not in templates(check(build))


def test_layers_of_all_shapes_share_a_kernel() -> None:
    build = ModelBuilder()
    for depth in (4, 16, 40):
        pointwise(build, (1, 4, 40, depth), 16, RELU)
        convolution(build, (1, 9, 9, depth), 8)
        dense(build, depth, 8, 4)
    assert len(compiled(build, BOARD).program.functions) == 1


def test_two_outputs_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Any number of outputs, pairs that are split, gaps along lines, outputs of one sign and of both; rows of them."""
    monkeypatch.setattr(convolution_pairs_v7m, "at_once", lambda context: convolution_pairs_v7m.FEW_PIXELS)
    build = ModelBuilder(np.random.default_rng(9))
    for pixels, y_zero in ((2, -128), (3, 3), (4, 3), (5, -128), (33, -128)):
        pointwise(build, (1, 1, pixels, 40), 6, slope=5e-3, y_zero=y_zero)
    convolution(build, (1, 7, 9, 5), 8, dilation=(2, 2))
    windows(build, 4)
    functions = [each for each in check(build, 2).program.functions if each.template == CONVOLUTION]
    assert {each.values["pixels"] for each in functions} == {2}
    assert {each.values["form"] for each in functions} == {"line", "roundings"}
    check_rows(layers(build.finish(), BOARD))


def test_outputs_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three; two where a large layer, or all layers of a network, take less time with that: each has a function."""
    monkeypatch.setattr(leaner, "CYCLES_A_BYTE", 30)
    many, few, small = ((1, 24, 24, 16), 16), ((1, 16, 16, 32), 32), ((1, 4, 4, 16), 8)
    for layers_of, wanted in (([many], {3}), ([few], {2}), ([many, few], {2, 3}), ([small], {2}), ([many, small], {3})):
        build = ModelBuilder()
        for shape, filters in layers_of:
            convolution(build, shape, filters, slope=1e-3)
        assert {v["pixels"] for v in values(compiled(build, BOARD), CONVOLUTION)} == wanted


def windows(build: ModelBuilder, count: int) -> None:
    """Random ones, of one batch, that have rows."""
    rng = build.rng
    for _ in range(count):
        height, width, depth = (int(size) for size in rng.integers([4, 4, 1], [12, 12, 9]))
        choice = {
            "stride": tuple(int(step) for step in rng.integers(1, 3, 2)),
            "dilation": (build.pick([1, 1, 2]), build.pick([1, 1, 2])),
            "activation": build.pick([NONE, RELU6]),
            "slope": 2e-3,
            "x_zero": build.random_zero_point(),
            "y_zero": build.pick([-128, 3]),
        }
        kernel = (int(rng.integers(1, 5)), int(rng.integers(1, 5)))
        convolution(build, (1, height, width, depth), int(rng.integers(2, 11)), kernel, **choice)


def test_rows() -> None:
    """One row at a time, those of the input anywhere."""
    build = ModelBuilder(np.random.default_rng(3))
    windows(build, 10)
    net = layers(build.finish(), BOARD)
    assert {rows.template for rows in rows_of(net)} == {CONVOLUTION}
    check_rows(net)


def test_rows_of_pixels() -> None:
    """Short rows output by output, long ones in parts."""
    build = ModelBuilder(np.random.default_rng(4))
    for width, depth in ((1, 30), (3, 64), (16, 40), (21, 128)):
        pointwise(build, (1, 3, width, depth), 10, y_zero=3, slope=1e-3)
    net = layers(build.finish(), BOARD)
    assert [rows.template for rows in rows_of(net)] == [MATRIX, MATRIX, CONVOLUTION, CONVOLUTION]
    check_rows(net)


def test_parts_of_rows() -> None:
    """The form with less scratch."""
    build = ModelBuilder(np.random.default_rng(5))
    for width, stride in ((8, 1), (9, 1), (21, 2), (30, 1)):
        convolution(build, (1, 4, width, 3), 4, (3, 3), (1, stride), slope=2e-3)
        convolution(build, (1, 4, width, 4), 4, (2, 3), (2, stride), padding=VALID, slope=2e-3)
    net = layers(build.finish(), BOARD)
    for form in rows_of(net):
        assert form.small and form.small.kernel.scratch_bytes < form.kernel.scratch_bytes
    check_rows(replace(net, choices=tuple(choice.small for choice in net.choices)))


def test_outputs_over_inputs() -> None:
    """Exact at the distance that the rule allows, wrong one byte beyond it."""
    build = ModelBuilder(np.random.default_rng(8))
    for depth, filters in ((9, 20), (30, 8), (12, 12), (200, 64)):
        pointwise(build, (1, 7, 5, depth), filters, y_zero=3, slope=0.02 / depth)
        dense(build, depth, filters, 21, y_zero=3, slope=0.02 / depth)
    windows(build, 8)
    assert check_tight(layers(build.finish(), BOARD), distances=[at_most], samples=3) >= 8


def test_oracles(golden: Golden) -> None:
    build = ModelBuilder()
    windows(build, 4)
    check_model(build.finish(), golden)
