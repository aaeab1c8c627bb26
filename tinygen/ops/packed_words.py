"""Turns the words of a byte-pair kernel into packed ones, which are unpacked again in front of that kernel.

Each block of channels is a run of words: some as they are, its weights, some as they are. Packed, the weights are the
indices of ops/codes.py. A group of blocks at a time is unpacked into scratch, where the kernel reads them as if from
flash: all blocks at once unless that takes more scratch than a kernel costs that cannot lie over its input.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen.ir import Array
from tinygen.ops import byte_pairs, codes, dsp
from tinygen.ops.byte_pairs import WORD_BYTES
from tinygen.ops.codes import Codes
from tinygen.ops.dsp import Sums
from tinygen.ops.spec import Constant, Context, Kernel, Rows
from tinygen.ops.weighted import Operands

OPERANDS = Operands(channel_axis=0, offset_weights=True)
WORD_BITS, WEIGHTS_A_WORD = 32, 4
GROUP_BYTES = 4096
"""Of unpacked words, where they are not all unpacked at once."""


@dataclass(frozen=True)
class Runs:
    """Where the weights of a kernel lie in its words."""

    size: int
    """Channels of a block."""
    prefix: int = 0
    """Words in front of all blocks."""
    counted: int | None = None
    """Which word of the prefix says how many words all blocks have; None: the kernel's number `blocks_words` does."""
    padded: bool = False
    """Whether weights that fill up a word must be zero; else their inputs are."""


@dataclass(frozen=True)
class Block:
    """The words of a block."""

    head: int
    weights: int
    tail: int
    packed: int
    """Words of the indices."""

    @property
    def words(self) -> int:
        """Unpacked."""
        return self.head + self.weights + self.tail

    @property
    def packed_words(self) -> int:
        """As they lie in flash."""
        return self.head + self.packed + self.tail


def applies(context: Context, padded: bool = False) -> bool:
    """Whether the weights take few enough values; with zeros among them where a kernel is `padded` with them."""
    return _coded(dsp.sums(context, OPERANDS), padded) is not None


def kernel(context: Context, inner: Kernel, runs: Runs) -> Kernel:
    """`inner` with its words packed; its template is included by that of the packed form."""
    found = dsp.sums(context, OPERANDS)
    coded = _coded(found, runs.padded)
    assert coded is not None  # proved by applies
    words = inner.constants[0].data
    block = _block(words[runs.prefix :], len(found.rows), inner.values["finish"]["words"], coded, runs.size)
    count = (len(words) - runs.prefix) // block.words
    at_once = _blocks_at_once(context, block, count)
    prefix = words[: runs.prefix].copy()
    if runs.counted is not None:
        prefix[runs.counted] = at_once * block.words
    packed = _packed(words[runs.prefix :].reshape(count, -1), block, coded, runs.size)
    constants = [Constant("words", np.concatenate([prefix, packed.ravel()]))]
    if coded.tables is not None:
        constants.append(Constant("table", coded.tables))
    unpacked_bytes = (runs.prefix + at_once * block.words) * WORD_BYTES
    table_bytes = _pair_table_bytes(coded)
    values = {
        **inner.values,
        "blocks_words": at_once * block.words,
        "finish": {**inner.values["finish"], "clamp": None},
        "packed": {
            **vars(block),
            "block_words": block.packed_words,
            "prefix": runs.prefix,
            "blocks": count,
            "at_once": at_once,
            "pairs": runs.size // 2,
            "bits": coded.bits,
            "table": coded.tables is not None,
            "per_channel": coded.per_channel,
            "table_at": unpacked_bytes,
            "scratch_at": unpacked_bytes + table_bytes,
            "clamp": inner.values["finish"]["clamp"],
            "elements": context.output.size,
        },
    }
    overlaps = inner.overlaps if at_once == count else ()
    scratch_bytes = unpacked_bytes + table_bytes + inner.scratch_bytes
    return Kernel(values, inner.operands, tuple(constants), scratch_bytes, overlaps)


def no_rows(context: Context) -> Rows | None:
    """None: a row at a time, each would be unpacked for anew."""
    return None


def _coded(found: Sums, padded: bool) -> Codes | None:
    return codes.find(np.pad(found.rows, ((0, 0), (0, 1))) if padded else found.rows)


def _block(words: Array, channels: int, finish_words: tuple[int, int], coded: Codes, size: int) -> Block:
    """The parts of each block, as byte_pairs.words puts them together."""
    pairs = size // 2
    all_words = len(words) // len(byte_pairs.block_starts(channels, size))
    tail = 1 + pairs * sum(finish_words)
    weights = all_words - pairs - tail
    return Block(pairs, weights, tail, -(-weights * WEIGHTS_A_WORD * coded.bits // WORD_BITS))


def _blocks_at_once(context: Context, block: Block, count: int) -> int:
    block_bytes = block.words * WORD_BYTES
    if count * block_bytes <= GROUP_BYTES + min(context.input(OPERANDS.x).bytes, context.output.bytes):
        return count
    return max(1, min(count, GROUP_BYTES // block_bytes))


def _packed(words: Array, block: Block, coded: Codes, size: int) -> Array:
    """int32 [blocks, packed words]"""
    tail = words[:, block.head + block.weights :]
    first = tail[:, 0].astype(np.int64)
    weights = _bytes(words[:, block.head : block.head + block.weights])
    # Each word has the weights of a pair of channels, pairs in turn: even and odd for one input, then for another.
    pair = np.arange(weights.shape[1]) // WEIGHTS_A_WORD % (size // 2)
    channels = first[:, None] + 2 * pair + np.arange(weights.shape[1]) % 2
    indices = _indices(coded, weights, channels)
    if coded.tables is None:
        indices = indices.reshape(len(words), -1, 2, WEIGHTS_A_WORD).transpose(0, 1, 3, 2).reshape(weights.shape)
    runs = np.stack([codes.pack(row, coded.bits) for row in indices])
    runs = np.pad(runs, ((0, 0), (0, block.packed * WORD_BYTES - runs.shape[1])))
    return np.concatenate([words[:, : block.head], runs.view("<i4").astype(np.int32), tail], axis=1)


def _bytes(words: Array) -> Array:
    """int64 [blocks, weights]: even and odd weight of every halfword 256 * odd + even."""
    halves = words.astype("<i4").view("<i2").astype(np.int64)
    even = (halves & 255 ^ 128) - 128
    return np.asarray(np.stack([even, (halves - even) >> byte_pairs.SHIFT], axis=2).reshape(len(words), -1))


def _indices(coded: Codes, weights: Array, channels: Array) -> Array:
    """uint8: what stands for each weight, of the channel beside it."""
    if coded.tables is None:
        return np.asarray((weights + codes.MIDDLE).astype(np.uint8))
    places = np.zeros((len(coded.tables), 256), np.uint8)
    for index in reversed(range(coded.tables.shape[1])):
        places[np.arange(len(places)), coded.tables[:, index].astype(np.int64) + 128] = index
    return np.asarray(places[channels if coded.per_channel else 0, weights + 128])


def _pair_table_bytes(coded: Codes) -> int:
    """Of a table of halfwords for two indices, where all channels share one."""
    return 0 if coded.tables is None or coded.per_channel else 2 << 2 * coded.bits
