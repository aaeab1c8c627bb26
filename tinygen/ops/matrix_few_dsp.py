"""Turns a matrix of one to three channels times rows into a kernel in C for cores with the DSP extension.

Such are classifiers of two classes, and 1x1 convolutions that make a mask: too few channels for blocks of them. Inputs
and weights are widened as they are read, four at a time; each word of the input serves all channels.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.ops import dsp, overlap, weighted
from tinygen.ops.spec import Constant, Context, Kernel

TEMPLATE = "kernels/matrix.few.dsp.c.j2"
OPERANDS = weighted.Operands(channel_axis=0, offset_weights=True)
MOST_CHANNELS = 3
WORD_BYTES = 4
CODE_BYTES = 200
"""About those of its function, at least."""
MOST_WORDS = 2
"""Words of the input that are taken one after another."""


def applies(context: Context) -> bool:
    """Few channels, a word of inputs, weights without a zero point."""
    channels, *_, depth = context.input(1).shape
    few = channels <= MOST_CHANNELS and depth >= WORD_BYTES
    return few and not weighted.weights_zero_point(context, OPERANDS)


def kernel(context: Context, plain: Kernel) -> Kernel:
    """The numbers and arrays of the plain kernel, with the input's zero point in the bias."""
    channels, *_, depth = context.input(1).shape
    rows = context.output.size // channels
    bias = Constant("bias", dsp.sums(context, OPERANDS).bias.astype(np.int32))
    weights, *rest = (constant for constant in plain.constants if constant.role != "bias")
    rule = overlap.of_rows(0, rows, depth, channels)
    words = depth // WORD_BYTES
    values = {
        **plain.values,
        "rows": rows,
        "depth": depth,
        "channels": channels,
        "words_at_once": min(MOST_WORDS, words),
        "words": words,
        "has_bias": True,
        "bias_type": "int32_t",
        "apart": overlap.words(rule),
    }
    return replace(plain, values=values, constants=(weights, bias, *rest), overlaps=(rule,))
