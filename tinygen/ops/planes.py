"""Turns a depthwise convolution into planes: one channel at a time as int16 rows, inside a border of the zero point.

The rows of a plane run along the axis of the window that costs less. Where one multiplication scales the sums exactly,
the taps are stored shifted left, and the output's zero point lies in the start of each sum.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen import quant, requantize
from tinygen.ir import Array
from tinygen.ops import dsp, weighted, window_rows, window_walk
from tinygen.ops.spec import Constant, Context, Kernel, Overlap, Rows
from tinygen.ops.unroll import chunk
from tinygen.ops.window import Geometry, convolution_geometry

OPERANDS = weighted.Operands(channel_axis=3)
LINE_BITS = 8
"""The shift of taps whose sums take one multiplication: int16 holds no more."""
MOST_COPIES = 12
"""Elements of a row that are widened one after another."""
COPY_CYCLES = 2.4
"""About what it takes to widen one."""


@dataclass(frozen=True)
class Axis:
    """One axis of the window."""

    input: int
    kernel: int
    output: int
    stride: int
    pad: int

    @property
    def reach(self) -> int:
        """Elements of the padded input that the windows cover."""
        return (self.output - 1) * self.stride + self.kernel

    @property
    def read(self) -> int:
        """Elements of the input that they cover; the rest of the reach is border."""
        return min(self.input, self.reach - self.pad)


@dataclass(frozen=True)
class Plane:
    """How one channel lies in scratch: rows along one of the two axes, down the other."""

    down: Axis
    along: Axis
    turned: bool
    """Whether its rows are columns of the input."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """How sums become outputs."""

    values: Mapping[str, Any]
    """What templates/kernels/planes.j2 prints of it."""
    bits: int
    """Taps are stored shifted left by so much."""
    constants: tuple[Constant, ...]
    """Of all channels; the kernel takes them behind the weights."""


def planes(window: Geometry) -> list[Plane]:
    """Both ways to lay out the channels under a window without dilation."""
    fields = (window.input, window.kernel, window.output, window.stride, window.pad)
    down, along = (Axis(*(pair[axis] for pair in fields)) for axis in range(2))
    ways = [Plane(down, along, False), Plane(along, down, True)]
    return [way for way in ways if min(way.down.read, way.along.read) > 0]


def filters(found: dsp.Sums, plane: Plane) -> Array:
    """The filters as the plane lies: [channels, down, along]."""
    sizes = plane.down.kernel, plane.along.kernel
    rows: Array = found.rows.reshape(-1, *(sizes[::-1] if plane.turned else sizes))
    return rows.transpose(0, 2, 1) if plane.turned else rows


def steps(plane: Plane, context: Context) -> tuple[int, int]:
    """Outputs of one channel: bytes from one to the next along a row, and from row to row."""
    _, _, width, channels = context.output.shape
    return (width * channels, channels) if plane.turned else (channels, width * channels)


def row_plane(window: Geometry) -> Plane | None:
    """What lies under one row of outputs, as if it were the whole of a taller input; None with nothing to read."""
    wide = next((way for way in planes(window) if not way.turned), None)
    return wide and replace(wide, down=Axis(window.kernel[0], window.kernel[0], 1, window.stride[0], 0))


def values(context: Context, plane: Plane, width: int, scaled: Scaling, by_row: bool = False) -> dict[str, Any]:
    """What templates/kernels/planes.j2 prints, for rows of `width` elements; `by_row`, with a `row_plane`."""
    x, window = context.input(0), convolution_geometry(context)
    in_steps = (x.shape[2] * x.shape[3], x.shape[3])
    out_along, out_down = steps(plane, context)
    return {
        **window.values(),
        "scaling": scaled.values,
        "tap_scale": 2**scaled.bits,
        "batches": x.shape[0],
        "in_elements": x.size // x.shape[0],
        "out_elements": context.output.size // x.shape[0],
        "channels": x.shape[3],
        "multiplicity": context.output.shape[3] // x.shape[3],
        "out_channels": context.output.shape[3],
        "fill": x.zero_point,
        "turned": plane.turned,
        "width": width,
        "plane_rows": plane.down.reach,
        "plane_bytes": plane_bytes(plane, width),
        "bordered": plane.down.read * plane.along.read < plane.down.reach * width,
        "copied": chunk(plane.along.read, MOST_COPIES),
        "read_down": plane.down.read,
        "read_along": plane.along.read,
        "pad_down": plane.down.pad,
        "pad_along": plane.along.pad,
        "in_down_step": in_steps[1 if plane.turned else 0],
        "in_along_step": in_steps[0 if plane.turned else 1],
        "out_down": plane.down.output,
        "out_along": plane.along.output,
        "out_down_step": out_down,
        "out_along_step": out_along,
        "by_row": by_row,
        "rows_padded": bool(window.pad[0])
        or (window.output[0] - 1) * window.stride[0] + window.kernel[0] > window.input[0],
        "apart": row_words(context) if by_row else window_walk.words(overlap(context), x.shape[3]),
    }


def overlap(context: Context) -> Overlap:
    """Where the output may lie over the input."""
    return window_walk.by_planes(context, convolution_geometry(context))


def row_overlap(context: Context) -> Overlap:
    """Where a row of the output may lie over one of the input: with its pixels on pixels."""
    *_, width, depth = context.input(0).shape
    *_, out_width, filters = context.output.shape
    free = range(width - out_width + 1) if depth == filters else ()
    return Overlap(0, exact=tuple(pixel * depth for pixel in free))


def row_words(context: Context) -> str:
    """The same as the comment above a kernel says it."""
    if context.input(0).shape[3] == 1:
        return window_rows.OVER_THEM
    free = row_overlap(context).exact
    return window_rows.APART + (f", or over one from pixel 0 to {len(free) - 1} on" if free else "")


def rows(
    context: Context,
    kernel: Kernel,
    template: str,
    channel_cycles: int,
    copy_cycles: float = COPY_CYCLES,
    whole_cycles: float = COPY_CYCLES,
) -> Rows:
    """The record of a kernel of a `row_plane`; each row takes it so many cycles more a channel, and copies again."""
    window, depth = convolution_geometry(context), context.input(0).shape[3]
    copied = window.kernel[0] * window.output[0] * copy_cycles - window.input[0] * whole_cycles
    extra = round(depth * (copied * window.input[1] + window.output[0] * channel_cycles))
    if kernel.values["apart"] != window_rows.APART:
        kernel = replace(kernel, overlaps=(row_overlap(context),))
    return window_rows.rows(window, kernel, template, depth == 1, extra)


def plane_bytes(plane: Plane, width: int) -> int:
    """Of int16 elements."""
    return plane.down.reach * width * 2


def scaling(context: Context, found: dsp.Sums) -> Scaling:
    """The cheapest scaling that is proved exact for all channels."""
    limits = weighted.activation_range(context)
    whole = limits == quant.RANGES["int8"]
    clamp = None if whole else {"low": limits[0], "high": limits[1]}
    line = _line(context, found) if whole else None
    if line is not None:
        constants = Constant("start", line.offset), Constant("multiplier", line.multiplier)
        return Scaling({"form": "line", "shift": line.shift, "clamp": None, "addend": 0}, LINE_BITS, constants)
    plain = weighted.fixed_point(context, OPERANDS)
    zero_point = context.output.zero_point
    exact = requantize.roundings(plain.multiplier, plain.shift, found.bias, found.range, zero_point)
    if exact is not None:
        table = np.stack([exact.offset, exact.multiplier, exact.addend, exact.shift], axis=1)
        return Scaling({"form": "roundings", "clamp": clamp}, 1, (Constant("roundings", table),))
    return _plain(context, found, plain)


def moved_scaling(context: Context, found: dsp.Sums) -> Scaling | None:
    """The same with the output's zero point behind the multiplication: what nearly constant channels may need.

    An offset that holds the zero point too leaves the steps of such a channel fewer bits. None where there is no line.
    """
    if weighted.activation_range(context) != quant.RANGES["int8"]:
        return None
    line = requantize.line(dsp.two_roundings(context, OPERANDS, found), LINE_BITS)
    if line is None:
        return None
    constants = Constant("start", line.offset), Constant("multiplier", line.multiplier)
    values = {"form": "line", "shift": line.shift, "clamp": None, "addend": line.addend}
    return Scaling(values, LINE_BITS, constants)


def _line(context: Context, found: dsp.Sums) -> requantize.Line | None:
    """One multiplication for each channel, the output's zero point in its offset."""
    wanted = dsp.two_roundings(context, OPERANDS, found)
    return requantize.line(replace(wanted, zero_point=0), LINE_BITS)


def _plain(context: Context, found: dsp.Sums, plain: weighted.Scaling) -> Scaling:
    """As in plain C, but for the input's zero point, which is in the bias."""
    arrays = weighted.constants(context, OPERANDS, plain)
    rest = tuple(constant for constant in arrays if constant.role in ("multiplier", "shift"))
    values = weighted.values(context, OPERANDS, plain) | {"form": "plain"}
    return Scaling(values, 0, (Constant("bias", found.bias.astype(np.int32)), *rest))


def weights(taps: Array, scaled: Scaling) -> Constant:
    """Taps [channels, elements] as the scaling takes their sums."""
    return Constant("weights", (taps << scaled.bits).astype(np.int16))
