"""Every kernel's rule of how its output may lie over its input: equal results at the bound, others one byte beyond."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import Emit
from tests.overlap_harness import SCRATCH, at_most, check_safe, check_tight, layers
from tests.random_models import emitters
from tests.test_fully_connected_dsp import dense
from tests.test_pointwise_dsp import pointwise

WINDOWED = {"average_pool_2d", "conv_2d", "depthwise_conv_2d", "max_pool_2d", "transpose_conv"}
NO_CODE = {"expand_dims", "reshape", "squeeze"}
CHAINS = {"dequantize", "quantize"}
"""Those that come in pairs."""
BYTE = "int8", 0.1, 3


def side_by_side(emits: Iterable[Emit], seed: int, count: int, most: int = 7) -> bytes:
    """A model of random instances of operators, each on inputs of its own."""
    build = ModelBuilder(np.random.default_rng(seed))
    for emit in emits:
        made = 0
        while made < count:
            build.pool.clear()
            x = build.random_input(build.random_shape(build.pick([1, 2, 3, 4]), most))
            if emit(build, x):
                made += 1
            else:
                build.forget(x)
    return build.finish()


@pytest.mark.parametrize("operand, output, failing", [(0, 0, 60), (1, 0, 6), (0, 1, 3), (1, 1, 1)])
def test_every_operator(operand: int, output: int, failing: int) -> None:
    """Where random scales let an output be one value, nothing can fail beyond the bound: not all must."""
    found = emitters()
    names = found.keys() - WINDOWED - NO_CODE - CHAINS
    if output:
        names &= {"split", "split_v", "unpack"}
    elif operand:
        names &= {"add", "concatenation", "maximum", "minimum", "mul", "pack", "prelu", "split", "sub"}
    net = layers(side_by_side([found[name] for name in sorted(names)], 3, 3))
    assert check_tight(net, operand, output, least=0.75) >= failing


@pytest.mark.parametrize("name", ["logistic", "softmax"])
def test_one_element_after_another(name: str) -> None:
    """But one softmax of two: both are read before one is written."""
    net = layers(side_by_side([emitters()[name]], 1, 12))
    pairs = sum(choice.variant.name == "pair" and choice.context.output.size == 2 for choice in net.choices)
    assert [choice.kernel.overlaps[0].most for choice in net.choices].count(0) == 12 - pairs
    assert check_tight(net) == 12 - pairs


def test_elements_of_other_sizes() -> None:
    """A real becomes a byte in its place, and the other way at the end of the output."""
    build = ModelBuilder()
    for count in (2, 9, 40):
        reals, small, other = (build.input((count,), *kind) for kind in (("float32",), BYTE, BYTE))
        build.op("QUANTIZE", [reals], [build.tensor((count,), "int8", 1 / 128, 0)], "Quantize")
        build.op("DEQUANTIZE", [small], [build.tensor((count,), "float32")], "Dequantize")
        build.op("QUANTIZE", [other], [build.tensor((count,), "int16", 0.001, 0)], "Quantize")
    net = layers(build.finish())
    rules = [choice.kernel.overlaps[0].most for choice in net.choices]
    assert rules == [3, -3, -1, 3, -24, -8, 3, -117, -39]
    assert check_tight(net, least=0.6) == 6  # the lowest byte of a real matters to nobody


def test_wide_types_lie_apart() -> None:
    """C lets a compiler believe that an int16 and a float share no byte."""
    build = ModelBuilder()
    x = build.input((8,), "int16", 0.1, 0)
    build.op("DEQUANTIZE", [x], [build.tensor((8,), "float32")], "Dequantize")
    assert layers(build.finish()).choices[0].kernel.overlaps == ()


def sums(build: ModelBuilder, shapes: Iterable[tuple[int, ...]]) -> None:
    """ADD of equal shapes, which never saturates."""
    for shape in shapes:
        inputs: list[Value] = [build.input(shape, "int8", scale, 3) for scale in (0.1, 0.07)]
        build.op("ADD", inputs, [build.tensor(shape, "int8", 0.2, -5)], "Add")


@pytest.mark.parametrize("operand", [0, 1])
@pytest.mark.parametrize("board", [None, "nucleo_l4r5zi"])
def test_sum_in_the_place_of_an_input(board: str | None, operand: int) -> None:
    """Four elements at a time with the DSP extension, and those behind them."""
    build = ModelBuilder(np.random.default_rng(2))
    sums(build, [(count,) for count in (2, 5, 8, 9, 31)])
    assert check_tight(layers(build.finish(), board), operand, distances=[at_most]) == 5


def pixels(build: ModelBuilder, count: int) -> None:
    """1x1 convolutions of any number of pixels, more and fewer channels out than in."""
    for _ in range(count):
        shape = (int(build.pick([1, 1, 2])), *build.rng.integers(1, [6, 6]).tolist())
        depth, filters = build.rng.integers(4, 40, 2).tolist()
        zeros = {"x_zero": build.random_zero_point(), "y_zero": build.pick([-128, 3])}
        pointwise(build, (*shape, depth), filters, build.pick([0, 1, 3]), slope=0.02 / depth, **zeros)


@pytest.mark.parametrize("board", [None, "nucleo_l4r5zi", "pico", "mps3-an547"])
def test_pointwise(board: str | None) -> None:
    """Blocks of one, two and three pixels, an odd one at the end too."""
    build = ModelBuilder(np.random.default_rng(4))
    pixels(build, 9)
    net = layers(build.finish(), board)
    if board == "pico":  # the first choice reads as many pixels as these before it writes one
        net = net.of_variant({"conv_2d": "pointwise_v6m"})
    assert check_tight(net, distances=[at_most], samples=3) >= 7


def test_pixel_by_pixel_for_armv7m() -> None:
    """The kernels of layers of few outputs."""
    build = ModelBuilder(np.random.default_rng(4))
    pixels(build, 6)
    net = layers(build.finish(), "bluepill_f103c8").of_variant({"conv_2d": "pointwise_pixels_v7m"})
    assert check_tight(net, distances=[at_most], samples=3) >= 4


@pytest.mark.parametrize("board", [None, "nucleo_l4r5zi", "pico", "mps3-an547"])
def test_matrix(board: str | None) -> None:
    """Rows one after another; two at a time with the DSP extension."""
    build = ModelBuilder(np.random.default_rng(6))
    for rows in (2, 3, 5):
        for depth, units in ((9, 20), (30, 8), (12, 12)):
            dense(build, depth, units, rows, y_zero=3, slope=0.02 / depth)
    assert check_tight(layers(build.finish(), board), distances=[at_most], samples=3) >= 6


def vectors(build: ModelBuilder, direct: bool) -> None:
    """Matrices times one vector, and a 1x1 convolution of one pixel."""
    for _ in range(8):
        depth, units = build.rng.integers(1, 70, 2).tolist()
        dense(build, depth * 4 if direct else depth, units + 4, activation=build.pick([0, 3]), slope=0.02 / depth)
    pointwise(build, (1, 1, 1, 12), 20)


@pytest.mark.parametrize("direct", [False, True])
def test_matrix_times_vector(direct: bool) -> None:
    """The output anywhere, the inputs where they become int16; or inputs that are read for each block of outputs."""
    build = ModelBuilder(np.random.default_rng(5))
    vectors(build, direct)
    net = layers(build.finish(), "nucleo_l4r5zi")
    if direct:
        assert check_tight(net.of_variant({"fully_connected": "direct_dsp", "conv_2d": "one_pixel_direct_dsp"})) >= 7
        return
    check_safe(net, distances=[at_most])
    assert all(choice.kernel.overlaps[0].most == choice.context.input(0).bytes for choice in net.choices)
    assert check_tight(net, output=SCRATCH, distances=[at_most]) >= 7
