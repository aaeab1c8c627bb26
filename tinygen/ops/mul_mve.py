"""Turns a product of two tensors into the numbers of its kernel for Helium, eight elements at a time.

Products without zero points have 17 bits, so those of even and of odd elements are scaled in vectors of four words: the
reference's first rounding, then its second one on the way back to halves of words. That one rounds halves up, the
reference away from zero: products below zero, where any output may be, are set right in between.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinygen import quant
from tinygen.ops import elementwise, elementwise_mve
from tinygen.ops.spec import Context, Kernel, Variant

TEMPLATE = "kernels/mul.mve.c.j2"
LANES = 8
"""Elements at a time."""
MOST_SHIFT = 16
"""Of words that become halves of words."""

Scaling = Callable[[Context], tuple[int, int]]


def variant(scaling: Scaling) -> Variant:
    """The record of the kernel, for the multiplier and shift that `scaling` gives."""

    def applies(context: Context) -> bool:
        return elementwise_mve.applies(context) and 1 <= -scaling(context)[1] <= MOST_SHIFT

    def params(context: Context) -> Kernel:
        multiplier, shift = scaling(context)
        x, y = context.inputs[:2][:: -1 if elementwise_mve.swaps(context) else 1]
        low, high = elementwise.limits(context, context.attributes.activation)
        rows = elementwise_mve.values(context)
        values = {
            **rows,
            "last": (rows["count"] - 1) % -LANES,
            "x_zero": x.zero_point,
            "y_zero": y.zero_point,
            "zero_point": context.output.zero_point,
            "multiplier": multiplier,
            "shift": -shift,
            "signed": low < context.output.zero_point and _least_product(context) < 0,
            "clamp_min": low,
            "clamp_max": high,
        }
        return elementwise.kernel(context, values)

    return Variant("mve", TEMPLATE, frozenset({"mve"}), applies, params)


def _least_product(context: Context) -> int:
    ends = [np.array([limit - tensor.zero_point for limit in quant.RANGES["int8"]]) for tensor in context.inputs[:2]]
    return int(np.outer(*ends).min())
