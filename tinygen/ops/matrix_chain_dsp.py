"""Turns a matrix times one vector into the numbers and words of its kernel of chained channels (DSP extension).

Four channels have the sums S0 to S3. Two words hold their weights of two inputs: halfwords 256 * w1 + (w0 + 128), and
256 * w3 + w2. Of both, two instructions make the halfwords 256 * w2 + w1. Multiplied by the inputs these are
T0 = S0 + 256 * S1, T2 = S2 + 256 * S3 and T1 = S1 + 256 * S2, each modulo 2**32: three multiplications for four sums,
which come out of them as in ops/chains.py. What 128 adds to T0 is the same for all channels: the inputs' sum, known
before. All sizes are words of the layer, so that layers of every shape share a kernel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen import quant, requantize
from tinygen.ir import Array
from tinygen.ops import byte_pairs, chains, dsp, fully_connected_dsp, overlap, weighted
from tinygen.ops.dsp import Sums
from tinygen.ops.fully_connected_dsp import OPERANDS, UNIT_BYTES, UNIT_INPUTS
from tinygen.ops.spec import Constant, Context, Kernel, Overlap
from tinygen.requantize import Line

TEMPLATE = "kernels/matrix_vector.chain.dsp.c.j2"
CHANNELS, CHAIN = 8, 4
"""Of a block, and of a chain."""
MOST_UNITS = 16
"""Units that are printed one after another; those behind the last such round are a loop of their own."""
UNIT_CODE_BYTES = 30 * 4
LEAST_WEIGHTS = 4
"""Bytes of weights for each byte of such code, at least."""
LOW_OFFSET = 128
"""What is added to the weights of the first channel: a byte without a sign leaves the one above it as it is."""


@dataclass(frozen=True, eq=False)
class Finish:
    """How sums become outputs, by one multiplication each."""

    values: Mapping[str, Any]
    offset: Array
    """int64 [channels]: what is added to 256 times a sum."""
    multiplier: Array
    """int32 [channels, 1]; or [channels, 0], where there is one for all."""


def applies(context: Context) -> bool:
    """One row of inputs, at least one block, weights that can be paired, one multiplication that is proved exact."""
    channels = context.input(1).shape[0]
    if context.output.size != channels or channels < CHANNELS or weighted.weights_zero_point(context, OPERANDS):
        return False
    found = dsp.sums(context, OPERANDS)
    return chains.fits(found) and pairs_fit(found) and _finish(context, found) is not None


def params(context: Context) -> Kernel:
    """Numbers for the template, the words of all blocks, and room for the inputs as int16.

    The inputs may lie in that room: they are widened four at a time, all before the first output is written.
    """
    depth = context.input(1).shape[-1]
    units = -(-depth // UNIT_INPUTS)
    room = overlap.of_rows(0, units, UNIT_INPUTS, UNIT_BYTES)
    anywhere = Overlap(0, most=depth)
    return replace(
        _kernel(context, direct=False),
        scratch_bytes=units * UNIT_BYTES,
        overlaps=(anywhere,),
        scratch_overlaps=(room,),
    )


def direct_applies(context: Context) -> bool:
    """The same for whole words of inputs, which are read anew for each block."""
    return context.input(1).shape[-1] % UNIT_INPUTS == 0 and applies(context)


def direct_params(context: Context) -> Kernel:
    """Numbers for the template and the words of all blocks: inputs are widened as they are read."""
    starts = np.array(byte_pairs.block_starts(context.input(1).shape[0], CHANNELS))
    rule = overlap.of_matrix(context, starts[:, None, None] + np.array([0, CHANNELS]))
    return replace(_kernel(context, direct=True), overlaps=(rule,))


def _kernel(context: Context, direct: bool) -> Kernel:
    found = dsp.sums(context, OPERANDS)
    finish = _finish(context, found)
    assert finish is not None  # proved by applies
    channels, depth = found.rows.shape
    blocks = words(found, finish, fully_connected_dsp.order(depth))
    layer, shared = fully_connected_dsp.layer_words(finish.values)
    all_words = np.concatenate([np.array([depth, channels, blocks.size, *layer], np.int32), blocks])
    values = {"units": _units(channels, depth), "layer_words": 3 + len(layer), "finish": shared, "direct": direct}
    return Kernel(values, (0,), (Constant("words", all_words),))


def _units(channels: int, depth: int) -> int:
    """A power of two that is worth its code."""
    most = min(MOST_UNITS, depth // UNIT_INPUTS, channels * depth // (LEAST_WEIGHTS * UNIT_CODE_BYTES))
    return 1 << max(0, most.bit_length() - 1)


def pairs_fit(found: Sums) -> bool:
    """Whether the halfwords of two weights are int16: not where -128 is above a negative weight."""
    firsts = np.array(byte_pairs.block_starts(len(found.rows), CHANNELS))[:, None] + np.arange(0, CHANNELS, CHAIN)
    _, *later = _halfwords(found.rows[firsts[..., None] + np.arange(CHAIN)])
    return bool(min(pairs.min() for pairs in later) >= quant.RANGES["int16"][0])


def _halfwords(rows: Array) -> tuple[Array, Array, Array]:
    """Of weights [..., 4, inputs] those of T0, T2 and T1."""
    w0, w1, w2, w3 = np.moveaxis(rows, -2, 0)
    return (w1 << chains.SHIFT) + w0 + LOW_OFFSET, (w3 << chains.SHIFT) + w2, (w2 << chains.SHIFT) + w1


def _finish(context: Context, found: Sums) -> Finish | None:
    steps = fully_connected_dsp.steps(context, found)
    single = len(weighted.scales(context, OPERANDS)) == 1
    line = requantize.line(steps, chains.SHIFT, shared=True) if single else None
    if line is not None:
        return _of_line(context, line, int(line.multiplier[0]))
    line = requantize.line(steps, chains.SHIFT)
    return None if line is None else _of_line(context, line, None)


def _of_line(context: Context, line: Line, multiplier: int | None) -> Finish:
    limits = weighted.activation_range(context)
    clamp = None if limits == quant.RANGES["int8"] else {"low": limits[0], "high": limits[1]}
    values = {
        "form": "line",
        "addend": line.addend,
        "shift": line.shift,
        "clamp": clamp,
        "multiplier": multiplier,
        "right": None,
    }
    return Finish(values, line.offset.astype(np.int64), line.multiplier[:, None][:, : int(multiplier is None)])


def words(found: Sums, finish: Finish, order: list[tuple[int, int]]) -> Array:
    """All blocks of two chains, each a run of int32 words.

    Where T0, T1 and T2 start, of each chain; for each step the two words of each chain; the block's first channel; for
    each chain what its first sum lacks, and the multipliers of its channels unless all have the same.
    """
    rows = np.pad(found.rows, ((0, 0), (0, 1)))
    runs = []
    for first in byte_pairs.block_starts(len(rows), CHANNELS):
        pairs = [first + np.arange(chain, chain + CHAIN) for chain in range(0, CHANNELS, CHAIN)]
        weights = [_two_words(rows[channels], order) for channels in pairs]
        runs += [np.concatenate([_starts(finish.offset[channels]) for channels in pairs])]
        runs += [np.concatenate(weights, axis=1).ravel(), np.array([first])]
        for channels in pairs:
            runs += [_lacking(finish.offset[channels]), finish.multiplier[channels].ravel()]
    return np.concatenate(runs).astype(np.int64).astype(np.uint32).view(np.int32)


def _two_words(rows: Array, order: list[tuple[int, int]]) -> Array:
    """[steps, 2]: the weights of a chain, for two inputs at a time."""
    steps = np.array(order)
    low, high, _ = _halfwords(rows)
    return np.stack([(half[steps[:, 1]] << 16) + (half[steps[:, 0]] & 0xFFFF) for half in (low, high)], axis=1)


def _starts(offset: Array) -> Array:
    """Where T0, T1 and T2 start: the high part of a sum's offset, and all of the next one's."""
    return (offset[:-1] >> chains.SHIFT) + offset[1:]


def _lacking(offset: Array) -> Array:
    """What is missing to 256 * S0: its offset's low byte; those of the others come out of T0, T1 and T2 with it."""
    low = offset & (2**chains.SHIFT - 1)
    return np.array([low[0] - (low[1] << 8) + (low[2] << 16) - (low[3] << 24)])
