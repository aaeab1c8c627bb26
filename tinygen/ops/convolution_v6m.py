"""Turns a convolution into the numbers and words of its kernel for Armv6-M cores.

What lies under an output is gathered in a row of bytes; from there on it is a row of inputs times a matrix.
"""

from __future__ import annotations

from dataclasses import replace

from tinygen.ops import dsp, lanes, weighted, window_rows, window_walk
from tinygen.ops.lanes import WORD_BYTES
from tinygen.ops.spec import Context, Kernel, Rows
from tinygen.ops.window import convolution_geometry

TEMPLATE = "kernels/conv_2d.v6m.c.j2"
OPERANDS = weighted.Operands(channel_axis=0)


def applies(context: Context) -> bool:
    """One group, no gaps in the rows of the window, at least a block of channels that fit in lanes."""
    whole = context.input(1).shape[3] == context.input(0).shape[3]
    dense = convolution_geometry(context).dilation[1] == 1
    return whole and dense and lanes.fit(dsp.sums(context, OPERANDS))


def params(context: Context) -> Kernel:
    """Numbers for the template, the words of all blocks, and room for one window, as bytes and in chunks."""
    x, found, window = context.input(0), dsp.sums(context, OPERANDS), convolution_geometry(context)
    channels, inputs = found.rows.shape
    layer = lanes.layer(found, lanes.steps(context, OPERANDS, found), [], shared=False)
    values, constants = lanes.kernel_parts(context, OPERANDS, layer)
    window_bytes = -(-inputs // WORD_BYTES) * WORD_BYTES
    aligned = x.shape[3] % WORD_BYTES == 0
    values |= {
        **window.values(),
        "batches": x.shape[0],
        "in_elements": x.size // x.shape[0],
        "in_channels": x.shape[3],
        "out_channels": channels,
        "inputs": inputs,
        "window_bytes": window_bytes,
        "padded": window.padded,
        "fill": x.zero_point,
        "aligned": aligned,
    }
    rule = window_walk.by_pixels(context, window_walk.axes(window))
    values |= {"by_row": False, "apart": window_walk.words(rule)}
    return Kernel(values, (0,), constants, layer.scratch_bytes + window_bytes, (rule,))


def rows(context: Context) -> Rows | None:
    """The same for one row of the output."""
    if not window_rows.possible(context):
        return None
    kernel, window = params(context), convolution_geometry(context)
    whole = (0, context.input(0).shape[3]), (0, context.output.shape[3])
    rule = window_walk.in_row(context, window, [whole])
    values = {**kernel.values, "by_row": True, "apart": window_rows.words(rule)}
    return window_rows.rows(window, replace(kernel, values=values, overlaps=(rule,)), TEMPLATE, copies=False)
