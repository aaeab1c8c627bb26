from __future__ import annotations

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_model, check_operator
from tests.reduction import emit_pool, refused
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any window, stride, padding and activation."""
    return emit_pool(build, x, "AVERAGE_POOL_2D")


@pytest.mark.parametrize("seed", range(4))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden)


def _pool(shape: tuple[int, ...] = (1, 4, 4, 2), out: tuple[int, ...] = (1, 2, 2, 2), **fields: int) -> ModelBuilder:
    build = ModelBuilder()
    x = build.input(shape, "int8", 0.1, 3)
    y = build.tensor(out, "int8", 0.1 if fields.pop("same", True) else 0.2, 3)
    options = {"filterHeight": 2, "filterWidth": 2, "strideH": 2, "strideW": 2, "padding": 1, **fields}
    build.op("AVERAGE_POOL_2D", [x], [y], "Pool2D", **options)
    return build


def test_halves_round_away_from_zero(golden: Golden) -> None:
    build = ModelBuilder()
    x = build.input((1, 2, 256, 1), "int8", 0.5, 0)
    y = build.tensor((1, 1, 256, 1), "int8", 0.5, 0)
    build.op("AVERAGE_POOL_2D", [x], [y], "Pool2D", filterHeight=2, filterWidth=1, strideH=1, strideW=1, padding=1)
    data = build.finish()
    values = np.arange(-128, 128, dtype=np.int8)
    sample = np.stack([values, np.clip(values.astype(int) + 1, -128, 127).astype(np.int8)]).reshape(x.shape)
    found = golden.run(data, [[sample]])[0][y.index].ravel()
    expected = np.where(values >= 0, values.astype(int) + 1, values)
    np.testing.assert_array_equal(found[:255], expected[:255])
    check_model(data, golden)


def test_window_over_the_whole_input(golden: Golden) -> None:
    check_model(_pool((2, 7, 5, 3), (2, 1, 1, 3), filterHeight=7, filterWidth=5).finish(), golden)


def test_refused() -> None:
    refused(_pool(same=False), "pooling keeps the scale and zero point")
    refused(_pool(filterHeight=0), "option filterHeight is out of range")
    refused(_pool(strideW=0), "option strideW is out of range")
    refused(_pool(fusedActivationFunction=4), "fused activation is not supported, found TANH")
    refused(_pool(filterHeight=5), "window is larger than its input")
    refused(_pool(padding=0, filterHeight=5000, filterWidth=5000), "window is too large, found 25000000 elements")
    refused(_pool(out=(1, 2, 3, 2)), "wrong shape, found .1, 2, 3, 2., expected .1, 2, 2, 2.")
    refused(_pool((4, 4, 2), (2, 2, 2)), "wrong rank")
