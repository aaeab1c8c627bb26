"""Turns a scaling that the reference computes in float64 into integers with the same result for every possible sum.

The reference's dense kernel gives round(sum * scale), the product in float64, halves away from zero. As a function of
the sum that is a staircase of at most 255 steps (65,535 of int16) inside the output's range. floor(sum * m + 1/2) is
the same staircase for every m in a small interval around the scale, whose ends follow exactly from the last sum before
and the first sum on each step. Most intervals hold an m of 31 bits, nearly all others one of 62. Some scales, such as
1/98, have an empty interval: their products fall next to halves, and rounding to 53 bits reaches some of these and not
others. They take the float64 product itself, in integers.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinygen import quant
from tinygen.ir import Array

WORD_BITS = 31
"""A multiplier has one word, or a second one with the bits below it; products with an int32 then fit 64 bits."""
SIGNIFICAND_BITS = 53
CLOSE = 1e-12
"""Relative; far more than float64 rounds two ratios of sums and levels by."""


@dataclass(frozen=True)
class Multiplier:
    """What a C function of tg_runtime.h takes beside the value."""

    high: int
    low: int
    shift: int


@dataclass(frozen=True)
class Scaling:
    """One C function and its multipliers, one for each scale."""

    function: str
    words: int
    """Words of a multiplier that the function takes."""
    multipliers: tuple[Multiplier, ...]


def scaled(sums: Array, scale: Array | float) -> Array:
    """round(sums * scale) as the reference computes it, as int64."""
    product = np.asarray(sums, np.float64) * np.asarray(scale, np.float64)
    size = np.abs(product)
    whole = np.floor(size)
    rounded: Array = np.copysign(whole + (size - whole >= 0.5), product).astype(np.int64)
    return rounded


def scaling(scales: Sequence[float], bounds: Sequence[int], low: int, high: int) -> Scaling:
    """Integers that scale every sum in [-bound, bound] as `scaled` does, for each scale and its bound.

    Results are compared as they are stored: limited to [low, high].
    """
    cases = list(zip(scales, bounds, strict=True))
    for function, words in (("tg_requantize_single", 1), ("tg_requantize_fine", 2)):
        found = [_multiplier(scale, bound, low, high, words) for scale, bound in cases]
        exact = tuple(multiplier for multiplier in found if multiplier is not None)
        if len(exact) == len(found):
            return Scaling(function, words, exact)
    return Scaling("tg_requantize_f64", 2, tuple(significand(scale) for scale in scales))


def significand(scale: float) -> Multiplier:
    """(high * 2**31 + low) * 2**(shift - 53) == scale."""
    fraction, shift = math.frexp(scale)
    significand = int(math.ldexp(fraction, SIGNIFICAND_BITS))
    return Multiplier(significand >> WORD_BITS, significand % 2**WORD_BITS, shift)


@functools.lru_cache(maxsize=4096)
def _multiplier(scale: float, bound: int, low: int, high: int, words: int) -> Multiplier | None:
    """(high + low / 2**31) * 2**(shift - 31) nearest to `scale` among those that are exact; None when there is none."""
    nearest, shift = quant.quantize_multiplier(scale)
    below = (words - 1) * WORD_BITS
    bits = 31 - shift + below
    if words > 1:
        numerator, denominator = scale.as_integer_ratio()
        nearest = (numerator << bits) // denominator
    least, most = _interval(scale, bound, low, high, bits)
    most = min(most, 2 ** (words * WORD_BITS) - 1)
    if least > most:
        return None
    chosen = min(max(nearest, least), most)
    return Multiplier(chosen >> below, chosen % 2**below, shift)


def _interval(scale: float, bound: int, low: int, high: int, bits: int) -> tuple[int, int]:
    """The least and the greatest m >= 0 for which floor(sum * m / 2**bits + 1/2) steps where `scaled` does."""
    least, most = 0, 2 ** (2 * WORD_BITS)
    reaching, missing = _steps(scale, bound, low, high)
    for total, level in reaching:  # total * m / 2**bits + 1/2 >= level
        target = (2 * level - 1) << bits
        if total > 0:
            least = max(least, -(-target // (2 * total)))
        elif total < 0:
            most = min(most, target // (2 * total))
    for total, level in missing:  # total * m / 2**bits + 1/2 < level
        target = (2 * level - 1) << bits
        if total > 0:
            most = min(most, -(-target // (2 * total)) - 1)
        elif total < 0:
            least = max(least, target // (2 * total) + 1)
    return least, most


def _steps(scale: float, bound: int, low: int, high: int) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """(sum, level) pairs: sums that just reach a level above `low`, and sums that just miss a level up to `high`."""
    first, last = (int(end) for end in scaled(np.array([-bound, bound]), scale))
    levels = np.arange(max(low, first) + 1, min(high, last) + 1)
    sums = _first_sums(scale, bound, levels)
    reaching, missing = _nearest(sums, levels), _nearest(sums - 1, levels)
    if first > low:
        reaching.append((-bound, min(first, high)))
    if last < high:
        missing.append((bound, max(last, low) + 1))
    return reaching, missing


def _nearest(sums: Array, levels: Array) -> list[tuple[int, int]]:
    """Those pairs that can decide an interval: of sums above 0 and of sums below, with the extreme ratios."""
    deciding = np.zeros(len(sums), np.bool_)
    for side in (sums > 0, sums < 0):
        ratios = (levels[side] - 0.5) / sums[side]
        if len(ratios):
            low, high = ratios.min(), ratios.max()
            deciding[side] = (ratios <= low + CLOSE * abs(low)) | (ratios >= high - CLOSE * abs(high))
    return list(zip(sums[deciding].tolist(), levels[deciding].tolist(), strict=True))


def _first_sums(scale: float, bound: int, levels: Array) -> Array:
    """For each level that occurs, the least sum in [-bound, bound] that reaches it."""
    if not len(levels):
        return np.zeros(0, np.int64)
    guess = np.clip(np.ceil((levels - 0.5) / scale), -bound, bound).astype(np.int64)
    near = np.clip(guess[:, None] + np.arange(-2, 3), -bound, bound)
    first: Array = near[np.arange(len(levels)), np.argmax(scaled(near, scale) >= levels[:, None], axis=1)]
    return first
