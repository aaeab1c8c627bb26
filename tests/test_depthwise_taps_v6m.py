"""Depthwise convolutions as lists of taps (Armv6-M): their C here, their instructions in emulated boards."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dsp import NONE, RELU, RELU6, check, compiled
from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tests.overlap_harness import check_safe, check_tight, differing, layers, placed
from tests.test_convolution_dsp import SAME, VALID
from tests.test_depthwise_dsp import depthwise
from tests.test_generated_c import check_sanitized
from tests.test_overlap_windows import before, behind, first, last, slope
from tests.test_v6m import BOARDS, DEPTHWISE, compiles
from tinygen.driver import Compiled
from tinygen.ops import depthwise_halves
from tinygen.ops.window import Geometry
from tinygen.verify.golden import Golden

KERNEL = "kernels/depthwise_conv_2d.taps.v6m.c.j2"


def templates(result: Compiled) -> list[str]:
    """Of all layers."""
    functions = {function.name: function for function in result.program.functions}
    return [functions[call.function].template for call in result.program.calls]


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_every_way_to_lay_out_a_channel(stride: int) -> None:
    """Under each tap of each output lies its input, or the border; inputs that nobody needs may be missing."""
    for size, kernel, pad, gap in product((1, 2, 3, 4, 7, 10), (1, 2, 3, 5), (0, 1, 2, 4), (1, 2)):
        reach = (kernel - 1) * gap + 1
        output = (size + 2 * pad - reach) // stride + 1
        if output < 1 or pad >= reach:
            continue
        other = (4, 3, 3, 1, 1, 1)
        pairs = zip((size, kernel, output, stride, gap, pad), other, strict=True)
        for way in depthwise_halves.ways(Geometry(*pairs)):
            check_way(way)


def check_way(way: depthwise_halves.Halves) -> None:
    """Each word of the plane that a window reads, against the input."""
    size = way.down.input, way.along.input
    inputs = np.arange(1, 1 + size[0] * size[1]).reshape(size)
    plane = np.zeros((way.plane_words, depthwise_halves.LANES), np.int64)
    step = way.along.stride
    for run in way.runs:
        for row, word, lane in product(range(run.rows), range(run.words), range(depthwise_halves.LANES)):
            if run.lane not in (None, lane):
                continue
            shift = [0 if run.lane else lane * apart for apart in way.apart]
            y = run.down + row + shift[0] * way.down.stride
            plane[run.place + row * way.pitch + word, lane] = inputs[y, run.along + (word + shift[1]) * step]
    for row, word, lane in product(range(way.rows), range(way.words), range(depthwise_halves.LANES)):
        top = (row + lane * way.apart[0]) * way.down.stride - way.down.pad
        left = (word + lane * way.apart[1]) * step - way.along.pad
        for ky, kx in product(range(way.down.kernel), range(way.along.kernel)):
            y, x = top + ky * way.down.dilation, left + kx * way.along.dilation
            inside = 0 <= y < size[0] and 0 <= x < size[1]
            place = (row * way.down.stride + ky * way.down.dilation) * way.pitch + way.columns[kx] + word
            assert plane[place, lane] == (inputs[y, x] if inside else 0)


@pytest.mark.parametrize("board", BOARDS)
def test_random(board: str) -> None:
    """Any kernel, stride, gap and padding; several filters a channel; outputs of one sign and of both, limits."""
    build = ModelBuilder(np.random.default_rng(160 + BOARDS.index(board)))
    rng = build.rng
    for _ in range(16):
        padding = build.pick([SAME, SAME, VALID])
        height, width, depth = (int(size) for size in rng.integers([9, 9, 1], [15, 15, 6]))
        height, width = build.pick([(height, width), (height, width), (1, 4 * width), (4 * height, 1)])
        kernel = tuple(int(size) for size in rng.integers(1, 6, 2))
        kernel = (min(kernel[0], height), min(kernel[1], width)) if padding == VALID else kernel
        dilation = build.pick([2, 2, 3]) if max(kernel) < 4 and min(height, width) > 6 else 1
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, build.random_zero_point()])}
        choice = {"activation": build.pick([NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-4, -1.5)}
        choice |= {"multiplier": build.pick([1, 1, 2]), "kernel": kernel, "dilation": dilation}
        stride = build.pick([1, 1, 2, (1, 2), (3, 1)]) if dilation == 1 else 1
        depthwise(build, (build.pick([1, 1, 2]), height, width, depth), stride, padding, **choice, **zeros)
    assert templates(check(build, [board])).count(KERNEL) > 8


def test_random_against_the_interpreter(golden: Golden) -> None:
    build = ModelBuilder(np.random.default_rng(162))
    for kernel in ((5, 5), (1, 7), (4, 2)):
        depthwise(build, (1, 7, 8, 3), kernel=kernel)
        depthwise(build, (1, 9, 8, 2), 2, kernel=kernel, x_zero=-9, y_zero=4)
    assert set(templates(compiled(build, BOARDS[1]))) == {KERNEL}
    check_model(build.finish(), golden)


def test_numbers_of_words() -> None:
    """Two at once where rows, or columns, have no more, otherwise three."""
    for shapes, count in ((((1, 7, 4, 3),), 2), (((1, 12, 2, 3), (1, 2, 30, 3), (1, 40, 1, 2), (1, 7, 7, 2)), 3)):
        build = ModelBuilder()
        for shape in shapes:
            depthwise(build, shape, kernel=(5, 5), slope=0.003)
        result = check(build, BOARDS[1:], samples=2)
        assert set(templates(result)) == {KERNEL}
        assert {function.values["words_at_once"] for function in result.program.functions} == {count}


def test_single_rows_and_numbers_of_taps() -> None:
    """Words of a row as so many rows, and those beside whole ones; every way into a round of taps."""
    build = ModelBuilder(np.random.default_rng(8))
    for taps in range(2, 12):
        for shape, kernel in (((1, 1, 16 + taps, 2), (1, taps)), ((1, 17 + taps, 1, 2), (taps, 1))):
            depthwise(build, shape, kernel=kernel, x_zero=3, bias=0, slope=slope(taps))
        depthwise(build, (1, 6, 5, 2), kernel=(taps // 2 + 1, 2), x_zero=3, bias=0, slope=slope(taps))
    assert templates(check(build, ["pico"], samples=2)).count(KERNEL) > 20


@pytest.mark.parametrize("zero_point", [-128, 127])
def test_weights_inputs_and_biases_at_their_ends(zero_point: int) -> None:
    """Lanes that are full, and sums that wrap on their way; two weights of -128 in a chunk do not fit."""
    build = ModelBuilder(np.random.default_rng(163))
    for kernel in ((5, 5), (3, 4)):
        weights = build.rng.choice([-127, 127], (1, *kernel, 4))
        for bias, y_zero in ((0, -128), (120000, 3), (-120000, -128)):
            depthwise(build, (1, 5, 6, 4), x_zero=zero_point, kernel=kernel, weights=weights, bias=bias, y_zero=y_zero)
    alternating = np.where(np.arange(25).reshape(1, 5, 5, 1) % 2, -128, -127)
    depthwise(build, (1, 5, 6, 4), x_zero=zero_point, kernel=(5, 5), weights=alternating, slope=1e-3)
    assert templates(check(build, samples=6, boards=BOARDS[1:])).count(KERNEL) >= 6
    depthwise(build, (1, 5, 6, 4), kernel=(5, 5), weights=-128)
    assert templates(compiled(build, BOARDS[1]))[-1] != KERNEL


def test_layers_share_a_kernel() -> None:
    """Whatever their sizes, strides and windows."""
    build = ModelBuilder()
    for shape, kernel, stride in (((1, 12, 12, 5), (5, 5), 1), ((1, 9, 30, 2), (7, 3), 2), ((1, 1, 40, 4), (1, 9), 1)):
        depthwise(build, shape, stride, kernel=kernel, slope=0.003)
    assert len(check(build, samples=2, boards=BOARDS[1:]).program.functions) == 1


@pytest.mark.parametrize(
    ("shape", "options", "own"),
    [
        ((1, 9, 9, 3), {"kernel": (5, 5)}, True),
        ((1, 9, 9, 3), {"dilation": 2}, True),
        ((1, 9, 9, 3), {"multiplier": 2}, True),
        ((1, 9, 9, 3), {}, False),
        ((1, 3, 5, 3), {"kernel": (5, 5)}, False),
    ],
    ids=["window", "gaps", "filters", "three by three", "few outputs"],
)
def test_which_kernel(shape: tuple[int, ...], options: dict[str, Any], own: bool) -> None:
    build = ModelBuilder()
    depthwise(build, shape, **options)
    (template,) = templates(compiled(build, BOARDS[1]))
    assert (template == KERNEL) == own and (own or template != KERNEL)
    assert template == DEPTHWISE or options


def test_where_the_output_may_lie() -> None:
    """On pixels of the input, not a byte further; apart from it as the rule says, and no byte less."""
    build = ModelBuilder(np.random.default_rng(164))
    numbers: dict[str, Any] = {"x_zero": 0, "bias": 0}
    for shape, stride, kernel in (
        ((1, 4, 5, 3), 1, (5, 5)),
        ((1, 9, 8, 4), 2, (5, 3)),
        ((2, 5, 4, 2), 1, (2, 2)),
        ((1, 1, 20, 5), 1, (1, 7)),
    ):
        depthwise(build, shape, stride, kernel=kernel, slope=2 * slope(kernel[0] * kernel[1]), **numbers)
    net = layers(build.finish(), BOARDS[1])
    assert {choice.variant.name for choice in net.choices} == {"taps_v6m"}
    found = {i for i, choice in enumerate(net.choices) if choice.kernel.overlaps[0].exact}
    assert len(found) >= 3
    check_safe(net, distances=(first, last))
    assert differing(net, placed(net, before)) >= found
    assert differing(net, placed(net, behind)) >= found
    assert check_tight(net) >= 2


def of_every_kind() -> ModelBuilder:
    """One sign and both, limits, two words and three, several filters."""
    build = ModelBuilder(np.random.default_rng(165))
    for y_zero, activation in ((-128, NONE), (3, NONE), (-100, RELU6)):
        depthwise(build, (1, 6, 7, 3), kernel=(5, 5), y_zero=y_zero, activation=activation, slope=0.003)
        depthwise(build, (2, 16, 3, 2), 2, kernel=(4, 3), y_zero=y_zero, activation=activation, multiplier=2)
    return build


def test_nothing_outside_its_buffers(tmp_path: Path) -> None:
    build = of_every_kind()
    assert set(templates(compiled(build, BOARDS[1]))) == {KERNEL}
    check_sanitized(build.finish(), tmp_path, "cortex-m0plus")


def test_compilers(tmp_path: Path) -> None:
    """No warning at any level of optimisation, with the instructions and without."""
    compiles(of_every_kind(), tmp_path)
