from __future__ import annotations

import numpy as np
import pytest

from tests.elementwise import check_exactly, one_input, refused
from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_model, check_operator
from tinygen.quant import RANGES
from tinygen.verify.golden import Golden

TYPES = ["int8", "uint8", "int16"]


def emit(build: ModelBuilder, x: Value) -> bool:
    """To reals, sometimes as an output and back to int8 besides."""
    y = build.tensor(x.shape, "float32")
    build.op("DEQUANTIZE", [x], [y])
    if build.chance(0.5):
        build.op("QUANTIZE", [y], [build.random_output(x.shape)])
    return True


@pytest.mark.parametrize("seed", range(3))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=range(6), most=5)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("dtype", TYPES)
def test_types(golden: Golden, dtype: str, seed: int) -> None:
    build = ModelBuilder(np.random.default_rng(seed))
    low, high = RANGES[dtype]
    for _ in range(4):
        zero_point = int(build.rng.integers(low, high + 1)) if dtype != "int16" else 0
        x = build.input((2, 300), dtype, build.random_scale(1e-6, 1e3), zero_point)
        build.op("DEQUANTIZE", [x], [build.tensor(x.shape, "float32")])
    check_model(build.finish(), golden, seed)


@pytest.mark.parametrize("scale", [0.1, 1e-30, 1e29])
@pytest.mark.parametrize("dtype", TYPES)
def test_all_values(golden: Golden, dtype: str, scale: float) -> None:
    low, high = RANGES[dtype]
    x = np.arange(low, high + 1).astype(dtype)
    zero_points = (low if dtype != "int16" else 0, 0)
    data = one_input("DEQUANTIZE", None, [x.shape, x.shape], [dtype, "float32"], (scale, None), zero_points)
    check_exactly(golden, data, [x])


def test_refused() -> None:
    name, dtypes, scales = "DEQUANTIZE", ["int8", "float32"], (0.1, None)
    refused(one_input(name, None, [(2, 3), (3, 2)], dtypes, scales), "operator 0 DEQUANTIZE", "wrong shape", "[3, 2]")
    refused(one_input(name, dtypes=["int32", "float32"], scales=scales), "element type", "int32", "int8 or uint8")
    refused(one_input(name, dtypes=["int8", "int16"]), "wrong element type", "int16", "float32")
    refused(one_input(name, dtypes=dtypes, scales=(None, None)), "needs one scale", "no quantisation")
    wide = one_input(name, dtypes=["int16", "float32"], scales=scales, zero_points=(5, 0))
    refused(wide, "int16 needs zero point 0", "found 5")
