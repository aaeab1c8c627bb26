"""Turns a convolution of few channels into its kernel of chained outputs along runs of bytes, for the DSP extension.

What a row of the window reads are neighbouring bytes. A row of the input is stored once as pairs, each byte beside the
one under the next output (ops/chains.py), and stays for as long as windows reach it: first layers, mostly. Four outputs
by two channels are computed at a time, all of a window printed one after another.
"""

from __future__ import annotations

from typing import Any

from tinygen import quant
from tinygen.ops import (
    chains,
    convolution_chain_dsp,
    convolution_dsp,
    convolution_rows_dsp,
    dsp,
    weighted,
    window_walk,
)
from tinygen.ops.convolution_layout import MOST_OFFSET, Axis
from tinygen.ops.pointwise_chain_dsp import CHANNELS, WORD_BYTES, block_starts
from tinygen.ops.spec import Constant, Context, Kernel, Rows
from tinygen.ops.window import Geometry, convolution_geometry

TEMPLATE = "kernels/conv_2d.chain.runs.dsp.c.j2"
OPERANDS = weighted.Operands(channel_axis=0)
MOST_WORDS = 20
"""Pairs of weights of a filter that are printed one after another: 1 kB of instructions."""
MOST_ROWS = 5
"""Of a window: each has a pointer."""
GROUP_BYTES, GROUPS = 4, 4
"""Bytes that are paired at a time; and times that this is printed."""
HALFWORDS_FROM = 480
"""Outputs of a channel from which on weights are stored as they are multiplied.

Four bytes more for each two inputs of two channels then save a cycle for each four outputs: 30 cycles a byte.
"""
WORD_CYCLES, BLOCK_CYCLES, GROUP_CYCLES, ROW_CYCLES = 12.5, 60, 13, 90
"""About those of a pair of weights, of a block beside them, of four pairs of bytes, and of a row of them."""
FEWER_CYCLES = 1.0
"""It must take less than so much of what byte pairs take."""


def applies(context: Context) -> bool:
    """No whole words of channels, no border to the left, words under neighbouring outputs, four outputs in a row.

    Sums of 24 bits, and a scaling that is proved exact; no limits inside the output's range; faster than byte pairs.
    """
    window, depth, filters = convolution_geometry(context), context.input(0).shape[3], context.output.shape[3]
    if context.input(1).shape[3] != depth or depth % WORD_BYTES == 0 or filters % CHANNELS:
        return False
    if window.pad[1] or window.dilation != (1, 1) or _apart(context) % 2 or window.output[1] < chains.OUTPUTS:
        return False
    if window.kernel[0] > MOST_ROWS or window.kernel[0] * _words(context) > MOST_WORDS or not _reaches(context):
        return False
    if weighted.activation_range(context) != quant.RANGES["int8"] or not _is_faster(context):
        return False
    return chains.applies(context, OPERANDS)


def params(context: Context) -> Kernel:
    """Numbers for the template, the words of all blocks, and room for the pairs of as many rows as a window has."""
    x, window, filters = context.input(0), convolution_geometry(context), context.output.shape[3]
    found = dsp.sums(context, OPERANDS)
    finish = chains.finish(
        context, weighted.fixed_point(context, OPERANDS), found, dsp.two_roundings(context, OPERANDS, found)
    )
    assert finish is not None  # proved by applies
    halfwords = window.output[0] * window.output[1] >= HALFWORDS_FROM
    words = chains.words(found, finish, _order(context), block_starts(filters), halfwords)
    rule = window_walk.by_new_rows(context, window)
    values = {
        **window.values(),
        **_row_values(context),
        "taps": _taps(context),
        "finish": {**finish.values, "fraction": finish.fraction is not None},
        "batches": x.shape[0],
        "in_elements": x.size // x.shape[0],
        "out_elements": context.output.size // x.shape[0],
        "channels": x.shape[3],
        "filters": filters,
        "halfwords": halfwords,
        "block_words": words.size,
        "fill": x.zero_point,
        "border": _border(x.zero_point),
        "padded": window.pad[0] > 0 or _reach(window) > window.input[0] + window.pad[0],
        "apart": window_walk.words(rule),
    }
    scratch_bytes = window.kernel[0] * values["row_words"] * WORD_BYTES
    return Kernel(values, (0,), (Constant("words", words),), scratch_bytes, (rule,))


def rows(context: Context) -> Rows | None:
    """Those of byte pairs, which read every row again."""
    found = convolution_rows_dsp.own_rows(context) if convolution_dsp.applies(context) else None
    if found is None:
        return None
    return convolution_rows_dsp.dearer(found, round(convolution_chain_dsp.byte_pair_cycles(context) - _cycles(context)))


def _reach(window: Geometry) -> int:
    """Rows under all windows, from the border above on."""
    return (window.output[0] - 1) * window.stride[0] + window.kernel[0]


def _border(zero_point: int) -> int:
    """A word of pairs outside the input."""
    half = (zero_point & 255) << 8 | (zero_point + chains.LOW_OFFSET & 255)
    return half << 16 | half


def _apart(context: Context) -> int:
    """Bytes of a row of the input from what one output reads to what the next does."""
    return int(convolution_geometry(context).stride[1] * context.input(0).shape[3])


def _words(context: Context) -> int:
    """Pairs of weights in a row of a filter."""
    return -(-convolution_geometry(context).kernel[1] * context.input(0).shape[3] // 2)


def _groups(context: Context) -> tuple[int, int]:
    """Of a row, in whole rounds: those that lie in it with the bytes that they are paired with, and all."""
    row_bytes, outputs = context.input(0).shape[2] * context.input(0).shape[3], context.output.shape[2]
    pairs = (outputs - 2) * _apart(context) + 2 * _words(context)
    groups = -(-pairs // (GROUP_BYTES * GROUPS)) * GROUPS
    whole = max(0, row_bytes - _apart(context)) // GROUP_BYTES // GROUPS * GROUPS
    return min(whole, groups), groups


def _row_values(context: Context) -> dict[str, Any]:
    """How a row is paired: its end lies in a copy, with the border behind it."""
    whole, groups = _groups(context)
    row_bytes = context.input(0).shape[2] * context.input(0).shape[3]
    end_bytes = (groups - whole) * GROUP_BYTES + _apart(context)
    return {
        "apart_bytes": _apart(context),
        "apart_words": _apart(context) // 2,
        "whole_bytes": whole * GROUP_BYTES,
        "row_bytes": row_bytes,
        "row_words": groups * GROUP_BYTES // 2,
        "end_bytes": -(-end_bytes // WORD_BYTES) * WORD_BYTES if groups > whole else 0,
        "end_inside": min(row_bytes - whole * GROUP_BYTES, end_bytes),
        "groups": GROUPS,
    }


def _along(context: Context) -> Axis:
    """The words of a row as if they were columns: what neighbouring outputs both read is loaded once."""
    words, step = _words(context), _apart(context) // 2
    return Axis(words + (chains.OUTPUTS - 1) * step, words, chains.OUTPUTS, step, 1, 0)


def _taps(context: Context) -> list[dict[str, Any]]:
    """For each word of a row of the window, in the order of `_order`, what is loaded, where it lies, if it is half."""
    taps, weights = convolution_chain_dsp.loads_of_taps(_along(context)), _row_weights(context)
    return [tap | {"alone": 2 * tap["columns"][0] + 1 == weights} for tap in taps]


def _order(context: Context) -> list[tuple[int, int]]:
    """The two weights of each step, as indices into a filter; -1 is none."""
    rows, row_weights = convolution_geometry(context).kernel[0], _row_weights(context)
    firsts = [2 * tap["columns"][0] for tap in _taps(context)]
    return [
        (row * row_weights + first, row * row_weights + first + 1 if first + 1 < row_weights else -1)
        for row in range(rows)
        for first in firsts
    ]


def _row_weights(context: Context) -> int:
    return int(convolution_geometry(context).kernel[1] * context.input(0).shape[3])


def _reaches(context: Context) -> bool:
    """Whether the instructions reach the last word of a row, and the last of four outputs."""
    last = _words(context) + (chains.OUTPUTS - 1) * _apart(context) // 2
    near = last * WORD_BYTES <= MOST_OFFSET and chains.OUTPUTS * context.output.shape[3] <= MOST_OFFSET
    taps = _taps(context)
    return near and all(len(tap["loads"]) > 0 for tap in taps)


def _is_faster(context: Context) -> bool:
    """Than byte pairs."""
    return _cycles(context) < FEWER_CYCLES * convolution_chain_dsp.byte_pair_cycles(context)


def _cycles(context: Context) -> float:
    """About what it takes for one batch: enough to choose between kernels."""
    window, filters = convolution_geometry(context), context.output.shape[3]
    blocks = -(-window.output[1] // chains.OUTPUTS) * filters // CHANNELS
    new = min(window.kernel[0], window.stride[0]) * (ROW_CYCLES + _groups(context)[1] * GROUP_CYCLES)
    block = window.kernel[0] * _words(context) * WORD_CYCLES + BLOCK_CYCLES
    return window.output[0] * (blocks * block + new)
