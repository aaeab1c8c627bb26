"""Shape arithmetic costs nothing at run time: it is computed when the model is compiled, or the model is refused."""

from __future__ import annotations

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.movement import like, read_by_kernel
from tests.oracles import check_model
from tinygen import passes, reference
from tinygen.driver import Compiled, Model, compile_model
from tinygen.errors import ModelError
from tinygen.frontend import tflite
from tinygen.ir import Array, Graph
from tinygen.passes.fold_constants import fold_constants
from tinygen.quant import Numerics
from tinygen.verify.golden import Golden

INT32 = 2
"""The code of int32 in the file format."""


def graph_of(build: ModelBuilder, *outputs: Value) -> Graph:
    return tflite.read(build.finish(outputs or None), "test model")


def compiled(build: ModelBuilder, *outputs: Value) -> Compiled:
    data = build.finish(outputs or None)
    return compile_model(Model("test", data, tflite.read(data, "test model")), name="test")


def shape_of(build: ModelBuilder, x: Value) -> Value:
    return build.op("SHAPE", [x], [build.tensor((len(x.shape),), "int32")], "Shape", outType=INT32)[0]


def first_of(build: ModelBuilder, vector: Value) -> Value:
    """The first element of `vector` as a scalar, as Python's vector[0] converts."""
    inputs = [vector, *(build.constant([value], "int32") for value in (0, 1, 1))]
    return build.op("STRIDED_SLICE", inputs, [build.tensor((), "int32")], "StridedSlice", shrinkAxisMask=1)[0]


def flatten(build: ModelBuilder, x: Value) -> Value:
    """Keras's Flatten under a batch axis that the converter does not know."""
    size = int(np.prod(x.shape[1:]))
    sizes = [first_of(build, shape_of(build, x)), build.constant(size, "int32")]
    shape = build.op("PACK", sizes, [build.tensor((2,), "int32")], "Pack", valuesCount=2)[0]
    return build.op("RESHAPE", [x, shape], [like(build, x, (x.shape[0], size))])[0]


def open_batch(build: ModelBuilder, x: Value) -> None:
    """Mark the first axis of `x` as open, as the converter does; the shape holds a 1 for it."""
    build.tensors[x.index].shapeSignature = [-1, *x.shape[1:]]


def test_flatten_is_no_code() -> None:
    build = ModelBuilder()
    x = build.random_input((1, 2, 3, 4))
    open_batch(build, x)
    flat = flatten(build, x)
    result = compiled(build, read_by_kernel(build, flat))
    assert [node.op for node in result.graph.nodes] == ["reshape", "transpose"]
    assert not result.program.calls, "nor is the transpose of one row"
    assert not result.program.data
    assert result.plan.tensors[flat.index] == result.plan.tensors[x.index]


@pytest.mark.parametrize("batch", [1, 3])
def test_flatten_equals_the_interpreter(golden: Golden, batch: int) -> None:
    build = ModelBuilder()
    x = build.random_input((batch, 2, 3, 4))
    turned = read_by_kernel(build, read_by_kernel(build, x))
    check_model(build.finish([read_by_kernel(build, flatten(build, turned)), turned]), golden)


def test_shape_from_concatenation(golden: Golden) -> None:
    """Sizes joined as vectors: the first two of one shape, then the rest as one."""
    build = ModelBuilder()
    x = build.random_input((2, 3, 4, 5))
    inputs = [shape_of(build, x), build.constant([0], "int32"), build.constant([2], "int32")]
    front = build.op("SLICE", inputs, [build.tensor((2,), "int32")])[0]
    parts = [front, build.constant([-1], "int32")]
    shape = build.op("CONCATENATION", parts, [build.tensor((3,), "int32")], "Concatenation", axis=0)[0]
    y = build.op("RESHAPE", [x, shape], [like(build, x, (2, 3, 20))])[0]
    order = build.constant([2, 0, 1], "int32")
    z = build.op("TRANSPOSE", [y, order], [like(build, x, (20, 2, 3))])[0]
    check_model(build.finish([z]), golden)
    assert [node.op for node in compiled(build, z).graph.nodes] == ["reshape", "transpose"]


def test_every_movement_on_constants(golden: Golden) -> None:
    """One long chain of shape arithmetic, whose end is the order of a TRANSPOSE."""
    build = ModelBuilder()
    x = build.random_input((2, 3, 4))

    def vector(size: int) -> Value:
        return build.tensor((size,), "int32")

    sizes = shape_of(build, x)
    two, three, four = build.op("UNPACK", [sizes], [build.tensor((), "int32") for _ in range(3)], "Unpack", num=3)
    row = build.op("PACK", [four, two, three], [vector(3)], "Pack", valuesCount=3)[0]
    column = build.op("EXPAND_DIMS", [row, build.constant(1, "int32")], [build.tensor((3, 1), "int32")])[0]
    table = build.op("TRANSPOSE", [column, build.constant([1, 0], "int32")], [build.tensor((1, 3), "int32")])[0]
    back = build.op("SQUEEZE", [table], [vector(3)], "Squeeze", squeezeDims=[0])[0]
    wide = build.op("PAD", [back, build.constant([[1, 2]], "int32")], [vector(6)])[0]
    fill = build.constant(7, "int32")
    wider = build.op("PADV2", [wide, build.constant([[0, 1]], "int32"), fill], [vector(7)])[0]
    halves = [build.constant([1, 3, 3], "int32"), build.constant(0, "int32")]
    _, middle, _ = build.op("SPLIT_V", [wider, *halves], [vector(1), vector(3), vector(3)], "SplitV", numSplits=3)
    parts = build.op("SPLIT", [build.constant(0, "int32"), middle], [vector(1) for _ in range(3)], "Split", numSplits=3)
    shape = build.op("CONCATENATION", parts, [vector(3)], "Concatenation", axis=0)[0]
    y = build.op("RESHAPE", [x, shape], [like(build, x, (4, 2, 3))])[0]
    z = build.op("TRANSPOSE", [y, build.constant([1, 2, 0], "int32")], [like(build, x, (2, 3, 4))])[0]

    check_model(build.finish([z]), golden)
    graph = fold_constants(graph_of(build, z))
    assert [node.op for node in graph.nodes] == ["reshape", "transpose"]
    known = graph.tensors[wider.index].data
    assert known is not None
    assert known.tolist() == [0, 4, 2, 3, 0, 0, 7]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "float32", "bool"])
def test_keeps_type_and_shape(dtype: str) -> None:
    build = ModelBuilder()
    x = build.random_input((3,))
    table = np.arange(6).reshape(2, 3).astype(dtype)
    order = build.constant([1, 0], "int32")
    turned = build.op("TRANSPOSE", [build.constant(table, dtype), order], [build.tensor((3, 2), dtype)])[0]
    graph = fold_constants(graph_of(build, read_by_kernel(build, x)))
    found: Array | None = graph.tensors[turned.index].data
    assert found is not None
    assert found.dtype == table.dtype
    np.testing.assert_array_equal(found, table.T)


def test_leaves_what_it_cannot_know() -> None:
    """A SHAPE needs no value of its input; what reads a computed tensor stays."""
    build = ModelBuilder()
    x = build.random_input((2, 3))
    y = read_by_kernel(build, x)
    shape_of(build, y)
    graph = graph_of(build)
    folded = fold_constants(graph)
    assert [node.op for node in folded.nodes] == ["transpose"]
    assert folded.nodes[0] is graph.nodes[0]
    assert [node.op for node in graph.nodes] == ["transpose", "shape"], "the graph given is not changed"


def test_shape_from_an_input_is_refused() -> None:
    """The output shape in the file is then a guess, which the interpreter need not come to."""
    build = ModelBuilder()
    x = build.random_input((2, 6))
    build.op("RESHAPE", [x, build.input((2,), "int32")], [like(build, x, (3, 4))], "Reshape", newShape=[3, 4])
    with pytest.raises(ModelError) as caught:
        passes.run(graph_of(build))
    assert str(caught.value) == (
        "operator 0 RESHAPE: input 1 ('t1') must be known at compile time, found a computed tensor, "
        "expected a constant; convert the model with fixed shapes and parameters"
    )


def test_shape_that_is_computed_is_refused() -> None:
    build = ModelBuilder()
    x, numbers = build.random_input((2, 6)), build.input((4,), "int32")
    box = [build.constant([1], "int32"), build.constant([2], "int32")]
    shape = build.op("SLICE", [numbers, *box], [build.tensor((2,), "int32")])[0]
    build.op("RESHAPE", [x, shape], [like(build, x, (3, 4))])
    with pytest.raises(ModelError, match=r"operator 1 RESHAPE: input 1 \('t4'\) must be known at compile time"):
        passes.run(graph_of(build))


def test_wrong_arithmetic_names_its_operator() -> None:
    build = ModelBuilder()
    read_by_kernel(build, build.random_input((2, 3)))
    inputs = [build.constant([1, 2], "int32"), build.constant([1], "int32"), build.constant([2], "int32")]
    build.op("SLICE", inputs, [build.tensor((2,), "int32")])
    with pytest.raises(ModelError, match=r"operator 1 SLICE: slice leaves its input along axis 0"):
        passes.run(graph_of(build))


def test_no_kernel_reads_only_constants() -> None:
    """Where the profiles round differently, the one that is compiled for decides: kernels read activations from RAM."""
    build = ModelBuilder(np.random.default_rng(3))
    scales = (0.05, 0.013, float(np.float32(0.05) * np.float32(0.013)))
    x = build.constant(build.rng.integers(-128, 128, (4, 32)), "int8", scales[0], 0)
    weights = build.constant(build.rng.integers(-127, 128, (8, 32)), "int8", scales[1], 0)
    bias = build.constant(build.rng.integers(-500, 500, 8), "int32", scales[2], 0)
    y = build.tensor((4, 8), "int8", 0.037, -3)
    build.op("FULLY_CONNECTED", [x, weights, bias], [y], "FullyConnected", keepNumDims=True)
    data = build.finish([y])
    graph = tflite.read(data, "test model")
    assert len(fold_constants(graph).nodes) == 1, "the profiles agree: no test of this"
    values = []
    for numerics in Numerics:
        result = compile_model(Model("test", data, graph), name="test", numerics=numerics)
        assert not result.program.calls
        values.append(result.graph.tensors[y.index].data)
        assert values[-1] is not None and np.array_equal(values[-1], reference.run(graph, [], numerics)[y.index])
    assert not np.array_equal(values[0], values[1])
