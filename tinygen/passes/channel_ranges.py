"""Bounds each channel of every int8 tensor: the least and the greatest value that any input of the model can give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType

import numpy as np

from tinygen import ops
from tinygen.ir import ABSENT, Array, Graph, Tensor
from tinygen.ops import depthwise_conv_2d, fully_connected, reduction, weighted
from tinygen.ops.spec import Context, context_of
from tinygen.ops.window import convolution_geometry
from tinygen.passes import channels
from tinygen.passes.channels import HIGH, LOW, Range
from tinygen.quant import Numerics


def channel_ranges(graph: Graph, profiles: Sequence[Numerics] = tuple(Numerics)) -> dict[int, Range]:
    """Tensor id -> Range, for each int8 tensor: it holds every value at every place under any of `profiles`.

    The ends come from the operators' own references. Where little is known of an operator, all values are possible.
    """
    found = {tensor.id: _given(tensor) for tensor in graph.tensors.values() if tensor.dtype == "int8"}
    for node in graph.nodes:
        if len(node.outputs) != 1 or node.outputs[0] not in found or node.inputs[0] not in found:
            continue
        inputs = [found[i] for i in node.inputs if i in found]
        ranges = [_computed(context_of(graph, node, numerics), inputs) for numerics in profiles]
        found[node.outputs[0]] = _hull(np.concatenate(ranges))
    return found


def _given(tensor: Tensor) -> Range:
    """The range of a constant, or of a tensor of which nothing is known."""
    if tensor.data is None or not tensor.size:
        return _any(tensor)
    return _hull(tensor.data.reshape(-1, channels.count(tensor)))


def _any(tensor: Tensor) -> Range:
    return np.repeat(np.array([[LOW], [HIGH]]), channels.count(tensor), axis=1)


def _hull(values: Array) -> Range:
    """The range of `values` [n, channels]."""
    return np.stack([values.min(axis=0), values.max(axis=0)]).astype(np.int64)


def _computed(context: Context, inputs: Sequence[Range]) -> Range:
    """The range of a node's output, given those of its int8 inputs."""
    op = context.node.op
    if ops.SPECS[op].alias:
        return channels.spread(inputs[0], *channels.regrouped(inputs[0].shape[1], channels.count(context.output)))
    if op in channels.BINARY or channels.is_table(context):
        return _elementwise(context, inputs)
    rule = RULES.get(op)
    return _any(context.output) if rule is None else rule(context, inputs)


def _elementwise(context: Context, inputs: Sequence[Range]) -> Range:
    """All results, one by one, where a single input varies; any where two do."""
    values = [np.clip(np.arange(LOW, HIGH + 1)[:, None], *x).astype(np.int8) for x in inputs]
    known = _hull(ops.SPECS[context.node.op].reference(context, values)[0])
    varying = np.sum(np.broadcast_arrays(*(x[0] < x[1] for x in inputs)), axis=0)
    return np.where(varying > 1, _any(context.output), known)


def _dense(context: Context, inputs: Sequence[Range]) -> Range:
    node = channels.dense(context)
    if node is None:
        return _any(context.output)
    low, high = node.inputs(inputs[0])
    up, down = np.maximum(node.weights, 0).sum(axis=1), np.minimum(node.weights, 0).sum(axis=1)
    return _finished(context, node.operands, np.stack([up @ low + down @ high, up @ high + down @ low]))


def _depthwise(context: Context, inputs: Sequence[Range]) -> Range:
    weights = context.constant(1).astype(np.int64)
    weights = weights.reshape(-1, weights.shape[3])
    low, high = np.repeat(inputs[0], weights.shape[1] // inputs[0].shape[1], axis=1) - context.input(0).zero_point
    if convolution_geometry(context).padded:  # a tap outside the input sees its zero point
        low, high = np.minimum(low, 0), np.maximum(high, 0)
    up, down = np.maximum(weights, 0).sum(axis=0), np.minimum(weights, 0).sum(axis=0)
    sums = np.stack([up * low + down * high, up * high + down * low])
    return _finished(context, depthwise_conv_2d.OPERANDS, sums)


def _finished(context: Context, operands: weighted.Operands, sums: Array) -> Range:
    """The range of outputs, given that of their sums: bias, scaling and clamp never turn the order around."""
    inputs = [context.tensors[i].data if i != ABSENT else None for i in context.node.inputs]
    if context.node.op == "fully_connected":
        return fully_connected.finish(context, sums, inputs)
    return weighted.finish(context, operands, sums, inputs)


def _pool(context: Context, inputs: Sequence[Range]) -> Range:
    """The greatest or the mean of some values lies between them."""
    return np.clip(inputs[0], *reduction.pool_range(context))


def _mean(context: Context, inputs: Sequence[Range]) -> Range:
    if not channels.keeps_channels(context):
        return _any(context.output)
    shape, reference = context.input(0).shape, ops.SPECS["mean"].reference
    ends = [reference(context, [np.broadcast_to(end, shape)])[0] for end in inputs[0]]
    return _hull(np.concatenate([end.reshape(-1, shape[-1]) for end in ends]))


def _pad(context: Context, inputs: Sequence[Range]) -> Range:
    if not channels.keeps_channels(context):
        return _any(context.output)
    y = context.output
    fill = context.constant(2) if context.node.op == "padv2" else np.array(y.zero_point if y.quant else 0)
    return _hull(np.concatenate([inputs[0], np.broadcast_to(fill.reshape(1, 1), (1, inputs[0].shape[1]))]))


def _joined(context: Context, inputs: Sequence[Range]) -> Range:
    if channels.joins_channels(context):
        return np.concatenate(inputs, axis=1)
    return _hull(np.concatenate(inputs))


def _copied(context: Context, inputs: Sequence[Range]) -> Range:
    return inputs[0]


RULES: Mapping[str, Callable[[Context, Sequence[Range]], Range]] = MappingProxyType(
    {
        "conv_2d": _dense,
        "fully_connected": _dense,
        "depthwise_conv_2d": _depthwise,
        **dict.fromkeys(channels.POOLS, _pool),
        **dict.fromkeys(channels.PADS, _pad),
        "mean": _mean,
        "concatenation": _joined,
        "resize_nearest_neighbor": _copied,
    }
)
"""The operators of which more is known than that they can give any value, beside aliases and elementwise ones."""
