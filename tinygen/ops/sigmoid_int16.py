"""Turns LOGISTIC and TANH of int16 values into lines between the entries of one table of the logistic function.

The table goes from 0 to 32/3 (and tanh(x) is 2 * logistic(2 * x) - 1); what lies beyond gives the last entry or more.
TensorFlow Lite Micro's reference does the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.ir import Array
from tinygen.ops import checks, interpolation, overlap
from tinygen.ops.spec import Constant, Context, Kernel, Variant

OUTPUT_SCALE = 1 / 32768
STEPS_PER_ONE = 4096 * 3
"""Of a scaled input: 512 to an entry of the table, 256 of twice the input."""
MOST_MULTIPLIER, MOST_SHIFT = 2**16 - 1, 30
"""With which a scaled input stays inside 32 bits."""
TEMPLATE = "kernels/sigmoid.int16.c.j2"


@dataclass(frozen=True)
class Curve:
    """LOGISTIC or TANH."""

    title: str
    step_bits: int
    """Of a scaled input, below the index of the table."""
    powers_of_two: tuple[float, ...]
    """Input scales that take a multiplier of their own, which is exact."""
    beyond: int
    """The result from the last entry of the table on, before it is rounded."""
    start: int
    """What is taken off a result: the table begins there for an odd function."""
    whole: int
    """A result and that of the negative input have this sum."""
    result_bits: int
    """That are rounded off in the end."""


LOGISTIC = Curve("Logistic function", 9, (2.0**-12,), 0x7FFF << 10, 0, 1 << 25, 10)
TANH = Curve("Hyperbolic tangent", 8, (2.0**-12, 2.0**-11), 0xFFFF << 8, 1 << 23, 0, 8)


def check(context: Context) -> None:
    """int16 to int16 at scale 1/32768."""
    checks.arity(context, (1, 1))
    x, y = context.input(0), context.output
    checks.activations(context, x, y)
    checks.shape(context, y, x.shape)
    if y.scale != OUTPUT_SCALE:
        raise context.error(
            "output has the wrong scale", found=f"{y.scale:.6g}", expected="1/32768", remedy="convert the model again"
        )
    multiplier, shift = _scaling(context, ())
    if multiplier > MOST_MULTIPLIER or shift > MOST_SHIFT:
        raise context.error("input scale is out of range", found=f"{x.scale:.6g}", expected="1.3e-09 to 5.33")


def _scaling(context: Context, exact: Sequence[float]) -> tuple[int, int]:
    """(multiplier, shift to the right) of the input; the multiplier is cut to 15 bits as in the reference."""
    scale = context.input(0).scale
    if scale in exact:
        return round(scale * STEPS_PER_ONE), 0
    real = scale * STEPS_PER_ONE
    shift = 0
    while real <= 32767 / 2 and shift <= MOST_SHIFT:
        real, shift = real * 2, shift + 1
    return math.floor(real), shift


def reference(context: Context, curve: Curve, x: Array) -> Array:
    """The interpolation of TensorFlow Lite's reference kernel for int16."""
    multiplier, shift = _scaling(context, curve.powers_of_two)
    half = 1 << (shift - 1) if shift else 0
    scaled = (x.astype(np.int64) * multiplier + half) >> shift
    size, table = np.abs(scaled), interpolation.sigmoid()
    index = np.minimum(size >> curve.step_bits, len(table) - 2)
    rest = size & (2**curve.step_bits - 1)
    line = (table[index] << curve.step_bits) + rest * (table[index + 1] - table[index])
    found = np.where(size >> curve.step_bits >= len(table) - 1, curve.beyond, line) - curve.start
    half = 1 << (curve.result_bits - 1)
    signed = np.where(scaled >= 0, found + half, curve.whole - found + half - 1)
    return (signed >> curve.result_bits).astype(np.int16)


def params(context: Context, curve: Curve) -> Kernel:
    """Numbers and the table for the template."""
    multiplier, shift = _scaling(context, curve.powers_of_two)
    table, (rule,) = interpolation.sigmoid(), overlap.of_elements(context)
    half = 1 << (curve.result_bits - 1)
    values = {
        "title": curve.title,
        "apart": overlap.words(rule),
        "elements": context.output.size,
        "multiplier": multiplier,
        "shift": shift,
        "half_step": 1 << (shift - 1) if shift else 0,
        "last": len(table) - 1,
        "step_bits": curve.step_bits,
        "rest_mask": 2**curve.step_bits - 1,
        "beyond": curve.beyond - curve.start,
        "start": -curve.start,
        "above": half,
        "below": curve.whole + half - 1,
        "result_bits": curve.result_bits,
    }
    return Kernel(values, (0,), (Constant("table", table.astype(np.uint16)),), overlaps=(rule,))


def variant(curve: Curve) -> Variant:
    """The kernel of one of them."""
    return Variant("int16", TEMPLATE, when=lambda context: context.wide, params=lambda context: params(context, curve))
