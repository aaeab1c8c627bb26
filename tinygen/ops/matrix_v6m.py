"""Turns rows of inputs times a matrix into the numbers and words of their kernel for Armv6-M cores.

A row may be a pixel of a 1x1 convolution, or an input of a fully connected layer.
"""

from __future__ import annotations

from tinygen.ops import dsp, lanes, overlap, weighted
from tinygen.ops.spec import Context, Kernel

OPERANDS = weighted.Operands(channel_axis=0, offset_weights=True)
CODE_BYTES, PLAIN_BYTES = 1850, 330
"""About those of the function of a fully connected layer, and of that in plain C."""
PRODUCT_CYCLES, OUTPUT_CYCLES, BEGIN_CYCLES = 3, 80, 150
"""About what plain C takes more for a product and for an output, and less to begin."""


def applies(context: Context) -> bool:
    """Weights without a zero point, at least a block of them, that fit in lanes."""
    return not weighted.weights_zero_point(context, OPERANDS) and lanes.fit(dsp.sums(context, OPERANDS))


def plain_cycles(context: Context) -> float:
    """About what a fully connected layer takes more in plain C."""
    outputs, depth = context.output.size, context.input(1).shape[1]
    return outputs * (PRODUCT_CYCLES * depth + OUTPUT_CYCLES) - BEGIN_CYCLES


def params(context: Context) -> Kernel:
    """Numbers for the template, the words of all blocks, and room for a row in chunks."""
    found = dsp.sums(context, OPERANDS)
    channels, inputs = found.rows.shape
    rows = context.output.size // channels
    numbers = [rows, inputs, channels]
    layer = lanes.layer(found, lanes.steps(context, OPERANDS, found), numbers, shared=True)
    values, constants = lanes.kernel_parts(context, OPERANDS, layer)
    return Kernel(values, (0,), constants, layer.scratch_bytes, (overlap.of_matrix(context, layer.written),))
