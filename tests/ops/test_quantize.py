from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.elementwise import check_exactly, one_input, refused
from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_host, check_model, check_operator
from tinygen import reference
from tinygen.frontend import tflite
from tinygen.ir import Array
from tinygen.quant import RANGES, Numerics
from tinygen.verify.golden import Golden

REAL_TARGETS = ["int8", "uint8", "int16"]
PAIRS = [
    *(("int8", target) for target in ("int8", "uint8", "int16")),
    *(("uint8", target) for target in ("int8", "uint8", "int16")),
    *(("int16", target) for target in ("int8", "int16", "int32")),
    *(("int32", target) for target in ("int8", "int16")),
]


def emit(build: ModelBuilder, x: Value) -> bool:
    """int8 to another quantisation, also by way of uint8 or int16; sometimes to uint8 or int16 as an end."""
    middle = build.pick(["int8", "uint8", "int16"])
    y = random_tensor(build, x.shape, middle)
    build.op("QUANTIZE", [x], [y])
    if middle != "int8" and build.chance(0.7):
        build.op("QUANTIZE", [y], [build.random_output(x.shape)])
    return True


def random_tensor(build: ModelBuilder, shape: Any, dtype: str, given: bool = False) -> Value:
    """A tensor, or a model input, of random quantisation."""
    low, high = RANGES[dtype]
    zero_point = 0 if dtype in ("int16", "int32") else int(build.rng.integers(low, high + 1))
    scale = build.random_scale(1e-4, 1e-2) if dtype == "int32" else build.random_scale()
    return (build.input if given else build.tensor)(shape, dtype, scale, zero_point)


@pytest.mark.parametrize("seed", range(3))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=range(6), most=5)


@pytest.mark.parametrize("pair", PAIRS)
def test_integers(golden: Golden, pair: tuple[str, str]) -> None:
    build = ModelBuilder()
    for _ in range(8):
        x = random_tensor(build, (2, 300), pair[0], given=True)
        build.op("QUANTIZE", [x], [random_tensor(build, x.shape, pair[1])])
    check_model(build.finish(), golden)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dtype", REAL_TARGETS)
def test_reals(golden: Golden, dtype: str, seed: int) -> None:
    build = ModelBuilder(np.random.default_rng(seed))
    for _ in range(4):
        x = build.input((2, 500), "float32")
        build.op("QUANTIZE", [x], [random_tensor(build, x.shape, dtype)])
    x = build.input((500,), "float32")
    build.op("QUANTIZE", [x], [build.tensor(x.shape, dtype, build.pick([0.25, 1.0, 2.0**-9]), 0)])
    check_model(build.finish(), golden, seed, samples=8)


def test_a_model_with_real_inputs_and_outputs(golden: Golden) -> None:
    build = ModelBuilder()
    x = build.input((1, 4, 5, 3), "float32")
    q = build.tensor(x.shape, "int8", 0.05, -3)
    r = build.tensor(x.shape, "int8", 0.04, -128)
    y = build.tensor(x.shape, "float32")
    build.op("QUANTIZE", [x], [q])
    build.op("RELU", [q], [r])
    build.op("DEQUANTIZE", [r], [y])
    check_model(build.finish(), golden, 0)


def test_a_constant_is_quantised_at_compile_time(golden: Golden) -> None:
    build = ModelBuilder()
    reals = build.constant(np.linspace(-9, 9, 6), "float32")
    q = build.tensor((6,), "int8", 0.05, -3)
    x = build.random_input((2, 6))
    build.op("QUANTIZE", [reals], [q])
    build.op("ADD", [x, q], [build.random_output((2, 6))], "Add")
    check_model(build.finish(), golden, 0)


@pytest.mark.parametrize("scale", [0.1, 0.25, 1.0])
def test_halves_away_from_zero(golden: Golden, scale: float) -> None:
    steps = np.array([0.5, -0.5, 1.5, -2.5, 0.49999997, -0.49999997, 126.5, 127.5, -128.5, -128.6, 0.0, -0.0, 5e-45])
    found = check_reals(golden, (steps * scale).astype(np.float32), scale, 0)
    if scale == 1.0:
        assert found.tolist() == [1, -1, 2, -3, 0, 0, 127, 127, -128, -128, 0, 0, 0]


def check_reals(golden: Golden, x: Array, scale: float, zero_point: int, dtype: str = "int8") -> Array:
    shapes = [x.shape, x.shape]
    data = one_input("QUANTIZE", None, shapes, ["float32", dtype], (None, scale), (0, zero_point))
    return check_exactly(golden, data, [x])[Numerics.TFLITE]


@pytest.mark.parametrize("dtype", REAL_TARGETS)
@pytest.mark.parametrize("scale", [0.1, 0.25, 1e-30, 1e29])
def test_beyond_all_ranges(dtype: str, scale: float) -> None:
    """Where the interpreter's conversion is undefined: limits, and the lower one for NaN."""
    signalling = np.array([0x7F800001], np.uint32).view(np.float32)
    x = np.concatenate([np.array([np.inf, 3.4e38, -np.inf, -3.4e38, np.nan, -np.nan], np.float32), signalling])
    zero_point = 5 if dtype != "int16" else 0
    data = one_input("QUANTIZE", None, [x.shape, x.shape], ["float32", dtype], (None, scale), (0, zero_point))
    graph = tflite.read(data, "test model")
    expected = reference.run(graph, [x], Numerics.TFLITE)
    low, high = RANGES[dtype]
    assert expected[graph.outputs[0]].tolist() == [high, high, low, low, low, low, low]
    check_host(data, [[x]], [expected], Numerics.TFLITE)


@pytest.mark.parametrize("scales", [(5 / 64, 6 / 64), (0.1, 0.1), (100.0, 0.01), (1e-9, 1.0)])
@pytest.mark.parametrize("pair", PAIRS)
def test_integer_extremes(golden: Golden, pair: tuple[str, str], scales: tuple[float, float]) -> None:
    low, high = RANGES[pair[0]]
    near_zero = np.arange(-600, 600).clip(low, high)
    x = np.concatenate([[low, low + 1, low // 2, high // 2, high - 1, high], near_zero]).astype(pair[0])
    zero_points = [RANGES[dtype][1] if dtype.endswith("int8") else 0 for dtype in pair]
    check_exactly(golden, one_input("QUANTIZE", None, [x.shape, x.shape], pair, scales, zero_points), [x])


def test_int8_to_int32_is_known_to_tflm_alone() -> None:
    x = np.arange(-128, 128, dtype=np.int8)
    data = one_input("QUANTIZE", None, dtypes=["int8", "int32"], scales=(0.5, 0.001), zero_points=(-3, 0))
    graph = tflite.read(data, "test model")
    expected = reference.run(graph, [x], Numerics.TFLM)
    assert expected[graph.outputs[0]].tolist() == [(value + 3) * 500 for value in range(-128, 128)]
    check_host(data, [[x]], [expected], Numerics.TFLM)


def quantize(dtypes: Any = ("int8", "int8"), scales: Any = (0.1, 0.2), zero_points: Any = (0, 0), **more: Any) -> bytes:
    return one_input("QUANTIZE", None, dtypes=dtypes, scales=scales, zero_points=zero_points, **more)


def test_refused() -> None:
    refused(quantize(shapes=[(2, 3), (3, 2)]), "operator 0 QUANTIZE", "wrong shape", "[3, 2]", "[2, 3]")
    refused(quantize(["int64", "int8"]), "element type", "int64", "float32 or int8")
    refused(quantize(["int32", "int32"]), "element type", "int32", "int8 or int16")
    refused(quantize(["float32", "int8"], (None, None)), "needs one scale", "no quantisation")
    refused(quantize(scales=(None, 0.1)), "needs one scale", "no quantisation")
    refused(quantize(["int16", "int8"], zero_points=(4, 0)), "int16 needs zero point 0", "found 4")
    refused(quantize(["int8", "int32"], zero_points=(0, 1)), "int32 needs zero point 0", "found 1")
    refused(quantize(zero_points=(0, 300)), "zero point is out of range", "300")
    refused(quantize(scales=(1e5, 1e-5)), "scales are too far apart", "100000 / 1e-05")
