"""CONV_2D: int8 or int16 convolution, per-tensor or per-channel weights, any stride, dilation, padding and grouping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import checks, convolution_compact, convolution_fast, convolution_kernels, convolution_plain, weighted
from tinygen.ops.spec import Context, Cost, OpSpec
from tinygen.ops.window import convolution_geometry, patches, read_convolution

OPERANDS = convolution_plain.OPERANDS


def check(context: Context) -> None:
    """Shapes [N, H, W, I] * [O, KH, KW, I / groups] -> [N, OH, OW, O]."""
    checks.arity(context, (2, 3))
    x, filters = context.input(0), context.input(1)
    checks.activations(context, x, context.output)
    checks.rank(context, x, 4)
    checks.rank(context, filters, 4)
    weighted.check(context, OPERANDS)
    depth, group_depth, out_depth = x.shape[3], filters.shape[3], filters.shape[0]
    if depth % group_depth or out_depth % (depth // group_depth):
        raise context.error(
            "channels do not divide into groups",
            found=f"{depth} input channels, {group_depth} a filter, {out_depth} filters",
        )
    checks.shape(context, context.output, (x.shape[0], *convolution_geometry(context).output, out_depth))


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The convolution of TensorFlow Lite's reference kernel; products are summed exactly (in float64, below 2**53)."""
    x, filters = inputs[0], inputs[1]
    window = convolution_geometry(context)
    zero_point = context.input(0).zero_point
    out_depth, group_depth = filters.shape[0], filters.shape[3]
    groups = x.shape[3] // group_depth
    columns = patches(x.astype(np.float64) - zero_point, window, 0)
    columns = columns.reshape(*columns.shape[:5], groups, group_depth)
    rows = filters.astype(np.float64).reshape(groups, out_depth // groups, *filters.shape[1:])
    sums = [np.tensordot(columns[..., group, :], rows[group], axes=((3, 4, 5), (1, 2, 3))) for group in range(groups)]
    return [weighted.finish(context, OPERANDS, np.concatenate(sums, axis=-1).astype(np.int64), inputs)]


def cost(context: Context) -> Cost:
    """One multiply-accumulate for each weight of a filter at each output, padding counted."""
    filters = context.input(1)
    return Cost(context.output.size * (filters.size // filters.shape[0]), context.output.size)


SPEC = OpSpec(
    name="conv_2d",
    tflite="CONV_2D",
    read=read_convolution,
    check=check,
    reference=reference,
    params=convolution_plain.params,
    cost=cost,
    pixelwise=convolution_plain.is_pointwise,
    variants=convolution_kernels.VARIANTS,
    compact=convolution_compact.COMPACT,
    fast=convolution_fast.FAST,
)
