"""Turns a depthwise convolution into the numbers and words of its kernel for Helium.

Each channel of the rows under a row of outputs becomes a plane, [column][row of the window]: what lies under an output
is then one run of bytes, and its sum one multiplication of vectors. The next row begins a byte further on: what it
writes over is what the row that no window reaches any longer had in the next column. In the gaps of a window weights
are zero.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from tinygen.ir import Array
from tinygen.ops import dsp, mve, planes, weighted, window_rows, window_walk
from tinygen.ops.mve import CHANNELS, LANES, Finish
from tinygen.ops.spec import Constant, Context, Kernel, Rows
from tinygen.ops.window import Geometry, convolution_geometry, covering

OPERANDS = weighted.Operands(channel_axis=3)
TEMPLATE = "kernels/depthwise_conv_2d.mve.c.j2"
PLANES = 8
"""Channels that are copied together: one byte of each, at offsets of 16 bits."""
MOST_PLANE = 65535 // (PLANES - 1)
MOST_STEPS = 7
"""Vectors of a window: their weights are near enough for a load's offset."""
MOST_MOVE = 4095
"""What one instruction adds to an address."""
MOST_COLUMNS = 6
"""Copied one after another: each has a register of offsets."""
COPY_INSTRUCTIONS = 3
"""Of a loop over such columns, beside two for each, and of one over eight channels of a border."""
BEGIN_INSTRUCTIONS = 20
"""About what it takes to begin with another row of a plane, or with another output's."""
GROUPS = 16, 8
"""Channels that a row is computed in to need less scratch."""


@dataclass(frozen=True)
class Planes:
    """How the input lies in scratch: a plane for each channel, a column's bytes next to each other."""

    window: Geometry
    channels: int

    @property
    def height(self) -> int:
        """Rows of the window, and bytes of a column."""
        return self.window.kernel[0]

    @property
    def reach(self) -> int:
        """Columns under a row of outputs."""
        return (self.window.output[1] - 1) * self.window.stride[1] + self.window.kernel[1]

    @property
    def columns(self) -> int:
        """Of the input, those under any output."""
        return min(self.window.input[1], self.reach - self.window.pad[1])

    @property
    def border(self) -> int:
        """Columns in front of a plane, which are also those behind the one before."""
        return max(self.window.pad[1], self.reach - self.window.pad[1] - self.columns)

    @property
    def bytes(self) -> int:
        """Of a plane."""
        return self.height * (self.border + self.columns)

    @property
    def first(self) -> int:
        """Where what lies under the first output begins."""
        return self.height * (self.border - self.window.pad[1])

    @property
    def steps(self) -> int:
        """Vectors of a window."""
        return -(-self.height * self.window.kernel[1] // LANES)

    @property
    def advance(self) -> int:
        """Bytes to the next output's window, from the last vector of this one's."""
        return self.height * self.window.stride[1] - LANES * (self.steps - 1)

    @property
    def border_instructions(self) -> int:
        """About those that write a row's border."""
        return self.border * ((self.channels // PLANES + 1) * COPY_INSTRUCTIONS + BEGIN_INSTRUCTIONS)

    @property
    def copy_instructions(self) -> int:
        """About those that copy a row."""
        at_once, groups = self.columns_at_once(self.channels), -(-self.channels // PLANES)
        a_round = groups * (2 * at_once + COPY_INSTRUCTIONS) + COPY_INSTRUCTIONS
        return BEGIN_INSTRUCTIONS + -(-self.columns // at_once) * a_round

    def columns_at_once(self, pixel_bytes: int) -> int:
        """Columns copied one after another; when some are left over, others are copied with them again."""
        most = min(self.columns, MOST_COLUMNS, max(1, MOST_MOVE // pixel_bytes))
        return min(range(most, 0, -1), key=lambda n: -(-self.columns // n) * (2 * n + COPY_INSTRUCTIONS))

    def scratch_bytes(self, rows: int) -> int:
        """Room for planes that move on until so many rows were copied, and for all that the vectors reach."""
        moved = rows - self.height
        last = self.first + self.height * (self.window.output[1] - 1) * self.window.stride[1]
        read = (self.channels - 1) * self.bytes + last + LANES * self.steps
        written = self.channels * self.bytes + self.height * self.border
        return -(-(max(read, written) + moved) // 4) * 4


def applies(context: Context) -> bool:
    """A block of channels, distances that fit the instructions, a scaling that vectors have."""
    window, x, filters = covering(convolution_geometry(context)), context.input(0), context.output.shape[3]
    if filters < CHANNELS:
        return False
    layout = Planes(window, x.shape[3])
    if layout.columns < 1 or layout.bytes > MOST_PLANE or layout.steps > MOST_STEPS:
        return False
    if max(x.shape[3], filters) > MOST_MOVE or not -mve.MOST_OFFSET <= layout.advance <= mve.MOST_OFFSET:
        return False
    return mve.can_finish(context, OPERANDS)


def params(context: Context) -> Kernel:
    """Numbers for the template, the words of all blocks of channels, and room for the planes."""
    window = covering(convolution_geometry(context))
    rule = window_walk.by_new_rows(context, window)
    reach = (window.output[0] - 1) * window.stride[0] + window.kernel[0]
    kernel = _kernel(context, reach, context.input(0).shape[3])
    values = {**kernel.values, "by_row": False, "apart": window_walk.words(rule)}
    return replace(kernel, values=values, overlaps=(rule,))


def rows(context: Context) -> Rows | None:
    """The same for one row of the output, all channels at once or in groups: all rows under it are copied for each."""
    if not window_rows.possible(context):
        return None
    channels = context.input(0).shape[3]
    small = next((group for group in GROUPS if channels % group == 0 and channels > group), 0)
    small = small if context.output.shape[3] == channels else 0
    return replace(_rows(context, channels), small=_rows(context, small) if small else None)


def _rows(context: Context, group: int) -> Rows:
    """Rows of so many channels at a time."""
    window, channels = covering(convolution_geometry(context)), context.input(0).shape[3]
    whole, part = Planes(window, channels), Planes(window, group)
    copied = window.kernel[0] * (channels // group * part.copy_instructions + part.border_instructions)
    once = (window.input[0] + window.pad[0]) * (whole.copy_instructions + whole.border_instructions)
    extra = window.output[0] * (copied + BEGIN_INSTRUCTIONS) - once
    kernel, copies = _kernel(context, window.kernel[0], group), group == channels
    if not copies:
        kernel = replace(kernel, overlaps=(planes.row_overlap(context),))
    apart = window_rows.OVER_THEM if copies else planes.row_words(context)
    kernel = replace(kernel, values={**kernel.values, "by_row": True, "apart": apart})
    return window_rows.rows(window, kernel, TEMPLATE, copies, max(0, extra))


def _kernel(context: Context, rows: int, group: int) -> Kernel:
    """Numbers and words; scratch for so many channels, of which so many rows are copied before planes begin anew."""
    x, found, sparse = context.input(0), dsp.sums(context, OPERANDS), convolution_geometry(context)
    finish = mve.finish(context, OPERANDS, found)
    assert finish is not None  # proved by applies
    window = covering(sparse)
    layout, filters = Planes(window, group), len(found.rows)
    taps = np.zeros((filters, *window.kernel), found.rows.dtype)
    taps[:, :: sparse.dilation[0], :: sparse.dilation[1]] = found.rows.reshape(filters, *sparse.kernel)
    words = _words(taps, finish)
    starts = mve.block_starts(filters)
    most = window.output[0] * window.stride[0] + window.kernel[0] - window.stride[0] - window.pad[0]
    values = {
        **window.values(),
        "gaps": sparse.dilation if window.kernel != sparse.kernel else None,
        "batches": x.shape[0],
        "in_elements": x.size // x.shape[0],
        "out_elements": context.output.size // x.shape[0],
        "channels": x.shape[3],
        "group": group,
        "out_channels": filters,
        "multiplicity": filters // x.shape[3],
        "fill": x.zero_point,
        "rows_outside": window.pad[0] > 0 or most > window.input[0],
        "plane_bytes": layout.bytes,
        "border": layout.border,
        "columns": layout.columns,
        "columns_at_once": layout.columns_at_once(x.shape[3]),
        "first_window": layout.first,
        "steps": layout.steps,
        "advance": layout.advance,
        "blocks": len(starts),
        "block_words": len(words) // len(starts),
        "finish": finish.values,
    }
    return Kernel(values, (0,), (Constant("words", words),), layout.scratch_bytes(rows))


def _words(rows: Array, finish: Finish) -> Array:
    """All blocks of 4 channels, each a run of int32 words.

    The weights of each channel, [column][row of the window], 16 at a time, zeros behind them; what the channels need
    to be stored.
    """
    lanes = mve.in_lanes(rows.swapaxes(1, 2).reshape(len(rows), -1))
    runs: list[bytes] = []
    for first in mve.block_starts(len(rows)):
        block = slice(first, first + CHANNELS)
        runs.append(lanes[block].reshape(CHANNELS, -1, LANES).swapaxes(0, 1).tobytes())
        runs += [column[block].astype("<i4").tobytes() for column in finish.columns]
    return np.frombuffer(b"".join(runs), "<i4").astype(np.int32)
