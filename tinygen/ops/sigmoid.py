"""What LOGISTIC and TANH share: a fixed output quantisation, and TFLM's evaluation in fixed point."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import lookup
from tinygen.ops.spec import Context

FRACTION_BITS = 27
"""TFLM evaluates in Q4.27."""


def check(context: Context, scale: float, zero_point: int) -> None:
    """int8 to int8, and the output is quantised as both operators' contract says."""
    lookup.check(context)
    output = context.output
    if (output.scale, output.zero_point) != (scale, zero_point):
        raise context.error(
            "output has the wrong scale or zero point",
            found=f"{output.scale:.6g}, {output.zero_point}",
            expected=f"1/{round(1 / scale)}, {zero_point}",
            remedy="convert the model again",
        )


def fixed_point(context: Context, function: Callable[[Array], Array], fraction_bits: int, x: Array) -> Array:
    """`function` (Q4.27 to Q0.31) of int8 codes, rounded to `fraction_bits`, before any zero point; int64.

    Inputs of 15 and more give the end of the range, which both functions have reached there. With a scale so large that
    one step leads beyond 15, input 0 counts as the lower end, as in TFLM.
    """
    source = context.input(0)
    step = source.scale * 2.0**FRACTION_BITS
    multiplier, shift = quant.quantize_multiplier(step)
    radius = math.floor(15 * 2.0 ** (FRACTION_BITS - math.frexp(step)[1]))
    value = x.astype(np.int64) - source.zero_point
    low, high = value <= -radius, value >= radius
    found = function(quant.requantize(np.where(low | high, 0, value), multiplier, shift))
    end = 2**fraction_bits
    return np.select([low, high], [-end, end], quant.rounding_shift_right(found, 31 - fraction_bits))
