"""Matrices of one to three channels for cores of 32 bits without the DSP extension: their C here, and in emulators."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.dsp import check, compiled
from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tests.overlap_harness import check_tight, layers
from tests.test_fully_connected_dsp import dense
from tests.test_generated_c import check_sanitized
from tests.test_matrix_few import ends, random_layers, templates
from tests.test_pointwise_dsp import pointwise
from tests.test_v6m import compiles
from tinygen import planning
from tinygen.quant import Numerics
from tinygen.variants import Optimize
from tinygen.verify.golden import Golden

KERNEL = "kernels/matrix.few.c.j2"
BOARDS = ("pico", "nucleo_l152re")
"""M0+ and M3."""


@pytest.fixture(autouse=True)
def _whatever_it_saves(monkeypatch: pytest.MonkeyPatch) -> None:
    """These layers are too small to pay for any function."""
    monkeypatch.setattr(planning, "MOST_FOR_FLASH", dict.fromkeys(Optimize, -math.inf))


@pytest.mark.parametrize("numerics", Numerics)
@pytest.mark.parametrize("board", BOARDS)
def test_random(board: str, numerics: Numerics) -> None:
    result = check(random_layers(200 + BOARDS.index(board), 6), [board], numerics=numerics)
    assert templates(result).count(KERNEL) >= 5


def test_against_the_interpreter(golden: Golden) -> None:
    build = random_layers(202, 3)
    dense(build, 500, 1, y_zero=0)
    assert KERNEL in templates(compiled(build, BOARDS[1]))
    check_model(build.finish(), golden)


@pytest.mark.parametrize("weight", [-128, 127])
@pytest.mark.parametrize("zero_point", [-128, 127])
def test_ends(weight: int, zero_point: int) -> None:
    """Sums up to what 32 bits hold."""
    build = ends(weight, zero_point)
    assert set(templates(check(build, BOARDS[1:], samples=6))) == {KERNEL}


def test_which_kernel() -> None:
    """Not without four inputs, with four channels, or weights with a zero point; pairs where they are faster."""
    build = ModelBuilder()
    dense(build, 3, 2)
    dense(build, 12, 4)
    dense(build, 12, 2, weights_zero=5)
    dense(build, 12, 3)
    pointwise(build, (1, 5, 5, 12), 2)
    pointwise(build, (1, 5, 5, 12), 1)
    found = {board: [template == KERNEL for template in templates(compiled(build, board))] for board in BOARDS}
    assert found == {
        "pico": [False, False, False, False, True, True],
        "nucleo_l152re": [False, False, False, True, False, True],
    }


def test_where_the_output_may_lie() -> None:
    """Rows are read whole before they are written: equal at the rule, and different one byte beyond it."""
    build = ModelBuilder(np.random.default_rng(203))
    for depth, channels, rows in ((5, 1, 4), (8, 2, 3), (4, 1, 2)):
        pointwise(build, (1, 2, rows, depth), channels, x_zero=0, y_zero=0, bias=0, slope=0.006 / np.sqrt(depth))
    net = layers(build.finish(), BOARDS[0])
    assert {choice.variant.name for choice in net.choices} == {"pointwise_few"}
    assert check_tight(net) >= 2


def test_compilers(tmp_path: Path) -> None:
    """No warning at any level of optimisation."""
    compiles(random_layers(204, 3), tmp_path)


def test_nothing_outside_its_buffers(tmp_path: Path) -> None:
    check_sanitized(random_layers(205, 4).finish(), tmp_path, "cortex-m3")
