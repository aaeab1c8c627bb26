"""Turns the SOFTMAX of int16 values into two tables: of exponentials, and of reciprocals of their sums.

TensorFlow Lite fills the second table in float64, TensorFlow Lite Micro in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import checks, interpolation, movement, overlap
from tinygen.ops.spec import Constant, Context, Kernel, Variant
from tinygen.quant import Numerics

OUTPUT_SCALE = 1 / 32768
REACH = 10.0
"""How far below the greatest element exponentials count."""
MOST_GAIN = 2.0**14
"""A difference of two elements, scaled to the table, then fits 32 bits."""
MOST_DEPTH = 65535
"""Elements whose exponentials, each at most 32767, have a sum of 31 bits."""
ONE_AND_A_HALF = 3 << 15
"""In the 16 fraction bits of a sum between 1 and 2: the middle of the reciprocals' table."""
TEMPLATE = "kernels/softmax.int16.c.j2"


def check(context: Context) -> None:
    """int16 of any shape -> int16 of the same shape at scale 1/32768."""
    x, y = context.input(0), context.output
    checks.activations(context, x, y)
    movement.rank_at_most(context, x)
    checks.shape(context, y, x.shape)
    if y.scale != OUTPUT_SCALE:
        raise context.error(
            "softmax needs an output of its own scale",
            found=f"scale {y.scale:.6g}",
            expected="scale 1/32768",
            remedy="convert the model again",
        )
    if x.shape[-1] > MOST_DEPTH:
        raise context.error("too many elements in a row", found=str(x.shape[-1]), expected=f"at most {MOST_DEPTH}")
    if not 0 < _gain(context) < MOST_GAIN:
        raise context.error(
            "beta times the input's scale is out of range",
            found=f"{context.attributes.beta:.6g} * {x.scale:.6g}",
            expected=f"above 0 and below {MOST_GAIN * REACH / 65535:.6g}",
        )


def _gain(context: Context) -> float:
    """What turns a difference of stored inputs into steps of the table of exponentials."""
    return context.input(0).scale * float(context.attributes.beta) / (REACH / 65535)


def exponentials() -> Array:
    """exp(x) from -REACH to 0."""
    return interpolation.over_int16(np.exp, -REACH, 0, np.float64)


def reciprocals(context: Context) -> Array:
    """1 / (1 + x) from 0 to 1."""
    real: Any = np.float64 if context.numerics is Numerics.TFLITE else np.float32
    return interpolation.over_int16(lambda value: real(1) / (real(1) + value), 0, 1, real)


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The softmax of TensorFlow Lite's reference kernel for int16."""
    x = inputs[0].astype(np.int64)
    distance = quant.requantize(x - x.max(axis=-1, keepdims=True), *quant.quantize_multiplier(_gain(context)))
    powers = interpolation.between(exponentials(), np.maximum(distance + interpolation.MOST, interpolation.LEAST))
    sums = powers.sum(axis=-1, keepdims=True)
    zeros = 32 - np.frexp(sums.astype(np.float64))[1].astype(np.int64)
    mantissa = ((sums << (zeros - 1)) + 2**13) >> 14
    factors = interpolation.between(reciprocals(context), np.minimum(mantissa - ONE_AND_A_HALF, interpolation.MOST))
    shift = 31 - zeros
    shares = (powers * factors + (np.int64(1) << (shift - 1))) >> shift
    return [np.clip(shares, 0, interpolation.MOST).astype(np.int16)]


def params(context: Context) -> Kernel:
    """Numbers and tables for the template."""
    x, depth = context.input(0), context.input(0).shape[-1]
    multiplier, shift = quant.quantize_multiplier(_gain(context))
    rule = overlap.of_rows(0, x.size, x.bytes // x.size, x.bytes // x.size)
    values = {
        "apart": overlap.words(rule),
        "rows": x.size // depth,
        "depth": depth,
        "multiplier": multiplier,
        "shift": shift,
        "middle": ONE_AND_A_HALF,
    }
    tables = (
        Constant("exponentials", exponentials().astype(np.int16)),
        Constant("reciprocals", reciprocals(context).astype(np.int16)),
    )
    return Kernel(values, (0,), tables, overlaps=(rule,))


VARIANT = Variant("int16", TEMPLATE, when=lambda context: context.wide, params=params)
