from __future__ import annotations

import numpy as np
import pytest

from tests.elementwise import check_all_values, one_input, refused
from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_operator
from tinygen.quant import Numerics
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Equal or different scales."""
    build.op("ABS", [x], [build.random_output(x.shape, like=x if build.chance(0.3) else None)])
    return True


@pytest.mark.parametrize("seed", range(3))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=range(6), most=5)


@pytest.mark.parametrize("scales", [(0.1, 0.1), (0.1, 0.2), (0.3, 1e-8)])
@pytest.mark.parametrize("zero_points", [(0, 0), (-128, 127), (127, -128)])
def test_all_values(golden: Golden, scales: tuple[float, ...], zero_points: tuple[int, ...]) -> None:
    check_all_values(golden, "ABS", None, scales, zero_points)


def test_the_multiplier_is_computed_in_float32(golden: Golden) -> None:
    found = check_all_values(golden, "ABS", None, (0.011067098937928677, 0.0044268397614359856))
    assert np.any(found[Numerics.TFLITE] != found[Numerics.TFLM])


def test_refused() -> None:
    refused(one_input("ABS", shapes=[(2, 3), (3, 2)]), "operator 0 ABS", "wrong shape", "[3, 2]", "[2, 3]")
    refused(one_input("ABS", dtypes=["int32", "int32"]), "element type", "int32", "int8")
    refused(one_input("ABS", scales=(0.1, None)), "needs one scale", "no quantisation")
    refused(one_input("ABS", scales=(0.1, 1e-12)), "too far apart", "0.1 / 1e-12", "below 2**30")
