"""Turns a 1x1 convolution into the numbers and words of its kernel for Armv6-M cores that chains the sums of pixels.

Three sums of a channel come of two multiplications and additions an input: T0 = S0 + (S1 << 11), T1 = S1 + (S2 << 11),
of words x0 + (x1 << 11) and x1 + (x2 << 11). The low 22 bits of T0 - (T1 << 11) are S0; from it the others follow. The
words of six pixels at a time lie in scratch, as long as the channels of a tile of pixels are computed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ops import convolution_widened_v6m, dsp, lanes, overlap, pixelwise, weighted
from tinygen.ops.convolution_widened_v6m import Scales
from tinygen.ops.dsp import Sums
from tinygen.ops.spec import Constant, Context, Kernel, Rows

TEMPLATE = "kernels/conv_2d.pointwise.chain.v6m.c.j2"
OPERANDS = convolution_widened_v6m.OPERANDS
SHIFT = 11
PIXELS = 6
"""Two chains of three."""
GROUP_WORDS = 4
"""Of an input of so many pixels."""
INPUTS = 2
"""Of a step of the inner loop."""
UNROLLED = 16
"""Steps that are printed one after another; a power of 2."""
MOST_CELLS_BYTES = 12288
"""Of words of pixels, where more than one group is computed at a time."""
MOST_FAST_BYTES = 65536
"""The same where RAM is to be used."""
ROWS_CYCLES = 0.4
"""About what a product takes more in the kernel that widens rows."""
PRODUCT_CYCLES, OUTPUT_CYCLES, CHAIN_CYCLES, WIDEN_CYCLES, FILTER_CYCLES = 2.45, 27, 5.5, 6, 120
"""About what these take: a product, an output, an input of a tile in words, a weight, a filter in a tile."""
WIDENED_PRODUCT_CYCLES, WIDENED_OUTPUT_CYCLES, WIDENED_INPUT_CYCLES = 2.7, 38, 2
"""The same in the kernel that widens rows, where weights take what they take there."""


def applies(context: Context) -> bool:
    """What may be widened, of a group of pixels at least, with sums that fit into a chain, and the faster so."""
    if _pixels(context) < PIXELS or not convolution_widened_v6m.applies(context):
        return False
    return fit(dsp.sums(context, OPERANDS)) and pays(context)


def pays(context: Context) -> bool:
    """Whether that takes less time than rows that are widened: pixels of the last group may be computed twice."""
    depth, filters = context.input(0).shape[3], context.output.shape[3]
    blocks = -(-filters // convolution_widened_v6m.CHANNELS) * convolution_widened_v6m.CHANNELS
    block_outputs = _pixels(context) * blocks
    cycles = block_outputs * (depth * WIDENED_PRODUCT_CYCLES + WIDENED_OUTPUT_CYCLES)
    cycles += _pixels(context) * depth * WIDENED_INPUT_CYCLES
    tiles = -(-_pixels(context) * depth * lanes.WORD_BYTES // convolution_widened_v6m.MOST_CELLS_BYTES)
    cycles += tiles * blocks * depth * convolution_widened_v6m.SPREAD_CYCLES
    return _cycles(context) < cycles


def _cycles(context: Context) -> float:
    """About what all takes."""
    depth, filters = context.input(0).shape[3], context.output.shape[3]
    pixels = -(-_pixels(context) // PIXELS) * PIXELS
    tiles = -(-_pixels(context) // _tile(context, MOST_CELLS_BYTES))
    cycles = pixels * filters * (depth * PRODUCT_CYCLES + OUTPUT_CYCLES) + pixels * depth * CHAIN_CYCLES
    return cycles + tiles * filters * (depth * WIDEN_CYCLES + FILTER_CYCLES)


def fit(found: Sums) -> bool:
    """Whether all sums have at most 21 bits: S1 and S2 are the upper ones of their words, S0 could have one more."""
    least, most = found.range
    bound = 1 << (31 - SHIFT)
    return bool(least.min() >= -bound and most.max() < bound)


def params(context: Context) -> Kernel:
    """Numbers of the layer, what scales its channels, its weights as they are, and room for words of a tile."""
    return _tiled(context, MOST_CELLS_BYTES)


def large_params(context: Context) -> Kernel:
    """The same with more pixels in scratch: weights are widened for more of them at a time."""
    return _tiled(context, MOST_FAST_BYTES)


def saved_cycles(context: Context) -> float:
    """About what that takes less."""
    tiles = [-(-_pixels(context) // _tile(context, most)) for most in (MOST_CELLS_BYTES, MOST_FAST_BYTES)]
    return WIDEN_CYCLES * context.input(1).size * (tiles[0] - tiles[1])


def rows(context: Context) -> Rows | None:
    """The same for the pixels of a row; by the kernel that widens them where those are too few."""
    row = pixelwise.of_one_row(context)
    if row is not None and applies(row):
        extra = context.output.shape[1] * _cycles(row) - _cycles(context)
        return Rows(params(row), TEMPLATE, extra_cycles=round(extra))
    found = convolution_widened_v6m.rows(context)
    if found is None:
        return None
    return replace(found, extra_cycles=found.extra_cycles + round(ROWS_CYCLES * _products(context)))


def _products(context: Context) -> int:
    return context.output.size * context.input(0).shape[3]


def _pixels(context: Context) -> int:
    return context.output.size // context.output.shape[3]


def _tile(context: Context, most_bytes: int) -> int:
    """Pixels at a time: whole groups, or all pixels; never fewer than a group is left for the last tile."""
    pixels = _pixels(context)
    groups = -(-pixels // PIXELS)
    fitting = max(1, most_bytes // (_even(context.input(0).shape[3]) * GROUP_WORDS * lanes.WORD_BYTES))
    tiles = -(-groups // fitting)
    tile = -(-groups // tiles) * PIXELS
    while 0 < pixels % tile < PIXELS and tile < pixels:
        tile += PIXELS
    return min(tile, pixels)


def _even(inputs: int) -> int:
    return -(-inputs // INPUTS) * INPUTS


def _tiled(context: Context, most_bytes: int) -> Kernel:
    found, limits = dsp.sums(context, OPERANDS), weighted.activation_range(context)
    scales = convolution_widened_v6m.scales_of(context, found)
    assert scales is not None  # proved by applies
    filters, depth = found.rows.shape
    pixels, tile = _pixels(context), _tile(context, most_bytes)
    table = _table(scales)
    values: dict[str, Any] = {
        "starts": bool(np.any(scales.start)),
        "bounded": bool(scales.bounds.size),
        "kinked": scales.line.kinked,
        "scale_words": table.shape[1],
        "unrolled": UNROLLED,
        "shift": SHIFT,
        "limits": None if limits == quant.RANGES["int8"] else limits,
    }
    layer = Constant("layer", lanes.as_int32(np.concatenate([[pixels, depth, filters, tile], table.ravel()])))
    weights = Constant("weights", found.rows.astype(np.int8))
    scratch = _even(depth) * (1 + GROUP_WORDS * -(-tile // PIXELS)) * lanes.WORD_BYTES
    return Kernel(values, (0,), (layer, weights), scratch, (overlap.of_rows(0, pixels, depth, filters, tile),))


def _table(scales: Scales) -> np.ndarray[Any, Any]:
    """[channels, words] in the order of the template."""
    columns = [scales.line.shifts, scales.line.words[:, :3]]
    columns += [scales.start[:, None]] if np.any(scales.start) else []
    return np.concatenate([*columns, scales.bounds, scales.line.words[:, 3:]], axis=1)
