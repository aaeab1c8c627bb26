"""Turns a 1x1 convolution into the numbers and words of its kernel for Armv6-M cores that chains the sums of pixels.

The words of eight pixels lie in scratch, as long as all channels of them are computed; weights are read as they are.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.ops import chains_v6m, convolution_widened_v6m, lanes, overlap, pixelwise
from tinygen.ops.chains_v6m import CELL_WORDS, PIXELS
from tinygen.ops.spec import Constant, Context, Kernel, Overlap, Rows

TEMPLATE = "kernels/conv_2d.pointwise.chain.v6m.c.j2"
ROWS_CYCLES = 0.5
"""About what a product takes more in the kernel that widens rows."""
WIDENED_PRODUCT_CYCLES, WIDENED_OUTPUT_CYCLES, WIDENED_INPUT_CYCLES = 2.7, 38, 2
"""About what these take there: a product, an output, an input; weights take what they take there."""


def applies(context: Context) -> bool:
    """What may be widened, of a group of pixels at least, with sums that fit into a chain, and the faster so."""
    if _pixels(context) < PIXELS or not convolution_widened_v6m.applies(context):
        return False
    return chains_v6m.fit(chains_v6m.sums(context)) and pays(context)


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
    depth, filters, groups = context.input(0).shape[3], context.output.shape[3], -(-_pixels(context) // PIXELS)
    outputs = groups * PIXELS * filters
    cycles = outputs * (depth * chains_v6m.PRODUCT_CYCLES + chains_v6m.OUTPUT_CYCLES)
    return cycles + groups * depth * chains_v6m.CELL_CYCLES


def params(context: Context) -> Kernel:
    """Numbers of the layer, its filters with what scales their sums, and room for words of a group of pixels or two."""
    found = chains_v6m.sums(context)
    values, words = chains_v6m.filters(context, found, found.rows)
    (filters, depth), pixels = found.rows.shape, _pixels(context)
    layer = np.concatenate([[pixels, depth, filters, words.shape[1]], words.ravel()]).astype(np.int32)
    groups = 2 if pixels % PIXELS else 1
    scratch = groups * CELL_WORDS * (1 + depth) * lanes.WORD_BYTES
    return Kernel(values, (0,), (Constant("layer", layer),), scratch, (_rule(pixels, depth, filters),))


def rows(context: Context) -> Rows | None:
    """The same for the pixels of a row; by the kernel that widens them where those are too few."""
    row = pixelwise.of_one_row(context)
    if row is not None and applies(row):
        extra = context.output.shape[1] * _cycles(row) - _cycles(context)
        return Rows(params(row), TEMPLATE, extra_cycles=round(extra))
    found = convolution_widened_v6m.rows(context)
    if found is None:
        return None
    extra = round(ROWS_CYCLES * context.output.size * context.input(0).shape[3])
    return replace(found, extra_cycles=found.extra_cycles + extra)


def _pixels(context: Context) -> int:
    return context.output.size // context.output.shape[3]


def _rule(pixels: int, depth: int, filters: int) -> Overlap:
    """A group in each step; in the last one that group too which is not whole."""
    starts = np.arange(0, max(pixels - PIXELS, 0) + 1, PIXELS)
    sizes = np.append(np.full(len(starts) - 1, PIXELS), pixels - starts[-1])
    return overlap.of_blocks(0, starts, sizes, depth, filters)
