"""Turns a 1x1 convolution into the numbers and words of its kernel for Armv6-M cores that chains the sums of pixels.

The words of eight pixels lie in scratch, as long as all channels of them are computed; weights are read as they are.
Sums of more than 20 bits are made of chunks of the inputs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import chains_v6m, convolution_widened_v6m, lanes, overlap, pixelwise
from tinygen.ops.chains_v6m import CELL_WORDS, PIXELS
from tinygen.ops.spec import Constant, Context, Kernel, Overlap, Rows

TEMPLATE = "kernels/conv_2d.pointwise.chain.v6m.c.j2"
MOST_CHUNKED_BYTES = 8192
"""Of scratch where there are several chunks."""
ROWS_CYCLES = 0.5
"""About what a product takes more in the kernel that widens rows."""
WIDENED_PRODUCT_CYCLES, WIDENED_OUTPUT_CYCLES, WIDENED_INPUT_CYCLES = 2.7, 38, 2
"""About what these take there: a product, an output, an input; weights take what they take there."""


def applies(context: Context) -> bool:
    """What may be widened, of a group of pixels at least, with sums or chunks of them that fit, and the faster so."""
    if _pixels(context) < PIXELS or not convolution_widened_v6m.applies(context):
        return False
    chunks, inputs = chunking(chains_v6m.sums(context).rows)
    if not chunks or (chunks > 1 and _scratch_bytes(_pixels(context), chunks, inputs) > MOST_CHUNKED_BYTES):
        return False
    return pays(context)


def chunking(rows: Array) -> tuple[int, int]:
    """Chunks of weights [filters, inputs], as few as leave sums in 20 bits, and the inputs of each; 0 where none do."""
    depth = rows.shape[1]
    for size in sorted({-(-depth // count) for count in range(1, depth + 1)}, reverse=True):
        chunked = np.pad(rows, ((0, 0), (0, -depth % size))).reshape(len(rows), -1, size)
        if chains_v6m.fit(chunked):
            return chunked.shape[1], size
    return 0, 0


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
    outputs, (chunks, _) = groups * PIXELS * filters, chunking(chains_v6m.sums(context).rows)
    cycles = outputs * (depth * chains_v6m.PRODUCT_CYCLES + chains_v6m.OUTPUT_CYCLES)
    cycles += outputs * (chunks - 1) * chains_v6m.CHUNK_CYCLES
    return cycles + groups * depth * chains_v6m.CELL_CYCLES


def params(context: Context) -> Kernel:
    """Numbers of the layer, its filters with what scales their sums, and room for words of a group of pixels or two."""
    found = chains_v6m.sums(context)
    (filters, depth), pixels = found.rows.shape, _pixels(context)
    chunks, inputs = chunking(found.rows)
    filled = np.pad(found.rows, ((0, 0), (0, chunks * inputs - depth)))
    printed, words = chains_v6m.filters(context, found, filled)
    values: dict[str, Any] = {**printed, "windows": chunks > 1, "chunked": chunks > 1}
    numbers = [pixels, depth, filters, words.shape[1], *([inputs, chunks] if chunks > 1 else [])]
    layer = np.concatenate([numbers, words.ravel()]).astype(np.int32)
    scratch, rule = _scratch_bytes(pixels, chunks, inputs), _rule(pixels, depth, filters)
    return Kernel(values, (0,), (Constant("layer", layer),), scratch, (rule,))


def _scratch_bytes(pixels: int, chunks: int, inputs: int) -> int:
    """Where the sums of the chunks start, where those of all would if there are several, and the words."""
    starts = chunks + 1 if chunks > 1 else 1
    return (2 if pixels % PIXELS else 1) * CELL_WORDS * (starts + chunks * inputs) * lanes.WORD_BYTES


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
