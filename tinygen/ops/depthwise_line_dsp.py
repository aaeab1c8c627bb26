"""Turns a 3x3 depthwise convolution with stride 1 into its kernel for the DSP extension that keeps a line of words.

One channel at a time, row by row: of each column the line holds the two elements above the row that is read, so that an
output takes one element of the input, six multiplications and no copy of the plane. The output may lie over the input.
"""

from __future__ import annotations

import numpy as np

from tinygen.ops import depthwise_dsp, depthwise_steps, dsp, planes, window_walk
from tinygen.ops.depthwise_dsp import MOST_ADVANCE
from tinygen.ops.depthwise_steps import Walk
from tinygen.ops.planes import OPERANDS, Plane
from tinygen.ops.spec import Context, Kernel, Overlap
from tinygen.ops.unroll import chunk
from tinygen.ops.window import Geometry, convolution_geometry

TEMPLATE = "kernels/depthwise_conv_2d.line.dsp.c.j2"
MOST_COLUMNS = 12
"""Of a row that are printed one after another; more become rounds."""
LAST_COLUMNS = 4
"""The same of a row with nothing below it."""
LAST_COLUMN_BYTES = 28
"""Of a column of that row."""
BELOW_CYCLES = 5
"""What a column takes more with a row below it."""
CYCLES_A_BYTE = 12
"""What is paid for those bytes at most, by each layer that shares the function."""
CODE_BYTES = 1040
"""About those of its function."""
MOST_COPIES = 6
"""Elements that begin the line one after another."""
COLUMN_CYCLES = 13
ROUND_CYCLES = 9
ROW_CYCLES = 22


def applies(context: Context) -> bool:
    """One filter a channel, stride 1, borders of one row at most, one multiplication an output."""
    window = convolution_geometry(context)
    if window.stride != (1, 1) or context.input(0).shape[3] != context.output.shape[3]:
        return False
    if not depthwise_dsp.applies(context) or not _ways(context):
        return False
    return bool(planes.scaling(context, dsp.sums(context, OPERANDS)).values["form"] == "line")


def params(context: Context) -> Kernel:
    """A record for each channel; a line of a word for each column."""
    plane, found = _ways(context)[0], dsp.sums(context, OPERANDS)
    scaled = planes.scaling(context, found)
    rule = _overlap(context, plane)
    start, multiplier = (constant.data for constant in scaled.constants)
    first, last = _walks(context, plane)
    below = plane.down.reach - plane.down.pad - plane.down.read
    values = {
        **planes.values(context, plane, plane.along.reach, scaled),
        "copied": chunk(plane.along.read, MOST_COPIES),
        "walk": first,
        "last_walk": last,
        "record_bytes": depthwise_steps.RECORD_BYTES,
        "read_advance": _in_steps(context, plane)[1] - first.rounds * first.read_step,
        "stored_advance": planes.steps(plane, context)[1] - first.rounds * first.stored_step,
        "rows_above": 2 - plane.down.pad,
        "rows_read": plane.down.read - 2 + plane.down.pad,
        "below": below,
        "again": bool(below) and _is_cheap(context.input(0).shape[3], plane.along.reach, last),
        "apart": window_walk.words(rule, context.input(0).shape[3]),
    }
    records = depthwise_steps.records(planes.filters(found, plane), start, multiplier)
    line_bytes = plane.along.reach * depthwise_steps.WORD_BYTES
    return Kernel(values, (0,), (records,), line_bytes, (rule,))


def _ways(context: Context) -> list[Plane]:
    """The ways to lay out a plane that the instructions can reach, the cheapest first."""
    ways = planes.planes(convolution_geometry(context))
    return sorted((way for way in ways if _reaches(context, way)), key=lambda way: _cycles(context, way))


def _reaches(context: Context, plane: Plane) -> bool:
    """Whether offsets are near enough, borders narrow, and there is a row below the first two."""
    if any(axis.pad > 1 or axis.reach - axis.pad - axis.read > 1 for axis in (plane.down, plane.along)):
        return False
    if plane.down.read + plane.down.pad <= 2:
        return False
    advances = max(_in_steps(context, plane)[1], planes.steps(plane, context)[1])
    return advances <= MOST_ADVANCE and all(walk.reaches() for walk in _walks(context, plane))


def _walks(context: Context, plane: Plane) -> tuple[Walk, Walk]:
    """The columns of all rows but one, and those of the last row."""
    read, stored = _in_steps(context, plane)[0], planes.steps(plane, context)[0]
    first, last = (depthwise_steps.walk(plane.along, read, stored, most) for most in (MOST_COLUMNS, LAST_COLUMNS))
    return first, last


def _is_cheap(channels: int, columns: int, last: Walk) -> bool:
    """Whether the instructions for other rows do for that with nothing below it too: its taps there are 0."""
    printed = len(last.head + last.round + last.tail)
    extra = columns * BELOW_CYCLES - last.rounds * ROUND_CYCLES
    return channels * extra < CYCLES_A_BYTE * printed * LAST_COLUMN_BYTES


def _in_steps(context: Context, plane: Plane) -> tuple[int, int]:
    """Bytes of the input from one element of a row to the next, and from row to row."""
    _, _, width, channels = context.input(0).shape
    return (width * channels, channels) if plane.turned else (channels, width * channels)


def _cycles(context: Context, plane: Plane) -> int:
    """About what a channel takes: enough to choose between the two ways."""
    rounds = _walks(context, plane)[0].rounds
    return plane.down.output * (ROW_CYCLES + plane.along.output * COLUMN_CYCLES + rounds * ROUND_CYCLES)


def _overlap(context: Context, plane: Plane) -> Overlap:
    """Outputs may lie on elements of the same channel, those that were read before they are written."""
    window, depth = convolution_geometry(context), context.input(0).shape[3]
    return Overlap(0, exact=tuple(pixel * depth for pixel in _free(window, plane.turned)))


def _free(window: Geometry, turned: bool) -> range:
    """Pixels of the input on which the output may begin."""
    if turned:
        return range(1 if window.input == window.output else 0)
    rows = window_walk.new_spans(window, 0)
    below = np.stack([np.maximum(rows[:, 0], rows[:, 1] - 1), rows[:, 1]], axis=1)
    return window_walk.free_in_plane(window, rows, below)
