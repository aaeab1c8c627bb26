"""Turns a 3x3 depthwise convolution with stride 2 into a kernel that layers of many sizes share: the leanest.

It is the kernel of depthwise_strided_dsp with the ways from pixel to pixel and from row to row in registers, in rounds
of outputs: some cycles more for each output, and one function in place of one for each size.
"""

from __future__ import annotations

from tinygen.ops import depthwise_steps, depthwise_strided_dsp
from tinygen.ops.depthwise_line_rounds_dsp import MOST_CHANNELS
from tinygen.ops.spec import Context, Kernel, Overlap
from tinygen.ops.window import convolution_geometry

TEMPLATE = "kernels/depthwise_conv_2d.strided.rounds.dsp.c.j2"
ROUNDS = (3, 4, 5, 7)
"""Outputs that are printed one after another: a row is a multiple of one of these."""
OWN_BYTES = 520
"""About those of its function."""
OUTPUT_CYCLES, ROUND_CYCLES, ROW_CYCLES = 3, 2, 8
"""About what it takes more than a function of the layer's own."""


def applies(context: Context) -> bool:
    """Twice as many rows and columns as outputs, which come in whole rounds, the border to the right and below."""
    window = convolution_geometry(context)
    even = window.pad == (0, 0) and window.input == tuple(2 * size for size in window.output)
    batches, _, _, channels = context.input(0).shape
    if not even or batches > 1 or channels > MOST_CHANNELS or not any(window.output[1] % size == 0 for size in ROUNDS):
        return False
    return depthwise_strided_dsp.applies(context)


def params(context: Context) -> Kernel:
    """Records behind the numbers of channels, columns and rows; no scratch."""
    return depthwise_steps.sized_kernel(context, _round(context), 0, Overlap(0, exact=(0,)))


def extra_cycles(context: Context) -> float:
    """About what a layer takes more with it."""
    _, rows, columns, channels = context.output.shape
    return float(channels * rows * (columns * (OUTPUT_CYCLES + ROUND_CYCLES / _round(context)) + ROW_CYCLES))


def _round(context: Context) -> int:
    """Outputs of a round."""
    return next(size for size in ROUNDS if context.output.shape[2] % size == 0)
