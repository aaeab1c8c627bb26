"""Turns a depthwise convolution with any window, with gaps or without, into its kernel for the DSP extension.

A channel lies in scratch with those elements beside each other that are under a window at once: with gaps of d along a
row, first each d-th from the first one on, then from the second one on, and so on. Its taps are unpacked behind it.
Up to six neighbours of a row are summed at once. Sizes are numbers of the layer, so that layers with the same window
share the kernel.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tinygen.ir import Array
from tinygen.ops import depthwise_taps, depthwise_window_dsp, dsp, planes, window_walk
from tinygen.ops.depthwise_taps import Schedule
from tinygen.ops.planes import OPERANDS, Plane
from tinygen.ops.spec import Constant, Context, Kernel, Rows
from tinygen.ops.window import Geometry, convolution_geometry, covering

TEMPLATE = "kernels/depthwise_conv_2d.taps.dsp.c.j2"
REGISTERS = 12
"""Beside the pointers to the row and to the taps."""
SCALING_REGISTERS = 6
MOST_OUTPUTS = REGISTERS - SCALING_REGISTERS
LEAST_OUTPUTS = 4
"""Of a row that has as many: fewer are faster in C."""
LEAST_TAPS = 5
"""Of windows with gaps: fewer are as fast in C."""
MOST_PRODUCTS = 200
"""Multiplications that are printed."""
MOST_OFFSET = 4095
MOST_PARTS = 64
LINE_KERNEL, LINE_STRIDES = (3, 3), ((1, 1), (2, 2))
"""Windows that have faster kernels."""
CODE_BYTES, SAVED_CYCLES = 1200, 0.5
"""About those of a function; about what a multiply-accumulate takes more in C."""
OUTPUT_CYCLES, GROUP_CYCLES, RUN_CYCLES = 4, 14, 24
"""Of an output, of some that are summed at once, of a run of these, beside the products."""


@dataclass(frozen=True)
class Part:
    """Elements of a row that are under a window at once, beside each other in scratch; places are in its rows."""

    outputs: int
    start: int
    """Where the first window begins."""
    read: int
    """The first element of the input, how many of them, and where they go."""
    count: int
    place: int


@dataclass(frozen=True)
class Run:
    """Outputs of a row that are summed at once, `count` times: where the first window begins, and the first output."""

    place: int
    count: int
    output: int


@dataclass(frozen=True)
class Walk:
    """All runs; from one time to the next so many elements of scratch, and bytes of the output."""

    runs: tuple[Run, ...]
    step: int
    output_step: int


@dataclass(frozen=True)
class Way:
    """A plane, with so many outputs of a row summed at once."""

    plane: Plane
    down_kernel: int
    kernel: int
    """Taps down the plane, and along its rows."""
    down_gap: int
    gap: int
    outputs: int

    @cached_property
    def schedule(self) -> Schedule | None:
        """Of a row of taps."""
        registers = REGISTERS - self.outputs
        return depthwise_taps.schedule(self.kernel, self.plane.along.stride, self.outputs, registers)

    @property
    def words(self) -> int:
        """Of a row under the outputs that are summed at once."""
        return depthwise_taps.words(self.kernel, self.plane.along.stride, self.outputs)

    @property
    def phases(self) -> int:
        """Of the taps."""
        return len(depthwise_taps.phases(self.plane.along.stride, self.outputs))

    @property
    def tap_words(self) -> int:
        """Of a row of taps in scratch."""
        return self.phases * depthwise_taps.pairs(self.kernel, self.phases - 1)

    @property
    def fits(self) -> bool:
        """Whether each part has that many outputs, all is in reach and not too much printed."""
        along = self.plane.along
        most = max(1, along.output // self.gap)
        if (self.gap > 1 and along.stride > 1) or self.gap > MOST_PARTS:
            return False
        if self.gap * self.down_gap > 1 and self.kernel * self.down_kernel < LEAST_TAPS:
            return False
        if not min(LEAST_OUTPUTS, most) <= self.outputs <= most or self.schedule is None:
            return False
        products = self.down_kernel * sum(len(each) for _, each in self.schedule.batches)
        return products <= MOST_PRODUCTS and 4 * max(self.words, self.down_kernel * self.tap_words) <= MOST_OFFSET

    @property
    def part_width(self) -> int:
        """Elements of a part in scratch: whole words, with what is loaded behind the last window."""
        last = (self._outputs_of(0) - self.outputs) * self.plane.along.stride
        return (last + 2 * self.words + 1) // 2 * 2

    @property
    def width(self) -> int:
        """Of a row in scratch."""
        return len(self.parts) * self.part_width

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Of a row: with gaps of d every d-th element from the first one on, from the second one on, and so on."""
        return tuple(self._part(index) for index in range(min(self.gap, self.plane.along.output)))

    def _part(self, index: int) -> Part:
        along, width = self.plane.along, self.part_width
        first = max(0, -(-(along.pad - index) // self.gap))
        end = min(width, -(-(along.pad + along.read - index) // self.gap))
        read = index + first * self.gap - along.pad
        return Part(self._outputs_of(index), index * width, read, max(0, end - first), index * width + first)

    def _outputs_of(self, index: int) -> int:
        return -(-(self.plane.along.output - index) // self.gap)

    def walk(self, out_along: int, out_down: int) -> Walk:
        """The way with fewest runs, for outputs that lie so many bytes apart."""
        return min(self._walks(out_along, out_down), key=lambda walk: len(walk.runs))

    def _walks(self, out_along: int, out_down: int) -> Iterator[Walk]:
        """From row to row; from part to part of those with as many outputs; along a part, and the last ones again."""
        stride, size, rows = self.plane.along.stride, self.outputs, self.plane.down.output
        row = self.plane.down.stride * self.width
        starts = [(part, index, x) for index, part in enumerate(self.parts) for x in self._starts(part.outputs)]

        def run(part: Part, y: int, index: int, x: int, count: int) -> Run:
            place = part.start + y * row + x * stride
            return Run(place, count, y * out_down + (index + x * self.gap) * out_along)

        yield Walk(tuple(run(*at, rows) for at in ((part, 0, index, x) for part, index, x in starts)), row, out_down)
        along = []
        for y in range(rows):
            for index, part in enumerate(self.parts):
                whole, rest = divmod(part.outputs, size)
                along.append(run(part, y, index, 0, whole))
                if rest:
                    along.append(run(part, y, index, part.outputs - size, 1))
        yield Walk(tuple(along), size * stride, size * self.gap * out_along)
        first = [index for index, part in enumerate(self.parts) if part.outputs != self.parts[index - 1].outputs] or [0]
        ends = [*first[1:], len(self.parts)]
        across = [
            run(self.parts[index], y, index, x, end - index)
            for index, end in zip(first, ends, strict=True)
            for y in range(rows)
            for x in self._starts(self.parts[index].outputs)
        ]
        yield Walk(tuple(across), self.part_width, out_along)

    @property
    def cycles(self) -> int:
        """About what a channel takes: enough to choose among ways."""
        assert self.schedule is not None  # asked by fits
        group = self.down_kernel * self.schedule.cycles + self.outputs * OUTPUT_CYCLES + GROUP_CYCLES
        starts = [start for part in self.parts for start in self._starts(part.outputs)]
        split = sum(start * self.plane.along.stride % 2 for start in starts) * self.down_kernel * self.words
        runs = len(self.walk(0, 0).runs)
        return self.plane.down.output * (len(starts) * group + split) + runs * RUN_CYCLES

    def _starts(self, count: int) -> list[int]:
        """The first of the outputs of a part that are summed at once; words from odd elements on take a cycle more."""
        return [min(start, count - self.outputs) for start in range(0, count, self.outputs)]


def applies(context: Context) -> bool:
    """One batch, any window that is not too large to print, one multiplication an output or two roundings."""
    window = convolution_geometry(context)
    if context.input(0).shape[0] > 1 or _best(window) is None:
        return False
    scaling = planes.scaling(context, dsp.sums(context, OPERANDS)).values
    return scaling["form"] in ("line", "roundings") and scaling["clamp"] is None


def params(context: Context) -> Kernel:
    """The numbers of the layer, taps in bytes, what scales the sums; room for a channel and its taps."""
    window, found = convolution_geometry(context), dsp.sums(context, OPERANDS)
    way, rule = _best(window), planes.overlap(context)
    assert way is not None and way.schedule is not None  # asked by applies
    scaled = planes.scaling(context, found)
    taps = _taps(found, window, way.plane.turned)
    sizes = np.array(_sizes(context, way), np.int32)
    values = {
        "kernel": (way.down_kernel, way.kernel),
        "stride": way.plane.along.stride,
        "outputs": way.outputs,
        "registers": max(SCALING_REGISTERS, way.schedule.registers),
        "schedule": way.schedule,
        "phases": way.phases,
        "tap_words": way.tap_words,
        "scaling": scaled.values,
        "tap_scale": 2**scaled.bits,
        "multiplicity": context.output.shape[3] // context.input(0).shape[3],
        "apart": window_walk.words(rule, context.input(0).shape[3]),
    }
    scratch = 2 * way.plane.down.reach * way.width + 4 * way.down_kernel * way.tap_words
    constants = Constant("sizes", sizes), Constant("weights", taps), *scaled.constants
    return Kernel(values, (0,), constants, scratch, (rule,))


def saved_cycles(context: Context) -> float:
    """About what windows in C take more."""
    window = convolution_geometry(context)
    return SAVED_CYCLES * context.output.size * window.kernel[0] * window.kernel[1]


def rows(context: Context) -> Rows | None:
    """A row by the kernel of windows without gaps."""
    return depthwise_window_dsp.rows(context) if depthwise_window_dsp.applies(context) else None


def _best(window: Geometry) -> Way | None:
    """The cheapest way, if there is one."""
    if window.kernel == LINE_KERNEL and window.dilation == (1, 1) and window.stride in LINE_STRIDES:
        return None
    found = (_way(window, plane, outputs) for plane in _planes(window) for outputs in range(1, MOST_OUTPUTS + 1))
    return min((way for way in found if way.fits), key=lambda way: way.cycles, default=None)


def _planes(window: Geometry) -> list[Plane]:
    """Both ways to lay out what is under a window, gaps covered."""
    return planes.planes(covering(window))


def _way(window: Geometry, plane: Plane, outputs: int) -> Way:
    down, along = (1, 0) if plane.turned else (0, 1)
    kernel = window.kernel
    gaps = [gap if size > 1 else 1 for size, gap in zip(kernel, window.dilation, strict=True)]
    return Way(plane, kernel[down], kernel[along], gaps[down], gaps[along], outputs)


def _taps(found: dsp.Sums, window: Geometry, turned: bool) -> Array:
    """int8 [channels, down, along]."""
    filters = found.rows.reshape(-1, *window.kernel)
    return np.ascontiguousarray(filters.transpose(0, 2, 1) if turned else filters).astype(np.int8)


def _pieces(way: Way, in_down: int, in_along: int) -> list[list[int]]:
    """What is copied at once: rows of a part, or like parts of a row; the fewer.

    Of each the first byte of the input, how many elements, how often, and bytes to the next time; where they go, and
    elements to the next time.
    """
    down, width = way.plane.down, way.width
    top = down.pad * width
    by_rows = [
        [part.read * in_along, part.count, down.read, in_down, top + part.place, width]
        for part in way.parts
        if part.count
    ]
    across: list[list[int]] = []
    for y, (index, part) in itertools.product(range(down.read), enumerate(way.parts)):
        place = top + y * width + part.place
        read = y * in_down + part.read * in_along
        before = across[-1] if across and index else None
        if before and before[1] == part.count and (read, place) == _next_time(before):
            before[2] += 1
        elif part.count:
            across.append([read, part.count, 1, in_along, place, way.part_width])
    return min(by_rows, across, key=len)


def _next_time(piece: list[int]) -> tuple[int, int]:
    """Where a piece would be read from, and where it would go, if it were copied once more."""
    first, _, times, step, place, place_step = piece
    return first + times * step, place + times * place_step


def _sizes(context: Context, way: Way) -> list[int]:
    """The numbers of the layer, in the order of the template, then those of its parts and of its runs."""
    x, down = context.input(0), way.plane.down
    in_down, in_along = x.shape[2] * x.shape[3], x.shape[3]
    if way.plane.turned:
        in_down, in_along = in_along, in_down
    out_along, out_down = planes.steps(way.plane, context)
    walk, tap_step, along = way.walk(out_along, out_down), way.down_gap * way.width, way.gap * out_along
    pieces = _pieces(way, in_down, in_along)
    numbers = [x.shape[3], x.zero_point, down.reach * way.width, way.gap * in_along]
    numbers += [tap_step, along, walk.step - (way.down_kernel - 1) * tap_step]
    numbers += [walk.output_step - way.outputs * along, len(pieces), len(walk.runs)]
    for piece in pieces:
        numbers += piece
    for run in walk.runs:
        numbers += [run.place, run.place + run.count * walk.step, run.output]
    return numbers
