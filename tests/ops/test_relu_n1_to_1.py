from __future__ import annotations

import pytest

from tests.elementwise import check_all_values, one_input, refused
from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_operator
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Equal or different quantisation."""
    build.op("RELU_N1_TO_1", [x], [build.random_output(x.shape, like=x if build.chance(0.2) else None)])
    return True


@pytest.mark.parametrize("seed", range(3))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=range(6), most=5)


@pytest.mark.parametrize("scales", [(0.1, 0.1), (0.02, 0.007), (3.0, 1e-4), (1e-4, 3.0)])
@pytest.mark.parametrize("zero_points", [(-128, -128), (127, 127), (-5, 60)])
def test_all_values(golden: Golden, scales: tuple[float, float], zero_points: tuple[int, int]) -> None:
    check_all_values(golden, "RELU_N1_TO_1", None, scales, zero_points)


def test_refused() -> None:
    refused(one_input("RELU_N1_TO_1", shapes=[(2, 3), (6,)]), "operator 0 RELU_N1_TO_1", "wrong shape", "[6]", "[2, 3]")
    refused(one_input("RELU_N1_TO_1", scales=(1e6, 1e-6)), "scales are too far apart")
