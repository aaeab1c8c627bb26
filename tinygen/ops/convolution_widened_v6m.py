"""Turns a convolution into the numbers and words of its kernel for Armv6-M cores that widens rows of its input.

The inputs under some rows of outputs lie in scratch as words, and so do the weights of four channels, two of them in
the lanes of a word: w0 + (w1 << 16). The products of two inputs are added before the lanes are taken apart. The pixels
of a 1x1 convolution are rows of one column. All sizes are numbers of the layer, so that all layers share a kernel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen import quant, scaled_line
from tinygen.ir import Array
from tinygen.ops import byte_pairs, dsp, lanes, overlap, weighted, window_rows, window_walk
from tinygen.ops.dsp import Sums
from tinygen.ops.spec import Constant, Context, Kernel, Overlap, Rows
from tinygen.ops.window import Geometry, convolution_geometry
from tinygen.requantize import Steps
from tinygen.scaled_line import ScaledLine

TEMPLATE = "kernels/conv_2d.widened.v6m.c.j2"
OPERANDS = weighted.Operands(channel_axis=0, offset_weights=True)
CHANNELS = lanes.CHANNELS
INPUTS = 2
"""Of a step of the inner loop."""
STEP_WORDS = 4
"""Of weights in lanes."""
UNROLLED = 8
"""Steps that are printed one after another; a power of 2."""
MOST_WHOLE = 24
"""Steps of a line that are printed one after another without a loop, in a convolution that has several lines."""
MOST_SHORT = 48
"""Inputs of a window that are all printed one after another, in one function for each such layer."""
MOST_CELLS_BYTES = 8192
"""Of widened inputs, where more than one row of outputs is computed from them at a time."""
MOST_FAST_BYTES = 65536
"""The same where RAM is to be used."""
LEAST_OUTPUTS = 6
"""Of a channel: fewer are not worth spreading its weights."""
MANY_WEIGHTS, LEAST_OF_MANY = 2**15, 4
"""Of a layer, and how many outputs of a channel are enough then: few layers would not pay for the function."""
SPREAD_CYCLES = 2.6
"""About what it takes to spread a weight."""
FILL_CYCLES = 5
"""About what it takes to fill a word of scratch."""
NUMBERS = 24
"""Of a layer, in front of its blocks."""
STARTS, SHIFTS = 4, 2
"""Words of a block in front of what scales its channels, behind the number of the first one."""


@dataclass(frozen=True, eq=False)
class Scales:
    """What turns the sums of a layer into outputs."""

    line: ScaledLine
    start: Array
    """int64 [channels]: where sums start."""
    bounds: Array
    """int64 [channels, 2], or [channels, 0]: what sums are clamped to."""

    @property
    def words(self) -> Array:
        """int64 [channels, words]"""
        return np.concatenate([self.bounds, self.line.words], axis=1)


def applies(context: Context) -> bool:
    """One group, gaps along one axis at most, some outputs, channels that fit in lanes, scales proved exact."""
    whole = context.input(1).shape[3] == context.input(0).shape[3]
    window, channels = convolution_geometry(context), context.output.shape[3]
    dense = window.kernel[0] == 1 or not _has_gaps(window)
    least = LEAST_OF_MANY if context.input(1).size >= MANY_WEIGHTS else LEAST_OUTPUTS
    few = context.output.size < least * channels and not _has_gaps(window)  # gaps have no other kernel
    if not whole or not dense or few or channels < CHANNELS:
        return False
    found = dsp.sums(context, OPERANDS)
    return lanes.fit(in_lines(found, _lines(window))) and scales_of(context, found) is not None


def params(context: Context) -> Kernel:
    """Numbers for the template, those of the layer with the words of all blocks, and room for inputs and a block."""
    return _tiled(context, MOST_CELLS_BYTES)


def large_params(context: Context) -> Kernel:
    """The same with more inputs in scratch: weights are spread for more outputs at a time."""
    return _tiled(context, MOST_FAST_BYTES)


def saved_cycles(context: Context) -> float:
    """About what that takes less; where windows reach outside, scratch is filled with the input's zero point first."""
    window = _flat(context, convolution_geometry(context))
    tiles = [_tile(context, window, most) for most in (MOST_CELLS_BYTES, MOST_FAST_BYTES)]
    spread = [-(-window.output[0] // tile) * context.input(1).size for tile in tiles]
    filled = [_rows_of_cells(window, tile) * walk(window, 1)[2] * context.input(0).shape[3] for tile in tiles]
    saved = SPREAD_CYCLES * (spread[0] - spread[1])
    return saved - FILL_CYCLES * (filled[1] - filled[0]) if window.padded else saved


def _tiled(context: Context, most_bytes: int) -> Kernel:
    window = _flat(context, convolution_geometry(context))
    tile = _tile(context, window, most_bytes)
    kernel = _kernel(context, window, tile, by_row=False)
    return replace(kernel, overlaps=(_rule(context, window, tile),))


def rows(context: Context) -> Rows | None:
    """The same for one row of the output: the weights of every block are spread again for each."""
    if not window_rows.possible(context):
        return None
    window = convolution_geometry(context)
    kernel = _kernel(context, window, 1, by_row=True)
    filters = context.input(1)
    spread = filters.size * (window.output[0] - -(-window.output[0] // _tile(context, window, MOST_CELLS_BYTES)))
    return window_rows.rows(window, kernel, TEMPLATE, extra_cycles=round(SPREAD_CYCLES * spread))


def in_lines(found: Sums, count: int) -> Sums:
    """The same with lines, so many, of an even number of inputs."""
    lines = found.rows.reshape(len(found.rows), count, -1)
    padded = np.pad(lines, ((0, 0), (0, 0), (0, lines.shape[2] % INPUTS)))
    return replace(found, rows=padded.reshape(len(padded), -1))


def _has_gaps(window: Geometry) -> bool:
    """Whether the columns of a window lie apart."""
    return window.dilation[1] > 1 and window.kernel[1] > 1


def _lines(window: Geometry) -> int:
    """Runs of inputs under an output: rows, or columns where they lie apart."""
    return window.kernel[1 if _has_gaps(window) else 0]


def _flat(context: Context, window: Geometry) -> Geometry:
    """The same where every pixel is an output: as many rows of one."""
    if window.kernel == (1, 1) and window.stride == (1, 1) and not window.padded:
        pixels = context.output.size // context.output.shape[3]
        return replace(window, input=(pixels, 1), output=(pixels, 1))
    return window


def walk(window: Geometry, axis: int) -> tuple[int, int, int]:
    """Rows (columns) of scratch from output to output, of the input from one of scratch to the next, all of scratch.

    Where a window has a single one, those between two windows are left out.
    """
    stride, kernel = window.stride[axis], window.kernel[axis]
    down, step = (1, stride) if kernel == 1 else (stride, 1)
    return down, step, (window.output[axis] - 1) * down + (kernel - 1) * window.dilation[axis] + 1


def _tile(context: Context, window: Geometry, most_bytes: int) -> int:
    """Rows of outputs at a time, the inputs under which take no more than that, or one."""
    down, _, _ = walk(window, 0)
    reach = (window.kernel[0] - 1) * window.dilation[0] + 1
    row_bytes = walk(window, 1)[2] * context.input(0).shape[3] * lanes.WORD_BYTES
    fitting = (most_bytes // row_bytes - reach) // down + 1
    tiles = -(-window.output[0] // max(1, min(fitting, window.output[0])))
    return -(-window.output[0] // tiles)


def _rule(context: Context, window: Geometry, tile: int) -> Overlap:
    if window.output[1] == 1 and window.kernel == (1, 1) and window.stride == (1, 1):
        depth, filters = context.input(0).shape[3], context.output.shape[3]
        return overlap.of_rows(0, window.output[0], depth, filters, tile)
    return window_walk.by_pixels(context, window_walk.axes(window), group=tile * window.output[1])


def _kernel(context: Context, window: Geometry, tile: int, by_row: bool) -> Kernel:
    found = dsp.sums(context, OPERANDS)
    short = _short_scales(context, found, window)
    scales = short or scales_of(context, found)
    assert scales is not None  # proved by applies
    lined = _filled(found) if short else in_lines(found, _lines(window))
    steps = lined.rows.shape[1] // INPUTS
    line = found.rows.shape[1] // _lines(window) if short else steps * INPUTS // _lines(window)
    whole = not short and _lines(window) > 1 and line <= MOST_WHOLE * INPUTS
    starts = byte_pairs.block_starts(len(found.rows), CHANNELS)
    begins, shifts = STARTS if np.any(scales.start) else 0, 0 if short else SHIFTS
    blocks = [block(lined, scales, start, shifts) for start in starts]
    limits = weighted.activation_range(context)
    block_words = 1 + begins + shifts + CHANNELS * scales.words.shape[1]
    values: dict[str, Any] = {
        "by_row": by_row,
        "starts": begins,
        "bounded": bool(scales.bounds.size),
        "kinked": scales.line.kinked,
        "scale_words": scales.words.shape[1],
        "block_words": block_words,
        "numbers": NUMBERS,
        "short": None,
        "parted": False,
        "whole": whole,
        "unrolled": line // INPUTS if whole else UNROLLED,
        "limits": None if limits == quant.RANGES["int8"] else limits,
    }
    if short:
        right, shift = (int(bits) for bits in scales.line.shifts[0])
        values["short"] = {"inputs": found.rows.shape[1], "line": line, "right": right, "shift": shift}
    numbers = _numbers(context, window, tile, line, len(starts))
    words = np.concatenate([numbers, *blocks])
    cells = _rows_of_cells(window, tile) * walk(window, 1)[2] * context.input(0).shape[3] + 1
    scratch = (cells + steps * STEP_WORDS) * lanes.WORD_BYTES
    return Kernel(values, (0,), (Constant("layer", lanes.as_int32(words)),), scratch)


def _short_scales(context: Context, found: Sums, window: Geometry) -> Scales | None:
    """What scales a layer whose windows are printed as a whole, all channels with the same shifts; None for others."""
    if _lines(window) == 1 or found.rows.shape[1] > MOST_SHORT or not lanes.fit(_filled(found)):
        return None
    scales = scales_of(context, found, len(found.rows))
    return scales if scales and not scales.bounds.size else None


def _filled(found: Sums) -> Sums:
    """The same with an even number of inputs."""
    return replace(found, rows=np.pad(found.rows, ((0, 0), (0, found.rows.shape[1] % INPUTS))))


def _rows_of_cells(window: Geometry, tile: int) -> int:
    return (tile - 1) * walk(window, 0)[0] + (window.kernel[0] - 1) * window.dilation[0] + 1


def _numbers(context: Context, window: Geometry, tile: int, line: int, blocks: int) -> list[int]:
    """In the order of the template."""
    x, filters = context.input(0), context.output.shape[3]
    (down, row_step, _), (along, column_step, columns) = walk(window, 0), walk(window, 1)
    places = np.arange(columns) * column_step - window.pad[1]
    inside = np.flatnonzero((places >= 0) & (places < window.input[1]))
    first = int(inside[0]) if len(inside) else 0
    gap = window.dilation[1] if _has_gaps(window) else window.dilation[0] * columns
    gap *= x.shape[3]
    batches = context.output.size // (math.prod(window.output) * filters)
    return [
        *(batches, x.size // batches, *window.input, x.shape[3], *window.output, filters),
        *(_lines(window), line, down, along, gap - line, *window.pad, row_step, column_step),
        *(tile, columns, first, len(inside), x.zero_point, blocks, _rows_of_cells(window, 1)),
    ]


def scales_of(
    context: Context, found: Sums, alike: int = CHANNELS, starts: Sequence[int] | None = None
) -> Scales | None:
    """The cheapest that is proved exact; None when there is none. So many channels have the same shifts, from `starts`.

    Sums may start anywhere, but where outputs of both signs are rounded away from zero, and need a kink there: with the
    bias. Clamped to those between which outputs differ, they need fewer bits.
    """
    steps, bias = lanes.steps(context, OPERANDS, found), found.bias
    firsts, none = starts or byte_pairs.block_starts(len(bias), alike), np.zeros((len(bias), 0), np.int64)
    blocks = np.array(firsts)
    if line := scaled_line.search(steps, blocks, alike):
        return Scales(line, np.zeros_like(bias), none)
    biased = lanes.moved(steps, bias)
    if line := scaled_line.search(biased, blocks, alike, kinked=True):
        return Scales(line, bias, none)
    low, high = _bounds(steps)
    middle = (low + high) // 2
    for start, kinked in ((-middle, False), (bias, True)):
        bounded = lanes.moved(replace(steps, least=low, most=high), start)
        if line := scaled_line.search(bounded, blocks, alike, kinked):
            return Scales(line, start, np.stack([bounded.least, bounded.most], axis=1))
    return None


def _bounds(steps: Steps) -> tuple[Array, Array]:
    """[channels] each: the sums between which outputs differ."""
    low = np.maximum(steps.least, np.minimum(steps.first[:, 0] - 1, steps.most))
    return low, np.maximum(low, np.minimum(steps.most, steps.first[:, -1]))


def block(found: Sums, scales: Scales, start: int, shifts: int) -> Array:
    """The first channel, where its sums start, so many shifts, what scales them, and the weights."""
    channels = slice(start, start + CHANNELS)
    pairs = scales.start[channels].reshape(-1, 2)
    begin = np.concatenate([pairs[:, 0] + (pairs[:, 1] << lanes.LANE_BITS), pairs[:, 1]])
    begin = begin if np.any(scales.start) else begin[:0]
    weights = lanes.weight_words(found.rows[channels].reshape(CHANNELS, -1, INPUTS))
    return np.concatenate([[start], begin, scales.line.shifts[start][:shifts], scales.words[channels].ravel(), weights])
