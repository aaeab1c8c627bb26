"""Small models at random with activations of 16 bits: the emitters of the operators that take them."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import Emit
from tests.random_models import emitters

OUTPUT_SCALE = 1 / 32768
"""Of SOFTMAX, LOGISTIC and TANH."""
SHARED = (
    *("conv_2d", "depthwise_conv_2d", "fully_connected", "transpose_conv", "add", "sub", "mul", "maximum", "minimum"),
    *("average_pool_2d", "max_pool_2d", "mean", "relu", "relu6", "leaky_relu", "resize_bilinear"),
    *("resize_nearest_neighbor", "concatenation", "pad", "padv2", "pack", "unpack", "split", "split_v", "slice"),
    *("strided_slice", "transpose", "reshape", "squeeze", "expand_dims"),
)
"""Operators whose random instances are the same as those of int8."""


def _softmax(build: ModelBuilder, x: Value) -> bool:
    """Any shape, any beta."""
    if not x.shape:
        return False
    beta = build.pick([1.0, 1.0, build.random_scale(0.01, 10.0)])
    build.op("SOFTMAX", [x], [build.tensor(x.shape, "int16", OUTPUT_SCALE, 0)], "Softmax", beta=beta)
    return True


def _logistic(build: ModelBuilder, x: Value) -> bool:
    build.op("LOGISTIC", [x], [build.tensor(x.shape, "int16", OUTPUT_SCALE, 0)])
    return True


def _tanh(build: ModelBuilder, x: Value) -> bool:
    build.op("TANH", [x], [build.tensor(x.shape, "int16", OUTPUT_SCALE, 0)])
    return True


def _narrow_for_once(build: ModelBuilder, x: Value) -> bool:
    """To int8 and, by another operator, back."""
    build.activations = "int8"
    narrow = build.random_output(x.shape)
    build.op("QUANTIZE", [x], [narrow])
    build.pick([emitters()[name] for name in ("conv_2d", "add", "relu", "fully_connected", "mean")])(build, narrow)
    last = build.pool.pop() if build.pool[-1].dtype == "int8" else narrow
    build.pool = [value for value in build.pool if value.dtype == "int16"]
    build.activations = "int16"
    build.op("QUANTIZE", [last], [build.random_output(last.shape)])
    return True


def wide_emitters() -> MappingProxyType[str, Emit]:
    """Operator name -> what adds a random instance of it that reads and writes int16."""
    shared = {name: emit for name, emit in emitters().items() if name in SHARED}
    own: dict[str, Emit] = {"softmax": _softmax, "logistic": _logistic, "tanh": _tanh, "quantize": _narrow_for_once}
    return MappingProxyType(shared | own)


def wide_builder(seed: int) -> ModelBuilder:
    """A builder of random operators on int16."""
    return ModelBuilder(np.random.default_rng(seed), "int16")


def wide_model(seed: int, most_nodes: int = 12) -> bytes:
    """A graph of 1 to `most_nodes` operators on int16, some of them by way of int8."""
    build = wide_builder(seed)
    build.random_input(build.random_shape(4 if build.chance(0.8) else int(build.rng.integers(1, 5))))
    found = list(wide_emitters().values())
    wanted = int(build.rng.integers(1, most_nodes + 1))
    for _ in range(100 * wanted):
        if len(build.operators) >= wanted:
            break
        build.pick(found)(build, build.pick(build.pool[-3:] if build.chance(0.7) else build.pool))
    return build.finish()
