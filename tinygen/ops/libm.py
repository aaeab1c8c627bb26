"""Functions of the C library on float32, computed step by step so that every host gets the same bits.

The reference interpreter fills its tables with its host's expf, expm1f, tanhf and erfcf. glibc up to 2.40, newlib,
musl, bionic and FreeBSD share one algorithm for the last three, the float32 edition of fdlibm, whose last bit is not
always the nearest one: rounding float64 results instead moves one entry of a table in about 500,000. Newer glibc rounds
exactly. Source of the method and its coefficients: fdlibm (s_expm1.c, s_tanh.c, s_erf.c). The steps equal glibc 2.36
bit for bit, but for the exponential inside erfc, which is rounded exactly here.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Float = Any
"""One np.float32; its arithmetic has no narrower static type."""

_ZERO, _HALF, _ONE, _TWO, _THREE, _SIX = map(np.float32, (0.0, 0.5, 1.0, 2.0, 3.0, 6.0))
_LN2_HIGH, _LN2_LOW, _PER_LN2 = map(np.float32, (6.9313812256e-01, 9.0580006145e-06, 1.4426950216))
_ERF_1 = np.float32(8.4506291151e-01)
_HIGH_BITS = np.uint32(0xFFFFE000)
"""A float32 cut to these bits has an exact square."""

Polynomial = tuple[np.float32, ...]


def _polynomial(*coefficients: float) -> Polynomial:
    """Coefficients from the highest power down."""
    return tuple(np.float32(c) for c in reversed(coefficients))


_EXPM1 = _polynomial(1.0, -3.3333335072e-02, 1.5873016091e-03, -7.9365076090e-05, 4.0082177293e-06, -2.0109921195e-07)
_NEAR_0 = (
    _polynomial(1.2837916613e-01, -3.2504209876e-01, -2.8481749818e-02, -5.7702702470e-03, -2.3763017452e-05),
    _polynomial(1.0, 3.9791721106e-01, 6.5022252500e-02, 5.0813062117e-03, 1.3249473704e-04, -3.9602282413e-06),
)
_NEAR_1 = (
    _polynomial(
        *(-2.3621185683e-03, 4.1485610604e-01, -3.7220788002e-01, 3.1834661961e-01),
        *(-1.1089469492e-01, 3.5478305072e-02, -2.1663755178e-03),
    ),
    _polynomial(
        *(1.0, 1.0642088205e-01, 5.4039794207e-01, 7.1828655899e-02),
        *(1.2617121637e-01, 1.3637083583e-02, 1.1984500103e-02),
    ),
)
_MIDDLE = (
    _polynomial(
        *(-9.8649440333e-03, -6.9385856390e-01, -1.0558626175e01, -6.2375331879e01),
        *(-1.6239666748e02, -1.8460508728e02, -8.1287437439e01, -9.8143291473e00),
    ),
    _polynomial(
        *(1.0, 1.9651271820e01, 1.3765776062e02, 4.3456588745e02, 6.4538726807e02),
        *(4.2900814819e02, 1.0863500214e02, 6.5702495575e00, -6.0424413532e-02),
    ),
)
_TAIL = (
    _polynomial(
        *(-9.8649431020e-03, -7.9928326607e-01, -1.7757955551e01, -1.6063638306e02),
        *(-6.3756646729e02, -1.0250950928e03, -4.8351919556e02),
    ),
    _polynomial(
        *(1.0, 3.0338060379e01, 3.2579251099e02, 1.5367296143e03),
        *(3.1998581543e03, 2.5530502930e03, 4.7452853394e02, -2.2440952301e01),
    ),
)
_MIDDLE_END = np.float32(2.857142686843872)
"""About 1 / 0.35, as fdlibm has it."""


def _each(function: Callable[[Float], Float]) -> Callable[[Floats], Floats]:
    """`function` of every element; values beyond float32 become infinite."""

    @functools.wraps(function)
    def over_array(x: Floats) -> Floats:
        with np.errstate(all="ignore"):
            return np.array([function(value) for value in np.ravel(x)], np.float32).reshape(np.shape(x))

    return over_array


def _value(x: Float, polynomial: Polynomial) -> Float:
    total = polynomial[0]
    for coefficient in polynomial[1:]:
        total = coefficient + x * total
    return total


def _exp(x: Float) -> Float:
    return np.float32(math.exp(min(float(x), 100.0)))


def _expm1(x: Float) -> Float:
    """x = k * ln 2 + rest, a rational function of the rest, then 2**k."""
    if x < -27 * math.log(2):
        return -_ONE
    if x > 88.72168:
        return np.float32(np.inf)
    if abs(x) < 2.0**-25:
        return x
    k, lost = 0, _ZERO
    if abs(x) > 0.5 * math.log(2):
        k = int(_PER_LN2 * x + np.copysign(_HALF, x)) if abs(x) >= np.float32(1.0397207) else int(np.copysign(1, x))
        high, low = x - np.float32(k) * _LN2_HIGH, np.float32(k) * _LN2_LOW
        x = high - low
        lost = (high - x) - low
    half_x = _HALF * x
    half_square = x * half_x
    series = _value(half_square, _EXPM1)
    t = _THREE - series * half_x
    error = half_square * ((series - t) / (_SIX - x * t))
    if k == 0:
        return x - (x * error - half_square)
    return _expm1_scaled(x, (x * (error - lost) - lost) - half_square, k)


def _expm1_scaled(x: Float, error: Float, k: int) -> Float:
    if k == -1:
        return _HALF * (x - error) - _HALF
    if k == 1:
        return -_TWO * (error - (x + _HALF)) if x < -0.25 else _ONE + _TWO * (x - error)
    if k <= -2 or k > 56:
        return np.float32(math.ldexp(_ONE - (error - x), k)) - _ONE
    small = np.float32(2.0**-k)
    mantissa = (_ONE - small) - (error - x) if k < 23 else (x - (error + small)) + _ONE
    return np.float32(math.ldexp(mantissa, k))


def _tanh(x: Float) -> Float:
    size = abs(x)
    if size >= 22:
        return np.copysign(_ONE, x)
    if size < 2.0**-55:
        return x
    if size >= 1:
        return np.copysign(_ONE - _TWO / (_expm1(_TWO * size) + _TWO), x)
    t = _expm1(-_TWO * size)
    return np.copysign(-t / (t + _TWO), x)


def _erfc(x: Float) -> Float:
    size = abs(x)
    if size < 0.84375:
        square = x * x
        part = x * (_value(square, _NEAR_0[0]) / _value(square, _NEAR_0[1]))
        return _ONE - (x + part) if x < 0.25 else _HALF - (part + (x - _HALF))
    if size < 1.25:
        above = size - _ONE
        part = _value(above, _NEAR_1[0]) / _value(above, _NEAR_1[1])
        return (_ONE - _ERF_1) - part if x > 0 else _ONE + (_ERF_1 + part)
    if size >= 28 or x < -6:
        return _ZERO if x > 0 else _TWO
    top, bottom = _MIDDLE if size < _MIDDLE_END else _TAIL
    inverse = _ONE / (size * size)
    cut = (np.atleast_1d(size).view(np.uint32) & _HIGH_BITS).view(np.float32)[0]
    tail = _exp(-cut * cut - np.float32(0.5625)) * _exp(
        (cut - size) * (cut + size) + _value(inverse, top) / _value(inverse, bottom)
    )
    return tail / size if x > 0 else _TWO - tail / size


exp = _each(_exp)
"""e**x, rounded exactly; glibc's own result differs in one of 2,000 last bits."""

expm1 = _each(_expm1)
"""e**x - 1."""

tanh = _each(_tanh)
"""Hyperbolic tangent."""

erfc = _each(_erfc)
"""1 - erf(x)."""
