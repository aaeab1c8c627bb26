from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.movement import like, read_by_kernel
from tests.random_models import random_model
from tests.small_models import convolution
from tinygen import passes, reference
from tinygen.errors import ModelError
from tinygen.frontend import tflite
from tinygen.ir import ABSENT, Graph
from tinygen.passes.check import check
from tinygen.passes.drop_unused import drop_unused
from tinygen.passes.fold_constants import fold_constants
from tinygen.passes.fold_pad import fold_pad
from tinygen.passes.merge_equal import merge_equal
from tinygen.passes.shrink_operands import shrink_operands
from tinygen.quant import Numerics
from tinygen.verify.samples import random_samples

SEEDS = range(20)


def graph_of(build: ModelBuilder, *outputs: Value) -> Graph:
    return tflite.read(build.finish(outputs or None), "test model")


def brief(graph: Graph) -> list[str]:
    """The graph's text without types and attributes: "%3 = transpose(%0, %2)"."""
    lines = re.sub(r":\w+\[[\dx]*\]", "", graph.text()).splitlines()
    return [re.sub(r"\) \w+\(.*$", ")", line).strip() for line in lines]


def test_merge_equal() -> None:
    """Constants of equal bytes are one, unless their type, shape or scale differs."""
    build = ModelBuilder()
    x = build.input((2, 3), "int8", 0.5, 3)
    y = read_by_kernel(build, read_by_kernel(build, x))
    amounts = [build.constant(values, dtype) for values, dtype in (([[1, 0]] * 2, "int32"), ([[1, 0]] * 2, "int64"))]
    for amount in amounts:
        build.op("PAD", [y, amount], [like(build, x, (3, 4))])
    parts = [build.constant([[1, 2, 3]], "int8", scale, 3) for scale in (0.5, 0.5, 0.25)]
    build.op("CONCATENATION", [x, *parts], [like(build, x, (5, 3))], "Concatenation", axis=0)
    graph = graph_of(build)
    assert brief(graph) == [
        "graph main(%0)",
        "%2 = transpose(%0, %1)",
        "%4 = transpose(%2, %3)",
        "%7 = pad(%4, %5)",
        "%8 = pad(%4, %6)",
        "%12 = concatenation(%0, %9, %10, %11)",
        "return %7, %8, %12",
    ]
    assert brief(merge_equal(graph)) == [
        "graph main(%0)",
        "%2 = transpose(%0, %1)",
        "%4 = transpose(%2, %1)",
        "%7 = pad(%4, %5)",
        "%8 = pad(%4, %6)",
        "%12 = concatenation(%0, %9, %9, %11)",
        "return %7, %8, %12",
    ]


def test_merge_equal_keeps_absent_inputs_and_bits() -> None:
    """-0.0 equals 0.0 but is another constant."""
    build = ModelBuilder()
    x = build.input((2,), "float32")
    for zero in (0.0, -0.0):
        inputs = [x, build.constant([[0, 1]], "int32"), build.constant(zero, "float32")]
        build.op("PADV2", inputs, [like(build, x, (3,))])
    build.op("CONV_2D", [x, x, None], [build.tensor((2,), "float32")], "Conv2D", strideH=1, strideW=1)
    graph = merge_equal(graph_of(build))
    assert [node.inputs for node in graph.nodes] == [(0, 1, 2), (0, 1, 5), (0, 0, ABSENT)]


def test_drop_unused() -> None:
    """What no output needs goes, and so do tensors without a node; inputs stay."""
    build = ModelBuilder()
    x, _ = build.random_input((2, 3)), build.random_input((4,))
    build.constant([1, 2, 3], "int32")
    dead = read_by_kernel(build, x)
    build.op("RESHAPE", [dead, build.constant([6], "int32")], [like(build, x, (6,))])
    kept = read_by_kernel(build, x)
    graph = drop_unused(graph_of(build, kept))
    assert brief(graph) == ["graph main(%0, %1)", "%8 = transpose(%0, %7)", "return %8"]
    assert set(graph.tensors) == {0, 1, 7, 8}


def test_drop_unused_keeps_a_node_for_any_of_its_outputs() -> None:
    build = ModelBuilder()
    x = build.random_input((2, 3))
    outputs = [like(build, x, (1, 3)) for _ in range(2)]
    build.op("SPLIT", [build.constant(0, "int32"), x], outputs, "Split", numSplits=2)
    graph = drop_unused(graph_of(build, outputs[1]))
    assert [node.outputs for node in graph.nodes] == [(1, 2)]
    assert set(graph.tensors) == {0, 1, 2, 3}


def test_drop_unused_keeps_an_output_that_is_an_input() -> None:
    build = ModelBuilder()
    x = build.random_input((2, 3))
    y = read_by_kernel(build, x)
    graph = drop_unused(graph_of(build, x, y, x))
    assert graph.outputs == (x.index, y.index, x.index)


def test_fold_constants_then_drop_unused() -> None:
    """Shape arithmetic folds, and then its operands go."""
    build = ModelBuilder()
    x = build.random_input((2, 3))
    shape = build.op("SHAPE", [x], [build.tensor((2,), "int32")], "Shape", outType=2)[0]
    backwards = [build.constant([value], "int32") for value in (-1, -3, -1)]
    turned = build.op("STRIDED_SLICE", [shape, *backwards], [build.tensor((2,), "int32")], "StridedSlice")[0]
    y = build.op("RESHAPE", [x, turned], [like(build, x, (3, 2))])[0]
    graph = fold_constants(graph_of(build, y))
    assert brief(graph) == ["graph main(%0)", "%6 = reshape(%0, %5)", "return %6"]
    assert graph.tensors[turned.index].data is not None
    assert set(drop_unused(graph).tensors) == {x.index, turned.index, y.index}


def test_shrink_operands() -> None:
    """A constant of equal rows becomes one, if the other operand alone has the output's shape."""
    build = ModelBuilder()
    x, row = build.random_input((2, 3)), build.random_input((1, 3))
    equal, unequal = [[1, 2, 3], [1, 2, 3]], [[1, 2, 3], [1, 2, 4]]
    for name, first, second in (
        ("ADD", x, equal),
        ("SUB", equal, x),
        ("ADD", x, unequal),
        ("ADD", row, equal),
        ("PRELU", equal, x),
    ):
        operands = [v if isinstance(v, Value) else build.constant(v, "int8", 0.5, 3) for v in (first, second)]
        build.op(name, operands, [like(build, x, (2, 3))], None if name == "PRELU" else name.title())
    graph = graph_of(build)
    done = shrink_operands(graph)
    shapes = [[done.tensors[i].shape for i in node.inputs] for node in done.nodes]
    assert shapes == [[(2, 3), (3,)], [(3,), (2, 3)], [(2, 3), (2, 3)], [(1, 3), (2, 3)], [(2, 3), (2, 3)]]
    for sample in random_samples(graph, 3):
        before, after = (reference.run(one, sample, Numerics.TFLITE) for one in (graph, check(done.verify())))
        for tensor in graph.outputs:
            np.testing.assert_array_equal(after[tensor], before[tensor])


def padded_convolution(build: ModelBuilder, amounts: list[list[int]]) -> tuple[Value, Value]:
    """(padded input, its convolution)."""
    x = build.input((1, 4, 5, 2), "int8", 0.5, 3)
    shape = [size + sum(pair) for size, pair in zip(x.shape, amounts, strict=True)]
    padded = build.op("PAD", [x, build.constant(amounts, "int32")], [like(build, x, shape)])[0]
    return padded, convolution(build, padded)


def test_fold_pad() -> None:
    build = ModelBuilder()
    _, y = padded_convolution(build, [[0, 0], [1, 2], [0, 3], [0, 0]])
    graph = fold_pad(graph_of(build, y))
    assert brief(drop_unused(graph))[:2] == ["graph main(%0)", "%5 = conv_2d(%0, %3, %4)"]
    assert graph.nodes[1].attributes.window.extra == (1, 2, 0, 3)


def test_fold_pad_leaves_other_axes_and_other_readers() -> None:
    build = ModelBuilder()
    _, y = padded_convolution(build, [[0, 0], [1, 2], [0, 3], [0, 1]])
    padded, z = padded_convolution(build, [[0, 0], [1, 2], [0, 3], [0, 0]])
    graph = graph_of(build, y, z, padded)
    assert fold_pad(graph).text() == graph.text()


@pytest.mark.parametrize("seed", SEEDS)
def test_pipeline_keeps_the_results(seed: int) -> None:
    """Any graph computes the same before and after all passes."""
    graph = tflite.read(random_model(seed), "test model")
    done = passes.run(graph)
    for sample in random_samples(graph, 3, seed):
        before = reference.run(graph, sample, Numerics.TFLITE)
        after = reference.run(done, sample, Numerics.TFLITE)
        for tensor in graph.outputs:
            np.testing.assert_array_equal(after[tensor], done.tensors[tensor].part_of(before[tensor]))


def test_pipeline_verifies_what_it_is_given() -> None:
    graph = tflite.read(random_model(0), "test model")
    with pytest.raises(ModelError, match="graph output is never computed"):
        passes.run(replace(graph, nodes=graph.nodes[:0]))
