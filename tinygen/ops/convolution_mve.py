"""Turns a convolution into the numbers and words of its kernel for Helium.

The rows under a row of outputs are copied to scratch, turned so that what one column of the window reads lies together:
[column][row of the window][channel], the input's zero point where the window reaches outside. What lies under an output
is then one run of bytes, and three of them are three pixels of a 1x1 convolution. The next row begins a pixel further
on: what it writes over is what the row that no window reaches any longer had in the next column. In the gaps of a
window's rows weights are zero. Groups of channels are computed one after another.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import gcd
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import (
    convolution_dsp,
    convolution_groups_dsp,
    convolution_rows_dsp,
    dsp,
    mve,
    overlap,
    weighted,
    window_rows,
    window_walk,
)
from tinygen.ops.folded import folded
from tinygen.ops.mve import LANES
from tinygen.ops.pointwise_mve import MOST_CHANNELS, PAIRS, blocks
from tinygen.ops.spec import Constant, Context, Kernel, Rows
from tinygen.ops.window import Geometry, convolution_geometry

TEMPLATE = "kernels/conv_2d.mve.c.j2"
OPERANDS = weighted.Operands(channel_axis=0)
MOST_COVER = 2
"""Columns that a window reaches over, for each of which one has a weight: else most products would be with zeros."""
MOST_PLACE = 255
"""Where a vector of bytes can store: offsets of 8 bits."""
MOST_PLACES = 6
"""Vectors of such offsets that registers hold."""
MOST_VECTORS = 8
"""Of a pixel: near enough for a store's offset."""
PRODUCT, PAIRED_PRODUCT = 0.15, 0.95
"""Instructions for one by this kernel, zeros in gaps included, and by byte pairs, which have no zeros there."""
LEAST_GROUP = 4
"""Inputs of a group, which are copied column by column."""
ROW_CYCLES, COPIED_BYTES = 100, 4
"""About what another row takes again beside its copy, and bytes copied in a cycle."""


@dataclass(frozen=True)
class Columns:
    """How the input lies in scratch."""

    window: Geometry
    channels: int
    """Those under an output: all, or a group's."""
    pixel: int
    """Bytes from a pixel of the input to the next."""

    @property
    def bytes(self) -> int:
        """Of a column."""
        return self.window.kernel[0] * self.channels

    @property
    def apart(self) -> int:
        """Columns of the input from one of scratch to the next: a window of one reads no others."""
        return self.window.stride[1] if self.window.kernel[1] == 1 else 1

    @property
    def step(self) -> int:
        """Columns of scratch from one output to the next."""
        return self.window.stride[1] // self.apart

    @property
    def count(self) -> int:
        """All columns."""
        return (self.window.output[1] - 1) * self.step + self.window.kernel[1]

    @property
    def inside(self) -> tuple[int, int]:
        """The first column that lies in the input, and the one behind the last."""
        first = -(-self.window.pad[1] // self.apart)
        end = (self.window.input[1] - 1 + self.window.pad[1]) // self.apart + 1
        return min(first, self.count), max(first, min(self.count, end))

    @property
    def kept(self) -> int:
        """Rows that the next row of outputs needs too, and that stay where they are."""
        return max(0, self.window.kernel[0] - self.window.stride[0]) if self.window.dilation[0] == 1 else 0

    def scratch_bytes(self, kept: int) -> int:
        """Room for all columns, which move on where rows are kept, and for all that the vectors reach."""
        moved = (self.window.output[0] - 1) * self.window.stride[0] * self.channels if kept else 0
        depth = self.bytes * self.window.kernel[1]
        read = (self.window.output[1] - 1) * self.step * self.bytes + -(-depth // LANES) * LANES
        return max(self.count * self.bytes, read) + moved


def applies(context: Context) -> bool:
    """Groups of some inputs, windows without large gaps in their rows, outputs that are near enough, a scaling."""
    context = folded(context)
    window, channels = convolution_geometry(context), context.output.shape[3]
    if _closed(window).kernel[1] > MOST_COVER * window.kernel[1]:
        return False
    if _groups(context) > 1 and (context.input(1).shape[3] < LEAST_GROUP or context.input(0).shape[0] > 1):
        return False
    return channels <= MOST_CHANNELS and mve.can_finish(context, OPERANDS)


def params(context: Context) -> Kernel:
    """Numbers for the template, the words of all blocks, and room for the columns."""
    context = folded(context)
    window = _closed(convolution_geometry(context))
    kept = _columns(context, window).kept
    kernel = _kernel(context, kept)
    if _groups(context) > 1:
        return replace(kernel, values={**kernel.values, "by_row": False, "apart": overlap.words(None)})
    rule = (window_walk.by_new_rows if kept else window_walk.by_rows)(context, window)
    values = {**kernel.values, "by_row": False, "apart": window_walk.words(rule)}
    return replace(kernel, values=values, overlaps=(rule,))


def rows(context: Context) -> Rows | None:
    """The same for one row of the output: all rows under it are copied for each; no row of an image is one of steps.

    Groups are left to the DSP extension, which copies the rows under a row of outputs group by group.
    """
    if _groups(context) > 1:
        return convolution_groups_dsp.rows(context) if convolution_groups_dsp.applies(context) else None
    if folded(context) is not context:
        return convolution_rows_dsp.own_rows(context) if convolution_dsp.applies(context) else None
    if not window_rows.possible(context):
        return None
    window, kernel = _closed(convolution_geometry(context)), _kernel(context, kept=0)
    again = _columns(context, window).kept * kernel.values["read_bytes"] // COPIED_BYTES
    kernel = replace(kernel, values={**kernel.values, "by_row": True, "apart": window_rows.OVER_THEM})
    return window_rows.rows(window, kernel, TEMPLATE, extra_cycles=window.output[0] * (ROW_CYCLES + again))


def saved_instructions(context: Context) -> float:
    """About those that it takes less than byte pairs, whose weights have no zeros in the gaps of rows."""
    window = convolution_geometry(context)
    products = context.output.size * context.input(1).size // context.output.shape[3]
    return products * (PAIRED_PRODUCT - PRODUCT * _closed(window).kernel[1] / window.kernel[1])


def _kernel(context: Context, kept: int) -> Kernel:
    """Numbers and words, where so many rows are kept."""
    x, found, sparse = context.input(0), dsp.sums(context, OPERANDS), convolution_geometry(context)
    window = _closed(sparse)
    finish = mve.finish(context, OPERANDS, found)
    assert finish is not None  # proved by applies
    columns, groups = _columns(context, window), _groups(context)
    rows, filters = _turned(found.rows, sparse), len(found.rows) // groups
    depth = rows.shape[1]
    words = np.concatenate([_group_words(rows, finish, slice(f, f + filters)) for f in range(0, len(rows), filters)])
    lowest = (window.output[0] - 1) * window.stride[0] + (window.kernel[0] - 1) * window.dilation[0] - window.pad[0]
    values = {
        **window.values(),
        **mve.loop(depth),
        **blocks(window.output[1], filters, finish, len(found.rows)),
        **_copies(columns),
        "batches": x.shape[0],
        "in_elements": x.size // x.shape[0],
        "out_elements": context.output.size // x.shape[0],
        "in_channels": columns.channels,
        "pixel_channels": columns.pixel,
        "groups": groups,
        "group_words": len(words) // groups,
        "group_filters": filters,
        "row_inputs": depth,
        "rows_outside": window.pad[0] > 0 or lowest >= window.input[0],
        "kept": kept,
        "fill": x.zero_point,
        "gap": sparse.dilation[1],
    }
    return Kernel(values, (0,), (Constant("words", words),), columns.scratch_bytes(kept))


def _groups(context: Context) -> int:
    return context.input(0).shape[3] // context.input(1).shape[3]


def _columns(context: Context, window: Geometry) -> Columns:
    return Columns(window, context.input(1).shape[3], context.input(0).shape[3])


def _group_words(rows: Array, finish: mve.Finish, group: slice) -> Array:
    """Those of a group's filters."""
    own = replace(finish, columns=tuple(column[group] for column in finish.columns))
    return mve.words(rows[group], own, PAIRS)


def _closed(window: Geometry) -> Geometry:
    """A window whose rows have no gaps, which covers as much."""
    height, gap = window.dilation
    return replace(window, kernel=(window.kernel[0], (window.kernel[1] - 1) * gap + 1), dilation=(height, 1))


def _turned(rows: Array, window: Geometry) -> Array:
    """Weights [filter, row of the window, column, channel] in the order of scratch, zeros in the gaps of its rows."""
    taps = rows.reshape(len(rows), *window.kernel, -1)
    height, width = _closed(window).kernel
    turned = np.zeros((len(rows), width, height, taps.shape[3]), rows.dtype)
    turned[:, :: window.dilation[1]] = taps.swapaxes(1, 2)
    return turned.reshape(len(rows), -1)


def _copies(columns: Columns) -> dict[str, Any]:
    """How a row of the input becomes columns."""
    first, end = columns.inside
    row_bytes = (end - first) * columns.channels
    places = _places(columns, row_bytes)
    return {
        "columns": columns.count,
        "first_column": first,
        "end_column": end,
        "column_bytes": columns.bytes,
        "source_bytes": columns.apart * columns.pixel,
        "source_offset": (first * columns.apart - columns.window.pad[1]) * columns.pixel,
        "pixel_bytes": columns.step * columns.bytes,
        "row_bytes": row_bytes,
        "read_bytes": row_bytes,
        "together": columns.bytes == columns.channels == columns.apart * columns.pixel,
        "places": places,
        "vectors": columns.channels // LANES if _in_vectors(columns) else 0,
    }


def _in_vectors(columns: Columns) -> bool:
    return columns.channels % LANES == 0 and columns.channels // LANES <= MOST_VECTORS


def _places(columns: Columns, row_bytes: int) -> list[int]:
    """Where the bytes of some vectors of a row go, which make whole columns; none where another way is taken."""
    count = columns.channels // gcd(columns.channels, LANES)
    if columns.apart > 1 or columns.pixel > columns.channels or columns.channels % LANES == 0 or count > MOST_PLACES:
        return []
    places = [i // columns.channels * columns.bytes + i % columns.channels for i in range(count * LANES)]
    return [] if places[-1] > MOST_PLACE or (count > 1 and row_bytes < len(places)) else places
