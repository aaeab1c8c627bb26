"""Turns a 1x1 convolution into the numbers and words of its kernel of chained pixels, for the DSP extension.

Four pixels by two channels at a time: three multiplications for each four sums (ops/chains.py); rows by five where that
leaves fewer pixels over. Those that are left are computed one by one, in the same way. All sizes are words of the
layer, so that layers of every shape share a kernel; large ones have a function of their own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ops import byte_pairs, chains, dsp, overlap, pixelwise, pointwise_dsp, weighted
from tinygen.ops.spec import Constant, Context, Kernel, Overlap, Rows

TEMPLATE = "kernels/conv_2d.pointwise.chain.dsp.c.j2"
OPERANDS = weighted.Operands(channel_axis=0)
WORD_BYTES = INPUTS_A_WORD = 4
CHANNELS = 2
"""Of a block: 6 or 8 sums, as many as the registers hold beside what the inner loop needs."""
LEAST_INPUTS = 4
"""Inputs behind the last whole word are taken from the last four."""
ROUND_STEPS = 16
"""Steps of the inner loop (two inputs each) that are printed one after another."""
STEP_BYTES = {4: 48, 5: 60}
"""Of a step, by the pixels of a chain: 12 or 15 instructions of 4 bytes."""
OWN_OUTPUTS = 2**14
"""A layer of so many may have a function of its own, if that saves enough for its bytes."""
MOST_OWN_CHANNELS = 4096 // (chains.OUTPUTS - 1)
"""Of a layer with a function of its own: a store has 12 bits for how far it is from the first pixel's."""
HALFWORDS_FROM = 2**10
"""Pixels from which on such a function reads weights as they are multiplied, where they take twice the bytes.

That saves a cycle for each two inputs of a block: 64 cycles a byte. A function of its own for fewer pixels is hardly
worth its bytes either.
"""
OWN_BLOCK_CYCLES, OWN_CHAIN_CYCLES = 5, 46
"""What such a function takes less for a block, and for all blocks of four pixels."""
OWN_BYTES, SHARED_BYTES = 430, 1580
"""About those of such a function beside its steps, and of one for all sizes."""
STEP_CYCLES, STORE_CYCLES = {4: 13, 5: 17}, {4: 56, 5: 71}
"""Of a block, by the pixels of a chain."""
FEWER_CYCLES = 0.85
"""Pairs of pixels must take less than so much of that to be worth code of their own."""


def applies(context: Context, outputs: int = chains.OUTPUTS) -> bool:
    """At least one block, sums of 24 bits, and a scaling that is proved exact; no limits inside the output's range.

    Not where pairs of pixels take less, since they leave fewer over.
    """
    depth, channels, pixels = _sizes(context)
    if depth < LEAST_INPUTS or channels < CHANNELS or pixels < outputs:
        return False
    if weighted.activation_range(context) != quant.RANGES["int8"]:
        return False
    if channels >= pointwise_dsp.CHANNELS and pointwise_dsp.cycles(context) < FEWER_CYCLES * _cycles(context, outputs):
        return False
    return chains.applies(context, OPERANDS)


def params(context: Context) -> Kernel:
    """The words of the layer and of all blocks, and room for four pixels in pairs."""
    return _kernel(context, context, chains.OUTPUTS, may_own=True)


def shared_params(context: Context) -> Kernel:
    """The same without a function of its own."""
    return _kernel(context, context, chains.OUTPUTS, may_own=False)


def own_bytes(context: Context) -> int:
    """About those of a layer's own function; none, where it has none."""
    steps = min(-(-context.input(0).shape[3] // 2), ROUND_STEPS)
    return OWN_BYTES + steps * STEP_BYTES[chains.OUTPUTS] if _has_own(context, context) else 0


def shared_cycles(context: Context) -> float:
    """About what a layer takes more without a function of its own."""
    depth, channels, pixels = _sizes(context)
    block_cycles = OWN_BLOCK_CYCLES + (-(-depth // 2) if _by_halfwords(context) else 0)
    return pixels / chains.OUTPUTS * (OWN_CHAIN_CYCLES + -(-channels // CHANNELS) * block_cycles)


def shared_rows(context: Context) -> Rows | None:
    """Those of `rows` without a function of their own."""
    return rows(context, may_own=False)


def rows(context: Context, may_own: bool = True) -> Rows | None:
    """The same for one row of the output, five pixels at a time or two where those leave fewer over."""
    row = pixelwise.of_one_row(context)
    if row is None:
        return None
    by_twos = _rows_by_twos(context, row)
    outputs = min((chains.OUTPUTS, chains.MOST_OUTPUTS), key=lambda outputs: _cycles(row, outputs))
    if not applies(row, outputs):
        return by_twos
    kernel = _kernel(row, context, outputs, may_own)
    if outputs > chains.OUTPUTS and kernel.values["finish"]["shift"] is None:
        return by_twos
    return Rows(kernel, TEMPLATE, extra_cycles=_extra(context, _cycles(row, outputs)), small=by_twos)


def _has_own(part: Context, layer: Context) -> bool:
    """Whether a layer, or this part of it, has a function of its own: not if that leaves pixels over or is too wide."""
    _, channels, pixels = _sizes(part)
    return layer.output.size >= OWN_OUTPUTS and pixels % chains.OUTPUTS == 0 and channels <= MOST_OWN_CHANNELS


def _by_halfwords(layer: Context) -> bool:
    """Whether a function of its own reads weights as they are multiplied."""
    return _sizes(layer)[2] >= HALFWORDS_FROM


def _rows_by_twos(context: Context, row: Context) -> Rows | None:
    """Rows with less scratch."""
    if not pointwise_dsp.applies(row):
        return None
    extra = _extra(context, pointwise_dsp.cycles(row))
    return Rows(pointwise_dsp.own_params(row), pointwise_dsp.TEMPLATE, extra_cycles=extra)


def _extra(context: Context, row_cycles: float) -> int:
    return round(context.output.shape[1] * row_cycles - _cycles(context, chains.OUTPUTS))


def _kernel(part: Context, layer: Context, outputs: int, may_own: bool) -> Kernel:
    """A layer or a row of it, by chains of so many pixels: by its own function, or one whose sizes are words of it."""
    found, scaling = dsp.sums(part, OPERANDS), weighted.fixed_point(part, OPERANDS)
    finish = chains.finish(part, scaling, found, dsp.two_roundings(part, OPERANDS, found))
    assert finish is not None  # proved by applies
    depth, channels, pixels = _sizes(part)
    own = may_own and outputs == chains.OUTPUTS and _has_own(part, layer)
    halfwords = own and _by_halfwords(layer)
    order, firsts = byte_pairs.in_order_of_bytes(depth), block_starts(channels)
    # An odd input behind all steps has a partner of zeros: all of them are alike.
    paired = [(first, second % (depth + 1)) for first, second in order]
    blocks = chains.words(found, finish, paired, firsts, halfwords)
    sizes = [] if own else [pixels, depth, channels]
    words = np.concatenate([sizes, blocks]).astype(np.int32)
    values = {
        "outputs": outputs,
        "finish": {**finish.values, "fraction": finish.fraction is not None},
        **(_own_values(part, blocks.size, len(firsts)) if own else _shared_values(outputs)),
        "halfwords": halfwords,
    }
    scratch_bytes = (outputs - 1) * len(order) * WORD_BYTES
    rule, room = _rule(pixels, outputs, depth, channels), _room(pixels, outputs, depth)
    return Kernel(values, (0,), (Constant("words", words),), scratch_bytes, (rule,), room)


def _own_values(context: Context, words: int, blocks: int) -> dict[str, Any]:
    depth, channels, pixels = _sizes(context)
    steps = -(-depth // 2)
    return {
        "inputs": depth,
        "channels": channels,
        "pixels": pixels,
        "steps": steps,
        "words": words,
        "block_words": words // blocks,
        **pointwise_dsp.loop(steps - 1, ROUND_STEPS),
    }


def _shared_values(outputs: int) -> dict[str, Any]:
    return {
        **dict.fromkeys(("inputs", "channels", "pixels", "steps")),
        "round_steps": ROUND_STEPS,
        "step_bytes": STEP_BYTES[outputs],
        "rounds": 2,
        "steps_a_round": ROUND_STEPS,
        "steps_behind": 0,
    }


def block_starts(channels: int) -> list[int]:
    """The first channel of each block; of an odd number the second is computed twice, with the first and the third."""
    return [0, *range(1, channels, CHANNELS)] if channels % CHANNELS else list(range(0, channels, CHANNELS))


def _sizes(context: Context) -> tuple[int, int, int]:
    depth, channels = context.input(0).shape[3], context.output.shape[3]
    return depth, channels, context.output.size // channels


def _cycles(context: Context, outputs: int) -> float:
    """About what chains of so many pixels take: enough to choose between kernels."""
    depth, channels, pixels = _sizes(context)
    steps, blocks = -(-depth // 2), -(-channels // CHANNELS)
    return blocks * sum(divmod(pixels, outputs)) * (steps * STEP_CYCLES[outputs] + STORE_CYCLES[outputs])


def _rule(pixels: int, outputs: int, depth: int, channels: int) -> Overlap:
    """Of blocks of so many pixels, then of single ones."""
    whole = pixels // outputs * outputs
    starts = np.concatenate([np.arange(0, whole, outputs), np.arange(whole, pixels)])
    sizes = np.where(starts < whole, outputs, 1)
    return overlap.of_blocks(0, starts, sizes, depth, channels)


def _room(pixels: int, outputs: int, depth: int) -> tuple[Overlap, ...]:
    """Where scratch may lie over the inputs of a single chain: of each four inputs all pixels are read first."""
    if pixels != outputs or depth % INPUTS_A_WORD:
        return ()
    group_bytes = (outputs - 1) * INPUTS_A_WORD // 2 * WORD_BYTES
    groups = np.arange(depth // INPUTS_A_WORD)[:, None]
    reads = groups * INPUTS_A_WORD + np.array([0, (pixels - 1) * depth + INPUTS_A_WORD])
    writes = groups * group_bytes + np.array([0, group_bytes])
    return (overlap.of_steps(0, reads, writes, pixels * depth, len(groups) * group_bytes),)
