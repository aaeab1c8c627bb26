"""Convolutions of groups, and with gaps, for Armv6-M: their C here, their instructions in the emulated boards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dsp import NONE, RELU, RELU6, check, compiled
from tests.modelbuilder import ModelBuilder
from tests.overlap_harness import check_tight, layers
from tests.test_convolution_dsp import SAME, VALID, convolution
from tests.test_convolution_groups import random_groups, variants
from tests.test_generated_c import check_sanitized
from tests.test_overlap_windows import slope
from tests.test_v6m import compiles

BOARD = "pico"
NAME = "parts_v6m"


def test_random_groups() -> None:
    """Groups of one channel and more, of four filters and more, any window, gaps between columns and rows."""
    build = ModelBuilder(np.random.default_rng(210))
    random_groups(build, 14, least_filters=4)
    assert variants(check(build, [BOARD])).count(NAME) > 8


def test_random_gaps() -> None:
    """Between rows and columns, wider than the map too; strides down, rows of all lengths."""
    build = ModelBuilder(np.random.default_rng(211))
    rng = build.rng
    for _ in range(14):
        height, width, depth = (int(size) for size in rng.integers(1, [9, 12, 9]))
        kernel, dilation = build.pick([(3, 3), (2, 3), (3, 2)]), (int(rng.integers(1, 4)), int(rng.integers(2, 5)))
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
        padding = VALID if reach[0] <= height and reach[1] <= width else SAME
        choice: dict[str, Any] = {"activation": build.pick([NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-4, -2)}
        choice |= {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, 3])}
        shape = (build.pick([1, 1, 2]), height, width, depth)
        convolution(build, shape, int(rng.integers(4, 12)), kernel, (1, 1), dilation, padding, **choice)
    assert variants(check(build, [BOARD])).count(NAME) > 8


@pytest.mark.parametrize("zero_point", [-128, 127])
def test_weights_at_their_ends(zero_point: int) -> None:
    """Lanes as full as they can be; groups of a number of filters that is no block share channels of blocks."""
    build = ModelBuilder(np.random.default_rng(212))
    for filters, groups, dilation in ((8, 2, (1, 1)), (15, 3, (1, 1)), (5, 1, (2, 2))):
        weights = build.rng.choice([-127, 127], (filters, 3, 3, 4))
        for bias in (0, 200000, -200000):
            choice = {"x_zero": zero_point, "slope": 1e-3, "bias": bias, "dilation": dilation}
            convolution(build, (1, 4, 5, 4 * groups), filters, weights=weights, groups=groups, **choice)
    assert variants(check(build, [BOARD], samples=4)).count(NAME) >= 5


@pytest.mark.parametrize(
    "options",
    [
        {"shape": (1, 5, 6, 4), "filters": 6, "groups": 2},
        {"shape": (1, 9, 9, 4), "filters": 4, "dilation": (2, 2), "stride": (1, 2)},
    ],
    ids=["few filters", "gaps and strides"],
)
def test_what_is_left_to_c(options: dict[str, Any]) -> None:
    build = ModelBuilder()
    convolution(build, **options)
    assert variants(check(build, [BOARD], samples=1)) == ["c"]


def of_every_kind() -> ModelBuilder:
    """One batch and two, limits, both signs, several tiles."""
    build = ModelBuilder(np.random.default_rng(213))
    for depth, activation, zero in ((4, NONE, -128), (6, RELU6, 3), (8, RELU, 3)):
        numbers: dict[str, Any] = {"activation": activation, "x_zero": 0, "y_zero": zero, "bias": 0}
        convolution(build, (1, 5, 6, depth), 10, groups=2, slope=slope(9 * depth // 2), **numbers)
        convolution(build, (2, 6, 7, depth), 8, dilation=(2, 2), slope=slope(9 * depth), **numbers)
    return build


def test_where_the_output_may_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each tile is read before it is written: equal at the rule, and different one byte beyond it."""
    monkeypatch.setattr("tinygen.ops.convolution_parts_v6m.MOST_CELLS_BYTES", 2048)
    net = layers(of_every_kind().finish(), BOARD)
    assert {choice.variant.name for choice in net.choices} == {NAME}
    assert check_tight(net) >= 3


def test_layers_share_a_kernel() -> None:
    """Whatever their sizes, groups or gaps; others have their own."""
    build = ModelBuilder()
    for groups, dilation in ((2, (1, 1)), (3, (1, 1)), (1, (2, 2))):
        convolution(build, (1, 4, 8, 12 * groups), 8 * groups, groups=groups, dilation=dilation, slope=0.002)
    assert len(compiled(build, BOARD).program.functions) == 1
    convolution(build, (1, 4, 6, 24), 8, slope=0.002)
    assert len(compiled(build, BOARD).program.functions) == 2


def test_nothing_outside_its_buffers(tmp_path: Path) -> None:
    check_sanitized(of_every_kind().finish(), tmp_path, "cortex-m0plus")


def test_compilers(tmp_path: Path) -> None:
    compiles(of_every_kind(), tmp_path)
