"""PAD folded into the convolution that follows: where it may be, and that the results stay the interpreter's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_model
from tinygen import passes
from tinygen.frontend import tflite
from tinygen.ir import Graph
from tinygen.verify.golden import Golden

CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")
PADDINGS = ("SAME", "VALID")
DEPTH = 3


def after_passes(build: ModelBuilder) -> Graph:
    return passes.run(tflite.read(build.finish(), "test model"))


def pads_left(build: ModelBuilder) -> int:
    """How many PADs the passes leave."""
    return sum(node.op in ("pad", "padv2") for node in after_passes(build).nodes)


def source(build: ModelBuilder, height: int = 5, width: int = 6) -> Value:
    return build.input((1, height, width, DEPTH), "int8", 0.5, 17)


def pad(build: ModelBuilder, x: Value, amounts: Any, value: int | None = None) -> Value:
    """A PAD, or a PADV2 of `value`."""
    shape = [size + before + after for size, (before, after) in zip(x.shape, amounts, strict=True)]
    y = build.tensor(shape, "int8", x.scale, x.zero_point)
    inputs = [x, build.constant(amounts, "int32")]
    if value is not None:
        inputs.append(build.constant(value, "int8", x.scale, x.zero_point))
    build.op("PAD" if value is None else "PADV2", inputs, [y])
    return y


def convolve(
    build: ModelBuilder,
    name: str,
    x: Value,
    padding: str,
    kernel: tuple[int, int] = (3, 2),
    stride: tuple[int, int] = (1, 1),
    dilation: tuple[int, int] = (1, 1),
) -> Value:
    """A convolution over `x`, with any weights."""
    sizes = []
    for length, taps, step, gap in zip(x.shape[1:3], kernel, stride, dilation, strict=True):
        reach = 0 if padding == "SAME" else (taps - 1) * gap
        sizes.append(-(-(length - reach) // step))
    filters, options = 4, "Conv2D"
    shape: tuple[int, ...] = (filters, *kernel, DEPTH)
    if name == "DEPTHWISE_CONV_2D":
        filters, options = DEPTH * 2, "DepthwiseConv2D"
        shape = (1, *kernel, filters)
    w = build.constant(build.rng.integers(-128, 128, shape), "int8", 0.01)
    bias = build.constant(build.rng.integers(-5000, 5000, filters), "int32", 0.005)
    y = build.tensor((x.shape[0], *sizes, filters), "int8", 0.4, -6)
    fields = {"strideH": stride[0], "strideW": stride[1], "padding": PADDINGS.index(padding)}
    fields |= {"dilationHFactor": dilation[0], "dilationWFactor": dilation[1]}
    if name == "DEPTHWISE_CONV_2D":
        fields["depthMultiplier"] = 2
    build.op(name, [x, w, bias], [y], options, **fields)
    return y


def rows_and_columns(top: int, bottom: int, left: int, right: int) -> list[list[int]]:
    return [[0, 0], [top, bottom], [left, right], [0, 0]]


AMOUNTS = [(1, 1, 1, 1), (0, 1, 0, 1), (1, 0, 2, 0), (0, 3, 1, 2), (4, 4, 5, 5), (0, 0, 0, 0)]


@pytest.mark.parametrize("padding", PADDINGS)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_folds(golden: Golden, name: str, padding: str) -> None:
    """SAME goes on top of the rows and columns that the PAD adds: its odd one stays at the bottom and right."""
    build = ModelBuilder()
    for amounts in AMOUNTS:
        padded = rows_and_columns(*amounts)
        convolve(build, name, pad(build, source(build), padded), padding)
        convolve(build, name, pad(build, source(build), padded), padding, stride=(2, 3))
        convolve(build, name, pad(build, source(build), padded), padding, dilation=(2, 1))
        convolve(build, name, pad(build, source(build, 6, 5), padded), padding, kernel=(4, 4), stride=(3, 2))
    assert pads_left(build) == 0
    check_model(build.finish(), golden)


@pytest.mark.parametrize("seed", range(4))
def test_folds_at_random(golden: Golden, seed: int) -> None:
    build = ModelBuilder(np.random.default_rng(seed))
    for _ in range(20):
        height, width, *kernel = (int(size) for size in build.rng.integers(1, 7, 4))
        before = rows_and_columns(*(int(amount) for amount in build.rng.integers(0, 4, 4)))
        padded = pad(build, source(build, height, width), before)
        dilation = build.pick([(1, 1), (2, 1), (2, 3)])
        fits = all((k - 1) * d < n for k, d, n in zip(kernel, dilation, padded.shape[1:3], strict=True))
        stride = tuple(int(step) for step in build.rng.integers(1, 4, 2))
        padding = build.pick(PADDINGS) if fits else "SAME"
        convolve(build, build.pick(CONVOLUTIONS), padded, padding, (kernel[0], kernel[1]), stride, dilation)
    assert pads_left(build) == 0
    check_model(build.finish(), golden, seed)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_padv2_folds_when_it_adds_zero_points(golden: Golden, name: str) -> None:
    build = ModelBuilder()
    convolve(build, name, pad(build, source(build), rows_and_columns(1, 2, 0, 1), value=17), "VALID")
    assert pads_left(build) == 0
    check_model(build.finish(), golden)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_padv2_of_another_value_stays(golden: Golden, name: str) -> None:
    build = ModelBuilder()
    convolve(build, name, pad(build, source(build), rows_and_columns(1, 2, 0, 1), value=16), "VALID")
    convolve(build, name, pad(build, source(build), rows_and_columns(1, 2, 0, 1), value=-128), "SAME")
    assert pads_left(build) == 2
    check_model(build.finish(), golden)


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_pad_read_twice_stays(golden: Golden, name: str) -> None:
    build = ModelBuilder()
    padded = pad(build, source(build), rows_and_columns(1, 1, 1, 1))
    convolve(build, name, padded, "VALID")
    convolve(build, name, padded, "SAME")
    assert pads_left(build) == 1
    check_model(build.finish(), golden)


def test_a_pad_that_is_an_output_stays(golden: Golden) -> None:
    build = ModelBuilder()
    padded = pad(build, source(build), rows_and_columns(1, 1, 1, 1))
    data = build.finish([convolve(build, "CONV_2D", padded, "VALID"), padded])
    graph = passes.run(tflite.read(data, "test model"))
    assert [node.op for node in graph.nodes] == ["pad", "conv_2d"]
    check_model(data, golden)


@pytest.mark.parametrize("axis", [0, 3])
def test_a_pad_of_batch_or_channels_stays(golden: Golden, axis: int) -> None:
    build = ModelBuilder()
    x = build.input((1, 5, 6, DEPTH - (axis == 3)), "int8", 0.5, 17)
    amounts = rows_and_columns(1, 1, 1, 1)
    amounts[axis] = [0, 1]
    convolve(build, "CONV_2D", pad(build, x, amounts), "VALID")
    assert pads_left(build) == 1
    check_model(build.finish(), golden)


def test_two_pads_in_a_row_fold(golden: Golden) -> None:
    build = ModelBuilder()
    once = pad(build, source(build), rows_and_columns(1, 0, 2, 0))
    convolve(build, "CONV_2D", pad(build, once, rows_and_columns(0, 3, 1, 1)), "SAME", stride=(2, 2))
    assert pads_left(build) == 0
    check_model(build.finish(), golden)


def test_a_pad_before_another_operator_stays(golden: Golden) -> None:
    build = ModelBuilder()
    padded = pad(build, source(build), rows_and_columns(1, 1, 1, 1))
    y = build.tensor((1, 6, 7, DEPTH), "int8", 0.5, 17)
    fields = {"strideH": 1, "strideW": 1, "padding": 1, "filterHeight": 2, "filterWidth": 2}
    build.op("MAX_POOL_2D", [padded], [y], "Pool2D", **fields)
    assert pads_left(build) == 1
    check_model(build.finish(), golden)
