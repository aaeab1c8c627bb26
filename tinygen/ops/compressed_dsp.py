"""Turns layers whose weights take few values, or are mostly zero, into kernels for cores with the DSP extension."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.ops import (
    byte_pairs,
    convolution_chain_dsp,
    convolution_dsp,
    convolution_rows_dsp,
    dsp,
    fully_connected_dsp,
    packed_words,
    pointwise_dsp,
    sparse_dsp,
    weighted,
)
from tinygen.ops.byte_pairs import WORD_BYTES, Finish
from tinygen.ops.convolution_layout import CHANNELS, Layout, layout_of, row_layout_of
from tinygen.ops.packed_words import Runs
from tinygen.ops.sparse_dsp import Layer
from tinygen.ops.spec import Context, Kernel, Rows

OPERANDS = weighted.Operands(channel_axis=0, offset_weights=True)
SPARSE_CONVOLUTION = "kernels/conv_2d.sparse.dsp.c.j2"
COUNTED = 2
"""The word of a matrix that says how many its blocks have."""


def pointwise_packs(context: Context) -> bool:
    """A 1x1 convolution whose weights take few values."""
    return packed_words.applies(context) and pointwise_dsp.applies(context)


def packed_pointwise(context: Context) -> Kernel:
    """The 1x1 convolution, its words packed."""
    return packed_words.kernel(context, pointwise_dsp.params(context), Runs(pointwise_dsp.CHANNELS))


def rows_pack(context: Context) -> bool:
    """A matrix times several rows whose weights take few values."""
    return packed_words.applies(context) and fully_connected_dsp.rows_apply(context)


def packed_rows(context: Context) -> Kernel:
    """The matrix as a 1x1 convolution, its words packed."""
    return packed_words.kernel(context, fully_connected_dsp.rows_params(context), Runs(pointwise_dsp.CHANNELS))


def vector_packs(context: Context) -> bool:
    """A matrix times one row whose weights take few values."""
    return packed_words.applies(context) and fully_connected_dsp.applies(context)


def packed_vector(context: Context) -> Kernel:
    """The matrix times one row, its words packed."""
    inner = fully_connected_dsp.params(context)
    return packed_words.kernel(context, inner, Runs(inner.values["block"], inner.values["layer_words"], COUNTED))


def convolution_packs(context: Context) -> bool:
    """A convolution whose weights take few values."""
    return packed_words.applies(context, _pads(context)) and convolution_dsp.applies(context)


def packed_convolution(context: Context) -> Kernel:
    """The convolution, its words packed."""
    runs = Runs(CHANNELS, padded=_pads(context))
    return packed_words.kernel(context, convolution_dsp.params(context), runs)


def _pads(context: Context) -> bool:
    """Whether a column of scratch may have an element behind its inputs, which holds anything."""
    _, height, width, depth = context.input(1).shape
    return bool(depth % 2 and (height % 2 or width % 2))


def pointwise_is_sparse(context: Context) -> bool:
    """A 1x1 convolution that is faster without its zeros."""
    return _pointwise(context).worth and pointwise_dsp.applies(context)


def sparse_pointwise(context: Context) -> Kernel:
    """The 1x1 convolution without its zeros."""
    return sparse_dsp.kernel(pointwise_dsp.params(context), _pointwise(context), _two_roundings(context))


def convolution_is_sparse(context: Context) -> bool:
    """A convolution that is faster without its zeros."""
    return convolution_dsp.applies(context) and _convolution(context, layout_of(context)).worth


def sparse_convolution(context: Context) -> Kernel:
    """The convolution without its zeros."""
    layer = _convolution(context, layout_of(context))
    return sparse_dsp.kernel(convolution_dsp.params(context), layer, _two_roundings(context))


def sparse_convolution_rows(context: Context) -> Rows | None:
    """The same for one row of the output."""
    dense, layout = convolution_rows_dsp.rows(context), row_layout_of(context)
    if dense is None or layout is None:
        return None
    kernel = sparse_dsp.kernel(dense.kernel, _convolution(context, layout), _two_roundings(context))
    return replace(dense, kernel=kernel, template=SPARSE_CONVOLUTION, small=None)


def vector_is_sparse(context: Context) -> bool:
    """A matrix times one row that is faster without its zeros."""
    return fully_connected_dsp.applies(context) and _vector(context).worth


def sparse_vector(context: Context) -> Kernel:
    """The matrix times one row without its zeros."""
    layer = _vector(context)
    finish = fully_connected_dsp.storing(context, layer.found)
    assert finish is not None  # proved by vector_is_sparse
    inner = fully_connected_dsp.params(context)
    return sparse_dsp.kernel(inner, layer, finish, inner.values["layer_words"], COUNTED)


def _two_roundings(context: Context) -> Finish:
    found = dsp.sums(context, OPERANDS)
    steps = dsp.two_roundings(context, OPERANDS, found)
    finish = byte_pairs.finish(context, weighted.fixed_point(context, OPERANDS), found, steps)
    assert finish is not None  # proved by what says that the layer is sparse
    return finish


def _pointwise(context: Context) -> Layer:
    """Of both pixels the words of two inputs stand side by side."""
    found = dsp.sums(context, OPERANDS)
    order = np.array(byte_pairs.in_order_of_bytes(found.rows.shape[1]))
    addresses = np.arange(len(order)) * pointwise_dsp.PIXELS * WORD_BYTES
    return Layer(found, order, addresses, pointwise_dsp.CHANNELS, sparse_dsp.TWO_PIXELS)


def _convolution(context: Context, layout: Layout) -> Layer:
    found = dsp.sums(context, OPERANDS)
    order, addresses = np.array(layout.order), np.array(layout.addresses)
    cycles = sparse_dsp.OF_A_CHAIN if convolution_chain_dsp.applies(context) else sparse_dsp.TWO_OUTPUTS
    return Layer(found, order, addresses, CHANNELS, cycles)


def _vector(context: Context) -> Layer:
    found = dsp.sums(context, OPERANDS)
    size = fully_connected_dsp.block_size(len(found.rows))
    order = np.array(fully_connected_dsp.order(found.rows.shape[1]))
    return Layer(found, order, np.arange(len(order)) * WORD_BYTES, size, sparse_dsp.ONE_OUTPUT[size])
