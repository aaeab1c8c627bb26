from __future__ import annotations

import numpy as np
import pytest

from tests.elementwise import VALUES, check_all_values, one_input, refused
from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_operator
from tinygen.quant import Numerics
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any shape."""
    build.op("NEG", [x], [build.random_output(x.shape, like=x)])
    return True


@pytest.mark.parametrize("seed", range(2))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=range(6), most=5)


@pytest.mark.parametrize("scales", [(0.1, 0.1), (0.1, 0.2), (None, None)])
def test_stored_values_are_negated(golden: Golden, scales: tuple[float, ...]) -> None:
    found = check_all_values(golden, "NEG", None, scales, (3, -5))
    np.testing.assert_array_equal(found[Numerics.TFLITE], -VALUES)
    assert found[Numerics.TFLITE][0] == -128


def test_refused() -> None:
    refused(one_input("NEG", shapes=[(2, 3), (3, 2)]), "operator 0 NEG", "wrong shape", "[3, 2]", "[2, 3]")
    refused(one_input("NEG", dtypes=["int32", "int32"]), "element type", "int32", "int8")
