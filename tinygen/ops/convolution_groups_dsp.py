"""Turns a convolution of channels in groups into the kernel of byte pairs, one group after another (DSP extension).

Scratch holds what lies under a row of outputs of one group; so each row of the input is read group by group.
"""

from __future__ import annotations

from dataclasses import replace

from tinygen.ops import byte_pairs, convolution_dsp, convolution_rows_dsp, dsp, weighted, window_rows, window_walk
from tinygen.ops.convolution_dsp import OPERANDS
from tinygen.ops.convolution_layout import CHANNELS, Layout, layout_of, layouts, row_layout_of
from tinygen.ops.spec import Context, Kernel, Rows
from tinygen.ops.window import convolution_geometry

TEMPLATE = convolution_dsp.TEMPLATE


def applies(context: Context) -> bool:
    """Groups of a block of filters or more, whose weights can be paired, a scaling that is proved exact."""
    groups = _groups(context)
    if groups == 1 or not layouts(context):
        return False
    found, scaling = dsp.sums(context, OPERANDS), weighted.fixed_point(context, OPERANDS)
    if not all(byte_pairs.fit(own, CHANNELS) for own in byte_pairs.sums_of_groups(found, groups)):
        return False
    return byte_pairs.can_finish(context, scaling, found, lambda: dsp.two_roundings(context, OPERANDS, found))


def params(context: Context) -> Kernel:
    """Numbers for the template, the words of all groups, and room for the columns of one under a row of outputs."""
    layout = layout_of(context)
    rule = window_walk.by_rows(context, convolution_geometry(context), layout.turned, _groups(context))
    return replace(_kernel(context, layout, window_walk.words(rule), by_row=False), overlaps=(rule,))


def rows(context: Context) -> Rows | None:
    """The same for one row of the output, where its columns lie along the width."""
    layout = row_layout_of(context)
    if layout is None or not window_rows.possible(context):
        return None
    kernel = _kernel(context, layout, window_rows.APART, by_row=True)
    return convolution_rows_dsp.of_kernel(context, layout, kernel, TEMPLATE, copies=False)


def _groups(context: Context) -> int:
    return context.input(0).shape[3] // context.input(1).shape[3]


def _kernel(context: Context, layout: Layout, apart: str, by_row: bool) -> Kernel:
    values = {"by_row": by_row, "part": 0, "apart": apart, **convolution_rows_dsp.row_values(context, by_row)}
    return convolution_dsp.with_lone_output(convolution_dsp.kernel(context, layout, values))
