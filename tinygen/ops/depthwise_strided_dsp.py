"""Turns a 3x3 depthwise convolution with stride 2 into its kernel for the DSP extension that copies nothing.

One channel at a time, row by row: each element of the three rows under a row of outputs is loaded once, and widened on
its way. Where the first or the last of the rows is missing, three that are there are taken with taps that have moved.
"""

from __future__ import annotations

import numpy as np

from tinygen.ops import depthwise_dsp, depthwise_steps, dsp, planes, window_walk
from tinygen.ops.depthwise_dsp import MOST_ADVANCE
from tinygen.ops.depthwise_steps import Walk
from tinygen.ops.planes import OPERANDS, Plane
from tinygen.ops.spec import Context, Kernel, Overlap
from tinygen.ops.window import convolution_geometry

TEMPLATE = "kernels/depthwise_conv_2d.strided.dsp.c.j2"
MOST_COLUMNS = 12
"""Of a row that are printed one after another; more become rounds."""
CODE_BYTES = 640
"""About those of its function."""
STRIDE, TAPS = 2, 3
MOST_TALL = 4
"""Times as high as wide that a map may be: each row has its price."""


def applies(context: Context) -> bool:
    """One filter a channel, stride 2, three rows, borders of one row at most, one multiplication an output."""
    window = convolution_geometry(context)
    if window.stride != (STRIDE, STRIDE) or context.input(0).shape[3] != context.output.shape[3]:
        return False
    if not depthwise_dsp.applies(context) or not _reaches(context, _plane(context)):
        return False
    return bool(planes.scaling(context, dsp.sums(context, OPERANDS)).values["form"] == "line")


def params(context: Context) -> Kernel:
    """A record for each channel, no scratch."""
    plane, found = _plane(context), dsp.sums(context, OPERANDS)
    assert plane is not None  # asked by applies
    scaled = planes.scaling(context, found)
    start, multiplier = (constant.data for constant in scaled.constants)
    walk = _walk(context, plane)
    values = planes.values(context, plane, plane.along.reach, scaled)
    rule = _overlap(context)
    values |= {
        "walk": walk,
        "record_bytes": depthwise_steps.RECORD_BYTES,
        "read_advance": STRIDE * values["in_down_step"] - walk.rounds * walk.read_step,
        "stored_advance": values["out_down_step"] - walk.rounds * walk.stored_step,
        "whole_rows": _whole_rows(plane),
        "above": plane.down.pad,
        "below": _below(plane),
        "apart": window_walk.words(rule, context.input(0).shape[3]),
    }
    records = depthwise_steps.records(planes.filters(found, plane), start, multiplier)
    return Kernel(values, (0,), (records,), 0, (rule,))


def _plane(context: Context) -> Plane | None:
    """The channels as they lie, rows along the width."""
    return next((way for way in planes.planes(convolution_geometry(context)) if not way.turned), None)


def _walk(context: Context, plane: Plane) -> Walk:
    channels = context.input(0).shape[3]
    return depthwise_steps.walk(plane.along, channels, channels, MOST_COLUMNS)


def _below(plane: Plane) -> int:
    """Rows of border under the input."""
    return plane.down.reach - plane.down.pad - plane.down.read


def _whole_rows(plane: Plane) -> int:
    """Rows of outputs with three of the input under them."""
    return plane.down.output - plane.down.pad - _below(plane)


def _reaches(context: Context, plane: Plane | None) -> bool:
    """Whether offsets are near enough, borders narrow, and three rows always there."""
    if plane is None or plane.down.output > MOST_TALL * plane.along.output:
        return False
    if any(axis.pad > 1 or axis.reach - axis.pad - axis.read > 1 for axis in (plane.down, plane.along)):
        return False
    row_bytes = context.input(0).shape[2] * context.input(0).shape[3]
    if plane.down.read < TAPS or _whole_rows(plane) < 1 or STRIDE * row_bytes > MOST_ADVANCE:
        return False
    return _walk(context, plane).reaches((TAPS - 1) * row_bytes)


def _overlap(context: Context) -> Overlap:
    """Outputs may lie on elements of the same channel, those that were read before they are written."""
    window, depth = convolution_geometry(context), context.input(0).shape[3]
    rows = window_walk.spans_of(window, 0)
    # Three rows are read also where there are less.
    rows = np.stack([np.minimum(rows[:, 0], rows[:, 1] - TAPS).clip(0), rows[:, 1]], axis=1)
    free = window_walk.free_in_plane(window, rows, rows)
    return Overlap(0, exact=tuple(pixel * depth for pixel in free))
