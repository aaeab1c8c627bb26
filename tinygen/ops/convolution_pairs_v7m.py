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
PIXELS, FEW_PIXELS = 3, 2
"""Of each channel of a block: six sums; four, where rows have so few that it is faster."""
CODE_BYTES = {3: 2400, 2: 1900}
"""About those of a function."""
LEAST_SAVED = 60_000
"""Cycles that a layer must save to have the function for few: thirty for each of its bytes."""
UNROLLED = 16
"""Steps that are printed one after another; more become a loop."""
WORD_BITS = 32
EXTRA_WORDS = 2
"""Of a pair that is split, in scratch."""
MOST_PART_BYTES = 2304
"""Of the pixels of a 1x1 convolution that are computed at a time."""
LEAST_OUTPUTS = 2
"""Of a channel: fewer are not worth spreading its weights."""
STEP_CYCLES, BLOCK_CYCLES, SPREAD_CYCLES = {3: 20.5, 2: 14.1}, {3: 105, 2: 90}, 2.1
"""About what these take: a pair of inputs of a block, its share of extra ones in it; the rest of a block; a weight."""
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
    return _params(context, at_once(context))


def two_params(context: Context) -> Kernel:
    """The same, two outputs at a time."""
    return _params(context, FEW_PIXELS)


def _params(context: Context, pixels: int) -> Kernel:
    if _is_flat(context):
        return _pixels(context, CONVOLUTION, pixels)
    layout, window = _best(context, pixels), _window(context)
    kernel = _kernel(context, CONVOLUTION, layout, layout.along.output, pixels, by_row=False)
    return replace(kernel, overlaps=(window_walk.by_rows(context, window, layout.turned, _groups(context)),))


def rows_params(context: Context) -> Kernel:
    """The same of a fully connected layer."""
    return _pixels(context, FULLY_CONNECTED, at_once(context))


def at_once(context: Context) -> int:
    """Outputs of a block: few where that alone is worth a function of its own."""
    return FEW_PIXELS if two_cycles(context) < -LEAST_SAVED else PIXELS


def code_bytes(context: Context) -> int:
    """About those of its function."""
    return CODE_BYTES[at_once(context)]


def two_cycles(context: Context) -> float:
    """About what it takes more with two outputs at a time."""
    return _layer_cycles(context, FEW_PIXELS) - _layer_cycles(context, PIXELS)


def pixel_rows(context: Context) -> Rows | None:
    """A row of a 1x1 convolution, by the same kernel; output by output where it is too short for its weights."""
    return _pixel_rows(context, at_once(context))


def two_pixel_rows(context: Context) -> Rows | None:
    """The same, two outputs at a time."""
    return _pixel_rows(context, FEW_PIXELS)


def _pixel_rows(context: Context, pixels: int) -> Rows | None:
    row = pixelwise.of_one_row(context)
    if row is None:
        return None
    cycles = _layer_cycles(row, pixels)
    lanes_cycles = row.output.size * (PRODUCT_CYCLES * row.input(0).shape[3] + OUTPUT_CYCLES)
    if matrix_v6m.applies(row) and lanes_cycles < cycles:
        kernel, template, cycles = lanes_v7m.matrix(row), lanes_v7m.MATRIX, lanes_cycles
    elif applies(row):
        kernel, template = _params(row, pixels), TEMPLATE
    else:
        return None
    extra = context.output.shape[1] * cycles - _layer_cycles(context, pixels)
    return Rows(kernel, template, extra_cycles=max(0, round(extra)))


def rows(context: Context) -> Rows | None:
    """The same for one row of the output."""
    return _rows(context, at_once(context))


def two_rows(context: Context) -> Rows | None:
    """The same, two outputs at a time."""
    return _rows(context, FEW_PIXELS)


def _rows(context: Context, pixels: int) -> Rows | None:
    if not window_rows.possible(context):
        return None
    layout = next(way for way in _layouts(context) if not way.turned)
    part = _part(layout, pixels)
    found = _row(context, layout, layout.along.output, pixels)
    return replace(found, small=_row(context, layout, part, pixels) if part and _groups(context) == 1 else None)


def _row(context: Context, layout: Layout, part: int, pixels: int) -> Rows:
    """A row, so many outputs at a time."""
    kernel = _kernel(context, CONVOLUTION, layout, part, pixels, by_row=True)
    extra = _cycles(layout, context, part, pixels) - _layer_cycles(context, pixels)
    copies = part == layout.along.output and _groups(context) == 1
    return window_rows.rows(_window(context), kernel, TEMPLATE, copies=copies, extra_cycles=max(0, round(extra)))


def _part(layout: Layout, pixels: int) -> int:
    """Outputs of a part of a row, a quarter of it or a block; 0 where that is all of it."""
    part = max(1, -(-layout.along.output // 4) // pixels) * pixels
    return part if part < layout.along.output else 0


def _pixels(context: Context, operands: weighted.Operands, at_once: int) -> Kernel:
    """Of a kernel that reads each pixel once: some of them at a time, as many as are worth spreading the weights."""
    (layout,) = _layouts(context)
    part = _pixel_part(layout, at_once)
    kernel = _kernel(context, operands, layout, part, at_once, by_row=False)
    pixels, filters = layout.along.output, context.output.shape[-1]
    return replace(kernel, overlaps=(overlap.of_rows(0, pixels, layout.channels, filters, part),))


def _pixel_part(layout: Layout, at_once: int) -> int:
    """Pixels at a time."""
    pixels = layout.along.output
    most = max(at_once, MOST_PART_BYTES // layout.column_bytes // at_once * at_once)
    part = -(-pixels // -(-pixels // most))
    return min(pixels, part + -part % at_once)


def _layer_cycles(context: Context, pixels: int) -> float:
    """About what all of it takes, the faster way."""
    layout = _best(context, pixels)
    part = _pixel_part(layout, pixels) if _is_flat(context) else layout.along.output
    return _cycles(layout, context, part, pixels)


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


def _best(context: Context, pixels: int) -> Layout:
    """The faster way."""
    return min(_layouts(context), key=lambda layout: _cycles(layout, context, layout.along.output, pixels))


def _layout(window: Geometry, depth: int, turned: bool) -> Layout:
    fields = (window.input, window.kernel, window.output, window.stride, window.dilation, window.pad)
    down, along = (Axis(*(pair[axis] for pair in fields)) for axis in range(2))
    return Layout(along, down, depth, True) if turned else Layout(down, along, depth, False)


def _cycles(layout: Layout, context: Context, part: int, pixels: int) -> float:
    """About what it takes: enough to choose between the ways."""
    filters, size = context.output.shape[-1], context.input(1).size
    blocks, parts = -(-filters // CHANNELS), -(-layout.along.output // part)
    columns = layout.along.columns + (parts - 1) * (layout.along.kernel - 1) * layout.along.dilation
    element = WORD_CYCLES if pair_blocks_v7m.is_aligned(layout) else BYTE_CYCLES
    gather = columns * layout.down.kernel * (COLUMN_CYCLES + layout.channels * element)
    products = blocks * _block_cycles(layout, part, pixels)
    row = products + gather + parts * (size * SPREAD_CYCLES + blocks * PART_CYCLES)
    return layout.down.output * row


def _block_cycles(layout: Layout, part: int, pixels: int) -> float:
    """About what two channels of a row take, so many outputs at a time."""
    whole, rest = divmod(layout.along.output, part)
    blocks = whole * _blocks(part, pixels) + _blocks(rest, pixels)
    return blocks * (layout.along.kernel * layout.elements // 2 * STEP_CYCLES[pixels] + BLOCK_CYCLES[pixels])


def _blocks(outputs: int, pixels: int) -> int:
    """Of so many outputs: the last begins earlier where they are no whole ones; each is one where they are fewer."""
    return outputs if outputs < pixels else -(-outputs // pixels)


def _kernel(
    context: Context, operands: weighted.Operands, layout: Layout, part: int, pixels: int, by_row: bool
) -> Kernel:
    found, limits = dsp.sums(context, operands), weighted.activation_range(context)
    scales = scales_v7m.scales(context, operands, found)
    assert scales is not None  # proved by applies
    groups = _groups(context)
    blocks = pair_blocks_v7m.blocks(found, layout, groups)
    scales = scales_v7m.moved(scales, blocks.start)
    lined = layout.along.dilation > 1 and layout.along.kernel > 1
    values: dict[str, Any] = {
        "pixels": pixels,
        "pixels_word": {3: "three", 2: "two"}[pixels],
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
    words = columns * layout.elements // 2 + blocks.words.shape[1] * CHANNELS + blocks.most_extras * EXTRA_WORDS
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
    """Of a block: its first channel, how many extra pairs each has, what scales them, those pairs."""
    start, extras = blocks.starts[block], blocks.extras[block]
    scale = scales.table[start : start + CHANNELS].ravel()
    return np.concatenate([[start, *map(len, extras)], scale, *extras]).astype(np.int64)
