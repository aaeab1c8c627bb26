"""Turns a 3x3 depthwise convolution into the numbers and arrays of its kernel for Armv6-M cores.

Three rows of one channel at a time lie in scratch as words, the longer axis of the output along them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen import quant, scaled_line
from tinygen.ops import dsp, planes, weighted, window_rows, window_walk
from tinygen.ops.dsp import Sums
from tinygen.ops.spec import Constant, Context, Kernel, Rows
from tinygen.ops.window import convolution_geometry
from tinygen.scaled_line import ScaledLine

OPERANDS = weighted.Operands(channel_axis=3)
TEMPLATE = "kernels/depthwise_conv_2d.v6m.c.j2"
CHANNEL_CYCLES, COPY_CYCLES = 100, 10.0
"""About what a channel takes again in each row, and what it takes to copy an element."""
ROWS, TAPS, STRIDES = 3, 9, (1, 2)
WORD_BYTES = 4


def applies(context: Context) -> bool:
    """3x3 kernels with stride 1 or 2, one filter a channel, and a line that is proved exact."""
    window, x = convolution_geometry(context), context.input(0)
    square = window.kernel == (ROWS, ROWS) and window.dilation == (1, 1)
    even = window.stride[0] == window.stride[1] and window.stride[0] in STRIDES
    if not square or not even or context.output.shape[3] != x.shape[3]:
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


def _kernel(context: Context, by_row: bool) -> Kernel:
    x, window, found = context.input(0), convolution_geometry(context), dsp.sums(context, OPERANDS)
    line = _line(context, found)
    assert line is not None  # proved by applies
    turned = not by_row and window.output[0] > window.output[1]
    down, along = (1, 0) if turned else (0, 1)
    depth, steps = x.shape[3], (x.shape[2] * x.shape[3], x.shape[3])
    out_steps = context.output.shape[2] * depth, depth
    stride, reach = window.stride[0], (window.output[along] - 1) * window.stride[0] + ROWS
    first, last = window.pad[along], min(reach, window.input[along] + window.pad[along])
    limits = weighted.activation_range(context)
    values: dict[str, Any] = {
        **window.values(),
        "batches": x.shape[0],
        "in_elements": x.size // x.shape[0],
        "out_elements": out_steps[0] if by_row else context.output.size // x.shape[0],
        "channels": depth,
        "turned": turned,
        "stride": stride,
        "down": {"pad": window.pad[down], "size": window.input[down], "output": window.output[down]},
        "along": {"outputs": window.output[along], "reach": reach, "first": first, "inside": last - first},
        "in_steps": (steps[down], steps[along]),
        "out_steps": (out_steps[down], out_steps[along]),
        "fill": x.zero_point,
        "right": int(line.shifts[0, 0]),
        "shift": int(line.shifts[0, 1]),
        "limits": None if limits == quant.RANGES["int8"] else limits,
    }
    filters = found.rows.reshape(depth, ROWS, ROWS)
    taps = np.ascontiguousarray(filters.transpose(0, 2, 1) if turned else filters).astype(np.int8)
    constants = Constant("weights", taps), Constant("scales", line.words.astype(np.int32))
    rule = window_walk.by_rows_of_planes(context, window, turned)
    values |= {"by_row": by_row, "apart": planes.row_words(context) if by_row else window_walk.words(rule, depth)}
    return Kernel(values, (0,), constants, ROWS * reach * WORD_BYTES, (rule,))


def _line(context: Context, found: Sums) -> ScaledLine | None:
    """One that has the same shifts in all channels."""
    steps = dsp.two_roundings(context, OPERANDS, found)
    return scaled_line.search(steps, np.zeros(1, np.int64), len(found.rows))
