"""Turns a convolution of groups, or with gaps, into the kernel for Armv6-M cores that widens rows of its input.

Each group has its rows in scratch for itself, and in each row the columns lie behind each other that are under a window
at once: every gap-th one. So lines of inputs have no gaps, as those of the kernel for other convolutions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import byte_pairs, convolution_widened_v6m, dsp, lanes, weighted, window_walk
from tinygen.ops.convolution_widened_v6m import (
    CHANNELS,
    INPUTS,
    MOST_CELLS_BYTES,
    MOST_WHOLE,
    OPERANDS,
    SHIFTS,
    STARTS,
    STEP_WORDS,
    UNROLLED,
    Scales,
    block,
    in_lines,
    scales_of,
    walk,
)
from tinygen.ops.dsp import Sums
from tinygen.ops.spec import Constant, Context, Kernel
from tinygen.ops.window import Geometry, convolution_geometry

TEMPLATE = convolution_widened_v6m.TEMPLATE
NUMBERS = 28
"""Of a layer, in front of its blocks."""


def applies(context: Context) -> bool:
    """Groups of a block of filters, or gaps without a stride; channels that fit in lanes, scales proved exact."""
    window, groups = convolution_geometry(context), _groups(context)
    gaps = _gap(window) > 1
    filters = context.output.shape[3] // groups
    if (groups == 1 and not gaps) or (gaps and window.stride[1] > 1) or filters < CHANNELS:
        return False
    found = dsp.sums(context, OPERANDS)
    return lanes.fit(in_lines(found, window.kernel[0])) and _scales(context, found) is not None


def params(context: Context) -> Kernel:
    """Numbers for the template, those of the layer with the words of all blocks, and room for inputs and a block."""
    window, found = convolution_geometry(context), dsp.sums(context, OPERANDS)
    scales, tile = _scales(context, found), _tile(context, window)
    assert scales is not None  # proved by applies
    lined = in_lines(found, window.kernel[0])
    steps = lined.rows.shape[1] // INPUTS
    line = steps * INPUTS // window.kernel[0]
    begins = STARTS if np.any(scales.start) else 0
    limits = weighted.activation_range(context)
    whole = window.kernel[0] > 1 and line <= MOST_WHOLE * INPUTS
    plane = _rows(window, tile) * _pitch(context, window)
    values: dict[str, Any] = {
        "by_row": False,
        "starts": begins,
        "bounded": bool(scales.bounds.size),
        "kinked": scales.line.kinked,
        "scale_words": scales.words.shape[1],
        "block_words": 2 + begins + SHIFTS + CHANNELS * scales.words.shape[1],
        "numbers": NUMBERS,
        "short": None,
        "parted": True,
        "whole": whole,
        "unrolled": line // INPUTS if whole else UNROLLED,
        "limits": None if limits == quant.RANGES["int8"] else limits,
    }
    blocks = [_block(context, lined, scales, start, plane) for start in _starts(context)]
    layer = np.concatenate([_numbers(context, window, tile, line, len(blocks)), *blocks])
    scratch = (_groups(context) * plane + 1 + steps * STEP_WORDS) * lanes.WORD_BYTES
    rule = window_walk.by_pixels(context, window_walk.axes(window), group=tile * window.output[1])
    return Kernel(values, (0,), (Constant("layer", lanes.as_int32(layer)),), scratch, (rule,))


def _groups(context: Context) -> int:
    return context.input(0).shape[3] // context.input(1).shape[3]


def _gap(window: Geometry) -> int:
    """From column to column of a window."""
    return window.dilation[1] if window.kernel[1] > 1 else 1


def _starts(context: Context) -> list[int]:
    """The first channels of all blocks: each is of one group."""
    groups = _groups(context)
    filters = context.output.shape[3] // groups
    own = byte_pairs.block_starts(filters, CHANNELS)
    return [group * filters + start for group in range(groups) for start in own]


def _scales(context: Context, found: Sums) -> Scales | None:
    return scales_of(context, found, starts=_starts(context))


def _in_part(window: Geometry) -> int:
    """Columns of scratch that lie behind each other."""
    return -(-walk(window, 1)[2] // _gap(window))


def _pitch(context: Context, window: Geometry) -> int:
    """Words of a row of one group."""
    return _gap(window) * _in_part(window) * context.input(1).shape[3]


def _rows(window: Geometry, tile: int) -> int:
    """Rows of scratch under so many rows of outputs."""
    return (tile - 1) * walk(window, 0)[0] + (window.kernel[0] - 1) * window.dilation[0] + 1


def _tile(context: Context, window: Geometry) -> int:
    """Rows of outputs at a time, the inputs under which take no more than there is room for, or one."""
    row_bytes = _groups(context) * _pitch(context, window) * lanes.WORD_BYTES
    fitting = (MOST_CELLS_BYTES // row_bytes - _rows(window, 1)) // walk(window, 0)[0] + 1
    tiles = -(-window.output[0] // max(1, min(fitting, window.output[0])))
    return -(-window.output[0] // tiles)


def _block(context: Context, lined: Sums, scales: Scales, start: int, plane: int) -> Array:
    """The words of a block, behind its first channel where the inputs of its group begin."""
    words = block(lined, scales, start, SHIFTS)
    group = start // (context.output.shape[3] // _groups(context))
    return np.concatenate([words[:1], [group * plane], words[1:]])


def _numbers(context: Context, window: Geometry, tile: int, line: int, blocks: int) -> list[int]:
    """In the order of the template."""
    x, filters, own = context.input(0), context.output.shape[3], context.input(1).shape[3]
    (down, row_step, _), (along, column_step, columns) = walk(window, 0), walk(window, 1)
    places = np.arange(columns) * column_step - window.pad[1]
    inside = np.flatnonzero((places >= 0) & (places < window.input[1]))
    gap = window.dilation[0] * _pitch(context, window)
    return [
        *(x.shape[0], x.size // x.shape[0], *window.input, x.shape[3], *window.output, filters),
        *(window.kernel[0], line, down, along, gap - line, *window.pad, row_step, column_step),
        *(tile, columns, int(inside[0]) if len(inside) else 0, len(inside), x.zero_point, blocks, _rows(window, 1)),
        *(own, _groups(context), _gap(window), _in_part(window)),
    ]
