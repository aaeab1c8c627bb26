"""Turns a convolution into the numbers and words of its kernel for Helium.

What lies under three outputs is copied to scratch, the input's zero point where a window reaches outside; then they are
three pixels of a 1x1 convolution.
"""

from __future__ import annotations

from typing import Any

from tinygen.ops import dsp, mve, weighted, window_walk
from tinygen.ops.mve import CHANNELS, LANES
from tinygen.ops.pointwise_mve import MOST_CHANNELS, PAIRS, PIXELS, blocks
from tinygen.ops.spec import Constant, Context, Kernel
from tinygen.ops.window import Geometry, convolution_geometry

OPERANDS = weighted.Operands(channel_axis=0)
MOST_ROW_VECTORS = 24
"""Of a window's row, copied one after another: 200 bytes of instructions; more are copied in a loop."""


def applies(context: Context) -> bool:
    """One group, windows whose rows lie together, at least one block, a scaling that the vectors have."""
    window, channels = convolution_geometry(context), context.output.shape[3]
    together = window.dilation[1] == 1 or window.kernel[1] == 1
    if not together or context.input(1).shape[3] != context.input(0).shape[3]:
        return False
    if not CHANNELS <= channels <= MOST_CHANNELS:
        return False
    return mve.finish(context, OPERANDS, dsp.sums(context, OPERANDS)) is not None


def params(context: Context) -> Kernel:
    """Numbers for the template, the words of all blocks, and room for what lies under three outputs."""
    x, found, window = context.input(0), dsp.sums(context, OPERANDS), convolution_geometry(context)
    finish = mve.finish(context, OPERANDS, found)
    assert finish is not None  # proved by applies
    channels, depth = found.rows.shape
    pixels = window.output[0] * window.output[1]
    window_bytes = -(-depth // LANES) * LANES
    values = {
        **window.values(),
        **mve.loop(depth),
        **blocks(pixels, channels, finish),
        **_rows(window, x.shape[3]),
        "batches": x.shape[0],
        "in_elements": x.size // x.shape[0],
        "in_channels": x.shape[3],
        "row_inputs": depth,
        "window_bytes": window_bytes,
        "fill": x.zero_point,
    }
    rule = window_walk.by_pixels(context, window_walk.axes(window), group=PIXELS)
    values["apart"] = window_walk.words(rule)
    words = Constant("words", mve.words(found.rows, finish, PAIRS))
    return Kernel(values, (0,), (words,), PIXELS * window_bytes, (rule,))


def _rows(window: Geometry, channels: int) -> dict[str, Any]:
    """The rows of a window that lies inside the input, and where such windows begin."""
    row = window.kernel[1] * channels
    last = [
        length - (kernel - 1) * gap - 1
        for length, kernel, gap in zip(window.input, window.kernel, window.dilation, strict=True)
    ]
    return {
        "window_row": row,
        "row_vectors": row // LANES,
        "row_tail": row % LANES,
        "row_skip": window.dilation[0] * window.input[1] * channels - row,
        "in_vectors": -(-row // LANES) <= MOST_ROW_VECTORS,
        "last_top": last[0],
        "last_left": last[1],
        "padded": window.padded,
    }
