"""Random windows, weights and biases, and what else the tests of operators with weights share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tinygen import passes
from tinygen.driver import Model, compile_model
from tinygen.errors import ModelError
from tinygen.frontend import tflite
from tinygen.quant import Numerics


@dataclass(frozen=True)
class RandomWindow:
    """A window that fits its input."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    same: bool
    activation: int

    def options(self) -> dict[str, int]:
        """The fields of the file's options."""
        return {
            "strideH": self.stride[0],
            "strideW": self.stride[1],
            "dilationHFactor": self.dilation[0],
            "dilationWFactor": self.dilation[1],
            "padding": 0 if self.same else 1,
            "fusedActivationFunction": self.activation,
        }


def random_window(build: ModelBuilder, height: int, width: int, dilated: bool = True) -> RandomWindow:
    """Kernel, stride, dilation and padding for an input of that size."""
    kernel = build.pick([(1, 1), (3, 3), tuple(int(k) for k in build.rng.integers(1, 6, 2))])
    stride = build.pick([(1, 1), (2, 2), tuple(int(s) for s in build.rng.integers(1, 4, 2))])
    dilation = build.pick([(1, 1), (1, 1), tuple(int(d) for d in build.rng.integers(1, 4, 2))]) if dilated else (1, 1)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    same = build.chance(0.5) or reach[0] > height or reach[1] > width
    return RandomWindow(kernel, stride, dilation, same, build.pick([0, 0, 1, 2, 3]))


def output_size(window: RandomWindow, height: int, width: int) -> tuple[int, int]:
    """Output height and width."""
    sizes = []
    for length, kernel, stride, dilation in zip(
        (height, width), window.kernel, window.stride, window.dilation, strict=True
    ):
        reach = 0 if window.same else (kernel - 1) * dilation
        sizes.append(-(-(length - reach) // stride))
    return sizes[0], sizes[1]


def filter_scales(build: ModelBuilder, channels: int) -> Any:
    """One scale, or one a channel."""
    if build.chance(0.4):
        return build.random_scale(1e-4, 1e-2)
    return [build.random_scale(1e-4, 1e-2) for _ in range(channels)]


def weights_for(build: ModelBuilder, shape: tuple[int, ...], scale: Any, axis: int = 0) -> Value:
    """Random weights of that scale, -128 and 127 often."""
    weights = build.rng.integers(-128, 128, shape)
    extreme = build.rng.random(shape) < build.pick([0.0, 0.0, 0.3, 1.0])
    weights = np.where(extreme, build.rng.choice([-128, 127], shape), weights)
    return build.constant(weights, "int8", scale, [0] * np.size(scale), axis)


def bias_for(build: ModelBuilder, x: Value, scale: Any, channels: int) -> Value:
    """A bias of the right scale."""
    scales = np.float32(x.scale) * np.asarray(scale, np.float32)
    dtype, most = ("int32", 20_000) if build.activations == "int8" else ("int64", 5_000_000)
    return build.constant(build.rng.integers(-most, most, channels), dtype, scales, np.zeros(np.size(scales)))


MOST_ELEMENTS = 4000
"""Outputs stay below it, so that random graphs stay small."""


def refused(build: ModelBuilder, text: str) -> None:
    """The model is refused in one line that contains `text`."""
    with pytest.raises(ModelError) as caught:
        passes.run(tflite.read(build.finish(), "test model"))
    assert text in str(caught.value)
    assert len(caught.value.lines) == 1


def generated(data: bytes, numerics: Numerics = Numerics.TFLITE) -> str:
    """The C source of the model."""
    return compile_model(Model("m", data, tflite.read(data, "test model")), numerics=numerics).files["src/m.c"]
