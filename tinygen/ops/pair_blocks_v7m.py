"""Turns the weights of a convolution into blocks of pairs for Armv7-M, each with the pairs that it has to split.

Two inputs x0 and x1 times two weights are one multiplication and one addition: the upper half of the word
(x0 + (x1 << 16)) * (w1 + (w0 << 16)), taken modulo 2**32, is x0 * w0 + x1 * w1, less what the lower half x0 * w1
borrows. So that this is known, the first input of a pair is stored as x0 + 129, which is greater than 0: 1 is borrowed
where w1 is less than 0, and nowhere else. Both are in where the sums start. Where two weights are so large that the
upper half could leave 16 bits, each of them is split in two, and the second pair is one of the extra ones at the end
of the block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import byte_pairs
from tinygen.ops.convolution_layout import Layout
from tinygen.ops.dsp import Sums

CHANNELS = 2
"""Of a block."""
WORD_BYTES = 4
SPREAD = 4
"""Words of weights that are spread at a time."""
WEIGHT_OFFSET = 128
"""What is added to a weight so that it is a byte."""
FIRST_OFFSET = 129
"""What is added to the first input of a pair, so that it is greater than 0."""
PLACE_SHIFT = 16
"""Where the place of an extra pair is in its word."""


@dataclass(frozen=True, eq=False)
class Blocks:
    """The weights of blocks of channels."""

    starts: list[int]
    """The first channel of each."""
    words: Array
    """[blocks, words]: four bytes w + 128 for a pair of inputs: w1 of both channels, then w0 of both."""
    extras: list[tuple[Array, ...]]
    """int64 [count] of both channels of each: w1 + 128, w0 + 128, and how many words before its end a window has it."""
    start: Array
    """int64 [channels]: what sums lack."""

    @property
    def most_extras(self) -> int:
        """Of one block."""
        return max(sum(map(len, extras)) for extras in self.extras)


def blocks(found: Sums, layout: Layout, groups: int) -> Blocks:
    """The weights of all blocks, group by group, split where they are too large."""
    order = _order(layout)
    pairs = np.pad(found.rows, ((0, 0), (0, 1)))[:, order]
    rest = np.where(fits(pairs)[:, :, None], 0, pairs // 2)
    main = pairs - rest
    start = (
        (main[:, :, 1] < 0).sum(axis=1) + (rest[:, :, 1] < 0).sum(axis=1) - FIRST_OFFSET * pairs[:, :, 0].sum(axis=1)
    )
    filters = len(pairs) // groups
    starts = [
        group * filters + first for group in range(groups) for first in byte_pairs.block_starts(filters, CHANNELS)
    ]
    words = np.array([_bytes(main[first : first + CHANNELS]) for first in starts])
    words = np.pad(words, ((0, 0), (0, -words.shape[1] % SPREAD)))
    extras = [tuple(_extras(row, places(layout)) for row in rest[first : first + CHANNELS]) for first in starts]
    return Blocks(starts, words, extras, start)


def fits(pairs: Array) -> Array:
    """[...]: whether the products of weights [..., 2] with any pair of inputs are an int16 together."""
    first, second = pairs[..., 0], pairs[..., 1]
    low, high = quant.RANGES["int8"]
    ends = low + FIRST_OFFSET, high + FIRST_OFFSET
    borrowed = second < 0
    most = np.maximum(first * ends[0], first * ends[1]) + np.maximum(second * low, second * high) - borrowed
    least = np.minimum(first * ends[0], first * ends[1]) + np.minimum(second * low, second * high) - borrowed
    return np.asarray((most < 1 << 15) & (least >= -(1 << 15)))


def _order(layout: Layout) -> Array:
    """[pairs, 2]: the two weights of each pair as indices into a filter [KH, KW, channels]; -1 is none."""
    count = layout.down.kernel * layout.channels
    pairs = [(first, first + 1) for first in range(0, count, 2)]
    if is_aligned(layout):
        pairs = byte_pairs.in_order_of_bytes(count)
    taps = range(layout.along.kernel)
    return np.array([[_weight(layout, tap, element, count) for element in pair] for tap in taps for pair in pairs])


def _weight(layout: Layout, tap: int, element: int, count: int) -> int:
    if element >= count:
        return -1
    row, channel = divmod(element, layout.channels)
    pixel = tap * layout.down.kernel + row if layout.turned else row * layout.along.kernel + tap
    return pixel * layout.channels + channel


def places(layout: Layout) -> Array:
    """Words of scratch from each pair of a window to behind the window."""
    column = layout.elements // 2
    apart = layout.along.dilation if layout.along.kernel > 1 else 1
    taps = np.arange(layout.along.kernel, 0, -1) * apart * column
    return np.asarray((taps[:, None] - np.arange(column)).ravel())


def _bytes(pairs: Array) -> Array:
    """[pairs] of [channels, pairs, 2]: both second weights, then both first ones, as bytes w + 128 of a word."""
    bytes_ = pairs.transpose(1, 2, 0)[:, ::-1].reshape(-1, 2 * CHANNELS) + WEIGHT_OFFSET
    return np.asarray((bytes_ << np.array([0, 8, 16, 24])).sum(axis=1))


def _extras(rest: Array, places: Array) -> Array:
    """[count] of [pairs, 2]."""
    (pair,) = np.nonzero(rest.any(axis=1))
    first, second = (rest[pair] + WEIGHT_OFFSET).T
    return np.asarray(second + (first << 8) + (places[pair] << PLACE_SHIFT))


def is_aligned(layout: Layout) -> bool:
    """Whether inputs are copied four at a time."""
    return layout.channels % WORD_BYTES == 0
