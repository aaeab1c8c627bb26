"""Turns a row of a 3x3 depthwise convolution into its kernel for the DSP extension: four channels at a time.

Words of four channels are taken apart so that two elements of one channel lie in a word, as the window takes them: of
the first two rows one above the other, of the third side by side. Five multiplications then make an output.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import byte_pairs, depthwise_dsp, dsp, planes, window_rows
from tinygen.ops.depthwise_dsp import MOST_OFFSET
from tinygen.ops.planes import OPERANDS, Plane
from tinygen.ops.spec import Constant, Context, Kernel, Rows
from tinygen.ops.unroll import chunk
from tinygen.ops.window import Geometry, convolution_geometry

TEMPLATE = "kernels/depthwise_conv_2d.rows.dsp.c.j2"
LANES = 4
PAIR_BYTES = 12
"""Of scratch for two columns of one channel: a word for each, a word for both."""
MOST_PAIRS = 2
"""Of columns that are taken apart one after another: 240 bytes of instructions; more become a loop."""
COPY_CYCLES = 1.7
"""About what it takes to widen an element."""
CHANNEL_CYCLES = 30
"""About what a channel takes again in each row, beside what is copied."""
SAVED_CYCLES = {1: 3.0, 2: 1.75}
"""Stride -> what the kernel of whole tensors, which copies nothing, takes more for each element of its input."""
TAP_PLACES = (0, 1, 4, 2, 3, 6, 5, 7, 11)
"""Where each tap is among the 12 bytes of its channel: of words whose bytes 0 and 2, and 1 and 3, are pairs."""
TWICE = (7, 9)
"""The tap that the third word has too, for its pair."""


def rows(context: Context) -> Rows | None:
    """The kernel of one row: of four channels at a time where one multiplication scales each output."""
    general = depthwise_dsp.rows(context)
    if general is None or not _reaches(context) or not general.kernel.values["fused"]:
        return general
    if general.kernel.values["scaling"]["addend"]:
        return general
    kernel = _kernel(context, general.kernel)
    saved = SAVED_CYCLES[convolution_geometry(context).stride[0]]
    return planes.rows(context, kernel, TEMPLATE, CHANNEL_CYCLES, COPY_CYCLES, saved)


def _reaches(context: Context) -> bool:
    """One filter a channel, four of them, near enough for the instructions."""
    depth, filters = context.input(0).shape[3], context.output.shape[3]
    window = convolution_geometry(context)
    plane = planes.row_plane(window)
    if plane is None or depth != filters or depth < LANES or 2 * depth > MOST_OFFSET or not _centred(window):
        return False
    return LANES * planes.plane_bytes(plane, depthwise_dsp.row_width(plane)) <= MOST_OFFSET


def _centred(window: Geometry) -> bool:
    """Whether the middle row of every window lies inside the input."""
    return window.pad[0] <= 1 and (window.output[0] - 1) * window.stride[0] - window.pad[0] + 1 < window.input[0]


def _kernel(context: Context, general: Kernel) -> Kernel:
    """The same numbers in another order; a channel's are one run of words."""
    window, depth = convolution_geometry(context), context.input(0).shape[3]
    plane = planes.row_plane(window)
    assert plane is not None  # asked by _reaches
    values = dict(general.values)
    start, multiplier = (constant.data for constant in general.constants[1:])
    taps = _taps(planes.filters(dsp.sums(context, OPERANDS), plane))
    records = np.concatenate([start[:, None], multiplier[:, None], taps], axis=1).astype(np.int32)
    order = [first + lane for first in byte_pairs.block_starts(depth, LANES) for lane in range(LANES)]
    lane_bytes = values["width"] // 2 * PAIR_BYTES
    values |= {
        **_copies(plane, depth),
        "above": window.pad[0] > 0,
        "below": (window.output[0] - 1) * window.stride[0] + window.kernel[0] > window.input[0] + window.pad[0],
        "tap_places": TAP_PLACES,
        "record_words": records.shape[1],
        "pair_bytes": PAIR_BYTES,
        "lane_bytes": lane_bytes,
    }
    if depth % LANES:
        values["apart"] = window_rows.APART
    return Kernel(values, (0,), (Constant("words", records[order]),), LANES * lane_bytes)


def _taps(filters: Array) -> Array:
    """Filters [channels, 3, 3] as three words a channel."""
    taps = filters.reshape(len(filters), -1)
    found = np.zeros((len(filters), PAIR_BYTES), np.int8)
    found[:, TAP_PLACES] = taps
    found[:, TWICE[1]] = taps[:, TWICE[0]]
    return found.view("<i4")


def _copies(plane: Plane, depth: int) -> dict[str, Any]:
    """The columns of the input: one that is the second of its pair, rounds of whole pairs, the rest, one without."""
    pixels, place = plane.along.read, plane.along.pad
    first = place % 2
    pairs, last = divmod(pixels - first, 2)
    size = chunk(pairs, min(MOST_PAIRS, MOST_OFFSET // (2 * depth)))
    rounds = pairs // size if size else 1
    return {
        "copy_first": bool(first),
        "copy_pairs": size,
        "copy_rounds": rounds,
        "copy_rest": pairs - rounds * size,
        "copy_last": bool(last),
        "first_pair": place // 2,
        "border": [_place(column) for column in range(plane.along.reach) if not 0 <= column - place < pixels],
    }


def _place(column: int) -> tuple[int, int]:
    """Where int16 of the first two rows begin in a channel's scratch, and where that of the third is."""
    pair = column // 2 * (PAIR_BYTES // 2)
    return pair + column % 2 * 2, pair + 4 + column % 2
