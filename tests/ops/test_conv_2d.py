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
    """Any stride, dilation, padding, grouping, per tensor or per channel."""
    if len(x.shape) != 4:
        return False
    batch, height, width, depth = x.shape
    window = random_window(build, height, width)
    groups = build.pick([g for g in range(1, depth + 1) if depth % g == 0]) if build.chance(0.3) else 1
    filters = int(build.rng.integers(1, 9)) * groups
    shape = (batch, *output_size(window, height, width), filters)
    if np.prod(shape) > MOST_ELEMENTS:
        return False
    scale = filter_scales(build, filters)
    w = weights_for(build, (filters, *window.kernel, depth // groups), scale)
    bias = bias_for(build, x, scale, filters)
    build.op("CONV_2D", [x, w, bias], [build.random_output(shape)], "Conv2D", **window.options())
    return True


@pytest.mark.parametrize("seed", range(4))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden)


def conv(
    x: tuple[int, ...] = (1, 4, 4, 2),
    weights: Any = (3, 3, 3, 2),
    y: tuple[int, ...] = (1, 4, 4, 3),
    bias: Any = 0,
    weights_options: dict[str, Any] | None = None,
    bias_options: dict[str, Any] | None = None,
    y_scale: float = 0.1,
    build: ModelBuilder | None = None,
    **options: int,
) -> ModelBuilder:
    """One convolution with stride 1 and SAME padding; `bias` is its values, None for index -1, () when left out."""
    build = build or ModelBuilder()
    data = build.rng.integers(-128, 128, weights) if isinstance(weights, tuple) else weights
    source = build.input(x, "int8", 0.5, -3)
    w = build.constant(data, "int8", **{"scale": 0.01, **(weights_options or {})})
    inputs: list[Value | None] = [source, w]
    if bias is None:
        inputs.append(None)
    elif not isinstance(bias, tuple):
        values = np.broadcast_to(bias, y[-1]) if np.ndim(bias) == 0 else bias
        inputs.append(build.constant(values, "int32", **{"scale": 0.5 * np.float32(0.01), **(bias_options or {})}))
    output = build.tensor(y, "int8", y_scale, 5)
    build.op("CONV_2D", inputs, [output], "Conv2D", **{"strideH": 1, "strideW": 1, "padding": 0, **options})
    return build


@pytest.mark.parametrize("weight", [-128, 127])
def test_weights_and_biases_at_their_ends(golden: Golden, weight: int) -> None:
    weights = np.full((3, 3, 3, 2), weight)
    reach = 18 * 128 * 130
    check_model(conv(weights=weights, bias=[2**31 - 1 - reach, reach + 1 - 2**31, 0], y_scale=8e4).finish(), golden)


@pytest.mark.parametrize(("groups", "multiple"), [(2, 1), (3, 2), (6, 1), (6, 4)])
def test_groups(golden: Golden, groups: int, multiple: int) -> None:
    filters = groups * multiple
    check_model(conv((2, 5, 4, 6), (filters, 3, 2, 6 // groups), (2, 5, 4, filters)).finish(), golden)


@pytest.mark.parametrize("kernel", [(1, 1), (3, 3), (5, 2), (2, 7)])
def test_kernel_larger_than_its_input(golden: Golden, kernel: tuple[int, int]) -> None:
    build = ModelBuilder()
    for height, width in ((1, 1), (1, 6), (2, 1)):
        shape = (1, height, width, 3)
        conv((1, height, width, 2), (3, *kernel, 2), shape, build=build, dilationHFactor=2, dilationWFactor=3)
    check_model(build.finish(), golden)


@pytest.mark.parametrize("bias", [None, ()], ids=["index -1", "left out"])
def test_without_bias(golden: Golden, bias: Any) -> None:
    data = conv(bias=bias).finish()
    with pytest.raises(ToolError, match="refuses"):
        check_model(data, golden)
    check_model(data, None)
    assert "bias" not in generated(data)


def test_a_bias_without_scale_is_accepted(golden: Golden) -> None:
    check_model(conv(bias=7, bias_options={"scale": None}).finish(), golden)


def test_no_test_for_padding_that_is_not_there() -> None:
    assert "continue" not in generated(conv(y=(1, 2, 2, 3), padding=1).finish())
    assert "continue" in generated(conv().finish())


def test_channels_that_do_not_fit() -> None:
    refused(conv(weights=(3, 3, 3, 5)), "channels do not divide into groups, found 2 input channels, 5 a filter")
    refused(conv((1, 4, 4, 4)), "channels do not divide into groups, found 4 input channels, 2 a filter, 3 filters")


def test_shapes_that_do_not_fit() -> None:
    refused(conv(weights=(3, 3, 6)), "has the wrong rank, found shape [3, 3, 6], expected rank 4")
    refused(conv((4, 4, 2)), "has the wrong rank, found shape [4, 4, 2], expected rank 4")
    refused(conv(y=(1, 4, 3, 3)), "has the wrong shape, found [1, 4, 3, 3], expected [1, 4, 4, 3]")
    refused(conv((1, 2, 4, 2), y=(1, 1, 2, 3), padding=1), "VALID window is larger than its input, found 3 over 2")
    refused(conv(dilationHFactor=2**30), "window reaches too far")
    refused(conv(weights=np.zeros((3, 0, 3, 2))), "has no elements")


def test_a_bias_that_does_not_fit() -> None:
    refused(conv(bias=[1, 2]), "bias has the wrong size, found 2, expected 3")
    wrong = "has the wrong scale (channel 0), found 0.01, expected input scale * weight scale = 0.005"
    refused(conv(bias_options={"scale": 0.01}), wrong)
    scales = [0.005, 0.005, 0.006]
    refused(
        conv(bias_options={"scale": scales, "zero_point": [0, 0, 0]}), "has the wrong scale (channel 2), found 0.006"
    )
    refused(conv(bias_options={"zero_point": 1}), "bias needs zero point 0, found 1")
    halves = {"scale": [0.005, 0.005], "zero_point": [0, 0], "axis": 0}
    refused(
        conv((1, 4, 4, 1), (4, 1, 1, 1), (1, 4, 4, 4), np.zeros((2, 2)), None, halves),
        "wrong number of scales, found 2",
    )


def test_weights_that_do_not_fit() -> None:
    refused(conv(weights_options={"zero_point": 1}), "weights need zero point 0, found 1")
    refused(conv(weights_options={"scale": None}), "have no scale")
    axis = {"scale": [0.01, 0.02], "zero_point": [0, 0], "axis": 3}
    refused(conv(weights_options=axis), "weights are scaled along the wrong axis, found 3, expected 0")
    refused(conv(weights_options={"scale": 1e31}), "a scale of the weights is out of range")


def test_weights_must_be_known() -> None:
    build = ModelBuilder()
    x, w = build.input((1, 4, 4, 2), "int8", 0.5), build.input((3, 1, 1, 2), "int8", 0.01)
    build.op("CONV_2D", [x, w], [build.tensor((1, 4, 4, 3), "int8", 0.1)], "Conv2D", strideH=1, strideW=1)
    refused(build, "input 1 ('t1') must be known at compile time")


def test_sums_that_leave_32_bits() -> None:
    refused(conv(bias=2**31 - 1), "can leave 32 bits, found 2")
    refused(conv(bias=-(2**31)), "can leave 32 bits, found 2")
    refused(conv(bias=2**30, y_scale=0.001), "e+09, expected <= 1073741824")


def test_activations_that_do_not_limit() -> None:
    refused(conv(fusedActivationFunction=4), "fused activation is not supported, found TANH, expected NONE, RELU")
