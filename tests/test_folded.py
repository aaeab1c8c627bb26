"""Convolutions with gaps over time as images: the same sums, and the kernels that compute them so."""

from __future__ import annotations

import numpy as np
import pytest

from tests.dsp import BOARDS, check
from tests.modelbuilder import ModelBuilder
from tests.oracles import check_model
from tests.overlap_harness import check_safe, check_tight, layers
from tests.rows_harness import check_rows, rows_of
from tests.test_convolution_dsp import SAME, VALID, convolution
from tests.test_depthwise_dsp import depthwise
from tinygen import ops
from tinygen.driver import Compiled
from tinygen.frontend import tflite
from tinygen.ops.folded import folded
from tinygen.ops.spec import Context, context_of
from tinygen.ops.window import convolution_geometry
from tinygen.quant import Numerics
from tinygen.verify.golden import Golden

M55 = "mps3-an547"
PAIRS, HELIUM = "kernels/depthwise_conv_2d.pairs.dsp.c.j2", "kernels/conv_2d.mve.c.j2"


def contexts(build: ModelBuilder) -> list[Context]:
    """Of all nodes."""
    graph = tflite.read(build.finish(), "net.tflite")
    return [context_of(graph, node, Numerics.TFLITE) for node in graph.nodes]


def templates(result: Compiled) -> list[str]:
    """Of all layers."""
    functions = {function.name: function for function in result.program.functions}
    return [functions[call.function].template for call in result.program.calls]


def dilated(build: ModelBuilder, depthwise_too: bool = True) -> ModelBuilder:
    """Layers over time that fill an image: borders of any size, or none."""
    for gap, taps, padding in ((2, 3, SAME), (4, 5, SAME), (3, 2, VALID), (8, 3, SAME)):
        steps = 4 * gap + (taps - 1) * gap
        convolution(build, (1, 1, steps, 6), 8, (1, taps), dilation=(1, gap), padding=padding, x_zero=5)
        if depthwise_too:
            depthwise(build, (1, 1, steps, 6), 1, padding, kernel=(1, taps), dilation=gap, x_zero=5, slope=0.004)
    return build


def test_the_same_sums() -> None:
    found = contexts(dilated(ModelBuilder()))
    for context in found:
        image = folded(context)
        gap = convolution_geometry(context).dilation[1]
        assert image.input(0).shape[2] == image.output.shape[2] == gap and convolution_geometry(image).dilation == (
            1,
            1,
        )
        x = np.random.default_rng(1).integers(-128, 128, context.input(0).shape).astype(np.int8)
        rest = [context.input(i).data for i in range(1, 3)]
        spec = ops.SPECS[context.node.op]
        [wanted] = spec.reference(context, [x, *rest])
        [result] = spec.reference(image, [x.reshape(image.input(0).shape), image.input(1).data, *rest[1:]])
        np.testing.assert_array_equal(result.ravel(), wanted.ravel())


def test_what_is_no_image() -> None:
    """Steps or a border that fill no row, strides, taps over rows, several rows, one tap, batches."""
    build = ModelBuilder()
    convolution(build, (1, 1, 15, 4), kernel=(1, 3), dilation=(1, 2))
    convolution(build, (1, 1, 16, 4), kernel=(1, 4), dilation=(1, 2))
    convolution(build, (1, 1, 16, 4), kernel=(1, 3), dilation=(1, 2), stride=(1, 2))
    convolution(build, (1, 1, 16, 4), kernel=(3, 3), dilation=(1, 2))
    convolution(build, (1, 2, 16, 4), kernel=(1, 3), dilation=(1, 2))
    convolution(build, (1, 1, 16, 4), kernel=(1, 1), dilation=(1, 2))
    convolution(build, (2, 1, 16, 4), kernel=(1, 3), dilation=(1, 2))
    convolution(build, (1, 1, 16, 4), kernel=(1, 3))
    assert all(folded(context) is context for context in contexts(build))


@pytest.mark.parametrize("board", BOARDS[:1])
def test_depthwise_by_pairs(board: str, golden: Golden) -> None:
    build = ModelBuilder()
    for gap, taps in ((2, 3), (4, 3), (8, 3), (4, 5)):
        depthwise(build, (1, 1, 32, 9), kernel=(1, taps), dilation=gap, x_zero=-3, slope=0.004)
    assert set(templates(check(build, [board]))) == {PAIRS}
    check_model(build.finish(), golden)


def test_convolution_by_helium() -> None:
    build = dilated(ModelBuilder(), depthwise_too=False)
    assert set(templates(check(build, [M55], 2))) == {HELIUM}


@pytest.mark.parametrize(("board", "variant"), [(BOARDS[0], "pairs_dsp"), (M55, "mve")])
def test_where_the_output_may_lie(board: str, variant: str) -> None:
    build = ModelBuilder()
    if board == M55:
        convolution(build, (1, 1, 24, 5), 4, (1, 3), dilation=(1, 4), x_zero=0, bias=0, slope=0.004)
        convolution(build, (1, 1, 24, 3), 7, (1, 3), dilation=(1, 2), x_zero=0, bias=0, slope=0.004)
    else:
        depthwise(build, (1, 1, 24, 5), kernel=(1, 3), dilation=4, x_zero=0, bias=0, slope=0.004)
    net = layers(build.finish(), board)
    assert {choice.variant.name for choice in net.choices} == {variant}
    check_safe(net)
    assert check_tight(net) >= 1


@pytest.mark.parametrize(("board", "other"), [(BOARDS[0], "depthwise_conv_2d"), (M55, "depthwise_conv_2d.mve")])
def test_row_by_row(board: str, other: str) -> None:
    """No row of an image is a row of the steps: other kernels compute these."""
    net = layers(dilated(ModelBuilder()).finish(), board)
    assert {f"kernels/{name}.c.j2" for name in ("conv_2d.dsp", other)} <= {rows.template for rows in rows_of(net)}
    check_rows(net, samples=2)
