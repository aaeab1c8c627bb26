"""Turns a convolution into the order in which its input lies in scratch, for cores with the DSP extension.

The rows of the input under a row of outputs are widened to int16, turned so that what one column of the window reads
lies together: [column][row of the window][channel], the input's zero point where the window reaches outside.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tinygen.ops import byte_pairs
from tinygen.ops.byte_pairs import WORD_BYTES
from tinygen.ops.spec import Context
from tinygen.ops.window import Geometry, convolution_geometry

CHANNELS = 4
"""Of a block: with two outputs 8 sums, as many as the registers hold beside what the inner loop needs."""
MOST_OFFSET = 4095
"""Bytes that a load or store reaches from its register."""
TAP_CYCLES = 14.5
LONE_CYCLES = 0.65
"""Of those of two outputs, for one alone."""
COPY_CYCLES = 2


@dataclass(frozen=True)
class Axis:
    """One axis of the window."""

    input: int
    kernel: int
    output: int
    stride: int
    dilation: int
    pad: int

    @property
    def apart(self) -> int:
        """Elements of the input from one column of scratch to the next: a window of one reads no others."""
        return self.stride if self.kernel == 1 else 1

    @property
    def step(self) -> int:
        """Columns of scratch from one output to the next; a lone output is computed twice."""
        if self.output == 1:
            return 0
        return 1 if self.kernel == 1 else self.stride

    @property
    def columns(self) -> int:
        """Columns of scratch."""
        return (self.output - 1) * self.step + (self.kernel - 1) * self.dilation + 1

    @property
    def inside(self) -> tuple[int, int]:
        """The first column that lies in the input, and the one behind the last."""
        first = -(-self.pad // self.apart)
        return first, max(first, min(self.columns, (self.input - 1 + self.pad) // self.apart + 1))

    @property
    def padded(self) -> bool:
        """Whether any window reaches outside."""
        reach = (self.output - 1) * self.stride + (self.kernel - 1) * self.dilation
        return self.pad > 0 or reach - self.pad >= self.input


@dataclass(frozen=True)
class Layout:
    """How the input lies in scratch: columns along one of the two axes, the window's rows down the other."""

    down: Axis
    along: Axis
    channels: int
    turned: bool
    """Whether its columns are rows of the input."""

    @property
    def elements(self) -> int:
        """Of a column: whole words."""
        return (self.down.kernel * self.channels + 1) // 2 * 2

    @property
    def column_bytes(self) -> int:
        """Of int16 elements."""
        return self.elements * 2

    @property
    def scratch_bytes(self) -> int:
        """All columns."""
        return self.along.columns * self.column_bytes

    @property
    def reaches(self) -> bool:
        """Whether a load reaches the last column under two outputs."""
        last = self.along.step + (self.along.kernel - 1) * self.along.dilation
        return last * self.column_bytes <= MOST_OFFSET

    @property
    def taps(self) -> list[int]:
        """The window's columns as they are taken: what the second output reads serves the first in the next step."""
        hop = self.along.step // self.along.dilation if self.along.step % self.along.dilation == 0 else 0
        return sorted(range(self.along.kernel), key=lambda tap: (tap % hop, tap) if hop else (0, tap))

    @property
    def order(self) -> list[tuple[int, int]]:
        """The two weights of each step, as indices into a filter [KH, KW, channels]; -1 is none."""
        return [
            (self._weight(tap, first), self._weight(tap, second))
            for first, second in self._words()
            for tap in self.taps
        ]

    @property
    def addresses(self) -> list[int]:
        """Bytes of scratch in front of what each step of `order` reads for the first output."""
        taps = [tap * self.along.dilation * self.column_bytes for tap in self.taps]
        return [tap + word * WORD_BYTES for word in range(self.elements // 2) for tap in taps]

    def _words(self) -> list[tuple[int, int]]:
        """The elements of a column in the words of scratch; -1 is none."""
        count = self.down.kernel * self.channels
        if self.channels % WORD_BYTES == 0:
            return byte_pairs.in_order_of_bytes(count)
        return [(first, first + 1 if first + 1 < count else -1) for first in range(0, count, 2)]

    def _weight(self, tap: int, element: int) -> int:
        if element < 0:
            return -1
        row, channel = divmod(element, self.channels)
        pixel = tap * self.down.kernel + row if self.turned else row * self.along.kernel + tap
        return pixel * self.channels + channel

    def cycles(self, filters: int) -> float:
        """About what it takes: enough to choose between the two ways."""
        pairs = self.along.output // 2 + self.along.output % 2 * LONE_CYCLES
        blocks = pairs * -(-filters // CHANNELS)
        taps = blocks * self.along.kernel * (self.elements // 2) * TAP_CYCLES
        return self.down.output * (taps + self.along.columns * self.elements * COPY_CYCLES)


def layout_of(context: Context) -> Layout:
    """How the input lies in scratch."""
    return layouts(context)[0]


def row_layout_of(context: Context) -> Layout | None:
    """The same for one row of the output: its columns lie along the width."""
    return next((way for way in layouts(context) if not way.turned), None)


def layouts(context: Context) -> list[Layout]:
    """The ways to lay out the input that the instructions can reach, the cheapest first."""
    window, channels, filters = convolution_geometry(context), context.input(1).shape[3], context.output.shape[3]
    fields = (window.input, window.kernel, window.output, window.stride, window.dilation, window.pad)
    down, along = (Axis(*(pair[axis] for pair in fields)) for axis in range(2))
    ways = [Layout(down, along, channels, False), Layout(along, down, channels, True)]
    near = [
        way for way in ways if way.reaches and distances(way, window, filters)["pixel_bytes"] + CHANNELS <= MOST_OFFSET
    ]
    return sorted(near, key=lambda way: way.cycles(filters))


def distances(layout: Layout, window: Geometry, filters: int, groups: int = 1) -> dict[str, int]:
    """Between neighbours in the tensors, down and along; along the outputs, none where there is one only."""
    depth = groups * layout.channels
    in_steps = window.input[1] * depth, depth
    out_steps = window.output[1] * filters, filters
    down, along = (1, 0) if layout.turned else (0, 1)
    return {
        "in_down_step": in_steps[down],
        "in_along_step": in_steps[along] * layout.along.apart,
        "first_element_offset": (layout.along.inside[0] * layout.along.apart - layout.along.pad) * in_steps[along],
        "out_down_step": out_steps[down],
        "pixel_bytes": out_steps[along] if layout.along.output > 1 else 0,
    }


def loads(layout: Layout) -> list[dict[str, Any]]:
    """For each tap the registers of its two inputs, and the columns to be loaded: what the tap before has stays."""
    held: dict[int, str] = {}
    taps = []
    for tap in layout.taps:
        first = tap * layout.along.dilation
        columns = dict.fromkeys((first, first + layout.along.step))
        kept = {column: register for column, register in held.items() if column in columns}
        free = [register for register in ("x0", "x1") if register not in kept.values()]
        loads = [
            (register, column) for register, column in zip(free, (c for c in columns if c not in kept), strict=False)
        ]
        held = kept | {column: register for register, column in loads}
        taps.append({"loads": loads, "first": held[first], "second": held[first + layout.along.step]})
    return taps
