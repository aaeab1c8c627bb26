"""Turns the kernels of lanes for Armv6-M cores into those for Armv7-M: the same words, other instructions."""

from __future__ import annotations

from dataclasses import replace

from tinygen.ops import convolution_v6m, matrix_v6m
from tinygen.ops.spec import Context, Kernel


def matrix(context: Context) -> Kernel:
    """What templates/kernels/matrix.v7m.c.j2 prints."""
    return _thumb2(matrix_v6m.params(context))


def convolution(context: Context) -> Kernel:
    """What templates/kernels/conv_2d.v7m.c.j2 prints."""
    return _thumb2(convolution_v6m.params(context))


def _thumb2(kernel: Kernel) -> Kernel:
    return replace(kernel, values={**kernel.values, "thumb2": True})
