"""Turns a convolution of one to three filters into its kernel in C for cores with the DSP extension.

Such make a picture or a mask. The rows of the input under a row of outputs lie widened in scratch, in the order of
ops/convolution_layout.py; weights are words of two, each of which serves two outputs.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.ir import Array
from tinygen.ops import convolution_dsp, convolution_rows_dsp, dsp, weighted, window_rows, window_walk
from tinygen.ops.convolution_dsp import OPERANDS
from tinygen.ops.convolution_layout import Layout, layout_of, layouts, row_layout_of
from tinygen.ops.spec import Context, Kernel, Rows
from tinygen.ops.window import convolution_geometry

TEMPLATE = "kernels/conv_2d.few.dsp.c.j2"
MOST_FILTERS = 3


def applies(context: Context) -> bool:
    """Few filters over all channels."""
    one_group = context.input(1).shape[3] == context.input(0).shape[3]
    return one_group and context.output.shape[3] <= MOST_FILTERS and bool(layouts(context))


def params(context: Context) -> Kernel:
    """Numbers for the template, the words of all filters, and room for the columns under a row of outputs."""
    layout = layout_of(context)
    rule = window_walk.by_rows(context, convolution_geometry(context), layout.turned)
    return replace(_kernel(context, layout, window_walk.words(rule), by_row=False), overlaps=(rule,))


def rows(context: Context) -> Rows | None:
    """The same for one row of the output, where its columns lie along the width."""
    layout = row_layout_of(context)
    if layout is None or not window_rows.possible(context):
        return None
    kernel = _kernel(context, layout, window_rows.OVER_THEM, by_row=True)
    return convolution_rows_dsp.of_kernel(context, layout, kernel, TEMPLATE, copies=True)


def _kernel(context: Context, layout: Layout, apart: str, by_row: bool) -> Kernel:
    low, high = weighted.activation_range(context)
    values = {
        "by_row": by_row,
        "part": 0,
        "apart": apart,
        "finish": {"clamp": None},
        "zero_point": context.output.zero_point,
        "low": low - context.output.zero_point,
        "high": high - context.output.zero_point,
        **convolution_rows_dsp.row_values(context, by_row),
    }
    kernel = convolution_dsp.of_words(context, layout, _words(context, layout), values)
    return convolution_dsp.with_lone_output(kernel)


def _words(context: Context, layout: Layout) -> Array:
    """int32: for each filter where its sums start, its weights in the order of the layout, its multiplier and shift."""
    found, scaling = dsp.sums(context, OPERANDS), weighted.fixed_point(context, OPERANDS)
    rows = np.pad(found.rows, ((0, 0), (0, 1)))[:, np.array(layout.order)]
    pairs = (rows[..., 1] << 16) + (rows[..., 0] & 0xFFFF)
    numbers = (np.broadcast_to(array, len(rows)) for array in (scaling.multiplier, scaling.shift))
    return np.column_stack([found.bias, pairs, *numbers]).astype(np.int32).ravel()
