"""Turns the weights of the pairs of an Armv7-M convolution into 4 bits each, which the kernel spreads as fast as bytes.

The kernel spreads the weights of two channels into scratch before it uses them (ops/convolution_pairs_v7m.py): whether
they come from bytes or from nibbles makes no difference to the rest of it, nor to how it goes over rows and its input.
Only weights from -8 to 7 are taken, those of INT4; none of these needs to be split.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.ir import Array
from tinygen.ops import convolution_pairs_v7m
from tinygen.ops.lanes import as_int32
from tinygen.ops.pair_blocks_v7m import WEIGHT_OFFSET
from tinygen.ops.spec import Context, Kernel, Rows

TEMPLATE = "kernels/conv_2d.pairs.packed.v7m.c.j2"
LEAST, MOST = -8, 7
WEIGHT_WORDS = 28
"""Which number of a layer says how many words the weights of a block take."""
SHIFTS = (0, 4, 16, 20, 8, 12, 24, 28)
"""Where in a word the nibbles of two words of bytes are: halves of two weights lie as far apart as they will be."""


def applies(context: Context) -> bool:
    """Whether 4 bits suffice, for any number of outputs."""
    return _are_narrow(context) and convolution_pairs_v7m.is_possible(context)


def rows_apply(context: Context) -> bool:
    """The same of a fully connected layer."""
    return _are_narrow(context) and convolution_pairs_v7m.are_rows_possible(context)


def params(context: Context) -> Kernel:
    """The kernel of bytes with nibbles."""
    return _packed(convolution_pairs_v7m.params(context))


def rows_params(context: Context) -> Kernel:
    """The same of a fully connected layer."""
    return _packed(convolution_pairs_v7m.rows_params(context))


def rows(context: Context) -> Rows | None:
    """The same for one row of the output."""
    return _packed_rows(convolution_pairs_v7m.rows(context))


def pixel_rows(context: Context) -> Rows | None:
    """The same for a row of a 1x1 convolution, where it is long enough for the kernel of pairs."""
    found = convolution_pairs_v7m.pixel_rows(context)
    return _packed_rows(found) if found and found.template == convolution_pairs_v7m.TEMPLATE else None


def _are_narrow(context: Context) -> bool:
    weights = context.constant(1)
    return bool(weights.min() >= LEAST and weights.max() <= MOST)


def _packed_rows(found: Rows | None) -> Rows | None:
    if found is None:
        return None
    return replace(found, kernel=_packed(found.kernel), template=TEMPLATE, small=_packed_rows(found.small))


def _packed(inner: Kernel) -> Kernel:
    weights, layer = inner.constants
    numbers = layer.data.copy()
    assert numbers[WEIGHT_WORDS] == weights.data.shape[1]  # the order of the template's numbers
    words = nibbles(weights.data)
    numbers[WEIGHT_WORDS] = words.shape[1]
    return replace(inner, constants=(replace(weights, data=words), replace(layer, data=numbers)))


def nibbles(words: Array) -> Array:
    """int32 [blocks, words / 2] of words of four bytes w + 128: eight times w + 8."""
    bytes_ = np.ascontiguousarray(words, "<i4").view(np.uint8).reshape(len(words), -1, len(SHIFTS)).astype(np.int64)
    return as_int32((((bytes_ - WEIGHT_OFFSET - LEAST) & 15) << np.array(SHIFTS)).sum(axis=2))
