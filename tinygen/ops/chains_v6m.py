"""Turns the sums of a convolution into the words of kernels for Armv6-M cores that chain the sums of eight pixels.

Five multiplications make eight products: of four words of two pixels, x0 + (x1 << 12) and so on, and of x1 + (x3 << 8)
+ (x5 << 16) + (x7 << 24), all modulo 2**32. The last one has the low eight bits of S1, without which the first one is
S0 in its low 20 bits; S1 is what is left of it; without S1, the last one has the low bits of S3, and so on. That is
exact for sums of 20 bits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import convolution_widened_v6m, dsp, floored_line, lanes, weighted
from tinygen.ops.convolution_widened_v6m import Scales
from tinygen.ops.dsp import Sums
from tinygen.ops.floored_line import FlooredLine
from tinygen.ops.spec import Context
from tinygen.requantize import Steps

OPERANDS = convolution_widened_v6m.OPERANDS
PIXELS = 8
CELL_WORDS = 5
"""Of an input of so many pixels."""
SUM_LIMIT = 1 << 19
UNROLLED = 16
"""Inputs that are printed one after another; a power of 2."""
WEIGHT_OFFSET = 128
"""What is added to a weight so that it is a byte."""
LOW_BITS = 13
"""Of the lower part of a multiplier, where only sums from a threshold on are scaled: times 20 bits it is a word."""
SHIFT = 19
"""Of a result, where that is exact for all channels: most layers have such a line."""
OUTPUT_LOW = quant.RANGES["int8"][0]
PRODUCT_CYCLES, OUTPUT_CYCLES, CHUNK_CYCLES, CELL_CYCLES = 2.25 + 5 / 8 / UNROLLED, 23, 14, 52
"""About what these take: a product, an output, a chunk more of an output, an input of eight pixels in words."""


@dataclass(frozen=True, eq=False)
class Floored:
    """What turns sums into outputs of which many are the least one."""

    scales: Scales
    """Bounded only above, int64 [channels, 1], or not at all."""
    threshold: Array
    """int64 [channels]: the first sum, with its start, whose output is another one."""


def fit(chunks: Array) -> bool:
    """Whether the sums of weights [filters, chunks, inputs] times any inputs have at most 20 bits."""
    least = np.minimum(chunks * 127, chunks * -128).sum(axis=2)
    most = np.maximum(chunks * 127, chunks * -128).sum(axis=2)
    return bool(least.min() >= -SUM_LIMIT and most.max() < SUM_LIMIT)


def filters(context: Context, found: Sums, rows: Array) -> tuple[dict[str, Any], Array]:
    """What every such kernel prints; and int32 [channels, words], of each filter what the template reads.

    That is its weights, `rows` in the kernel's order, as bytes, zeros before them up to whole words, then its scales.
    """
    floored = _floored(context, found)
    scales = floored.scales if floored else convolution_widened_v6m.scales_of(context, found)
    assert scales is not None  # proved by applies
    limits, table = weighted.activation_range(context), _table(scales, floored)
    values = {
        "starts": bool(np.any(scales.start)),
        "bounded": bool(scales.bounds.size),
        "kinked": scales.line.kinked,
        "floored": floored is not None,
        "right": LOW_BITS,
        "shift": SHIFT if _alike(scales, floored) else 0,
        "scale_words": table.shape[1],
        "unrolled": UNROLLED,
        "windows": False,
        "chunked": False,
        "limits": None if limits == quant.RANGES["int8"] else limits,
    }
    missing = -rows.shape[1] % lanes.WORD_BYTES
    bytes_ = np.pad(rows + WEIGHT_OFFSET, ((0, 0), (missing, 0))).astype(np.uint8)
    return values, np.concatenate([bytes_.view("<i4"), lanes.as_int32(table)], axis=1)


def _floored(context: Context, found: Sums) -> Floored | None:
    """The same for outputs of which many are the least one: only sums from a threshold on are scaled.

    Where they have too many bits, those between which outputs differ.
    """
    if context.output.zero_point != OUTPUT_LOW:
        return None
    steps = lanes.steps(context, OPERANDS, found)
    start, none = np.zeros_like(found.bias), np.zeros((len(found.bias), 0), np.int64)
    if line := _line(steps):
        return Floored(Scales(line.line, start, none), line.threshold)
    least = floored_line.above(steps).least
    most = np.maximum(least, np.minimum(steps.most, steps.first[:, -1]))
    start = -((least + most) // 2)
    if line := _line(lanes.moved(replace(steps, most=most), start)):
        return Floored(Scales(line.line, start, (most + start)[:, None]), line.threshold)
    return None


def _line(steps: Steps) -> FlooredLine | None:
    """One whose lower multipliers all have the bits that the template knows, if possible with its shift."""
    each = np.arange(len(steps.least))
    line = floored_line.search(steps, each, 1, LOW_BITS, SHIFT)
    if not line or np.any(line.line.shifts[:, 1] != SHIFT):
        line = floored_line.search(steps, each, 1, LOW_BITS)
    return line if line and np.all(line.line.shifts[:, 0] == LOW_BITS) else None


def _alike(scales: Scales, floored: Floored | None) -> bool:
    """Whether all channels have the shift that the template knows."""
    return floored is not None and bool(np.all(scales.line.shifts[:, 1] == SHIFT))


def _table(scales: Scales, floored: Floored | None) -> Array:
    """[channels, words] in the order of the template."""
    line, started = scales.line, np.any(scales.start) or scales.bounds.size
    high, low, addend = line.words.T[:3]
    right, shift = line.shifts.T
    first = [] if _alike(scales, floored) else [shift]
    third = floored.threshold if floored else right
    columns = [*first, addend, third, high, low, *([scales.start] if started else [])]
    return np.concatenate([np.stack(columns, axis=1), scales.bounds, line.words[:, 3:]], axis=1)


def sums(context: Context) -> Sums:
    """Those of the layer."""
    return dsp.sums(context, OPERANDS)
