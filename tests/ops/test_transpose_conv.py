from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_model, check_operator
from tests.weighted import MOST_ELEMENTS, bias_for, filter_scales, random_window, refused, weights_for
from tinygen.verify.golden import Golden


def emit(build: ModelBuilder, x: Value) -> bool:
    """Any stride, padding and output size, per tensor or per channel, with and without bias."""
    if len(x.shape) != 4:
        return False
    batch, height, width, depth = x.shape
    window = random_window(build, height, width, dilated=False)
    filters = int(build.rng.integers(1, 6))
    size = []
    for length, stride, kernel in zip((height, width), window.stride, window.kernel, strict=True):
        size.append((length - 1) * stride + (1 if window.same else kernel) + int(build.rng.integers(stride)))
    shape = (batch, *size, filters)
    if np.prod(shape) > MOST_ELEMENTS:
        return False
    scale = filter_scales(build, filters)
    w = weights_for(build, (filters, *window.kernel, depth), scale)
    bias = build.pick([[], [None], [bias_for(build, x, scale, filters)], [bias_for(build, x, scale, filters)]])
    wanted = build.constant(shape, "int32")
    options = {name: value for name, value in window.options().items() if "dilation" not in name}
    build.op("TRANSPOSE_CONV", [wanted, w, x, *bias], [build.random_output(shape)], "TransposeConv", **options)
    return True


@pytest.mark.parametrize("seed", range(4))
def test_random(golden: Golden, seed: int) -> None:
    check_operator(emit, seed, golden)


def transposed(
    x: tuple[int, ...] = (1, 3, 4, 2),
    weights: Any = (3, 3, 3, 2),
    y: tuple[int, ...] = (1, 6, 8, 3),
    bias: Any = 0,
    wanted: Any = None,
    weights_options: dict[str, Any] | None = None,
    build: ModelBuilder | None = None,
    **options: int,
) -> ModelBuilder:
    """One transposed convolution with stride 2 and SAME padding; `bias` is its values, None when -1 stands for it."""
    build = build or ModelBuilder()
    data = build.rng.integers(-128, 128, weights) if isinstance(weights, tuple) else weights
    shape = build.constant(y if wanted is None else wanted, "int32")
    w = build.constant(data, "int8", **{"scale": 0.01, **(weights_options or {})})
    source = build.input(x, "int8", 0.5, -3)
    b = None if bias is None else build.constant(np.broadcast_to(bias, w.shape[:1]), "int32", 0.5 * np.float32(0.01))
    output = build.tensor(y, "int8", 8e4 if np.any(bias) else 0.1, 5)
    fields = {"strideH": 2, "strideW": 2, "padding": 0, **options}
    build.op("TRANSPOSE_CONV", [shape, w, source, b], [output], "TransposeConv", **fields)
    return build


@pytest.mark.parametrize("weight", [-128, 127])
def test_weights_and_biases_at_their_ends(golden: Golden, weight: int) -> None:
    reach = 18 * 128 * 130
    build = transposed(weights=np.full((3, 3, 3, 2), weight), bias=[2**31 - 1 - reach, reach + 1 - 2**31, 0])
    check_model(build.finish(), golden)


@pytest.mark.parametrize("padding", [0, 1])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_every_output_size_of_an_input(golden: Golden, padding: int, stride: int) -> None:
    """Sizes that a convolution shrinks to one input; where the stride exceeds the kernel, some outputs get nothing."""
    build = ModelBuilder()
    options = {"strideH": stride, "strideW": stride, "padding": padding}
    for kernel in (1, 2, 3, 6):
        for rest in range(stride):
            size = 2 * stride + (1 if padding == 0 else kernel) + rest
            transposed((1, 3, 3, 1), (2, kernel, kernel, 1), (1, size, size, 2), None, build=build, **options)
    check_model(build.finish(), golden)


def test_shapes_that_do_not_fit() -> None:
    refused(transposed(weights=(3, 3, 3, 1)), "the filters do not fit the channels, found 2 channels")
    refused(transposed(wanted=(1, 6, 8)), "the output shape does not fit the input and the filters, found [1, 6, 8]")
    refused(transposed(wanted=(2, 6, 8, 3)), "found [2, 6, 8, 3], expected [1, height, width, 3]")
    refused(transposed(wanted=(1, 6, 7, 3)), "has the wrong shape, found [1, 6, 8, 3], expected [1, 6, 7, 3]")
    refused(transposed(y=(1, 7, 8, 3)), "found input [3, 4], expected [4, 4], what a convolution leaves of [7, 8]")
    refused(transposed(y=(1, 2, 8, 3), padding=1), "VALID window is larger than its input, found 3 over 2")
    refused(transposed((1, 1, 1, 2), strideH=2**20), "stride is out of range")


def test_output_shape_must_be_known() -> None:
    build = ModelBuilder()
    shape, x = build.input((4,), "int32"), build.input((1, 2, 2, 1), "int8", 0.5)
    w, y = build.constant(np.ones((1, 1, 1, 1)), "int8", 0.1), build.tensor((1, 2, 2, 1), "int8", 0.5)
    build.op("TRANSPOSE_CONV", [shape, w, x], [y], "TransposeConv", strideH=1, strideW=1)
    refused(build, "input 0 ('t0') must be known at compile time")


def test_weights_that_do_not_fit() -> None:
    refused(transposed(weights_options={"zero_point": 1}), "weights need zero point 0, found 1")
    refused(transposed(fusedActivationFunction=4), "fused activation is not supported, found TANH")


def test_missing_inputs() -> None:
    build = transposed()
    build.operators[0].inputs = [-1, *build.operators[0].inputs[1:]]
    refused(build, "input 0 is missing")
    build.operators[0].inputs = build.operators[0].inputs[:2]
    refused(build, "wrong number of inputs, found 2, expected 3 to 4")
