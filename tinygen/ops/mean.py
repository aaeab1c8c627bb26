"""MEAN: the int8 or int16 mean over any axes, scaled to the output's own scale and zero point.

The interpreter has one formula for all axes, equal in TensorFlow Lite Micro: the sum less its zero points, scaled by a
multiplier into which the number of elements is divided, cut towards zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import CTYPES, Array
from tinygen.ops import checks, gather, mean_mve, movement, overlap, reduction
from tinygen.ops.spec import Context, Kernel, OpSpec, Options, Rows, Variant, elementwise_cost


@dataclass(frozen=True)
class Mean:
    """Attributes of MEAN."""

    keep_dims: bool


def read(options: Options) -> Mean:
    """Attributes from the file's options."""
    return Mean(bool(options.get("keepDims", False)))


def _count(context: Context) -> int:
    """Elements behind each output."""
    return math.prod(context.input(0).shape[axis] for axis in reduction.axes_input(context))


def _scaling(context: Context) -> tuple[int, int]:
    """Multiplier and shift of input scale / output scale / count; the shift stays at -31 or above."""
    multiplier, shift = quant.quantize_multiplier(context.input(0).scale / context.output.scale)
    count = _count(context)
    gain = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << gain) // count, shift - gain


def check(context: Context) -> None:
    """int8 or int16 of any shape -> the shape without the constant axes; no sum can leave 32 bits."""
    checks.arity(context, (2, 2))
    x = context.input(0)
    checks.activations(context, x, context.output)
    checks.dtype(context, context.input(1), "int32")
    movement.rank_at_most(context, x)
    axes = reduction.axes_input(context)
    low, high = quant.RANGES[x.dtype]
    if _count(context) * (high - low) > quant.INT32_MAX:
        raise context.error("too many elements to sum in 32 bits", found=str(_count(context)))
    checks.shape(context, context.output, reduction.without_axes(x.shape, axes, context.attributes.keep_dims))


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The mean of TensorFlow Lite's reference kernel."""
    count, zero_point = _count(context), context.input(0).zero_point
    sums = inputs[0].astype(np.int64).sum(axis=reduction.axes_input(context)) - zero_point * count
    means = quant.requantize(sums, *_scaling(context)) + context.output.zero_point
    return [quant.saturate(means, context.output.dtype).reshape(context.output.shape)]


def params(context: Context) -> Kernel:
    """Numbers for the template."""
    x, zero_point = context.input(0), context.output.zero_point
    axes = reduction.axes_input(context)
    multiplier, shift = _scaling(context)
    low, high = quant.RANGES[x.dtype]
    rule = reduction.overlap_of(context, axes)
    values = {
        **reduction.nest(x.shape, axes),
        "apart": overlap.words(rule),
        "title": f"Mean of {_count(context)} along axes {list(axes)}",
        "type": CTYPES[x.dtype],
        "in_shape": x.shape,
        "out_shape": context.output.shape,
        "start": -x.zero_point * _count(context),
        "multiplier": multiplier,
        "shift": shift,
        "clamp_min": low - zero_point,
        "clamp_max": high - zero_point,
        "output_offset": zero_point,
    }
    return Kernel(values, overlaps=(rule,))


def _mve(context: Context) -> bool:
    return mean_mve.applies(context, params(context))


def _mve_params(context: Context) -> Kernel:
    return mean_mve.params(context, params(context))


def _rows(context: Context) -> Rows | None:
    return gather.of_mean(context, params(context))


SPEC = OpSpec(
    name="mean",
    tflite="MEAN",
    read=read,
    check=check,
    reference=reference,
    params=params,
    cost=elementwise_cost,
    variants=(
        Variant("mve", mean_mve.TEMPLATE, frozenset({"mve"}), _mve, _mve_params, _rows),
        Variant("c", "kernels/mean.c.j2", rows=_rows),
    ),
)
