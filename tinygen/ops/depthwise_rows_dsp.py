"""Turns a row of a 3x3 depthwise convolution into its kernel for the DSP extension: four channels at a time.

Words of four channels are taken apart so that two neighbours of one channel lie in a word, as the window takes them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ops import byte_pairs, depthwise_dsp, planes, window_rows
from tinygen.ops.depthwise_dsp import MOST_OFFSET
from tinygen.ops.spec import Constant, Context, Kernel, Rows
from tinygen.ops.unroll import chunk
from tinygen.ops.window import convolution_geometry

TEMPLATE = "kernels/depthwise_conv_2d.rows.dsp.c.j2"
LANES = 4
MOST_PAIRS = 6
"""Of pixels that are taken apart one after another: 300 bytes of instructions; more become a loop."""
FEW_PAIRS = 4
"""With which three rows are taken apart one after another too."""
COPY_CYCLES = 2.1
"""About what it takes to widen an element."""
CHANNEL_CYCLES = 26
"""About what a channel takes again in each row, beside what is copied again."""


def rows(context: Context) -> Rows | None:
    """The kernel of one row: of four channels at a time where one multiplication scales each output."""
    general = depthwise_dsp.rows(context)
    if general is None or not general.kernel.values["fused"] or not _reaches(context):
        return general
    kernel = _kernel(context, general.kernel)
    return planes.rows(context, kernel, TEMPLATE, CHANNEL_CYCLES, COPY_CYCLES)


def _reaches(context: Context) -> bool:
    """One filter a channel, four of them, near enough for the instructions."""
    depth, filters = context.input(0).shape[3], context.output.shape[3]
    plane = planes.row_plane(convolution_geometry(context))
    if plane is None or depth != filters or depth < LANES or 2 * depth > MOST_OFFSET:
        return False
    return LANES * planes.plane_bytes(plane, depthwise_dsp.row_width(plane)) <= MOST_OFFSET


def _kernel(context: Context, general: Kernel) -> Kernel:
    """The same numbers and arrays in another order; a channel's are one run of words."""
    values, depth = dict(general.values), context.input(0).shape[3]
    weights, start, multiplier = (constant.data for constant in general.constants)
    taps = np.ascontiguousarray(weights).view("<i4")
    records = np.concatenate([start[:, None], multiplier[:, None], taps], axis=1).astype(np.int32)
    order = [first + lane for first in byte_pairs.block_starts(depth, LANES) for lane in range(LANES)]
    lane_bytes = values["plane_bytes"]
    values |= {
        **_copies(values["read_along"], values["pad_along"], depth),
        "record_words": records.shape[1],
        "lane_bytes": lane_bytes,
        "lane_surplus": lane_bytes - values["row_bytes"] * values["stride"] + values["row_surplus"],
    }
    if depth % LANES:
        values["apart"] = window_rows.APART
    return Kernel(values, (0,), (Constant("words", records[order]),), LANES * lane_bytes)


def _copies(pixels: int, place: int, depth: int) -> dict[str, Any]:
    """A row as one pixel where the first word is half border, rounds of pairs, more pairs, and one pixel at the end."""
    first = place % 2
    pairs, last = divmod(pixels - first, 2)
    most = min(MOST_PAIRS, MOST_OFFSET // (2 * depth))
    size = chunk(pairs, most)
    rounds = pairs // size if size else 1
    return {
        "copy_first": bool(first),
        "copy_pairs": size,
        "copy_rounds": rounds,
        "copy_rest": pairs - rounds * size,
        "copy_last": bool(last),
        "copied_at_once": size == pairs <= FEW_PAIRS,
    }
