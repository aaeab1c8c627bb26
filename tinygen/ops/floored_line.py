"""Turns the steps of a layer into a threshold, below which sums need no scaling, and a scaled line for all others.

Below the first step the output is the least one, whatever the sum. So the line may be anything there, and the sums that
are left take fewer bits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tinygen import scaled_line
from tinygen.ir import Array
from tinygen.requantize import Steps
from tinygen.scaled_line import LOW_BITS, MOST_SHIFT, ScaledLine


@dataclass(frozen=True, eq=False)
class FlooredLine:
    """stored = -128 where sum < threshold, else min(line, 127): there the line reaches the level of the first step.

    The limits of a fused activation inside [-128, 127] are still to be applied.
    """

    threshold: Array
    """int64 [channels]"""
    line: ScaledLine


def search(
    wanted: Steps, starts: Array, size: int, low_bits: int = LOW_BITS, most_shift: int = MOST_SHIFT
) -> FlooredLine | None:
    """A line with exactly these steps in every channel, the shifts of each block of `size` channels alike."""
    threshold = wanted.first[:, 0]
    line = scaled_line.search(above(wanted), starts, size, low_bits=low_bits, most_shift=most_shift)
    return FlooredLine(threshold, line) if line else None


def above(wanted: Steps) -> Steps:
    """The same without the sums below the first step; a channel that has none there keeps its greatest sum."""
    return replace(wanted, least=np.minimum(np.maximum(wanted.first[:, 0], wanted.least), wanted.most))
