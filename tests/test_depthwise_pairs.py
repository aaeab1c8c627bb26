"""Depthwise convolutions of small maps (DSP): what is multiplied, their C here, their instructions in emulators."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.dsp import BOARDS, NONE, RELU, RELU6, check, check_compilers, compiled
from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tests.overlap_harness import check_safe, check_tight, differing, layers, placed
from tests.rows_harness import check_rows
from tests.test_convolution_dsp import SAME, VALID
from tests.test_depthwise_dsp import LINE, SHARED, SLIDE, STRIDED, TAPS, depthwise, kernels
from tests.test_generated_c import check_sanitized
from tests.test_overlap_windows import before, behind, first, last, slope
from tinygen.driver import Compiled
from tinygen.ops import depthwise_pairs
from tinygen.ops.depthwise_pairs import Row
from tinygen.ops.planes import Axis
from tinygen.verify.golden import Golden

KERNEL = "kernels/depthwise_conv_2d.pairs.dsp.c.j2"
NAME = "pairs_dsp"


def computed(row: Row, elements: list[int], taps: list[int]) -> list[int]:
    """The outputs of a row, product by product as a kernel makes them."""
    padded = elements + [0] * (len(elements) % 2)
    outputs, at = [], 0
    for group in row.groups:
        for _ in range(group.rounds):
            sums = [0] * group.outputs
            started: set[int] = set()
            for word, products in group.words:
                for term in products:
                    x = padded[2 * (at + word) : 2 * (at + word) + 2]
                    w = [*taps, 0][term.tap : term.tap + 2]
                    halves = term.halves
                    sums[term.output] += x[0] * w[0] + x[1] * w[1] if halves is None else x[halves[0]] * w[halves[1]]
                    assert term.first == (term.output not in started)
                    started.add(term.output)
            outputs += sums
            at += group.step
    assert at == row.advanced
    return outputs


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_every_row(stride: int) -> None:
    """Maps of 1 to 19 elements, windows of 2 to 7, any border: the sums of the definition."""
    rounds = set()
    for size, kernel, pad, most in product((*range(1, 10), 18, 19), range(2, 8), range(7), (2, 4)):
        outputs = (size + 2 * pad - kernel) // stride + 1
        if outputs < 1 or pad >= kernel:
            continue
        elements, taps = [3 + 7 * i for i in range(size)], [11 * i - 20 for i in range(kernel)]
        row = depthwise_pairs.row(Axis(size, kernel, outputs, stride, pad), most)
        wanted = [
            sum(tap * elements[x] for k, tap in enumerate(taps) if 0 <= (x := output * stride - pad + k) < size)
            for output in range(outputs)
        ]
        assert computed(row, elements, taps) == wanted
        rounds |= {group.rounds for group in row.groups}
    assert rounds >= {1, 2}


def chosen(result: Compiled) -> int:
    """How many layers have the kernel."""
    functions = {function.name: function for function in result.program.functions}
    return [functions[call.function].template for call in result.program.calls].count(KERNEL)


@pytest.mark.parametrize("board", BOARDS)
def test_random(board: str) -> None:
    """Small maps of any kernel, stride, padding and zero point; the last channels in a word with others."""
    build = ModelBuilder(np.random.default_rng(90 + BOARDS.index(board)))
    rng = build.rng
    for _ in range(20):
        height, width, depth = (int(size) for size in rng.integers([1, 1, 4], [7, 7, 14]))
        kernel = (3, 3) if build.chance(0.4) else tuple(int(size) for size in rng.integers(1, 8, 2))
        padding = VALID if kernel[0] <= height and kernel[1] <= width and build.chance(0.5) else SAME
        choice = {"kernel": kernel, "activation": build.pick([NONE, RELU, RELU6]), "slope": 10 ** rng.uniform(-4, -2)}
        choice |= {"x_zero": build.random_zero_point(), "scale_spread": build.pick([1.2, 4.0])}
        shape = (build.pick([1, 1, 2]), height, width, depth)
        depthwise(build, shape, build.pick([1, 1, 2, (1, 3), (2, 1)]), padding, **choice)
    assert chosen(check(build, [board])) > 8


def test_random_against_the_interpreter(golden: Golden) -> None:
    build = ModelBuilder(np.random.default_rng(96))
    for size in range(1, 5):
        depthwise(build, (1, size, 5 - size, 4 + size))
        depthwise(build, (1, size, size, 8), kernel=(5, 5), x_zero=-9)
    assert chosen(compiled(build)) == 8
    check_model(build.finish(), golden)


def test_maps_of_real_networks() -> None:
    build = ModelBuilder()
    for size in (2, 3, 4):
        depthwise(build, (1, size, size, 96), slope=0.004)
    depthwise(build, (1, 4, 4, 48), 2, slope=0.004)
    for size, stride in ((2, 1), (3, 1), (3, 2), (6, 2)):
        depthwise(build, (1, size, size, 48), stride, kernel=(5, 5), slope=0.002)
    depthwise(build, (1, 32, 1, 21), kernel=(5, 1), slope=0.004)
    depthwise(build, (1, 1, 40, 21), kernel=(1, 4), slope=0.004)
    depthwise(build, (1, 40, 2, 9), kernel=(4, 1), slope=0.004)
    assert set(kernels(check(build, samples=2), KERNEL)) == {"line"}


@pytest.mark.parametrize("zero_point", [-128, 0, 127])
def test_weights_inputs_and_biases_at_their_ends(zero_point: int) -> None:
    """Elements of 9 bits, taps of 16: sums of the greatest products, and those that wrap on their way."""
    build = ModelBuilder(np.random.default_rng(95))
    for kernel in ((3, 3), (5, 5), (2, 4)):
        weights = build.rng.choice([-128, 127], (1, *kernel, 8))
        for bias in (0, 120000, -120000):
            depthwise(build, (1, 3, 4, 8), x_zero=zero_point, kernel=kernel, weights=weights, bias=bias, slope=1e-3)
    assert chosen(check(build, samples=6)) >= 8


def test_a_kernel_knows_no_channels() -> None:
    """So that the layers of a map share it, but for how they are scaled."""
    build = ModelBuilder()
    for depth in (5, 7, 64):
        depthwise(build, (1, 4, 4, depth), slope=0.004, scale_spread=1)
    functions = check(build, samples=2).program.functions
    assert {function.template for function in functions} == {KERNEL} and len(functions) < 3
    numbers = [{name: value for name, value in f.values.items() if name != "scaling"} for f in functions]
    assert all(values == numbers[0] for values in numbers)


@pytest.mark.parametrize(
    ("shape", "options", "template"),
    [
        ((1, 4, 4, 3), {}, SHARED),
        ((1, 5, 4, 8), {}, SHARED),
        ((1, 2, 3, 8), {"y_zero": 3}, SLIDE),
        ((1, 9, 9, 8), {"stride": 2}, STRIDED),
        ((1, 9, 12, 8), {}, LINE),
        ((1, 4, 4, 8), {"multiplier": 2}, SLIDE),
        ((1, 9, 9, 8), {"kernel": (5, 5)}, TAPS),
        ((1, 9, 9, 8), {"kernel": (1, 9)}, TAPS),
        ((1, 1, 2100, 4), {"kernel": (1, 4)}, TAPS),
    ],
    ids=["three channels", "20 elements", "two roundings", "stride", "far", "filters", "code", "registers", "offsets"],
)
def test_which_kernel(shape: tuple[int, ...], options: dict[str, Any], template: str) -> None:
    """The next one takes over where this one is slower, or not possible."""
    build = ModelBuilder()
    depthwise(build, shape, **options)
    functions = check(build, samples=1).program.functions
    assert [function.template for function in functions] == [template]


def of_small_maps() -> ModelBuilder:
    """Layers whose outputs may lie on pixels of their input, or before it by some."""
    build = ModelBuilder(np.random.default_rng(97))
    numbers: dict[str, Any] = {"x_zero": 0, "bias": 0}
    for shape, stride, padding, kernel in (
        ((1, 2, 2, 9), 1, SAME, (3, 3)),
        ((1, 3, 4, 6), 1, SAME, (3, 3)),
        ((1, 4, 4, 7), 2, SAME, (3, 3)),
        ((1, 3, 5, 5), 1, SAME, (5, 5)),
        ((2, 3, 3, 6), 1, SAME, (3, 3)),
    ):
        depthwise(build, shape, stride, padding, kernel=kernel, slope=2 * slope(kernel[0] * kernel[1]), **numbers)
    return build


def test_where_the_output_may_lie() -> None:
    """On pixels of the input, not a byte further; apart from it as the rule says, and no byte less."""
    net = layers(of_small_maps().finish(), BOARDS[0])
    assert {choice.variant.name for choice in net.choices} == {NAME}
    found = {i for i, choice in enumerate(net.choices) if choice.kernel.overlaps[0].exact}
    assert len(found) >= 5
    check_safe(net, distances=(first, last))
    assert differing(net, placed(net, before)) >= found
    assert differing(net, placed(net, behind)) >= found
    assert check_tight(net) >= 3


def test_row_by_row() -> None:
    """Other kernels compute rows: those of 3x3 windows, and those of any."""
    build = ModelBuilder()
    for kernel, stride in (((3, 3), 1), ((3, 3), 2), ((3, 3), (1, 2)), ((5, 5), 2)):
        depthwise(build, (1, 4, 4, 6), stride, kernel=kernel)
    net = layers(build.finish(), BOARDS[0])
    assert {choice.variant.name for choice in net.choices} == {NAME}
    check_rows(net)


def test_nothing_outside_its_buffers(tmp_path: Path) -> None:
    build = ModelBuilder()
    for shape in ((1, 2, 2, 4), (1, 3, 3, 6), (2, 4, 1, 9), (1, 1, 5, 7)):
        for kernel in ((3, 3), (5, 4), (2, 3)):
            depthwise(build, shape, build.pick([1, 2]), kernel=kernel)
    assert chosen(compiled(build)) > 8
    check_sanitized(build.finish(), tmp_path, "cortex-m4f")


def test_every_compiler(tmp_path: Path) -> None:
    build = ModelBuilder()
    for shape, kernel in (
        ((1, 2, 2, 4), (3, 3)),
        ((2, 3, 4, 6), (3, 3)),
        ((1, 3, 3, 5), (5, 5)),
        ((1, 9, 2, 5), (4, 1)),
    ):
        depthwise(build, shape, kernel=kernel)
    depthwise(build, (1, 1, 30, 5), kernel=(1, 4))
    assert chosen(compiled(build)) == 5
    check_compilers(build, tmp_path)
