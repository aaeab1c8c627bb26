"""Turns the sums of a convolution into the words of kernels for Armv6-M cores that chain the sums of eight pixels.

Five multiplications make eight products: of four words of two pixels, x0 + (x1 << 12) and so on, and of x1 + (x3 << 8)
+ (x5 << 16) + (x7 << 24), all modulo 2**32. The last one has the low eight bits of S1, without which the first one is
S0 in its low 20 bits; S1 is what is left of it; without S1, the last one has the low bits of S3, and so on. That is
exact for sums of 20 bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import convolution_widened_v6m, dsp, lanes, weighted
from tinygen.ops.convolution_widened_v6m import Scales
from tinygen.ops.dsp import Sums
from tinygen.ops.spec import Context

OPERANDS = convolution_widened_v6m.OPERANDS
PIXELS = 8
CELL_WORDS = 5
"""Of an input of so many pixels."""
SUM_LIMIT = 1 << 19
UNROLLED = 16
"""Inputs that are printed one after another; a power of 2."""
WEIGHT_OFFSET = 128
"""What is added to a weight so that it is a byte."""
OUTPUT_LOW = quant.RANGES["int8"][0]
PRODUCT_CYCLES, OUTPUT_CYCLES, CELL_CYCLES = 2.25 + 5 / 8 / UNROLLED, 26, 52
"""About what these take: a product, an output, an input of eight pixels in words."""


def fit(found: Sums) -> bool:
    """Whether all sums have at most 20 bits."""
    least, most = found.range
    return bool(least.min() >= -SUM_LIMIT and most.max() < SUM_LIMIT)


def filters(context: Context, found: Sums, rows: Array) -> tuple[dict[str, Any], Array]:
    """What every such kernel prints; and int32 [channels, words], of each filter what the template reads.

    That is its weights, `rows` in the kernel's order, as bytes, zeros before them up to whole words, then its scales.
    """
    scales = convolution_widened_v6m.scales_of(context, found)
    assert scales is not None  # proved by applies
    limits, floored = weighted.activation_range(context), _can_be_floored(context, found, scales)
    table = _table(scales, floored)
    values = {
        "starts": bool(np.any(scales.start)),
        "bounded": bool(scales.bounds.size),
        "kinked": scales.line.kinked,
        "floored": floored,
        "scale_words": table.shape[1],
        "unrolled": UNROLLED,
        "windows": False,
        "chunked": False,
        "limits": None if limits == quant.RANGES["int8"] else limits,
    }
    missing = -rows.shape[1] % lanes.WORD_BYTES
    bytes_ = np.pad(rows + WEIGHT_OFFSET, ((0, 0), (missing, 0))).astype(np.uint8)
    return values, np.concatenate([bytes_.view("<i4"), lanes.as_int32(table)], axis=1)


def _can_be_floored(context: Context, found: Sums, scales: Scales) -> bool:
    """Whether many outputs are the least one, and what is stored shows by its sign which: 128 higher it has 32 bits."""
    if context.output.zero_point != OUTPUT_LOW or scales.line.kinked:
        return False
    ends = scales.bounds.T if scales.bounds.size else np.stack(found.range) + scales.start
    return bool(np.all(scales.line.totals(ends) + _floor(scales) < 2**31))


def _floor(scales: Scales) -> Array:
    """[channels]: 128 as it is before the last shift."""
    return np.asarray(-OUTPUT_LOW << scales.line.shifts[:, 1])


def _table(scales: Scales, floored: bool) -> Array:
    """[channels, words] in the order of the template."""
    line, started = scales.line, np.any(scales.start) or scales.bounds.size
    high, low, addend = line.words.T[:3]
    addend = addend + _floor(scales) if floored else addend
    right, shift = line.shifts.T
    columns = [shift, addend, right, high, low, *([scales.start] if started else [])]
    return np.concatenate([np.stack(columns, axis=1), scales.bounds, line.words[:, 3:]], axis=1)


def sums(context: Context) -> Sums:
    """Those of the layer."""
    return dsp.sums(context, OPERANDS)
