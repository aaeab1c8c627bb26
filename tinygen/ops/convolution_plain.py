"""Turns a convolution into its kernel in plain C: any stride, dilation, padding and groups, by rows, packed, sparse."""

from __future__ import annotations

from dataclasses import replace

from tinygen.ops import packed_weights, sparse_weights, weighted, window_rows, window_walk
from tinygen.ops.spec import Context, Kernel, Rows
from tinygen.ops.window import convolution_geometry
from tinygen.ops.window_walk import Span

TEMPLATE = "kernels/conv_2d.c.j2"
OPERANDS = weighted.Operands(channel_axis=0)


def params(context: Context) -> Kernel:
    """Numbers and arrays for the template; weights stay in the file's order [O, KH, KW, I / groups]."""
    x, filters = context.input(0), context.input(1)
    window, scaling = convolution_geometry(context), weighted.fixed_point(context, OPERANDS)
    per_group = filters.shape[0] // (x.shape[3] // filters.shape[3])
    values = {
        **window.values(),
        **weighted.lanes(per_group, filters.size // filters.shape[0]),
        **weighted.values(context, OPERANDS, scaling),
        "batches": x.shape[0],
        "in_elements": x.size // x.shape[0],
        "in_channels": x.shape[3],
        "group_channels": filters.shape[3],
        "filters_per_group": per_group,
        "out_channels": filters.shape[0],
        "padded": window.padded,
        "pixels": context.output.size // filters.shape[0],
        "by_row": False,
    }
    rule = window_walk.by_pixels(context, window_walk.axes(window), _blocks(context, per_group, len(values["lanes"])))
    values["apart"] = window_walk.words(rule)
    return Kernel(values, (0,), weighted.constants(context, OPERANDS, scaling), overlaps=(rule,))


def rows(context: Context) -> Rows | None:
    """The same for one row of the output."""
    if not window_rows.possible(context):
        return None
    kernel, window = params(context), convolution_geometry(context)
    blocks = _blocks(context, kernel.values["filters_per_group"], len(kernel.values["lanes"]))
    rule = window_walk.in_row(context, window, blocks)
    values = {**kernel.values, "by_row": True, "apart": window_rows.words(rule)}
    return window_rows.rows(window, replace(kernel, values=values, overlaps=(rule,)), TEMPLATE, copies=False)


def _blocks(context: Context, per_group: int, lanes: int) -> list[tuple[Span, Span]]:
    """Some filters at a time are summed, then written; each reads the channels of its group."""
    depth = context.input(1).shape[3]
    filters = range(0, context.output.shape[3], lanes)
    groups = [first // per_group * depth for first in filters]
    return [((read, read + depth), (first, first + lanes)) for read, first in zip(groups, filters, strict=True)]


def packed_params(context: Context) -> Kernel:
    """The same with the weights in fewer bits."""
    return packed_weights.kernel(context, params(context))


def sparse_params(context: Context) -> Kernel:
    """The same without the weights that are zero."""
    return sparse_weights.kernel(context, params(context))


def is_sparse(context: Context) -> bool:
    """Whether the weights have zeros enough to be skipped."""
    filters = context.input(1)
    per_group = filters.shape[0] * filters.shape[3] // context.input(0).shape[3]
    return sparse_weights.applies(context, per_group)


def is_pointwise(context: Context) -> bool:
    """A 1x1 kernel that reads every pixel once and all its channels."""
    window = convolution_geometry(context)
    whole = context.input(1).shape[3] == context.input(0).shape[3]
    return whole and window.kernel == (1, 1) and window.stride == (1, 1) and not window.padded
