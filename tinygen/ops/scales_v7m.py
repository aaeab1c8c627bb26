"""Turns the scaling of a layer into the words by which kernels for Armv7-M cores make outputs of sums."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tinygen import requantize
from tinygen.ir import Array
from tinygen.ops import dsp, lanes, weighted
from tinygen.ops.dsp import Sums
from tinygen.ops.spec import Context
from tinygen.quant import Numerics
from tinygen.requantize import Steps

LINE_BITS = 8
"""Sums are shifted left by so much before one multiplication."""


@dataclass(frozen=True, eq=False)
class Scales:
    """What turns the sums of each channel into outputs."""

    form: str
    """"line": one multiplication; "roundings": two roundings as they are."""
    bits: int
    """By how much a sum is shifted left before the first word of its channel is added."""
    shift: int
    table: Array
    """int32 [channels, words]"""


def scales(context: Context, operands: weighted.Operands, found: Sums) -> Scales | None:
    """The cheapest that is proved exact; None when there is none."""
    line = requantize.line(replace(_steps(context, operands, found), zero_point=0), LINE_BITS)
    if line is not None:
        return Scales("line", LINE_BITS, line.shift, np.stack([line.offset, line.multiplier], axis=1))
    if _is_single(context):
        return None
    scaling = weighted.fixed_point(context, operands)
    exact = requantize.roundings(scaling.multiplier, scaling.shift, found.bias, found.range, context.output.zero_point)
    if exact is None:
        return None
    return Scales("roundings", 1, 0, np.stack([exact.offset, exact.multiplier, exact.addend, exact.shift], axis=1))


def moved(found: Scales, start: Array) -> Scales:
    """The same for sums that lack `start` [channels]: the first word of each channel has it, modulo 2**32."""
    first = found.table[:, 0].astype(np.int64) + (start << found.bits)
    table = np.concatenate([lanes.as_int32(first)[:, None], found.table[:, 1:]], axis=1)
    return replace(found, table=table)


def _steps(context: Context, operands: weighted.Operands, found: Sums) -> Steps:
    return (dsp.one_rounding if _is_single(context) else dsp.two_roundings)(context, operands, found)


def _is_single(context: Context) -> bool:
    """FULLY_CONNECTED is scaled in float64 by TensorFlow Lite's reference, all else in fixed point."""
    return context.node.op == "fully_connected" and context.numerics is Numerics.TFLITE
