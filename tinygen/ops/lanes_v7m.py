"""Turns the kernels of lanes for Armv6-M cores into those for Armv7-M: the same words, other instructions.

They compute one output after another: for layers of few outputs, for which convolution_pairs_v7m.py is not worth it.
"""

from __future__ import annotations

from dataclasses import replace

from tinygen.ops import convolution_v6m, matrix_v6m
from tinygen.ops.spec import Context, Kernel

MATRIX = "kernels/matrix.v7m.c.j2"
CODE_BYTES, PLAIN_BYTES = 2400, 220
"""About those of the function of a fully connected layer, and of that in plain C."""
PRODUCT_CYCLES, OUTPUT_CYCLES, BEGIN_CYCLES = 2.25, 12, 250
"""About what plain C takes more for a product and for an output, and less to begin."""


def plain_cycles(context: Context) -> float:
    """About what a fully connected layer takes more in plain C."""
    outputs, depth = context.output.size, context.input(1).shape[1]
    return outputs * (PRODUCT_CYCLES * depth + OUTPUT_CYCLES) - BEGIN_CYCLES


def matrix(context: Context) -> Kernel:
    """What MATRIX prints."""
    return _thumb2(matrix_v6m.params(context))


def convolution(context: Context) -> Kernel:
    """What templates/kernels/conv_2d.pixels.v7m.c.j2 prints."""
    return _thumb2(convolution_v6m.params(context))


def _thumb2(kernel: Kernel) -> Kernel:
    return replace(kernel, values={**kernel.values, "thumb2": True})
