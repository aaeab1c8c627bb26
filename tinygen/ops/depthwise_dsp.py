"""Turns a depthwise convolution into the numbers and arrays of its kernel for cores with the DSP extension.

One channel at a time: its plane is widened to int16 in scratch, inside a border that holds the input's zero point. The
rows of the plane run along the axis that costs less. Taps lie in pairs, as SMLAD takes them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen import quant, requantize
from tinygen.ir import Array
from tinygen.ops import dsp, weighted
from tinygen.ops.spec import Constant, Context, Kernel
from tinygen.ops.window import Geometry, convolution_geometry

OPERANDS = weighted.Operands(channel_axis=3)
SCALE_BITS = 8
"""Taps are stored shifted left by so much where one multiplication scales the sum: most that int16 holds."""
MOST_OFFSET = 4095
"""Bytes that a load or store reaches from its register."""
MOST_ADVANCE = 65535
"""What one instruction puts into a register."""
MOST_STEPS = 6
"""Steps of a row that are printed one after another; more become a loop."""
MOST_COPIES = 12
"""Elements of a row that are widened one after another."""
STEP_OUTPUTS = {1: 2, 2: 1}
"""Stride -> outputs of a step of the inner loop."""
SUM_BYTES = 4
STEP_CYCLES = {1: 24, 2: 13}
ROW_CYCLES = 14


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

    @property
    def stride(self) -> int:
        """The stride of both axes."""
        return self.along.stride

    @property
    def width(self) -> int:
        """Elements of a row: whole words."""
        return (self.along.reach + 1) // 2 * 2

    @property
    def steps(self) -> int:
        """Whole steps of the inner loop in a row."""
        return self.along.output // STEP_OUTPUTS[self.stride]

    @property
    def cycles(self) -> int:
        """About what the inner loop costs: enough to choose between the two ways."""
        steps = -(-self.along.output // STEP_OUTPUTS[self.stride])
        return self.down.output * (ROW_CYCLES + steps * STEP_CYCLES[self.stride])


def covers(context: Context) -> bool:
    """3x3 kernels with stride 1 or 2, one filter a channel, whose offsets fit the instructions."""
    window, channels = convolution_geometry(context), context.input(0).shape[3]
    square = window.kernel == (3, 3) and window.stride in ((1, 1), (2, 2)) and window.dilation == (1, 1)
    return square and context.input(1).shape[3] == channels and bool(_planes(window, channels))


def params(context: Context) -> Kernel:
    """One multiplication an output where that is proved exact, else sums that are scaled as in plain C."""
    x, found = context.input(0), dsp.sums(context, OPERANDS)
    window, channels = convolution_geometry(context), x.shape[3]
    plane = _planes(window, channels)[0]
    line, distances = _line(context, found), _distances(plane, window, channels)
    scaling = weighted.fixed_point(context, OPERANDS)
    taps = _taps(found.rows.reshape(channels, 3, 3), plane)
    values = {
        **window.values(),
        **weighted.values(context, OPERANDS, scaling),
        **distances,
        **(_steps(plane, distances["out_along_step"]) if line else _steps(plane, SUM_BYTES)),
        "batches": x.shape[0],
        "in_elements": x.size // x.shape[0],
        "out_elements": context.output.size // x.shape[0],
        "channels": channels,
        "fill": x.zero_point,
        "tap_words": taps.shape[1] // 2,
        "fused": line is not None,
        "line_shift": line.shift if line else 0,
        "scale": 2**SCALE_BITS,
        "has_bias": True,
    }
    plane_bytes = plane.down.reach * plane.width * 2
    if line:
        constants = _line_constants(taps, line)
        return Kernel(values, (0,), constants, plane_bytes)
    constants = _sum_constants(context, taps, found.bias, scaling)
    return Kernel(values, (0,), constants, plane_bytes + 4 * plane.along.output)


def _planes(window: Geometry, channels: int) -> list[Plane]:
    """The ways to lay out a plane that the instructions can reach, the cheapest first."""
    fields = (window.input, window.kernel, window.output, window.stride, window.pad)
    down, along = (Axis(*(pair[axis] for pair in fields)) for axis in range(2))
    ways = [Plane(down, along, False), Plane(along, down, True)]
    return sorted((way for way in ways if _reaches(way, window, channels)), key=lambda way: way.cycles)


def _reaches(plane: Plane, window: Geometry, channels: int) -> bool:
    """Whether rows, outputs and the way to the next row are near enough for their instructions."""
    if min(plane.down.read, plane.along.read) < 1:
        return False
    distances = _distances(plane, window, channels)
    step_bytes: int = distances["out_along_step"]
    advance: int = distances["out_down_step"] - _steps(plane, step_bytes)["advanced"]
    farthest = max(2 * distances["row_bytes"], 2 * STEP_OUTPUTS[plane.stride] * step_bytes)
    return farthest <= MOST_OFFSET and abs(advance) <= MOST_ADVANCE


def _distances(plane: Plane, window: Geometry, channels: int) -> dict[str, Any]:
    """Sizes of the plane, and the distances between its elements in the tensors."""
    in_steps = (window.input[1] * channels, channels)
    out_steps = (window.output[1] * channels, channels)
    down, along = (1, 0) if plane.turned else (0, 1)
    return {
        "turned": plane.turned,
        "stride": plane.stride,
        "width": plane.width,
        "row_bytes": plane.width * 2,
        "plane_rows": plane.down.reach,
        "plane_bytes": plane.down.reach * plane.width * 2,
        "bordered": plane.down.read * plane.along.read < plane.down.reach * plane.width,
        "copied": _chunk(plane.along.read, MOST_COPIES),
        "read_down": plane.down.read,
        "read_along": plane.along.read,
        "pad_down": plane.down.pad,
        "pad_along": plane.along.pad,
        "in_down_step": in_steps[down],
        "in_along_step": in_steps[along],
        "out_down": plane.down.output,
        "out_along": plane.along.output,
        "out_down_step": out_steps[down],
        "out_along_step": out_steps[along],
    }


def _steps(plane: Plane, step_bytes: int) -> dict[str, Any]:
    """A row as `rounds` of `chunk` steps, `rest` more steps, and one more output where stride 1 leaves one."""
    outputs = STEP_OUTPUTS[plane.stride]
    odd = plane.along.output % outputs
    most = max(1, min(MOST_STEPS, (MOST_OFFSET // step_bytes - odd) // outputs))
    chunk = _chunk(plane.steps, most)
    rounds = plane.steps // chunk if chunk else 1
    loaded = 2 * (1 + plane.steps + odd)
    return {
        "step_outputs": outputs,
        "step_bytes": step_bytes,
        "rounds": rounds,
        "chunk": chunk,
        "rest": plane.steps - rounds * chunk,
        "rest_offset": 0 if rounds > 1 else chunk * outputs * step_bytes,
        "odd": odd,
        "row_surplus": 2 * (plane.stride * plane.width - loaded),
        "last_element": plane.down.output * plane.stride * plane.width,
        "advanced": rounds * chunk * outputs * step_bytes if rounds > 1 else 0,
    }


def _chunk(count: int, most: int) -> int:
    """At most `most` of `count` things, so that few are left over when that is repeated."""
    return min(range(min(count, most), min(count, most) // 2, -1), key=lambda chunk: count % chunk, default=0)


def _taps(filters: Array, plane: Plane) -> Array:
    """Filters [channels, 3, 3] in the order of the inner loop, as the plane lies: [channels, words * 2]."""
    turned = filters.transpose(0, 2, 1) if plane.turned else filters
    if plane.stride == 1:
        return turned[:, :, [0, 1, 1, 2]].reshape(len(filters), -1)
    last = np.pad(turned[:, :, 2], ((0, 0), (0, 1)))
    return np.concatenate([turned[:, :, :2].reshape(len(filters), -1), last], axis=1)


def _line(context: Context, found: dsp.Sums) -> requantize.Line | None:
    """One multiplication for each channel, the output's zero point in its offset; None where that is not exact."""
    if weighted.activation_range(context) != quant.RANGES["int8"]:
        return None
    wanted = dsp.two_roundings(context, OPERANDS, found)
    return requantize.line(replace(wanted, zero_point=0), SCALE_BITS)


def _line_constants(taps: Array, line: requantize.Line) -> tuple[Constant, ...]:
    weights = (taps << SCALE_BITS).astype(np.int16)
    return Constant("weights", weights), Constant("start", line.offset), Constant("multiplier", line.multiplier)


def _sum_constants(context: Context, taps: Array, bias: Array, scaling: weighted.Scaling) -> tuple[Constant, ...]:
    """As in plain C, but for taps in pairs and the input's zero point in the bias."""
    plain = weighted.constants(context, OPERANDS, scaling)
    rest = tuple(constant for constant in plain if constant.role in ("multiplier", "shift"))
    return Constant("weights", taps.astype(np.int16)), Constant("bias", bias.astype(np.int32)), *rest
