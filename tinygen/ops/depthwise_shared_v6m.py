"""Turns a 3x3 depthwise convolution into a kernel for Armv6-M cores that layers of all sizes share.

It is the kernel of depthwise_v6m with all sizes among the numbers of the layer. A word holds two inputs of both halves
of the map, not of both halves of a row: rows are longer and fewer, what lies beside them is border in both lanes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import depthwise_v6m, dsp, floored_line, lanes, planes, weighted, window_walk
from tinygen.ops.depthwise_v6m import OPERANDS, TAPS, WORD_BYTES
from tinygen.ops.floored_line import FlooredLine
from tinygen.ops.planes import Plane
from tinygen.ops.spec import Constant, Context, Kernel, Leaner
from tinygen.ops.window import convolution_geometry

TEMPLATE = "kernels/depthwise_conv_2d.shared.v6m.c.j2"
LOW_BITS, SHIFT = 14, 18
"""Of all its layers, so that they are part of the instructions."""
LEAST_COLUMNS = 2
"""With inputs, of a row: they are copied two at a time."""
PAIRS_AT_ONCE = 3
"""Of those."""
OWN_BYTES = 2200
"""About what its function takes."""
PAIR_CYCLES, LONE_CYCLES, ROW_CYCLES = 182, 105, 35
"""About what four outputs take, two at the end of an odd row, and a row of outputs beside them."""
COPY_CYCLES, COPY_ROW_CYCLES, CHANNEL_CYCLES = 9.5, 25, 260
"""The same of a word that is copied, a row of them, and a channel."""


@dataclass(frozen=True)
class Halves:
    """How a channel lies in scratch, its rows as a `plane` has them; the lanes are halves of those."""

    plane: Plane

    @property
    def rows(self) -> int:
        """Of outputs, in each lane; the middle one is of both where they are odd."""
        return -(-self.plane.down.output // 2)

    @property
    def apart(self) -> int:
        """Rows of outputs from lane to lane."""
        return self.plane.down.output - self.rows

    @property
    def lines(self) -> int:
        """Rows of words."""
        down = self.plane.down
        return (self.rows - 1) * down.stride + down.kernel

    @property
    def cells(self) -> int:
        """All words."""
        return self.lines * self.plane.along.reach

    @property
    def spans(self) -> tuple[range, range]:
        """The rows of words with inputs in the lower lane, and in the upper one."""
        down = self.plane.down
        upper = down.pad - self.apart * down.stride
        return (
            range(down.pad, max(down.pad, min(self.lines, down.input + down.pad))),
            range(max(0, upper), max(0, upper, min(self.lines, down.input + upper))),
        )

    @property
    def fits(self) -> bool:
        """Whether rows of the upper lane alone come first, then some of both, then those of the lower lane alone."""
        lower, upper = self.spans
        ordered = upper.start <= lower.start <= upper.stop <= lower.stop
        small = self.cells * WORD_BYTES <= depthwise_v6m.MOST_PLANE_BYTES
        return ordered and small and self.plane.along.read >= LEAST_COLUMNS

    @property
    def cycles(self) -> float:
        """About what a channel takes."""
        words, (lower, upper) = self.plane.along.output, self.spans
        rows = self.rows * (words // 2 * PAIR_CYCLES + words % 2 * LONE_CYCLES + ROW_CYCLES)
        copied = (lower.stop - upper.start) * (COPY_ROW_CYCLES + COPY_CYCLES * self.plane.along.read)
        return CHANNEL_CYCLES + rows + copied


def applies(context: Context) -> bool:
    """A layer of depthwise_v6m, room for all rows of a channel, and a line with the shifts that the template knows."""
    return depthwise_v6m.applies(context) and _best(context) is not None and _line(context) is not None


def params(context: Context) -> Kernel:
    """Taps in the order of the rows in scratch, the numbers of the layer with what scales its sums, and scratch."""
    halves, floored, x = _best(context), _line(context), context.input(0)
    assert halves is not None and floored is not None  # proved by applies
    taps = planes.filters(dsp.sums(context, OPERANDS), halves.plane)
    products = depthwise_v6m.products_of(taps)
    limits = weighted.activation_range(context)
    values = {
        "stride": halves.plane.down.stride,
        "products": depthwise_v6m.PRODUCTS[: 2 if products.min() > 1 else 3],
        "right": LOW_BITS,
        "shift": SHIFT,
        "limits": None if limits == quant.RANGES["int8"] else limits,
    }
    weights = np.column_stack([taps.reshape(x.shape[3], TAPS), products]).astype(np.int8)
    scales = np.column_stack([floored.line.words, floored.threshold])
    layer = np.concatenate([_numbers(context, halves), scales.ravel()])
    constants = Constant("weights", weights), Constant("layer", lanes.as_int32(layer))
    rule = window_walk.by_planes(context, convolution_geometry(context))
    return Kernel(values, (0,), constants, halves.cells * WORD_BYTES, (rule,))


def extra_cycles(context: Context) -> float:
    """About what it takes more than the function for one shape."""
    halves = _best(context)
    assert halves is not None  # it applies
    return context.input(0).shape[0] * context.input(0).shape[3] * (halves.cycles - depthwise_v6m.cycles(context))


LEANER = Leaner("shared_v6m", depthwise_v6m.code_bytes, OWN_BYTES, extra_cycles)
"""It in place of a function for one shape."""


def _best(context: Context) -> Halves | None:
    """The faster way to lay out a channel."""
    ways = (Halves(plane) for plane in planes.planes(convolution_geometry(context)))
    return min((way for way in ways if way.fits), key=lambda way: way.cycles, default=None)


def _line(context: Context) -> FlooredLine | None:
    """One with the shifts that the template knows."""
    steps = dsp.two_roundings(context, OPERANDS, dsp.sums(context, OPERANDS))
    found = floored_line.search(steps, np.zeros(1, np.int64), len(steps.least), LOW_BITS, SHIFT)
    return found if found and found.line.shifts[0].tolist() == [LOW_BITS, SHIFT] else None


def _numbers(context: Context, halves: Halves) -> Array:
    """In the order of the template."""
    plane, x, y = halves.plane, context.input(0), context.output
    (in_down, in_along), (out_down, out_along) = (_steps(tensor.shape, plane) for tensor in (x, y))
    lower, upper = halves.spans
    down, along = plane.down, plane.along
    pitch, apart = along.reach, halves.apart
    numbers = [
        *(x.shape[0], x.size // x.shape[0], y.size // y.shape[0], x.shape[3]),
        *(halves.cells, x.zero_point, pitch),
        *(upper.start * pitch + along.pad, along.read, -(along.read // 2) % PAIRS_AT_ONCE),
        *(lower.start - upper.start, upper.stop - lower.start, lower.stop - upper.stop),
        *(in_down, in_along, apart * down.stride * in_down),
        *(halves.rows, along.output),
        *(out_down, out_along, apart * out_down),
    ]
    return np.array(numbers, np.int64)


def _steps(shape: tuple[int, ...], plane: Plane) -> tuple[int, int]:
    """Bytes from row to row of the plane, and along a row."""
    steps = shape[2] * shape[3], shape[3]
    return steps[::-1] if plane.turned else steps
