"""Turns a 1x1 convolution into the numbers and words of its kernel for Helium: three pixels by four channels each."""

from __future__ import annotations

from typing import Any

from tinygen.ops import dsp, mve, overlap, weighted
from tinygen.ops.mve import CHANNELS
from tinygen.ops.spec import Constant, Context, Kernel

OPERANDS = weighted.Operands(channel_axis=0)
PIXELS = 3
"""With two channels 6 sums, as many as there are registers that can hold one."""
PAIRS = (0, 2), (1, 3)
"""Channels of a block whose sums are made together: one move takes both to the lanes of a vector."""
MOST_CHANNELS = 2047
"""What an instruction adds reaches the third pixel of the output."""


def applies(context: Context) -> bool:
    """At least one block, and a scaling that the vectors have."""
    channels = context.output.shape[-1]
    if not CHANNELS <= channels <= MOST_CHANNELS:
        return False
    return mve.finish(context, OPERANDS, dsp.sums(context, OPERANDS)) is not None


def params(context: Context) -> Kernel:
    """Numbers for the template, and the words of all blocks."""
    found = dsp.sums(context, OPERANDS)
    finish = mve.finish(context, OPERANDS, found)
    assert finish is not None  # proved by applies
    channels, depth = found.rows.shape
    values = {
        **mve.loop(depth),
        **blocks(context.output.size // channels, channels, finish),
        "in_channels": depth,
        "first_pixels": [min(pixel, context.output.size // channels - 1) for pixel in range(PIXELS)],
    }
    rule = mve.in_turns(context, PIXELS)
    values["apart"] = overlap.words(rule)
    return Kernel(values, (0,), (Constant("words", mve.words(found.rows, finish, PAIRS)),), overlaps=(rule,))


def blocks(pixels: int, channels: int, finish: mve.Finish) -> dict[str, Any]:
    """What the blocks print beside their inner loop: how many, and where their outputs are."""
    return {
        "pixels": pixels,
        "out_channels": channels,
        "block_count": len(mve.block_starts(channels)),
        "uneven": channels % CHANNELS > 0,
        "offsets": [min(pixel, pixels - 1) * channels for pixel in range(PIXELS)],
        "finish": finish.values,
    }
