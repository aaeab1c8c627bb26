"""Depthwise convolutions of small maps in C: on this computer, and compiled for the cores that have it."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dsp import NONE, RELU, RELU6, check, compiled
from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tests.overlap_harness import check_tight, layers
from tests.rows_harness import check_rows
from tests.test_convolution_dsp import SAME, VALID
from tests.test_depthwise_dsp import depthwise
from tests.test_generated_c import check_sanitized
from tests.test_overlap_windows import slope
from tests.test_v6m import compiles
from tinygen.driver import Compiled
from tinygen.ops import depthwise_small
from tinygen.ops.planes import Axis
from tinygen.verify.golden import Golden

KERNEL = "kernels/depthwise_conv_2d.small.c.j2"
BOARDS = {"pico": "small_v6m", "nucleo_l152re": "small_v7m"}
"""M0+ and M3."""


def chosen(result: Compiled) -> int:
    """How many layers have the kernel."""
    functions = {function.name: function for function in result.program.functions}
    return [functions[call.function].template for call in result.program.calls].count(KERNEL)


def test_every_row() -> None:
    """The products of a row are those of the definition."""
    for size, kernel, pad, stride in product(range(1, 8), range(1, 8), range(7), (1, 2, 3)):
        output = (size + 2 * pad - kernel) // stride + 1
        if pad >= kernel or output < 1:
            continue
        places = {(o, t): o * stride - pad + t for o in range(output) for t in range(kernel)}
        wanted = {pair: place for pair, place in places.items() if 0 <= place < size}
        found = depthwise_small.elements(Axis(size, kernel, output, stride, pad))
        assert {pair: element.place for element in found for pair in element.products} == wanted
        assert [element.place for element in found] == sorted(set(wanted.values()))


@pytest.mark.parametrize("board", BOARDS)
def test_random(board: str) -> None:
    """Any kernel, stride, padding and zero point; one sign and both, limits."""
    build = ModelBuilder(np.random.default_rng(170 + len(board)))
    rng = build.rng
    for _ in range(20):
        height, width, depth = (int(size) for size in rng.integers([1, 1, 1], [7, 7, 9]))
        kernel = (3, 3) if build.chance(0.4) else tuple(int(size) for size in rng.integers(1, 8, 2))
        padding = VALID if kernel[0] <= height and kernel[1] <= width and build.chance(0.5) else SAME
        choice = {"kernel": kernel, "activation": build.pick([NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-4, -2)}
        choice |= {"x_zero": build.random_zero_point(), "scale_spread": build.pick([1.2, 4.0])}
        choice |= {"y_zero": build.pick([-128, -128, build.random_zero_point()])}
        shape = (build.pick([1, 1, 2]), height, width, depth)
        depthwise(build, shape, build.pick([1, 1, 2, (1, 3), (2, 1)]), padding, **choice)
    assert chosen(check(build, [board])) > 7


def test_random_against_the_interpreter(golden: Golden) -> None:
    build = ModelBuilder(np.random.default_rng(172))
    for size in range(1, 5):
        depthwise(build, (1, size, 5 - size, 4), x_zero=7)
        depthwise(build, (1, size, size, 3), 2, kernel=(5, 5), x_zero=-9)
    assert chosen(compiled(build, "pico")) == chosen(compiled(build, "nucleo_l152re")) == 8
    check_model(build.finish(), golden)


@pytest.mark.parametrize("board", BOARDS)
@pytest.mark.parametrize("zero_point", [-128, 127])
def test_weights_inputs_and_biases_at_their_ends(zero_point: int, board: str) -> None:
    """Of one sign or both; thresholds that every sum reaches, or none."""
    build = ModelBuilder(np.random.default_rng(173))
    for weights in (-128, 127, build.rng.choice([-128, 127], (1, 3, 4, 3))):
        for bias in (0, 300000, -300000):
            depthwise(build, (1, 3, 4, 3), x_zero=zero_point, kernel=(3, 4), weights=weights, bias=bias, slope=1e-3)
    assert chosen(check(build, [board], samples=5)) >= 6


@pytest.mark.parametrize("board", BOARDS)
def test_a_kernel_knows_no_channels(board: str) -> None:
    """So that the layers of a map share it, but for how they are scaled."""
    build = ModelBuilder()
    for depth in (1, 7, 64):
        depthwise(build, (1, 2, 2, depth), slope=0.004, scale_spread=1)
    functions = check(build, [board], samples=2).program.functions
    assert {function.template for function in functions} == {KERNEL} and len(functions) < 3
    numbers = [{name: value for name, value in f.values.items() if name != "scaling"} for f in functions]
    assert all(values == numbers[0] for values in numbers)


@pytest.mark.parametrize(
    ("shape", "options", "owners"),
    [
        ((1, 3, 3, 4), {}, set(BOARDS)),
        ((1, 4, 4, 4), {}, {"nucleo_l152re"}),
        ((1, 6, 6, 4), {"stride": 2}, {"pico"}),
        ((1, 4, 4, 4), {"kernel": (5, 5)}, set(BOARDS)),
        ((1, 5, 4, 4), {"kernel": (5, 5)}, set()),
        ((1, 3, 3, 4), {"dilation": 2}, set()),
        ((1, 3, 3, 4), {"multiplier": 2}, set()),
        ((1, 3, 3, 4), {"y_zero": 3}, {"nucleo_l152re"}),
    ],
    ids=["3x3", "16 outputs", "36 inputs", "5x5", "20 outputs", "gaps", "filters", "both signs"],
)
def test_which_kernel(shape: tuple[int, ...], options: dict[str, Any], owners: set[str]) -> None:
    """The next one takes over where this one is slower, or not possible."""
    build = ModelBuilder()
    depthwise(build, shape, **options)
    assert {board for board in BOARDS if chosen(compiled(build, board))} == owners


@pytest.mark.parametrize("board", BOARDS)
def test_row_by_row(board: str) -> None:
    """The kernel of 3x3 windows computes rows."""
    build = ModelBuilder()
    for shape, stride in (((1, 3, 3, 6), 1), ((1, 4, 4, 3), 2)):
        depthwise(build, shape, stride)
    net = layers(build.finish(), board)
    assert {choice.variant.name for choice in net.choices} == {BOARDS[board]}
    check_rows(net)


def test_where_the_output_may_lie() -> None:
    """Rows are read again for each row of outputs: equal at the rule, and different one byte beyond it."""
    build = ModelBuilder(np.random.default_rng(174))
    numbers: dict[str, Any] = {"x_zero": 0, "bias": 0}
    for shape, stride, kernel in (((1, 3, 3, 4), 1, (3, 3)), ((2, 4, 4, 3), 2, (5, 5)), ((1, 6, 2, 5), (2, 1), (4, 2))):
        depthwise(build, shape, stride, kernel=kernel, slope=2 * slope(kernel[0] * kernel[1]), **numbers)
    net = layers(build.finish(), "pico")
    assert {choice.variant.name for choice in net.choices} == {BOARDS["pico"]}
    assert check_tight(net) >= 3


def of_every_kind() -> ModelBuilder:
    """Rows of either axis, one sign and both, limits, two samples."""
    build = ModelBuilder()
    for shape, kernel in (
        ((1, 2, 2, 4), (3, 3)),
        ((2, 1, 4, 6), (3, 3)),
        ((1, 4, 4, 3), (5, 5)),
        ((1, 9, 1, 2), (4, 1)),
    ):
        for y_zero, activation in ((-128, NONE), (3, NONE), (-100, RELU6)):
            depthwise(build, shape, kernel=kernel, y_zero=y_zero, activation=activation)
    return build


@pytest.mark.parametrize("core", ["cortex-m0plus", "cortex-m3"])
def test_nothing_outside_its_buffers(core: str, tmp_path: Path) -> None:
    check_sanitized(of_every_kind().finish(), tmp_path, core)


def test_compilers(tmp_path: Path) -> None:
    """No warning at any level of optimisation."""
    assert chosen(compiled(of_every_kind(), "pico")) > 5
    compiles(of_every_kind(), tmp_path)
