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
PRODUCT_CYCLES, OUTPUT_CYCLES, CELL_CYCLES = 2.25 + 5 / 8 / UNROLLED, 28, 60
"""About what these take: a product, an output, an input of eight pixels in words."""


def fit(found: Sums) -> bool:
    """Whether all sums have at most 20 bits."""
    least, most = found.range
    return bool(least.min() >= -SUM_LIMIT and most.max() < SUM_LIMIT)


def values(context: Context, scales: Scales) -> dict[str, Any]:
    """What every such kernel prints."""
    limits = weighted.activation_range(context)
    return {
        "starts": bool(np.any(scales.start)),
        "bounded": bool(scales.bounds.size),
        "kinked": scales.line.kinked,
        "scale_words": _table(scales).shape[1],
        "unrolled": UNROLLED,
        "windows": False,
        "chunked": False,
        "limits": None if limits == quant.RANGES["int8"] else limits,
    }


def filters(rows: Array, scales: Scales) -> Array:
    """int32 [channels, words]: the weights as bytes, zeros before them up to whole words, then what scales the sums."""
    missing = -rows.shape[1] % lanes.WORD_BYTES
    bytes_ = np.pad(rows + WEIGHT_OFFSET, ((0, 0), (missing, 0))).astype(np.uint8)
    return np.concatenate([bytes_.view("<i4"), lanes.as_int32(_table(scales))], axis=1)


def _table(scales: Scales) -> Array:
    """[channels, words] in the order of the template."""
    line, started = scales.line, np.any(scales.start) or scales.bounds.size
    high, low, addend = (scales.line.words[:, word : word + 1] for word in range(3))
    columns = [line.shifts[:, 1:], addend, line.shifts[:, :1], high, low]
    columns += [scales.start[:, None]] if started else []
    return np.concatenate([*columns, scales.bounds, line.words[:, 3:]], axis=1)


def found_scales(context: Context, found: Sums) -> Scales:
    """Those that `applies` of a kernel has proved to be there."""
    scales = convolution_widened_v6m.scales_of(context, found)
    assert scales is not None
    return scales


def sums(context: Context) -> Sums:
    """Those of the layer."""
    return dsp.sums(context, OPERANDS)
