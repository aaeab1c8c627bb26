"""Turns a depthwise convolution with any window into its kernel for cores with the DSP extension.

Up to four neighbours of a row are computed at once. Their windows begin at even or odd elements of it, and words are
loaded at even ones, so the taps lie in pairs in both phases: (0, 1), (2, 3), ... and (none, 0), (1, 2), ...
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import dsp, planes, window_rows
from tinygen.ops.planes import OPERANDS, Plane
from tinygen.ops.spec import Context, Kernel, Rows
from tinygen.ops.window import convolution_geometry

TEMPLATE = "kernels/depthwise_conv_2d.window.dsp.c.j2"
CHANNEL_CYCLES = 40
"""About what a channel takes again in each row, beside what is copied again."""
CODE_BYTES = 500
"""About those of a function."""
MOST_OUTPUTS = 4
"""Sums that are kept in registers."""
MOST_TAPS = 32
"""Of a row of the window: all are printed."""


def applies(context: Context) -> bool:
    """Any window without dilation whose rows are not too long to print."""
    window = convolution_geometry(context)
    return window.dilation == (1, 1) and max(window.kernel) <= MOST_TAPS and bool(planes.planes(window))


def params(context: Context) -> Kernel:
    """Numbers for the template, taps, what scales their sums, and room for a plane."""
    plane = min(planes.planes(convolution_geometry(context)), key=_cycles)
    return replace(_kernel(context, plane), overlaps=(planes.overlap(context),))


def rows(context: Context) -> Rows | None:
    """The same for one row of the output."""
    plane = planes.row_plane(convolution_geometry(context))
    if plane is None or not window_rows.possible(context):
        return None
    return planes.rows(context, _kernel(context, plane, by_row=True), TEMPLATE, CHANNEL_CYCLES)


def _kernel(context: Context, plane: Plane, by_row: bool = False) -> Kernel:
    found = dsp.sums(context, OPERANDS)
    width, scaling = _width(plane), planes.scaling(context, found)
    taps = _taps(planes.filters(found, plane), plane)
    values = {
        **planes.values(context, plane, width, scaling, by_row),
        "outputs": _outputs(plane),
        "down_kernel": plane.down.kernel,
        "down_stride": plane.down.stride,
        "along_stride": plane.along.stride,
        "tap_words": taps.shape[1] // 2,
        "steps": _steps(plane),
    }
    constants = planes.weights(taps, scaling), *scaling.constants
    return Kernel(values, (0,), constants, planes.plane_bytes(plane, width))


def _outputs(plane: Plane) -> int:
    return min(MOST_OUTPUTS, plane.along.output)


def _phases(plane: Plane) -> list[int]:
    """Where a window can begin in a word."""
    return sorted({output * plane.along.stride % 2 for output in range(_outputs(plane))})


def _pairs(plane: Plane) -> int:
    """Words of taps in a row of the window, in each phase."""
    return (plane.along.kernel + _phases(plane)[-1] + 1) // 2


def _width(plane: Plane) -> int:
    """Elements of a row: whole words, with what the last step loads behind the window."""
    outputs = _outputs(plane)
    last = (plane.along.output - outputs) * plane.along.stride
    loaded = 2 * ((outputs - 1) * plane.along.stride // 2 + _pairs(plane))
    return (max(plane.along.reach, last + loaded) + 1) // 2 * 2


def _cycles(plane: Plane) -> int:
    """About what the inner loop costs: enough to choose between the two ways."""
    steps = -(-plane.along.output // _outputs(plane))
    products = _pairs(plane) * (_outputs(plane) + 4)
    return plane.down.output * steps * (plane.down.kernel * products + 8 * _outputs(plane))


def _steps(plane: Plane) -> list[dict[str, Any]]:
    """For each word of taps: its phase, and which words of the row it meets for which outputs."""
    starts = [divmod(output * plane.along.stride, 2) for output in range(_outputs(plane))]
    return [
        {"products": [(output, word + pair) for output, (word, begins) in enumerate(starts) if begins == phase]}
        for pair in range(_pairs(plane))
        for phase in _phases(plane)
    ]


def _taps(filters: Array, plane: Plane) -> Array:
    """Filters [channels, down, along] in the order of `_steps`, row after row: [channels, words * 2]."""
    length = 2 * _pairs(plane)
    shifted = []
    for phase in _phases(plane):
        padding = ((0, 0), (0, 0), (phase, length - phase - plane.along.kernel))
        shifted.append(np.pad(filters, padding).reshape(*filters.shape[:2], -1, 2))
    return np.stack(shifted, axis=3).reshape(len(filters), -1)
