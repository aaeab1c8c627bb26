"""Networks over time at random: sequences of any length and in any of their shapes, windows, sums, joins and means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tests.branchy_models import SCALE, ZERO_POINT, activation
from tests.modelbuilder import ModelBuilder, Value

SAME, VALID = 0, 1


def reshaped(build: ModelBuilder, x: Value, shape: Sequence[int]) -> Value:
    """The same elements in another shape, as converters say it."""
    y = build.tensor(shape, x.dtype, x.scale, x.zero_point)
    if len(shape) > len(x.shape):
        return build.op("EXPAND_DIMS", [x, build.constant(1, "int32")], [y])[0]
    if len(shape) < len(x.shape) and build.chance(0.5):
        return build.op("SQUEEZE", [x], [y], "Squeeze", squeezeDims=[1])[0]
    return build.op("RESHAPE", [x, build.constant(list(shape), "int32")], [y], "Reshape", newShape=list(shape))[0]


def window(
    build: ModelBuilder,
    x: Value,
    name: str,
    kernel: int,
    filters: int = 0,
    stride: int = 1,
    gap: int = 1,
    padding: int = SAME,
    turned: bool = False,
) -> Value:
    """A convolution or pooling along the width, or `turned` along the height."""
    length, depth = int(np.prod(x.shape[1:-1])), x.shape[-1]
    out = -(-(length - (0 if padding == SAME else (kernel - 1) * gap)) // stride)
    channels = filters if name == "CONV_2D" else depth
    y = activation(build, (1, out, 1, channels) if turned else (1, 1, out, channels))
    along, across = ("H", "W") if turned else ("W", "H")
    size = (kernel, 1) if turned else (1, kernel)
    fields = {f"stride{along}": stride, f"stride{across}": 1, "padding": padding}
    if name.endswith("POOL_2D"):
        return build.op(name, [x], [y], "Pool2D", filterHeight=size[0], filterWidth=size[1], **fields)[0]
    fields |= {f"dilation{along}Factor": gap, f"dilation{across}Factor": 1}
    shape = (channels, *size, depth) if name == "CONV_2D" else (1, *size, channels)
    w = build.constant(build.rng.integers(-128, 128, shape), "int8", 0.01, 0)
    b = build.constant(build.rng.integers(-500, 500, channels), "int32", np.float32(SCALE) * np.float32(0.01), 0)
    options = "Conv2D" if name == "CONV_2D" else "DepthwiseConv2D"
    more = {} if name == "CONV_2D" else {"depthMultiplier": 1}
    return build.op(name, [x, w, b], [y], options, **fields, **more)[0]


def padded(build: ModelBuilder, x: Value, before: int, behind: int) -> Value:
    """Zeros before and behind all steps, as causal layers have them."""
    amounts = [[0, 0]] * len(x.shape)
    amounts[-2] = [before, behind]
    shape = (*x.shape[:-2], x.shape[-2] + before + behind, x.shape[-1])
    return build.op("PAD", [x, build.constant(amounts, "int32")], [activation(build, shape)])[0]


def both(build: ModelBuilder, x: Value, y: Value) -> Value:
    """A sum."""
    return build.op("ADD", [x, y], [activation(build, x.shape)], "Add")[0]


def layer(build: ModelBuilder, x: Value, turned: bool) -> Value:
    """One more layer behind a sequence [1, steps, channels]: a window between two views, as Keras's layers become."""
    length, depth = x.shape[1:]
    name = build.pick(["CONV_2D", "CONV_2D", "DEPTHWISE_CONV_2D", "AVERAGE_POOL_2D", "MAX_POOL_2D"])
    kernel = min(length, build.pick([1, 2, 3, 5, 8]) if not name.endswith("POOL_2D") else build.pick([2, 3]))
    gap = 2 if name.startswith(("CONV", "DEPTH")) and build.chance(0.2) and length > 2 * kernel else 1
    choice = {"stride": build.pick([1, 1, 2, 3]), "gap": gap, "padding": build.pick([SAME, VALID]), "turned": turned}
    if choice["padding"] == VALID and build.chance(0.4) and not name.endswith("POOL_2D"):
        x = padded(build, x, int(build.rng.integers(0, 4)), int(build.rng.integers(0, 3)))
        length = x.shape[1]
    image = reshaped(build, x, (1, length, 1, depth) if turned else (1, 1, length, depth))
    y = window(build, image, name, kernel, filters=build.pick([3, 4, 8]), **choice)
    return reshaped(build, y, (1, int(np.prod(y.shape[1:-1])), y.shape[-1]))


def network(seed: int, length: int = 0, turned: bool = False) -> bytes:
    """A network over time; its layers hand on sequences [1, steps, channels]."""
    build = ModelBuilder(np.random.default_rng(seed))
    x = build.input((1, length or int(build.rng.integers(20, 70)), build.pick([1, 3, 4])), "int8", SCALE, ZERO_POINT)
    for _ in range(int(build.rng.integers(3, 7))):
        before, x = x, layer(build, x, turned)
        if build.chance(0.3):
            x = both(build, x, build.op("ABS", [x], [activation(build, x.shape)])[0])
        if before.shape[:2] == x.shape[:2] and build.chance(0.5):
            shape = (*x.shape[:2], x.shape[2] + before.shape[2])
            x = build.op("CONCATENATION", [x, before], [activation(build, shape)], "Concatenation", axis=-1)[0]
        if x.shape[1] < 4:
            break
    y = activation(build, (1, x.shape[2]))
    build.op("MEAN", [x, build.constant([1], "int32")], [y], "Reducer", keepDims=False)
    return build.finish()
