"""Turns a mean over pixels into vectors of Helium, 4 or 8 channels at a time, as those of pool_mve.

The sums less their zero points are scaled in the reference's two roundings. The second one is part of how words become
halves of words; it rounds halves up, so sums below zero are set right before, unless they end at the lower limit.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from tinygen import quant
from tinygen.ops import pool_mve, reduction
from tinygen.ops.pool_mve import LEAST_CHANNELS, MOST_OFFSET, MOST_TAPS
from tinygen.ops.spec import Context, Kernel
from tinygen.ops.unroll import chunk

TEMPLATE = "kernels/mean.mve.c.j2"
MOST_SHIFT = 16
"""Of words that become halves of words."""


def applies(context: Context, plain: Kernel) -> bool:
    """Pixels of int8 with enough channels behind each other, a second rounding that vectors have."""
    channels = _sizes(context)[2]
    return context.output.dtype == "int8" and channels >= LEAST_CHANNELS and 1 <= -plain.values["shift"] <= MOST_SHIFT


def params(context: Context, plain: Kernel) -> Kernel:
    """Numbers for the template, beside those of the kernel in plain C."""
    images, pixels, channels = _sizes(context)
    values: dict[str, Any] = {
        "images": images,
        "columns": pixels,
        "channels": channels,
        "taps": pixels if pixels <= MOST_TAPS else chunk(pixels, MOST_TAPS),
        "lanes": pool_mve.lanes(channels, pixels),
        "far": channels > MOST_OFFSET,
        "signed": context.output.zero_point > quant.RANGES["int8"][0]
        and context.input(0).zero_point > quant.RANGES["int8"][0],
    }
    return replace(plain, values={**plain.values, **values})


def _sizes(context: Context) -> tuple[int, int, int]:
    """Images, pixels of each, channels: as which the input can be read; no channels where it cannot."""
    shape, axes = context.input(0).shape, reduction.axes_input(context)
    first, end = min(axes, default=0), max(axes, default=-1) + 1
    if len(axes) != end - first or end == first:
        return 1, 1, 0
    return math.prod(shape[:first]), math.prod(shape[first:end]), math.prod(shape[end:])
