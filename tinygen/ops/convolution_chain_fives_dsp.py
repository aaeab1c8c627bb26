"""Turns a convolution of few channels into its kernel of chains of five outputs, for cores with the DSP extension.

Five neighbouring outputs of a row, by two channels at a time: four multiplications for five sums (ops/chains.py). What
a row of the input has under them is stored once as pairs, and stays for as long as windows reach it: so the outputs are
computed in columns of five. First layers with tall windows, mostly.
"""

from __future__ import annotations

from typing import Any

from tinygen import quant
from tinygen.ops import chains, convolution_chain_dsp, convolution_dsp, convolution_rows_dsp, dsp, weighted, window_walk
from tinygen.ops.pointwise_chain_dsp import CHANNELS, STEP_CYCLES, STORE_CYCLES, WORD_BYTES, block_starts
from tinygen.ops.pointwise_dsp import loop
from tinygen.ops.spec import Constant, Context, Kernel, Rows
from tinygen.ops.window import Geometry, convolution_geometry

TEMPLATE = "kernels/conv_2d.fives.chain.dsp.c.j2"
OPERANDS = weighted.Operands(channel_axis=0)
OUTPUTS = chains.MOST_OUTPUTS
LINKS = OUTPUTS - 1
MOST_STEPS = 20
"""Steps of the inner loop (two inputs each) that are printed one after another, 60 bytes each."""
MOST_LINE_BYTES = 64
"""What five outputs read of a row, at most: a copy of it lies on the stack."""
PAIR_CYCLES, ROW_CYCLES, KEPT_CYCLES = 10, 40, 3.5
"""Of a word of pairs, of a row of them, and of a word that stays."""
FEWER_CYCLES = 0.95
"""It must take less than so much of what byte pairs take."""


def applies(context: Context) -> bool:
    """Five outputs in a row, near each other, an even number of inputs in a row of the window, pairs of filters.

    No gaps, sums of 24 bits, a scaling that is proved exact, one shift for all channels; no limits inside the output's
    range; faster than byte pairs.
    """
    window, depth, filters = convolution_geometry(context), context.input(0).shape[3], context.output.shape[3]
    if context.input(1).shape[3] != depth or context.input(0).shape[0] > 1 or filters % CHANNELS:
        return False
    if window.dilation != (1, 1) or window.output[1] < OUTPUTS or window.kernel[1] * depth % 2:
        return False
    if _line(context, window)["line_bytes"] > MOST_LINE_BYTES:
        return False
    if weighted.activation_range(context) != quant.RANGES["int8"]:
        return False
    if cycles(context) >= FEWER_CYCLES * convolution_chain_dsp.byte_pair_cycles(context):
        return False
    finish = _finish(context, dsp.sums(context, OPERANDS)) if chains.applies(context, OPERANDS) else None
    return finish is not None and finish.values["shift"] is not None


def params(context: Context) -> Kernel:
    """Numbers for the template, the words of all blocks, and room for the pairs under five outputs."""
    x, window, filters = context.input(0), convolution_geometry(context), context.output.shape[3]
    found = dsp.sums(context, OPERANDS)
    finish = _finish(context, found)
    assert finish is not None  # proved by applies
    row_inputs, steps = _row_inputs(context), _steps(context)
    words = chains.words(found, finish, [(2 * i, 2 * i + 1) for i in range(steps)], block_starts(filters))
    rule = window_walk.by_new_rows_of_groups(context, window, OUTPUTS)
    row_words = row_inputs // 2 * LINKS
    kept_rows = max(0, window.kernel[0] - window.stride[0])
    values = {
        **window.values(),
        **_line(context, window),
        **loop(steps - 1, MOST_STEPS),
        "finish": {**finish.values, "fraction": finish.fraction is not None},
        "channels": x.shape[3],
        "filters": filters,
        "row_inputs": row_inputs,
        "row_words": row_words,
        "kept_rows": kept_rows,
        "kept_words": kept_rows * row_words,
        "steps": steps,
        "block_words": words.size,
        "fill": x.zero_point,
        "apart": window_walk.words(rule),
    }
    return Kernel(values, (0,), (Constant("words", words),), steps * LINKS * WORD_BYTES, (rule,))


def rows(context: Context) -> Rows | None:
    """Those of byte pairs, which read every row again."""
    found = convolution_rows_dsp.own_rows(context) if convolution_dsp.applies(context) else None
    if found is None:
        return None
    return convolution_rows_dsp.dearer(found, round(convolution_chain_dsp.byte_pair_cycles(context) - cycles(context)))


def _finish(context: Context, found: dsp.Sums) -> chains.Finish | None:
    steps = dsp.two_roundings(context, OPERANDS, found)
    return chains.finish(context, weighted.fixed_point(context, OPERANDS), found, steps)


def _row_inputs(context: Context) -> int:
    """Of a row of the window."""
    return int(convolution_geometry(context).kernel[1] * context.input(0).shape[3])


def _steps(context: Context) -> int:
    return int(convolution_geometry(context).kernel[0] * _row_inputs(context) // 2)


def _line(context: Context, window: Geometry) -> dict[str, Any]:
    """What five outputs read of a row: bytes from one to the next, in all, and where there are five only, inside it."""
    depth, apart = context.input(0).shape[3], window.stride[1] * context.input(0).shape[3]
    line_bytes, before = LINKS * apart + _row_inputs(context), window.pad[1] * depth
    inside = min(line_bytes - before, window.input[1] * depth)
    return {
        "apart_bytes": apart,
        "line_bytes": line_bytes,
        "row_bytes": window.input[1] * depth,
        "before_bytes": before,
        "inside_bytes": inside if window.output[1] == OUTPUTS else None,
    }


def cycles(context: Context) -> float:
    """About what it takes."""
    window, steps = convolution_geometry(context), _steps(context)
    blocks = context.output.shape[3] // CHANNELS
    row_words = _row_inputs(context) // 2 * LINKS
    new_rows = min(window.stride[0], window.kernel[0])
    block = steps * STEP_CYCLES[OUTPUTS] + STORE_CYCLES[OUTPUTS]
    kept = (window.kernel[0] - new_rows) * row_words * KEPT_CYCLES
    row = blocks * block + new_rows * (row_words * PAIR_CYCLES + ROW_CYCLES) + kept
    return -(-window.output[1] // OUTPUTS) * window.output[0] * row
