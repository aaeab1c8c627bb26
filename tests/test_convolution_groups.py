"""Convolutions of channels in groups for the DSP extension: their C here, their instructions in emulators."""

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
from tests.test_convolution_dsp import SAME, TEMPLATE, VALID, convolution
from tests.test_generated_c import check_sanitized
from tests.test_overlap_windows import slope
from tinygen.driver import Compiled
from tinygen.verify.golden import Golden

NAME = "groups_dsp"


def variants(result: Compiled) -> list[str]:
    """Of all layers."""
    return [choice.variant.name for choice in result.choices if choice is not None]


def random_groups(build: ModelBuilder, count: int, least_filters: int) -> None:
    """Convolutions of two groups and more, each of so many filters at least, any window."""
    rng = build.rng
    for _ in range(count):
        groups, depth, filters = (int(size) for size in rng.integers([2, 1, least_filters], [5, 10, least_filters + 6]))
        height, width = (int(size) for size in rng.integers(1, 9, 2))
        kernel = build.pick([(3, 3), (1, 1), (2, 3), (5, 1)])
        stride, dilation = build.pick([((1, 1), (1, 1)), ((2, 2), (1, 1)), ((1, 1), (2, 1)), ((2, 1), (1, 2))])
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        padding = VALID if build.chance(0.4) and reach[0] <= height and reach[1] <= width else SAME
        choice: dict[str, Any] = {"activation": build.pick([NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-4, -2)}
        choice |= {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, 3]), "groups": groups}
        shape = (build.pick([1, 1, 2]), height, width, groups * depth)
        convolution(build, shape, groups * filters, kernel, stride, dilation, padding, **choice)


@pytest.mark.parametrize("board", BOARDS)
def test_random(board: str) -> None:
    """Groups of one channel and more, of four filters and more, any window."""
    build = ModelBuilder(np.random.default_rng(110 + BOARDS.index(board)))
    random_groups(build, 14, least_filters=4)
    result = check(build, [board])
    assert variants(result).count(NAME) > 10
    assert {f.values["finish"]["form"] for f in result.program.functions if f.template == TEMPLATE} >= {"line"}


def test_shapes_of_real_networks(golden: Golden) -> None:
    """Whole words of channels in a group and less, windows and none."""
    build = ModelBuilder(np.random.default_rng(113))
    for depth, filters, groups, kernel in ((16, 32, 4, (3, 3)), (24, 24, 3, (1, 1)), (12, 12, 2, (3, 3))):
        convolution(build, (1, 7, 8, depth), filters, kernel, groups=groups, slope=0.002)
    convolution(build, (1, 1, 40, 32), 32, (1, 5), groups=8, slope=0.002, y_zero=3)
    assert set(variants(check(build))) == {NAME}
    check_model(build.finish(), golden)


def test_weights_at_their_ends() -> None:
    """Pairs of -128 with a negative weight are none; in another group that does not matter."""
    build = ModelBuilder()
    for least, kernel in ((-127, NAME), (-128, "groups_v7m")):
        weights = build.rng.choice([least, 127], (8, 3, 3, 4))
        convolution(build, (1, 4, 5, 8), 8, weights=weights, groups=2, x_zero=127, slope=1e-3)
        assert variants(compiled(build))[-1] == kernel
    weights[:] = 127
    weights[1::2] = -127
    weights[4::2] = -128
    weights[5::2] = 127
    convolution(build, (1, 4, 5, 8), 8, weights=weights, groups=2, slope=1e-3, bias=0)
    assert variants(check(build, samples=6)) == [NAME, "groups_v7m", NAME]


@pytest.mark.parametrize(
    "options",
    [{"filters": 6, "groups": 2}, {"shape": (1, 3, 3, 2052), "filters": 8, "groups": 2}],
    ids=["three filters", "far columns"],
)
def test_what_is_left_to_armv7m(options: dict[str, Any]) -> None:
    build = ModelBuilder()
    convolution(build, **({"shape": (1, 5, 6, 4)} | options))
    assert variants(check(build, samples=1)) == ["groups_v7m"]


def test_where_the_output_may_lie() -> None:
    """Each row is read and written group by group: equal at the rule, and different one byte beyond it."""
    build = ModelBuilder(np.random.default_rng(114))
    numbers: dict[str, Any] = {"x_zero": 0, "y_zero": 0, "bias": 0}
    for shape, filters, groups, kernel, stride in (
        ((1, 5, 6, 8), 8, 2, (3, 3), (1, 1)),
        ((1, 6, 5, 12), 12, 3, (2, 2), (2, 2)),
        ((2, 4, 5, 4), 8, 2, (1, 1), (1, 1)),
        ((1, 9, 2, 6), 12, 3, (3, 1), (1, 1)),
        ((1, 5, 5, 15), 12, 3, (3, 3), (2, 1)),
    ):
        convolution(
            build, shape, filters, kernel, stride, groups=groups, slope=slope(9 * shape[3] // groups), **numbers
        )
    net = layers(build.finish(), BOARDS[0])
    assert {choice.variant.name for choice in net.choices} == {NAME}
    assert check_tight(net) >= 4


def test_row_by_row() -> None:
    build = ModelBuilder()
    for depth, filters, groups, kernel, stride in (
        (8, 8, 2, (3, 3), (1, 1)),
        (6, 12, 3, (2, 4), (2, 1)),
        (16, 8, 2, (1, 1), (1, 1)),
    ):
        convolution(build, (1, 5, 7, depth), filters, kernel, stride, groups=groups, y_zero=build.pick([-128, 3]))
    net = layers(build.finish(), BOARDS[0])
    assert {choice.variant.name for choice in net.choices} == {NAME}
    check_rows(net)


def test_nothing_outside_its_buffers(tmp_path: Path) -> None:
    build = ModelBuilder()
    for depth in (4, 6, 16):
        convolution(build, (1, 3, 4, depth), 10, groups=2)
        convolution(build, (2, 4, 3, depth), 8, (1, 1), groups=2)
    assert set(variants(compiled(build))) == {NAME}
    check_sanitized(build.finish(), tmp_path, "cortex-m4f")


def test_every_compiler(tmp_path: Path) -> None:
    build = ModelBuilder()
    convolution(build, (1, 3, 4, 6), 10, groups=2)
    convolution(build, (2, 4, 3, 16), 8, groups=2, activation=RELU6, y_zero=3)
    check_compilers(build, tmp_path)
