from __future__ import annotations

import pytest

from tests.elementwise import check_all_values, one_input, refused
from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_operator
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Exact or by tanh, any output quantisation."""
    build.op("GELU", [x], [build.random_output(x.shape)], "Gelu", approximate=build.chance(0.5))
    return True


@pytest.mark.parametrize("seed", range(3))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=range(6), most=5)


@pytest.mark.parametrize("scales", [(0.02, 0.01), (0.1, 0.1), (5.0, 1e-3), (1e-4, 1e-6), (1e20, 1e-20)])
@pytest.mark.parametrize("zero_points", [(-128, -128), (127, 127), (-5, 60)])
@pytest.mark.parametrize("approximate", [False, True])
def test_all_values(
    golden: Golden, scales: tuple[float, float], zero_points: tuple[int, int], approximate: bool
) -> None:
    check_all_values(golden, "GELU", "Gelu", scales, zero_points, approximate=approximate)


def test_refused() -> None:
    refused(one_input("GELU", "Gelu", [(2, 3), (3, 2)]), "operator 0 GELU", "wrong shape", "[3, 2]", "[2, 3]")
    refused(one_input("GELU", "Gelu", dtypes=["int16", "int16"]), "element type", "int16", "int8")
