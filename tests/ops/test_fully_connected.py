from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_model, check_operator
from tests.weighted import MOST_ELEMENTS, bias_for, filter_scales, generated, refused, weights_for
from tinygen.ir import Array
from tinygen.quant import Numerics
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any rank, flattened or kept, per tensor (also with a zero point) or per channel, with and without bias."""
    elements = int(np.prod(x.shape))
    keep = len(x.shape) > 0 and build.chance(0.5)
    depth = x.shape[-1] if keep else int(build.pick([d for d in range(1, elements + 1) if elements % d == 0]))
    units = int(build.rng.integers(1, 13))
    if elements // depth * units > MOST_ELEMENTS:
        return False
    scale = filter_scales(build, units)
    w = weights_for(build, (units, depth), scale)
    if np.size(scale) == 1 and build.chance(0.3):
        build.tensors[w.index].quantization.zeroPoint = [build.random_zero_point()]
    bias = build.pick([[], [None], [bias_for(build, x, scale, units)], [bias_for(build, x, scale, units)]])
    y = build.random_output((*x.shape[:-1], units) if keep else (elements // depth, units))
    activation = build.pick([0, 0, 1, 2, 3])
    options = {"keepNumDims": keep, "fusedActivationFunction": activation}
    build.op("FULLY_CONNECTED", [x, w, *bias], [y], "FullyConnected", **options)
    return True


@pytest.mark.parametrize("seed", range(4))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden, ranks=(1, 2, 3, 4, 5), most=5, count=20)


def dense(
    x: tuple[int, ...] = (2, 6),
    weights: Any = (3, 6),
    y: tuple[int, ...] = (2, 3),
    bias: Any = 0,
    weights_options: dict[str, Any] | None = None,
    y_scale: float = 0.1,
    **options: int,
) -> ModelBuilder:
    """One dense layer; `bias` is its values, None when -1 stands for it, () when left out."""
    build = ModelBuilder()
    data = build.rng.integers(-128, 128, weights) if isinstance(weights, tuple) else weights
    source = build.input(x, "int8", 0.5, -3)
    w = build.constant(data, "int8", **{"scale": 0.01, **(weights_options or {})})
    inputs: list[Value | None] = [source, w]
    if bias is None:
        inputs.append(None)
    elif not isinstance(bias, tuple):
        inputs.append(build.constant(np.broadcast_to(bias, w.shape[:1]), "int32", 0.5 * np.float32(0.01)))
    build.op("FULLY_CONNECTED", inputs, [build.tensor(y, "int8", y_scale, 5)], "FullyConnected", **options)
    return build


def one_more(sums: Array) -> tuple[Array, Array]:
    """`sums` around steps, with one of a unit that reads the input so that the layer is no constant; all weights."""
    return np.append(sums, sums[len(sums) // 2]), np.append(np.zeros(len(sums)), 1)[:, None]


def steps(scales: tuple[float, float, float], zero_point: int, per_channel: bool) -> ModelBuilder:
    """A layer whose biases are its sums, but for one: around every step of the output and as far out as sums may go."""
    build = ModelBuilder()
    x_scale, w_scale, y_scale = (np.float32(scale) for scale in scales)
    scale = float(x_scale) * float(w_scale) / float(y_scale)
    near = np.round((np.arange(-128, 128) - zero_point - 0.5) / scale)[:, None] + np.arange(-2, 3)
    furthest = min(2**31 - 1, int(2**30 / scale))
    sums = np.unique(np.clip(np.append(near, [-furthest, -1, 0, 1, furthest]), -furthest, furthest).astype(np.int64))
    sums, weights = one_more(sums)
    count = len(sums) if per_channel else 1
    x = build.input((1, 1), "int8", x_scale, 0)
    w = build.constant(weights, "int8", [w_scale] * count, [0] * count)
    bias = build.constant(sums, "int32", [x_scale * w_scale] * count, [0] * count)
    y = build.tensor((1, len(sums)), "int8", y_scale, zero_point)
    build.op("FULLY_CONNECTED", [x, w, bias], [y], "FullyConnected")
    return build


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("zero_point", [-128, 0, 127])
@pytest.mark.parametrize(
    ("scales", "function"),
    [
        ((1.0, 0.5, 1.0), "tg_requantize_single("),
        ((1.0, 2.0**-16, 1.0), "tg_requantize_single("),
        ((0.02, 0.01, 0.07), "tg_requantize_single("),
        ((0.05, 3.0, 0.0007), "tg_requantize_single("),
        ((0.02, 0.0001, 0.07), "tg_requantize_single("),
        ((0.02, 0.000001, 0.07), "tg_requantize_fine("),
    ],
)
def test_every_step_of_the_output(
    golden: Golden, scales: tuple[float, float, float], function: str, zero_point: int, per_channel: bool
) -> None:
    data = steps(scales, zero_point, per_channel).finish()
    assert function in generated(data)
    assert "tg_requantize(" in generated(data, Numerics.TFLM)
    check_model(data, golden)


@pytest.mark.parametrize("denominator", [98, 214, 322, 1506])
def test_scales_that_only_float64_reproduces(golden: Golden, denominator: int) -> None:
    """The halves between two levels are reached by some sums and missed by others, by rounding to 53 bits alone."""
    build = ModelBuilder()
    sums, weights = one_more((np.arange(-300, 300) * 2 + 1) * (denominator // 2))
    x, w = build.input((1, 1), "int8", 1.0), build.constant(weights, "int8", 1.0)
    y = build.tensor((1, len(sums)), "int8", float(denominator))
    build.op("FULLY_CONNECTED", [x, w, build.constant(sums, "int32", 1.0)], [y], "FullyConnected")
    data = build.finish()
    assert "tg_requantize_f64(" in generated(data)
    check_model(data, golden)


@pytest.mark.parametrize("weight", [-128, 127])
@pytest.mark.parametrize("zero_point", [-128, 0, 127])
def test_weights_and_their_zero_point_at_their_ends(golden: Golden, weight: int, zero_point: int) -> None:
    build = dense(weights=np.full((3, 6), weight), weights_options={"zero_point": zero_point}, y_scale=4.0)
    check_model(build.finish(), golden)


@pytest.mark.parametrize("bias", [None, ()], ids=["index -1", "left out"])
def test_without_bias(golden: Golden, bias: Any) -> None:
    data = dense(bias=bias).finish()
    check_model(data, golden)
    assert "bias" not in generated(data)


@pytest.mark.parametrize("x", [(6,), (1, 6), (2, 3, 6), (1, 2, 1, 3, 6)])
@pytest.mark.parametrize("keep", [False, True])
def test_ranks(golden: Golden, x: tuple[int, ...], keep: bool) -> None:
    y = (*x[:-1], 3) if keep else (int(np.prod(x)) // 6, 3)
    check_model(dense(x, y=y, keepNumDims=keep).finish(), golden)


def test_shapes_that_do_not_fit() -> None:
    refused(dense(weights=(3, 5)), "found input [2, 6], weights [3, 5], expected a multiple of 5 elements")
    refused(dense(weights=(3, 3), y=(4, 3), keepNumDims=True), "weights [3, 3], expected a last axis of 3")
    refused(dense(keepNumDims=True, x=(), weights=(3, 1)), "expected a last axis of 1")
    refused(dense(weights=(3, 2, 3)), "has the wrong rank, found shape [3, 2, 3], expected rank 2")
    refused(dense(y=(2, 4)), "has the wrong shape, found [2, 4], expected [2, 3]")
    refused(dense(x=(2, 1, 6), y=(2, 1, 3)), "has the wrong shape, found [2, 1, 3], expected [2, 3]")
    refused(dense(weights=np.zeros((0, 6))), "has no elements")


def test_weights_that_do_not_fit() -> None:
    channels = {"scale": [0.01, 0.02, 0.03], "zero_point": [0, 5, 0]}
    refused(dense(weights_options=channels), "weights need zero point 0, found 5")
    refused(dense(weights_options={"zero_point": 128}), "zero point is out of range, found 128")
    refused(dense(weightsFormat=1), "stored in an order for another processor, found SHUFFLED4x16INT8")


def test_sums_that_leave_32_bits() -> None:
    refused(dense(bias=2**31 - 1), "can leave 32 bits, found 2")
    refused(dense(bias=2**30, y_scale=0.001), "e+09, expected <= 1073741824")


def test_activations_that_do_not_limit() -> None:
    refused(dense(fusedActivationFunction=4), "fused activation is not supported, found TANH")
