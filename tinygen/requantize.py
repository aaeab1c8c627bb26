"""Turns a layer's exact scaling into the cheapest arithmetic that is proved equal to it for every sum of the layer.

Per channel, the stored output is a staircase over the sum of weights times inputs: at most 255 steps, and only those
inside the range of the sum count. Whatever steps at the same sums is the same function, ties, zero point and limits
included. So a `Line`, one multiplication and one rounding down, is searched for such that it passes between the last
sum before and the first sum on each step; that is its proof. Outputs of one sign nearly always have one. Two roundings,
halves away from zero, bend the staircase at zero: outputs of both signs then take `Roundings`, which needs no search.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from tinygen import quant
from tinygen.ir import Array

INPUT_LOW, INPUT_HIGH = quant.RANGES["int8"]
MULTIPLIER_MAX = 2**31 - 1
MOST_SHIFT = 20
"""Of a result in 32 bits: leaves 12 for the output, its sign and what exceeds it. All differences below fit 64 bits."""
SHIFT_GRID = 4
"""Shifts that are multiples of it come first, so that layers of equal shape share one kernel."""
GUESS_ERROR = 4
"""Sums between a step and where the slope alone has it: under 2 for two roundings, and 1 for a rounded multiplier."""
LEAST_SLOPE = 2.0**-80
"""Far below what lifts any sum of 32 bits to another output."""
WALK = 16
"""Multipliers tried to each side of the one with the widest gap, for one with a whole offset in its gap."""
FAR = 2**62
"""A bound that is not there: beyond offset * multiplier, and products of 2**62 added to it still fit 64 bits."""


@dataclass(frozen=True, eq=False)
class Steps:
    """Where the stored output of each channel steps up, as a function of its sum without bias."""

    first: Array
    """[channels, levels]: the least sum whose output reaches the level; `most` + 1 when none does."""
    levels: Array
    """The stored outputs above the least one, in order."""
    least: Array
    """[channels]: the least sum that can occur."""
    most: Array
    slopes: Array
    """[channels]: output units for each unit of the sum."""
    zero_point: int


@dataclass(frozen=True, eq=False)
class Line:
    """stored = ssat8((addend + ((offset + (sum << left)) * multiplier >> 32)) >> shift): no step leaves 32 bits.

    The limits of a fused activation inside [-128, 127] are still to be applied.
    """

    multiplier: Array
    """int32 [channels]"""
    offset: Array
    """int32 [channels]"""
    left: Array
    """[channels]"""
    addend: int
    shift: int

    def stored(self, sums: Array) -> Array:
        """The stored outputs of sums [..., channels]."""
        scaled = (self.offset.astype(np.int64) + (sums << self.left)) * self.multiplier >> 32
        return quant.saturate((self.addend + scaled) >> self.shift)


@dataclass(frozen=True, eq=False)
class Roundings:
    """Two roundings as they are: doubled = offset + 2 * sum, at = addend + (doubled >> 31), both of 32 bits, then
    stored = ssat8((at + (doubled * multiplier + 2**31 >> 32)) >> shift).

    The limits of a fused activation inside [-128, 127] are still to be applied.
    """

    multiplier: Array
    """int32 [channels]"""
    offset: Array
    """int32 [channels]: twice the bias"""
    addend: Array
    """int32 [channels]"""
    shift: Array
    """int32 [channels], at least 1"""

    def stored(self, sums: Array) -> Array:
        """The stored outputs of sums [..., channels]."""
        doubled = self.offset.astype(np.int64) + 2 * sums
        high = (doubled * self.multiplier + 2**31) >> 32
        return quant.saturate((self.addend + (doubled >> 31) + high) >> self.shift)


def sum_range(weights: Array) -> tuple[Array, Array]:
    """The least and the greatest sum of weights [channels, ...] times int8 inputs, zero points not subtracted."""
    rows = weights.reshape(len(weights), -1).astype(np.int64)
    ends = rows * INPUT_LOW, rows * INPUT_HIGH
    return np.minimum(*ends).sum(axis=1), np.maximum(*ends).sum(axis=1)


def steps(
    scaled: Callable[[Array], Array],
    slopes: Array,
    bias: Array,
    sums: tuple[Array, Array],
    zero_point: int,
    limits: tuple[int, int],
) -> Steps:
    """The steps of sat(scaled(sum + bias) + zero_point), for sums in a range per channel, limited to `limits`.

    `scaled` takes [channels, n] and never falls; to within a few sums it is slope * total.
    """
    low, high = limits
    levels = np.arange(low + 1, high + 1, dtype=np.int64)
    least, most = (np.asarray(end, np.int64)[:, None] + bias[:, None] for end in sums)
    slope = np.maximum(np.asarray(slopes, np.float64), LEAST_SLOPE)[:, None]
    guess = np.clip((levels - zero_point - 0.5) / slope, least, most + 1).astype(np.int64)
    below, reached = np.maximum(guess - GUESS_ERROR, least), np.minimum(guess + GUESS_ERROR, most + 1)
    while np.any(below < reached):
        middle = (below + reached) >> 1
        reaches = scaled(np.minimum(middle, most)) + zero_point >= levels
        reaches |= middle > most
        reached = np.where(reaches, middle, reached)
        below = np.where(reaches, below, np.minimum(middle + 1, reached))
    _check_steps(scaled, reached, levels - zero_point, least, most)
    return Steps(reached - bias[:, None], levels, sums[0], sums[1], np.asarray(slopes, np.float64), zero_point)


def _check_steps(scaled: Callable[[Array], Array], first: Array, levels: Array, least: Array, most: Array) -> None:
    """The definition itself: the first total reaches its level, the one before does not."""
    reaches = (scaled(np.minimum(first, most)) >= levels) | (first > most)
    misses = (scaled(np.maximum(first - 1, least)) < levels) | (first == least)
    assert np.all(reaches & misses), "a scaling is not within GUESS_ERROR of its slope"


def two_roundings(
    multiplier: Array, shift: Array, bias: Array, sums: tuple[Array, Array], zero_point: int, limits: tuple[int, int]
) -> Steps:
    """The steps of TensorFlow Lite's two roundings, one multiplier and shift for each channel or for all."""
    count = len(sums[0])
    multipliers = np.broadcast_to(np.asarray(multiplier, np.int64), count)
    shifts = np.broadcast_to(np.asarray(shift, np.int64), count)

    def scaled(totals: Array) -> Array:
        return quant.requantize(totals, multipliers[:, None], shifts[:, None])

    slopes = np.ldexp(multipliers.astype(np.float64), shifts - 31)
    return steps(scaled, slopes, bias, sums, zero_point, limits)


def line(wanted: Steps, left: Array | int, shared: bool = False, nearest: bool = False) -> Line | None:
    """A line with exactly these steps in every channel, the sums of each shifted left by so much; None without one.

    `shared`: the same multiplier in all channels. `nearest`: the shift rounds to the nearest, halves up, by an addend.
    """
    lefts = np.broadcast_to(np.asarray(left, np.int64), len(wanted.first))
    for shift in _shifts(wanted, lefts):
        found = _Search(wanted, lefts, shift, shared, nearest).solve()
        if found is not None:
            return found
    return None


def roundings(
    multiplier: Array, shift: Array, bias: Array, sums: tuple[Array, Array], zero_point: int
) -> Roundings | None:
    """Two roundings in 32 bits; None when a channel has no second one (nothing to shift), or leaves 32 bits."""
    offset = 2 * np.asarray(bias, np.int64)
    rights = np.broadcast_to(-np.asarray(shift, np.int64), len(offset))
    reach = np.maximum(np.abs(offset + 2 * sums[0]), np.abs(offset + 2 * sums[1]))
    fits = np.all(reach < 2**31) and np.all(np.abs(offset) < 2**31)
    if not fits or rights.min() < 1 or rights.max() > MOST_SHIFT:
        return None
    addend = (zero_point << rights) + (np.int64(1) << (rights - 1))
    multipliers = np.broadcast_to(np.asarray(multiplier, np.int32), len(offset))
    return Roundings(multipliers, offset.astype(np.int32), addend.astype(np.int32), rights.astype(np.int32))


def _shifts(wanted: Steps, left: Array) -> Iterator[int]:
    """Shifts worth trying: one of the grid, then the most for which every multiplier has 31 bits.

    A channel that never steps takes any multiplier.
    """
    moves = np.any((wanted.first > wanted.least[:, None]) & (wanted.first <= wanted.most[:, None]), axis=1)
    steepest = np.ldexp(wanted.slopes, 32 - left).max(where=moves, initial=0.0)
    most = MOST_SHIFT if steepest == 0 else min(MOST_SHIFT, int(np.floor(np.log2(MULTIPLIER_MAX / steepest))))
    candidates = (most // SHIFT_GRID * SHIFT_GRID, most)
    return iter(dict.fromkeys(shift for shift in candidates if shift >= 1))


class _Search:
    """The search for one shift, all channels at once.

    With the multiplier m, offset * m must lie in [lower(m), upper(m)]: above, every first sum reaches its level; below,
    every sum before it does not. Both ends are piecewise linear, and upper - lower is concave: its maximum is where its
    slope changes sign. So is the least of several channels' gaps.
    """

    def __init__(self, wanted: Steps, left: Array, shift: int, shared: bool, nearest: bool) -> None:
        self._wanted, self._left, self._shift, self._shared = wanted, left, shift, shared
        self._addend = (wanted.zero_point << shift) + (1 << shift - 1 if nearest else 0)
        least, most, column = wanted.least << left, wanted.most << left, left[:, None]
        self._fits = bool(np.all((least > -(2**31)) & (most < 2**31)))
        self._offset_range = np.maximum(-(2**31), -(2**31) - least), np.minimum(2**31 - 1, 2**31 - 1 - most)
        reach, miss = wanted.first <= wanted.most[:, None], wanted.first > wanted.least[:, None]
        levels = np.broadcast_to((wanted.levels << shift) - self._addend << 32, wanted.first.shape)
        # The last column is the range of the offset itself, as two more lines through 0.
        self._on = _with_column(np.where(reach, wanted.first, 0) << column, -self._offset_range[0])
        self._before = _with_column(np.where(miss, wanted.first - 1, 0) << column, -self._offset_range[1])
        self._lower = _with_column(np.where(reach, levels, -FAR), 0)
        self._upper = _with_column(np.where(miss, levels - 1, FAR), 0)

    def solve(self) -> Line | None:
        """The line, or None when a channel has none."""
        if not self._fits:
            return None
        widest = self._widest()
        multiplier, offset = widest.copy(), np.zeros(len(widest), np.int64)
        open_ = np.arange(len(widest))
        for distance in _outwards(WALK):
            tried = np.clip(widest[open_] + distance, 1, MULTIPLIER_MAX)
            low, high = self._offsets(tried, open_)
            solved = np.logical_and(low <= high, not self._shared or np.all(low <= high))
            multiplier[open_[solved]] = tried[solved]
            offset[open_[solved]] = ((low + high) >> 1)[solved]
            open_ = open_[~solved]
            if not len(open_):
                pair = multiplier.astype(np.int32), offset.astype(np.int32)
                found = Line(*pair, self._left, self._addend, self._shift)
                assert _proved(found, self._wanted), "the search and the proof disagree"
                return found
        return None

    def _widest(self) -> Array:
        """Per channel the multiplier with the greatest gap between the bounds: bisection on the sign of its slope."""
        count = len(self._wanted.first)
        low, high = np.ones(count, np.int64), np.full(count, MULTIPLIER_MAX, np.int64)
        rows = np.arange(count)
        while np.any(low < high):
            middle = (low + high) >> 1
            lower, upper = self._bounds(middle, slice(None))
            at_lower, at_upper = lower.argmax(axis=1), upper.argmin(axis=1)
            rises = self._on[rows, at_lower] > self._before[rows, at_upper]
            if self._shared:
                gaps = upper[rows, at_upper].astype(np.float64) - lower[rows, at_lower].astype(np.float64)
                rises[:] = rises[gaps.argmin()]
            low, high = np.where(rises, np.minimum(middle + 1, high), low), np.where(rises, high, middle)
        return low

    def _bounds(self, multiplier: Array, rows: Array | slice) -> tuple[Array, Array]:
        """[rows, levels]: what offset * multiplier must not be below, and not above."""
        factor = multiplier[:, None]
        lower: Array = self._lower[rows] - self._on[rows] * factor
        upper: Array = self._upper[rows] - self._before[rows] * factor
        return lower, upper

    def _offsets(self, multiplier: Array, rows: Array) -> tuple[Array, Array]:
        """The least and the greatest whole offset of each row."""
        lower, upper = self._bounds(multiplier, rows)
        return -(-lower.max(axis=1) // multiplier), upper.min(axis=1) // multiplier


def _with_column(table: Array, column: Array | int) -> Array:
    """The table with one more column at its end."""
    return np.concatenate([table, np.broadcast_to(column, len(table))[:, None]], axis=1)


def _outwards(most: int) -> Iterator[int]:
    """0, 1, -1, 2, -2, ... to `most` on both sides."""
    yield 0
    for distance in range(1, most + 1):
        yield distance
        yield -distance


def _proved(found: Line, wanted: Steps) -> bool:
    """Whether the line, computed as the kernel does it, reaches each level at its first sum and not before."""
    first, levels = wanted.first, wanted.levels[:, None]
    on = found.stored(np.minimum(first.T, wanted.most)) >= levels
    before = found.stored(np.maximum(first.T - 1, wanted.least)) < levels
    reached = on | (first > wanted.most[:, None]).T
    missed = before | (first == wanted.least[:, None]).T
    ends = np.array([wanted.least, wanted.most]) << found.left
    inside = np.abs(found.offset.astype(np.int64) + ends + 0.5).max() < 2**31
    return bool(np.all(reached & missed) and inside)
