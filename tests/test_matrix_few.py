"""Matrices of one to three channels for the DSP extension: their C here, and in emulators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dsp import BOARDS, NONE, RELU, RELU6, check, check_compilers, compiled
from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tests.overlap_harness import check_tight, layers
from tests.test_fully_connected_dsp import dense
from tests.test_generated_c import check_sanitized
from tests.test_pointwise_dsp import pointwise
from tinygen.driver import Compiled
from tinygen.ops import pointwise_chain_dsp
from tinygen.quant import Numerics
from tinygen.verify.golden import Golden

KERNEL = "kernels/matrix.few.dsp.c.j2"


@pytest.fixture(autouse=True)
def _no_chains(monkeypatch: pytest.MonkeyPatch, every_function: None) -> None:
    """None of pixels, which take layers of two channels and three; and none in place of a function of their own."""
    monkeypatch.setattr(pointwise_chain_dsp, "LEAST_INPUTS", 1 << 30)


def templates(result: Compiled) -> list[str]:
    """Of all layers."""
    functions = {function.name: function.template for function in result.program.functions}
    return [functions[call.function] for call in result.program.calls]


def random_layers(seed: int, count: int = 8) -> ModelBuilder:
    """Of every number of inputs behind the last word, one row and more, every way to scale."""
    build = ModelBuilder(np.random.default_rng(seed))
    rng = build.rng
    for index in range(count):
        channels, depth = 1 + index % 3, int(rng.integers(4, 40)) + index % 4
        choice: dict[str, Any] = {"activation": build.pick([NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-3.5, -2)}
        choice |= {"x_zero": build.random_zero_point(), "y_zero": build.random_zero_point()}
        choice |= {"per_channel": build.chance(0.5)}
        dense(build, depth, channels, build.pick([1, 1, 5]), **choice)
        pointwise(build, (build.pick([1, 2]), 2, 3, depth), channels, **choice)
    return build


@pytest.mark.parametrize("numerics", Numerics)
@pytest.mark.parametrize("board", BOARDS)
def test_random(board: str, numerics: Numerics) -> None:
    result = check(random_layers(130 + BOARDS.index(board)), [board], numerics=numerics)
    assert templates(result).count(KERNEL) >= 10


def test_against_the_interpreter(golden: Golden) -> None:
    build = random_layers(134, 4)
    dense(build, 500, 1, y_zero=0)
    dense(build, 128, 2, y_zero=-3)
    assert KERNEL in templates(compiled(build))
    check_model(build.finish(), golden)


def ends(weight: int, zero_point: int) -> ModelBuilder:
    """Layers of such weights whose biases are up to what any int32 sum allows."""
    build = ModelBuilder()
    reach = 15 * 128 * 255
    for bias in ([2**31 - 1 - reach, reach + 1 - 2**31], 0):
        for slope in (1e-7, 4e-4):
            dense(build, 15, 2, x_zero=zero_point, y_zero=3, weights=weight, bias=bias, slope=slope)
    return build


@pytest.mark.parametrize("weight", [-128, 127])
@pytest.mark.parametrize("zero_point", [-128, 127])
def test_ends(weight: int, zero_point: int) -> None:
    """Sums that wrap on their way."""
    build = ends(weight, zero_point)
    assert set(templates(check(build, samples=6))) == {KERNEL}


def test_which_kernel() -> None:
    """Not without a word of inputs, with four channels, or with weights that have a zero point."""
    build = ModelBuilder()
    dense(build, 3, 2)
    dense(build, 12, 4)
    dense(build, 12, 2, weights_zero=5)
    dense(build, 12, 2)
    assert [template == KERNEL for template in templates(check(build, samples=1))] == [False, False, False, True]


def test_where_the_output_may_lie() -> None:
    """Rows are read whole before they are written: equal at the rule, and different one byte beyond it."""
    build = ModelBuilder(np.random.default_rng(135))
    for depth, channels, rows in ((5, 1, 4), (8, 2, 3), (7, 3, 6), (4, 3, 2)):
        dense(build, depth, channels, rows, x_zero=0, y_zero=0, bias=0, slope=0.006 / np.sqrt(depth))
        pointwise(build, (1, 2, rows, depth), channels, x_zero=0, y_zero=0, bias=0, slope=0.006 / np.sqrt(depth))
    net = layers(build.finish(), BOARDS[0])
    assert {choice.variant.name for choice in net.choices} >= {"few_dsp", "pointwise_few_dsp"}
    assert check_tight(net) >= 6


def test_compilers(tmp_path: Path) -> None:
    check_compilers(random_layers(136, 6), tmp_path)


def test_nothing_outside_its_buffers(tmp_path: Path) -> None:
    check_sanitized(random_layers(137).finish(), tmp_path, "cortex-m4f")
