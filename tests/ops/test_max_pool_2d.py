from __future__ import annotations

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_model, check_operator
from tests.reduction import emit_pool, refused
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any window, stride, padding and activation."""
    return emit_pool(build, x, "MAX_POOL_2D")


@pytest.mark.parametrize("seed", range(4))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden)


def _pool(zero_point: int, out_zero_point: int) -> ModelBuilder:
    build = ModelBuilder()
    x = build.input((2, 5, 7, 3), "int8", 0.1, zero_point)
    y = build.tensor((2, 3, 4, 3), "int8", 0.1, out_zero_point)
    build.op("MAX_POOL_2D", [x], [y], "Pool2D", filterHeight=3, filterWidth=3, strideH=2, strideW=2, padding=0)
    return build


@pytest.mark.parametrize("zero_point", (-128, 127))
def test_padding_is_not_the_zero_point(golden: Golden, zero_point: int) -> None:
    data = _pool(zero_point, zero_point).finish()
    least = golden.run(data, [[np.full((2, 5, 7, 3), -128, np.int8)]])[0]
    assert np.all(least[1] == -128)
    check_model(data, golden)


def test_refused() -> None:
    refused(_pool(3, 4), "pooling keeps the scale and zero point, found 0.1, 3 before and 0.1, 4 after")
