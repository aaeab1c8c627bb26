"""Turns a convolution whose windows each lie in one piece of its input into the kernel of chained pixels (DSP).

So do windows over time: a window is then like a pixel of a 1x1 convolution, with all its inputs beside each other, but
that pixels overlap. Windows that reach outside the input are read from a copy with a border.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import (
    byte_pairs,
    chains,
    convolution_dsp,
    convolution_rows_dsp,
    dsp,
    overlap,
    pointwise_chain_dsp,
    weighted,
)
from tinygen.ops.convolution_layout import CHANNELS as PAIRED_CHANNELS
from tinygen.ops.convolution_layout import TAP_CYCLES, layouts
from tinygen.ops.pointwise_chain_dsp import CHANNELS, LEAST_INPUTS, OPERANDS, ROUND_STEPS, STEP_BYTES, WORD_BYTES
from tinygen.ops.spec import Constant, Context, Kernel, Overlap, Rows
from tinygen.ops.window import Geometry, convolution_geometry

TEMPLATE = "kernels/conv_2d.contiguous.chain.dsp.c.j2"
OUTPUTS = chains.OUTPUTS
STEP_CYCLES, STORE_CYCLES, PAIR_CYCLES, EDGE_CYCLES = 13, 65, 4.6, 200
"""Of a step of two inputs, of a block, of a word of pairs, of a copy with a border."""
PAIRED_STORE_CYCLES, COPY_CYCLES = 52, 5
"""By pairs of outputs: of a block; of an element that is copied."""
CODE_BYTES = 1500
"""About those of a function."""
FEWER_CYCLES = 1.0
"""It must take less than so much of what pairs of outputs take."""


@dataclass(frozen=True)
class Part:
    """Neighbouring outputs: of the padded input that they read, bytes of border, then of the input, and of border."""

    first: int
    count: int
    before: int
    read: int
    """The first byte of the input."""
    size: int
    after: int

    @property
    def copied(self) -> bool:
        """Whether they are read from a copy."""
        return self.before + self.after > 0


@dataclass(frozen=True)
class Windows:
    """Windows that lie `step` bytes apart, each of so many, over an input with `pad` bytes before it."""

    count: int
    inputs: int
    step: int
    pad: int
    input_bytes: int

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """Those that reach in front of the input, those inside, those behind; in whole groups, but for the last."""
        before = min(self.count, -(-self.pad // self.step))
        inside = (self.input_bytes + self.pad - self.inputs) // self.step + 1
        first = -(-before // OUTPUTS) * OUTPUTS
        middle = (inside - first) // OUTPUTS * OUTPUTS if inside < self.count else self.count - first
        if middle < OUTPUTS:
            return (self._part(0, self.count),)
        cuts = [0, first, first + middle, self.count]
        return tuple(self._part(a, b - a) for a, b in itertools.pairwise(cuts) if a < b)

    def _part(self, first: int, count: int) -> Part:
        begin = first * self.step - self.pad
        end = begin + (count - 1) * self.step + self.inputs
        read, stop = max(0, begin), min(self.input_bytes, end)
        return Part(first, count, read - begin, read, max(0, stop - read), end - max(stop, read))

    @property
    def edge_bytes(self) -> int:
        """Of the largest copy."""
        return max((part.before + part.size + part.after for part in self.parts if part.copied), default=0)

    def cycles(self, filters: int) -> float:
        """About what they take."""
        steps, blocks = -(-self.inputs // 2), -(-filters // CHANNELS)
        group = blocks * (steps * STEP_CYCLES + STORE_CYCLES) + 3 * steps * PAIR_CYCLES
        return sum(sum(divmod(part.count, OUTPUTS)) * group + part.copied * EDGE_CYCLES for part in self.parts)


def applies(context: Context) -> bool:
    """One batch and group, sums of 24 bits, a scaling that is proved exact, faster than in pairs of outputs."""
    found = windows(context)
    channels = context.output.shape[3]
    if found is None or channels < CHANNELS or found.inputs < LEAST_INPUTS or found.count < OUTPUTS:
        return False
    if weighted.activation_range(context) != quant.RANGES["int8"]:
        return False
    if found.cycles(channels) >= FEWER_CYCLES * _paired_cycles(context):
        return False
    return chains.applies(context, OPERANDS)


def saved_cycles(context: Context) -> float:
    """About what pairs of outputs take more."""
    found = windows(context)
    return max(0.0, _paired_cycles(context) - found.cycles(context.output.shape[3])) if found else 0.0


def params(context: Context) -> Kernel:
    """The words of the layer and of all blocks, room for four windows in pairs and for a copy of an edge."""
    sums, scaling = dsp.sums(context, OPERANDS), weighted.fixed_point(context, OPERANDS)
    finish, found = chains.finish(context, scaling, sums, dsp.two_roundings(context, OPERANDS, sums)), windows(context)
    assert finish is not None and found is not None  # proved by applies
    channels = context.output.shape[3]
    order, firsts = byte_pairs.in_order_of_bytes(found.inputs), pointwise_chain_dsp.block_starts(channels)
    blocks = chains.words(sums, finish, order, firsts)
    sizes = [found.step, found.inputs, channels]
    rule = _rule(found, channels, context)
    pairs_bytes = (OUTPUTS - 1) * len(order) * WORD_BYTES
    values = {
        **convolution_geometry(context).values(),
        "in_channels": context.input(0).shape[3],
        "out_channels": channels,
        "outputs": OUTPUTS,
        "finish": {**finish.values, "fraction": finish.fraction is not None},
        **dict.fromkeys(("inputs", "channels", "pixels", "steps", "halfwords")),
        "round_steps": ROUND_STEPS,
        "step_bytes": STEP_BYTES[OUTPUTS],
        "rounds": 2,
        "steps_a_round": ROUND_STEPS,
        "steps_behind": 0,
        "parts": found.parts,
        "pairs_bytes": pairs_bytes,
        "fill": context.input(0).zero_point,
        "apart": overlap.words(rule),
    }
    words = np.concatenate([sizes, blocks]).astype(np.int32)
    return Kernel(values, (0,), (Constant("words", words),), pairs_bytes + found.edge_bytes, (rule,))


def rows(context: Context) -> Rows | None:
    """A row by pairs of outputs."""
    return convolution_rows_dsp.own_rows(context) if convolution_dsp.applies(context) else None


def windows(context: Context) -> Windows | None:
    """The windows, where each lies in one piece of the input and all lie evenly."""
    x, window = context.input(0), convolution_geometry(context)
    if x.shape[0] > 1 or context.input(1).shape[3] != x.shape[3]:
        return None
    if window.input[0] == window.kernel[0] == window.output[0] == 1:
        return _along(window, 1, x.shape[3], x.size)
    if window.input[1] == window.kernel[1] and window.output[1] == 1:
        return _along(window, 0, x.shape[2] * x.shape[3], x.size)
    return None


def _along(window: Geometry, axis: int, element: int, input_bytes: int) -> Windows | None:
    """Those that move along an axis of elements of so many bytes; None with gaps, or anything outside across it."""
    across = 1 - axis
    gaps = any(size > 1 and gap > 1 for size, gap in zip(window.kernel, window.dilation, strict=True))
    if gaps or window.pad[across]:
        return None
    size, step, pad = window.kernel[axis] * element, window.stride[axis] * element, window.pad[axis] * element
    return Windows(window.output[axis], size, step, pad, input_bytes)


def _paired_cycles(context: Context) -> float:
    """About what the kernel of pairs of outputs takes."""
    blocks = -(-context.output.shape[3] // PAIRED_CHANNELS)
    way = next(iter(layouts(context)), None)
    if way is None:
        return float("inf")
    pairs = -(-way.along.output // 2)
    taps = way.along.kernel * way.elements // 2 * TAP_CYCLES
    copied = way.along.columns * way.elements * COPY_CYCLES
    return way.down.output * (pairs * blocks * (taps + PAIRED_STORE_CYCLES) + copied)


def _rule(found: Windows, channels: int, context: Context) -> Overlap:
    """Of copies, or of groups of windows and then of single ones."""
    reads, writes = list[tuple[int, int]](), list[tuple[int, int]]()
    for part in found.parts:
        if part.copied:
            reads.append((part.read, part.read + part.size))
            writes.append((part.first * channels, (part.first + part.count) * channels))
            continue
        whole = part.count // OUTPUTS * OUTPUTS
        for start in (*range(0, whole, OUTPUTS), *range(whole, part.count)):
            size, first = OUTPUTS if start < whole else 1, part.first + start
            begin = first * found.step - found.pad
            reads.append((begin, begin + (size - 1) * found.step + found.inputs))
            writes.append((first * channels, (first + size) * channels))
    return overlap.of_steps(0, _array(reads), _array(writes), found.input_bytes, context.output.size)


def _array(spans: list[tuple[int, int]]) -> Array:
    return np.array(spans)
