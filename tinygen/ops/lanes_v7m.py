"""Turns the kernels of lanes for Armv6-M cores into those for Armv7-M: the same words, other instructions.

They compute one output after another: for layers of few outputs, for which convolution_pairs_v7m.py is not worth it.
"""

from __future__ import annotations

from dataclasses import replace

from tinygen.ops import convolution_v6m, matrix_v6m
from tinygen.ops.spec import Context, Kernel

MATRIX = "kernels/matrix.v7m.c.j2"
LEAST_WEIGHTS = 2048
"""Of a fully connected layer: below, what can be saved of its time is not worth the code."""


def matrix_applies(context: Context) -> bool:
    """A fully connected layer of some size that fits in lanes."""
    return context.input(1).size >= LEAST_WEIGHTS and matrix_v6m.applies(context)


def matrix(context: Context) -> Kernel:
    """What MATRIX prints."""
    return _thumb2(matrix_v6m.params(context))


def convolution(context: Context) -> Kernel:
    """What templates/kernels/conv_2d.pixels.v7m.c.j2 prints."""
    return _thumb2(convolution_v6m.params(context))


def _thumb2(kernel: Kernel) -> Kernel:
    return replace(kernel, values={**kernel.values, "thumb2": True})
