"""Small models that several tests compile."""

from __future__ import annotations

import numpy as np

from tests.modelbuilder import ModelBuilder, Value


def convolution(build: ModelBuilder, x: Value, filters: int = 4, bias_scale: float = 1.0) -> Value:
    """A 3x3 SAME convolution of x; `bias_scale` other than 1 makes a wrong bias scale."""
    weights = build.constant(build.rng.integers(-127, 128, (filters, 3, 3, x.shape[3])), "int8", 0.01, 0)
    scale = np.float32(x.scale) * np.float32(0.01) * bias_scale
    bias = build.constant(build.rng.integers(-500, 500, filters), "int32", scale, 0)
    y = build.tensor((*x.shape[:3], filters), "int8", 0.05, -3)
    build.op("CONV_2D", [x, weights, bias], [y], "Conv2D", strideH=1, strideW=1, padding=0)
    return y


def two_convolutions(seed: int = 0) -> bytes:
    """Input 1x6x5x2, two convolutions in a row."""
    build = ModelBuilder(np.random.default_rng(seed))
    x = build.input((1, 6, 5, 2), "int8", 0.02, 4)
    convolution(build, convolution(build, x), filters=3)
    return build.finish()
