"""Turns a depthwise window into the ways to lay out a channel in words of two inputs, one of each half of its outputs.

A word holds the input under an output of the first half, and that under the same output of the second half; the halves
are of the rows, or of each row. Words under neighbouring outputs lie one behind another, whatever the stride.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from tinygen.ops.convolution_layout import Axis
from tinygen.ops.window import Geometry

LANES = 2


@dataclass(frozen=True)
class Run:
    """A rectangle of words of the plane that are copied: of both lanes, or of one beside the border."""

    rows: int
    words: int
    place: int
    """Its first word in the plane."""
    down: int
    along: int
    """Row and column of the input of its first word, in the lower lane where there is one."""
    lane: int | None
    """The only one; None with both."""


@dataclass(frozen=True)
class Halves:
    """How a channel lies in scratch, inside its border."""

    down: Axis
    along: Axis
    turned: bool
    """Whether its rows are columns of the input."""
    split_down: bool
    """Whether the lanes are halves of the rows of outputs; else of each row."""

    @property
    def rows(self) -> int:
        """Rows of words of outputs; the middle one is of both halves where they are odd."""
        return -(-self.down.output // LANES) if self.split_down else self.down.output

    @property
    def words(self) -> int:
        """Words of a row of outputs."""
        return self.along.output if self.split_down else -(-self.along.output // LANES)

    @property
    def apart(self) -> tuple[int, int]:
        """Rows and columns of outputs from one lane to the other."""
        return self.down.output - self.rows, self.along.output - self.words

    @property
    def pitch(self) -> int:
        """Words of a row of the plane."""
        return sum(self.words + far for far in self._phases.values())

    @property
    def plane_rows(self) -> int:
        """Rows of the plane."""
        return (self.rows - 1) * self.down.stride + (self.down.kernel - 1) * self.down.dilation + 1

    @property
    def plane_words(self) -> int:
        """All words of the plane."""
        return self.plane_rows * self.pitch

    @property
    def taps(self) -> int:
        """Of the window."""
        return self.down.kernel * self.along.kernel

    @cached_property
    def columns(self) -> tuple[int, ...]:
        """Words from the first of a row to that under each tap of a row of the window."""
        starts: dict[int, int] = {}
        end = 0
        for phase, far in self._phases.items():
            starts[phase], end = end, end + self.words + far
        places = (divmod(tap * self.along.dilation, self.along.stride) for tap in range(self.along.kernel))
        return tuple(starts[phase] + place for place, phase in places)

    @cached_property
    def runs(self) -> tuple[Run, ...]:
        """All that is copied."""
        return tuple(self._runs())

    @cached_property
    def _phases(self) -> dict[int, int]:
        """The columns of the input modulo the stride that lie one behind another; how many words more than outputs."""
        found: dict[int, int] = {}
        for tap in range(self.along.kernel):
            place, phase = divmod(tap * self.along.dilation, self.along.stride)
            found[phase] = max(found.get(phase, 0), place)
        return found

    def _runs(self) -> Iterator[Run]:
        """Rectangles of words whose lanes lie in the input: both, or one of them."""
        rows = _parts(_inside(self.down, self.plane_rows, self.apart[0]))
        at = 0
        for phase, far in self._phases.items():
            size = self.words + far
            columns = _parts(_inside(self.along, size, self.apart[1], self.along.stride, phase))
            for down in rows:
                for along in columns:
                    inside = sorted(down.lanes & along.lanes)
                    if inside:
                        yield self._run(down.span, along.span, inside, at, phase)
            at += size

    def _run(self, down: range, along: range, inside: list[int], at: int, phase: int) -> Run:
        lane = inside[0]
        row = down.start - self.down.pad + lane * self.apart[0] * self.down.stride
        column = phase - self.along.pad + (along.start + lane * self.apart[1]) * self.along.stride
        place = down.start * self.pitch + at + along.start
        return Run(len(down), len(along), place, row, column, None if len(inside) == LANES else lane)


@dataclass(frozen=True)
class _Part:
    """Places that lie in the input for the same lanes."""

    span: range
    lanes: frozenset[int]


def ways(window: Geometry) -> Iterator[Halves]:
    """All that have any input under a window."""
    fields = (window.input, window.kernel, window.output, window.stride, window.dilation, window.pad)
    height, width = (Axis(*(pair[axis] for pair in fields)) for axis in range(2))
    for down, along, turned in ((height, width, False), (width, height, True)):
        for split_down in (False, True):
            way = Halves(down, along, turned, split_down)
            if way.runs:
                yield way


def _inside(axis: Axis, size: int, apart: int, step: int = 1, phase: int = 0) -> list[range]:
    """Of `size` places, `step` apart from `phase` on, those that lie in the input, for each lane."""
    found = []
    for lane in range(LANES):
        start = phase - axis.pad + lane * apart * axis.stride
        first = min(size, max(0, -(start // step)))
        found.append(range(first, max(first, min(size, -(-(axis.input - start) // step)))))
    return found


def _parts(inside: list[range]) -> list[_Part]:
    """The places cut where a lane begins or ends."""
    ends = sorted({end for span in inside for end in (span.start, span.stop)})
    spans = [range(first, end) for first, end in itertools.pairwise(ends)]
    parts = [_Part(span, frozenset(lane for lane, own in enumerate(inside) if span.start in own)) for span in spans]
    return [part for part in parts if part.lanes]
