"""Turns a matrix of few values times one row into the words of its kernel for cores with the DSP extension.

Each weight is used once: it is not unpacked first. The indices of a channel's weights for two inputs are one index
into a table of pairs, whose words hold both weights; a step is such pairs of four channels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.ir import Array
from tinygen.ops import byte_pairs, codes, dsp, fully_connected_dsp, weighted
from tinygen.ops.byte_pairs import WORD_BYTES, Finish
from tinygen.ops.codes import Codes
from tinygen.ops.spec import Constant, Context, Kernel

OPERANDS = weighted.Operands(channel_axis=0, offset_weights=True)
COUNTED = 2
"""The word of a matrix that says how many its blocks have."""
CHANNELS = 4
"""Of a block."""
MOST_UNITS = 4
"""Units of four inputs that are printed one after another: 448 bytes of code."""


def applies(context: Context) -> bool:
    """One row of inputs, one table for all weights, and what the kernel of byte pairs asks for."""
    coded = codes.find(dsp.sums(context, OPERANDS).rows)
    shared = coded is not None and coded.tables is not None and not coded.per_channel
    return shared and fully_connected_dsp.applies(context)


def params(context: Context) -> Kernel:
    """Numbers of the kernel of byte pairs, the words of all blocks with indices for weights, and the table.

    Behind the inputs as int16 scratch has the table of pairs; it is made when all inputs are there.
    """
    found = dsp.sums(context, OPERANDS)
    finish, coded = fully_connected_dsp.storing(context, found), codes.find(found.rows)
    assert finish is not None and coded is not None and coded.tables is not None  # proved by applies
    inner = fully_connected_dsp.params(context)
    channels, depth = found.rows.shape
    order = np.array(fully_connected_dsp.order(depth))
    starts = byte_pairs.block_starts(channels, CHANNELS)
    blocks = np.concatenate([_block(coded, finish, first, order) for first in starts])
    words = np.concatenate([inner.constants[0].data[: inner.values["layer_words"]], blocks])
    words[COUNTED] = blocks.size
    units = min(MOST_UNITS, inner.values["units"])
    values = {**inner.values, "block": CHANNELS, "units": units, "bits": coded.bits}
    constants = (Constant("words", words), Constant("table", coded.tables))
    scratch_bytes = inner.scratch_bytes + (WORD_BYTES << 2 * coded.bits)
    return replace(inner, values=values, constants=constants, scratch_bytes=scratch_bytes)


def _block(coded: Codes, finish: Finish, first: int, order: Array) -> Array:
    """int32: the indices of each step, where the sums of pairs start, the first channel, how to store each."""
    channels = np.arange(first, first + CHANNELS)
    even, odd = channels[::2], channels[1::2]
    indices = np.pad(coded.indices[channels], ((0, 0), (0, 1)))[:, order].astype(np.int64)
    # [channels, steps, inputs] -> `bits` bytes a step, the first channel's pair in the lowest bits.
    pairs = indices[..., 0] | indices[..., 1] << coded.bits
    steps = (pairs << 2 * coded.bits * np.arange(CHANNELS)[:, None]).sum(axis=0)
    run = np.ascontiguousarray(steps[:, None].view(np.uint8)[:, : coded.bits]).ravel()
    words = np.pad(run, (0, -len(run) % WORD_BYTES)).view(np.int32)
    stored = np.concatenate([finish.even[even], finish.odd[odd]], axis=1)
    return np.concatenate([words, finish.start[odd], [first], stored.ravel()]).astype(np.int32)
