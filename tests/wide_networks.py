"""Networks of layers with activations of 16 bits, images and sequences, for plans that compute them row by row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.modelbuilder import ModelBuilder, Value

SCALE, WEIGHT_SCALE = 0.001, 0.004
Pair = tuple[int, int]


def activation(build: ModelBuilder, shape: Sequence[int]) -> Value:
    """A tensor for an operator to write."""
    return build.tensor(shape, "int16", SCALE, 0)


def window(build: ModelBuilder, x: Value, name: str, kernel: Pair, filters: int = 0, stride: Pair = (1, 1)) -> Value:
    """A SAME convolution, or a VALID pooling."""
    depth = x.shape[3]
    channels = filters if name == "CONV_2D" else depth
    same = not name.endswith("POOL_2D")
    sizes = [-(-(n if same else n - k + 1) // s) for n, k, s in zip(x.shape[1:3], kernel, stride, strict=True)]
    y = activation(build, (1, *sizes, channels))
    fields = {"strideH": stride[0], "strideW": stride[1], "padding": 0 if same else 1}
    if not same:
        return build.op(name, [x], [y], "Pool2D", filterHeight=kernel[0], filterWidth=kernel[1], **fields)[0]
    shape = (channels, *kernel, depth) if name == "CONV_2D" else (1, *kernel, channels)
    w = build.constant(build.rng.integers(-127, 128, shape), "int8", WEIGHT_SCALE, 0)
    b = build.constant(build.rng.integers(-9000, 9000, channels), "int64", np.float32(SCALE) * np.float32(WEIGHT_SCALE))
    options = "Conv2D" if name == "CONV_2D" else "DepthwiseConv2D"
    more = {} if name == "CONV_2D" else {"depthMultiplier": 1}
    return build.op(name, [x, w, b], [y], options, **fields, **more)[0]


def network(seed: int, shape: tuple[int, int]) -> bytes:
    """Convolutions of all kinds with a residual, a table, a pooling, in the end a mean; or the pooling of all."""
    build = ModelBuilder(np.random.default_rng(seed), "int16")
    wide = min(shape) > 1
    three, two = ((3, 3), (2, 2)) if wide else ((1, 5), (1, 2))
    x = build.input((1, *shape, build.pick([1, 3])), "int16", SCALE, 0)
    x = window(build, x, "CONV_2D", three, 6, two if build.chance(0.5) else (1, 1))
    x = window(build, x, "DEPTHWISE_CONV_2D", three)
    x = window(build, x, "CONV_2D", (1, 1), 8)
    y = window(build, x, "CONV_2D", three, 8)
    fields = {"fusedActivationFunction": 1, "potScaleInt16": False}
    x = build.op("ADD", [x, y], [activation(build, x.shape)], "Add", **fields)[0]
    x = build.op("LEAKY_RELU", [x], [activation(build, x.shape)], "LeakyRelu", alpha=0.1)[0]
    x = window(build, x, build.pick(["MAX_POOL_2D", "AVERAGE_POOL_2D"]), two, stride=two)
    if build.chance(0.5):
        window(build, x, "AVERAGE_POOL_2D", (x.shape[1], x.shape[2]))
    else:
        y = activation(build, (1, 8))
        build.op("MEAN", [x, build.constant([1, 2], "int32")], [y], "Reducer", keepDims=False)
    return build.finish()
