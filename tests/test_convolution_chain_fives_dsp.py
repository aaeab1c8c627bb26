"""Convolution of chains of five outputs, for the DSP extension: its C on this computer, its code in the emulator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.dsp import BOARDS, NONE, RELU, RELU6, check, check_compilers, compiled, forms
from tests.modelbuilder import ModelBuilder
from tests.overlap_harness import check_tight, layers
from tests.rows_harness import check_rows
from tests.test_convolution_dsp import SAME, VALID, convolution
from tests.test_generated_c import check_sanitized
from tinygen.ops import convolution_chain_fives_dsp, convolution_chain_runs_dsp

pytestmark = pytest.mark.usefixtures("every_function")

KERNEL = "tg_conv_2d_fives_chain_dsp_s8"


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it is possible, whether or not it is faster, and never by rows."""
    monkeypatch.setattr(convolution_chain_fives_dsp, "cycles", lambda context: 0.0)
    monkeypatch.setattr(convolution_chain_runs_dsp, "FEWER_CYCLES", 0)


def random_layers(seed: int, count: int = 6) -> ModelBuilder:
    """Any window of an even number of inputs in a row, five outputs or more along the width, all zero points."""
    build = ModelBuilder(np.random.default_rng(seed))
    rng = build.rng
    for _ in range(count):
        depth, stride = build.pick([1, 1, 2, 3]), tuple(int(step) for step in rng.integers(1, 4, 2))
        kernel = int(rng.integers(1, 8)), int(rng.integers(1, 5)) * (1 if depth == 2 else 2)
        if kernel == (1, 1):
            stride = (1, 2)  # else it is a pointwise convolution
        height = kernel[0] + int(rng.integers(0, 7))
        width = kernel[1] + stride[1] * int(rng.integers(4, 13))
        zeros = {"x_zero": build.random_zero_point(), "y_zero": -128, "activation": build.pick([NONE, RELU])}
        padding, channel = build.pick([SAME, SAME, VALID]), build.chance(0.7)
        if not channel:
            zeros |= {"y_zero": 3, "activation": NONE}
        shape, filters, slope = (1, height, width, depth), 2 * int(rng.integers(1, 6)), 10 ** rng.uniform(-4, -2)
        convolution(build, shape, filters, kernel, stride, padding=padding, per_channel=channel, slope=slope, **zeros)
    return build


@pytest.mark.parametrize("board", BOARDS)
def test_random_shapes(board: str, always: None) -> None:
    build = random_layers(BOARDS.index(board))
    convolution(build, (1, 9, 10, 1), 4, (3, 4), (2, 2), per_channel=False, y_zero=3)
    assert set(forms(check(build, [board]), KERNEL)) == {"line", "roundings"}


@pytest.mark.parametrize("width", [10, 11, 17])
@pytest.mark.parametrize("height", [1, 3, 9])
def test_borders(width: int, height: int, always: None) -> None:
    """Windows taller than the input, five outputs or more, the last computed twice; windows that share no row."""
    build = ModelBuilder(np.random.default_rng(width * height))
    for kernel, stride in (((10, 4), (2, 2)), ((5, 6), (1, 2)), ((2, 2), (3, 2))):
        convolution(build, (1, height, width, 1), 6, kernel, stride, x_zero=17)
    forms(check(build, samples=2), KERNEL)


def test_weights_and_inputs_at_their_ends(always: None) -> None:
    build = ModelBuilder()
    for weight in (-128, -127, 127):
        convolution(build, (1, 11, 10, 1), 4, (10, 4), (2, 2), weights=weight, x_zero=127, slope=0.001)
    forms(check(build, samples=4), KERNEL)


def test_first_layers_of_one_channel_have_it() -> None:
    """Where it is faster; not where outputs have limits, are fewer than five, or filters are odd."""
    build = ModelBuilder()
    convolution(build, (1, 49, 10, 1), 64, (10, 4), (2, 2), activation=RELU)
    forms(check(build, samples=1), KERNEL)
    for shape, filters, activation in (((1, 9, 8, 1), 64, RELU), ((1, 9, 10, 1), 63, RELU), ((1, 9, 10, 1), 8, RELU6)):
        other = ModelBuilder()
        convolution(other, shape, filters, (9, 4), (2, 2), activation=activation)
        assert not compiled(other).program.calls[0].function.startswith(KERNEL)


def test_windows_that_byte_pairs_do_not_reach() -> None:
    """They have no rows then; nor outputs so far apart that what is under five of them is much to copy."""
    build, far = ModelBuilder(), ModelBuilder()
    convolution(build, (1, 900, 12, 1), 4, (900, 4), (2, 2), padding=VALID, weights=1, slope=0.001)
    convolution(far, (1, 3, 90, 1), 4, (2, 4), (1, 16))
    net = layers(build.finish(), "nucleo_l4r5zi")
    assert convolution_chain_fives_dsp.rows(net.choices[0].context) is None
    forms(check(build, samples=2), KERNEL)
    assert not compiled(far).program.calls[0].function.startswith(KERNEL)


def test_overlaps(always: None) -> None:
    """A group of five columns after another; of five alone each row has its place behind the windows above it."""
    build = ModelBuilder()
    for width, filters, stride in ((10, 2, 2), (10, 8, 2), (13, 2, 2), (13, 6, 1), (27, 4, 3), (31, 2, 3)):
        padding = VALID if width > 13 else SAME
        convolution(build, (1, 9, width, 1), filters, (4, 4), (2, stride), slope=0.002, padding=padding)
    net = layers(build.finish(), "nucleo_l4r5zi")
    assert {choice.variant.name for choice in net.choices} == {"chain_fives_dsp"}
    assert check_tight(net) >= 6


def test_rows(always: None) -> None:
    """Rows by themselves are those of byte pairs."""
    build = ModelBuilder()
    convolution(build, (1, 13, 10, 1), 8, (10, 4), (2, 2))
    check_rows(layers(build.finish(), "nucleo_l4r5zi"), samples=2)


def test_compilers(tmp_path: Path, always: None) -> None:
    build = random_layers(9, 2)
    convolution(build, (1, 13, 10, 1), 8, (10, 4), (2, 2))
    check_compilers(build, tmp_path)
    check_sanitized(build.finish(), tmp_path / "sanitized", "cortex-m4f")
