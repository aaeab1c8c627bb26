from __future__ import annotations

import numpy as np
import pytest

from tests.dsp import check as check_on_boards
from tests.elementwise import check_all_pairs, emit_activated, refused, two_inputs
from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_model, check_operator
from tinygen.frontend import tflite
from tinygen.passes.fold_constants import fold_constants
from tinygen.quant import Numerics
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any broadcast, either side computed or constant, fused activations."""
    return emit_activated(build, x, "MUL", "Mul")


@pytest.mark.parametrize("seed", range(4))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=range(9), most=4)


@pytest.mark.parametrize("activation", range(4))
def test_int32(golden: Golden, activation: int) -> None:
    shapes, dtypes, none = [(2, 3, 4), (3, 1), (2, 3, 4)], ["int32"] * 3, [None] * 3
    check_model(two_inputs("MUL", shapes, "Mul", dtypes, none, fusedActivationFunction=activation), golden)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_shape_arithmetic_is_folded(dtype: str) -> None:
    build = ModelBuilder()
    first, second, y = build.constant([[6], [-4]], dtype), build.constant([3, 2], dtype), build.tensor((2, 2), dtype)
    build.op("MUL", [first, second], [y], "Mul")
    graph = fold_constants(tflite.read(build.finish(), "test model"))
    assert not graph.nodes
    np.testing.assert_array_equal(graph.tensors[y.index].data, np.array([[18, 12], [-12, -8]], dtype), strict=True)


@pytest.mark.parametrize(
    "scales", [(0.1, 0.05, 0.2), (0.1, 0.07, 1e-5), (0.1, 0.07, 1e-8), (0.1, 0.07, 3e-10), (1e-9, 1e-9, 1)]
)
@pytest.mark.parametrize("zero_points", [(0, 0, 0), (-128, 127, -128), (127, -128, 127)])
def test_all_pairs(golden: Golden, scales: tuple[float, ...], zero_points: tuple[int, ...]) -> None:
    """Very small output scales too, where the reference's left shift wraps around."""
    check_all_pairs(golden, "MUL", "Mul", scales, zero_points)


def test_the_multiplier_is_computed_in_float32(golden: Golden) -> None:
    """A ratio of one half in float32 but not in float64: every odd product is a tie in one of them only."""
    scales = (0.1, 0.3, float(2 * (np.float32(0.1) * np.float32(0.3))))
    found = check_all_pairs(golden, "MUL", "Mul", scales)
    assert np.any(found[Numerics.TFLITE] != found[Numerics.TFLM])


def test_refused() -> None:
    shapes = [(2, 3), (3,), (2, 3)]
    refused(two_inputs("MUL", [(2, 3), (2,), (2, 3)], "Mul"), "operator 0 MUL", "do not broadcast", "[2, 3] and [2]")
    refused(two_inputs("MUL", shapes, "Mul", ["int8", "int32", "int8"]), "element types differ", "int8, int32, int8")
    refused(two_inputs("MUL", shapes, "Mul", scales=(0.1, None, 0.3)), "needs one scale", "no quantisation")
    refused(
        two_inputs("MUL", shapes, "Mul", scales=(0.1, 0.2, 1e-12)), "too far apart", "0.1 * 0.2 / 1e-12", "below 2**30"
    )
    refused(two_inputs("MUL", shapes, "Mul", scales=(1e29, 1e29, 1e-29)), "too far apart")
    refused(two_inputs("MUL", shapes, "Mul", fusedActivationFunction=5), "fused activation", "SIGN_BIT")


@pytest.mark.parametrize("board", ["nucleo_l152re", "nucleo_l4r5zi"])
@pytest.mark.parametrize("activation", [0, 3])
def test_two_roundings(board: str, activation: int) -> None:
    """The kernel of Armv7-M, both inputs of one shape and one spread over the other, zero points at the ends."""
    build = ModelBuilder()
    for x_zero, y_zero in ((-128, 3), (127, -128), (0, 0), (-5, 127)):
        for shape in ((1, 20, 20, 5), (1, 1, 1, 5)):
            x, y = build.input((1, 20, 20, 5), "int8", 0.05, x_zero), build.input(shape, "int8", 0.03, -x_zero - 1)
            out = build.tensor((1, 20, 20, 5), "int8", build.random_scale(0.02, 0.4), y_zero)
            build.op("MUL", [x, y], [out], "Mul", fusedActivationFunction=activation)
    result = check_on_boards(build, [board], samples=4)
    assert {function.template for function in result.program.functions} == {"kernels/mul.roundings.c.j2"}
