"""Turns a 1x1 convolution into the numbers and words of its kernel for Helium: three pixels by four channels each."""

from __future__ import annotations

from typing import Any

from tinygen.ops import dsp, mve, overlap, pixelwise, weighted
from tinygen.ops.mve import LANES
from tinygen.ops.spec import Constant, Context, Kernel, Rows

TEMPLATE = "kernels/conv_2d.pointwise.mve.c.j2"
OPERANDS = weighted.Operands(channel_axis=0)
PIXELS = 3
"""With two channels 6 sums, as many as there are registers that can hold one."""
PAIRS = (0, 2), (1, 3)
"""Channels of a block whose sums are made together: one move takes both to the lanes of a vector."""
MOST_SHORT = 24
"""Outputs side by side, up to which the last ones have instructions of their own; else others are computed again."""
STORE_INSTRUCTIONS = 9
"""About what it takes to store four channels of a pixel, and of a block once more."""
MOST_CHANNELS = 2047
"""What an instruction adds reaches the third pixel of the output."""


def applies(context: Context) -> bool:
    """Outputs that are near enough, and a scaling that the vectors have."""
    return context.output.shape[-1] <= MOST_CHANNELS and mve.can_finish(context, OPERANDS)


def params(context: Context) -> Kernel:
    """Numbers for the template, and the words of all blocks."""
    found = dsp.sums(context, OPERANDS)
    finish = mve.finish(context, OPERANDS, found)
    assert finish is not None  # proved by applies
    channels, depth = found.rows.shape
    values = {
        **mve.loop(depth),
        **blocks(context.output.size // channels, channels, finish, channels),
        "in_channels": depth,
    }
    rule = mve.in_turns(context, PIXELS, again=values["rest"] == 0)
    values["apart"] = overlap.words(rule)
    return Kernel(values, (0,), (Constant("words", mve.words(found.rows, finish, PAIRS)),), overlaps=(rule,))


def rows(context: Context) -> Rows | None:
    """The same for the pixels of one row."""
    row = pixelwise.of_one_row(context)
    if row is None:
        return None
    extra = context.output.shape[1] * _instructions(row) - _instructions(context)
    return Rows(params(row), TEMPLATE, extra_cycles=extra)


def _instructions(context: Context) -> int:
    """About those of all blocks."""
    channels, depth = context.output.shape[-1], context.input(0).shape[-1]
    pixels = context.output.size // channels
    full, rest = divmod(pixels, PIXELS)
    counts = [*full * [PIXELS], *([rest if pixels <= MOST_SHORT else PIXELS] if rest else [])]
    steps = -(-depth // LANES)
    products = sum(2 * steps * (2 + 3 * count) for count in counts)
    stores = sum(STORE_INSTRUCTIONS * (1 + count) for count in counts)
    return len(mve.block_starts(channels)) * (products + stores)


def blocks(pixels: int, channels: int, finish: mve.Finish, apart: int) -> dict[str, Any]:
    """What the blocks print beside their inner loop: how many, and where their outputs are, those of pixels `apart`."""
    rest = pixels % PIXELS if pixels <= MOST_SHORT else 0
    return {
        "pixels": pixels,
        "rest": rest,
        "counts": [count for count in (PIXELS * (pixels >= PIXELS), rest) if count],
        "out_channels": apart,
        "block_count": len(mve.block_starts(channels)),
        "uneven": mve.is_uneven(channels),
        "few": mve.few(channels),
        "offsets": [pixel * apart for pixel in range(PIXELS)],
        "finish": finish.values,
    }
