"""Turns a convolution into the numbers and words of its kernel for Armv6-M cores that chains the sums of eight outputs.

The outputs of a row are computed eight at a time, an eighth of the row apart: the words of a column of inputs serve all
outputs that it is under. Sums of more than 20 bits are made of chunks of the inputs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import chains_v6m, convolution_widened_v6m, lanes, window_rows, window_walk
from tinygen.ops.chains_v6m import CELL_WORDS, PIXELS
from tinygen.ops.spec import Constant, Context, Kernel, Rows
from tinygen.ops.window import Geometry, convolution_geometry

TEMPLATE = "kernels/conv_2d.chain.v6m.c.j2"
PARTS = (1, 2)
"""Units that the channels of an input may be divided into."""
UNIT_CYCLES, COPY_CYCLES, GROUP_CYCLES = 95, 2, 250
"""About what these take: a unit of a column in words beside its inputs, a byte of a row, a group of outputs."""
WIDENED_PRODUCT_CYCLES, WIDENED_OUTPUT_CYCLES = 2.8, 38
SHORT_PRODUCT_CYCLES, SHORT_OUTPUT_CYCLES = 2.7, 29
"""About what these take in the kernel that widens rows: a product, its weight spread too, and an output; the same where
windows are printed whole."""
ROWS_CYCLES = 0.3
"""About what a product takes more in that kernel."""
NUMBERS = 24
"""Of a layer, in front of its filters."""


def applies(context: Context) -> bool:
    """What may be widened, with rows of whole groups of outputs, and the faster so."""
    window = convolution_geometry(context)
    dense = window.dilation[1] == 1 or window.kernel[1] == 1
    if window.output[1] % PIXELS or not dense or not convolution_widened_v6m.applies(context):
        return False
    return chunking(_rows(context), window) is not None and pays(context)


def pays(context: Context) -> bool:
    """Whether that takes less time than rows that are widened."""
    short = _depth(context) <= convolution_widened_v6m.MOST_SHORT
    product = SHORT_PRODUCT_CYCLES if short else WIDENED_PRODUCT_CYCLES
    output = SHORT_OUTPUT_CYCLES if short else WIDENED_OUTPUT_CYCLES
    return _cycles(context) < context.output.size * (_depth(context) * product + output)


def params(context: Context) -> Kernel:
    """Numbers of the layer, its filters with what scales their sums, and room for the inputs of a row of outputs."""
    return _kernel(context, by_row=False)


def rows(context: Context) -> Rows | None:
    """The same for one row of the output; by the kernel that widens rows, where that takes less scratch."""
    widened = convolution_widened_v6m.rows(context)
    if widened is None:
        return None
    found = window_rows.rows(convolution_geometry(context), _kernel(context, by_row=True), TEMPLATE)
    if widened.kernel.scratch_bytes >= found.kernel.scratch_bytes:
        return found
    extra = round(ROWS_CYCLES * context.output.size * _depth(context))
    return replace(found, small=replace(widened, extra_cycles=widened.extra_cycles + extra))


def _depth(context: Context) -> int:
    """Inputs under an output."""
    return context.input(1).size // context.output.shape[3]


def _rows(context: Context) -> Array:
    """[filters, inputs]: the weights column by column."""
    filters = context.constant(1).astype(np.int64)
    return np.asarray(filters.transpose(0, 2, 1, 3).reshape(len(filters), -1))


def chunking(rows: Array, window: Geometry) -> tuple[int, int] | None:
    """Inputs of a unit and units of a chunk, for as few chunks as leave sums in 20 bits; None where none do."""
    taps = window.kernel[0] * window.kernel[1]
    depth = rows.shape[1] // taps
    parts = PARTS[-1] if depth % PARTS[-1] == 0 else PARTS[0]
    for chunks in range(1, taps * parts + 1):
        if taps * parts % chunks == 0 and chains_v6m.fit(rows.reshape(len(rows), chunks, -1)):
            return (depth, taps) if chunks == 1 else (depth // parts, taps * parts // chunks)
    return None


def _columns(window: Geometry) -> tuple[int, int, int]:
    """Columns of words, how many columns of the input from one to the next, and from a group of outputs to the next."""
    groups, stride, kernel = window.output[1] // PIXELS, window.stride[1], window.kernel[1]
    if kernel == 1:
        return groups, stride, 1
    return (groups - 1) * stride + kernel, 1, stride


def _cycles(context: Context) -> float:
    """About what all takes."""
    window, depth, found = (
        convolution_geometry(context),
        _depth(context),
        chunking(_rows(context), convolution_geometry(context)),
    )
    assert found is not None  # proved by applies
    unit, units = found
    chunks = depth // (unit * units)
    outputs = depth * chains_v6m.PRODUCT_CYCLES + chains_v6m.OUTPUT_CYCLES + (chunks - 1) * chains_v6m.CHUNK_CYCLES
    lines = context.output.size // context.output.shape[3] // window.output[1]
    column = depth // window.kernel[1]
    cells = _columns(window)[0] * column * (chains_v6m.CELL_CYCLES + UNIT_CYCLES / unit)
    copied = window.kernel[0] * window.input[1] * context.input(0).shape[3] * COPY_CYCLES
    groups = window.output[1] // PIXELS * GROUP_CYCLES
    return context.output.size * outputs + lines * (cells + copied + groups)


def _kernel(context: Context, by_row: bool) -> Kernel:
    window, rows = convolution_geometry(context), _rows(context)
    found, units = chains_v6m.sums(context), chunking(rows, window)
    assert units is not None  # proved by applies
    printed, words = chains_v6m.filters(context, found, rows)
    numbers = _numbers(context, window, units, words.shape[1])
    values: dict[str, Any] = {
        **printed,
        "windows": True,
        "chunked": units[0] * units[1] < rows.shape[1],
        "by_row": by_row,
        "numbers": NUMBERS,
    }
    layer = Constant("layer", np.concatenate([numbers, words.ravel()]).astype(np.int32))
    rule = window_walk.by_pixels(context, window_walk.axes(window), group=window.output[1])
    return Kernel(values, (0,), (layer,), _scratch(window, rows, units), () if by_row else (rule,))


def _line(window: Geometry, depth: int) -> int:
    """Bytes of a row of inputs in scratch with what lies around it."""
    reach = (window.output[1] - 1) * window.stride[1] + window.kernel[1]
    line = max(reach, window.pad[1] + window.input[1]) * depth
    return int(-(-line // lanes.WORD_BYTES) * lanes.WORD_BYTES)


def _scratch(window: Geometry, rows: Array, units: tuple[int, int]) -> int:
    """Bytes of starts, units, words and rows."""
    depth = rows.shape[1] // (window.kernel[0] * window.kernel[1])
    cells = _columns(window)[0] * window.kernel[0] * depth
    starts = rows.shape[1] // (units[0] * units[1]) + cells // units[0] + 1
    words = int(starts + cells) * CELL_WORDS
    return words * lanes.WORD_BYTES + window.kernel[0] * _line(window, depth)


def _numbers(context: Context, window: Geometry, units: tuple[int, int], filter_words: int) -> list[int]:
    """In the order of the template."""
    x, filters, height = context.input(0), context.output.shape[3], window.kernel[0]
    depth, groups = x.shape[3], window.output[1] // PIXELS
    columns, column_step, group_step = _columns(window)
    return [
        *(x.shape[0], x.size // x.shape[0], window.input[0], window.input[1] * depth, depth, window.output[0]),
        *(filters, filter_words, height, _line(window, depth), window.pad[1] * depth),
        *(columns, column_step * depth, groups, group_step * height * depth * CELL_WORDS),
        *(window.stride[0], window.dilation[0], window.pad[0], x.zero_point),
        *(*units, _depth(context) // (units[0] * units[1]), groups * window.stride[1] * depth),
        group_step * height * depth // units[0] * CELL_WORDS,
    ]
