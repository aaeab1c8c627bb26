"""Turns a depthwise convolution of int16 values into words of weights for cores with the DSP extension.

Two channels of two taps are a step: their inputs are two words, which are packed to a pair of inputs for each channel.
Taps outside the input read a row of zeros.
"""

from __future__ import annotations

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import weighted, window_walk
from tinygen.ops.spec import Context, Kernel
from tinygen.ops.window import convolution_geometry

OPERANDS = weighted.Operands(channel_axis=3)
TEMPLATE = "kernels/depthwise_conv_2d.int16.dsp.c.j2"
MOST_TAPS = 25
"""Each has a pointer on the stack, and steps are printed one after another."""
ITEM_BYTES = 2


def applies(context: Context) -> bool:
    """Activations of 16 bits, sums of 32, one filter a channel, a window of few taps."""
    if not context.wide:
        return False
    filters = context.input(1)
    taps = filters.shape[1] * filters.shape[2]
    single = filters.shape[3] == context.input(0).shape[3]
    return single and taps <= MOST_TAPS and int(weighted.bounds(context, OPERANDS).max()) <= quant.INT32_MAX


def params(context: Context) -> Kernel:
    """Numbers for the template, words of weights, and room for a row of zeros."""
    x, window = context.input(0), convolution_geometry(context)
    channels, scaling = x.shape[3], weighted.fixed_point(context, OPERANDS)
    taps = window.kernel[0] * window.kernel[1]
    blocks = [(first, min(first + 2, channels)) for first in range(0, channels, 2)]
    rule = window_walk.by_pixels(context, window_walk.axes(window), [(block, block) for block in blocks])
    values = {
        **window.values(),
        **weighted.values(context, OPERANDS, scaling),
        "apart": window_walk.words(rule),
        "batches": x.shape[0],
        "in_elements": x.size // x.shape[0],
        "channels": channels,
        "padded": window.padded,
        "taps": taps,
        "steps": -(-taps // 2),
    }
    words = _words(context.constant(1).reshape(taps, channels))
    constants = weighted.constants(context, OPERANDS, scaling, words)
    return Kernel(values, (0,), constants, channels * ITEM_BYTES * window.padded, (rule,))


def _words(weights: Array) -> Array:
    """int32 [pairs of channels, steps] of weights [taps, channels], with zeros for a tap or channel alone.

    Bytes 0 and 2 of a word are those of the first channel for two taps, 1 and 3 those of the second.
    """
    taps, channels = weights.shape
    filled = np.pad(weights, ((0, taps % 2), (0, channels % 2)))
    pairs = filled.reshape(filled.shape[0] // 2, 2, filled.shape[1] // 2, 2).transpose(2, 0, 1, 3)
    words: Array = np.frombuffer(pairs.tobytes(), "<i4").reshape(pairs.shape[:2])
    return words
