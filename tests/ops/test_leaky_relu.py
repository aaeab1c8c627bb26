from __future__ import annotations

import numpy as np
import pytest

from tests.elementwise import check_all_values, one_input, refused
from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_operator
from tinygen.quant import Numerics
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Slopes of either sign; equal or different scales."""
    y = build.random_output(x.shape, like=x if build.chance(0.3) else None)
    alpha = build.pick([0.0, 0.1, 0.25, 1.5, -0.5, float(build.rng.uniform(-2, 2))])
    build.op("LEAKY_RELU", [x], [y], "LeakyRelu", alpha=alpha)
    return True


@pytest.mark.parametrize("seed", range(3))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=range(6), most=5)


@pytest.mark.parametrize("scales", [(0.1, 0.1), (0.1, 0.2), (0.3, 1e-8)])
@pytest.mark.parametrize("alpha", [-0.5, 0.0, 0.5])
def test_all_values(golden: Golden, scales: tuple[float, ...], alpha: float) -> None:
    check_all_values(golden, "LEAKY_RELU", "LeakyRelu", scales, (0, 0), alpha=alpha)


def test_the_multipliers_are_computed_in_float32(golden: Golden) -> None:
    scales = (0.016483204439282417, 0.006593281868845224)
    found = check_all_values(golden, "LEAKY_RELU", "LeakyRelu", scales, alpha=0.1)
    assert np.any(found[Numerics.TFLITE] != found[Numerics.TFLM])


def test_refused() -> None:
    name, options = "LEAKY_RELU", "LeakyRelu"
    refused(one_input(name, options, [(2, 3), (3, 2)]), "operator 0 LEAKY_RELU", "wrong shape", "[3, 2]", "[2, 3]")
    refused(one_input(name, options, alpha=float("nan")), "slope is not a number", "nan")
    refused(one_input(name, options, alpha=float("inf")), "slope is not a number", "inf")
    refused(one_input(name, options, alpha=1e30), "too far apart", "0.1 * 1e+30 / 0.3", "below 2**30")
    refused(one_input(name, options, scales=(0.1, None)), "needs one scale", "no quantisation")
