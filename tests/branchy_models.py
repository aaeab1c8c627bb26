"""Networks at random whose branches part and meet again: convolutions, poolings, sums, products, joins and cuts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tests.modelbuilder import ModelBuilder, Value

SCALE, ZERO_POINT = 0.05, -3
"""Of every activation, so that all can be joined."""
MOST_ELEMENTS = 6_000
"""Of a tensor."""


def activation(build: ModelBuilder, shape: Sequence[int]) -> Value:
    """A tensor for an operator to write."""
    return build.tensor(shape, "int8", SCALE, ZERO_POINT)


def _weighted(build: ModelBuilder, x: Value, name: str, options: str, shape: tuple[int, ...], stride: int) -> Value:
    """A SAME convolution whose weights have `shape`, the outputs' channels last in it or first."""
    filters = shape[0] if name == "CONV_2D" else shape[3]
    weights = build.constant(build.rng.integers(-127, 128, shape), "int8", 0.004, 0)
    bias = build.constant(build.rng.integers(-500, 500, filters), "int32", np.float32(SCALE) * np.float32(0.004), 0)
    y = activation(build, (1, -(-x.shape[1] // stride), -(-x.shape[2] // stride), filters))
    more = {"depthMultiplier": filters // x.shape[3]} if name != "CONV_2D" else {}
    build.op(name, [x, weights, bias], [y], options, strideH=stride, strideW=stride, padding=0, **more)
    return y


def convolution(build: ModelBuilder, x: Value, filters: int, kernel: int = 3, stride: int = 1) -> Value:
    """CONV_2D."""
    return _weighted(build, x, "CONV_2D", "Conv2D", (filters, kernel, kernel, x.shape[3]), stride)


def depthwise(build: ModelBuilder, x: Value, kernel: int = 3, stride: int = 1) -> Value:
    """DEPTHWISE_CONV_2D."""
    return _weighted(build, x, "DEPTHWISE_CONV_2D", "DepthwiseConv2D", (1, kernel, kernel, x.shape[3]), stride)


def pool(build: ModelBuilder, x: Value, name: str, size: int = 2, stride: int = 2) -> Value:
    """AVERAGE_POOL_2D or MAX_POOL_2D."""
    y = activation(build, (1, -(-x.shape[1] // stride), -(-x.shape[2] // stride), x.shape[3]))
    fields = {"filterHeight": size, "filterWidth": size, "strideH": stride, "strideW": stride, "padding": 0}
    return build.op(name, [x], [y], "Pool2D", **fields)[0]


def unary(build: ModelBuilder, x: Value) -> Value:
    """A table."""
    return build.op(build.pick(["NEG", "ABS"]), [x], [activation(build, x.shape)])[0]


def both(build: ModelBuilder, x: Value, y: Value) -> Value:
    """ADD or MUL."""
    name, options = build.pick([("ADD", "Add"), ("MUL", "Mul")])
    return build.op(name, [x, y], [activation(build, x.shape)], options)[0]


def join(build: ModelBuilder, parts: Sequence[Value], axis: int) -> Value:
    """CONCATENATION."""
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    return build.op("CONCATENATION", parts, [activation(build, shape)], "Concatenation", axis=axis)[0]


def cut(build: ModelBuilder, x: Value, axis: int, parts: int = 2) -> Sequence[Value]:
    """SPLIT."""
    shape = [size // parts if at == axis else size for at, size in enumerate(x.shape)]
    outputs = [activation(build, shape) for _ in range(parts)]
    return build.op("SPLIT", [build.constant(axis, "int32"), x], outputs, "Split", numSplits=parts)


def branchy_model(seed: int, most_nodes: int = 25) -> bytes:
    """A network of up to `most_nodes` operators that often go back to values of long ago."""
    build = ModelBuilder(np.random.default_rng(seed))
    sides, channels = build.rng.integers(4, 15, 2), build.pick([1, 2, 3, 4, 4, 8, 8])
    build.input((1, *map(int, sides), channels), "int8", SCALE, ZERO_POINT)
    wanted = int(build.rng.integers(6, most_nodes + 1))
    for _ in range(100 * wanted):
        if len(build.operators) >= wanted:
            break
        _grow(build, build.pick(build.pool[-2:] if build.chance(0.6) else build.pool))
    return build.finish()


def _grow(build: ModelBuilder, x: Value) -> None:
    """One more operator that reads `x`, if the chosen one can."""
    _, height, width, channels = x.shape
    joined = [v for v in build.pool if v.shape[:3] == x.shape[:3] and v is not x]
    stacked = [v for v in build.pool if v.shape[2:] == x.shape[2:] and v is not x]
    same = [v for v in joined if v.shape == x.shape]
    most = MOST_ELEMENTS // (height * width)
    choices: list[Callable[[], object]] = [
        lambda: depthwise(build, x, build.pick([3, 3, 5]), build.pick([1, 1, 2])),
        lambda: unary(build, x),
    ]
    if most >= 4:
        filters = min(most // 4 * 4, build.pick([4, 8, 8, 16, channels]))
        choices += 2 * [lambda: convolution(build, x, filters, build.pick([1, 1, 3]), build.pick([1, 1, 1, 2]))]
    if height > 2 and width > 2:
        choices += [
            lambda: pool(build, x, build.pick(["AVERAGE_POOL_2D", "MAX_POOL_2D"]), *build.pick([(2, 2), (3, 1)]))
        ]
    if same:
        choices += 3 * [lambda: both(build, x, build.pick(same))]
    if joined and channels * 2 <= most:
        choices += 2 * [lambda: join(build, [x, build.pick(joined)], 3)]
    if stacked and 2 * height * width * channels <= MOST_ELEMENTS:
        choices += 2 * [lambda: join(build, [x, build.pick(stacked)], 1)]
    if height % 2 == 0:
        choices += [lambda: cut(build, x, 1)]
    if channels % 2 == 0:
        choices += [lambda: cut(build, x, 3)]
    build.pick(choices)()


def mean(build: ModelBuilder, name: str) -> None:
    """The mean of the last tensor's pixels, as a pooling or as MEAN."""
    x = build.pool[-1]
    y = activation(build, (1, 1, 1, x.shape[3]))
    if name == "MEAN":
        build.op("MEAN", [x, build.constant([1, 2], "int32")], [y], "Reducer", keepDims=True)
    else:
        window = {"filterHeight": x.shape[1], "filterWidth": x.shape[2], "strideH": 1, "strideW": 1, "padding": 1}
        build.op("AVERAGE_POOL_2D", [x], [y], "Pool2D", **window)


def rows_network(seed: int) -> bytes:
    """Convolutions of all kinds with a residual, and at the end a mean: all of it has rows."""
    build = ModelBuilder(np.random.default_rng(seed))
    height, width = (int(side) for side in build.rng.integers(12, 25, 2))
    x = build.input((1, height, width, build.pick([1, 3, 4])), "int8", 0.05, -3)
    x = convolution(build, x, build.pick([8, 12]), 3, build.pick([1, 2]))
    x = depthwise(build, x, 3, build.pick([1, 1, 2]))
    x = convolution(build, x, build.pick([8, 16]), 1)
    both(build, x, convolution(build, convolution(build, x, x.shape[3], 3), x.shape[3], build.pick([1, 3])))
    if build.chance(0.5):
        pool(build, build.pool[-1], build.pick(["AVERAGE_POOL_2D", "MAX_POOL_2D"]))
    mean(build, build.pick(["MEAN", "AVERAGE_POOL_2D"]))
    return build.finish()
