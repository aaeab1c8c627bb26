"""Turns a convolution or matrix of int16 values into patches and words of weights for cores with the DSP extension.

What lies under a pixel of the output is copied into a row of scratch, of two pixels at a time. A word of it is two
inputs, and a word of weights those of four inputs, in the order in which SXTB16 makes two pairs of them. Sums have 32
bits, which the weights and the bias prove to suffice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import overlap, weighted, window_walk
from tinygen.ops.spec import Constant, Context, Kernel
from tinygen.ops.weighted import Scaling
from tinygen.ops.window import convolution_geometry

OPERANDS = weighted.Operands(channel_axis=0, offset_weights=True)
TEMPLATE = "kernels/matrix.int16.dsp.c.j2"
STEP = 4
"""Inputs of a word of weights."""
ORDER = (0, 2, 1, 3)
"""Of their weights in the word: its bytes 0 and 2 are one pair, 1 and 3 the other."""
ITEM_BYTES = 2
MOST_DEPTH = 2040
"""Inputs: from a word of the first pixel a load reaches that of the second, at most 4095 bytes behind."""
MOST_UNROLLED = 4
"""Steps that are printed one after another: of 18 to 24 instructions."""


def applies(context: Context) -> bool:
    """Activations of 16 bits, sums of 32, weights over all channels without a zero point."""
    if not context.wide or weighted.weights_zero_point(context, OPERANDS):
        return False
    x, weights = context.input(0), context.input(1)
    whole = len(weights.shape) == 2 or weights.shape[3] == x.shape[3]
    shallow = weights.size // weights.shape[0] <= MOST_DEPTH
    return whole and shallow and int(weighted.bounds(context, OPERANDS).max()) <= quant.INT32_MAX


def convolution(context: Context) -> Kernel:
    """Numbers for the template, of CONV_2D."""
    x, filters, window = context.input(0), context.input(1), convolution_geometry(context)
    pixels = window.output[0] * window.output[1]
    kernel = _kernel(context, weighted.fixed_point(context, OPERANDS), pixels)
    rule = window_walk.by_pixels(context, window_walk.axes(window), group=kernel.values["at_once"])
    gathers = window.kernel != (1, 1) or window.stride != (1, 1) or window.padded
    values = {
        **kernel.values,
        **window.values(),
        "apart": window_walk.words(rule),
        "batches": x.shape[0],
        "in_elements": x.size // x.shape[0],
        "in_channels": x.shape[3],
        "padded": window.padded,
        "gathers": gathers,
        "run": filters.shape[2] * x.shape[3] if window.dilation[1] == 1 else x.shape[3],
    }
    return replace(kernel, values=values, overlaps=(rule,))


def matrix(context: Context, scaling: Scaling) -> Kernel:
    """Numbers for the template, of FULLY_CONNECTED."""
    units, depth = context.input(1).shape
    rows = context.output.size // units
    kernel = _kernel(context, scaling, rows)
    rule = overlap.of_rows(0, rows, depth * ITEM_BYTES, units * ITEM_BYTES, kernel.values["at_once"])
    values = {**kernel.values, "apart": overlap.words(rule), "batches": 1, "gathers": False}
    return replace(kernel, values=values, overlaps=(rule,))


def _kernel(context: Context, scaling: Scaling, pixels: int) -> Kernel:
    """What convolutions and matrices share: two pixels by two filters, or one by four."""
    weights = context.constant(1)
    rows = weights.reshape(len(weights), -1)
    at_once, lanes = (1, 4) if pixels == 1 else (2, 2)
    steps = -(-rows.shape[1] // STEP)
    filters = -(-len(rows) // lanes) * lanes
    values: dict[str, Any] = {
        **weighted.values(context, OPERANDS, scaling),
        "pixels": pixels,
        "at_once": at_once,
        "lanes": lanes,
        "depth": rows.shape[1],
        "steps": steps,
        "unrolled": max(count for count in range(1, MOST_UNROLLED + 1) if steps % count == 0),
        "row": steps * STEP,
        "out_channels": len(rows),
        "filters": filters,
    }
    constants = weighted.constants(context, OPERANDS, scaling, _words(rows, steps * STEP, filters, lanes))
    return Kernel(values, (0,), tuple(_filled(c, filters) for c in constants), at_once * steps * STEP * ITEM_BYTES)


def _words(rows: Array, width: int, filters: int, lanes: int) -> Array:
    """int32: of each `lanes` filters the weights of four inputs, then those of the next; zeros where there are none."""
    filled = np.pad(rows, ((0, filters - len(rows)), (0, width - rows.shape[1])))
    blocks = filled.reshape(-1, lanes, width // STEP, STEP).swapaxes(1, 2)[..., ORDER]
    return np.ascontiguousarray(blocks).view(np.dtype("<i4")).ravel()


def _filled(constant: Constant, filters: int) -> Constant:
    """A constant of one number a filter, with zeros for those that are only there to fill a block."""
    if constant.role == "weights":
        return constant
    return replace(constant, data=np.pad(constant.data, (0, filters - len(constant.data))))
