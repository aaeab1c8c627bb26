"""Convolution for cores with the DSP extension: its C on this computer, its instructions in the emulator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import dsp
from tests.dsp import BOARDS, NONE, RELU, RELU6, compiled
from tests.modelbuilder import ModelBuilder
from tests.test_generated_c import check_sanitized
from tinygen import target
from tinygen.ops import (
    convolution_chain_dsp,
    convolution_chain_fives_dsp,
    convolution_chain_runs_dsp,
    convolution_contiguous_dsp,
)
from tinygen.verify.compare import verify
from tinygen.verify.samples import random_samples

SAME, VALID = 0, 1
TEMPLATE = "kernels/conv_2d.dsp.c.j2"


@pytest.fixture(autouse=True)
def byte_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """No chains of outputs, which take most layers."""
    chains = convolution_chain_dsp, convolution_chain_fives_dsp, convolution_chain_runs_dsp, convolution_contiguous_dsp
    for module in chains:
        monkeypatch.setattr(module, "FEWER_CYCLES", 0.0)


def convolution(
    build: ModelBuilder,
    shape: Sequence[int] = (1, 5, 6, 3),
    filters: int = 5,
    kernel: tuple[int, int] = (3, 3),
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
    padding: int = SAME,
    activation: int = NONE,
    x_zero: int = -128,
    y_zero: int = -128,
    slope: float = 0.005,
    weights: Any = None,
    bias: Any = None,
    per_channel: bool = True,
    scale_spread: float = 3.0,
    groups: int = 1,
) -> None:
    """One convolution of an input of its own; `slope` is about the output's steps for each unit of a sum."""
    batch, *size, depth = shape
    reach = [0 if padding == SAME else (k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    out = [-(-(length - less) // step) for length, less, step in zip(size, reach, stride, strict=True)]
    count = filters if per_channel else 1
    scales = 0.01 * scale_spread ** build.rng.uniform(-1, 1, count)
    x = build.input(shape, "int8", 0.05, x_zero)
    data = build.rng.integers(-127, 128, (filters, *kernel, depth // groups)) if weights is None else weights
    w = build.constant(np.broadcast_to(data, (filters, *kernel, depth // groups)), "int8", scales, [0] * count)
    values = build.rng.integers(-20000, 20000, filters) if bias is None else np.broadcast_to(bias, filters)
    b = build.constant(values, "int32", np.float32(0.05) * scales.astype(np.float32), [0] * count)
    y = build.tensor((batch, *out, filters), "int8", 0.05 * 0.01 / slope, y_zero)
    fields = {"strideH": stride[0], "strideW": stride[1], "padding": padding, "fusedActivationFunction": activation}
    fields |= {"dilationHFactor": dilation[0], "dilationWFactor": dilation[1]}
    build.op("CONV_2D", [x, w, b], [y], "Conv2D", **fields)


def check(build: ModelBuilder, boards: Sequence[str] = BOARDS[:1], samples: int = 3) -> list[dict[str, Any]]:
    """Every layer is exact, here and in the emulator, and has the kernel; their numbers on the first board."""
    program = dsp.check(build, boards, samples).program
    functions = {function.name: function for function in program.functions}
    called = [functions[call.function] for call in program.calls]
    assert {function.template for function in called} == {TEMPLATE}
    return [dict(function.values) for function in called]


@pytest.mark.parametrize("board", BOARDS)
def test_random_shapes(board: str) -> None:
    """Sizes from one pixel on, odd and even, any window, all zero points."""
    build = ModelBuilder(np.random.default_rng(BOARDS.index(board)))
    rng = build.rng
    for _ in range(16):
        height, width, depth = (int(size) for size in rng.integers(1, 12, 3))
        kernel = build.pick([(3, 3), (3, 3), (2, 2), tuple(int(size) for size in rng.integers(1, 6, 2))])
        stride = build.pick([(1, 1), (2, 2), tuple(int(step) for step in rng.integers(1, 4, 2))])
        dilation = build.pick([(1, 1), (1, 1), tuple(int(gap) for gap in rng.integers(1, 3, 2))])
        if kernel == (1, 1):
            stride = (2, 1)  # else it is a pointwise convolution
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        padding = VALID if build.chance(0.4) and reach[0] <= height and reach[1] <= width else SAME
        choice = {"activation": build.pick([NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-4, -2)}
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, 3, build.random_zero_point()])}
        shape, filters = (build.pick([1, 1, 2]), height, width, depth), int(rng.integers(4, 14))
        convolution(
            build, shape, filters, kernel, stride, dilation, padding, per_channel=build.chance(0.7), **choice, **zeros
        )
    forms = {numbers["finish"]["form"] for numbers in check(build, [board])}
    assert forms == {"line", "roundings"}


@pytest.mark.parametrize(
    ("shape", "filters", "kernel", "stride"),
    [
        ((1, 49, 10, 1), 64, (10, 4), (2, 2)),
        ((1, 24, 24, 3), 8, (3, 3), (2, 2)),
        ((1, 8, 8, 16), 16, (3, 3), (1, 1)),
        ((1, 8, 8, 32), 64, (3, 3), (2, 2)),
        ((1, 8, 8, 16), 32, (1, 1), (2, 2)),
        ((1, 1, 90, 4), 8, (1, 9), (1, 1)),
        ((1, 6, 6, 6), 6, (5, 5), (1, 1)),
    ],
)
def test_shapes_of_real_networks(
    shape: tuple[int, ...], filters: int, kernel: tuple[int, int], stride: tuple[int, int]
) -> None:
    build = ModelBuilder()
    for y_zero in (-128, 3):
        convolution(build, shape, filters, kernel, stride, x_zero=17, y_zero=y_zero, activation=int(y_zero == -128))
    check(build, samples=2)


def test_one_output() -> None:
    """Nothing beside it."""
    build = ModelBuilder()
    convolution(build, (1, 3, 3, 4), padding=VALID)
    convolution(build, (1, 1, 1, 5), kernel=(3, 5))
    check(build)


def test_both_ways_to_lay_out_the_input() -> None:
    """Outputs go in twos along one axis: the other one would leave more alone."""
    build = ModelBuilder()
    for height, width in ((3, 8), (8, 3), (2, 5), (5, 2)):
        convolution(build, (1, height, width, 2), 20, kernel=(3, 2), stride=(1, 1))
    assert [numbers["turned"] for numbers in check(build)] == [False, True, True, False]


def test_every_depth() -> None:
    """Channels that are widened by loops, and what these leave over."""
    build = ModelBuilder()
    for depth in (*range(1, 18), 25, 52, 60, 68):
        convolution(build, (1, 2, 3, depth), 4, kernel=(2, 2), x_zero=5)
    check(build, samples=1)


@pytest.mark.parametrize("weight", [-127, 127])
@pytest.mark.parametrize("zero_point", [-128, 127])
def test_weights_and_zero_points_at_their_ends(weight: int, zero_point: int) -> None:
    build = ModelBuilder()
    for y_zero in (-128, 0, 127):
        convolution(build, x_zero=zero_point, y_zero=y_zero, weights=weight, slope=1e-4)
    check(build)


def test_pairs_at_their_ends() -> None:
    """The least and the greatest halfword, and signs against each other."""
    build = ModelBuilder()
    for even, odd in ((127, 127), (-128, -127), (0, -128), (127, -128), (-128, 127)):
        weights = np.array([even, odd, even, odd])[:, None, None, None]
        convolution(build, filters=4, weights=weights, slope=1e-4)
    check(build)


def test_great_biases() -> None:
    build = ModelBuilder()
    reach = 27 * 255 * 127
    for y_zero in (-128, 5):
        convolution(build, bias=[2**31 - 1 - reach, reach + 1 - 2**31, 2**24, -(2**24), 0], slope=4e-4, y_zero=y_zero)
    result = compiled(build)
    verdict = verify(result, random_samples(result.model.graph, 3), interpreter=False, board=target.load(BOARDS[0]))
    assert verdict.difference is None, str(verdict.difference)


def test_layers_of_equal_shape_share_a_kernel() -> None:
    build = ModelBuilder()
    for slope in (0.004, 0.005, 0.006):
        convolution(build, slope=slope, scale_spread=1.5)
    assert len({numbers["finish"]["shift"] for numbers in check(build)}) == 1
    assert len(compiled(build).program.functions) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"weights": -128},
        {"shape": (1, 3, 3, 6), "filters": 6, "groups": 2},
        {"filters": 3},
        {"shape": (1, 4, 4, 300)},
        {"shape": (1, 1, 1, 2600), "weights": 127, "kernel": (2, 2), "slope": 1e-7},
    ],
    ids=["-128 beside a negative weight", "groups", "3 filters", "far columns", "great sums"],
)
def test_what_it_does_not_cover(options: dict[str, Any]) -> None:
    """Another kernel does, with the same results."""
    build = ModelBuilder()
    convolution(build, **options)
    result = compiled(build)
    (function,) = result.program.functions
    assert function.template != TEMPLATE
    assert verify(result, random_samples(result.model.graph, 2), interpreter=False).difference is None


def test_cores_without_the_extension() -> None:
    build = ModelBuilder()
    convolution(build)
    assert compiled(build, "bluepill_f103c8").program.functions[0].template != TEMPLATE


def test_nothing_outside_its_buffers(tmp_path: Path) -> None:
    """Scratch included: the C beside the instructions, with poisoned bytes between all buffers."""
    build = ModelBuilder()
    for height, width, depth in ((5, 6, 3), (1, 1, 17), (4, 9, 8)):
        for kernel, stride in (((3, 3), (1, 1)), ((3, 3), (2, 2)), ((5, 2), (1, 2)), ((1, 1), (2, 3))):
            convolution(build, (1, height, width, depth), 6, kernel, stride)
    check_sanitized(build.finish(), tmp_path, "cortex-m4f")


def test_every_compiler(tmp_path: Path) -> None:
    build = ModelBuilder()
    for depth in (3, 16):
        for spread in (1.0, 30.0):
            for zero in (-128, 0):
                convolution(build, (2, 5, 9, depth), y_zero=zero, activation=RELU6, scale_spread=spread)
    dsp.check_compilers(build, tmp_path)
