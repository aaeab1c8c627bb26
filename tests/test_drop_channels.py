"""Channels that are constant or unread: which go, what takes their place, and that all that is left stays the same."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.channel_models import SCALE, activation, add, connect, convolve, random_network, weights
from tests.modelbuilder import ModelBuilder, Value
from tests.oracles import check_model
from tinygen import ops, passes, reference
from tinygen.driver import Model, compile_model
from tinygen.errors import ModelError
from tinygen.frontend import tflite
from tinygen.ir import Array, Graph
from tinygen.ops import lookup
from tinygen.passes.channel_ranges import channel_ranges
from tinygen.passes.check import check
from tinygen.quant import Numerics
from tinygen.verify.golden import Golden
from tinygen.verify.samples import random_samples

ZERO, CONSTANT = 3, 43
"""The zero point of the activations, and the value that BIAS gives a filter of zeros."""


def source(build: ModelBuilder, channels: int = 4, size: int = 5, zero_point: int = ZERO) -> Value:
    return build.input((1, size, size, channels), "int8", SCALE, zero_point)


def bias_for(value: int, scale: float, zero_point: int = ZERO) -> int:
    """The bias with which a filter of zeros gives `value`."""
    return round((value - zero_point) / scale)


def with_constant(build: ModelBuilder, x: Value, at: int = 1, filters: int = 4, value: int = CONSTANT) -> Value:
    """A pointwise convolution of x, channel `at` of which is always `value`."""
    scale = 0.01
    matrix, bias = weights(build, filters, 1, 1, x.shape[3]), build.rng.integers(-500, 500, filters)
    matrix[at], bias[at] = 0, bias_for(value, scale)
    return convolve(build, x, matrix, bias, scale=scale)


def run_all(data: bytes, profiles: tuple[Numerics, ...] = tuple(Numerics), samples: int = 6) -> Graph:
    """The graph after the passes, whose every value is the file's graph's, for `profiles` one by one and together."""
    graph = tflite.read(data, "test model")
    for together in (*((one,) for one in profiles), profiles):
        done = check(passes.run(graph, together))
        computed = [i for node in done.nodes for i in node.outputs] + list(done.outputs)
        for sample in random_samples(graph, samples):
            for numerics in together:
                before, after = reference.run(graph, sample, numerics), reference.run(done, sample, numerics)
                for i in computed:
                    np.testing.assert_array_equal(after[i], done.tensors[i].part_of(before[i]), str(done.tensors[i]))
        assert all(done.tensors[i].channels is None for i in (*done.inputs, *done.outputs))
    return done


def channels_of(graph: Graph, value: Value) -> tuple[int, ...] | None:
    """The channels that are left of a value of the file: None all, () none."""
    tensor = graph.tensors.get(value.index)
    return () if tensor is None or tensor.data is not None else tensor.channels


def constants_of(graph: Graph, value: Value) -> list[Array]:
    """Weights and bias of the node that computes it."""
    node = graph.nodes[graph.producers()[value.index]]
    return [data for i in node.inputs[1:] if (data := graph.tensors[i].data) is not None]


@pytest.mark.parametrize("stride", [1, 2])
def test_a_constant_becomes_part_of_the_next_bias(stride: int) -> None:
    build = ModelBuilder()
    x = with_constant(build, source(build))
    filters, bias = weights(build, 2, 3, 2, 4), np.array([100, -200])
    y = convolve(build, x, filters, bias, padding="VALID", stride=stride)
    done = run_all(build.finish())
    assert channels_of(done, x) == (0, 2, 3)
    left, new_bias = constants_of(done, y)
    np.testing.assert_array_equal(left, filters[..., [0, 2, 3]])
    np.testing.assert_array_equal(new_bias, bias + filters[..., 1].sum(axis=(1, 2)) * (CONSTANT - ZERO))


@pytest.mark.parametrize("value", [ZERO, CONSTANT])
def test_a_layer_gets_a_bias_only_when_it_needs_one(value: int) -> None:
    build = ModelBuilder()
    x = with_constant(build, source(build), value=value)
    y = convolve(build, x, weights(build, 2, 1, 1, 4))
    done = run_all(build.finish())
    assert channels_of(done, x) == (0, 2, 3)
    assert len(constants_of(done, y)) == (1 if value == ZERO else 2)


@pytest.mark.parametrize(
    ("kernel", "stride", "value", "folds"),
    [
        ((3, 3), 1, CONSTANT, False),
        ((3, 3), 1, ZERO, True),
        ((1, 2), 1, CONSTANT, False),
        ((1, 1), 1, CONSTANT, True),
        ((1, 1), 2, CONSTANT, True),
        ((2, 2), 2, CONSTANT, False),
        ((3, 3), 1, ZERO + 1, False),
    ],
)
def test_same_padding_reads_the_zero_point(kernel: tuple[int, int], stride: int, value: int, folds: bool) -> None:
    """A constant folds only where no window sees the border, or where it is what the border shows."""
    build = ModelBuilder()
    x = with_constant(build, source(build), value=value)
    convolve(build, x, weights(build, 2, *kernel, 4), [5, 6], stride=stride)
    assert channels_of(run_all(build.finish()), x) == ((0, 2, 3) if folds else None)


def test_same_padding_that_pads_nothing_folds() -> None:
    build = ModelBuilder()
    x = with_constant(build, source(build, size=6))
    convolve(build, x, weights(build, 2, 2, 2, 4), [5, 6], stride=2)
    assert channels_of(run_all(build.finish()), x) == (0, 2, 3)


def test_a_folded_pad_is_a_border() -> None:
    """PAD goes into the VALID convolution first: its windows then see zero points."""
    build = ModelBuilder()
    x = with_constant(build, source(build))
    padded = activation(build, (1, 6, 6, 4))
    build.op("PAD", [x, build.constant([[0, 0], [1, 0], [0, 1], [0, 0]], "int32")], [padded])
    convolve(build, padded, weights(build, 2, 1, 1, 4), [5, 6], padding="VALID")
    done = run_all(build.finish())
    assert [node.op for node in done.nodes] == ["conv_2d", "conv_2d"]
    assert channels_of(done, x) is None


def depthwise_between(
    build: ModelBuilder, value: int, padding: str, multiplier: int = 1, **options: Any
) -> tuple[Value, Value, Array]:
    """(constant channel, depthwise, pointwise weights): channel 1 is `value` before the depthwise."""
    x = with_constant(build, source(build), value=value)
    y = convolve(
        build,
        x,
        weights(build, 1, 3, 3, 4 * multiplier),
        options.pop("bias", build.rng.integers(-500, 500, 4 * multiplier)),
        "DEPTHWISE_CONV_2D",
        padding,
        **options,
    )
    return x, y, weights(build, 3, 1, 1, 4 * multiplier)


@pytest.mark.parametrize(
    ("value", "padding", "folds"), [(CONSTANT, "VALID", True), (CONSTANT, "SAME", False), (ZERO, "SAME", True)]
)
def test_constants_pass_through_a_depthwise(value: int, padding: str, folds: bool) -> None:
    build = ModelBuilder()
    x, y, pointwise = depthwise_between(build, value, padding)
    convolve(build, y, pointwise, [1, 2, 3])
    done = run_all(build.finish())
    assert channels_of(done, x) == channels_of(done, y) == ((0, 2, 3) if folds else None)


def test_a_border_that_comes_out_equal_folds() -> None:
    """All windows of the channel end at the lower limit of RELU, with the border or without."""
    build = ModelBuilder()
    bias = np.array([0, -(10**6), 0, 0])
    x, y, pointwise = depthwise_between(build, CONSTANT, "SAME", bias=bias, fused=1)
    convolve(build, y, pointwise, [1, 2, 3])
    done = run_all(build.finish())
    assert channels_of(done, x) == channels_of(done, y) == (0, 2, 3)


def test_a_channel_that_no_weight_reads_goes() -> None:
    """Not constant behind the padded depthwise, but unread: all three layers lose it."""
    build = ModelBuilder()
    x, y, pointwise = depthwise_between(build, CONSTANT, "SAME")
    pointwise[..., 1] = 0
    z = convolve(build, y, pointwise, [1, 2, 3])
    done = run_all(build.finish())
    assert channels_of(done, x) == channels_of(done, y) == (0, 2, 3)
    np.testing.assert_array_equal(constants_of(done, z)[1], [1, 2, 3])


def test_multiplier_ties_its_filters() -> None:
    """One filter of a channel alone cannot go; both can."""
    build = ModelBuilder()
    x, y, pointwise = depthwise_between(build, CONSTANT, "SAME", multiplier=2)
    pointwise[..., [0, 4, 5]] = 0
    convolve(build, y, pointwise, [1, 2, 3])
    done = run_all(build.finish())
    assert channels_of(done, x) == (0, 1, 3)
    assert channels_of(done, y) == (0, 1, 2, 3, 6, 7)


def test_filters_over_a_single_channel_are_free() -> None:
    build = ModelBuilder()
    filters = weights(build, 1, 3, 3, 6)
    filters[..., 2] = 0
    y = convolve(build, source(build, 1), filters, [9, 8, 700, 6, 5, 4], "DEPTHWISE_CONV_2D")
    convolve(build, y, weights(build, 2, 1, 1, 6), [1, 2])
    assert channels_of(run_all(build.finish()), y) == (0, 1, 3, 4, 5)


def test_a_filter_that_never_leaves_its_limit_is_constant() -> None:
    """Its weights are not 0, but no input lifts it above RELU's end."""
    build = ModelBuilder()
    x = convolve(build, source(build), weights(build, 3, 3, 3, 4), [10, -(10**6), 20], fused=1)
    convolve(build, x, weights(build, 2, 3, 3, 3), [1, 2])
    assert channels_of(run_all(build.finish()), x) == (0, 2)


def test_needs_are_followed_to_the_end() -> None:
    """The last layer does not read channel 0; only it reads what channel 2 before, and that channel 1 of the first."""
    build = ModelBuilder()
    third = weights(build, 3, 1, 1, 3)
    third[:, ..., 0] = 0
    second = weights(build, 3, 3, 3, 3)
    second[1:, ..., 2] = 0
    first = weights(build, 3, 3, 3, 3)
    first[:2, ..., 1] = 0
    a = convolve(build, source(build), weights(build, 3, 3, 3, 4), [1, 2, 3])
    b = convolve(build, a, first, [1, 2, 3])
    c = convolve(build, b, second, [1, 2, 3])
    convolve(build, c, third, [1, 2, 3])
    done = run_all(build.finish())
    assert [channels_of(done, value) for value in (a, b, c)] == [(0, 2), (0, 1), (1, 2)]


def test_per_channel_scales_stay_with_their_filters() -> None:
    build = ModelBuilder()
    scales = [0.01, 0.02, 0.03, 0.04]
    matrix = weights(build, 4, 1, 1, 4)
    matrix[2] = 0
    x = convolve(build, source(build), matrix, [1, 2, 900, 4], scale=scales)
    y = convolve(build, x, weights(build, 1, 3, 3, 4), [5, 6, 7, 8], "DEPTHWISE_CONV_2D", "VALID", scale=scales)
    convolve(build, y, weights(build, 3, 1, 1, 4), scale=scales[:3])
    done = run_all(build.finish())
    assert channels_of(done, x) == channels_of(done, y) == (0, 1, 3)
    for node, count in zip(done.nodes, (3, 3, 3), strict=True):
        for i in node.inputs[1:]:
            quant = done.tensors[i].quant
            assert quant is not None and len(quant.scale) == count
    weights_quant = done.tensors[done.nodes[1].inputs[1]].quant
    assert weights_quant is not None
    np.testing.assert_allclose(weights_quant.scale, [0.01, 0.02, 0.04], rtol=1e-6)


def test_inputs_and_outputs_keep_their_channels() -> None:
    build = ModelBuilder()
    filters = weights(build, 4, 1, 1, 4)
    filters[..., 0] = 0
    x = convolve(build, source(build), filters, [0, 0, 0, 0])
    y = with_constant(build, x)
    z = convolve(build, y, weights(build, 2, 1, 1, 4), [1, 2])
    done = run_all(build.finish([y, z]))
    assert [done.tensors[i].shape[-1] for i in (*done.inputs, *done.outputs)] == [4, 4, 2]


def test_a_residual_sum_narrows_alike_or_not_at_all() -> None:
    """Channel 1 is unread behind the sum; channel 2 also, but a second reader of one operand wants it."""
    build = ModelBuilder()
    x = with_constant(build, source(build), at=1)
    y = convolve(build, x, weights(build, 4, 1, 1, 4), [1, 2, 3, 4])
    total = add(build, x, y)
    behind = weights(build, 2, 3, 3, 4)
    behind[..., [1, 2]] = 0
    beside = np.zeros((1, 3, 3, 4), int)
    beside[..., 2] = 1
    convolve(build, total, behind, [1, 2])
    convolve(build, y, beside, [1])
    done = run_all(build.finish())
    assert [channels_of(done, value) for value in (x, y, total)] == [(0, 2, 3)] * 3


def test_a_constant_in_one_operand_stays() -> None:
    build = ModelBuilder()
    x = source(build)
    y = with_constant(build, x)
    total = add(build, convolve(build, x, weights(build, 4, 1, 1, 4)), y)
    convolve(build, total, weights(build, 2, 3, 3, 4), [1, 2])
    done = run_all(build.finish())
    assert channels_of(done, y) is None and channels_of(done, total) is None


def test_two_readers_must_both_do_without() -> None:
    """The padded one cannot: the other then keeps the channel in its weights, and its bias."""
    build = ModelBuilder()
    x = with_constant(build, source(build))
    y = convolve(build, x, weights(build, 2, 1, 1, 4), [5, 6])
    convolve(build, x, weights(build, 2, 3, 3, 4), [7, 8])
    done = run_all(build.finish())
    assert channels_of(done, x) is None
    np.testing.assert_array_equal(constants_of(done, y)[1], [5, 6])


def test_a_layer_keeps_one_channel() -> None:
    """The second layer's only live filter is unread, and its constant cannot fold: it reads the first for nothing."""
    build = ModelBuilder()
    x = convolve(build, source(build), weights(build, 4, 3, 3, 4), [1, 2, 3, 4])
    y = with_constant(build, x, at=0, filters=2)
    last = weights(build, 2, 3, 3, 2)
    last[..., 1] = 0
    convolve(build, y, last, [1, 2])
    done = run_all(build.finish())
    assert channels_of(done, x) == channels_of(done, y) == (0,)


def test_everything_constant(golden: Golden) -> None:
    """The output is known, borders and all: no kernel is left."""
    build = ModelBuilder()
    x = convolve(build, source(build), np.zeros((4, 3, 3, 4)), [100, -200, 300, 5000])
    y = convolve(build, x, weights(build, 4, 3, 3, 4), [1, 2, 3, 4])
    convolve(build, y, weights(build, 1, 3, 3, 4), [500, 0, -500, 90], "DEPTHWISE_CONV_2D", stride=2)
    data = build.finish()
    done = run_all(data)
    values = done.tensors[done.outputs[0]].data
    assert not done.nodes and values is not None and len(np.unique(values[..., 0])) > 1
    check_model(data, golden)


@pytest.mark.parametrize(("biases", "table"), [([400, 400, 400, 400], True), ([100, -200, 300, 500], False)])
def test_a_residual_branch_that_is_constant(golden: Golden, biases: list[int], table: bool) -> None:
    """The sum takes a row of constants, or is a table; not the branch's whole tensor."""
    build = ModelBuilder()
    x = convolve(build, source(build), weights(build, 4, 3, 3, 4), [1, 2, 3, 4])
    total = add(build, x, convolve(build, x, np.zeros((4, 3, 3, 4)), biases))
    convolve(build, total, weights(build, 2, 3, 3, 4), [1, 2])
    data = build.finish()
    done = run_all(data)
    assert [node.op for node in done.nodes] == ["conv_2d", "add", "conv_2d"]
    assert [done.tensors[i].shape for i in done.nodes[1].inputs] == [(1, 5, 5, 4), (4,)]
    model = Model("test", data, tflite.read(data, "test model"))
    assert ("test_1_add_table[256]" in compile_model(model).files["src/test_data.c"]) is table
    check_model(data, golden)


def test_a_dense_layer_over_an_image() -> None:
    """Its columns count through height, width and channels: those of the constant go together."""
    build = ModelBuilder()
    x = with_constant(build, source(build, size=3))
    flat = activation(build, (1, 36))
    build.op("RESHAPE", [x, build.constant([1, 36], "int32")], [flat], "Reshape", newShape=[1, 36])
    matrix = weights(build, 5, 36)
    y = connect(build, flat, matrix, [1, 2, 3, 4, 5])
    z = connect(build, x, matrix[:3])
    done = run_all(build.finish())
    kept = np.arange(36) % 4 != 1
    assert channels_of(done, x) == (0, 2, 3) and channels_of(done, flat) == tuple(np.flatnonzero(kept).tolist())
    left, bias = constants_of(done, y)
    np.testing.assert_array_equal(left, matrix[:, kept])
    np.testing.assert_array_equal(bias, np.arange(1, 6) + matrix[:, ~kept].sum(axis=1) * (CONSTANT - ZERO))
    np.testing.assert_array_equal(constants_of(done, z)[0], matrix[:3, kept])


def test_a_dense_layer_over_part_of_a_pixel() -> None:
    """Rows of 2 and of 6 over 4 channels: columns stand for several channels, and only whole groups go."""
    build = ModelBuilder()
    x = with_constant(build, source(build, size=3))
    connect(build, x, weights(build, 3, 2), [1, 2, 3])
    groups = weights(build, 3, 6)
    groups[:, ::2] = 0
    alone = convolve(build, source(build, size=3), weights(build, 4, 1, 1, 4), [1, 2, 3, 4])
    connect(build, alone, groups, [1, 2, 3])
    done = run_all(build.finish())
    assert channels_of(done, x) is None
    assert channels_of(done, alone) == (1, 3)


def test_weights_at_their_zero_point_are_no_weights() -> None:
    """Unit 1 is constant and column 2 unread, though none of their weights is 0."""
    build = ModelBuilder()
    first, second = weights(build, 4, 6), weights(build, 3, 4)
    first[1], second[:, 2] = 7, 7
    x = connect(build, build.input((1, 6), "int8", SCALE, ZERO), first, [1, 900, 3, 4], weights_zero_point=7)
    y = connect(build, x, second, [1, 2, 3], weights_zero_point=7)
    done = run_all(build.finish())
    assert channels_of(done, x) == (0, 3)
    value = int(channel_ranges(tflite.read(build.finish(), "test model"))[x.index][0, 1])
    np.testing.assert_array_equal(constants_of(done, y)[1], [1, 2, 3] + (second[:, 1] - 7) * (value - ZERO))


def table(name: str, **fields: Any) -> Any:
    return lambda build, x: build.op(name, [x], [activation(build, x.shape)], **fields)[0]


def pooled(name: str) -> Any:
    fields = {"strideH": 1, "strideW": 2, "padding": 0, "filterHeight": 3, "filterWidth": 2}
    return lambda build, x: build.op(name, [x], [activation(build, (1, 5, 3, 4))], "Pool2D", **fields)[0]


def binary(name: str, operand: Any) -> Any:
    def emit(build: ModelBuilder, x: Value) -> Value:
        other = build.constant(operand, "int8", SCALE, 5)
        options = {"PRELU": None, "MAXIMUM": "MaximumMinimum"}.get(name, name.title())
        return build.op(name, [x, other], [activation(build, x.shape)], options)[0]

    return emit


def mean(build: ModelBuilder, x: Value) -> Value:
    y = activation(build, (1, 1, 1, 4), 5)
    return build.op("MEAN", [x, build.constant([1, 2], "int32")], [y], "Reducer", keepDims=True)[0]


def padded_with_itself(build: ModelBuilder, x: Value) -> Value:
    amounts, value = build.constant([[0, 0], [1, 0], [0, 1], [0, 0]], "int32"), build.constant(43, "int8", SCALE, ZERO)
    return build.op("PADV2", [x, amounts, value], [activation(build, (1, 6, 6, 4))])[0]


def enlarged(build: ModelBuilder, x: Value) -> Value:
    y, size = activation(build, (1, 8, 9, 4)), build.constant([8, 9], "int32")
    return build.op("RESIZE_NEAREST_NEIGHBOR", [x, size], [y], "ResizeNearestNeighbor")[0]


def below_itself(build: ModelBuilder, x: Value) -> Value:
    y = activation(build, (1, 10, 5, 4))
    return build.op("CONCATENATION", [x, x], [y], "Concatenation", axis=-3)[0]


SLOPES = [[[20, -30, 40, 50]]]
BETWEEN = {
    "relu": table("RELU"),
    "abs": table("ABS"),
    "hard_swish": table("HARD_SWISH"),
    "quantize": table("QUANTIZE"),
    "max_pool": pooled("MAX_POOL_2D"),
    "average_pool": pooled("AVERAGE_POOL_2D"),
    "add a row": binary("ADD", [[[[9, 8, 7, 6]]]]),
    "mul by one number": binary("MUL", [9]),
    "sub a tensor of rows": binary("SUB", np.broadcast_to([9, 8, 7, 6], (1, 5, 5, 4))),
    "maximum": binary("MAXIMUM", [[9, 8, 7, 6]]),
    "prelu": binary("PRELU", SLOPES),
    "mean": mean,
    "padv2": padded_with_itself,
    "resize": enlarged,
    "concatenation": below_itself,
}


@pytest.mark.parametrize("name", BETWEEN)
def test_constants_pass_through(name: str) -> None:
    """The operator between loses the channel, its parameters too, and the one behind takes up the constant."""
    build = ModelBuilder()
    x = with_constant(build, source(build))
    if name == "maximum":
        x = build.op("QUANTIZE", [x], [build.tensor(x.shape, "int8", SCALE, 5)])[0]
    y = BETWEEN[name](build, x)
    convolve(build, y, weights(build, 2, 1, 1, 4), [1, 2])
    done = run_all(build.finish())
    assert channels_of(done, x) == channels_of(done, y) == (0, 2, 3)


def test_a_pad_of_another_value_makes_a_border() -> None:
    build = ModelBuilder()
    x = with_constant(build, source(build), value=42)
    y = padded_with_itself(build, x)
    convolve(build, y, weights(build, 2, 1, 1, 4), [1, 2])
    assert channels_of(run_all(build.finish()), y) is None


def test_channels_side_by_side() -> None:
    """Each channel of a concatenation comes from one input, which loses what nobody reads; so does a constant input."""
    build = ModelBuilder()
    x, y = with_constant(build, source(build), at=1), with_constant(build, source(build), at=3)
    fixed = build.constant(np.broadcast_to([1, 2], (1, 5, 5, 2)), "int8", SCALE, ZERO)
    joined = activation(build, (1, 5, 5, 10))
    build.op("CONCATENATION", [x, fixed, y], [joined], "Concatenation", axis=3)
    filters = weights(build, 2, 1, 1, 10)
    filters[..., [0, 6]] = 0
    convolve(build, joined, filters, [1, 2])
    done = run_all(build.finish())
    assert channels_of(done, x) == (2, 3) and channels_of(done, y) == (1, 2)


def grouped(build: ModelBuilder, x: Value) -> Value:
    return convolve(build, x, weights(build, 6, 1, 1, 2), [1, 2, 3, 4, 5, 6])


def with_more_channels(build: ModelBuilder, x: Value) -> Value:
    amounts = build.constant([[0, 0], [0, 0], [0, 0], [1, 0]], "int32")
    return build.op("PAD", [x, amounts], [activation(build, (1, 5, 5, 5))])[0]


def mean_of_channels(build: ModelBuilder, x: Value) -> Value:
    axes = build.constant([1, -1], "int32")
    return build.op("MEAN", [x, axes], [activation(build, (1, 1, 5, 1), 5)], "Reducer", keepDims=True)[0]


def turned(build: ModelBuilder, x: Value) -> Value:
    order = build.constant([0, 3, 1, 2], "int32")
    return build.op("TRANSPOSE", [x, order], [activation(build, (1, 4, 5, 5))])[0]


@pytest.mark.parametrize("emit", [grouped, with_more_channels, mean_of_channels, turned], ids=lambda f: f.__name__)
def test_operators_that_mix_channels_need_all(emit: Any) -> None:
    build = ModelBuilder()
    x = with_constant(build, source(build))
    y = emit(build, x)
    filters = weights(build, 2, 1, 1, y.shape[3])
    filters[..., 1:] = 0
    convolve(build, y, filters, [1, 2])
    done = run_all(build.finish())
    assert channels_of(done, x) is None and channels_of(done, y) is None


def test_a_difference_of_equal_ranges_is_not_constant() -> None:
    """Both operands have any value, but not the same one."""
    build = ModelBuilder()
    first, second = (convolve(build, source(build), weights(build, 4, 1, 1, 4), [1, 2, 3, 4]) for _ in range(2))
    y = activation(build, first.shape)
    build.op("SUB", [first, second], [y], "Sub")
    convolve(build, y, weights(build, 2, 1, 1, 4), [1, 2])
    assert channels_of(run_all(build.finish()), y) is None


def test_a_fused_activation_of_a_pool_limits_the_constant() -> None:
    build = ModelBuilder()
    x = with_constant(build, source(build), value=-20)
    y = activation(build, (1, 5, 3, 4))
    fields = {"strideH": 1, "strideW": 2, "padding": 0, "filterHeight": 3, "filterWidth": 2}
    build.op("AVERAGE_POOL_2D", [x], [y], "Pool2D", fusedActivationFunction=1, **fields)
    z = convolve(build, y, weights(build, 2, 1, 1, 4), [5, 6])
    done = run_all(build.finish())
    assert channels_of(done, y) == (0, 2, 3)
    np.testing.assert_array_equal(constants_of(done, z)[1], [5, 6])


@pytest.mark.parametrize("sign", [-1, 1])
def test_the_largest_sums_that_a_layer_may_have(sign: int) -> None:
    """Whatever of a sum moves into the bias, both stay inside what was checked before."""
    build = ModelBuilder()
    matrix, bias = weights(build, 3, 1, 1, 4), [1, sign * 10**6, 3]
    matrix[1] = 0
    x = convolve(build, source(build), matrix, bias, zero_point=-128 if sign > 0 else 127)
    filters = np.full((3, 1, 1, 3), 127)
    most, constant = 2**31 - 1 - 3 * 255 * 127, sign * 255 * 127
    y = convolve(build, x, filters, [sign * most, -sign * most, -constant], scale=1e-5, zero_point=-6)
    done = run_all(build.finish())
    assert channels_of(done, x) == (0, 2)
    expected = [sign * most + constant, -sign * most + constant, 0]
    np.testing.assert_array_equal(constants_of(done, y)[1], expected)


def test_every_table_is_known_as_one() -> None:
    """Else constants would not pass through it."""
    found = {spec.name for spec in ops.SPECS.values() if lookup.is_table(spec)}
    assert found > {"relu", "relu6", "relu_n1_to_1", "leaky_relu", "hard_swish", "logistic", "tanh", "abs", "elu"}


def test_nothing_is_done_twice() -> None:
    done = run_all(random_network(0))
    assert passes.run(done).text() == done.text()


def test_a_tensor_names_the_channels_that_it_has() -> None:
    build = ModelBuilder()
    x = with_constant(build, source(build))
    convolve(build, x, weights(build, 2, 1, 1, 4))
    done = run_all(build.finish())
    tensor = done.tensors[x.index]
    wrong = done.with_nodes(done.nodes, [replace(tensor, channels=(0, 2))])
    with pytest.raises(ModelError, match=r"channels do not fit the shape, found 2, expected \(1, 5, 5, 3\)"):
        wrong.verify()


@pytest.mark.parametrize("seed", range(60))
def test_random_networks_keep_their_values(seed: int) -> None:
    run_all(random_network(seed), samples=4)


def test_random_networks_do_lose_channels() -> None:
    """What the test before compares is not the file's graph again."""
    macs = []
    for seed in range(20):
        graph = tflite.read(random_network(seed), "test model")
        macs.append([sum(t.size for t in g.tensors.values() if t.data is None) for g in (graph, passes.run(graph))])
    fewer = sum(after < before for before, after in macs)
    assert fewer >= 15


@pytest.mark.parametrize("seed", range(6))
def test_random_networks_through_all_oracles(golden: Golden, seed: int) -> None:
    check_model(random_network(100 + seed), golden, seed, samples=4)


def test_ranges_hold_all_values() -> None:
    """Of every channel, for the extremes and in between; constants are met exactly."""
    for seed in range(20):
        graph = tflite.read(random_network(seed), "test model")
        for numerics in Numerics:
            ranges = channel_ranges(graph, (numerics,))
            for sample in random_samples(graph, 4):
                for i, value in reference.run(graph, sample, numerics).items():
                    if i in ranges:
                        rows = value.reshape(-1, value.shape[-1])
                        assert np.all(ranges[i][0] <= rows.min(axis=0)) and np.all(rows.max(axis=0) <= ranges[i][1])
