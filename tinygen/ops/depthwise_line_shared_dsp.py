"""Turns a 3x3 depthwise convolution of a small map into a kernel that layers with as many columns share.

It is the kernel of depthwise_line_dsp with channels and rows among its words, and so the way from pixel to pixel in
half a register: a cycle more for each output, and one function in place of one for each number of channels.
"""

from __future__ import annotations

from tinygen.ops import depthwise_line_dsp, depthwise_steps
from tinygen.ops.spec import Context, Kernel, Overlap
from tinygen.ops.window import convolution_geometry

TEMPLATE = "kernels/depthwise_conv_2d.line.shared.dsp.c.j2"
FEW_OUTPUTS = 2**12
LEAST_COLUMNS, MOST_COLUMNS = 2, 8
"""All are printed one after another."""
BORDER = (1, 1)
CODE_BYTES = 770
"""About those of its function in rows of six."""


def applies(context: Context) -> bool:
    """Few outputs, each over its input inside a border, in short rows."""
    window = convolution_geometry(context)
    columns, same = window.input[1], window.input == window.output and window.pad == BORDER
    if not same or context.output.size > FEW_OUTPUTS or not LEAST_COLUMNS <= columns <= MOST_COLUMNS:
        return False
    return window.input[0] > 1 and context.input(0).shape[0] == 1 and depthwise_line_dsp.applies(context)


def params(context: Context) -> Kernel:
    """Records behind the numbers of channels and of rows; what is printed depends on neither."""
    plane = depthwise_steps.plane_of(context)
    _, height, columns, channels = context.input(0).shape
    scaling, records = depthwise_steps.records_of(context, [channels, height])
    values = {
        "scaling": scaling.values,
        "fill": context.input(0).zero_point,
        "columns": columns,
        "walk": depthwise_steps.walk(plane.along, 1, 1, plane.along.reach).tail,
        "record_bytes": depthwise_steps.RECORD_BYTES,
    }
    line_bytes = plane.along.reach * depthwise_steps.WORD_BYTES
    return Kernel(values, (0,), (records,), line_bytes, (Overlap(0, exact=(0,)),))
