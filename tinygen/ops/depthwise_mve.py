"""Turns a depthwise convolution of three rows into the numbers and words of its kernel for Helium.

Two outputs of a row by eight channels at a time. Products of int8 are summed in 16 bits as long as the weights keep
every such sum inside, and these sums in 32 bits.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import dsp, mve, weighted, window_rows, window_walk
from tinygen.ops.mve import Finish
from tinygen.ops.spec import Constant, Context, Kernel, Rows
from tinygen.ops.window import Geometry, convolution_geometry

OPERANDS = weighted.Operands(channel_axis=3)
ROWS = 3
"""Of the window: each has a register."""
MOST_COLUMNS = 5
OUTPUTS, CHANNELS = 2, 8
TEMPLATE = "kernels/depthwise_conv_2d.mve.c.j2"
ROW_CYCLES, COPIED_BYTES = 100, 4
"""About what another row takes again beside its copy, and bytes copied in a cycle."""
MOST_MOVE = 4095
"""What one instruction adds to an address."""
MOST_SUM = 255
"""Of sizes of weights: times 128 it fits 16 bits."""
TAP_BYTES, SCALING_BYTES = 2 * CHANNELS, 3 * 4 * CHANNELS


def applies(context: Context) -> bool:
    """Three rows, one filter a channel, two outputs in a row, eight channels, a scaling that the vectors have."""
    x, output, window = context.input(0), context.output, convolution_geometry(context)
    if x.shape[3] != output.shape[3] or x.shape[3] < CHANNELS or output.shape[2] < OUTPUTS:
        return False
    if window.kernel[0] != ROWS or window.kernel[1] > MOST_COLUMNS or window.dilation != (1, 1):
        return False
    if _reach(window) <= window.pad[1] or (OUTPUTS * window.stride[1] + window.kernel[1]) * x.shape[3] > MOST_MOVE:
        return False
    return mve.finish(context, OPERANDS, dsp.sums(context, OPERANDS)) is not None


def params(context: Context) -> Kernel:
    """Numbers for the template, the words of all groups of channels, and room for three rows inside a border."""
    x, found, window = context.input(0), dsp.sums(context, OPERANDS), convolution_geometry(context)
    finish = mve.finish(context, OPERANDS, found)
    assert finish is not None  # proved by applies
    channels = x.shape[3]
    words = _words(found.rows, finish)
    values = {
        **window.values(),
        "batches": x.shape[0],
        "in_elements": x.size // x.shape[0],
        "out_elements": context.output.size // x.shape[0],
        "channels": channels,
        "fill": x.zero_point,
        "row_bytes": _reach(window) * channels,
        "read_bytes": min(window.input[1], _reach(window) - window.pad[1]) * channels,
        "starts": _starts(channels),
        "group_words": len(words) // len(_starts(channels)),
        "group_bytes": TAP_BYTES * window.kernel[1] * ROWS + SCALING_BYTES,
        "last_in": (window.output[1] - OUTPUTS) * window.stride[1] * channels,
        "last_out": (window.output[1] - OUTPUTS) * channels,
        "finish": finish.values,
        **_taps(found.rows, window, channels),
    }
    rule = window_walk.by_new_rows(context, window)
    values |= {"by_row": False, "apart": window_walk.words(rule)}
    return Kernel(values, (0,), (Constant("words", words),), ROWS * _reach(window) * channels, (rule,))


def rows(context: Context) -> Rows | None:
    """The same for one row of the output: all rows under it are copied for each."""
    if not window_rows.possible(context):
        return None
    kernel, window = params(context), convolution_geometry(context)
    again = max(0, ROWS * window.output[0] - window.input[0]) * kernel.values["read_bytes"]
    kernel = replace(kernel, values={**kernel.values, "by_row": True, "apart": window_rows.OVER_THEM}, overlaps=())
    return window_rows.rows(
        window, kernel, TEMPLATE, extra_cycles=window.output[0] * ROW_CYCLES + again // COPIED_BYTES
    )


def _reach(window: Geometry) -> int:
    """Columns under a row of outputs."""
    return (window.output[1] - 1) * window.stride[1] + window.kernel[1]


def _starts(channels: int) -> list[int]:
    """The first channels of groups of 8; a last one that would be smaller starts earlier."""
    return sorted({*range(0, channels - CHANNELS + 1, CHANNELS), channels - CHANNELS})


def _words(rows: Array, finish: Finish) -> Array:
    """For each group: the weights of each tap as int16; what its even channels need to be stored and its odd ones."""
    runs: list[bytes] = []
    for first in _starts(len(rows)):
        runs.append(rows[first : first + CHANNELS].T.astype("<i2").tobytes())
        for column in finish.columns:
            runs += [column[first + odd : first + CHANNELS : 2].astype("<i4").tobytes() for odd in (0, 1)]
    return np.frombuffer(b"".join(runs), "<i4").astype(np.int32)


def _taps(rows: Array, window: Geometry, channels: int) -> dict[str, Any]:
    """Each tap: where a run of 16-bit sums begins and ends, what its row's pointer moves by, its two loads' offsets."""
    begins = _runs(np.abs(rows))
    taps, advances = [], []
    step = window.stride[1] * channels
    for row in range(ROWS):
        place = 0
        for column in range(window.kernel[1]):
            loads = []
            for output in range(OUTPUTS):
                distance = (column + output * window.stride[1]) * channels - place
                moves = distance if abs(distance) > mve.MOST_OFFSET else 0
                place += moves
                loads.append({"moves": moves, "offset": distance - moves})
            index = row * window.kernel[1] + column
            last = index + 1 == rows.shape[1] or begins[index + 1]
            taps.append({"pointer": "abc"[row], "loads": loads, "begins": begins[index], "ends": last})
        advances.append(OUTPUTS * step - place)
    first_run = next((tap for tap in range(1, len(begins)) if begins[tap]), len(begins))
    return {"taps": taps, "first_run": first_run, "advances": advances, "near": channels <= mve.MOST_OFFSET}


def _runs(sizes: Array) -> list[bool]:
    """For each tap whether it begins a run whose sums fit 16 bits in all channels."""
    begins: list[bool] = []
    total = np.zeros(len(sizes), np.int64)
    for tap in sizes.T:
        total = total + tap
        begins.append(not begins or bool(total.max() > MOST_SUM))
        if begins[-1]:
            total = tap
    return begins
