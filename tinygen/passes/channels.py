"""Says how the channels of a node's tensors, their indices along the last axis, depend on each other."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tinygen import ops
from tinygen.ir import Array, Tensor
from tinygen.ops import conv_2d, fully_connected, lookup, movement, reduction, weighted
from tinygen.ops.spec import Context
from tinygen.ops.window import convolution_geometry
from tinygen.quant import RANGES

BINARY = frozenset({"add", "sub", "mul", "maximum", "minimum", "prelu"})
"""Elementwise operators on two tensors that broadcast."""
POOLS = frozenset({"average_pool_2d", "max_pool_2d"})
PADS = frozenset({"pad", "padv2"})

LOW, HIGH = RANGES["int8"]
Range = Array
"""[2, channels] int64: the least and the greatest value of each channel."""


def count(tensor: Tensor) -> int:
    """The channels of a tensor; 1 for a scalar."""
    return tensor.shape[-1] if tensor.shape else 1


def is_table(context: Context) -> bool:
    """Whether each int8 output is a function of the int8 input at the same place."""
    if context.node.op == "quantize":
        return context.input(0).dtype == "int8"
    return lookup.is_table(ops.SPECS[context.node.op])


def regrouped(first: int, second: int) -> tuple[Array, Array]:
    """The groups of `first` and `second` channels of the same elements in the same order, under two shapes.

    Element f is in channel f mod `first` and f mod `second`, and so in group f mod their greatest common divisor.
    """
    groups = math.gcd(first, second)
    return np.arange(first) % groups, np.arange(second) % groups


def spread(x: Range, first: Array, second: Array) -> Range:
    """The range of channels in the `second` groups, which hold what `x` has in the `first` groups."""
    low, high = (np.full(first.max() + 1, end) for end in (HIGH, LOW))
    np.minimum.at(low, first, x[0])
    np.maximum.at(high, first, x[1])
    return np.stack([low, high])[:, second]


@dataclass(frozen=True, eq=False)
class Dense:
    """A node whose output channels each sum over all channels of input 0, with weights and perhaps a bias behind it."""

    operands: weighted.Operands
    weights: Array
    """[filters, taps, columns] less their zero point, int64."""
    channels: Array
    """The group of each input channel."""
    columns: Array
    """The group of each column of the weights: it reads the input channels of its group."""
    zero_point: int
    """Of the input; what a tap sees that is outside of it."""
    padded: bool
    """Whether there is such a tap."""

    def inputs(self, x: Range) -> Range:
        """What the columns read, less the zero point: `x`, the range of the input, or the 0 outside."""
        low, high = spread(x, self.channels, self.columns) - self.zero_point
        return np.stack([np.minimum(low, 0), np.maximum(high, 0)] if self.padded else [low, high])


def dense(context: Context) -> Dense | None:
    """The node as a Dense; None when it is not one, of int8."""
    op = context.node.op
    if context.wide:
        return None
    if op == "conv_2d" and count(context.input(1)) == count(context.input(0)):
        operands, padded = conv_2d.OPERANDS, convolution_geometry(context).padded
    elif op == "fully_connected":
        operands, padded = fully_connected.OPERANDS, False
    else:
        return None
    filters = context.input(operands.weights)
    effective = context.constant(operands.weights).astype(np.int64) - weighted.weights_zero_point(context, operands)
    channels, columns = regrouped(count(context.input(0)), count(filters))
    rows = effective.reshape(filters.shape[0], -1, count(filters))
    return Dense(operands, rows, channels, columns, context.input(0).zero_point, padded)


@dataclass(frozen=True, eq=False)
class Ties:
    """Channels of a node's tensors that are there only together: those of one group."""

    inputs: tuple[Array | None, ...]
    """For each input the group of each channel; None for one that is needed whole."""
    output: Array
    """The group of each channel of the output."""


def ties(context: Context) -> Ties | None:
    """The ties of a node that computes its int8 channels apart; None when it mixes them or nothing is known of it."""
    if len(context.node.outputs) != 1 or not all(t.dtype == "int8" for t in (context.input(0), context.output)):
        return None
    found = _ties(context)
    if found is None:
        return None
    tied = [(i, groups) for i, groups in enumerate(found.inputs) if groups is not None and context.has_input(i)]
    return found if all(count(context.input(i)) == len(groups) for i, groups in tied) else None


def _ties(context: Context) -> Ties | None:
    op, same = context.node.op, np.arange(count(context.output))
    if ops.SPECS[op].alias:
        return _of_first(context, *regrouped(count(context.input(0)), len(same)))
    if op == "depthwise_conv_2d":
        return _depthwise(context)
    if op == "concatenation":
        return _joined(context)
    if op in BINARY:
        return Ties(tuple(same if count(tensor) == len(same) else None for tensor in context.inputs), same)
    apart = is_table(context) or op in POOLS or op == "resize_nearest_neighbor" or keeps_channels(context)
    return _of_first(context, same, same) if apart else None


def keeps_channels(context: Context) -> bool:
    """Whether a PAD adds no channels, or a MEAN does not take that of all."""
    if context.node.op in PADS:
        return movement.paddings(context)[-1] == (0, 0)
    return context.node.op == "mean" and len(context.input(0).shape) - 1 not in reduction.axes_input(context)


def joins_channels(context: Context) -> bool:
    """Whether a CONCATENATION puts its inputs' channels, not their rows, side by side."""
    rank = len(context.output.shape)
    return int(context.attributes.axis) % rank == rank - 1


def _of_first(context: Context, first: Array, output: Array) -> Ties:
    """Ties between input 0 and the output; the other inputs are parameters."""
    return Ties((first, *[None] * (len(context.node.inputs) - 1)), output)


def _depthwise(context: Context) -> Ties:
    """Each input channel with its filters; filters over a single channel are free."""
    channels, filters = count(context.input(0)), np.arange(count(context.output))
    if channels == 1:
        return Ties((None, *[filters] * (len(context.node.inputs) - 1)), filters)
    groups = filters // (len(filters) // channels)
    return Ties((np.arange(channels), *[groups] * (len(context.node.inputs) - 1)), groups)


def _joined(context: Context) -> Ties:
    """Each input's channels at their place in the output."""
    same = np.arange(count(context.output))
    if not joins_channels(context):
        return Ties((same,) * len(context.node.inputs), same)
    ends = np.cumsum([count(tensor) for tensor in context.inputs])
    return Ties(tuple(np.split(same, ends[:-1])), same)
