"""Turns a 3x3 convolution into the numbers and arrays of Winograd's F(4x4, 3x3), for Armv6-M cores.

A tile of 6x6 inputs gives 4x4 outputs with 36 multiplications for each channel in place of 144. The transforms are
those of tinygen/ops/winograd_dsp.py, in words: sums are 576 times too large and wrap, what is taken from them is exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import convolution_widened_v6m, dsp, weighted, window_walk
from tinygen.ops.convolution_widened_v6m import Scales
from tinygen.ops.spec import Constant, Context, Kernel
from tinygen.ops.window import Geometry, convolution_geometry
from tinygen.ops.winograd_dsp import OUTPUTS, TILE

TEMPLATE = "kernels/conv_2d.winograd.v6m.c.j2"
OPERANDS = convolution_widened_v6m.OPERANDS
PLACES = TILE * TILE
TILES = 4
"""That are multiplied by a filter at a time."""
MOST_SUM = 2**25
"""Of a sum: 64 times that is still a number of 32 bits, which 576 times it is taken down to first."""
UNROLLED = (4, 2, 1)
"""Pairs of channels that are printed one after another."""
MOST_TILES_BYTES = 40960
"""Of transformed tiles, where more than one row of them is multiplied at a time."""
LEAST_DEPTH = 4
"""Channels of the input: with fewer the transforms take what the multiplications save."""
WORD_BYTES = 4
DIRECT_CYCLES = 2.7
"""About what these take: a product of the direct convolution, one at a place, a place, the transforms of a channel of a
tile, of a filter, of the sums of a tile."""
PRODUCT_CYCLES, PLACE_CYCLES, TILE_CYCLES, FILTER_CYCLES, SUMS_CYCLES = 3.7, 25, 800, 300, 500


def applies(context: Context) -> bool:
    """3x3, one group, stride 1, no gaps, an output of a tile at least; sums of the size that the arithmetic takes."""
    window, depth = convolution_geometry(context), context.input(0).shape[3]
    fits = window.kernel == (3, 3) and window.stride == window.dilation == (1, 1) and min(window.output) >= OUTPUTS
    if not fits or context.input(1).shape[3] != depth or depth < LEAST_DEPTH or max(window.pad) > 1:
        return False
    found = dsp.sums(context, OPERANDS)
    return bool(np.abs(found.range).max() < MOST_SUM) and convolution_widened_v6m.scales_of(context, found) is not None


def params(context: Context) -> Kernel:
    """Numbers for the template, filters and scales of the channels, and room for tiles, a filter and their sums."""
    x, window, limits = context.input(0), convolution_geometry(context), weighted.activation_range(context)
    scales = convolution_widened_v6m.scales_of(context, dsp.sums(context, OPERANDS))
    assert scales is not None  # proved by applies
    down, along, rows = _tiles(context, window)
    depth = _even(x.shape[3])
    row_bytes = (along * OUTPUTS + TILE - OUTPUTS) * x.shape[3]
    copied = min(x.shape[2] * x.shape[3], row_bytes - window.pad[1] * x.shape[3])
    tiles_words = -(-rows * along // TILES) * TILES * PLACES * depth
    rule = window_walk.by_pixels(context, window_walk.axes(window), group=rows * OUTPUTS * window.output[1])
    table = _table(scales)
    values: dict[str, Any] = {
        **window.values(),
        "batches": x.shape[0],
        "in_elements": x.size // x.shape[0],
        "out_elements": context.output.size // x.shape[0],
        "in_channels": x.shape[3],
        "out_channels": context.output.shape[3],
        "depth": depth,
        "unrolled": next(count for count in UNROLLED if depth // 2 % count == 0),
        "row_bytes": row_bytes,
        "copied_bytes": copied,
        "tiles_down": down,
        "tiles_along": along,
        "tile_rows": rows,
        "tiles_words": tiles_words,
        "fill": x.zero_point,
        "bounded": bool(scales.bounds.size),
        "kinked": scales.line.kinked,
        "scale_words": table.shape[1],
        "limits": limits,
        "apart": window_walk.words(rule),
    }
    filters = np.ascontiguousarray(context.constant(1).transpose(0, 3, 1, 2))
    constants = Constant("filters", filters), Constant("scales", table.astype(np.int32))
    scratch = (tiles_words + PLACES * (depth + TILES)) * WORD_BYTES + TILE * row_bytes
    return Kernel(values, (0,), constants, scratch, (rule,))


def saved_cycles(context: Context) -> float:
    """About what it takes less than the direct convolution."""
    window, depth, filters = convolution_geometry(context), context.input(0).shape[3], context.output.shape[3]
    down, along, rows = _tiles(context, window)
    tiles, rounds = down * along, -(-down // rows)
    quads = -(-rows * along // TILES) * rounds
    places = PLACES * quads * filters * (TILES * PRODUCT_CYCLES * _even(depth) + PLACE_CYCLES)
    transforms = tiles * (TILE_CYCLES * depth + SUMS_CYCLES * filters) + rounds * FILTER_CYCLES * depth * filters
    direct = DIRECT_CYCLES * window.output[0] * window.output[1] * filters * depth * 9
    return context.input(0).shape[0] * (direct - places - transforms)


def _tiles(context: Context, window: Geometry) -> tuple[int, int, int]:
    """Rows and columns of tiles, and how many rows are multiplied at a time."""
    down, along = (-(-size // OUTPUTS) for size in window.output)
    row_bytes = along * PLACES * _even(context.input(0).shape[3]) * WORD_BYTES
    rounds = -(-down // max(1, min(MOST_TILES_BYTES // row_bytes, down)))
    return down, along, -(-down // rounds)


def _even(depth: int) -> int:
    return depth + depth % 2


def _table(scales: Scales) -> Array:
    """[channels, words]: start, shifts, bounds, line."""
    return np.concatenate([scales.start[:, None], scales.line.shifts, scales.words], axis=1)
