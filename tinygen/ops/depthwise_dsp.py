"""Turns a 3x3 depthwise convolution into the numbers and arrays of its kernel for cores with the DSP extension.

The window slides over the rows of a plane with its taps in registers, in pairs as SMLAD takes them: two outputs a step
with stride 1, one with stride 2. The pairs are made of a word for each row of taps.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import dsp, planes, window_rows
from tinygen.ops.planes import OPERANDS, Plane
from tinygen.ops.spec import Constant, Context, Kernel, Rows
from tinygen.ops.unroll import chunk
from tinygen.ops.window import convolution_geometry

TEMPLATE = "kernels/depthwise_conv_2d.dsp.c.j2"
CHANNEL_CYCLES = 45
"""About what a channel takes again in each row, beside what is copied again."""
MOST_OFFSET = 4095
"""Bytes that a load or store reaches from its register."""
MOST_ADVANCE = 65535
"""What one instruction puts into a register."""
MOST_STEPS = 6
"""Steps of a row that are printed one after another; more become a loop."""
MOST_SCALED = 4
"""Sums of a row that are scaled one after another."""
SUM_BYTES = 4
TAP_WORDS = {1: 6, 2: 5}
"""Stride -> registers that hold the taps."""
STEP_OUTPUTS = {1: 2, 2: 1}
"""Stride -> outputs of a step of the inner loop."""
STEP_CYCLES = {1: 24, 2: 13}
ROW_CYCLES = 14


def applies(context: Context) -> bool:
    """3x3 kernels with stride 1 or 2, without dilation, whose offsets fit the instructions."""
    window = convolution_geometry(context)
    square = window.kernel == (3, 3) and window.stride in ((1, 1), (2, 2)) and window.dilation == (1, 1)
    return square and bool(_ways(context))


def params(context: Context) -> Kernel:
    """One multiplication an output where that is proved exact, in the loop; else rows of sums, scaled afterwards."""
    return replace(_kernel(context, _ways(context)[0]), overlaps=(planes.overlap(context),))


def rows(context: Context) -> Rows | None:
    """The same for one row of the output."""
    plane = planes.row_plane(convolution_geometry(context))
    if plane is None or not window_rows.possible(context) or not _reaches(plane, *planes.steps(plane, context)):
        return None
    return planes.rows(context, _kernel(context, plane, by_row=True), TEMPLATE, CHANNEL_CYCLES)


def _kernel(context: Context, plane: Plane, by_row: bool = False) -> Kernel:
    found = dsp.sums(context, OPERANDS)
    width, scaling = row_width(plane), planes.scaling(context, found)
    if scaling.values["form"] == "roundings":
        scaling = planes.moved_scaling(context, found) or scaling
    fused = scaling.values["form"] == "line"
    taps = _taps(planes.filters(found, plane), plane)
    values = {
        **planes.values(context, plane, width, scaling, by_row),
        **_row(plane, planes.steps(plane, context)[0] if fused else SUM_BYTES),
        "fused": fused,
        "scaled_at_once": chunk(plane.along.output, MOST_SCALED),
        "row_bytes": 2 * width,
        "tap_words": TAP_WORDS[plane.along.stride],
    }
    sums_bytes = 0 if fused else SUM_BYTES * plane.along.output
    constants = Constant("weights", taps), *scaling.constants
    return Kernel(values, (0,), constants, planes.plane_bytes(plane, width) + sums_bytes)


def _ways(context: Context) -> list[Plane]:
    """The ways to lay out a plane that the instructions can reach, the cheapest first."""
    ways = planes.planes(convolution_geometry(context))
    return sorted((way for way in ways if _reaches(way, *planes.steps(way, context))), key=_cycles)


def _reaches(plane: Plane, step_bytes: int, row_bytes: int) -> bool:
    """Whether rows, outputs and the way to the next row are near enough for their instructions."""
    farthest = max(4 * row_width(plane), STEP_OUTPUTS[plane.along.stride] * step_bytes)
    if farthest > MOST_OFFSET:
        return False
    advance: int = row_bytes - _row(plane, step_bytes)["advanced"]
    return abs(advance) <= MOST_ADVANCE


def _cycles(plane: Plane) -> int:
    """About what the inner loop costs: enough to choose between the two ways."""
    steps = -(-plane.along.output // STEP_OUTPUTS[plane.along.stride])
    return plane.down.output * (ROW_CYCLES + steps * STEP_CYCLES[plane.along.stride])


def row_width(plane: Plane) -> int:
    """Elements of a row of scratch: whole words."""
    return (plane.along.reach + 1) // 2 * 2


def _row(plane: Plane, step_bytes: int) -> dict[str, Any]:
    """A row as `rounds` of `chunk` steps, `rest` more steps, and one more output where stride 1 leaves one.

    The output's register stays where it is in a row that it reaches from end to end, else it moves behind each round.
    """
    stride, outputs = plane.along.stride, STEP_OUTPUTS[plane.along.stride]
    steps, odd = divmod(plane.along.output, outputs)
    moves = steps > MOST_STEPS or (plane.along.output - 1) * step_bytes > MOST_OFFSET
    most = min(MOST_STEPS, MOST_OFFSET // (outputs * step_bytes))
    steps_a_round = chunk(steps, most) if moves else steps
    rounds = steps // steps_a_round if moves else 1
    chunk_bytes = steps_a_round * outputs * step_bytes
    loaded = 2 * (1 + steps + odd)
    return {
        "stride": stride,
        "step_outputs": outputs,
        "step_bytes": step_bytes,
        "rounds": rounds,
        "chunk": steps_a_round,
        "rest": steps - rounds * steps_a_round,
        "rest_offset": 0 if moves else chunk_bytes,
        "moved": chunk_bytes if moves else 0,
        "odd": odd,
        "row_surplus": 2 * (stride * row_width(plane) - loaded),
        "last_element": plane.down.output * stride * row_width(plane),
        "advanced": rounds * chunk_bytes if moves else 0,
    }


def _taps(filters: Array, plane: Plane) -> Array:
    """Filters [channels, 3, 3] as int8 [channels, 12]: of each row the first, second or third, second, third.

    Bytes 0 and 2 of such a word are a pair. Bytes 1 and 3 are the pair of the second and the third with stride 1; with
    stride 2 both are the third, which is paired with that of another row.
    """
    order = [0, 1, 1, 2] if plane.along.stride == 1 else [0, 2, 1, 2]
    return filters[:, :, order].reshape(len(filters), -1).astype(np.int8)
