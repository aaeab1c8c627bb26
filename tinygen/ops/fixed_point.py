"""Functions of fixed-point numbers in 32 bits, equal to gemmlowp's, in NumPy integers.

Qm.n has m integer bits and n fraction bits. Source of the arithmetic: gemmlowp's fixedpoint.h.
"""

from __future__ import annotations

import numpy as np

from tinygen.ir import Array
from tinygen.quant import INT32_MAX, doubling_high_multiply, rounding_shift_right

EXP_FRACTION_BITS = 26
"""`exponential` takes Q5.26, unless it is told otherwise."""

_EXP_OF_MINUS_EIGHTH = 1895147668
_THIRD = 715827883
_EXP_OF_MINUS_POWERS = (1672461947, 1302514674, 790015084, 290630308, 39332535, 720401, 242)
"""exp(-1/4), exp(-1/2), exp(-1), ... exp(-16) in Q0.31."""

_48_OVER_17 = 1515870810
_MINUS_32_OVER_17 = -1010580540


def exponential(value: Array, fraction_bits: int = EXP_FRACTION_BITS) -> Array:
    """exp(value) in Q0.31 of values with 26 or more fraction bits, none above 0; exp(0) is the greatest number below 1.

    A polynomial gives the power of the part in [-1/4, 0); each bit of the rest multiplies by a constant.
    """
    value, quarter = np.asarray(value, np.int64), 1 << (fraction_bits - 2)
    part = (value & (quarter - 1)) - quarter
    x = (part << (31 - fraction_bits)) + (1 << 28)
    square = doubling_high_multiply(x, x)
    cube, fourth = doubling_high_multiply(square, x), doubling_high_multiply(square, square)
    tail = doubling_high_multiply(rounding_shift_right(fourth, 2) + cube, _THIRD) + square
    power = _EXP_OF_MINUS_EIGHTH + doubling_high_multiply(x + rounding_shift_right(tail, 1), _EXP_OF_MINUS_EIGHTH)
    rest = part - value
    for bit, factor in enumerate(_EXP_OF_MINUS_POWERS):
        power = np.where(rest & (quarter << bit), doubling_high_multiply(power, factor), power)
    return np.where(value == 0, INT32_MAX, power)


def reciprocal_of_one_plus(value: Array) -> Array:
    """1 / (1 + value) in Q0.31 of values in [0, 1) in Q0.31, by three steps of Newton's method.

    Its C mirror is tg_reciprocal_of_one_plus.
    """
    clipped: Array = np.minimum(_quotient_of_two(value) << 1, INT32_MAX)
    return clipped


def logistic(value: Array) -> Array:
    """1 / (1 + exp(-value)) in Q0.31 of values in Q4.27."""
    value = np.asarray(value, np.int64)
    positive = reciprocal_of_one_plus(exponential(-np.abs(value), 27))
    return np.select([value == 0, value > 0], [1 << 30, positive], INT32_MAX - positive)


def tanh(value: Array) -> Array:
    """tanh(value) in Q0.31 of values in Q4.27: (1 - e) / (1 + e) with e = exp(-2 * |value|)."""
    value = np.asarray(value, np.int64)
    power = exponential(-np.abs(value), 26)
    size = np.minimum((_quotient_of_two(power) - (1 << 29)) << 2, INT32_MAX)
    found: Array = np.sign(value) * size
    return found


def _quotient_of_two(value: Array) -> Array:
    """2 / (1 + value) in Q2.29 of values in [0, 1) in Q0.31."""
    half = (np.asarray(value, np.int64) + (1 << 31)) >> 1
    found = _48_OVER_17 + doubling_high_multiply(half, _MINUS_32_OVER_17)
    for _ in range(3):
        error = (1 << 29) - doubling_high_multiply(half, found)
        found = found + (doubling_high_multiply(found, error) << 2)
    return found
