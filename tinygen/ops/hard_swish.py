"""HARD_SWISH: x * relu6(x + 3) / 6 of int8 values; a table of 256 bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import lookup
from tinygen.ops.spec import Context

HIGH_RESOLUTION_BITS = 7
"""Inputs are worked on as multiples of scale / 128, which still fit 16 bits."""


def _multipliers(context: Context) -> tuple[tuple[int, int], tuple[int, int]]:
    """(16-bit multiplier, shift) to the output's scale, and to the scale at which 3 is 32768; divided in float32."""
    fine = np.float32(context.input(0).scale) / np.float32(2**HIGH_RESOLUTION_BITS)
    with np.errstate(over="ignore"):
        ratios = fine / np.float32(context.output.scale), fine / (np.float32(3) / np.float32(32768))
    return _half_word(float(ratios[0])), _half_word(float(ratios[1]))


def _half_word(ratio: float) -> tuple[int, int]:
    multiplier, shift = quant.quantize_multiplier(min(ratio, 2.0**30))
    return min((multiplier + 2**15) >> 16, 2**15 - 1), shift


def check(context: Context) -> None:
    """int8 to int8; the reference has no output scale finer than 1/128 of the input's."""
    lookup.check(context)
    if _multipliers(context)[0][1] > 0:
        raise context.error(
            "output scale is too small for this input",
            found=f"{context.output.scale:.6g}",
            expected=f"more than {context.input(0).scale / 2**HIGH_RESOLUTION_BITS:.6g}",
            remedy="convert the model again with a representative dataset",
        )


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The reference kernel's arithmetic in 16 bits."""
    (out_multiplier, out_shift), (gate_multiplier, gate_shift) = _multipliers(context)
    fine = (inputs[0].astype(np.int64) - context.input(0).zero_point) << HIGH_RESOLUTION_BITS
    value = _high_product(fine, out_multiplier, rounded=True)
    gate = _gate(fine, gate_multiplier, gate_shift)
    product = _high_product(gate, value, rounded=False)
    scaled = _wrap(_shift_right(product, -out_shift) + context.output.zero_point)
    return [quant.saturate(scaled)]


def _gate(fine: Array, multiplier: int, shift: int) -> Array:
    """relu6(x + 3) / 6 with 32768 for 1."""
    if shift > 0:
        fine = quant.saturate(fine << (shift - 1), "int16").astype(np.int64)
    scaled = _high_product(fine, multiplier, rounded=True)
    if shift > 0:
        scaled = quant.saturate(scaled << 1, "int16").astype(np.int64)
    return (_shift_right(scaled, max(-shift, 0)) + 2**15) >> 1


def _high_product(a: Array, b: Array | int, rounded: bool) -> Array:
    """a * b / 2**15, to the nearest with halves upwards, or towards zero."""
    product = a * b
    if rounded:
        product = product + np.where(product >= 0, 2**14, 1 - 2**14)
    found: Array = np.sign(product) * (np.abs(product) >> 15)
    return found


def _shift_right(value: Array, exponent: int) -> Array:
    """Rounding shift of 16-bit values; from exponent 16 on, the reference's mask loses its upper bits."""
    mask = int(_wrap(np.array((1 << exponent) - 1)))
    threshold = (mask >> 1) + (value < 0)
    return (value >> exponent) + ((value & mask) > threshold)


def _wrap(value: Array) -> Array:
    """Two's complement wrap to 16 bits."""
    return (value + 2**15) % 2**16 - 2**15


SPEC = lookup.operator("hard_swish", "HARD_SWISH", reference, check=check)
