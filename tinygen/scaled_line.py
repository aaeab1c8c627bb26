"""Turns the steps of a layer into scaling by two multiplications of 32 bits, for cores whose product has no more.

stored = ssat8((sum * high + (sum * low >> right) + addend) >> shift) is a line with the multiplier
(high << right) + low: sum * high << right is whole. So it is searched for as in tinygen/requantize.py, and proved so.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.requantize import Steps

LOW_BITS = 14
"""Of the lower part of a multiplier, at most: beyond, precision is lost in the addend."""
MOST_SHIFT = 22
"""Of a result in 32 bits: leaves the output and its sign."""
FAR = 2**60
"""A bound that is not there."""
WALK = 32
"""Multipliers tried to each side of the one with the widest gap."""


@dataclass(frozen=True, eq=False)
class ScaledLine:
    """The words of the channels."""

    words: Array
    """int64 [channels, 3]: high, low, addend."""
    shifts: Array
    """int64 [channels, 2]: right, shift; equal in a block."""

    def stored(self, sums: Array) -> Array:
        """The stored outputs of sums [..., channels], each step in 32 bits."""
        high, low, addend = self.words.T
        right, shift = self.shifts.T
        total = quant.wrap_int32(sums * high + (quant.wrap_int32(sums * low) >> right) + addend)
        return quant.saturate(total >> shift)


def search(wanted: Steps, starts: Array, size: int) -> ScaledLine | None:
    """A line with exactly these steps in every channel, the shifts of each block of `size` channels alike."""
    right, shift = _shifts(wanted, starts, size)
    if right.min() < 1 or shift.min() < 1:
        return None
    found = _Search(wanted, right, shift).solve()
    if found is None or not _proved(found, wanted):
        return None
    return found


def _shifts(wanted: Steps, starts: Array, size: int) -> tuple[Array, Array]:
    """[channels] each: the most that leave all steps in 32 bits, the least of each block.

    A channel of two blocks, the last of which starts early, takes the least of both.
    """
    reach = np.maximum(np.abs(wanted.least), np.abs(wanted.most)).astype(np.float64) + 1
    first = wanted.first.astype(np.float64)
    center = np.where(first > wanted.most[:, None], wanted.least[:, None], first)[:, -1]
    outputs = wanted.slopes * (reach + np.abs(center)) + 2 * quant.INT32_MAX / 2**23
    right = np.minimum(LOW_BITS, 32 - np.ceil(np.log2(reach))).astype(np.int64)
    shift = np.minimum(MOST_SHIFT, np.floor(31 - np.log2(outputs))).astype(np.int64)
    for _ in range(2):
        for start in starts:
            block = slice(start, start + size)
            right[block], shift[block] = right[block].min(), shift[block].min()
    return right, shift


class _Search:
    """All channels at once; with the multiplier m, addend << right must lie in [lower(m), upper(m)]."""

    def __init__(self, wanted: Steps, right: Array, shift: Array) -> None:
        self._right, self._shift = right, shift
        reach, miss = wanted.first <= wanted.most[:, None], wanted.first > wanted.least[:, None]
        levels = wanted.levels.astype(np.int64) << (right + shift)[:, None]
        self._on, self._before = np.where(reach, wanted.first, 0), np.where(miss, wanted.first - 1, 0)
        self._lower, self._upper = np.where(reach, levels, -FAR), np.where(miss, levels - 1, FAR)
        steepest = np.ldexp(wanted.slopes, (right + shift).astype(np.int32))
        self._most = np.minimum(2.0**40, steepest * 1.5 + 4).astype(np.int64)

    def solve(self) -> ScaledLine | None:
        """The line, or None when a channel has none."""
        widest = self._widest()
        multiplier, addend = widest.copy(), np.zeros(len(widest), np.int64)
        open_ = np.arange(len(widest))
        for distance in sorted(range(-WALK, WALK + 1), key=abs):
            tried = np.maximum(widest[open_] + distance, 0)
            lower, upper = self._bounds(tried, open_)
            right = self._right[open_]
            low, high = -((-lower.max(axis=1)) >> right), upper.min(axis=1) >> right
            solved = low <= high
            multiplier[open_[solved]] = tried[solved]
            addend[open_[solved]] = _between(low, high)[solved]
            open_ = open_[~solved]
            if not len(open_):
                return self._line(multiplier, addend)
        return None

    def _line(self, multiplier: Array, addend: Array) -> ScaledLine:
        half = np.int64(1) << (self._right - 1)
        high = (multiplier + half) >> self._right
        low = multiplier - (high << self._right)
        return ScaledLine(np.stack([high, low, addend], axis=1), np.stack([self._right, self._shift], axis=1))

    def _widest(self) -> Array:
        """Per channel the multiplier with the greatest gap: bisection on the sign of its slope, the gap is concave."""
        low, high = np.zeros(len(self._most), np.int64), self._most.copy()
        rows = np.arange(len(low))
        while np.any(low < high):
            middle = (low + high) >> 1
            lower, upper = self._bounds(middle, slice(None))
            rises = self._on[rows, lower.argmax(axis=1)] > self._before[rows, upper.argmin(axis=1)]
            low, high = np.where(rises, np.minimum(middle + 1, high), low), np.where(rises, high, middle)
        return low

    def _bounds(self, multiplier: Array, rows: Array | slice) -> tuple[Array, Array]:
        """[rows, levels]: what addend << right must not be below, and not above."""
        factor = multiplier[:, None]
        return self._lower[rows] - self._on[rows] * factor, self._upper[rows] - self._before[rows] * factor


def _between(low: Array, high: Array) -> Array:
    """The middle; where one end is missing, the other; where both are, the line is flat anywhere near zero."""
    free_low, free_high = low < -(2**31), high >= 2**31
    return np.where(free_low, np.where(free_high, 0, high), np.where(free_high, low, (low + high) >> 1))


def _proved(found: ScaledLine, wanted: Steps) -> bool:
    """Whether each level is reached at its first sum and not before, as the kernel computes it, inside 32 bits."""
    first, levels = wanted.first, wanted.levels[:, None]
    on = found.stored(np.minimum(first.T, wanted.most)) >= levels
    before = found.stored(np.maximum(first.T - 1, wanted.least)) < levels
    reached = on | (first > wanted.most[:, None]).T
    missed = before | (first == wanted.least[:, None]).T
    ends = np.stack([wanted.least, wanted.most])
    high, low, addend = found.words.T
    products = ends * low
    totals = ends * high + (products >> found.shifts[:, 0]) + addend
    inside = max(np.abs(products).max(), np.abs(totals).max(), np.abs(addend).max()) < 2**31
    return bool(np.all(reached & missed) and inside)
