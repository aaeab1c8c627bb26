from __future__ import annotations

import numpy as np
import pytest

from tests.elementwise import activated, check_all_pairs, operands, refused, two_inputs
from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_model, check_operator
from tinygen.frontend import tflite
from tinygen.passes.fold_constants import fold_constants
from tinygen.quant import Numerics
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any broadcast, either side computed or constant, fused activations."""
    found = operands(build, x)
    if found is None:
        return False
    inputs, shape = found
    build.op("ADD", inputs, [build.random_output(shape)], "Add", **activated(build))
    return True


@pytest.mark.parametrize("seed", range(4))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=range(9), most=4)


@pytest.mark.parametrize("activation", range(4))
def test_int32(golden: Golden, activation: int) -> None:
    shapes, dtypes, none = [(2, 3, 4), (3, 1), (2, 3, 4)], ["int32"] * 3, [None] * 3
    check_model(two_inputs("ADD", shapes, "Add", dtypes, none, fusedActivationFunction=activation), golden)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_shape_arithmetic_is_folded(dtype: str) -> None:
    build = ModelBuilder()
    first, second, y = build.constant([[6], [-4]], dtype), build.constant([3, 2], dtype), build.tensor((2, 2), dtype)
    build.op("ADD", [first, second], [y], "Add")
    graph = fold_constants(tflite.read(build.finish(), "test model"))
    assert not graph.nodes
    np.testing.assert_array_equal(graph.tensors[y.index].data, np.array([[9, 8], [-1, -2]], dtype), strict=True)


PAIRS = (
    (0.1, 0.1, 0.1),
    (0.1, 0.05, 0.2),
    (0.1, 1e-12, 0.1),  # the second input vanishes
    (0.1, 0.07, 2.1e-7),  # the smallest output scale
)


@pytest.mark.parametrize("scales", PAIRS)
@pytest.mark.parametrize("zero_points", [(0, 0, 0), (-128, 127, -128), (127, -128, 127)])
def test_all_pairs(golden: Golden, scales: tuple[float, ...], zero_points: tuple[int, ...]) -> None:
    found = check_all_pairs(golden, "ADD", "Add", scales, zero_points)
    np.testing.assert_array_equal(found[Numerics.TFLITE], found[Numerics.TFLM])


def test_refused() -> None:
    shapes = [(2, 3), (3,), (2, 3)]
    refused(two_inputs("ADD", [(2, 3), (2,), (2, 3)], "Add"), "operator 0 ADD", "do not broadcast", "[2, 3] and [2]")
    refused(two_inputs("ADD", [(2, 3), (3,), (3, 2)], "Add"), "wrong shape", "[3, 2]", "[2, 3]")
    refused(two_inputs("ADD", [(1,) * 9, (3,), (1,) * 8 + (3,)], "Add"), "too many axes", "9")
    refused(two_inputs("ADD", shapes, "Add", ["int8", "int32", "int8"]), "element types differ", "int8, int32, int8")
    refused(two_inputs("ADD", shapes, "Add", ["int64"] * 3, [None] * 3), "element type", "int64", "int8 or int32")
    refused(two_inputs("ADD", shapes, "Add", scales=(0.1, None, 0.3)), "needs one scale", "no quantisation")
    refused(two_inputs("ADD", shapes, "Add", scales=(0.1, 0.0, 0.3)), "scale is out of range")
    refused(two_inputs("ADD", shapes, "Add", zero_points=(0, 0, 200)), "zero point is out of range", "200")
    refused(
        two_inputs("ADD", shapes, "Add", scales=(0.1, 0.2, 1e-7)), "too small for its inputs", "1e-07", "> 3.8147e-07"
    )
    refused(two_inputs("ADD", shapes, "Add", fusedActivationFunction=4), "fused activation", "TANH")
