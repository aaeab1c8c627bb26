from __future__ import annotations

import numpy as np
import pytest

from tests.elementwise import check_all_values, one_input, refused
from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_operator
from tinygen.quant import Numerics
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Equal or different quantisation."""
    build.op("RELU", [x], [build.random_output(x.shape, like=x if build.chance(0.2) else None)])
    return True


@pytest.mark.parametrize("seed", range(3))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=range(6), most=5)


@pytest.mark.parametrize("scales", [(0.1, 0.1), (0.1, 0.3), (3.0, 1e-4), (1e-4, 3.0)])
@pytest.mark.parametrize("zero_points", [(-128, -128), (127, 127), (-5, 60)])
def test_all_values(golden: Golden, scales: tuple[float, float], zero_points: tuple[int, int]) -> None:
    check_all_values(golden, "RELU", None, scales, zero_points)


def test_the_profiles_divide_the_scales_in_float32_and_float64(golden: Golden) -> None:
    found = check_all_values(golden, "RELU", None, (5 / 64, 6 / 64), (-128, -128))
    assert np.any(found[Numerics.TFLITE] != found[Numerics.TFLM])


def test_refused() -> None:
    refused(one_input("RELU", shapes=[(2, 3), (3, 2)]), "operator 0 RELU", "wrong shape", "[3, 2]", "[2, 3]")
    refused(one_input("RELU", dtypes=["int8", "int16"]), "element type", "int16", "int8")
    refused(one_input("RELU", scales=(1e6, 1e-6)), "scales are too far apart")
    refused(one_input("RELU", scales=(None, 0.1)), "needs one scale", "no quantisation")
    refused(one_input("RELU", zero_points=(3, 128)), "zero point is out of range", "128")
