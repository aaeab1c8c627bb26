"""Turns a matrix of 4-bit weights times one row into the words of its kernel for cores with the DSP extension.

Each weight is used once: it is not unpacked first, but multiplied as it lies. Two channels' weights for an input are a
byte, 16 * odd + even, each 8 more than it is so that none is negative. What that adds to a sum, 8 times the sum of all
inputs, is where the sums start from. Four channels by two inputs are a word.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.ir import Array
from tinygen.ops import byte_pairs, codes, dsp, fully_connected_dsp, weighted
from tinygen.ops.byte_pairs import Finish
from tinygen.ops.spec import Constant, Context, Kernel

OPERANDS = weighted.Operands(channel_axis=0, offset_weights=True)
COUNTED = 2
"""The word of a matrix that says how many its blocks have."""
MOST_INPUTS = 1 << 14
"""With which no sum leaves 32 bits: 128 * (15 * 17 + 8 * 17) times as many."""


def applies(context: Context) -> bool:
    """One row of inputs, weights of 4 bits, and what the kernel of byte pairs asks for."""
    weights = context.constant(OPERANDS.weights)
    small = weights.min() >= -codes.MIDDLE and weights.max() < codes.MIDDLE
    return bool(small and weights.shape[-1] < MOST_INPUTS) and fully_connected_dsp.applies(context)


def params(context: Context) -> Kernel:
    """Numbers and scratch of the kernel of byte pairs, the words of all blocks with the weights in 4 bits."""
    found = dsp.sums(context, OPERANDS)
    finish = fully_connected_dsp.storing(context, found)
    assert finish is not None  # proved by applies
    inner = fully_connected_dsp.params(context)
    size, prefix = inner.values["block"], inner.constants[0].data[: inner.values["layer_words"]]
    order = np.array(fully_connected_dsp.order(found.rows.shape[1]))
    starts = byte_pairs.block_starts(len(found.rows), size)
    blocks = np.concatenate([_block(found.rows[first : first + size], finish, first, order) for first in starts])
    words = np.concatenate([prefix, blocks])
    words[COUNTED] = blocks.size
    return replace(inner, constants=(Constant("words", words),))


def _block(rows: Array, finish: Finish, first: int, order: Array) -> Array:
    """int32: the weights of each step, where the sums of pairs start, the first channel, how to store each."""
    channels = np.arange(first, first + len(rows))
    even, odd = channels[::2], channels[1::2]
    nibbles = np.pad(rows, ((0, 0), (0, 1)))[:, order] + codes.MIDDLE
    # [channels / 4, two bytes, two nibbles, steps, inputs]: the bytes of an input's halfword, the inputs of a word.
    parts = nibbles.reshape(-1, 2, 2, *nibbles.shape[1:])
    shifts = 8 * np.arange(2)[:, None, None, None] + 4 * np.arange(2)[:, None, None] + 16 * np.arange(2)
    weights = (parts << shifts).sum(axis=(1, 2, 4)).T.ravel()
    stored = np.concatenate([finish.even[even], finish.odd[odd]], axis=1)
    runs = [weights.astype(np.uint32).view(np.int32), finish.start[odd], [first], stored.ravel()]
    return np.concatenate(runs).astype(np.int32)
