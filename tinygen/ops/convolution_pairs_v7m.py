"""Turns a convolution into the numbers and words of its kernel for Armv7-M cores that multiplies pairs of inputs.

How a pair becomes one multiplication is said in pair_blocks_v7m.py. The columns of the input under a run of outputs lie
in scratch as words of such pairs, and so do the weights of two channels. All sizes are numbers of the layer, so that
layers of every shape share a kernel.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import (
    dsp,
    lanes_v7m,
    matrix_v6m,
    overlap,
    pair_blocks_v7m,
    pixelwise,
    scales_v7m,
    weighted,
    window_rows,
    window_walk,
)
from tinygen.ops.convolution_layout import Axis, Layout, distances
from tinygen.ops.lanes import as_int32
from tinygen.ops.pair_blocks_v7m import CHANNELS, PLACE_SHIFT, WORD_BYTES, Blocks
from tinygen.ops.scales_v7m import Scales
from tinygen.ops.spec import Constant, Context, Kernel, Rows
from tinygen.ops.window import Geometry, convolution_geometry

TEMPLATE = "kernels/conv_2d.pairs.v7m.c.j2"
CONVOLUTION = weighted.Operands(channel_axis=0)
FULLY_CONNECTED = weighted.Operands(channel_axis=0, offset_weights=True)
PIXELS = 2
"""Of each channel of a block: four sums."""
UNROLLED = 16
"""Steps that are printed one after another; more become a loop."""
WORD_BITS = 32
MOST_PART_BYTES = 2048
"""Of the pixels of a 1x1 convolution that are computed at a time."""
LEAST_OUTPUTS = 2
"""Of a channel: fewer are not worth spreading its weights."""
STEP_CYCLES, BLOCK_CYCLES, SPREAD_CYCLES = 15, 90, 2.1
"""About what these take: a pair of inputs of four outputs, its share of extra ones in it; their rest; a weight."""
COLUMN_CYCLES, BYTE_CYCLES, WORD_CYCLES = 14, 7, 3
"""The same of a column's row in scratch, and of an input there, copied as a byte or in a word."""
PRODUCT_CYCLES, OUTPUT_CYCLES = 2.75, 20
"""About what a product and an output take where one output is computed after another."""
PART_CYCLES = 60
"""About what it takes more to begin with another part of a row, for each block of channels."""


def applies(context: Context) -> bool:
    """What the kernel can do, of so many outputs that it is worth spreading the weights."""
    return _has_outputs(context) and is_possible(context)


def groups_apply(context: Context) -> bool:
    """Groups of a block of channels or more; the rest of it as for one."""
    filters, groups = context.output.shape[-1], _groups(context)
    return groups > 1 and filters // groups >= CHANNELS and _has_outputs(context) and _fits(context, CONVOLUTION)


def rows_apply(context: Context) -> bool:
    """A fully connected layer of some rows, which are the pixels of a 1x1 convolution."""
    return _has_outputs(context) and are_rows_possible(context)


def is_possible(context: Context) -> bool:
    """One group, a block of channels or more, gaps that the kernel knows, scales proved exact."""
    return context.input(1).shape[3] == context.input(0).shape[3] and _fits(context, CONVOLUTION)


def are_rows_possible(context: Context) -> bool:
    """The same of a fully connected layer, which may have one row."""
    return not weighted.weights_zero_point(context, FULLY_CONNECTED) and _fits(context, FULLY_CONNECTED)


def _has_outputs(context: Context) -> bool:
    return bool(context.output.size >= LEAST_OUTPUTS * context.output.shape[-1])


def _fits(context: Context, operands: weighted.Operands) -> bool:
    if context.output.shape[-1] < CHANNELS:
        return False
    if any(pair_blocks_v7m.places(layout).max() >= 1 << WORD_BITS - PLACE_SHIFT for layout in _layouts(context)):
        return False
    return scales_v7m.scales(context, operands, dsp.sums(context, operands)) is not None


def params(context: Context) -> Kernel:
    """Numbers for the template, those of the layer with its blocks, its weights, and room for a row of outputs."""
    if _is_flat(context):
        return _pixels(context, CONVOLUTION)
    layout, window = _best(context), _window(context)
    kernel = _kernel(context, CONVOLUTION, layout, layout.along.output, by_row=False)
    return replace(kernel, overlaps=(window_walk.by_rows(context, window, layout.turned, _groups(context)),))


def rows_params(context: Context) -> Kernel:
    """The same of a fully connected layer."""
    return _pixels(context, FULLY_CONNECTED)


def pixel_rows(context: Context) -> Rows | None:
    """A row of a 1x1 convolution, by the same kernel; output by output where it is too short for its weights."""
    row = pixelwise.of_one_row(context)
    if row is None:
        return None
    cycles = _pixel_cycles(row)
    lanes_cycles = row.output.size * (PRODUCT_CYCLES * row.input(0).shape[3] + OUTPUT_CYCLES)
    if matrix_v6m.applies(row) and lanes_cycles < cycles:
        kernel, template, cycles = lanes_v7m.matrix(row), lanes_v7m.MATRIX, lanes_cycles
    elif applies(row):
        kernel, template = params(row), TEMPLATE
    else:
        return None
    extra = context.output.shape[1] * cycles - _pixel_cycles(context)
    return Rows(kernel, template, extra_cycles=max(0, round(extra)))


def rows(context: Context) -> Rows | None:
    """The same for one row of the output."""
    if not window_rows.possible(context):
        return None
    layout = next(way for way in _layouts(context) if not way.turned)
    part = _part(layout)
    found = _rows(context, layout, layout.along.output)
    return replace(found, small=_rows(context, layout, part) if part and _groups(context) == 1 else None)


def _rows(context: Context, layout: Layout, part: int) -> Rows:
    """A row, so many outputs at a time."""
    whole, best = layout.along.output, _best(context)
    kernel = _kernel(context, CONVOLUTION, layout, part, by_row=True)
    extra = _cycles(layout, context, part) - _cycles(best, context, best.along.output)
    cycles = max(0, round(extra))
    copies = part == whole and _groups(context) == 1
    return window_rows.rows(_window(context), kernel, TEMPLATE, copies=copies, extra_cycles=cycles)


def _part(layout: Layout) -> int:
    """Outputs of a part of a row, a quarter of it; 0 where that is none."""
    part = -(-layout.along.output // 4) // PIXELS * PIXELS
    return part if part < layout.along.output else 0


def _pixels(context: Context, operands: weighted.Operands) -> Kernel:
    """Of a kernel that reads each pixel once: some of them at a time, as many as are worth spreading the weights."""
    layout, part = _best(context), _pixel_part(context)
    kernel = _kernel(context, operands, layout, part, by_row=False)
    pixels, filters = layout.along.output, context.output.shape[-1]
    return replace(kernel, overlaps=(overlap.of_rows(0, pixels, layout.channels, filters, part),))


def _pixel_part(context: Context) -> int:
    """Pixels at a time."""
    layout = _best(context)
    pixels = layout.along.output
    most = max(PIXELS, MOST_PART_BYTES // layout.column_bytes // PIXELS * PIXELS)
    part = -(-pixels // -(-pixels // most))
    return min(pixels, part + part % PIXELS)


def _pixel_cycles(context: Context) -> float:
    return _cycles(_best(context), context, _pixel_part(context))


def _is_flat(context: Context) -> bool:
    """Whether every pixel is read once: a row of a fully connected layer is a pixel."""
    if context.node.op == "fully_connected":
        return True
    if _groups(context) > 1:
        return False
    window = convolution_geometry(context)
    return window.kernel == (1, 1) and window.stride == (1, 1) and not window.padded


def _groups(context: Context) -> int:
    """Of channels; each has its own filters."""
    return context.input(0).shape[-1] // context.input(1).shape[-1] if context.node.op == "conv_2d" else 1


def _window(context: Context) -> Geometry:
    """That of the layer; all pixels are one row where each is read once."""
    if not _is_flat(context):
        return convolution_geometry(context)
    pixels = context.output.size // context.output.shape[-1]
    return Geometry((1, pixels), (1, 1), (1, pixels), (1, 1), (1, 1), (0, 0))


def _layouts(context: Context) -> list[Layout]:
    """Columns of scratch along the width, or along the height where that is another way."""
    turns = (False,) if _is_flat(context) else (False, True)
    return [_layout(_window(context), context.input(1).shape[-1], turned) for turned in turns]


def _best(context: Context) -> Layout:
    """The faster way."""
    return min(_layouts(context), key=lambda layout: _cycles(layout, context, layout.along.output))


def _layout(window: Geometry, depth: int, turned: bool) -> Layout:
    fields = (window.input, window.kernel, window.output, window.stride, window.dilation, window.pad)
    down, along = (Axis(*(pair[axis] for pair in fields)) for axis in range(2))
    return Layout(along, down, depth, True) if turned else Layout(down, along, depth, False)


def _cycles(layout: Layout, context: Context, part: int) -> float:
    """About what it takes: enough to choose between the ways."""
    filters, size = context.output.shape[-1], context.input(1).size
    blocks = -(-filters // CHANNELS)
    pairs = -(-layout.along.output // PIXELS) * blocks
    parts = -(-layout.along.output // part)
    columns = layout.along.columns + (parts - 1) * (layout.along.kernel - 1) * layout.along.dilation
    element = WORD_CYCLES if pair_blocks_v7m.is_aligned(layout) else BYTE_CYCLES
    gather = columns * layout.down.kernel * (COLUMN_CYCLES + layout.channels * element)
    steps = layout.along.kernel * layout.elements // 2
    row = pairs * (steps * STEP_CYCLES + BLOCK_CYCLES) + gather + parts * (size * SPREAD_CYCLES + blocks * PART_CYCLES)
    return layout.down.output * row


def _kernel(context: Context, operands: weighted.Operands, layout: Layout, part: int, by_row: bool) -> Kernel:
    found, limits = dsp.sums(context, operands), weighted.activation_range(context)
    scales = scales_v7m.scales(context, operands, found)
    assert scales is not None  # proved by applies
    groups = _groups(context)
    blocks = pair_blocks_v7m.blocks(found, layout, groups)
    scales = scales_v7m.moved(scales, blocks.start)
    lined = layout.along.dilation > 1 and layout.along.kernel > 1
    values: dict[str, Any] = {
        "by_row": by_row,
        "grouped": groups > 1,
        "apart": _apart(layout, part, groups) if by_row else None,
        "form": scales.form,
        "scale_words": scales.table.shape[1],
        "unrolled": UNROLLED,
        "lined": lined,
        "limits": None if limits == quant.RANGES["int8"] else limits,
    }
    columns = (part - 1) * layout.along.step + (layout.along.kernel - 1) * layout.along.dilation + 1
    numbers = _numbers(context, layout, part, blocks, scales)
    tables = [_table(scales, blocks, block) for block in range(len(blocks.starts))]
    words = columns * layout.elements // 2 + blocks.words.shape[1] * CHANNELS + blocks.most_extras * 3
    constants = (
        Constant("weights", as_int32(blocks.words)),
        Constant("layer", as_int32(np.concatenate([numbers, *tables]))),
    )
    return Kernel(values, (0,), constants, words * WORD_BYTES)


def _apart(layout: Layout, part: int, groups: int) -> str:
    return window_rows.OVER_THEM if part == layout.along.output and groups == 1 else window_rows.APART


def _numbers(context: Context, layout: Layout, part: int, blocks: Blocks, scales: Scales) -> list[int]:
    """In the order of the template."""
    x, filters, down, along = context.input(0), context.output.shape[-1], layout.down, layout.along
    window = _window(context)
    batches = context.output.size // (math.prod(window.output) * filters)
    groups = _groups(context)
    ways = distances(layout, window, filters, groups)
    first, end = along.inside
    gaps = along.dilation > 1 and along.kernel > 1
    line = layout.column_bytes * (1 if gaps else along.kernel)
    gap = layout.column_bytes * (along.dilation - 1) if gaps else 0
    aligned = pair_blocks_v7m.is_aligned(layout)
    return [
        *(batches, x.size // batches, context.output.size // batches, layout.channels),
        *(down.kernel, down.stride, down.dilation, down.pad, down.input, down.output, along.output),
        *(ways["in_down_step"], ways["in_along_step"], ways["first_element_offset"]),
        *(ways["out_down_step"], ways["pixel_bytes"]),
        *(part, along.step, (along.kernel - 1) * along.dilation + 1, layout.elements, first, end - first),
        *(line, gap, int(aligned), x.zero_point, scales.shift),
        *(len(blocks.starts) // groups, blocks.words.shape[1], along.kernel * layout.elements // 2),
        *([groups] if groups > 1 else []),
    ]


def _table(scales: Scales, blocks: Blocks, block: int) -> Array:
    """Of a block: its first channel, how many extra pairs it has, what scales its channels, those pairs."""
    start, extras = blocks.starts[block], blocks.extras[block]
    scale = scales.table[start : start + CHANNELS].ravel()
    return np.concatenate([[start, len(extras)], scale, extras]).astype(np.int64)
