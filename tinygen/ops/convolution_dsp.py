"""Turns a convolution into the numbers and words of its kernel for cores with the DSP extension.

The rows of the input under a row of outputs are widened to int16 in scratch, turned so that what one column of the
window reads lies together: [column][row of the window][channel], the input's zero point where the window reaches
outside. Two outputs by four channels are computed at a time, by the byte pairs of ops/byte_pairs.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tinygen.ops import byte_pairs, dsp, weighted, window_rows, window_walk
from tinygen.ops.byte_pairs import WORD_BYTES
from tinygen.ops.spec import Constant, Context, Kernel, Rows
from tinygen.ops.unroll import chunk
from tinygen.ops.window import Geometry, convolution_geometry

TEMPLATE = "kernels/conv_2d.dsp.c.j2"
OPERANDS = weighted.Operands(channel_axis=0)
CHANNELS = 4
"""Of a block: with two outputs 8 sums, as many as the registers hold beside what the inner loop needs."""
MOST_OFFSET = 4095
"""Bytes that a load or store reaches from its register."""
MOST_TAPS = 18
"""Pairs of inputs under one output that are printed one after another: 1 kB of instructions; more become a loop."""
MOST_COPIES = 12
"""Words of four inputs, or bytes, that are widened one after another."""
TAP_CYCLES = 14.5
LONE_CYCLES = 0.65
"""Of those of two outputs, for one alone."""
COPY_CYCLES = 2
LEAST_PARTS, SMALL_SCRATCH_BYTES = 4, 1792
"""Of a row that is computed in parts."""
PART_CYCLES, COLUMN_CYCLES = 150, 7
"""About what it takes to begin another part of a row, and more for each row of a column that is copied by itself."""


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


def applies(context: Context) -> bool:
    """One group, offsets that fit the instructions, weights that can be paired, a scaling that is proved exact."""
    if context.input(1).shape[3] != context.input(0).shape[3] or not _layouts(context):
        return False
    found, scaling = dsp.sums(context, OPERANDS), weighted.fixed_point(context, OPERANDS)
    return byte_pairs.fit(found, CHANNELS) and byte_pairs.can_finish(
        context, scaling, found, lambda: dsp.two_roundings(context, OPERANDS, found)
    )


def params(context: Context) -> Kernel:
    """Numbers for the template, the words of all blocks, and room for the columns under a row of outputs."""
    layout, window = layout_of(context), convolution_geometry(context)
    rule = window_walk.by_rows(context, window, layout.turned)
    return replace(
        _kernel(context, layout, {"by_row": False, "part": 0, "apart": window_walk.words(rule)}), overlaps=(rule,)
    )


def with_lone_output(kernel: Kernel) -> Kernel:
    """The same with instructions for an odd row's last output, which else is computed with the one before."""
    return replace(kernel, values={**kernel.values, "lone": kernel.values["out_along"] % 2 == 1})


def own_params(context: Context) -> Kernel:
    """`params` of the kernel whose blocks are its own."""
    return with_lone_output(params(context))


def own_rows(context: Context) -> Rows | None:
    """And its rows."""
    found = rows(context)
    return found and replace(found, kernel=with_lone_output(found.kernel))


def rows(context: Context) -> Rows | None:
    """The same for one row of the output, where its columns lie along the width."""
    layout = row_layout_of(context)
    if layout is None or not window_rows.possible(context):
        return None
    part = _part(layout)
    return replace(_rows(context, layout, 0), small=_rows(context, layout, part) if part else None)


def _rows(context: Context, layout: Layout, part: int) -> Rows:
    """A row as one, or in parts of so many outputs."""
    *_, height, width, filters = context.output.shape
    border = layout.elements * (layout.along.columns - (layout.along.inside[1] - layout.along.inside[0]))
    extra = layout.cycles(filters) - layout_of(context).cycles(filters)
    apart = window_rows.APART if part else window_rows.OVER_THEM
    values = {"by_row": True, "apart": apart, "out_elements": width * filters, **_part_values(layout, part)}
    kernel, window = _kernel(context, layout, values), convolution_geometry(context)
    if part:
        columns = values["part_columns"]
        kernel = replace(kernel, scratch_bytes=columns * layout.column_bytes)
        extra += height * (width // part) * (PART_CYCLES + columns * layout.down.kernel * COLUMN_CYCLES)
    else:
        extra += height * border * window_rows.BORDER_CYCLES
    return window_rows.rows(window, kernel, TEMPLATE, copies=not part, extra_cycles=round(extra))


def _part(layout: Layout) -> int:
    """The outputs of a part, of those that a row is computed in to need less scratch; 0 where it is computed as one.

    A quarter of the row or less, and so few that the scratch is small; the least where none does.
    """
    along = layout.along
    if along.apart > 1 or layout.down.dilation * along.dilation > 1:
        return 0
    shared = along.kernel - along.stride
    parts = [
        part
        for part in range(max(2, along.output // LEAST_PARTS), 1, -1)
        if along.output % part == part % 2 == 0 and shared <= part * along.stride and part < along.output
    ]
    small = [part for part in parts if _part_columns(layout, part) * layout.column_bytes <= SMALL_SCRATCH_BYTES]
    return (small or parts[-1:] or [0])[0]


def _part_columns(layout: Layout, part: int) -> int:
    return (part - 1) * layout.along.stride + layout.along.kernel


def _part_values(layout: Layout, part: int) -> dict[str, Any]:
    """What is printed of a row in parts."""
    if not part:
        return {"part": 0}
    columns = _part_columns(layout, part)
    return {
        "part": part,
        "part_columns": columns,
        "kept_columns": max(0, layout.along.kernel - layout.along.stride),
        "along_step": layout.along.stride,
        "along_pad": layout.along.pad,
        "along_size": layout.along.input,
        "along_padded": layout.along.padded,
        "columns": columns,
    }


def _kernel(context: Context, layout: Layout, more: Mapping[str, Any]) -> Kernel:
    """Numbers and words, and `more` values."""
    x, found, window = context.input(0), dsp.sums(context, OPERANDS), convolution_geometry(context)
    finish = byte_pairs.finish(
        context, weighted.fixed_point(context, OPERANDS), found, dsp.two_roundings(context, OPERANDS, found)
    )
    assert finish is not None  # proved by applies
    words = byte_pairs.words(found, finish, layout.order, CHANNELS)
    values = {
        **window.values(),
        **_column_values(layout, x.zero_point),
        **_distances(layout, window, len(found.rows)),
        **_loop(layout),
        "batches": x.shape[0],
        "in_elements": x.size // x.shape[0],
        "out_elements": context.output.size // x.shape[0],
        "in_channels": layout.channels,
        "out_channels": len(found.rows),
        "blocks_words": words.size,
        "finish": finish.values,
        "lone": False,
        **more,
    }
    return Kernel(values, (0,), (Constant("words", words),), layout.scratch_bytes)


def layout_of(context: Context) -> Layout:
    """How the input lies in scratch."""
    return _layouts(context)[0]


def row_layout_of(context: Context) -> Layout | None:
    """The same for one row of the output: its columns lie along the width."""
    return next((way for way in _layouts(context) if not way.turned), None)


def _layouts(context: Context) -> list[Layout]:
    """The ways to lay out the input that the instructions can reach, the cheapest first."""
    window, channels, filters = convolution_geometry(context), context.input(0).shape[3], context.output.shape[3]
    fields = (window.input, window.kernel, window.output, window.stride, window.dilation, window.pad)
    down, along = (Axis(*(pair[axis] for pair in fields)) for axis in range(2))
    ways = [Layout(down, along, channels, False), Layout(along, down, channels, True)]
    near = [
        way for way in ways if way.reaches and _distances(way, window, filters)["pixel_bytes"] + CHANNELS <= MOST_OFFSET
    ]
    return sorted(near, key=lambda way: way.cycles(filters))


def _column_values(layout: Layout, zero_point: int) -> dict[str, Any]:
    """How scratch is filled."""
    first, end = layout.along.inside
    size = WORD_BYTES if layout.channels % WORD_BYTES == 0 else 1
    channels = size * chunk(layout.channels // size, MOST_COPIES)
    columns = MOST_COPIES * size // layout.channels if channels == layout.channels else 1
    return {
        "turned": layout.turned,
        "columns": layout.along.columns,
        "elements": layout.elements,
        "first_column": first,
        "inside_columns": end - first,
        "copied_at_once": size,
        "copied_channels": channels,
        "copied_columns": chunk(end - first, columns),
        "down_kernel": layout.down.kernel,
        "down_stride": layout.down.stride,
        "down_dilation": layout.down.dilation,
        "down_pad": layout.down.pad,
        "down_size": layout.down.input,
        "down_padded": layout.down.padded,
        "out_down": layout.down.output,
        "out_along": layout.along.output,
        "fill": zero_point,
    }


def _distances(layout: Layout, window: Geometry, filters: int) -> dict[str, int]:
    """Between neighbours in the tensors, down and along; along the outputs, none where there is one only."""
    in_steps = window.input[1] * layout.channels, layout.channels
    out_steps = window.output[1] * filters, filters
    down, along = (1, 0) if layout.turned else (0, 1)
    return {
        "in_down_step": in_steps[down],
        "in_along_step": in_steps[along] * layout.along.apart,
        "first_element_offset": (layout.along.inside[0] * layout.along.apart - layout.along.pad) * in_steps[along],
        "out_down_step": out_steps[down],
        "pixel_bytes": out_steps[along] if layout.along.output > 1 else 0,
    }


def _loop(layout: Layout) -> dict[str, Any]:
    """The inner loop: for each word of a column the taps, with what each loads and into which register."""
    words = layout.elements // 2
    words_a_round = chunk(words, max(1, MOST_TAPS // layout.along.kernel))
    column_words = layout.elements // 2
    return {
        "column_words": words,
        "column_bytes": layout.column_bytes,
        "pixel_words": layout.along.step * column_words,
        "tap_words": [tap * layout.along.dilation * column_words for tap in layout.taps],
        "tap_columns": [tap * layout.along.dilation for tap in layout.taps],
        "taps": _loads(layout),
        "words_a_round": words_a_round,
        "rounds": words // words_a_round,
        "words_behind": words % words_a_round,
    }


def _loads(layout: Layout) -> list[dict[str, Any]]:
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
