"""Turns a 3x3 depthwise convolution into the numbers and arrays of its kernel for Armv6-M cores.

A plane of one channel, or three rows of it, lies in scratch, the longer axis of the output along them. A word holds two
inputs, of both halves of a row: one multiplication by a tap is two products, in lanes of 16 bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import dsp, floored_line, lanes, planes, weighted, window_rows, window_walk
from tinygen.ops.dsp import Sums
from tinygen.ops.floored_line import FlooredLine
from tinygen.ops.spec import Constant, Context, Kernel, Rows
from tinygen.ops.window import Geometry, convolution_geometry

OPERANDS = weighted.Operands(channel_axis=3)
TEMPLATE = "kernels/depthwise_conv_2d.v6m.c.j2"
CHANNEL_CYCLES, COPY_CYCLES = 125, 4.6
"""About what a channel takes again in each row, and what it takes to copy an element."""
ROWS, TAPS, STRIDES = 3, 9, (1, 2)
MOST_PLANE_BYTES = 2048
"""Of scratch for all rows of a channel; where they take more, three lie there at a time."""
PRODUCTS = (3, 2, 1)
"""Of a row, that are added before lanes are taken apart."""
WORD_BYTES = 4
PAIR_CYCLES, LONE_CYCLES, ROW_CYCLES = 177, 101, 20
"""About what four outputs take, two at the end of an odd row, and a row of outputs beside them."""
WORD_CYCLES, COPY_ROW_CYCLES = 8.5, 20
"""The same of a word that is copied, and of a row of them."""
MAIN_BYTES, ROWS_BYTES, PAIRS_BYTES, LONE_BYTES, RING_BYTES = 300, 130, 260, 180, 190
"""About the code of a function: around its rows; of rows for a number of products, with words two at a time, with lone
ones; of rows that take turns in scratch."""


def applies(context: Context) -> bool:
    """3x3 kernels with stride 1 or 2, one filter a channel, and a line that is proved exact."""
    window, x = convolution_geometry(context), context.input(0)
    square = window.kernel == (ROWS, ROWS) and window.dilation == (1, 1)
    even = window.stride[0] == window.stride[1] and window.stride[0] in STRIDES
    if not square or not even or context.output.shape[3] != x.shape[3] or not _halves_meet(window):
        return False
    return _line(context, dsp.sums(context, OPERANDS)) is not None


def params(context: Context) -> Kernel:
    """Numbers for the template, taps in the order of its rows, what scales each channel, and room for three rows."""
    return _kernel(context, by_row=False)


def rows(context: Context) -> Rows | None:
    """The same for one row of the output: of each channel, all rows under it are copied for each."""
    if not window_rows.possible(context):
        return None
    return planes.rows(context, _kernel(context, by_row=True), TEMPLATE, CHANNEL_CYCLES, COPY_CYCLES, COPY_CYCLES)


def cycles(context: Context) -> float:
    """About what a channel takes."""
    window = convolution_geometry(context)
    down, along = (1, 0) if _is_turned(window) else (0, 1)
    halves, rows = _halves(window, along), window.output[down]
    words = halves["upper_end"] - halves["upper"] + halves["lower_end"] - halves["upper_end"]
    outputs = halves["pairs"] // 2 * PAIR_CYCLES + halves["pairs"] % 2 * LONE_CYCLES + ROW_CYCLES
    copied = _down(window, down)["inside"] * (COPY_ROW_CYCLES + WORD_CYCLES * words)
    again = 0 if _is_whole(window, down, halves) else rows * CHANNEL_CYCLES
    return CHANNEL_CYCLES + rows * outputs + copied + again


def code_bytes(context: Context) -> int:
    """About what its function takes."""
    window = convolution_geometry(context)
    down, along = (1, 0) if _is_turned(window) else (0, 1)
    halves = _halves(window, along)
    ways = (PAIRS_BYTES if halves["pairs"] > 1 else 0) + (LONE_BYTES if halves["pairs"] % 2 else 0)
    forms = len(np.unique(products_of(_taps(dsp.sums(context, OPERANDS), _is_turned(window)))))
    return MAIN_BYTES + forms * (ROWS_BYTES + ways) + (0 if _is_whole(window, down, halves) else RING_BYTES)


def _kernel(context: Context, by_row: bool) -> Kernel:
    x, window, found = context.input(0), convolution_geometry(context), dsp.sums(context, OPERANDS)
    floored = _line(context, found)
    assert floored is not None  # proved by applies
    line = floored.line
    turned = not by_row and _is_turned(window)
    down, along = (1, 0) if turned else (0, 1)
    depth, steps = x.shape[3], (x.shape[2] * x.shape[3], x.shape[3])
    out_steps = context.output.shape[2] * depth, depth
    taps = _taps(found, turned)
    halves, products = _halves(window, along), products_of(taps)
    limits = weighted.activation_range(context)
    values: dict[str, Any] = {
        **window.values(),
        "batches": x.shape[0],
        "in_elements": x.size // x.shape[0],
        "out_elements": out_steps[0] if by_row else context.output.size // x.shape[0],
        "channels": depth,
        "turned": turned,
        "stride": window.stride[0],
        "down": _down(window, down),
        "along": {**halves, "distance": (window.output[along] - halves["pairs"]) * out_steps[along]},
        "products": tuple(count for count in PRODUCTS if count in products),
        "in_steps": (steps[down], steps[along]),
        "out_steps": (out_steps[down], out_steps[along]),
        "fill": x.zero_point,
        "right": int(line.shifts[0, 0]),
        "shift": int(line.shifts[0, 1]),
        "limits": None if limits == quant.RANGES["int8"] else limits,
    }
    weights = np.column_stack([taps.reshape(depth, TAPS), products]).astype(np.int8)
    scales = np.column_stack([line.words, floored.threshold]).astype(np.int32)
    constants = Constant("weights", weights), Constant("scales", scales)
    lines = _lines(window, down)
    whole = not by_row and _is_whole(window, down, halves)
    rule = window_walk.by_planes(context, window) if whole else window_walk.by_rows_of_planes(context, window, turned)
    values |= {"whole": whole, "ring": not whole and not by_row, "lines": lines if whole else ROWS}
    values |= {"by_row": by_row, "apart": planes.row_words(context) if by_row else window_walk.words(rule, depth)}
    return Kernel(values, (0,), constants, values["lines"] * halves["reach"] * WORD_BYTES, (rule,))


def _is_turned(window: Geometry) -> bool:
    """Whether a row of scratch is a column of the input."""
    return window.output[0] > window.output[1]


def _is_whole(window: Geometry, down: int, halves: Mapping[str, int]) -> bool:
    """Whether scratch has room for all rows of a channel."""
    return _lines(window, down) * halves["reach"] * WORD_BYTES <= MOST_PLANE_BYTES


def _lines(window: Geometry, axis: int) -> int:
    """Rows under all rows of outputs."""
    return (window.output[axis] - 1) * window.stride[axis] + ROWS


def _taps(found: Sums, turned: bool) -> Array:
    """[channels, 3, 3] as the rows lie in scratch."""
    filters: Array = found.rows.reshape(-1, ROWS, ROWS)
    return np.ascontiguousarray(filters.transpose(0, 2, 1) if turned else filters)


def _halves(window: Geometry, axis: int) -> dict[str, int]:
    """Of a row of scratch: its words, the outputs of a half (the middle one is of both where they are odd), how far the
    inputs of a word are apart, and from where to where there are inputs in the lower and in the upper lane.
    """
    outputs, stride, size, pad = window.output[axis], window.stride[axis], window.input[axis], window.pad[axis]
    pairs = -(-outputs // 2)
    reach, apart = (pairs - 1) * stride + ROWS, (outputs - pairs) * stride
    return {
        "reach": reach,
        "pairs": pairs,
        "apart": apart,
        "lower": pad,
        "lower_end": min(reach, size + pad),
        "upper": max(0, pad - apart),
        "upper_end": min(reach, size + pad - apart),
    }


def _down(window: Geometry, axis: int) -> dict[str, int]:
    """Rows of inputs and of outputs; where all are in scratch, the first there that has inputs and how many have."""
    lines = _lines(window, axis)
    pad, size = window.pad[axis], window.input[axis]
    return {"pad": pad, "size": size, "inside": min(size, lines - pad), "output": window.output[axis]}


def _halves_meet(window: Geometry) -> bool:
    """Whether lower lanes have inputs before upper ones have none left: borders are not wider than the input."""
    return all(half["lower"] <= half["upper_end"] for half in (_halves(window, axis) for axis in range(2)))


def products_of(taps: Array) -> Array:
    """[channels] of taps [channels, rows, 3]: how many products of a row an int16 holds, whatever the inputs."""
    rows = taps.astype(np.int64)
    found = np.ones(len(rows), np.int64)
    for count in sorted(PRODUCTS):
        chunks = [rows[:, :, first : first + count] for first in range(0, ROWS, count)]
        fits = np.all([lanes.fits_lane(chunk).all(axis=1) for chunk in chunks], axis=0)
        found[fits] = count
    return found


def _line(context: Context, found: Sums) -> FlooredLine | None:
    """One that has the same shifts in all channels."""
    return floored_line.search(dsp.two_roundings(context, OPERANDS, found), np.zeros(1, np.int64), len(found.rows))
