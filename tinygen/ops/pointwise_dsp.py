"""Turns a 1x1 convolution into the numbers and words of its kernel for cores with the DSP extension.

Two pixels by four channels at a time; the pixels are widened to int16 first, once for all channels.
"""

from __future__ import annotations

from dataclasses import replace

from tinygen.ops import byte_pairs, dsp, overlap, weighted
from tinygen.ops.byte_pairs import WORD_BYTES, Finish
from tinygen.ops.dsp import Sums
from tinygen.ops.spec import Constant, Context, Kernel

TEMPLATE = "kernels/conv_2d.pointwise.dsp.c.j2"
OPERANDS = weighted.Operands(channel_axis=0)
PIXELS, CHANNELS = 2, 4
"""Of a block: 8 sums, as many as the registers hold beside what the inner loop needs."""
MOST_CHANNELS = 4092
"""A store reaches 4095 bytes from its register: the last channel of the second pixel."""
MOST_STEPS, FEW_STEPS = 16, 4
"""Steps of the inner loop (two inputs each) that are printed one after another; more become a loop of equal parts."""
SMALL_MACS = 2**14
"""Layers, or rows of one, below it take few steps: 8 % more of little time, for half the code."""
LONE_CYCLES = 0.65
"""Of those of two pixels, for one alone."""
STEP_CYCLES, STORE_CYCLES = 15, 72
"""Of a block."""
MOST_ROW = 15
"""Pixels of which one alone is worth code of its own."""
UNROLLED_WORDS = 4
"""Words of four inputs of each pixel that are widened in a round, at most."""


def applies(context: Context) -> bool:
    """At least one block, weights that can be paired, and a scaling that is proved exact."""
    found, scaling = dsp.sums(context, OPERANDS), weighted.fixed_point(context, OPERANDS)
    return fits(context, found) and byte_pairs.can_finish(
        context, scaling, found, lambda: dsp.two_roundings(context, OPERANDS, found)
    )


def fits(context: Context, found: Sums) -> bool:
    """Whether there is at least one block, of weights that can be paired."""
    channels = len(found.rows)
    many = channels <= MOST_CHANNELS and context.output.size >= PIXELS * channels
    return many and byte_pairs.fit(found, CHANNELS)


def cycles(context: Context) -> float:
    """About what it takes: enough to choose between kernels."""
    depth, channels = context.input(0).shape[3], context.output.shape[3]
    twos, lone = divmod(context.output.size // channels, PIXELS)
    pairs = twos + (LONE_CYCLES if lone and twos * PIXELS < MOST_ROW else lone)
    return -(-channels // CHANNELS) * pairs * (-(-depth // 2) * STEP_CYCLES + STORE_CYCLES)


def params(context: Context) -> Kernel:
    """Numbers for the template, the words of all blocks, and room for two pixels as int16."""
    found = dsp.sums(context, OPERANDS)
    steps = dsp.two_roundings(context, OPERANDS, found)
    finish = byte_pairs.finish(context, weighted.fixed_point(context, OPERANDS), found, steps)
    assert finish is not None  # proved by applies
    return kernel(context, found, finish)


def own_params(context: Context) -> Kernel:
    """`params` of the kernel whose blocks are its own: for few pixels, with instructions for one that is left alone."""
    dense = params(context)
    values = dense.values
    if values["pixels"] % PIXELS == 0 or values["pixels"] > MOST_ROW:
        return dense
    lone = loop(values["steps"] - 1, MOST_STEPS)
    return replace(dense, values={**values, "lone": lone}, scratch_bytes=PIXELS * values["steps"] * WORD_BYTES)


def kernel(context: Context, found: Sums, finish: Finish) -> Kernel:
    """The same for sums and their storing as given."""
    channels, depth = found.rows.shape
    order = byte_pairs.in_order_of_bytes(depth)
    words = byte_pairs.words(found, finish, order, CHANNELS)
    pixels = context.output.size // channels
    rule = overlap.of_rows(0, pixels, depth, channels, PIXELS)
    values = {
        "pixels": pixels,
        "in_channels": depth,
        "out_channels": channels,
        "blocks_words": words.size,
        "steps": len(order),
        "steps_behind_words": order[depth // 4 * 2 :],
        "widened_words": max(n for n in range(1, UNROLLED_WORDS + 1) if depth // 4 % n == 0),
        "finish": finish.values,
        "apart": overlap.words(rule),
        "lone": None,
        **loop(len(order) - 1, MOST_STEPS if context.output.size * depth >= SMALL_MACS else FEW_STEPS),
    }
    scratch_words = PIXELS * len(order) + pixels % PIXELS
    return Kernel(values, (0,), (Constant("words", words),), scratch_words * WORD_BYTES, (rule,))


def loop(steps: int, most: int) -> dict[str, int]:
    """The inner loop's steps as rounds of equal length, at most so long, and those behind the last."""
    rounds = max(1, -(-steps // most))
    return {"rounds": rounds, "steps_a_round": steps // rounds, "steps_behind": steps % rounds}
