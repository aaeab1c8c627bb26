"""Turns a matrix times vectors into the numbers and words of its kernel for Helium: four channels of a row each."""

from __future__ import annotations

from tinygen.ops import dsp, mve, overlap, weighted
from tinygen.ops.mve import CHANNELS, Finish
from tinygen.ops.spec import Constant, Context, Kernel
from tinygen.quant import Numerics

OPERANDS = weighted.Operands(channel_axis=0, offset_weights=True)
ORDER = ((0, 2, 1, 3),)
"""Channels of a block in the order of their weights: one move takes two sums to lanes 0 and 2 of a vector."""


def applies(context: Context) -> bool:
    """At least one block, weights without a zero point, a scaling that the vectors have."""
    if context.input(1).shape[0] < CHANNELS or weighted.weights_zero_point(context, OPERANDS):
        return False
    return _finish(context) is not None


def params(context: Context) -> Kernel:
    """Numbers for the template, and the words of all blocks."""
    finish = _finish(context)
    assert finish is not None  # proved by applies
    found = dsp.sums(context, OPERANDS)
    channels, depth = found.rows.shape
    values = {
        **mve.loop(depth),
        "rows": context.output.size // channels,
        "row_inputs": depth,
        "out_channels": channels,
        "block_count": len(mve.block_starts(channels)),
        "uneven": channels % CHANNELS > 0,
        "finish": finish.values,
    }
    rule = mve.in_turns(context)
    values["apart"] = overlap.words(rule)
    return Kernel(values, (0,), (Constant("words", mve.words(found.rows, finish, ORDER)),), overlaps=(rule,))


def _finish(context: Context) -> Finish | None:
    """TensorFlow Lite's reference scales FULLY_CONNECTED in float64, TFLM's in fixed point."""
    single = context.numerics is Numerics.TFLITE
    return mve.finish(context, OPERANDS, dsp.sums(context, OPERANDS), single)
