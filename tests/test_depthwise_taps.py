"""Depthwise convolutions with any window and gaps (DSP): the order of products, their C here, their instructions."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dsp import BOARDS, NONE, RELU, RELU6, check, check_files, compiled
from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tests.overlap_harness import check_safe, check_tight, differing, layers, placed
from tests.rows_harness import check_rows
from tests.test_convolution_dsp import SAME, VALID
from tests.test_depthwise_dsp import SLIDE, STRIDED, TAPS, WINDOW, WINDOW_IN_C, depthwise
from tests.test_generated_c import check_sanitized
from tests.test_overlap_windows import before, behind, first, last, slope
from tinygen.driver import Compiled
from tinygen.ops import depthwise_pairs_dsp, depthwise_taps
from tinygen.ops.depthwise_taps import ROW, STEP
from tinygen.verify.golden import Golden

NAME = "taps_dsp"


@pytest.fixture(autouse=True)
def _no_pairs(monkeypatch: pytest.MonkeyPatch, every_function: None) -> None:
    """Also where the kernel of small maps, or a shorter function, would take the layers."""
    monkeypatch.setattr(depthwise_pairs_dsp, "MOST_PRODUCTS", 0)


def templates(result: Compiled) -> list[str]:
    """Of all layers."""
    functions = {function.name: function for function in result.program.functions}
    return [functions[call.function].template for call in result.program.calls]


def word(elements: list[int], index: int) -> list[int]:
    return elements[2 * index : 2 * index + 2]


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_every_row_of_taps(stride: int) -> None:
    """Windows of 1 to 12 taps under 1 to 6 outputs: the sums of the definition, from registers."""
    found = 0
    for kernel, outputs in product(range(1, 13), range(1, 7)):
        schedule = depthwise_taps.schedule(kernel, stride, outputs, 12 - outputs)
        if schedule is None:
            assert stride == 3 and outputs == 6
            continue
        found += 1
        elements = [3 + 7 * i for i in range(2 * depthwise_taps.words(kernel, stride, outputs))]
        taps = [11 * i - 20 for i in range(kernel)]
        shifted = [[0] * phase + taps + [0] * 2 for phase in range(2)]
        registers: dict[int, list[int]] = {}
        sums = [1000 if output == schedule.starter else 0 for output in range(outputs)]
        for loads, products in schedule.batches:
            for load in loads:
                source = elements if load.word.source == ROW else shifted[load.word.phase]
                registers[load.register] = word(source, load.word.index)
            for at in products:
                x, w = registers[at.x], registers[at.tap]
                sums[at.output] = sums[schedule.starter if at.first else at.output] + x[0] * w[0] + x[1] * w[1]
        wanted = [1000 + int(np.dot(elements[at * stride :][:kernel], taps)) for at in range(outputs)]
        assert sums == wanted
        last = schedule.batches[-1][0]
        assert [load.register for load in last if load.word == STEP] == [schedule.step]
    assert found >= 60


@pytest.mark.parametrize("board", BOARDS)
def test_random(board: str) -> None:
    """Any kernel, stride or gaps, padding and zero point; several filters for each channel."""
    build = ModelBuilder(np.random.default_rng(80 + BOARDS.index(board)))
    rng = build.rng
    count = 12 if board == BOARDS[0] else 6
    for _ in range(count):
        height, width, depth = (int(size) for size in rng.integers(1, [15, 15, 9]))
        kernel = tuple(int(size) for size in rng.integers(1, 8, 2))
        dilation = build.pick([1, 1, 2, 3, 5])
        stride = build.pick([1, 1, 2, 3, (1, 2), (2, 1)]) if dilation == 1 else 1
        reach = [(size - 1) * dilation + 1 for size in kernel]
        padding = VALID if reach[0] <= height and reach[1] <= width and build.chance(0.5) else SAME
        choice = {"kernel": kernel, "dilation": dilation, "activation": build.pick([NONE, RELU, RELU6])}
        choice |= {"slope": 10 ** rng.uniform(-4, -2), "multiplier": build.pick([1, 1, 2])}
        zeros = {"x_zero": build.random_zero_point(), "scale_spread": build.pick([1.2, 4.0])}
        zeros |= {"y_zero": build.pick([-128, build.random_zero_point()])}
        depthwise(build, (1, height, width, depth), stride, padding, **choice, **zeros)
    assert templates(check(build, [board])).count(TAPS) >= count // 3


def test_random_against_the_interpreter(golden: Golden) -> None:
    build = ModelBuilder(np.random.default_rng(86))
    for size in (4, 7):
        depthwise(build, (1, size, 13 - size, 3), kernel=(5, 5), x_zero=-9)
        depthwise(build, (1, size, 9, 3), dilation=2, y_zero=3)
    assert set(templates(compiled(build))) == {TAPS}
    check_model(build.finish(), golden)


def test_windows_of_real_networks() -> None:
    """And gaps over time: as many parts as gaps, some with an output less; more gaps than outputs."""
    build = ModelBuilder()
    for size, stride, kernel in ((24, 1, 5), (12, 1, 7), (6, 1, 5), (12, 2, 5)):
        depthwise(build, (1, size, size, 3), stride, kernel=(kernel, kernel), slope=0.002)
    for gap in (2, 4, 8, 40):
        depthwise(build, (1, 1, 30, 8), kernel=(1, 6), dilation=gap, slope=0.004)
        depthwise(build, (1, 50, 1, 8), kernel=(5, 1), dilation=gap, slope=0.004)
    depthwise(build, (1, 12, 17, 8), dilation=2, slope=0.004)
    depthwise(build, (1, 12, 17, 8), dilation=4, slope=0.004)
    depthwise(build, (1, 7, 30, 4), kernel=(1, 31), slope=0.002)
    assert set(templates(check(build, samples=2))) == {TAPS}


@pytest.mark.parametrize("zero_point", [-128, 127])
def test_weights_inputs_and_biases_at_their_ends(zero_point: int) -> None:
    build = ModelBuilder(np.random.default_rng(85))
    for kernel in ((5, 5), (2, 4)):
        weights = build.rng.choice([-128, 127], (1, *kernel, 6))
        for bias, y_zero in ((0, -128), (120000, -128), (-120000, -128), (0, 0)):
            ends: dict[str, Any] = {"x_zero": zero_point, "y_zero": y_zero, "weights": weights, "bias": bias}
            depthwise(build, (1, 7, 8, 6), kernel=kernel, slope=1e-3, **ends)
    assert templates(check(build)).count(TAPS) >= 5


def test_layers_share_a_function() -> None:
    """Of other sizes, channels and gaps, but for how they are scaled."""
    build = ModelBuilder()
    for shape, dilation in (((1, 12, 12, 5), 1), ((1, 6, 24, 7), 1), ((1, 12, 12, 3), 2), ((1, 1, 24, 3), 1)):
        depthwise(build, shape, kernel=(5, 5), dilation=dilation, slope=0.004, scale_spread=1)
    functions = check(build, samples=2).program.functions
    assert {function.template for function in functions} == {TAPS} and len(functions) < 4


@pytest.mark.parametrize(
    ("shape", "options", "template"),
    [
        ((1, 9, 9, 3), {"stride": 2}, STRIDED),
        ((1, 9, 9, 3), {"stride": (2, 1)}, TAPS),
        ((1, 9, 9, 3), {"kernel": (5, 5), "y_zero": 3}, TAPS),
        ((1, 9, 9, 3), {"kernel": (5, 5), "y_zero": 3, "activation": RELU6, "slope": 0.1}, WINDOW),
        ((1, 9, 9, 3), {"y_zero": 3}, SLIDE),
        ((1, 9, 9, 3), {"dilation": 2, "y_zero": 3, "activation": RELU}, WINDOW_IN_C),
        ((2, 9, 9, 3), {"kernel": (5, 5)}, WINDOW),
        ((1, 19, 19, 3), {"kernel": (15, 15)}, WINDOW),
        ((1, 19, 19, 3), {"dilation": 2, "stride": 2}, WINDOW_IN_C),
    ],
    ids=["line", "strides", "two roundings", "limits", "slide", "gaps", "batches", "code", "strides and gaps"],
)
def test_which_kernel(shape: tuple[int, ...], options: dict[str, Any], template: str) -> None:
    build = ModelBuilder()
    depthwise(build, shape, **options)
    assert templates(check(build, samples=1)) == [template]


def of_some_windows() -> ModelBuilder:
    """Layers whose outputs may lie on pixels of their input, or before it by some."""
    build = ModelBuilder(np.random.default_rng(87))
    numbers: dict[str, Any] = {"x_zero": 0, "bias": 0}
    for shape, stride, padding, kernel, dilation in (
        ((1, 6, 6, 5), 1, SAME, (5, 5), 1),
        ((1, 7, 9, 3), 1, SAME, (3, 3), 2),
        ((1, 9, 8, 3), 1, VALID, (3, 3), 2),
    ):
        size = 2 * slope(kernel[0] * kernel[1])
        depthwise(build, shape, stride, padding, kernel=kernel, dilation=dilation, slope=size, **numbers)
    return build


def test_where_the_output_may_lie() -> None:
    """On pixels of the input, not a byte further; apart from it as the rule says, and no byte less."""
    net = layers(of_some_windows().finish(), BOARDS[0])
    assert {choice.variant.name for choice in net.choices} == {NAME}
    found = {i for i, choice in enumerate(net.choices) if choice.kernel.overlaps[0].exact}
    assert len(found) >= 2
    check_safe(net, distances=(first, last))
    assert differing(net, placed(net, before)) >= found
    assert differing(net, placed(net, behind)) >= found
    assert check_tight(net) >= 2


def test_row_by_row() -> None:
    """Another kernel computes rows of windows without gaps, plain C those with gaps."""
    build = ModelBuilder()
    for kernel, stride in (((5, 5), 1), ((5, 5), 2), ((7, 3), (1, 2))):
        depthwise(build, (1, 9, 8, 4), stride, kernel=kernel)
    depthwise(build, (1, 9, 8, 4), dilation=2)
    net = layers(build.finish(), BOARDS[0])
    assert {choice.variant.name for choice in net.choices} == {NAME}
    check_rows(net)


def test_nothing_outside_its_buffers(tmp_path: Path) -> None:
    build = ModelBuilder()
    for shape in ((1, 6, 5, 4), (1, 1, 25, 7)):
        for kernel, dilation in (((5, 5), 1), ((5, 4), 2)):
            depthwise(build, shape, build.pick([1, 2]) if dilation == 1 else 1, kernel=kernel, dilation=dilation)
    assert templates(compiled(build)).count(TAPS) >= 3
    check_sanitized(build.finish(), tmp_path, "cortex-m4f")


def test_every_compiler(tmp_path: Path) -> None:
    """Each form with taps of one phase and of two, in one row and several, with several filters a channel."""
    build = ModelBuilder()
    for shape, kernel, stride, y_zero in (
        ((1, 6, 6, 4), (5, 5), 1, -128),
        ((1, 7, 7, 4), (5, 5), 2, -128),
        ((1, 1, 9, 5), (1, 7), 1, 3),
        ((1, 7, 7, 4), (5, 5), 2, 3),
    ):
        depthwise(build, shape, stride, kernel=kernel, multiplier=1 + (stride > 1), y_zero=y_zero)
    assert templates(compiled(build)) == [TAPS] * 4
    check_files(compiled(build), tmp_path, ("-O0", "-O2"))
