"""What stand-alone RELU, RELU6 and RELU_N1_TO_1 share: a rescaling that ends at the activation's limits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinygen import quant
from tinygen.ir import CTYPES, Array
from tinygen.ops import elementwise, lookup, overlap
from tinygen.ops.spec import Context, Kernel, Variant


def _scaling(context: Context) -> tuple[int, int]:
    return elementwise.scaling(context, context.input(0).scale, over=context.output.scale)


def check(context: Context) -> None:
    """int8 to int8 or int16 to int16 of the same shape, and a ratio of scales in range."""
    lookup.check_wide(context)
    _scaling(context)


def rescaled(context: Context, activation: str, x: Array) -> Array:
    """`activation` of x, at the output's scale and zero point."""
    value = x.astype(np.int64) - context.input(0).zero_point
    return elementwise.store(context, quant.requantize(value, *_scaling(context)), activation)


def check_narrow(context: Context) -> None:
    """The same of int8 only."""
    lookup.check(context)
    _scaling(context)


def rescaling(context: Context, activation: str) -> Kernel:
    """The kernel of `rescaled` for int16."""
    limits = elementwise.clamp(context, activation)
    return kernel(context, _scaling(context), (limits["clamp_min"], limits["clamp_max"]))


def kernel(context: Context, scaling: tuple[int, int], limits: tuple[int, int]) -> Kernel:
    """The kernel that scales int16 values, whose zero points are 0, and limits them."""
    (rule,) = overlap.of_elements(context)
    values = {
        "apart": overlap.words(rule),
        "elements": context.output.size,
        "input_type": CTYPES[context.input(0).dtype],
        "output_type": CTYPES[context.output.dtype],
        "input_offset": 0,
        "output_offset": 0,
        **dict(zip(("low", "high"), limits, strict=True)),
        **dict(zip(("multiplier", "shift"), scaling, strict=True)),
    }
    return Kernel(values, overlaps=(rule,))


def wide(params: Callable[[Context], Kernel]) -> Variant:
    """The variant for int16."""
    return Variant("int16", "kernels/requantize.c.j2", when=lambda context: context.wide, params=params)
