"""Turns a matrix times some rows into a kernel in C for cores with the DSP extension that takes words as they lie.

Such are classifiers behind a pooling: too small to be worth a function of blocks of channels. Inputs and weights are
widened as they are read, four at a time; each word of the input serves some channels. It takes about as many bytes as
plain C.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.ops import byte_pairs, dsp, fully_connected_dsp, weighted
from tinygen.ops.spec import Constant, Context, Kernel

TEMPLATE = "kernels/matrix.words.dsp.c.j2"
OPERANDS = weighted.Operands(channel_axis=0, offset_weights=True)
WORD_BYTES = 4
CODE_BYTES, FEW_BYTES = 240, 160
"""About those of its function, of one to three channels."""
MAC_CYCLES, WORD_CYCLES, OUTPUT_CYCLES = 1.2, 2.4, 17
"""Of a multiply-accumulate; what those that share a word of the input take together; of an output."""
BLOCK_MAC_CYCLES, INPUT_CYCLES, BLOCK_CYCLES = 1.25, 2.2, 130
"""Of blocks of channels: of a multiply-accumulate, to widen an input, to begin and end."""


def applies(context: Context) -> bool:
    """A word of inputs, weights without a zero point."""
    return context.input(1).shape[1] >= WORD_BYTES and not weighted.weights_zero_point(context, OPERANDS)


def kernel(context: Context, plain: Kernel) -> Kernel:
    """The numbers and arrays of the plain kernel, with the input's zero point in the bias."""
    bias = Constant("bias", dsp.sums(context, OPERANDS).bias.astype(np.int32))
    weights, *rest = (constant for constant in plain.constants if constant.role != "bias")
    values = {**plain.values, "has_bias": True, "bias_type": "int32_t"}
    return replace(plain, values=values, constants=(weights, bias, *rest))


def cycles(context: Context) -> float:
    """About what it takes."""
    units, depth = context.input(1).shape
    lanes = len(weighted.lanes(units, depth)["lanes"])
    return context.output.size * (depth * (MAC_CYCLES + WORD_CYCLES / lanes) + OUTPUT_CYCLES)


def more_than_blocks(context: Context) -> float:
    """About what it takes more than the kernels of blocks: small ones take no less."""
    units, depth = context.input(1).shape
    size = fully_connected_dsp.block_size(units)
    blocks = len(byte_pairs.block_starts(units, size))
    in_blocks = blocks * (size * depth * BLOCK_MAC_CYCLES + BLOCK_CYCLES) + INPUT_CYCLES * depth
    return max(0, cycles(context) - in_blocks)


def more_than_few(context: Context) -> float:
    """About what it takes more than the kernel of few channels."""
    units, depth = context.input(1).shape
    return context.output.size * depth * (WORD_CYCLES / units - WORD_CYCLES / (units + 1))
