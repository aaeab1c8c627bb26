"""Convolutions of 4-bit weights for Armv7-M: exact on all oracles, by rows and over their inputs too."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.compressed import check, compiled, constant_bytes, templates
from tests.dsp import NONE, RELU6, WARNINGS
from tests.modelbuilder import ModelBuilder
from tests.overlap_harness import Layers, at_most, check_tight, layers
from tests.rows_harness import check_rows, rows_of
from tests.test_convolution_dsp import SAME, VALID, convolution
from tests.test_fully_connected_dsp import dense
from tests.test_generated_c import check_sanitized
from tests.test_pointwise_dsp import pointwise
from tests.test_v7m import BOARD, CROSS
from tinygen import target, variants
from tinygen.ir import Array
from tinygen.ops.packed_pairs_v7m import TEMPLATE, nibbles
from tinygen.variants import Optimize, choose

PACKED = "conv_2d.pairs.packed.v7m"


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small layers are packed too."""
    monkeypatch.setattr(variants, "LEAST_SAVED_BYTES", 1)


def narrow(build: ModelBuilder, *shape: int) -> Array:
    """Weights of 4 bits, both ends among them."""
    weights = build.rng.integers(-8, 8, shape)
    weights.flat[:2] = (-8, 7)
    return weights


def choice(build: ModelBuilder) -> dict[str, Any]:
    zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, 3])}
    return {"activation": build.pick([NONE, RELU6]), "slope": 10 ** build.rng.uniform(-3, -1.5), **zeros}


def windows(build: ModelBuilder, count: int, batches: tuple[int, ...] = (1,)) -> None:
    """Random ones: channels and sizes that are odd, maps of one column or row, gaps, kernels larger than the map."""
    rng = build.rng
    for _ in range(count):
        height, width, depth = (int(size) for size in rng.integers([1, 1, 1], [11, 11, 18]))
        kernel = (int(rng.integers(1, 6)), int(rng.integers(1, 6)))
        fits = kernel[0] * 2 <= height and kernel[1] * 2 <= width
        steps = {
            "stride": tuple(int(step) for step in rng.integers(1, 3, 2)),
            "dilation": (build.pick([1, 1, 2]), build.pick([1, 1, 2])),
            "padding": build.pick([SAME, VALID]) if fits else SAME,
        }
        shape, filters = (build.pick(list(batches)), height, width, depth), int(rng.integers(2, 14))
        convolution(
            build, shape, filters, kernel, weights=narrow(build, filters, *kernel, depth), **steps, **choice(build)
        )


def pixels(build: ModelBuilder) -> None:
    """Layers that read each pixel once, one alone among them; the sizes leave something over everywhere."""
    for shape, filters in (((2, 3, 3, 65), 17), ((1, 1, 1, 64), 16), ((1, 1, 1, 33), 9), ((1, 1, 21, 128), 3)):
        pointwise(build, shape, filters, weights=narrow(build, filters, 1, 1, shape[3]), **choice(build))
    for depth, units, rows in ((63, 18, 2), (64, 9, 5), (300, 33, 1)):
        dense(build, depth, units, rows, weights=narrow(build, units, depth), slope=0.002)


@pytest.mark.parametrize("board", [BOARD, "mps2-an385"])
def test_every_kind_of_layer(board: str) -> None:
    build = ModelBuilder(np.random.default_rng(4))
    pixels(build)
    windows(build, 12, (1, 2))
    assert set(templates(check(build, board, Optimize.COMPACT))) == {PACKED}


@pytest.mark.parametrize("x_zero", [-128, 0, 127])
def test_weights_and_inputs_at_their_ends(x_zero: int) -> None:
    build = ModelBuilder()
    signs = build.rng.integers(0, 2, (6, 1, 1, 64))
    for weights in (signs * 15 - 8, np.full_like(signs, -8), np.full_like(signs, 7), np.zeros_like(signs)):
        pointwise(build, (1, 2, 3, 64), 6, weights=weights, slope=1e-3, x_zero=x_zero, y_zero=5)
    result = check(build, BOARD, Optimize.COMPACT, samples=6)
    assert set(templates(result)) == {PACKED}


def packed(build: ModelBuilder) -> Layers:
    """The layers, each with the kernel of 4 bits."""
    net = layers(build.finish(), BOARD)
    found = choose(net.graph, net.numerics, target.load(BOARD).core, Optimize.COMPACT)
    assert {each.variant.template for each in found if each} == {TEMPLATE}
    return replace(net, choices=tuple(each for each in found if each))


def test_rows_and_parts_of_them() -> None:
    build = ModelBuilder(np.random.default_rng(3))
    windows(build, 10)
    for shape in ((1, 4, 21, 3), (1, 7, 1, 6)):
        convolution(build, shape, 4, (3, 3), weights=narrow(build, 4, 3, 3, shape[3]), slope=2e-3)
    pointwise(build, (1, 3, 40, 64), 24, weights=narrow(build, 24, 1, 1, 64), slope=2e-3)
    net = packed(build)
    assert {rows.template for rows in rows_of(net)} == {TEMPLATE}
    check_rows(net)
    small = tuple(each.small for each in net.choices)
    assert sum(a.rows != b.rows for a, b in zip(net.choices, small, strict=True)) >= 3
    check_rows(replace(net, choices=small))


def test_rows_of_one_output_with_weights_of_bytes() -> None:
    """A lone output has windows no bytes apart, and is written more than once; it is limited all the same."""
    build = ModelBuilder()
    convolution(build, (1, 7, 1, 6), 4, (3, 1), slope=2e-3)
    convolution(build, (1, 9, 1, 4), 3, (2, 1), (2, 2), activation=RELU6, slope=0.05)
    convolution(build, (1, 6, 3, 5), 4, (3, 3), (1, 3), slope=2e-3)
    check_rows(layers(build.finish(), BOARD))


def test_outputs_over_inputs() -> None:
    """Exact at the distance that the rule allows, wrong one byte beyond it."""
    build = ModelBuilder(np.random.default_rng(8))
    for depth, filters in ((9, 20), (30, 8), (12, 12), (200, 64)):
        weights = narrow(build, filters, 1, 1, depth)
        pointwise(build, (1, 7, 7, depth), filters, y_zero=3, slope=0.02 / depth, weights=weights)
    for depth in (4, 7):
        convolution(build, (1, 8, 9, depth), 6, y_zero=3, slope=2e-3, weights=narrow(build, 6, 3, 3, depth))
    assert check_tight(packed(build), distances=[at_most], samples=3) >= 4


def test_one_weight_too_large_keeps_bytes() -> None:
    build = ModelBuilder()
    for weight in (-9, 8):
        weights = narrow(build, 8, 1, 1, 40)
        weights[3, 0, 0, 7] = weight
        pointwise(build, (1, 3, 3, 40), 8, weights=weights, slope=0.01)
    assert set(templates(check(build, BOARD, Optimize.COMPACT))) == {"conv_2d.pairs.v7m"}


def test_what_is_saved_and_what_speed_keeps() -> None:
    build = ModelBuilder()
    pointwise(build, (1, 6, 6, 128), 128, weights=narrow(build, 128, 1, 1, 128), slope=1e-3)
    small, fast = (compiled(build, BOARD, goal) for goal in (Optimize.COMPACT, Optimize.SPEED))
    assert constant_bytes(fast) - constant_bytes(small) == 128 * 128 // 2
    assert set(templates(fast)) == {"conv_2d.pairs.v7m"}
    assert small.manifest["arena_bytes"] == fast.manifest["arena_bytes"]


def test_nibbles_lie_as_the_kernel_spreads_them() -> None:
    """Two words of bytes, of two channels w1 and then w0, are four halves with w1 below w0."""
    weights = np.array([[-8, 7, 3, -1, 0, 5, -6, 2]])
    words = np.ascontiguousarray(weights + 128).astype(np.uint8).view("<i4")
    (word,) = nibbles(words)[0].view(np.uint32)
    halves = [(int(word) >> shift & 0xF) - 8 for shift in (0, 4, 8, 12)]
    upper = [(int(word) >> 16 + shift & 0xF) - 8 for shift in (0, 4, 8, 12)]
    assert (halves, upper) == ([-8, 7, 0, 5], [3, -1, -6, 2])


def test_compilers_and_sanitizers(tmp_path: Path) -> None:
    """No warning, with the instructions and without; nothing outside its buffers."""
    build = ModelBuilder()
    pixels(build)
    windows(build, 4)
    compiled(build, BOARD, Optimize.COMPACT).write(tmp_path / "net")
    for command in CROSS:
        parts = [*command, "-O2", *WARNINGS, "-Iinclude", "-c", "src/net.c", "-o", str(tmp_path / "net.o")]
        done = subprocess.run(parts, cwd=tmp_path / "net", capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{' '.join(parts)}: {done.stderr}"
    check_sanitized(build.finish(), tmp_path, "cortex-m3", Optimize.COMPACT)
