from __future__ import annotations

import numpy as np
import pytest

from tests.elementwise import check_all_pairs, emit_activated, refuse_sums, two_inputs
from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_model, check_operator
from tinygen.frontend import tflite
from tinygen.passes.fold_constants import fold_constants
from tinygen.quant import Numerics
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any broadcast, either side computed or constant, fused activations."""
    return emit_activated(build, x, "ADD", "Add")


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
    refuse_sums("ADD", "Add")
