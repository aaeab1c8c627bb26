"""Turns a 3x3 depthwise convolution into the numbers and arrays of its kernel for Armv7-M cores that multiplies pairs.

A row of a plane is read in words of two elements: the upper half of (x0 + (x1 << 16)) * (w1 + (w0 << 16)) + 0x8000,
modulo 2**32, is x0 * w0 + x1 * w1. A window that begins at an even element has its first two taps in one word and the
third in the next one; one that begins at an odd element has its first in one word, two in the next. So the outputs of
stride 1 are computed in two passes, with six words of taps each; those of stride 2 in one. The next window's first
word is this one's second: a row of the window is read once a pass.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import depthwise_v7m, dsp, lanes, planes
from tinygen.ops.depthwise_v7m import ELEMENT_BYTES, MOST_ADVANCE, MOST_OFFSET, SUM_BYTES, TAPS
from tinygen.ops.planes import OPERANDS, Axis, Plane
from tinygen.ops.spec import Constant, Context, Kernel, Rows
from tinygen.ops.unroll import chunk
from tinygen.ops.window import convolution_geometry

TEMPLATE = "kernels/depthwise_conv_2d.pairs.v7m.c.j2"
WORD = 2
"""Elements."""
LEAST_OUTPUTS = 4
"""Of a row, or half as many with stride 2: each pass begins with three words that are read in no step."""
MOST_STEPS = 4
"""Outputs of a pass over a row that are printed one after another, an even number; more become a loop."""
MOST_PAIRS = 6
"""Words of a row that are copied one after another."""
STEP_BYTES, REST_BYTES, LEAN_BYTES = 100, 330, 700
"""About the code of an output that is printed and of all the rest; that of the kernel without pairs."""
OUTPUT_CYCLES, CHANNEL_CYCLES = 8, 30
"""About what it saves for an output, and takes more for a channel."""
SCALED = 4
"""Sums of a row that are scaled one after another."""


def applies(context: Context) -> bool:
    """3x3 kernels with stride 1 or 2 along rows of some outputs, pairs of taps whose products fit."""
    window = convolution_geometry(context)
    if window.kernel != (3, 3) or window.dilation != (1, 1):
        return False
    ways = _ways(context)
    return bool(ways) and _fit(planes.filters(dsp.sums(context, OPERANDS), ways[0]))


def params(context: Context) -> Kernel:
    """One multiplication an output where that is proved exact, in the loop; else rows of sums, scaled afterwards."""
    return replace(_kernel(context, _ways(context)[0]), overlaps=(planes.overlap(context),))


def rows(context: Context) -> Rows | None:
    """A row of it by the kernel that computes its outputs in order."""
    return depthwise_v7m.rows(context)


def code_bytes(context: Context) -> int:
    """About those of its function."""
    along = _ways(context)[0].along
    passes = WORD // along.stride
    printed = sum(each["steps"] + each["behind"] for each in (_pass(along, first, passes) for first in range(passes)))
    return REST_BYTES + STEP_BYTES * printed


def saved_cycles(context: Context) -> float:
    """About what the kernel takes more that computes one output after another."""
    planes_of = context.output.shape[0] * context.output.shape[3]
    return OUTPUT_CYCLES * context.output.size - CHANNEL_CYCLES * planes_of


def _fit(taps: Array) -> bool:
    """Whether the products of neighbouring taps [channels, rows, 3] with any inputs are an int16 together."""
    return bool(np.all(lanes.fits_lane(taps[:, :, :2])) and np.all(lanes.fits_lane(taps[:, :, 1:])))


def _kernel(context: Context, plane: Plane) -> Kernel:
    found = dsp.sums(context, OPERANDS)
    width, scaling = _width(plane.along), planes.scaling(context, found)
    fused = scaling.values["form"] == "line"
    out_step = planes.steps(plane, context)[0] if fused else SUM_BYTES
    passes = WORD // plane.along.stride
    values: dict[str, Any] = {
        **planes.values(context, plane, width, scaling),
        "tap_scale": 1,
        "tap_bits": scaling.bits,
        "fused": fused,
        "scaled_at_once": chunk(plane.along.output, SCALED),
        "down_stride": plane.down.stride,
        **_copied(plane.along),
        "row_bytes": ELEMENT_BYTES * width,
        "row_words": width // WORD,
        "out_step": out_step,
        "step_bytes": passes * out_step,
        "passes": [_pass(plane.along, first, passes) for first in range(passes)],
    }
    sums_bytes = 0 if fused else SUM_BYTES * plane.along.output
    taps = planes.filters(found, plane).reshape(-1, TAPS)
    constants = Constant("weights", taps.astype(np.int8)), *scaling.constants
    plane_bytes = planes.plane_bytes(plane, width)
    return Kernel(values | {"plane_bytes": plane_bytes}, (0,), constants, plane_bytes + sums_bytes)


def _pass(along: Axis, first: int, passes: int) -> dict[str, int]:
    """Its outputs of a row: all, those in a round, rounds, those behind them."""
    count = len(range(first, along.output, passes))
    steps = min(count, MOST_STEPS)
    return {"count": count, "steps": steps, "rounds": count // steps, "behind": count % steps}


def _copied(along: Axis) -> dict[str, int]:
    """What of a row is copied: whether it begins with half a word, whole words, whether it ends with half a one."""
    lead = along.pad % WORD
    pairs, tail = divmod(along.read - lead, WORD)
    return {"lead": lead, "pairs": pairs, "pairs_at_once": chunk(pairs, MOST_PAIRS) if pairs else 0, "tail": tail}


def _width(along: Axis) -> int:
    """Elements of a row, in whole words."""
    return along.reach + along.reach % WORD


def _ways(context: Context) -> list[Plane]:
    """The ways to lay out a plane that the instructions can reach, that with the fewest rows first."""
    ways = planes.planes(convolution_geometry(context))
    return sorted((way for way in ways if _reaches(way, *planes.steps(way, context))), key=lambda way: way.down.output)


def _reaches(plane: Plane, step_bytes: int, row_bytes: int) -> bool:
    """Whether a row has some outputs, and what follows is near enough for its instructions."""
    stride = plane.along.stride
    if stride not in (1, WORD) or stride * plane.along.output < LEAST_OUTPUTS:
        return False
    plane_row = ELEMENT_BYTES * _width(plane.along)
    advance = max(plane.down.stride * plane_row, row_bytes, (plane.along.output + 1) * step_bytes)
    return max(2 * plane_row, WORD * step_bytes) <= MOST_OFFSET and advance <= MOST_ADVANCE
