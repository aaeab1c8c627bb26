"""Turns the outputs of all pairs of int8 values into two multiplications and a shift that give the same.

TensorFlow Lite rounds a quantised sum three times: each input to a fine scale, then their sum. There are 65,536 pairs,
so a plane can be searched that lies less than 1 above every pair's output, and is then proved by trying them all. Only
pairs whose exact sum nearly rounds to another output constrain the search.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tinygen import quant
from tinygen.ir import Array

VALUES = np.arange(-128, 128, dtype=np.int64)
MOST_FACTOR = 2**23 - 1
"""A factor times 256 fits 32 bits, as SMLAWB on a byte in the upper half of 16 bits needs it."""
MOST_SHIFT = 22
"""An output of 8 bits and its sign, shifted, fits 32 bits."""
LEAST_SHIFT = 18
"""Fewer bits leave too many pairs that nearly round to another output. Factors above 32 are not met in practice."""
WALK = 16
"""Factors tried to each side of the nearest ones."""
LENGTHS = 2 * 128
"""Two inputs: what moving both factors by 1 adds to a sum at most."""
UNBOUNDED = 2**40


@dataclass(frozen=True)
class ScaledSum:
    """stored = limited((addend + factors[0] * first + factors[1] * second) >> shift); no step leaves 32 bits."""

    factors: tuple[int, int]
    addend: int
    shift: int

    def sums(self, first: Array, second: Array) -> tuple[Array, Array]:
        """The sum after one product and after both."""
        partial = self.addend + self.factors[0] * first.astype(np.int64)
        return partial, partial + self.factors[1] * second.astype(np.int64)


def search(
    stored: Array, slopes: Sequence[float], zero_points: Sequence[int], limits: tuple[int, int]
) -> ScaledSum | None:
    """The scaled sum with exactly these outputs [256, 256] of all pairs, limited to `limits`; None when none is found.

    The outputs are about slopes[0] * first + slopes[1] * second, of inputs and an output with these zero points.
    """
    constant = zero_points[2] + 0.5 - slopes[0] * zero_points[0] - slopes[1] * zero_points[1]
    shift = _shift(slopes, constant)
    if shift < LEAST_SHIFT:
        return None
    first, second = np.meshgrid(VALUES, VALUES, indexing="ij")
    above = slopes[0] * first + slopes[1] * second + constant - stored
    near = 2 * LENGTHS * (WALK + 1) / 2**shift
    lower = (stored > limits[0]) & (above < near)
    upper = (stored < limits[1]) & (1 - above < near)
    offsets = np.arange(-WALK, WALK + 1)
    tried = [round(slope * 2**shift) + offsets for slope in slopes]
    grid = tried[0][:, None, None], tried[1][None, :, None]
    least = ((stored[lower] << shift) - grid[0] * first[lower] - grid[1] * second[lower]).max(2, initial=-UNBOUNDED)
    most = (((stored[upper] + 1) << shift) - 1 - grid[0] * first[upper] - grid[1] * second[upper]).min(
        2, initial=UNBOUNDED
    )
    row, column = np.unravel_index((most - least).argmax(), least.shape)
    addend = int(np.clip(round(constant * 2**shift), least[row, column], most[row, column]))
    found = ScaledSum((int(tried[0][row]), int(tried[1][column])), addend, shift)
    return found if _proved(found, stored, limits) else None


def _shift(slopes: Sequence[float], constant: float) -> int:
    """The most bits behind the point for which factors and sums fit, whatever the search adds to them."""
    reach = abs(constant) + 128 * (abs(slopes[0]) + abs(slopes[1]))
    return min(
        MOST_SHIFT,
        math.floor(math.log2((2**31 - 2 * LENGTHS * (WALK + 1)) / reach)) if reach else MOST_SHIFT,
        *(math.floor(math.log2((MOST_FACTOR - WALK) / abs(slope))) for slope in slopes if slope),
    )


def _proved(found: ScaledSum, stored: Array, limits: tuple[int, int]) -> bool:
    """Whether all pairs, computed as the kernels do it, give their outputs inside 32 bits."""
    partial, total = found.sums(VALUES[:, None], VALUES[None, :])
    inside = all(value.min() >= quant.INT32_MIN and value.max() <= quant.INT32_MAX for value in (partial, total))
    same = np.array_equal(np.clip(total >> found.shift, *limits), stored)
    return inside and same and max(map(abs, found.factors)) <= MOST_FACTOR
