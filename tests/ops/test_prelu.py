from __future__ import annotations

import numpy as np
import pytest

from tests.elementwise import check_all_pairs, operands, refused, two_inputs
from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_operator
from tinygen.quant import Numerics
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """A slope of any shape that broadcasts to x, computed or constant."""
    found = operands(build, x, wider=False)
    if found is None:
        return False
    inputs, shape = found
    build.op("PRELU", inputs, [build.random_output(shape)])
    return True


@pytest.mark.parametrize("seed", range(4))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=range(9), most=4)


@pytest.mark.parametrize("scales", [(0.1, 0.05, 0.2), (0.1, 0.07, 1e-5), (0.1, 0.07, 1e-8), (0.1, 0.07, 3e-10)])
@pytest.mark.parametrize("zero_points", [(0, 0, 0), (-128, 127, -128), (127, -128, 127)])
def test_all_pairs(golden: Golden, scales: tuple[float, ...], zero_points: tuple[int, ...]) -> None:
    """Very small output scales too, where the reference's left shift wraps around."""
    check_all_pairs(golden, "PRELU", None, scales, zero_points)


def test_the_multipliers_are_computed_in_float32(golden: Golden) -> None:
    found = check_all_pairs(golden, "PRELU", None, (0.7288188338279724, 0.1221240758895874, 0.5830550789833069))
    assert np.any(found[Numerics.TFLITE] != found[Numerics.TFLM])


def test_refused() -> None:
    shapes = [(2, 3), (3,), (2, 3)]
    refused(two_inputs("PRELU", [(2, 3), (2,), (2, 3)]), "operator 0 PRELU", "do not broadcast", "[2, 3] and [2]")
    refused(two_inputs("PRELU", [(1, 3), (2, 3), (2, 3)]), "wrong shape", "[2, 3]", "[1, 3]")
    refused(two_inputs("PRELU", shapes, dtypes=["int32"] * 3), "element type", "int32", "int8")
    refused(two_inputs("PRELU", shapes, scales=(0.1, None, 0.3)), "needs one scale", "no quantisation")
    refused(two_inputs("PRELU", shapes, scales=(0.1, 0.2, 1e-12)), "too far apart", "0.1 / 1e-12", "below 2**30")
