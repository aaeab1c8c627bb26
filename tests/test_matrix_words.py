"""Matrices in words of four inputs, for the DSP extension: their C here, and in emulators."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scripts.tuning import families
from tests.dsp import BOARDS, NONE, RELU, RELU6, check, check_files, compiled
from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tests.overlap_harness import check_tight, layers
from tests.test_fully_connected_dsp import dense
from tests.test_generated_c import check_sanitized
from tests.test_matrix_few import templates
from tinygen import target
from tinygen.driver import Model, compile_model
from tinygen.frontend import tflite
from tinygen.ops import fully_connected_dsp, matrix_chain_dsp, matrix_few_dsp
from tinygen.quant import Numerics
from tinygen.verify.golden import Golden

KERNEL = "kernels/matrix.words.dsp.c.j2"


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No blocks of channels, and no function for one to three of them."""
    monkeypatch.setattr(fully_connected_dsp, "storing", lambda *_: None)
    monkeypatch.setattr(matrix_chain_dsp, "CHANNELS", 1 << 30)
    monkeypatch.setattr(matrix_few_dsp, "MOST_CHANNELS", 0)


def random_layers(seed: int, count: int = 8) -> ModelBuilder:
    """Of any number of channels and inputs, one row and more, every way to scale."""
    build = ModelBuilder(np.random.default_rng(seed))
    rng = build.rng
    for index in range(count):
        units, depth = int(rng.integers(1, 14)), int(rng.integers(4, 40)) + index % 4
        choice: dict[str, Any] = {"activation": build.pick([NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-3.5, -2)}
        choice |= {"x_zero": build.random_zero_point(), "y_zero": build.random_zero_point()}
        dense(build, depth, units, build.pick([1, 1, 3]), **choice, per_channel=build.chance(0.5))
    return build


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("numerics", Numerics)
@pytest.mark.parametrize("board", BOARDS)
def test_random(board: str, numerics: Numerics) -> None:
    result = check(random_layers(230 + BOARDS.index(board)), [board], numerics=numerics)
    assert set(templates(result)) == {KERNEL}


@pytest.mark.usefixtures("alone")
def test_against_the_interpreter(golden: Golden) -> None:
    build = random_layers(234, 3)
    dense(build, 64, 10, y_zero=7)
    dense(build, 50, 12, y_zero=-128)
    assert set(templates(compiled(build))) == {KERNEL}
    check_model(build.finish(), golden)


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("weight", [-128, 127])
@pytest.mark.parametrize("zero_point", [-128, 127])
def test_ends(weight: int, zero_point: int) -> None:
    """Sums that wrap on their way."""
    build = ModelBuilder()
    reach = 15 * 128 * 255
    for bias in ([2**31 - 1 - reach, reach + 1 - 2**31], 0):
        for slope in (1e-7, 4e-4):
            dense(build, 15, 2, x_zero=zero_point, y_zero=3, weights=weight, bias=bias, slope=slope)
    assert set(templates(check(build, samples=6))) == {KERNEL}


@pytest.mark.usefixtures("every_function")
def test_which_kernel() -> None:
    """What no blocks can scale; not without a word of inputs, or with weights that have a zero point."""
    build = ModelBuilder()
    dense(build, 100, 16)
    dense(build, 12, 1)
    dense(build, 3, 2)
    dense(build, 12, 5, weights_zero=5)
    dense(build, 200, 5, weights=-128)
    wanted = [False, False, False, False, True]
    assert [template == KERNEL for template in templates(check(build, samples=1))] == wanted


@pytest.mark.parametrize("classes", [2, 10])
def test_classifiers(classes: int) -> None:
    """One small matrix behind other layers needs no larger function."""
    data = families.mobilenet_v2(0.1, 32) if classes == 10 else families.mobilenet_v1(0.125, 32)
    model = Model("net.tflite", data, tflite.read(data, "net.tflite"))
    found = compile_model(model, target.load(BOARDS[0]), "net")
    [function] = [function for function in found.program.functions if function.template == KERNEL]
    assert function.values["units"] == classes


@pytest.mark.usefixtures("alone")
def test_where_the_output_may_lie() -> None:
    """Rows are read whole for each of their groups of channels: equal at the rule, different one byte beyond it."""
    build = ModelBuilder(np.random.default_rng(235))
    for depth, channels, rows in ((5, 1, 4), (8, 2, 3), (7, 6, 3), (9, 8, 1), (20, 12, 2)):
        dense(build, depth, channels, rows, x_zero=0, y_zero=0, bias=0, slope=0.006 / np.sqrt(depth))
    net = layers(build.finish(), BOARDS[0])
    assert {choice.variant.name for choice in net.choices} == {"words_dsp"}
    assert check_tight(net) >= 4


@pytest.mark.usefixtures("alone")
def test_compilers(tmp_path: Path) -> None:
    check_files(compiled(random_layers(236, 5)), tmp_path, ("-O0", "-O2", "-Os"))


@pytest.mark.usefixtures("alone")
def test_nothing_outside_its_buffers(tmp_path: Path) -> None:
    check_sanitized(random_layers(237).finish(), tmp_path, "cortex-m4f")
