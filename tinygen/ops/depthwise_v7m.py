"""Turns a 3x3 depthwise convolution into the numbers and arrays of its kernel for Armv7-M cores.

The window slides over the rows of a plane with its nine taps in registers, one output a step.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ops import dsp, planes, window_rows
from tinygen.ops.planes import OPERANDS, Plane
from tinygen.ops.spec import Constant, Context, Kernel, Rows
from tinygen.ops.unroll import chunk
from tinygen.ops.window import convolution_geometry

TEMPLATE = "kernels/depthwise_conv_2d.v7m.c.j2"
CHANNEL_CYCLES, COPY_CYCLES = 80, 4.0
"""About what a channel takes again in each row, and what it takes to copy an element."""
TAPS = 9
ELEMENT_BYTES, SUM_BYTES = 2, 4
MOST_OFFSET = 4095
"""Bytes that a load reaches from its register, and that one instruction adds to one."""
MOST_STRIDE = 127
"""Elements: a load moves its register by at most 255 bytes."""
MOST_ADVANCE = 65535
"""What one instruction puts into a register."""
MOST_STEPS = 4
"""Steps of a row that are printed one after another; more become a loop."""
MOST_SCALED = 4
"""Sums of a row that are scaled one after another."""


def applies(context: Context) -> bool:
    """3x3 kernels without dilation whose offsets fit the instructions."""
    window = convolution_geometry(context)
    return window.kernel == (3, 3) and window.dilation == (1, 1) and bool(_ways(context))


def params(context: Context) -> Kernel:
    """One multiplication an output where that is proved exact, in the loop; else rows of sums, scaled afterwards."""
    return replace(_kernel(context, _ways(context)[0]), overlaps=(planes.overlap(context),))


def rows(context: Context) -> Rows | None:
    """The same for one row of the output."""
    plane = planes.row_plane(convolution_geometry(context))
    if plane is None or not window_rows.possible(context) or not _reaches(plane, *planes.steps(plane, context)):
        return None
    return planes.rows(
        context, _kernel(context, plane, by_row=True), TEMPLATE, CHANNEL_CYCLES, COPY_CYCLES, COPY_CYCLES
    )


def _kernel(context: Context, plane: Plane, by_row: bool = False) -> Kernel:
    found = dsp.sums(context, OPERANDS)
    width, scaling = plane.along.reach, planes.scaling(context, found)
    fused = scaling.values["form"] == "line"
    step = planes.steps(plane, context)[0] if fused else SUM_BYTES
    steps_a_round = chunk(plane.along.output, MOST_STEPS)
    values: dict[str, Any] = {
        **planes.values(context, plane, width, scaling, by_row),
        "tap_scale": 1,
        "tap_bits": scaling.bits,
        "fused": fused,
        "scaled_at_once": chunk(plane.along.output, MOST_SCALED),
        "down_stride": plane.down.stride,
        "along_stride": plane.along.stride,
        "row_bytes": ELEMENT_BYTES * width,
        "row_surplus": ELEMENT_BYTES * (plane.down.stride * width - plane.along.stride * plane.along.output),
        "step_bytes": step,
        "steps_a_round": steps_a_round,
        "rounds": plane.along.output // steps_a_round,
        "steps_behind": plane.along.output % steps_a_round,
    }
    sums_bytes = 0 if fused else SUM_BYTES * plane.along.output
    taps = planes.filters(found, plane).reshape(-1, TAPS)
    constants = Constant("weights", taps.astype(np.int8)), *scaling.constants
    plane_bytes = -(-planes.plane_bytes(plane, width) // SUM_BYTES) * SUM_BYTES
    return Kernel(values | {"plane_bytes": plane_bytes}, (0,), constants, plane_bytes + sums_bytes)


def _ways(context: Context) -> list[Plane]:
    """The ways to lay out a plane that the instructions can reach, that with the fewest rows first."""
    ways = planes.planes(convolution_geometry(context))
    return sorted((way for way in ways if _reaches(way, *planes.steps(way, context))), key=lambda way: way.down.output)


def _reaches(plane: Plane, step_bytes: int, row_bytes: int) -> bool:
    """Whether rows, outputs and the way to the next row are near enough for their instructions."""
    farthest = max(ELEMENT_BYTES * (2 * plane.along.reach + 2), step_bytes)
    surplus = ELEMENT_BYTES * (plane.down.stride * plane.along.reach - plane.along.stride * plane.along.output)
    advance = abs(row_bytes - plane.along.output * step_bytes)
    return plane.along.stride <= MOST_STRIDE and farthest <= MOST_OFFSET and max(abs(surplus), advance) <= MOST_ADVANCE
