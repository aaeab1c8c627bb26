"""Turns a 1x1 convolution into the numbers and words of its kernel of chained pixels, for the DSP extension.

Four pixels by two channels at a time: three multiplications for each four sums (ops/chains.py). Pixels that are left
are computed one by one. All sizes are words of the layer, so that layers of every shape share a kernel.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen.ops import byte_pairs, chains, dsp, overlap, pixelwise, pointwise_dsp, weighted
from tinygen.ops.spec import Constant, Context, Kernel, Overlap, Rows

TEMPLATE = "kernels/conv_2d.pointwise.chain.dsp.c.j2"
OPERANDS = weighted.Operands(channel_axis=0)
WORD_BYTES = 4
CHANNELS = 2
"""Of a block: 6 sums, as many as the registers hold beside what the inner loop needs."""
LEAST_INPUTS = 4
"""Inputs behind the last whole word are taken from the last four."""
PAIRS = chains.OUTPUTS - 1
"""Words for each two inputs of four pixels."""
ROUND_STEPS = 16
"""Steps of the inner loop (two inputs each) that are printed one after another."""
STEP_BYTES = 48
"""Of a step: 12 instructions of 4 bytes."""
SHARED_VALUES: dict[str, Any] = {
    **dict.fromkeys(("inputs", "channels", "pixels", "steps")),
    "lone": True,
    "round_steps": ROUND_STEPS,
    "step_bytes": STEP_BYTES,
    "rounds": 2,
    "steps_a_round": ROUND_STEPS,
    "steps_behind": 0,
}
"""Of the function for all sizes."""
OWN_OUTPUTS = 2**14
"""A layer of so many has a function of its own: about 15 cycles less for each eight outputs."""
STEP_CYCLES, STORE_CYCLES, LONE_STEP_CYCLES, LONE_STORE_CYCLES = 13, 65, 11.5, 40
"""Of a block of four pixels, and of one for a lone pixel."""


def applies(context: Context) -> bool:
    """At least one block, sums of 24 bits, and a scaling that is proved exact; no limits inside the output's range."""
    depth, channels, pixels = _sizes(context)
    if depth < LEAST_INPUTS or channels < CHANNELS or pixels < chains.OUTPUTS:
        return False
    if weighted.activation_range(context) != (-128, 127):
        return False
    if channels >= pointwise_dsp.CHANNELS and pointwise_dsp.cycles(context) < _cycles(context):
        return False
    found, scaling = dsp.sums(context, OPERANDS), weighted.fixed_point(context, OPERANDS)
    return chains.fits(found) and chains.can_finish(
        context, scaling, found, lambda: dsp.two_roundings(context, OPERANDS, found)
    )


def params(context: Context) -> Kernel:
    """The words of the layer and of all blocks, and room for four pixels in pairs."""
    return _kernel(context, own=context.output.size >= OWN_OUTPUTS)


def rows(context: Context) -> Rows | None:
    """The same for one row of the output, by pairs of pixels where those leave fewer over."""
    row = pixelwise.of_one_row(context)
    if row is None:
        return None
    if applies(row):
        kernel, template, cycles = _kernel(row, own=context.output.size >= OWN_OUTPUTS), TEMPLATE, _cycles(row)
    elif pointwise_dsp.applies(row):
        kernel, template, cycles = pointwise_dsp.own_params(row), pointwise_dsp.TEMPLATE, pointwise_dsp.cycles(row)
    else:
        return None
    return Rows(kernel, template, extra_cycles=round(context.output.shape[1] * cycles - _cycles(context)))


def _kernel(context: Context, own: bool) -> Kernel:
    """By a function of its own, or by one whose sizes are words of the layer."""
    found, scaling = dsp.sums(context, OPERANDS), weighted.fixed_point(context, OPERANDS)
    finish = chains.finish(context, scaling, found, dsp.two_roundings(context, OPERANDS, found))
    assert finish is not None  # proved by applies
    depth, channels, pixels = _sizes(context)
    order, firsts = byte_pairs.in_order_of_bytes(depth), block_starts(channels)
    blocks = chains.words(found, finish, order, firsts)
    sizes = [pixels, depth, channels, blocks.size // len(firsts), blocks.size]
    words = np.concatenate([sizes, blocks]).astype(np.int32)
    values = {
        "finish": {**finish.values, "fraction": finish.fraction is not None},
        **(_own_values(context) if own else SHARED_VALUES),
    }
    scratch_bytes = PAIRS * len(order) * WORD_BYTES
    rule = _rule(pixels, depth, channels)
    return Kernel(values, (0,), (Constant("words", words),), scratch_bytes, (rule,))


def _own_values(context: Context) -> dict[str, Any]:
    depth, channels, pixels = _sizes(context)
    steps = -(-depth // 2)
    return {
        "inputs": depth,
        "channels": channels,
        "pixels": pixels,
        "steps": steps,
        "lone": pixels % chains.OUTPUTS > 0,
        **pointwise_dsp.loop(steps - 1, ROUND_STEPS),
    }


def block_starts(channels: int) -> list[int]:
    """The first channel of each block; of an odd number the second is computed twice, with the first and the third."""
    return [0, *range(1, channels, CHANNELS)] if channels % CHANNELS else list(range(0, channels, CHANNELS))


def _sizes(context: Context) -> tuple[int, int, int]:
    depth, channels = context.input(0).shape[3], context.output.shape[3]
    return depth, channels, context.output.size // channels


def _cycles(context: Context) -> float:
    """About what it takes: enough to choose between kernels."""
    depth, channels, pixels = _sizes(context)
    fours, lone = divmod(pixels, chains.OUTPUTS)
    steps, blocks = -(-depth // 2), -(-channels // CHANNELS)
    return blocks * (
        fours * (steps * STEP_CYCLES + STORE_CYCLES) + lone * (steps * LONE_STEP_CYCLES + LONE_STORE_CYCLES)
    )


def _rule(pixels: int, depth: int, channels: int) -> Overlap:
    """Of blocks of four pixels, then of single ones."""
    whole = pixels // chains.OUTPUTS * chains.OUTPUTS
    starts = np.concatenate([np.arange(0, whole, chains.OUTPUTS), np.arange(whole, pixels)])
    sizes = np.where(starts < whole, chains.OUTPUTS, 1)
    return overlap.of_blocks(0, starts, sizes, depth, channels)
