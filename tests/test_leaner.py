"""Functions that save too little for their bytes, and what takes their place."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tests.dsp import NONE, RELU, check, compiled
from tests.modelbuilder import ModelBuilder
from tests.test_convolution_dsp import convolution
from tests.test_depthwise_dsp import depthwise
from tests.test_fully_connected_dsp import dense
from tests.test_pointwise_dsp import pointwise
from tinygen import leaner, planning, target
from tinygen.driver import Compiled, Model
from tinygen.frontend import tflite
from tinygen.limits import Attempt, Limits, compile_within
from tinygen.ops import pointwise_chain_dsp
from tinygen.quant import Numerics
from tinygen.variants import Optimize, choose
from tinygen.verify.compare import verify
from tinygen.verify.samples import random_samples

CHAIN = "kernels/conv_2d.chain.dsp.c.j2"
MATRIX, PLAIN = "kernels/matrix_vector.chain.dsp.c.j2", "kernels/fully_connected.c.j2"
WORDS = "kernels/matrix.words.dsp.c.j2"


def templates(result: Compiled) -> list[str]:
    """Of the functions."""
    return [function.template for function in result.program.functions]


def forms(result: Compiled) -> list[str]:
    """How each function of chained outputs stores them."""
    values = [function.values for function in result.program.functions if function.template == CHAIN]
    return sorted(value["finish"]["form"] for value in values)


def residual(build: ModelBuilder, zero_points: tuple[int, ...], rows: int = 3) -> None:
    """Layers with one window, outputs of one sign (-128) or of both."""
    for zero in zero_points:
        activation = RELU if zero == -128 else NONE
        slope = {"slope": 0.002, "scale_spread": 3.0}
        convolution(build, (1, rows, 16, 8), 8, activation=activation, y_zero=zero, **slope)


@pytest.fixture
def at_any_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks so small that a function is a large share of their cycles may pay it."""
    monkeypatch.setattr(planning, "MOST_FOR_FLASH", dict.fromkeys(Optimize, math.inf))


@pytest.mark.usefixtures("at_any_share")
def test_a_small_matrix_is_taken_in_words() -> None:
    """Of a few channels too."""
    for units in (2, 12):
        build = ModelBuilder()
        dense(build, 64, units)
        assert templates(check(build)) == [WORDS]


@pytest.mark.parametrize(("board", "kernel"), [("pico", "matrix.v6m"), ("nucleo_l152re", "matrix.v7m")])
def test_matrices_without_the_extension(board: str, kernel: str) -> None:
    """A classifier behind a convolution is plain C, the layers of a perceptron are not."""
    build = ModelBuilder()
    dense(build, 64, 12)
    convolution(build, (1, 24, 24, 8), 16)
    assert PLAIN in templates(check(build, [board], samples=1))
    build = ModelBuilder()
    for inputs, outputs in ((12, 16), (16, 16), (16, 4)):
        dense(build, inputs, outputs)
    assert set(templates(check(build, [board], samples=1))) == {f"kernels/{kernel}.c.j2"}


def test_no_more_than_a_share_of_the_cycles_is_paid() -> None:
    """The same matrix alone is all there is, and behind a large layer next to nothing."""
    alone, behind = ModelBuilder(), ModelBuilder()
    dense(alone, 64, 16)
    dense(behind, 64, 16)
    residual(behind, (3,), rows=100)
    assert templates(compiled(alone)) == [MATRIX]
    assert set(templates(check(behind, samples=1))) == {WORDS, CHAIN}


def test_a_large_matrix_or_several_small_ones_pay_for_a_function() -> None:
    large, small = ModelBuilder(), ModelBuilder()
    dense(large, 640, 128, slope=0.0005)
    for _ in range(6):
        dense(small, 64, 16)
    assert templates(compiled(large)) == templates(check(small, samples=1)) == [MATRIX]


@pytest.mark.usefixtures("at_any_share")
def test_one_form_for_layers_that_can_share_it() -> None:
    """Two roundings, where other layers need them; else one multiplication, which takes fewer cycles."""
    alone, beside = ModelBuilder(), ModelBuilder()
    residual(alone, (-128, -128))
    residual(beside, (-128, 3))
    assert forms(compiled(alone)) == ["line"]
    assert forms(check(beside)) == ["roundings"]


def test_many_outputs_pay_for_a_function_of_their_own() -> None:
    build = ModelBuilder()
    residual(build, (-128,), rows=200)
    residual(build, (3,))
    assert forms(compiled(build)) == ["line", "roundings"]


@pytest.mark.usefixtures("at_any_share")
def test_what_a_byte_is_worth(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing: nothing changes. Much: whatever saves bytes."""
    build = ModelBuilder(np.random.default_rng(3))
    dense(build, 640, 128, slope=0.0005)
    residual(build, (-128, 3), rows=200)
    monkeypatch.setattr(leaner, "CYCLES_A_BYTE", 0)
    assert forms(compiled(build)) == ["line", "roundings"]
    monkeypatch.setattr(leaner, "CYCLES_A_BYTE", 10**6)
    found = compiled(build)
    assert forms(found) == ["roundings"] and set(templates(found)) == {CHAIN, WORDS}


def lines(build: ModelBuilder) -> Model:
    """Depthwise convolutions of several sizes, and 1x1 ones large enough for functions of their own."""
    for rows, columns, depth in ((24, 24, 16), (12, 12, 16), (48, 48, 4)):
        depthwise(build, (1, rows, columns, depth), scale_spread=1.5, slope=0.004)
    for depth in (8, 12, 16, 32):
        pointwise(build, (1, 48, 48, depth), 8, scale_spread=1.5)
    data = build.finish()
    return Model("net.tflite", data, tflite.read(data, "net.tflite"))


def within(model: Model, flash_bytes: int) -> Attempt:
    board = target.load("nucleo_l4r5zi")
    limits = Limits(None, flash_bytes)
    [made] = compile_within(model, board, None, Numerics.TFLITE, "cmake", [Optimize.SPEED], limits)
    return made


def test_a_limit_is_kept_by_leaner_functions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cheapest first, as many as are lacking; below what there are, it is refused."""
    monkeypatch.setattr(leaner, "CYCLES_A_BYTE", 1)
    model = lines(ModelBuilder())
    most = within(model, 10**6)
    tight = within(model, most.flash_bytes - 300)
    least = within(model, 3000)
    assert most.fits and tight.fits and not least.fits
    assert most.flash_bytes - 300 >= tight.flash_bytes > least.flash_bytes
    functions = [len(each.compiled.program.functions) for each in (most, tight, least)]
    assert functions[0] > functions[1] > functions[2] == 2
    inputs = random_samples(model.graph, 1)
    assert verify(tight.compiled, inputs, interpreter=False, board=target.load("nucleo_l4r5zi")).difference is None
    assert verify(least.compiled, inputs, interpreter=False).difference is None


def test_the_cheapest_for_a_byte_give_way_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of depthwise layers, though those of 1x1 layers save more for all that may be paid."""
    monkeypatch.setattr(leaner, "CYCLES_A_BYTE", 1000)
    core = target.load("nucleo_l4r5zi").core
    choices = [choice for choice in choose(lines(ModelBuilder()).graph, Numerics.TFLITE, core) if choice]
    contexts = [choice.context for choice in choices if choice.context.node.op == "conv_2d"]
    most_cycles = sum(pointwise_chain_dsp.shared_cycles(context) for context in contexts)
    found = leaner.leaner(choices, core, most_cycles)
    names = [choice.variant.name for choice in found if choice]
    assert names[:3] == ["line_rounds_dsp"] * 3
    assert 0 < names[3:].count("pointwise_chain_dsp") < len(contexts)


def test_a_limit_is_kept_where_functions_save_less_than_thought(monkeypatch: pytest.MonkeyPatch) -> None:
    """One more is given up than was thought to be enough."""
    monkeypatch.setattr(leaner, "CYCLES_A_BYTE", 0)
    build = ModelBuilder()
    for depth in (4, 8):
        pointwise(build, (1, 48, 48, depth), 8, scale_spread=1.5)
    pointwise(build, (1, 5, 5, 8), 8, scale_spread=1.5)
    data = build.finish()
    model = Model("net.tflite", data, tflite.read(data, "net.tflite"))
    most = within(model, 10**6)
    saved = most.flash_bytes - within(model, most.flash_bytes - 1).flash_bytes
    monkeypatch.setattr(pointwise_chain_dsp, "OWN_BYTES", pointwise_chain_dsp.OWN_BYTES + 200)
    tight = within(model, most.flash_bytes - saved - 1)
    assert tight.fits
    assert [len(each.compiled.program.functions) for each in (most, tight)] == [3, 1]


def test_cores_without_such_kernels() -> None:
    build = ModelBuilder()
    dense(build, 64, 12)
    residual(build, (-128, 3))
    check(build, ["pico", "mps2-an385"], samples=1)
