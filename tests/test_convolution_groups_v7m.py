"""Convolutions of channels in groups, in pairs (Armv7-M): their C here, their instructions in the emulated board."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dsp import NONE, RELU6, check, check_files, compiled
from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tests.overlap_harness import check_tight, layers
from tests.rows_harness import check_rows
from tests.test_convolution_dsp import convolution
from tests.test_convolution_groups import random_groups, variants
from tests.test_generated_c import check_sanitized
from tests.test_overlap_windows import slope
from tests.test_v7m import BOARD
from tinygen.verify.golden import Golden

NAME = "groups_v7m"


def test_random() -> None:
    """Groups of one channel and more, of two filters and more, any window."""
    build = ModelBuilder(np.random.default_rng(190))
    random_groups(build, 18, least_filters=2)
    assert variants(check(build, [BOARD])).count(NAME) > 10


@pytest.mark.parametrize("zero_point", [-128, 127])
def test_weights_at_their_ends(zero_point: int, golden: Golden) -> None:
    """All pairs are split; sums that wrap on their way; groups of an odd number of filters share channels of blocks."""
    build = ModelBuilder(np.random.default_rng(191))
    for filters, groups in ((8, 2), (9, 3)):
        weights = build.rng.choice([-128, 127], (filters, 3, 3, 4))
        for bias in (0, 200000, -200000):
            choice = {"x_zero": zero_point, "slope": 1e-3, "bias": bias}
            convolution(build, (1, 4, 5, 4 * groups), filters, weights=weights, groups=groups, **choice)
    assert variants(check(build, [BOARD], samples=4)).count(NAME) >= 5
    check_model(build.finish(), golden)


@pytest.mark.parametrize(
    "options",
    [{"filters": 2, "groups": 2}, {"shape": (1, 1, 1, 8), "filters": 8, "groups": 2}],
    ids=["one filter", "one output"],
)
def test_what_is_left_to_c(options: dict[str, Any]) -> None:
    build = ModelBuilder()
    convolution(build, **({"shape": (1, 5, 6, 4)} | options))
    assert variants(check(build, [BOARD], samples=1)) == ["c"]


def test_groups_share_a_kernel() -> None:
    """Whatever their sizes; layers of one group have their own."""
    build = ModelBuilder()
    for groups in (2, 3, 4):
        convolution(build, (1, 4, 5, 4 * groups), 2 * groups, groups=groups, slope=0.002)
    assert len(compiled(build, BOARD).program.functions) == 1
    convolution(build, (1, 4, 5, 4), 4, slope=0.002)
    assert len(compiled(build, BOARD).program.functions) == 2


def of_every_kind() -> ModelBuilder:
    """Words of channels and bytes, one batch and two, limits."""
    build = ModelBuilder(np.random.default_rng(192))
    for depth, activation in ((4, NONE), (6, RELU6), (16, NONE)):
        numbers: dict[str, Any] = {"activation": activation, "x_zero": 0, "y_zero": build.pick([-128, 3]), "bias": 0}
        convolution(build, (1, 5, 6, depth), 10, groups=2, slope=slope(9 * depth // 2), **numbers)
        convolution(build, (2, 4, 3, depth), 8, (1, 1), groups=2, slope=slope(depth // 2), **numbers)
    return build


def test_where_the_output_may_lie() -> None:
    """Each row is read and written group by group: equal at the rule, and different one byte beyond it."""
    net = layers(of_every_kind().finish(), BOARD)
    assert {choice.variant.name for choice in net.choices} == {NAME}
    assert check_tight(net) >= 4


def test_row_by_row() -> None:
    build = ModelBuilder()
    for depth, groups, kernel, stride in ((8, 2, (3, 3), (1, 1)), (6, 3, (2, 4), (2, 1)), (16, 2, (1, 1), (1, 1))):
        convolution(build, (1, 5, 7, depth), 12, kernel, stride, groups=groups, y_zero=build.pick([-128, 3]))
    net = layers(build.finish(), BOARD)
    assert {choice.variant.name for choice in net.choices} == {NAME}
    check_rows(net)


def test_nothing_outside_its_buffers(tmp_path: Path) -> None:
    check_sanitized(of_every_kind().finish(), tmp_path, "cortex-m3")


def test_compilers(tmp_path: Path) -> None:
    check_files(compiled(of_every_kind(), BOARD), tmp_path, ("-O0", "-O2", "-Os"))
