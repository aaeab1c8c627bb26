"""Turns a depthwise convolution with any window into its kernel in C, for cores that multiply in a cycle or two.

One channel at a time lies in scratch inside a border, so that no window is cut at an edge; up to four neighbours of a
row are summed at once.
"""

from __future__ import annotations

import numpy as np

from tinygen.ops import dsp, planes
from tinygen.ops.planes import OPERANDS, Plane
from tinygen.ops.spec import Constant, Context, Kernel
from tinygen.ops.window import convolution_geometry, covering

MOST_OUTPUTS = 4
"""Sums that are kept in registers."""
MOST_TAPS = 9
"""Of a row of the window that are printed one after another; more become a loop."""


def applies(context: Context) -> bool:
    """Any window, wherever it reads its input at all."""
    return bool(planes.planes(covering(convolution_geometry(context))))


def params(context: Context) -> Kernel:
    """Numbers for the template, taps, what scales their sums, and room for a plane."""
    found, window = dsp.sums(context, OPERANDS), convolution_geometry(context)
    plane = min(planes.planes(covering(window)), key=_steps)
    down, along = (1, 0) if plane.turned else (0, 1)
    width, scaling = plane.along.reach, planes.scaling(context, found)
    filters = found.rows.reshape(-1, *window.kernel)
    taps = filters.transpose(0, 2, 1) if plane.turned else filters
    values = {
        **planes.values(context, plane, width, scaling),
        "tap_scale": 1,
        "sum_scale": 2**scaling.bits,
        "outputs": min(MOST_OUTPUTS, plane.along.output),
        "down_taps": window.kernel[down],
        "along_taps": window.kernel[along],
        "printed": window.kernel[along] <= MOST_TAPS,
        "row_step": window.dilation[down] * width,
        "tap_step": window.dilation[along],
        "down_stride": plane.down.stride,
        "along_stride": plane.along.stride,
    }
    weights = Constant("weights", np.ascontiguousarray(taps.reshape(len(taps), -1)).astype(np.int8))
    scratch = planes.plane_bytes(plane, width)
    return Kernel(values, (0,), (weights, *scaling.constants), scratch, (planes.overlap(context),))


def _steps(plane: Plane) -> int:
    """Of the inner loops."""
    return plane.down.output * -(-plane.along.output // MOST_OUTPUTS)
