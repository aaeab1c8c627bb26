"""Turns a matrix times one vector into the numbers and words of its kernel for cores with the DSP extension.

One row of inputs by eight channels at a time, or by four where there are fewer. The inputs are widened to int16 first;
or, without room for that, as they are read for each block.
All sizes are words of the layer, so that layers of every shape share a kernel. Several rows are a 1x1 convolution.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ops import byte_pairs, dsp, overlap, pointwise_dsp, weighted
from tinygen.ops.byte_pairs import Finish
from tinygen.ops.dsp import Sums
from tinygen.ops.spec import Constant, Context, Kernel, Overlap
from tinygen.quant import Numerics
from tinygen.requantize import Steps

OPERANDS = weighted.Operands(channel_axis=0, offset_weights=True)
MOST_CHANNELS, LEAST_CHANNELS = 8, 4
"""Of a block: at most 8 sums, as many as the registers hold beside what the inner loop needs."""
UNIT_INPUTS = 4
"""Inputs of the inner loop's unit: a word of bytes."""
MOST_UNITS = 16
"""Units that are printed one after another; those behind the last such round are a loop of their own."""
UNIT_BYTES = UNIT_INPUTS * 2
"""Of int16."""
UNIT_CODE_BYTES = 34 * 4
LEAST_WEIGHTS = 4
"""Bytes of weights for each byte of such code, at least."""
CODE_BYTES = 560
"""About those of its function."""


def applies(context: Context) -> bool:
    """One row of inputs, at least one block, weights that can be paired, and a scaling that is proved exact."""
    channels = context.input(1).shape[0]
    if context.output.size != channels or channels < LEAST_CHANNELS or weighted.weights_zero_point(context, OPERANDS):
        return False
    found = dsp.sums(context, OPERANDS)
    return byte_pairs.fit(found, block_size(channels)) and storing(context, found) is not None


def rows_apply(context: Context) -> bool:
    """The same for two rows or more."""
    if weighted.weights_zero_point(context, OPERANDS):
        return False
    found = dsp.sums(context, OPERANDS)
    return pointwise_dsp.fits(context, found) and storing(context, found) is not None


def rows_params(context: Context) -> Kernel:
    """Those of a 1x1 convolution, each row a pixel."""
    found = dsp.sums(context, OPERANDS)
    finish = storing(context, found)
    assert finish is not None  # proved by rows_apply
    return pointwise_dsp.kernel(context, found, finish)


def params(context: Context) -> Kernel:
    """Numbers for the template, the words of all blocks, and room for the inputs as int16.

    The inputs may lie in that room: they are widened four at a time, all before the first output is written.
    """
    depth = context.input(1).shape[-1]
    units = -(-depth // UNIT_INPUTS)
    room = overlap.of_rows(0, units, UNIT_INPUTS, UNIT_BYTES)
    kernel = _kernel(context, direct=False)
    anywhere = Overlap(0, most=depth)
    return replace(kernel, scratch_bytes=units * UNIT_BYTES, overlaps=(anywhere,), scratch_overlaps=(room,))


def direct_applies(context: Context) -> bool:
    """The same for whole words of inputs, which are read anew for each block."""
    return context.input(1).shape[-1] % UNIT_INPUTS == 0 and applies(context)


def direct_params(context: Context) -> Kernel:
    """Numbers for the template and the words of all blocks: inputs are widened as they are read."""
    kernel = _kernel(context, direct=True)
    size = kernel.values["block"]
    starts = np.array(byte_pairs.block_starts(context.input(1).shape[0], size))
    rule = overlap.of_matrix(context, starts[:, None, None] + np.array([0, size]))
    return replace(kernel, overlaps=(rule,))


def _kernel(context: Context, direct: bool) -> Kernel:
    found = dsp.sums(context, OPERANDS)
    finish = storing(context, found)
    assert finish is not None  # proved by applies
    channels, depth = found.rows.shape
    size = block_size(channels)
    blocks = byte_pairs.words(found, finish, order(depth), size)
    layer, shared = layer_words(finish.values)
    words = np.concatenate([np.array([depth, channels, blocks.size, *layer], np.int32), blocks])
    values = {"block": size, "units": _units(channels, depth), "layer_words": 3 + len(layer), "finish": shared}
    return Kernel({**values, "direct": direct}, (0,), (Constant("words", words),))


def order(depth: int) -> list[tuple[int, int]]:
    """Which two inputs each step takes, in whole units; -1 is none."""
    steps = byte_pairs.in_order_of_bytes(-(-depth // UNIT_INPUTS) * UNIT_INPUTS)
    return [(first if first < depth else -1, second if second < depth else -1) for first, second in steps]


def layer_words(values: Mapping[str, Any]) -> tuple[list[int], Mapping[str, Any]]:
    """What is one number for all channels: as words, and the rest with the places of these, for layers to share."""
    if values["multiplier"] is None:
        return [], values
    places = {"addend": "layer[3]", "multiplier": "layer[4]", "right": "layer[5]", "shift": None}
    return [values["addend"], values["multiplier"], values["shift"]], {**values, **places}


def _units(channels: int, depth: int) -> int:
    """A power of two that is worth its code."""
    most = min(MOST_UNITS, depth // UNIT_INPUTS, channels * depth // (LEAST_WEIGHTS * UNIT_CODE_BYTES))
    return 1 << max(0, most.bit_length() - 1)


def block_size(channels: int) -> int:
    """Channels of a block."""
    return MOST_CHANNELS if channels >= MOST_CHANNELS else LEAST_CHANNELS


def storing(context: Context, found: Sums) -> Finish | None:
    """How sums are stored, if there is a way that is proved exact."""
    scaling = None if _is_real(context) else weighted.fixed_point(context, OPERANDS)
    shared = len(weighted.scales(context, OPERANDS)) == 1
    return byte_pairs.finish(context, scaling, found, steps(context, found), shared)


def steps(context: Context, found: Sums) -> Steps:
    """FULLY_CONNECTED is scaled in float64 by TensorFlow Lite's reference, all else in fixed point."""
    return (dsp.one_rounding if _is_real(context) else dsp.two_roundings)(context, OPERANDS, found)


def _is_real(context: Context) -> bool:
    return context.node.op == "fully_connected" and context.numerics is Numerics.TFLITE
