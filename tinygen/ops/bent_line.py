"""Turns the steps of a layer whose sums come out enlarged into a line for each channel that may bend at zero.

Two roundings, halves away from zero, move the steps below zero against those above it. So a multiplication takes one of
two addends, by the sign of the sum. As the sums are many times too large, a step lies far from the sums beside it in
what the multiplication takes: a number next to the layer's own scale nearly always does. It is proved at every step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.requantize import LEAST_SLOPE, MOST_SHIFT, MULTIPLIER_MAX, SHIFT_GRID, Steps

MOST_MULTIPLIER = MULTIPLIER_MAX // 4
"""A kernel may multiply by four times as much, where its sums are four times less enlarged."""
NEAR = 4
"""Multipliers tried on each side of the one next to the scale."""
FAR = 2**40
"""An addend that no bound asks for: beyond all that fit 32 bits."""


@dataclass(frozen=True, eq=False)
class BentLine:
    """stored = ssat8((addend + (total < 0 ? bend : 0) + (enlarged * total * multiplier >> 32)) >> shift).

    No step leaves 32 bits. A total is a sum with its bias. The limits of a fused activation inside [-128, 127]
    are still to be applied.
    """

    multiplier: Array
    """int32 [channels]"""
    addend: Array
    """int32 [channels]"""
    bend: Array
    """int32 [channels]"""
    shift: int
    enlarged: int

    def before_shift(self, totals: Array) -> Array:
        """What is shifted and limited, of totals [..., channels]."""
        scaled = totals * self.enlarged * self.multiplier.astype(np.int64) >> 32
        found: Array = self.addend + np.where(totals < 0, self.bend, 0) + scaled
        return found

    def stored(self, totals: Array) -> Array:
        """The stored outputs of totals [..., channels]."""
        return quant.saturate(self.before_shift(totals) >> self.shift)


def search(wanted: Steps, bias: Array, enlarged: int) -> BentLine | None:
    """A line with exactly these steps in every channel; None without one. `enlarged` * total is a number of 32 bits."""
    steepest = max(float(wanted.slopes.max()), LEAST_SLOPE) * 2.0**32 / enlarged
    most = min(MOST_SHIFT, int(np.floor(np.log2(MOST_MULTIPLIER / steepest))))
    for shift in dict.fromkeys((most // SHIFT_GRID * SHIFT_GRID, most)):
        found = _with_shift(wanted, bias.astype(np.int64), enlarged, shift) if shift >= 1 else None
        if found is not None:
            return found
    return None


def _with_shift(wanted: Steps, bias: Array, enlarged: int, shift: int) -> BentLine | None:
    """The multiplier of each channel whose addends have the most room."""
    middle = np.rint(np.ldexp(wanted.slopes, 32 + shift) / enlarged).astype(np.int64)
    tried = np.clip(middle[:, None] + np.arange(-NEAR, NEAR + 1), 1, MOST_MULTIPLIER)
    bounds = np.stack([_bounds(wanted, bias, enlarged, shift, column) for column in tried.T])
    room = (bounds[:, :, 1] - bounds[:, :, 0]).min(axis=2)
    best, channels = room.argmax(axis=0), np.arange(len(bias))
    if room[best, channels].min() < 0:
        return None
    above, below = _addends(bounds[best, channels])
    multiplier = tried[channels, best].astype(np.int32)
    found = BentLine(multiplier, above.astype(np.int32), (below - above).astype(np.int32), shift, enlarged)
    return found if _proved(found, wanted, bias) else None


def _bounds(wanted: Steps, bias: Array, enlarged: int, shift: int, multiplier: Array) -> Array:
    """[channels, 2, 2]: the least and the greatest addend, each for totals from zero on and for those below it."""
    first, goal = wanted.first + bias[:, None], wanted.levels << shift
    reach, miss = wanted.first <= wanted.most[:, None], wanted.first > wanted.least[:, None]
    factor = enlarged * multiplier[:, None]
    least = goal - (np.where(reach, first, 0) * factor >> 32)
    greatest = goal - 1 - (np.where(miss, first - 1, 0) * factor >> 32)
    sides = [
        (np.where(reach & on, least, -FAR).max(axis=1), np.where(miss & before, greatest, FAR).min(axis=1))
        for on, before in ((first >= 0, first - 1 >= 0), (first < 0, first - 1 < 0))
    ]
    found: Array = np.array(sides).transpose(2, 1, 0)
    return found


def _addends(bounds: Array) -> tuple[Array, Array]:
    """Of [channels, 2, 2]: one for each side, the same where both sides can have it."""
    low, high = bounds[:, 0], bounds[:, 1]
    both_low, both_high = low.max(axis=1), high.min(axis=1)
    straight = both_low <= both_high
    middle = np.where(straight[:, None], _middle(both_low, both_high)[:, None], _middle(low, high))
    return middle[:, 0], middle[:, 1]


def _middle(low: Array, high: Array) -> Array:
    """Between the bounds that are there, or the one that is; 0 without any."""
    one = np.where(low > -FAR, low, np.where(high < FAR, high, 0))
    middle: Array = np.where((low > -FAR) & (high < FAR), (low + high) >> 1, one)
    return middle


def _proved(found: BentLine, wanted: Steps, bias: Array) -> bool:
    """Whether each level is reached at its first total and not before, no step falls, and nothing leaves 32 bits."""
    first, levels = (wanted.first + bias[:, None]).T, wanted.levels[:, None]
    least, most = wanted.least + bias, wanted.most + bias
    on = found.stored(np.clip(first, least, most)) >= levels
    before = found.stored(np.clip(first - 1, least, most)) < levels
    exact = np.all(on | (first > most)) and np.all(before | (first == least))
    below, zero = found.before_shift(np.full_like(bias, -1)), found.before_shift(np.zeros_like(bias))
    ends = np.stack(
        [least * found.enlarged, most * found.enlarged, found.before_shift(least), found.before_shift(most)]
    )
    return bool(exact and np.all(below <= zero) and max(np.abs(ends).max(), np.abs(zero).max()) < 2**31)
