"""Quantised arithmetic, defined once: multipliers, shifts and roundings, in NumPy integers.

The C mirror is firmware/include/tg_runtime.h; a test holds the two together.
Source of the arithmetic: TensorFlow Lite's reference kernels and gemmlowp's fixed-point header.
"""

from __future__ import annotations

import math
from enum import Enum

import numpy as np

from tinygen.ir import Array

INT32_MIN, INT32_MAX = -(2**31), 2**31 - 1
RANGES = {"int8": (-128, 127), "uint8": (0, 255), "int16": (-32768, 32767), "int32": (INT32_MIN, INT32_MAX)}
"""Element type -> its least and greatest value."""


class Numerics(Enum):
    """Whose results the generated code equals, bit for bit."""

    TFLITE = "tflite"
    """TensorFlow Lite's reference kernels (BUILTIN_REF)."""
    TFLM = "tflm"
    """TensorFlow Lite Micro with CMSIS-NN."""


class Rounding(Enum):
    """How an accumulator is scaled down."""

    DOUBLE = "double"
    """A doubling high multiply, rounded, then a rounding shift."""
    SINGLE = "single"
    """One 64-bit product, rounded once."""


def quantize_multiplier(real: float) -> tuple[int, int]:
    """(multiplier, shift) with real ~ multiplier * 2**(shift - 31), 2**30 <= multiplier < 2**31; (0, 0) for 0."""
    if real == 0.0:
        return 0, 0
    fraction, shift = math.frexp(real)
    multiplier = _round_half_away(fraction * 2.0**31)
    if multiplier == 2**31:
        multiplier, shift = multiplier // 2, shift + 1
    if shift < -31:
        return 0, 0
    if shift > 30:
        return INT32_MAX, 30
    return multiplier, shift


def quantize_multipliers(reals: Array) -> tuple[Array, Array]:
    """`quantize_multiplier` of each element: int32 multipliers, int32 shifts."""
    pairs = [quantize_multiplier(float(real)) for real in np.asarray(reals).ravel()]
    return np.array([m for m, _ in pairs], np.int32), np.array([s for _, s in pairs], np.int32)


def _round_half_away(value: float) -> int:
    return math.floor(value + 0.5) if value >= 0 else math.ceil(value - 0.5)


def wrap_int32(value: Array) -> Array:
    """Two's complement wrap of int64 values to the int32 range, kept as int64."""
    return (np.asarray(value, np.int64) + 2**31) % 2**32 - 2**31


def doubling_high_multiply(a: Array, b: Array | int) -> Array:
    """round(a * b / 2**31), halves up: int64 arrays holding int32 values, a and b not both -2**31."""
    high: Array = (np.asarray(a, np.int64) * np.asarray(b, np.int64) + 2**30) >> 31
    return high


def rounding_shift_right(value: Array, exponent: Array | int) -> Array:
    """round(value / 2**exponent), halves away from zero, for exponents 0 to 31."""
    value = np.asarray(value, np.int64)
    mask = (np.int64(1) << np.asarray(exponent, np.int64)) - 1
    remainder = value & mask
    threshold = (mask >> 1) + (value < 0)
    rounded: Array = (value >> np.asarray(exponent, np.int64)) + (remainder > threshold)
    return rounded


def requantize(
    value: Array, multiplier: Array | int, shift: Array | int, rounding: Rounding = Rounding.DOUBLE
) -> Array:
    """value * multiplier * 2**(shift - 31), rounded as said; int64 arrays holding int32 values, broadcast together."""
    multiplier, shift = np.asarray(multiplier, np.int64), np.asarray(shift, np.int64)
    if rounding is Rounding.SINGLE:
        total = 31 - shift
        scaled: Array = (np.asarray(value, np.int64) * multiplier + (np.int64(1) << (total - 1))) >> total
        return scaled
    left, right = np.maximum(shift, 0), np.maximum(-shift, 0)
    shifted = wrap_int32(np.asarray(value, np.int64) << left)
    return rounding_shift_right(doubling_high_multiply(shifted, multiplier), right)


def reduced_multiplier(multiplier: Array | int) -> Array:
    """A multiplier of 31 bits in 15, rounded, as the reference has it for sums of 64 bits."""
    reduced: Array = np.minimum((np.asarray(multiplier, np.int64) + 2**15) >> 16, 2**15 - 1)
    return reduced


def requantize_wide(value: Array, multiplier: Array | int, shift: Array | int) -> Array:
    """value * the reduced multiplier * 2**(shift - 15), rounded once, halves up; |value| < 2**47, shift < 15."""
    total = 15 - np.asarray(shift, np.int64)
    product = np.asarray(value, np.int64) * reduced_multiplier(multiplier)
    scaled: Array = (product + (np.int64(1) << (total - 1))) >> total
    return scaled


def saturate(value: Array, dtype: str = "int8") -> Array:
    """`value` limited to the range of `dtype`, in that type."""
    low, high = RANGES[dtype]
    limited: Array = np.clip(value, low, high).astype(dtype)
    return limited


ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")
"""Fused activations, in the order of the file format's enumeration."""


def activation_range(activation: str, scale: float, zero_point: int, dtype: str = "int8") -> tuple[int, int]:
    """The least and greatest stored value that a fused activation leaves."""
    low, high = RANGES[dtype]

    def stored(real: float) -> int:
        return zero_point + _round_half_away(float(np.float32(np.float32(real) / np.float32(scale))))

    if activation == "RELU":
        return max(low, stored(0.0)), high
    if activation == "RELU6":
        return max(low, stored(0.0)), min(high, stored(6.0))
    if activation == "RELU_N1_TO_1":
        return max(low, stored(-1.0)), min(high, stored(1.0))
    return low, high
