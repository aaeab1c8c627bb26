"""Turns the steps of a layer into scaling by two multiplications of 32 bits, for cores whose product has no more.

stored = ssat8((sum * high + (sum * low >> right) + addend) >> shift) is a line with the multiplier
(high << right) + low: sum * high << right is whole. So it is searched for as in tinygen/requantize.py, and proved so.
Two roundings, halves away from zero, need another addend below zero where outputs have both signs: a line with a kink.
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
    """int64 [channels, 3]: high, low, addend; with a kink a fourth, what the addend has more below a sum of zero."""
    shifts: Array
    """int64 [channels, 2]: right, shift; equal in a block."""

    def stored(self, sums: Array) -> Array:
        """The stored outputs of sums [..., channels], each step in 32 bits."""
        return quant.saturate(self.totals(sums) >> self.shifts[:, 1])

    def totals(self, sums: Array) -> Array:
        """What is shifted at last, not wrapped to 32 bits; the proof shows that it need not be."""
        high, low, addend = self.words.T[:3]
        below = (sums >> 31) & self.words[:, 3] if self.kinked else 0
        return np.asarray(sums * high + (sums * low >> self.shifts[:, 0]) + addend + below)

    @property
    def kinked(self) -> bool:
        """Whether there is another addend below zero."""
        return bool(self.words.shape[1] > 3)


def search(
    wanted: Steps,
    starts: Array,
    size: int,
    kinked: bool = False,
    low_bits: int = LOW_BITS,
    most_shift: int = MOST_SHIFT,
) -> ScaledLine | None:
    """A line with exactly these steps in every channel, the shifts of each block of `size` channels alike.

    The lower part of a multiplier has `low_bits` at most.
    """
    right, shift = _shifts(wanted, starts, size)
    right, shift = np.minimum(right, low_bits), np.minimum(shift, most_shift)
    if right.min() < 1 or shift.min() < 1:
        return None
    found = _Search(wanted, right, shift, kinked).solve()
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
    """All channels at once; with the multiplier m, addend << right must lie in [lower(m), upper(m)], on each side."""

    def __init__(self, wanted: Steps, right: Array, shift: Array, kinked: bool) -> None:
        self._right, self._shift, self._sides = right, shift, 2 if kinked else 1
        levels = wanted.levels.astype(np.int64) << (right + shift)[:, None]
        self._on, self._before = wanted.first, wanted.first - 1
        reach, miss = self._on <= wanted.most[:, None], self._before >= wanted.least[:, None]
        self._lower = [np.where(reach & on, levels, -FAR) for on in self._split(self._on)]
        self._upper = [np.where(miss & before, levels - 1, FAR) for before in self._split(self._before)]
        self._on, self._before = np.where(reach, self._on, 0), np.where(miss, self._before, 0)
        steepest = np.ldexp(wanted.slopes, (right + shift).astype(np.int32))
        self._most = np.minimum(2.0**40, steepest * 1.5 + 4).astype(np.int64)

    def _split(self, sums: Array) -> list[Array]:
        """For each side of the line the sums on it."""
        return [sums >= 0, sums < 0] if self._sides == 2 else [np.ones_like(sums, bool)]

    def solve(self) -> ScaledLine | None:
        """The line, or None when a channel has none."""
        widest = self._widest()
        multiplier, addends = widest.copy(), np.zeros((self._sides, len(widest)), np.int64)
        open_ = np.arange(len(widest))
        for distance in sorted(range(-WALK, WALK + 1), key=abs):
            tried = np.maximum(widest[open_] + distance, 0)
            low, high = self._addends(tried, open_)
            solved = np.all(low <= high, axis=0)
            multiplier[open_[solved]] = tried[solved]
            addends[:, open_[solved]] = _between(low, high)[:, solved]
            open_ = open_[~solved]
            if not len(open_):
                return self._line(multiplier, addends)
        return None

    def _line(self, multiplier: Array, addends: Array) -> ScaledLine:
        half = np.int64(1) << (self._right - 1)
        high = (multiplier + half) >> self._right
        low = multiplier - (high << self._right)
        below = addends[1:] - addends[0]
        words = np.stack([high, low, addends[0], *below], axis=1)
        return ScaledLine(words, np.stack([self._right, self._shift], axis=1))

    def _widest(self) -> Array:
        """Per channel the multiplier with the greatest gap: bisection on the sign of its slope, the gap is concave."""
        low, high = np.zeros(len(self._most), np.int64), self._most.copy()
        rows = np.arange(len(low))
        while np.any(low < high):
            middle = (low + high) >> 1
            gaps, rise = [], []
            for lower, upper in self._bounds(middle, rows):
                at_lower, at_upper = lower.argmax(axis=1), upper.argmin(axis=1)
                gaps.append(upper[rows, at_upper] - lower[rows, at_lower])
                rise.append(self._on[rows, at_lower] > self._before[rows, at_upper])
            rises = np.where(gaps[0] <= gaps[-1], rise[0], rise[-1])
            low, high = np.where(rises, np.minimum(middle + 1, high), low), np.where(rises, high, middle)
        return low

    def _bounds(self, multiplier: Array, rows: Array) -> list[tuple[Array, Array]]:
        """For each side [rows, levels]: what addend << right must not be below, and not above."""
        on, before = self._on[rows] * multiplier[:, None], self._before[rows] * multiplier[:, None]
        return [(lower[rows] - on, upper[rows] - before) for lower, upper in zip(self._lower, self._upper, strict=True)]

    def _addends(self, multiplier: Array, rows: Array) -> tuple[Array, Array]:
        """[sides, rows]: the least and the greatest addend."""
        right, bounds = self._right[rows], self._bounds(multiplier, rows)
        low = [-((-lower.max(axis=1)) >> right) for lower, _ in bounds]
        return np.stack(low), np.stack([upper.min(axis=1) >> right for _, upper in bounds])


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
    inside = max(np.abs(values).max() for values in (ends * found.words[:, 1], found.totals(ends), found.words)) < 2**31
    zero = np.zeros(len(found.words), np.int64)
    rises = not found.kinked or np.all(found.totals(zero - 1) <= found.totals(zero))
    return bool(np.all(reached & missed) and inside and rises)
