"""Matrices of chained channels for the DSP extension: their C on this computer, their instructions in the emulator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.dsp import BOARDS, RELU6, check, check_compilers, forms
from tests.modelbuilder import ModelBuilder
from tests.overlap_harness import SCRATCH, at_most, check_safe, check_tight, layers
from tests.test_fully_connected_dsp import dense, functions, of_every_depth, of_large_shapes, random_dense
from tests.test_generated_c import check_sanitized
from tinygen.ir import Array
from tinygen.quant import Numerics

pytestmark = pytest.mark.usefixtures("every_function")

KERNEL = "tg_matrix_vector_chain_dsp_s8"
DIRECT = {"fully_connected": "direct_chain_dsp", "conv_2d": "one_pixel_direct_chain_dsp"}


def random_layers(seed: int, count: int = 9, inputs: int = 1) -> ModelBuilder:
    """Any inputs, a multiple of `inputs`, and eight channels or more; all zero points, limits, kinds of scales."""
    build = ModelBuilder(np.random.default_rng(seed))
    for _ in range(count):
        random_dense(build, least_units=8, most_units=40, inputs=inputs, share=0.4)
    return build


@pytest.mark.parametrize("board", BOARDS)
def test_random_shapes(board: str) -> None:
    result = check(random_layers(BOARDS.index(board)), [board])
    assert set(forms(result, KERNEL)) == {"line"}
    assert {function.values["finish"]["multiplier"] for function in result.program.functions} == {None, "layer[4]"}


@pytest.mark.parametrize("units", [8, 9, 15, 30])
def test_every_number_of_inputs(units: int) -> None:
    """A last block that starts earlier, too."""
    forms(check(of_every_depth(units), samples=2), KERNEL)


def test_layers_of_all_shapes_share_a_kernel() -> None:
    result = check(of_large_shapes(), samples=2)
    forms(result, KERNEL)
    assert [function.values["units"] for function in result.program.functions] == [16]


def weights_at_ends(rng: np.random.Generator) -> Array:
    """Eight channels; -128 wherever it may be: above a weight that is not negative, or not above another."""
    weights = rng.choice([-128, -127, -1, 0, 1, 127], (8, 40))
    for high, low in ((2, 1), (3, 2), (6, 5), (7, 6)):
        weights[high] = np.where(weights[low] < 0, np.maximum(weights[high], -127), weights[high])
    return weights


def test_weights_at_their_ends() -> None:
    build = ModelBuilder()
    for weight in (-127, 127, 0):
        dense(build, 64, 8, weights=weight, slope=1e-3, x_zero=127)
    for _ in range(6):
        weights = weights_at_ends(build.rng)
        assert weights.min() == -128
        dense(build, 40, 8, weights=weights, slope=1e-3, y_zero=7)
    forms(check(build, samples=6), KERNEL)


@pytest.mark.parametrize(("high", "low"), [(3, 2), (2, 1)])
def test_weights_that_cannot_be_paired_have_another_kernel(high: int, low: int) -> None:
    build = ModelBuilder()
    weights = build.rng.integers(-127, 128, (8, 12))
    weights[[high, low]] = [[-128], [-1]]
    dense(build, 12, 8, weights=weights)
    assert not functions(build)[0].startswith(KERNEL)
    check(build)


@pytest.mark.parametrize(("weight", "depth"), [(127, 516), (-127, 512)])
def test_sums_of_24_bits(weight: int, depth: int) -> None:
    """516 inputs of -128 by 127 stay just inside, one more does not; of outputs that fall, a little less."""
    build, over = ModelBuilder(), ModelBuilder()
    dense(build, depth, 9, weights=weight, bias=0, slope=2e-5, x_zero=0, y_zero=0)
    dense(over, 517, 9, weights=weight, bias=0, slope=2e-5, x_zero=0, y_zero=0)
    forms(check(build, samples=6), KERNEL)
    assert not functions(over)[0].startswith(KERNEL)


def test_two_roundings_have_another_kernel() -> None:
    """As under the other profile outputs of both signs have; those of one sign are of one multiplication there too."""
    build = ModelBuilder()
    dense(build, 33, 12)
    dense(build, 33, 12, y_zero=3)
    names = [call.function for call in check(build, numerics=Numerics.TFLM).program.calls]
    assert [name.startswith(KERNEL) for name in names] == [True, False]


def one_pixel(build: ModelBuilder, depth: int, filters: int) -> None:
    """A 1x1 convolution of a 1x1 map, with a scale for each channel."""
    x = build.input((1, 1, 1, depth), "int8", 0.05, 3)
    scales = build.rng.uniform(0.001, 0.02, filters).astype(np.float32)
    w = build.constant(build.rng.integers(-127, 128, (filters, 1, 1, depth)), "int8", scales, [0] * filters)
    y = build.tensor((1, 1, 1, filters), "int8", 0.1, -128)
    b = build.constant(np.arange(filters), "int32", np.float32(0.05) * scales, [0] * filters)
    build.op("CONV_2D", [x, w, b], [y], "Conv2D", strideH=1, strideW=1)


def test_one_pixel_is_a_row() -> None:
    build = ModelBuilder()
    one_pixel(build, 21, 11)
    assert forms(check(build, BOARDS), KERNEL) == ["line"]


def test_overlaps() -> None:
    """The output anywhere, the inputs where they become int16."""
    build = random_layers(5, 4)
    one_pixel(build, 12, 20)
    net = layers(build.finish(), "nucleo_l4r5zi")
    assert {choice.variant.name for choice in net.choices} == {"chain_dsp", "one_pixel_chain_dsp"}
    check_safe(net, distances=[at_most])
    assert all(choice.kernel.overlaps[0].most == choice.context.input(0).bytes for choice in net.choices)
    assert check_tight(net, output=SCRATCH, distances=[at_most]) >= 4


def test_inputs_read_for_each_block() -> None:
    """Without scratch: there outputs may lie over inputs from a distance on."""
    build = random_layers(6, 4, inputs=4)
    one_pixel(build, 12, 20)
    assert check_tight(layers(build.finish(), "nucleo_l4r5zi").of_variant(DIRECT)) >= 4


def test_compilers(tmp_path: Path) -> None:
    build = ModelBuilder()
    for depth, units in ((64, 64), (9, 13)):
        dense(build, depth, units, activation=RELU6)
        dense(build, depth, units, y_zero=3, per_channel=True)
    check_compilers(build, tmp_path)
    check_sanitized(build.finish(), tmp_path / "sanitized", "cortex-m4")
