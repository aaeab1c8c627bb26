"""Winograd's convolution for Armv6-M cores: exact, offered where it can be, chosen where it fits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests import dsp
from tests.dsp import NONE, RELU, RELU6
from tests.modelbuilder import ModelBuilder
from tests.overlap_harness import Layers, check_tight, layers
from tests.test_convolution_dsp import SAME, VALID, convolution
from tests.test_generated_c import check_sanitized
from tests.test_overlap_windows import slope
from tests.test_v6m import CROSS, compiles
from tests.test_winograd import functions, model, preferring
from tinygen import target
from tinygen.driver import compile_model
from tinygen.ops import winograd_v6m
from tinygen.variants import Optimize, Room

VARIANT, KERNEL = "winograd_v6m", "tg_conv_2d_winograd_v6m_s8"
CHAINED, DIRECT = "tg_conv_2d_chain_v6m_s8", "tg_conv_2d_widened_v6m_s8"
BOARD = "pico"


def called(build: ModelBuilder, samples: int = 3) -> set[str]:
    """The kernels, checked here and in the emulated board."""
    with preferring(VARIANT):
        return functions(dsp.check(build, [BOARD], samples))


@pytest.mark.parametrize("seed", range(2))
def test_random_shapes(seed: int) -> None:
    """Maps of 4 pixels on, odd sizes and channels, both paddings, all zero points, sums with and without bounds."""
    build = ModelBuilder(np.random.default_rng(seed))
    rng = build.rng
    for _ in range(7):
        padding = build.pick([SAME, VALID])
        height, width = (int(size) for size in rng.integers(4 if padding == SAME else 6, 14, 2))
        depth, filters = int(rng.integers(4, 24)), int(rng.integers(4, 10))
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, 3, build.random_zero_point()])}
        choice = {"activation": build.pick([NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-4, -3)}
        weights = rng.normal(0, 20, (filters, 3, 3, depth)).clip(-128, 127).astype(np.int8)
        shape = (build.pick([1, 1, 2]), height, width, depth)
        convolution(build, shape, filters, padding=padding, weights=weights, **choice, **zeros)
    assert KERNEL in called(build)


@pytest.mark.parametrize("weight", [-128, 127])
@pytest.mark.parametrize("x_zero", [-128, 127])
def test_weights_and_zero_points_at_their_ends(weight: int, x_zero: int) -> None:
    build = ModelBuilder()
    for y_zero in (-128, 0, 127):
        convolution(build, (1, 5, 6, 8), x_zero=x_zero, y_zero=y_zero, weights=weight, bias=0, slope=2e-3)
    assert called(build, 6) == {KERNEL}


def test_tiles_in_several_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """One row of tiles at a time, fours of tiles that are not full."""
    monkeypatch.setattr(winograd_v6m, "MOST_TILES_BYTES", 1)
    build = ModelBuilder()
    convolution(build, (2, 13, 6, 5), 4, slope=2e-3)
    convolution(build, (1, 9, 21, 4), 4, padding=VALID, slope=2e-3)
    assert called(build) == {KERNEL}


def test_sums_as_great_as_can_be() -> None:
    """Below 2**25; one channel more, and another kernel takes the layer."""
    depth = winograd_v6m.MOST_SUM // (9 * 127 * 128)
    for channels, kernel in ((depth, KERNEL), (depth + 1, DIRECT)):
        build = ModelBuilder()
        convolution(build, (1, 4, 4, channels), 4, weights=127, bias=0, slope=2e-3, x_zero=0)
        with preferring(VARIANT):
            compiled = dsp.compiled(build, BOARD)
        assert functions(compiled) == {kernel}, channels


def test_other_convolutions_are_left_to_others() -> None:
    build = ModelBuilder()
    for options in ({"stride": (2, 2)}, {"kernel": (3, 5)}, {"dilation": (2, 1)}, {"shape": (1, 3, 9, 8)}):
        convolution(build, **{"shape": (1, 9, 9, 8), "filters": 8, **options})
    convolution(build, (1, 9, 9, 3), 8)
    assert KERNEL not in called(build)


def test_chosen_where_there_is_room() -> None:
    """For the least time: the layer that it serves, given RAM; else, and for speed, the direct kernel."""
    build = ModelBuilder()
    convolution(build, (1, 16, 16, 16), 16, slope=2e-3)
    convolution(build, (1, 16, 16, 2), 8, slope=2e-3)
    board, net = target.load(BOARD), model(build)
    fastest = compile_model(net, board, optimize=Optimize.FASTEST)
    assert functions(fastest) == {KERNEL, DIRECT}
    assert functions(compile_model(net, board)) == {CHAINED, DIRECT}
    small = compile_model(net, board, optimize=Optimize.FASTEST, room=Room(ram_bytes=20000))
    assert functions(small) == {CHAINED, DIRECT}


def test_compilers(tmp_path: Path) -> None:
    build = ModelBuilder()
    for y_zero in (-128, 3):
        convolution(build, (2, 9, 6, 5), 4, y_zero=y_zero, slope=2e-3)
        convolution(build, (1, 4, 4, 120), 4, y_zero=y_zero, slope=2e-3)
    with preferring(VARIANT):
        assert functions(dsp.compiled(build, BOARD)) == {KERNEL}
        compiles(build, tmp_path, CROSS[:2])


def test_nothing_outside_its_buffers(tmp_path: Path) -> None:
    build = ModelBuilder()
    for height, width, depth in ((5, 6, 9), (4, 4, 8), (4, 9, 20)):
        convolution(build, (2, height, width, depth), 6, slope=2e-3)
    with preferring(VARIANT):
        check_sanitized(build.finish(), tmp_path, "cortex-m0plus")


@pytest.mark.parametrize("bytes_", [1, 40960])
def test_overlap(bytes_: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """At the rule outputs are equal, one byte beyond they are not."""
    monkeypatch.setattr(winograd_v6m, "MOST_TILES_BYTES", bytes_)
    build = ModelBuilder()
    for height, width, depth, filters in ((13, 6, 5, 4), (9, 5, 4, 8), (17, 4, 8, 4)):
        shape = (1, height, width, depth)
        convolution(build, shape, filters, x_zero=0, y_zero=0, bias=0, slope=slope(9 * depth))
    convolution(build, (2, 10, 7, 6), 6, padding=VALID, x_zero=0, y_zero=0, bias=0, slope=slope(54))
    with preferring(VARIANT):
        net: Layers = layers(build.finish(), BOARD)
    assert {choice.variant.name for choice in net.choices} == {VARIANT}
    assert check_tight(net, samples=12) >= (4 if bytes_ == 1 else 1)
