from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_model, check_operator
from tests.weighted import (
    MOST_ELEMENTS,
    bias_for,
    filter_scales,
    generated,
    output_size,
    random_window,
    refused,
    weights_for,
)
from tinygen.errors import ToolError
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any channel multiplier, stride, dilation and padding, per tensor or per channel, with and without bias."""
    if len(x.shape) != 4:
        return False
    batch, height, width, depth = x.shape
    window = random_window(build, height, width)
    filters = depth * build.pick([1, 1, 1, 2, 3, 8])
    shape = (batch, *output_size(window, height, width), filters)
    if np.prod(shape) > MOST_ELEMENTS:
        return False
    scale = filter_scales(build, filters)
    w = weights_for(build, (1, *window.kernel, filters), scale, axis=3)
    bias = [] if build.chance(0.2) else [bias_for(build, x, scale, filters)]
    options = {**window.options(), "depthMultiplier": filters // depth}
    build.op("DEPTHWISE_CONV_2D", [x, w, *bias], [build.random_output(shape)], "DepthwiseConv2D", **options)
    return True


@pytest.mark.parametrize("seed", range(4))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden)


def depthwise(
    x: tuple[int, ...] = (1, 4, 4, 2),
    weights: Any = (1, 3, 3, 4),
    y: tuple[int, ...] = (1, 4, 4, 4),
    bias: Any = 0,
    weights_options: dict[str, Any] | None = None,
    y_scale: float = 0.1,
    build: ModelBuilder | None = None,
    **options: int,
) -> ModelBuilder:
    """One convolution with stride 1 and SAME padding; `bias` is its values, None when -1 stands for it."""
    build = build or ModelBuilder()
    data = build.rng.integers(-128, 128, weights) if isinstance(weights, tuple) else weights
    source = build.input(x, "int8", 0.5, -3)
    w = build.constant(data, "int8", **{"scale": 0.01, **(weights_options or {})})
    values = None if bias is None else np.broadcast_to(bias, y[-1:])
    b = None if values is None else build.constant(values, "int32", 0.5 * np.float32(0.01))
    output = build.tensor(y, "int8", y_scale, 5)
    fields = {"strideH": 1, "strideW": 1, "padding": 0, "depthMultiplier": 1, **options}
    build.op("DEPTHWISE_CONV_2D", [source, w, b], [output], "DepthwiseConv2D", **fields)
    return build


@pytest.mark.parametrize("weight", [-128, 127])
def test_weights_and_biases_at_their_ends(golden: Golden, weight: int) -> None:
    reach = 9 * 128 * 130
    biases = [2**31 - 1 - reach, reach + 1 - 2**31, 0, 1]
    check_model(depthwise(weights=np.full((1, 3, 3, 4), weight), bias=biases, y_scale=8e4).finish(), golden)


@pytest.mark.parametrize("multiplier", [1, 2, 5])
@pytest.mark.parametrize("depth", [1, 3])
def test_multiplier_follows_from_the_shapes(golden: Golden, depth: int, multiplier: int) -> None:
    filters = depth * multiplier
    build = depthwise((2, 5, 4, depth), (1, 3, 2, filters), (2, 5, 4, filters), depthMultiplier=7)
    check_model(build.finish(), golden)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 2), (2, 7)])
def test_kernel_larger_than_its_input(golden: Golden, kernel: tuple[int, int]) -> None:
    build = ModelBuilder()
    for height, width in ((1, 1), (1, 6), (2, 1)):
        shape = (1, height, width, 4)
        depthwise((1, height, width, 2), (1, *kernel, 4), shape, build=build, dilationHFactor=2, dilationWFactor=3)
    check_model(build.finish(), golden)


def test_bias_absent_as_index_minus_1(golden: Golden) -> None:
    data = depthwise(bias=None).finish()
    with pytest.raises(ToolError, match="refuses"):
        check_model(data, golden)
    check_model(data, None)
    assert "bias" not in generated(data)


def test_filters_that_do_not_fit() -> None:
    text = "the filters do not fit the channels, found 2 channels, filters [1, 3, 3, 3], expected filters [1, height"
    refused(depthwise(weights=(1, 3, 3, 3), y=(1, 4, 4, 3)), text)
    refused(depthwise(weights=(2, 3, 3, 4)), "found 2 channels, filters [2, 3, 3, 4]")
    refused(depthwise(weights=(3, 3, 4)), "has the wrong rank, found shape [3, 3, 4], expected rank 4")
    refused(depthwise(y=(1, 4, 4, 2)), "bias has the wrong size, found 2, expected 4")
    refused(depthwise(bias=None, y=(1, 4, 4, 2)), "has the wrong shape, found [1, 4, 4, 2], expected [1, 4, 4, 4]")
    refused(depthwise(x=(1, 2, 4, 2), padding=1), "VALID window is larger than its input, found 3 over 2")


def test_scales_along_another_axis() -> None:
    axis = {"scale": [0.01, 0.02, 0.03], "zero_point": [0, 0, 0], "axis": 1}
    refused(depthwise(weights_options=axis), "weights are scaled along the wrong axis, found 1, expected 3")


def test_activations_that_do_not_limit() -> None:
    refused(depthwise(fusedActivationFunction=5), "fused activation is not supported, found SIGN_BIT")
