from __future__ import annotations

import pytest

from tests.elementwise import check_all_values, one_input, refused
from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_operator
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any output scale that the reference takes."""
    scale = build.random_scale(max(0.001, x.scale / 120), 0.3)
    build.op("HARD_SWISH", [x], [build.tensor(x.shape, "int8", scale, build.random_zero_point())], "HardSwish")
    return True


@pytest.mark.parametrize("seed", range(3))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=range(6), most=5)


@pytest.mark.parametrize("scales", [(0.05, 0.05), (1.0, 1 / 127), (1e-4, 1e-6), (1e-3, 1.0), (0.05, 1e5), (20.0, 1.0)])
@pytest.mark.parametrize("zero_points", [(-128, -128), (127, 127), (-5, 60)])
def test_all_values(golden: Golden, scales: tuple[float, float], zero_points: tuple[int, int]) -> None:
    check_all_values(golden, "HARD_SWISH", "HardSwish", scales, zero_points)


def test_refused() -> None:
    name, options = "HARD_SWISH", "HardSwish"
    refused(one_input(name, options, [(2, 3), (3, 2)]), "operator 0 HARD_SWISH", "wrong shape", "[3, 2]", "[2, 3]")
    refused(one_input(name, options, scales=(1.0, 0.005)), "output scale is too small", "0.005", "more than 0.0078125")
    refused(one_input(name, options, scales=(1.0, 1 / 128)), "output scale is too small", "0.0078125")
