"""Turns the weights and the scaling of a layer into the words that kernels of chained outputs read (DSP extension).

Four neighbouring outputs of a channel have the sums S0 to S3. Inputs are stored in pairs of neighbours, a halfword
256 * next + first, so that one multiplication by a weight serves two sums: T0 = S0 + 256 * S1, T1 = S1 + 256 * S2 and
T2 = S2 + 256 * S3, each modulo 2**32. Then T0 - 256 * T1 + 65536 * T2 = S0 + 2**24 * S3, whose low 24 bits are S0; what
is left of T0 is S1, and so on. That is three multiplications for four outputs, exact for every sum of 24 bits; four for
five outputs in the same way, where the words are the same.

The first input of a halfword is its low byte, which has no sign: it is stored as input + 128. What that adds to a sum
is known, so is its bias, and both are in where the sums T start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygen import requantize
from tinygen.ir import Array
from tinygen.ops import dsp, weighted
from tinygen.ops.dsp import Sums
from tinygen.ops.spec import Context
from tinygen.requantize import Line, Roundings, Steps

OUTPUTS, MOST_OUTPUTS = 4, 5
"""Of a chain."""
SHIFT = 8
"""A sum comes out shifted left by so much."""
LOW_OFFSET = 128
"""What is added to the first input of a halfword."""
FRACTION = 255
"""Where an offset is not a multiple of 256, what is behind it comes back from T0 to T2 so often, in both halves."""
SUM_LIMIT = 2 ** (31 - SHIFT)


@dataclass(frozen=True, eq=False)
class Finish:
    """How sums become outputs: the numbers that templates/kernels/chains.j2 prints, and words for each channel."""

    values: Mapping[str, Any]
    start: Array
    """int32 [channels]: where T0, T1 and T2 start."""
    multiplier: Array
    """int32 [channels]"""
    fraction: Array | None = None
    """uint16 [channels]: FRACTION times the low byte of the offset; None where that is 0 in all channels."""
    shift: Array | None = None
    """[channels]: where there is not one for all; each takes an addend of its own then."""


def applies(context: Context, operands: weighted.Operands) -> bool:
    """Whether the sums of a layer are of 24 bits, and there is a way to store them that is proved exact."""
    found, scaling = dsp.sums(context, operands), weighted.fixed_point(context, operands)
    return fits(found) and can_finish(context, scaling, found, lambda: dsp.two_roundings(context, operands, found))


def fits(found: Sums) -> bool:
    """Whether 256 times a sum is an int32."""
    return bool(np.abs(found.range).max() < SUM_LIMIT)


def can_finish(context: Context, scaling: weighted.Scaling, found: Sums, steps: Callable[[], Steps]) -> bool:
    """Whether `finish` finds a way; in nearly all layers without a search."""
    return _roundings(context, scaling, found) is not None or requantize.line(steps(), SHIFT) is not None


def finish(context: Context, scaling: weighted.Scaling, found: Sums, steps: Steps) -> Finish | None:
    """The cheapest way to store these sums that is proved exact for all channels; None when there is none."""
    line = requantize.line(steps, SHIFT)
    if line is not None:
        return _of_line(line, found)
    exact = _roundings(context, scaling, found)
    return None if exact is None else _of_roundings(exact, found)


def by_channel(context: Context, scaling: weighted.Scaling, found: Sums) -> Finish | None:
    """Two roundings with a shift of each channel: what layers of all scalings share; None where that is not exact."""
    exact = _roundings(context, scaling, found)
    return None if exact is None else _of_roundings(exact, found, shared=True)


def _roundings(context: Context, scaling: weighted.Scaling, found: Sums) -> Roundings | None:
    """Two roundings as they are, of 256 times a sum with its bias: that is an int32 too."""
    if np.abs(np.stack(found.range) + found.bias).max() >= SUM_LIMIT or np.abs(found.bias).max() >= SUM_LIMIT:
        return None
    return requantize.roundings(scaling.multiplier, scaling.shift, found.bias, found.range, context.output.zero_point)


def _of_line(line: Line, found: Sums) -> Finish:
    values = {"form": "line", "addend": line.addend, "shift": line.shift}
    offset = line.offset.astype(np.int64)
    fraction = (FRACTION * (offset & (2**SHIFT - 1))).astype(np.uint16)
    return Finish(values, _start(offset, found), line.multiplier, fraction)


def _of_roundings(exact: Roundings, found: Sums, shared: bool = False) -> Finish:
    """`addend` is the layer's; or, where each channel has a shift, twice the zero point and 1, shifted by one less."""
    one = not shared and bool(np.all(exact.shift == exact.shift[0]))
    values = {
        "form": "roundings",
        "addend": int(exact.addend[0]) if one else int(exact.addend[0] >> exact.shift[0] - 1),
        "shift": int(exact.shift[0]) if one else None,
    }
    return Finish(values, _start(found.bias << SHIFT, found), exact.multiplier, shift=None if one else exact.shift)


def _start(offset: Array, found: Sums) -> Array:
    """Of sums that come out as offset + 256 * sum: what is taken away of T1 and T2 holds the offset's high part too."""
    return _wrapped(offset + (offset >> SHIFT) - LOW_OFFSET * found.rows.sum(axis=1))


def _wrapped(values: Array) -> Array:
    return values.astype(np.int64).astype(np.uint32).view(np.int32)


def words(
    found: Sums, finish: Finish, order: list[tuple[int, int]], firsts: list[int], halfwords: bool = False
) -> Array:
    """All blocks of two channels, from each of `firsts` on: a run of int32 words for each.

    Where the sums of both start; for each step four weights, bytes: of its first input for both channels, then of its
    second; or `halfwords`: of both inputs for the first channel, then for the second, or of an input alone for both.
    FRACTION times what is behind the offsets, a halfword each, or their shifts, bytes, and those less 1; then the
    multiplier of each.
    """
    rows = np.pad(found.rows, ((0, 0), (0, 1)))[:, np.array(order)]
    runs = []
    for first in firsts:
        pair = slice(first, first + 2)
        weights = _halfwords(rows[pair], order) if halfwords else rows[pair].transpose(1, 2, 0).ravel().astype(np.int8)
        runs += [finish.start[pair], weights.view("<i4")]
        if finish.fraction is not None:
            runs.append(np.ascontiguousarray(finish.fraction[pair].astype("<u2")).view("<i4"))
        if finish.shift is not None:
            runs.append(np.concatenate([finish.shift[pair], finish.shift[pair] - 1]).astype(np.uint8).view("<i4"))
        runs.append(finish.multiplier[pair])
    return np.concatenate(runs).astype(np.int32)


def _halfwords(pair: Array, order: list[tuple[int, int]]) -> Array:
    """Of weights [2 channels, steps, 2 inputs]: those of each channel, or of both where there is one input."""
    steps = [pair[:, step, :1] if second < 0 else pair[:, step] for step, (_, second) in enumerate(order)]
    return np.concatenate([step.ravel() for step in steps]).astype("<i2")
