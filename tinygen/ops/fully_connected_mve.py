"""Turns a matrix times vectors into the numbers and words of its kernel for Helium: up to four channels at a time."""

from __future__ import annotations

from tinygen.ops import dsp, mve, overlap, weighted
from tinygen.ops.mve import STORED, Finish
from tinygen.ops.spec import Constant, Context, Kernel
from tinygen.quant import Numerics

OPERANDS = weighted.Operands(channel_axis=0, offset_weights=True)


def applies(context: Context) -> bool:
    """Weights without a zero point, a scaling that the vectors have."""
    return not weighted.weights_zero_point(context, OPERANDS) and _finish(context) is not None


def params(context: Context) -> Kernel:
    """Numbers for the template, and the words of all blocks."""
    finish = _finish(context)
    assert finish is not None  # proved by applies
    found = dsp.sums(context, OPERANDS)
    channels, depth = found.rows.shape
    order = tuple(channel for channel in STORED if channel < channels)
    values = {
        **mve.loop(depth),
        "rows": context.output.size // channels,
        "row_inputs": depth,
        "out_channels": channels,
        "block_count": len(mve.block_starts(channels)),
        "uneven": mve.is_uneven(channels),
        "few": mve.few(channels),
        "order": order,
        "sums": tuple(STORED.index(channel) for channel in order),
        "finish": finish.values,
    }
    rule = mve.in_turns(context)
    values["apart"] = overlap.words(rule)
    return Kernel(values, (0,), (Constant("words", mve.words(found.rows, finish, (order,))),), overlaps=(rule,))


def _finish(context: Context) -> Finish | None:
    """TensorFlow Lite's reference scales FULLY_CONNECTED in float64, TFLM's in fixed point."""
    single = context.numerics is Numerics.TFLITE
    return mve.finish(context, OPERANDS, dsp.sums(context, OPERANDS), single)
