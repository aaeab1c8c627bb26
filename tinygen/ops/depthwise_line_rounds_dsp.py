"""Turns a 3x3 depthwise convolution inside a border into a kernel that layers of many sizes share: the leanest.

It is the kernel of depthwise_line_shared_dsp in rounds of columns, with their number among its words. An element takes
the place of the one two rows above it, so that the halves of all words are exchanged in every second row. The row below
the last is computed by the instructions for all others.
"""

from __future__ import annotations

from tinygen.ops import depthwise_line_dsp, depthwise_steps
from tinygen.ops.depthwise_line_shared_dsp import BORDER
from tinygen.ops.spec import Context, Kernel, Overlap
from tinygen.ops.window import convolution_geometry

TEMPLATE = "kernels/depthwise_conv_2d.line.rounds.dsp.c.j2"
ROUNDS = (6, 4)
"""Columns that are printed one after another: a row is a multiple of one of these."""
MOST_CHANNELS = 2**16 - 1
"""Bytes from pixel to pixel, in half a register."""
OWN_BYTES = 1050
"""About those of its function."""
ROUND_CYCLES, ROW_CYCLES = 4, 8
"""About what a round takes, and what a row takes more than in a function of the layer's own."""


def applies(context: Context) -> bool:
    """Each output over its input inside a border, in whole rounds."""
    window = convolution_geometry(context)
    batches, rows, columns, channels = context.input(0).shape
    if window.input != window.output or window.pad != BORDER or batches > 1 or rows < 2 or channels > MOST_CHANNELS:
        return False
    return any(columns % size == 0 for size in ROUNDS) and depthwise_line_dsp.applies(context)


def params(context: Context) -> Kernel:
    """Records behind the numbers of channels, columns and rows."""
    columns = context.input(0).shape[2]
    line_bytes = (columns + 2) * depthwise_steps.WORD_BYTES
    return depthwise_steps.sized_kernel(context, _round(columns), line_bytes, Overlap(0, exact=(0,)))


def extra_cycles(context: Context) -> float:
    """About what a layer takes more with it."""
    _, rows, columns, channels = context.input(0).shape
    most = depthwise_line_dsp.MOST_COLUMNS
    own = columns / most * depthwise_line_dsp.ROUND_CYCLES if columns > most else 0
    return float(channels * rows * (columns / _round(columns) * ROUND_CYCLES - own + ROW_CYCLES))


def _round(columns: int) -> int:
    """Columns of a round."""
    return next(size for size in ROUNDS if columns % size == 0)
