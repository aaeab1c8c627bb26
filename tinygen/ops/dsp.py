"""What kernels for cores with the DSP extension share: the sums that they make, of inputs as they are stored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen import requantize
from tinygen.ir import Array
from tinygen.ops import real_scale, weighted
from tinygen.ops.spec import Context
from tinygen.requantize import Steps


@dataclass(frozen=True, eq=False)
class Sums:
    """The sums of a layer as its kernel makes them: of weights times inputs as stored, zero points not subtracted."""

    rows: Array
    """int64 [channels, elements]: the weights of each channel, in the file's order."""
    bias: Array
    """int64 [channels]: what is missing to the sum of the reference."""
    range: tuple[Array, Array]
    """[channels]: the least and the greatest sum."""


def sums(context: Context, operands: weighted.Operands) -> Sums:
    """The sums of a node whose weights have zero point 0."""
    weights = context.constant(operands.weights).astype(np.int64)
    rows = np.moveaxis(weights, operands.channel_axis, 0).reshape(weights.shape[operands.channel_axis], -1)
    bias = -context.input(operands.x).zero_point * rows.sum(axis=1)
    if context.has_input(operands.bias):
        bias = bias + context.constant(operands.bias).astype(np.int64).ravel()
    return Sums(rows, bias, requantize.sum_range(rows))


def two_roundings(context: Context, operands: weighted.Operands, found: Sums) -> Steps:
    """The steps of a node that is scaled in fixed point."""
    scaling = weighted.fixed_point(context, operands)
    limits = weighted.activation_range(context)
    zero_point = context.output.zero_point
    return requantize.two_roundings(scaling.multiplier, scaling.shift, found.bias, found.range, zero_point, limits)


def one_rounding(context: Context, operands: weighted.Operands, found: Sums) -> Steps:
    """The steps of a node that is scaled in float64, as the reference's FULLY_CONNECTED is."""
    scales = np.broadcast_to(weighted.scales(context, operands), len(found.bias))

    def scaled(totals: Array) -> Array:
        return real_scale.scaled(totals, scales[:, None])

    limits = weighted.activation_range(context)
    return requantize.steps(scaled, scales, found.bias, found.range, context.output.zero_point, limits)
