"""Turns a depthwise convolution of a small map into its kernel for the DSP extension that skips what lies outside.

Four channels at a time are gathered: their elements, without the zero point, in words of two neighbours of a row. Then
each is computed by multiplications of two products, printed one after another; borders take no time and no room.
Channels and the distances between pixels are numbers of the layer, so that layers of one map share the kernel.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import (
    depthwise_dsp,
    depthwise_pairs,
    depthwise_rows_dsp,
    depthwise_window_dsp,
    dsp,
    planes,
    window_walk,
)
from tinygen.ops.depthwise_pairs import Row
from tinygen.ops.folded import folded
from tinygen.ops.planes import LINE_BITS, OPERANDS, Plane
from tinygen.ops.spec import Constant, Context, Kernel, Rows
from tinygen.ops.trimmed import trimmed
from tinygen.ops.unroll import chunk
from tinygen.ops.window import convolution_geometry

TEMPLATE = "kernels/depthwise_conv_2d.pairs.dsp.c.j2"
LANES = 4
WORD_BYTES = 4
NUMBERS = 2
"""Words of a channel in front of its taps: where its sums start, and its multiplier."""
MOST_PAIRS = 4
"""Words that are gathered one after another: 200 bytes of instructions; more become a loop."""
MOST_PRODUCTS = 160
"""Multiplications that are printed for a channel."""
MOST_OFFSET = 4095
LINE_KERNEL, MOST_ELEMENTS = (3, 3), 16
"""Windows that have kernels for larger maps, which are faster from so many elements on."""
REGISTERS = 14
POINTERS = 4
"""The registers of the map, the words, the output, and the way from one output to the next."""
LOAD_CYCLES = 2
"""Of a word that is loaded alone."""
MOST_SUMS, LEAST_SUMS = 4, 2
"""Outputs that are computed at once."""
MOST_HELD = 6
"""Pairs of taps that stay in registers; more are loaded row by row."""


@dataclass(frozen=True)
class Part:
    """Rows of outputs under which the window reaches as many rows of the input."""

    count: int
    tap: int
    """The first row of the window that lies in the input."""
    taps: int
    row: int
    """The row of the input under that of the first of these outputs."""


@dataclass(frozen=True)
class Way:
    """A plane with what is printed for it."""

    plane: Plane

    @cached_property
    def held(self) -> bool:
        """Whether all taps stay in registers, unpacked from bytes; else those of a row are loaded as halfwords."""
        return self.plane.down.kernel * self.pairs <= MOST_HELD

    @property
    def pairs(self) -> int:
        """Of the taps in a row of the window."""
        return depthwise_pairs.pairs(self.plane.along.kernel)

    @property
    def tap_words(self) -> int:
        """Of a row of the window in flash."""
        return -(-self.pairs // 2) if self.held else self.pairs

    @property
    def tap_registers(self) -> int:
        """Beside those of `POINTERS`; where taps are loaded, the word of the input has one too."""
        return self.plane.down.kernel * self.pairs if self.held else self.pairs + 1

    @property
    def most_sums(self) -> int:
        """That fit into the registers; even, so that rounds are whole words."""
        return min(MOST_SUMS, (REGISTERS - POINTERS - self.tap_registers) // 2 * 2)

    @cached_property
    def row(self) -> Row:
        """Of outputs."""
        return depthwise_pairs.row(self.plane.along, self.most_sums)

    @cached_property
    def rows(self) -> tuple[Part, ...]:
        """All rows of outputs."""
        down, found = self.plane.down, list[Part]()
        for output in range(down.output):
            start = output * down.stride - down.pad
            taps = range(max(0, -start), min(down.kernel, down.input - start))
            last = found[-1] if found else None
            if last and (last.tap, last.taps) == (taps.start, len(taps)):
                found[-1] = Part(last.count + 1, last.tap, last.taps, last.row)
            else:
                found.append(Part(1, taps.start, len(taps), start + taps.start))
        return tuple(found)

    @cached_property
    def used(self) -> frozenset[tuple[int, int]]:
        """The rows of the window, and the pairs in them, that are multiplied with anything."""
        groups = (group.words for group in self.row.groups)
        pairs = {product.tap for words in groups for _, products in words for product in products}
        rows = {tap for part in self.rows for tap in range(part.tap, part.tap + part.taps)}
        return frozenset(itertools.product(rows, pairs))

    @property
    def row_words(self) -> int:
        """Of the input in scratch."""
        return -(-self.plane.along.read // 2)

    @property
    def lane_words(self) -> int:
        """Of a channel in scratch."""
        return self.row_words * self.plane.down.read

    @property
    def fits(self) -> bool:
        """Whether taps have neighbours, sums fit into registers, all windows meet the input, and little is printed."""
        if self.most_sums < LEAST_SUMS or self.lane_words * WORD_BYTES > MOST_OFFSET or self.plane.along.kernel == 1:
            return False
        if min(rows.taps for rows in self.rows) < 1 or not all(_is_full(group) for group in self.row.groups):
            return False
        return sum(rows.taps for rows in self.rows) * self.row.printed <= MOST_PRODUCTS

    @property
    def cycles(self) -> int:
        """About what a channel takes: enough to choose between two ways."""
        return sum(rows.count * rows.taps for rows in self.rows) * (self.row.products + 2 * self.row.loads)


def _is_full(group: depthwise_pairs.Group) -> bool:
    """Whether all outputs have a product."""
    return {product.output for _, products in group.words for product in products} == set(range(group.outputs))


def applies(context: Context) -> bool:
    """One filter for each of four channels or more, no gaps, one multiplication an output, little to print."""
    window = convolution_geometry(context)
    if window.kernel == LINE_KERNEL and window.input[0] * window.input[1] > MOST_ELEMENTS:
        return False
    context = _printed(context)
    if convolution_geometry(context).dilation != (1, 1) or _depth(context) != context.output.shape[3]:
        return False
    if _depth(context) < LANES or not _ways(context):
        return False
    return bool(planes.scaling(context, dsp.sums(context, OPERANDS)).values["form"] == "line")


def _printed(context: Context) -> Context:
    """The node as it is computed: without gaps over time, and without taps that never meet the input."""
    whole = folded(context)
    rest = trimmed(whole)
    return rest if _ways(rest) else whole


def _depth(context: Context) -> int:
    return context.input(0).shape[3]


def params(context: Context) -> Kernel:
    """Words for each channel behind the number of channels, room for four channels."""
    context = _printed(context)
    way, found = _ways(context)[0], dsp.sums(context, OPERANDS)
    x, window, plane = context.input(0), convolution_geometry(context), way.plane
    rule = window_walk.by_planes(context, window, LANES)
    scaled = planes.scaling(context, found)
    records = _records(context, found, way, scaled)
    values = {
        **window.values(),
        **_gathered(way),
        **_registers(way),
        "scaling": scaled.values,
        "batches": x.shape[0],
        "zero_points": f"0x{_repeated(x.zero_point, 8):08x}",
        "less_zero": f"0x{_repeated(-x.zero_point, 16):08x}",
        "turned": plane.turned,
        "way": way,
        "stride_down": plane.down.stride,
        "out_along": plane.along.output,
        "numbers": NUMBERS,
        "record_words": records.shape[1],
        "apart": window_walk.words(rule, x.shape[3]),
    }
    words = np.concatenate([[x.shape[3]], records.ravel()]).astype(np.int32)
    return Kernel(values, (0,), (Constant("words", words),), LANES * way.lane_words * WORD_BYTES, (rule,))


def rows(context: Context) -> Rows | None:
    """A row of it by another kernel: there it is not the border that counts."""
    if depthwise_dsp.applies(context):
        return depthwise_rows_dsp.rows(context)
    return depthwise_window_dsp.rows(context) if depthwise_window_dsp.applies(context) else None


def _ways(context: Context) -> list[Way]:
    """The ways to lay out a map that can be printed, the cheapest first."""
    ways = (Way(plane) for plane in planes.planes(convolution_geometry(context)))
    return sorted((way for way in ways if way.fits), key=lambda way: way.cycles)


def _gathered(way: Way) -> dict[str, Any]:
    """How four channels get into scratch: in rows, or as one where all that lies together is read."""
    along, rows = way.plane.along, way.plane.down.read
    flat = along.read % 2 == 0 and not way.plane.turned and along.read == along.input
    pairs = rows * way.row_words if flat else along.read // 2
    return {
        "gathered_rows": 1 if flat else rows,
        "gathered_pairs": pairs,
        "pairs_at_once": chunk(pairs, MOST_PAIRS),
        "single": along.read % 2,
    }


def _registers(way: Way) -> dict[str, Any]:
    """What is in registers beside sums, taps and pointers: the numbers of the channel, words of the input."""
    sums = max(group.outputs for group in way.row.groups)
    free = REGISTERS - POINTERS - way.tap_registers - sums
    numbers = free >= NUMBERS and (
        way.held or _load_cycles(way, free - NUMBERS) <= _load_cycles(way, free) + _number_cycles(way)
    )
    spare = free - NUMBERS if numbers else free
    words = ["words" if way.held else "x_0", *(f"x_{i + 1}" for i in range(spare))]
    kept = way.held and way.lane_words <= len(words) + 1
    if kept:
        words = [*words, "map"][-way.lane_words :]
    return {"sums": sums, "numbers_held": numbers, "kept": kept, "word_registers": words}


def _load_cycles(way: Way, spare: int) -> int:
    """Of a channel: a word of the input takes a cycle, and one more where none is loaded before it."""
    words = [(len(group.words), group.rounds) for group in way.row.groups]
    row = sum(rounds * (count + -(-count // (1 + spare))) for count, rounds in words)
    return row * sum(part.count * part.taps for part in way.rows)


def _number_cycles(way: Way) -> int:
    """Of a channel whose numbers are loaded for each group of outputs."""
    groups = sum(group.rounds for group in way.row.groups) * way.plane.down.output
    return NUMBERS * (1 + LOAD_CYCLES * groups)


def _repeated(value: int, bits: int) -> int:
    """A word of that value again and again."""
    most = (1 << bits) - 1
    return (value & most) * (0xFFFFFFFF // most)


def _records(context: Context, found: dsp.Sums, way: Way, scaled: planes.Scaling) -> Array:
    """int32 [channels, words]: where a channel's sums start, its multiplier, and its taps, row by row."""
    start, multiplier = (constant.data.astype(np.int64) for constant in scaled.constants)
    start = start + (context.input(0).zero_point * found.rows.sum(axis=1) << LINE_BITS)
    filters = planes.filters(found, way.plane)
    taps = (_bytes if way.held else _halfwords)(filters, way.pairs)
    return np.column_stack([start.astype(np.uint32).view(np.int32), multiplier, taps.view("<i4")]).astype(np.int32)


def _bytes(filters: Array, pairs: int) -> Array:
    """Filters [channels, down, along] as int8 [channels, ...]: of each row taps 0, 1, 1, 2, then 2, 3, 3, 4 ..."""
    words = -(-pairs // 2)
    padded = np.pad(filters, ((0, 0), (0, 0), (0, max(0, 2 * words + 1 - filters.shape[2]))))
    order = 2 * np.arange(words)[:, None] + np.array([0, 1, 1, 2])
    return np.ascontiguousarray(padded[:, :, order].reshape(len(filters), -1).astype(np.int8))


def _halfwords(filters: Array, pairs: int) -> Array:
    """The same as int16, times 256: of each row taps 0, 1, then 1, 2, and so on."""
    padded = np.pad(filters, ((0, 0), (0, 0), (0, max(0, pairs + 1 - filters.shape[2]))))
    order = np.arange(pairs)[:, None] + np.array([0, 1])
    return np.ascontiguousarray((padded[:, :, order].reshape(len(filters), -1) << LINE_BITS).astype("<i2"))
