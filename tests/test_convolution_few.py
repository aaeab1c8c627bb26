"""Convolutions of one to three filters for the DSP extension: their C here, and in emulators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dsp import BOARDS, NONE, RELU, RELU6, check, check_compilers, compiled
from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tests.overlap_harness import check_tight, layers
from tests.rows_harness import check_rows
from tests.test_convolution_dsp import SAME, VALID, byte_pairs, convolution
from tests.test_generated_c import check_sanitized
from tests.test_overlap_windows import slope
from tinygen.driver import Compiled
from tinygen.verify.golden import Golden

__all__ = ["byte_pairs"]
NAME = "few_dsp"


def variants(result: Compiled) -> list[str]:
    """Of all layers."""
    return [choice.variant.name for choice in result.choices if choice is not None]


def random_layers(seed: int, count: int = 12) -> ModelBuilder:
    """Any window and stride, gaps, all zero points, outputs of one sign and of both."""
    build = ModelBuilder(np.random.default_rng(seed))
    rng = build.rng
    for index in range(count):
        height, width, depth = (int(size) for size in rng.integers(1, [9, 9, 10]))
        kernel = build.pick([(3, 3), (2, 3), (5, 1), (1, 4)])
        stride, dilation = build.pick([((1, 1), (1, 1)), ((2, 2), (1, 1)), ((1, 1), (2, 1)), ((2, 1), (1, 2))])
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        padding = VALID if build.chance(0.4) and reach[0] <= height and reach[1] <= width else SAME
        choice: dict[str, Any] = {"activation": build.pick([NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-4, -2)}
        choice |= {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, build.random_zero_point()])}
        shape = (build.pick([1, 1, 2]), height, width, depth)
        few = 1 + index % 3
        convolution(build, shape, few, kernel, stride, dilation, padding, per_channel=build.chance(0.6), **choice)
    return build


@pytest.mark.parametrize("board", BOARDS)
def test_random(board: str) -> None:
    assert set(variants(check(random_layers(140 + BOARDS.index(board)), [board]))) == {NAME}


def test_against_the_interpreter(golden: Golden) -> None:
    """Pictures of one colour and of three, a mask."""
    build = random_layers(144, 3)
    for filters, kernel in ((1, (3, 3)), (3, (5, 5)), (2, (2, 2))):
        convolution(build, (1, 9, 8, 8), filters, kernel, slope=0.001, y_zero=0)
    assert set(variants(compiled(build))) == {NAME}
    check_model(build.finish(), golden)


@pytest.mark.parametrize("weight", [-128, 127])
@pytest.mark.parametrize("zero_point", [-128, 127])
def test_ends(weight: int, zero_point: int) -> None:
    """Weights, inputs, and biases up to what any int32 sum allows."""
    build = ModelBuilder()
    reach = 27 * 128 * 255
    for bias in ([2**31 - 1 - reach, reach + 1 - 2**31], 0):
        for steep in (1e-7, 4e-4):
            convolution(build, (1, 3, 4, 3), 2, x_zero=zero_point, y_zero=3, weights=weight, bias=bias, slope=steep)
    assert set(variants(check(build, samples=6))) == {NAME}


@pytest.mark.parametrize(
    "options",
    [{"groups": 2, "shape": (1, 3, 3, 4)}, {"shape": (1, 3, 3, 2052)}],
    ids=["groups", "far columns"],
)
def test_what_it_does_not_cover(options: dict[str, Any]) -> None:
    build = ModelBuilder()
    convolution(build, **({"filters": 2} | options))
    assert NAME not in variants(check(build, samples=1))


def test_where_the_output_may_lie() -> None:
    """Rows are copied before they are written over: equal at the rule, and different one byte beyond it."""
    build = ModelBuilder(np.random.default_rng(145))
    for shape, filters, kernel, stride in (
        ((1, 5, 6, 3), 1, (3, 3), (1, 1)),
        ((1, 6, 5, 2), 3, (2, 2), (2, 2)),
        ((2, 4, 5, 4), 2, (3, 1), (1, 1)),
        ((1, 9, 2, 5), 3, (3, 1), (1, 1)),
    ):
        numbers: dict[str, Any] = {"x_zero": 0, "y_zero": 0, "bias": 0, "slope": slope(9 * shape[3])}
        convolution(build, shape, filters, kernel, stride, **numbers)
    net = layers(build.finish(), BOARDS[0])
    assert {choice.variant.name for choice in net.choices} == {NAME}
    assert check_tight(net) >= 3


def test_row_by_row() -> None:
    build = ModelBuilder()
    for depth, filters, kernel, stride in ((8, 1, (3, 3), (1, 1)), (5, 3, (2, 4), (2, 1)), (3, 2, (3, 1), (1, 1))):
        convolution(build, (1, 5, 7, depth), filters, kernel, stride, y_zero=build.pick([-128, 3]))
    net = layers(build.finish(), BOARDS[0])
    assert {choice.variant.name for choice in net.choices} == {NAME}
    check_rows(net)


def test_compilers(tmp_path: Path) -> None:
    check_compilers(random_layers(146, 6), tmp_path)


def test_nothing_outside_its_buffers(tmp_path: Path) -> None:
    check_sanitized(random_layers(147, 9).finish(), tmp_path, "cortex-m4f")
