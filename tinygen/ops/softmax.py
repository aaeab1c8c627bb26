"""SOFTMAX: int8 or int16 probabilities along the last axis, of int8 in gemmlowp's fixed point.

TensorFlow Lite's reference, TensorFlow Lite Micro and CMSIS-NN agree on it. Where a row's exponentials sum to 512 or
more the reference interpreter stops itself; there no probability reaches half a step, and every output is the least.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import checks, fixed_point, movement, overlap, pixelwise, softmax_int16
from tinygen.ops.spec import Constant, Context, Kernel, OpSpec, Options, Variant, elementwise_cost

OUTPUT_SCALE, OUTPUT_ZERO_POINT = 1 / 256, -128
SUM_SHIFT = 12
"""Exponentials are summed in Q12.19: this many bits below their own Q0.31."""
MAX_DEPTH = 4095
"""As many exponentials as a sum in Q12.19 can hold."""
LARGE_SUM = 512
LEAST_ZEROS = 4
"""Leading zero bits of every sum below LARGE_SUM; with fewer the last shift would exceed 31."""
OUTPUT_BITS = 35
"""An output takes 35 less the leading zeros of the sum off a product in Q0.31."""
NEGLIGIBLE = 1 << (SUM_SHIFT - 1)
"""Exponentials below it neither count in a sum nor reach an output."""


@dataclass(frozen=True)
class Softmax:
    """Attributes of SOFTMAX."""

    beta: float


def read(options: Options) -> Softmax:
    """Attributes from the file's options."""
    return Softmax(float(options.get("beta", 0.0)))


def check(context: Context) -> None:
    """int8 of any shape -> int8 of the same shape at scale 1/256 and zero point -128; int16 has a scale of its own."""
    checks.arity(context, (1, 1))
    if context.wide:
        softmax_int16.check(context)
        return
    x, y = context.input(0), context.output
    checks.int8_tensors(context, x, y)
    movement.rank_at_most(context, x)
    checks.shape(context, y, x.shape)
    if (y.scale, y.zero_point) != (OUTPUT_SCALE, OUTPUT_ZERO_POINT):
        raise context.error(
            "softmax needs an output of its own scale",
            found=f"scale {y.scale:.6g} and zero point {y.zero_point}",
            expected=f"scale 1/256 and zero point {OUTPUT_ZERO_POINT}",
            remedy="convert the model again",
        )
    if x.shape[-1] > MAX_DEPTH:
        raise context.error("too many elements in a row", found=str(x.shape[-1]), expected=f"at most {MAX_DEPTH}")
    if not _gain(context) > 1.0:
        raise context.error(
            "beta times the input's scale is too small",
            found=f"{_gain(context):.3g} * 2**-26",
            expected="more than 2**-26",
        )


def _gain(context: Context) -> float:
    """What turns a difference of stored inputs into Q5.26."""
    return float(context.attributes.beta) * context.input(0).scale * 2.0**fixed_point.EXP_FRACTION_BITS


def exponentials(context: Context) -> Array:
    """exp(-beta * scale * distance) in Q0.31 for each distance from the row's greatest element: int32 [256]."""
    multiplier, shift = quant.quantize_multiplier(min(_gain(context), float(quant.INT32_MAX)))
    reach = min(255, math.floor(31 * 2.0**fixed_point.EXP_FRACTION_BITS / 2.0**shift))
    distance = np.minimum(np.arange(256), reach)
    scaled = quant.doubling_high_multiply(-(distance << shift), multiplier)
    values = fixed_point.exponential(scaled)
    return np.where(np.arange(256) <= reach, values, 0).astype(np.int32)


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The softmax of TensorFlow Lite's reference kernel."""
    if context.wide:
        return softmax_int16.reference(context, inputs)
    x = inputs[0].astype(np.int64)
    powers = exponentials(context).astype(np.int64)[x.max(axis=-1, keepdims=True) - x]
    sums = quant.rounding_shift_right(powers, SUM_SHIFT).sum(axis=-1, keepdims=True)
    zeros = 32 - np.frexp(sums.astype(np.float64))[1].astype(np.int64)
    factors = fixed_point.reciprocal_of_one_plus((sums << zeros) - 2**31)
    products = quant.doubling_high_multiply(powers, factors)
    scaled = quant.rounding_shift_right(products, np.minimum(OUTPUT_BITS - zeros, 31))
    return [quant.saturate(np.where(zeros < LEAST_ZEROS, 0, scaled) + OUTPUT_ZERO_POINT)]


def params(context: Context) -> Kernel:
    """Numbers for the template; the table stops before the distances whose exponentials are negligible."""
    depth = context.input(0).shape[-1]
    table = exponentials(context)
    table = table[: int(np.count_nonzero(table >= NEGLIGIBLE))]
    values = {
        "rows": context.input(0).size // depth,
        "depth": depth,
        "entries": len(table),
        "sum_shift": SUM_SHIFT,
        "output_bits": OUTPUT_BITS,
        "least_zeros": LEAST_ZEROS,
        "large_sums": depth >= LARGE_SUM,
        "output_offset": OUTPUT_ZERO_POINT,
    }
    rule = overlap.of_rows(0, context.input(0).size, 1, 1)
    return Kernel(values, (0,), (Constant("exponentials", table),), overlaps=(rule,))


def pair_params(context: Context) -> Kernel:
    """The outputs of a row of two for each distance of its inputs, as far as they change.

    The two mostly mirror each other at the zero of their sum; the smaller one is enough then.
    """
    pairs = np.stack([np.full(256, 127), 127 - np.arange(256)], axis=1)
    shares = reference(context, [pairs])[0]
    entries = int(np.flatnonzero(np.any(shares != shares[-1], axis=1)).max(initial=-1)) + 2
    rows = context.input(0).size // 2
    mirrored = bool(np.all(shares[:, 0] == np.minimum(-shares[:, 1], quant.RANGES["int8"][1])))
    values = {"rows": rows, "entries": min(entries, 256), "output_offset": OUTPUT_ZERO_POINT, "mirrored": mirrored}
    constant = Constant("shares", shares[:entries, 1 if mirrored else slice(None)].astype(np.int8))
    return Kernel(values, (0,), (constant,), overlaps=(overlap.of_rows(0, rows, 2, 2),))


SPEC = OpSpec(
    name="softmax",
    tflite="SOFTMAX",
    read=read,
    check=check,
    reference=reference,
    params=params,
    cost=elementwise_cost,
    variants=(
        softmax_int16.VARIANT,
        Variant(
            "pair",
            "kernels/softmax.pair.c.j2",
            when=lambda context: context.input(0).shape[-1] == 2,
            params=pair_params,
        ),
        Variant("c", "kernels/softmax.c.j2"),
    ),
    pixelwise=pixelwise.of_activations,
)
