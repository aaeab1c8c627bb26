"""Turns a convolution with gaps over time into the same one without gaps over an image.

Of a row of steps, those that lie `gap` apart are under a window at once. The same bytes, read as an image with `gap`
steps in each row, have them below each other: a window without gaps, one column wide.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.ops.spec import Context
from tinygen.ops.window import Window, convolution_geometry

WIDTH_OF_WEIGHTS = 2


def folded(context: Context) -> Context:
    """The node over an image, where its steps fill one; else as it is."""
    window, x, y = convolution_geometry(context), context.input(0), context.output
    gap, taps, pad = window.dilation[1], window.kernel[1], window.pad[1]
    one_row = window.input[0] == window.output[0] == window.kernel[0] == 1 and window.pad[0] == 0
    if not one_row or x.shape[0] > 1 or window.stride[1] > 1 or gap == 1 or taps == 1:
        return context
    if window.input[1] % gap or window.output[1] % gap or pad % gap:
        return context
    filters = context.input(1)
    behind = window.output[1] - 1 + (taps - 1) * gap + 1 - window.input[1] - pad
    shapes = {
        context.node.inputs[0]: (1, window.input[1] // gap, gap, x.shape[3]),
        context.node.outputs[0]: (1, window.output[1] // gap, gap, y.shape[3]),
    }
    tensors = {number: replace(context.tensors[number], shape=shape) for number, shape in shapes.items()}
    upright = np.swapaxes(context.constant(1), 1, WIDTH_OF_WEIGHTS)
    tensors[context.node.inputs[1]] = replace(filters, shape=upright.shape, data=upright)
    attributes = context.attributes
    no_gaps = Window("VALID", (1, 1), (1, 1), (pad // gap, behind // gap, 0, 0))
    node = replace(context.node, attributes=replace(attributes, window=no_gaps))
    return replace(context, node=node, tensors={**context.tensors, **tensors})
