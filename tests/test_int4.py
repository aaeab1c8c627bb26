"""INT4 weights: what the interpreter runs, we compile."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_model
from tests.weighted import bias_for, filter_scales, output_size, random_window
from tinygen.frontend import tflite
from tinygen.verify.golden import Golden


def int4(build: ModelBuilder, shape: tuple[int, ...], scale: Any, axis: int = 0) -> Value:
    """Random weights, both ends among them."""
    weights = build.rng.integers(-8, 8, shape)
    return build.constant(weights, "int4", scale, [0] * np.size(scale), axis)


def convolution(build: ModelBuilder) -> None:
    """Any window and grouping."""
    height, width, groups = (int(size) for size in build.rng.integers(1, [8, 8, 3]))
    depth, filters = (int(size) * groups for size in build.rng.integers(1, 7, 2))
    x, window = build.random_input((1, height, width, depth)), random_window(build, height, width)
    scale = filter_scales(build, filters)
    w = int4(build, (filters, *window.kernel, depth // groups), scale)
    y = build.random_output((1, *output_size(window, height, width), filters))
    build.op("CONV_2D", [x, w, bias_for(build, x, scale, filters)], [y], "Conv2D", **window.options())


def depthwise(build: ModelBuilder) -> None:
    """Any window and multiplier."""
    height, width, depth, multiplicity = (int(size) for size in build.rng.integers(1, [8, 8, 7, 3]))
    x, window = build.random_input((1, height, width, depth)), random_window(build, height, width)
    channels = depth * multiplicity
    scale = filter_scales(build, channels)
    w = int4(build, (1, *window.kernel, channels), scale, 3)
    y = build.random_output((1, *output_size(window, height, width), channels))
    options = {**window.options(), "depthMultiplier": multiplicity}
    build.op("DEPTHWISE_CONV_2D", [x, w, bias_for(build, x, scale, channels)], [y], "DepthwiseConv2D", **options)


def dense(build: ModelBuilder) -> None:
    """Any number of weights, odd ones too."""
    rows, depth, units = (int(size) for size in build.rng.integers(1, [4, 30, 12]))
    x, scale = build.random_input((rows, depth)), filter_scales(build, units)
    w = int4(build, (units, depth), scale)
    inputs = [x, w, bias_for(build, x, scale, units)]
    build.op("FULLY_CONNECTED", inputs, [build.random_output((rows, units))], "FullyConnected")


@pytest.mark.parametrize("operator", [convolution, depthwise, dense])
def test_all_oracles(golden: Golden, operator: Callable[[ModelBuilder], None]) -> None:
    build = ModelBuilder(np.random.default_rng(4))
    for _ in range(12):
        operator(build)
    check_model(build.finish(), golden)


def test_the_first_of_two_is_in_the_low_half() -> None:
    build = ModelBuilder()
    x = build.input((1, 3), "int8", 0.5)
    w = build.constant([[-8, 7, 1]], "int4", 0.1)
    build.op("FULLY_CONNECTED", [x, w], [build.tensor((1, 1), "int8", 0.1)], "FullyConnected")
    assert build.buffers[-1].data.tolist() == [0x78, 0x01]
    data = tflite.read(build.finish(), "m").tensors[1].data
    assert data is not None and data.dtype == np.int8 and data.tolist() == [[-8, 7, 1]]
