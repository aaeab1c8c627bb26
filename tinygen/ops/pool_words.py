"""Turns an average pooling into words of four channels at a time, for cores of 32 bits without the DSP extension.

Bytes x + 128 are added in lanes of 16 bits; how a sum becomes a mean is tried with every sum that there can be.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ops import pool_rows, reduction, window_walk
from tinygen.ops.spec import Context, Kernel, Rows, Variant

TEMPLATE = "kernels/pool_2d.words.c.j2"
FEATURES = ("armv7m", "armv6m", "rv32imc", "xtensa")
WORD_BYTES = 4
LEAST_AREA = 5
"""Of the whole input: fewer elements are a few shifts in plain C."""
MOST_ADDED = 257
"""Bytes without a sign whose sum fits 16 bits."""
MOST_BITS = 23
"""Of a mean's fraction: its product has 31 bits."""


def applies(context: Context) -> bool:
    """Words of int8 that lie at whole words, windows inside the input, lines whose sums fit."""
    x, window = context.input(0), reduction.pool_geometry(context)
    if window.kernel == window.input and math.prod(window.kernel) < LEAST_AREA:
        return False
    fits = not window.padded and window.kernel[1] <= MOST_ADDED
    return fits and x.dtype == "int8" and x.shape[3] % WORD_BYTES == 0


def params(context: Context) -> Kernel:
    """The numbers of the plain kernel, and how a window is added; windows over whole rows are one line."""
    kernel = reduction.pool_kernel(context, average=True)
    values = dict(kernel.values)
    area, channels = values["area"], values["channels"]
    flat = values["kernel_width"] == values["in_width"] and area <= MOST_ADDED
    rule = reduction.pool_overlap(context, [(first, first + WORD_BYTES) for first in range(0, channels, WORD_BYTES)])
    values |= {
        "lines": 1 if flat else values["kernel_height"],
        "columns": area if flat else values["kernel_width"],
        "flushed": area > MOST_ADDED,
        "mean": mean(area),
        "apart": window_walk.words(rule, channels),
    }
    return replace(kernel, values=values, overlaps=(rule,))


def mean(area: int) -> dict[str, Any] | None:
    """How a sum of so many int8 becomes their mean, halves away from zero: (sum * multiplier + half) >> bits.

    With `below`, 1 is taken away of it for sums below zero. None where no product of 31 bits is exact.
    """
    low, high = (limit * area for limit in quant.RANGES["int8"])
    sums = np.arange(low, high + 1, dtype=np.int64)
    wanted = np.sign(sums) * ((np.abs(sums) + area // 2) // area)
    for bits in range(MOST_BITS, 0, -1):
        multiplier, half = -(-(1 << bits) // area), 1 << bits - 1
        if high * multiplier + half > quant.INT32_MAX or low * multiplier < -quant.INT32_MAX:
            continue
        for below in (False, True):
            scaled = sums * multiplier + half - (below & (sums < 0))
            if np.array_equal(scaled >> bits, wanted):
                return {"bits": bits, "multiplier": multiplier, "half": half, "below": below}
    return None


def rows(context: Context) -> Rows | None:
    """The kernel in plain C: rows lie anywhere."""
    return pool_rows.plain(context, average=True)


VARIANTS = tuple(Variant("words", TEMPLATE, frozenset({feature}), applies, params, rows) for feature in FEATURES)
