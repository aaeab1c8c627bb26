"""Turns the weights and the scaling of a layer into the words that kernels for Armv8.1-M's vectors (Helium) read.

Weights are multiplied 16 at a time, as they are stored: zero points are folded into the bias. Outputs are scaled four
at a time, in one of two forms. `line` is one multiplication and one rounding shift, the output's zero point in its
offset, proved by tinygen/requantize.py. `exact` is TensorFlow Lite's two roundings; the second one rounds halves up,
not away from zero, which differs for negative numbers alone, and these are set right first unless they end at the lower
limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen import quant, requantize
from tinygen.ir import Array
from tinygen.ops import dsp, overlap, weighted
from tinygen.ops.dsp import Sums
from tinygen.ops.spec import Context, Overlap
from tinygen.ops.unroll import chunk
from tinygen.requantize import Steps

LANES = 16
"""Bytes of a vector."""
CHANNELS = 4
"""Of a block: the sums of an output that are scaled together."""
STORED = (0, 2, 1, 3)
"""Channels of a block in the order in which C stores them."""
MOST_LEFT = 8
"""Bits that a line's sums are shifted left by, where they have so many to spare."""
MOST_RIGHT = 31
MOST_STEPS = 9
"""Steps of the inner loop that are printed one after another; more become a loop."""
MOST_BACK = 4080
"""Bytes that one instruction sets a pointer back by: whole vectors of what it can subtract."""
MOST_OFFSET = 127
"""Bytes that a load of bytes reaches from its register."""


@dataclass(frozen=True, eq=False)
class Finish:
    """How sums become outputs: the numbers that templates/kernels/helium.j2 prints, and words for each channel."""

    values: Mapping[str, Any]
    columns: tuple[Array, ...]
    """Each int32 [channels]; offset and multiplier first."""


def can_finish(context: Context, operands: weighted.Operands) -> bool:
    """Whether sums that are scaled in fixed point can be stored exactly, with a line or without."""
    right = -weighted.fixed_point(context, operands).shift.astype(np.int64)
    return bool(right.min() >= (1 if _signed(context) else 0) and right.max() <= MOST_RIGHT)


def finish(context: Context, operands: weighted.Operands, found: Sums, single: bool = False) -> Finish | None:
    """How these sums are stored exactly; None when neither form can. `single`: they are scaled in float64.

    Halves away from zero bend the staircase of outputs of both signs: no line is looked for then.
    """
    limits = weighted.activation_range(context)
    clamp = None if limits == quant.RANGES["int8"] else {"low": limits[0], "high": limits[1]}
    if single:
        return _line(dsp.one_rounding(context, operands, found), found, clamp)
    straight = None if _signed(context) else _line(dsp.two_roundings(context, operands, found), found, clamp)
    if straight is not None or not can_finish(context, operands):
        return straight
    return _exact(context, operands, found, clamp)


def _signed(context: Context) -> bool:
    """Whether outputs may lie below the zero point."""
    return weighted.activation_range(context)[0] < context.output.zero_point


def _line(wanted: Steps, found: Sums, clamp: Mapping[str, int] | None) -> Finish | None:
    left = max(0, min(MOST_LEFT, 31 - int(np.abs(found.range).max()).bit_length()))
    line = requantize.line(replace(wanted, zero_point=0), left, nearest=True)
    if line is None:
        return None
    values = {"form": "line", "left": left, "shift": line.shift, "zero_point": 0, "clamp": clamp}
    return Finish(values, (line.offset, line.multiplier))


def _exact(context: Context, operands: weighted.Operands, found: Sums, clamp: Mapping[str, int] | None) -> Finish:
    scaling = weighted.fixed_point(context, operands)
    # The vectors' sums wrap like those of the reference, which stay in 32 bits.
    columns = [
        np.broadcast_to(column, len(found.bias)).astype(np.int32)
        for column in (quant.wrap_int32(found.bias), scaling.multiplier, scaling.shift)
    ]
    values = {"form": "exact", "signed": _signed(context), "zero_point": context.output.zero_point, "clamp": clamp}
    return Finish(values, tuple(columns))


def in_lanes(rows: Array) -> Array:
    """Weights [channels, inputs] with zeros behind, up to whole vectors: int8 [channels, vectors * 16]."""
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % LANES))).astype(np.int8)


def words(rows: Array, found: Finish, pairs: Sequence[Sequence[int]]) -> Array:
    """All blocks, each a run of int32 words.

    For each of the block's `pairs` of channels and each 16 inputs their weights; what the block's channels need to be
    stored; where the channels are not a multiple of 4, how far the next block's are.
    """
    runs: list[bytes] = []
    missing = max(0, CHANNELS - len(rows))
    lanes = in_lanes(np.pad(rows, ((0, missing), (0, 0))))
    columns = [np.pad(column.astype(np.int32), (0, missing), mode="edge") for column in found.columns]
    starts = block_starts(len(rows))
    for first, following in zip(starts, [*starts[1:], starts[-1]], strict=True):
        for pair in pairs:
            members = lanes[first + np.array(pair)]
            runs.append(members.reshape(len(pair), -1, LANES).transpose(1, 0, 2).tobytes())
        runs += [column[first : first + CHANNELS].tobytes() for column in columns]
        if is_uneven(len(rows)):
            runs.append(np.int32(following - first).tobytes())
    return np.frombuffer(b"".join(runs), "<i4").astype(np.int32)


def block_starts(channels: int) -> list[int]:
    """The first channels of blocks of 4; a last one that would be smaller starts earlier, some work done twice.

    Fewer than 4 channels are a block of which not all are stored.
    """
    return sorted({*range(0, channels - CHANNELS + 1, CHANNELS), max(0, channels - CHANNELS)})


def is_uneven(channels: int) -> bool:
    """Whether a block begins less than 4 channels behind the one before."""
    return channels > CHANNELS and channels % CHANNELS > 0


def few(channels: int) -> int:
    """The channels of a block of which not all are stored; 0 where there is none."""
    return channels if channels < CHANNELS else 0


def in_turns(context: Context, rows: int = 1, again: bool = True) -> Overlap:
    """How the outputs of blocks of 4 channels may lie over the inputs, which are read for each; `rows` take turns.

    `again`: the last ones are filled up with some that were there before.

    The instructions write a block's outputs behind its sums. In C they come one by one, each behind its own sum.
    """
    width = context.output.shape[-1]
    starts = np.array(block_starts(width))
    channels = np.array([channel for channel in STORED if channel < width])[:, None] + np.array([0, 1])
    return overlap.of_matrix(context, starts[:, None, None] + channels, rows, again)


def loop(inputs: int) -> dict[str, Any]:
    """The inner loop of a row: its first step, rounds of equal steps, and those behind; or one step after another.

    Rows that are near enough are read at offsets; else the pointers move, and are set back.
    """
    steps = -(-inputs // LANES)
    moves = (steps - 1) * LANES > MOST_OFFSET
    unrolled = steps <= MOST_STEPS
    size = steps - 1 if unrolled else chunk(steps - 1, MOST_STEPS)
    return {
        "steps": steps,
        "backs": [min(MOST_BACK, LANES * steps - start) for start in range(0, LANES * steps, MOST_BACK)]
        if moves
        else [],
        "moves": moves,
        "rounds": 1 if unrolled else (steps - 1) // size,
        "steps_a_round": size,
        "steps_behind": 0 if unrolled else (steps - 1) % size,
        "tail": inputs % LANES,
    }
