from __future__ import annotations

import numpy as np
import pytest

from tests.elementwise import check_all_pairs, operands, refused, two_inputs
from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_model, check_operator
from tinygen.frontend import tflite
from tinygen.passes.fold_constants import fold_constants
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any broadcast, either side computed or constant; nothing reads the scales."""
    found = operands(build, x, like=x)
    if found is None:
        return False
    inputs, shape = found
    build.op("MINIMUM", inputs, [build.random_output(shape, like=x)], "MaximumMinimum")
    return True


@pytest.mark.parametrize("seed", range(3))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=range(9), most=4)


def test_scales_are_ignored(golden: Golden) -> None:
    check_all_pairs(golden, "MINIMUM", "MaximumMinimum", (0.1, 0.2, 0.7), (3, -5, 9))


def test_int32(golden: Golden) -> None:
    shapes = [(2, 3, 4), (3, 1), (2, 3, 4)]
    check_model(two_inputs("MINIMUM", shapes, "MaximumMinimum", ["int32"] * 3, [None] * 3), golden)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_shape_arithmetic_is_folded(dtype: str) -> None:
    build = ModelBuilder()
    first, second, y = build.constant([[6], [-4]], dtype), build.constant([3, 2], dtype), build.tensor((2, 2), dtype)
    build.op("MINIMUM", [first, second], [y], "MaximumMinimum")
    graph = fold_constants(tflite.read(build.finish(), "test model"))
    assert not graph.nodes
    np.testing.assert_array_equal(graph.tensors[y.index].data, np.array([[3, 2], [-4, -4]], dtype), strict=True)


def test_refused() -> None:
    shapes = [(2, 3), (3,), (2, 3)]
    refused(two_inputs("MINIMUM", [(2, 3), (2,), (2, 3)]), "operator 0 MINIMUM", "do not broadcast", "[2, 3] and [2]")
    refused(
        two_inputs("MINIMUM", shapes, dtypes=["int8", "int32", "int8"]), "element types differ", "int8, int32, int8"
    )
    refused(
        two_inputs("MINIMUM", shapes, dtypes=["int64"] * 3, scales=[None] * 3),
        "element type",
        "int64",
        "int8 or int16 or int32",
    )
