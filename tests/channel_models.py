"""Layers with chosen weights, to build models in which some channels are constant or unread."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tests.modelbuilder import ModelBuilder, Value
from tinygen.ir import Array

SCALE = 0.05
"""Of every activation: a weight scale is then the factor from sum to output."""
PADDINGS = ("SAME", "VALID")


def activation(build: ModelBuilder, shape: Sequence[int], zero_point: int = 3) -> Value:
    """A tensor for an operator to write."""
    return build.tensor(shape, "int8", SCALE, zero_point)


def weights(build: ModelBuilder, *shape: int) -> Array:
    """Random weights, none of them 0."""
    return np.asarray(build.rng.integers(1, 128, shape) * build.rng.choice([-1, 1], shape))


def convolve(
    build: ModelBuilder,
    x: Value,
    filters: Array,
    bias: Sequence[int] | Array | None = None,
    name: str = "CONV_2D",
    padding: str = "SAME",
    stride: int = 1,
    fused: int = 0,
    zero_point: int = 3,
    scale: Any = None,
) -> Value:
    """A CONV_2D or DEPTHWISE_CONV_2D with these weights, per channel if `scale` is a list."""
    axis = 0 if name == "CONV_2D" else 3
    channels = filters.shape[axis]
    scale = 1 / (60 * np.sqrt(filters[0].size)) if scale is None else scale
    w = build.constant(filters, "int8", scale, [0] * np.size(scale), axis)
    inputs = [x, w]
    if bias is not None:
        scales = np.float32(SCALE) * np.asarray(scale, np.float32)
        inputs.append(build.constant(bias, "int32", scales, [0] * np.size(scale)))
    reach = [0 if padding == "SAME" else size - 1 for size in filters.shape[1:3]]
    height, width = (-(-(size - lost) // stride) for size, lost in zip(x.shape[1:3], reach, strict=True))
    y = activation(build, (x.shape[0], height, width, channels), zero_point)
    fields = {"strideH": stride, "strideW": stride, "padding": PADDINGS.index(padding)}
    fields["fusedActivationFunction"] = fused
    if name == "DEPTHWISE_CONV_2D":
        fields["depthMultiplier"] = channels // x.shape[3]
        build.op(name, inputs, [y], "DepthwiseConv2D", **fields)
    else:
        build.op(name, inputs, [y], "Conv2D", **fields)
    return y


def connect(
    build: ModelBuilder,
    x: Value,
    matrix: Array,
    bias: Sequence[int] | Array | None = None,
    weights_zero_point: int = 0,
    zero_point: int = 3,
) -> Value:
    """A FULLY_CONNECTED over all of x, or over as many rows as the matrix is wide."""
    scale = 1 / (60 * np.sqrt(matrix.shape[1]))
    inputs = [x, build.constant(matrix, "int8", scale, weights_zero_point)]
    if bias is not None:
        inputs.append(build.constant(bias, "int32", np.float32(SCALE) * np.float32(scale)))
    y = activation(build, (int(np.prod(x.shape)) // matrix.shape[1], len(matrix)), zero_point)
    build.op("FULLY_CONNECTED", inputs, [y], "FullyConnected")
    return y


def add(build: ModelBuilder, first: Value, second: Value, zero_point: int = 3) -> Value:
    """Their sum."""
    y = activation(build, np.broadcast_shapes(first.shape, second.shape), zero_point)
    build.op("ADD", [first, second], [y], "Add")
    return y


def random_network(seed: int) -> bytes:
    """Convolutions, residual sums and what goes between them, with filters and columns of zeros all over."""
    build = ModelBuilder(np.random.default_rng(seed))
    zero_point = int(build.pick([-128, 0, 3, 127]))
    shape = (1, int(build.rng.integers(3, 8)), int(build.rng.integers(3, 8)), int(build.rng.integers(1, 5)))
    x = build.input(shape, "int8", SCALE, zero_point)
    for _ in range(int(build.rng.integers(3, 9))):
        x = build.pick([_convolution, _convolution, _depthwise, _depthwise, _residual, _unary, _pool, _join])(build, x)
    matrix = weights(build, 3, int(np.prod(x.shape)))
    matrix[:, build.rng.random(matrix.shape[1]) < 0.3] = 0
    end = connect(build, x, matrix, build.rng.integers(-3000, 3000, 3), zero_point=zero_point)
    outputs = [end]
    if build.chance(0.2):
        outputs.append(build.pick(build.pool[1:-1]))
    return build.finish(outputs)


def _sparse(build: ModelBuilder, filters: Array, axis: int) -> Array:
    """The filters, some of them 0 whole, and some of their columns."""
    rows = np.moveaxis(filters, axis, 0)
    rows[build.rng.random(len(rows)) < build.pick([0, 0.3, 0.6, 1.0])] = 0
    if axis == 0:
        filters[..., build.rng.random(filters.shape[-1]) < 0.3] = 0
    return filters


def _options(build: ModelBuilder, x: Value, kernel: tuple[int, int], filters: int) -> dict[str, Any]:
    fits = kernel[0] <= x.shape[1] and kernel[1] <= x.shape[2]
    bias = build.rng.integers(-6000, 6000, filters)
    bias[build.rng.random(filters) < 0.2] = -(10**7)
    return {
        "bias": bias,
        "padding": build.pick(PADDINGS) if fits else "SAME",
        "stride": int(build.pick([1, 1, 2])),
        "fused": int(build.pick([0, 1, 3])),
        "zero_point": x.zero_point,
        "scale": build.pick([None, list(np.exp(build.rng.uniform(-8, -3, filters)))]),
    }


def _kernel(build: ModelBuilder) -> tuple[int, int]:
    size = build.pick([(1, 1), (3, 3), (1, 2), (3, 2)])
    return int(size[0]), int(size[1])


def _convolution(build: ModelBuilder, x: Value) -> Value:
    kernel, filters = _kernel(build), int(build.rng.integers(1, 9))
    sparse = _sparse(build, weights(build, filters, *kernel, x.shape[3]), 0)
    return convolve(build, x, sparse, **_options(build, x, kernel, filters))


def _depthwise(build: ModelBuilder, x: Value) -> Value:
    kernel, filters = _kernel(build), x.shape[3] * int(build.pick([1, 1, 2]))
    sparse = _sparse(build, weights(build, 1, *kernel, filters), 3)
    return convolve(build, x, sparse, name="DEPTHWISE_CONV_2D", **_options(build, x, kernel, filters))


def _residual(build: ModelBuilder, x: Value) -> Value:
    sparse = _sparse(build, weights(build, x.shape[3], 3, 3, x.shape[3]), 0)
    bias = build.rng.integers(-6000, 6000, x.shape[3])
    return add(build, x, convolve(build, x, sparse, bias, zero_point=x.zero_point), x.zero_point)


def _unary(build: ModelBuilder, x: Value) -> Value:
    y = activation(build, x.shape, x.zero_point)
    build.op(build.pick(["RELU", "ABS"]), [x], [y])
    return y


def _pool(build: ModelBuilder, x: Value) -> Value:
    y = activation(build, (*x.shape[:1], -(-x.shape[1] // 2), -(-x.shape[2] // 2), x.shape[3]), x.zero_point)
    fields = {"strideH": 2, "strideW": 2, "padding": 0, "filterHeight": 3, "filterWidth": 2}
    build.op(build.pick(["MAX_POOL_2D", "AVERAGE_POOL_2D"]), [x], [y], "Pool2D", **fields)
    return y


def _join(build: ModelBuilder, x: Value) -> Value:
    like = [value for value in build.pool if value.shape[:3] == x.shape[:3]]
    other = build.pick(like)
    y = activation(build, (*x.shape[:3], x.shape[3] + other.shape[3]), x.zero_point)
    build.op("CONCATENATION", [x, other], [y], "Concatenation", axis=3)
    return y
