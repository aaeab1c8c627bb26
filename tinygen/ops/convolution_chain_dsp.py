"""Turns a convolution into the numbers and words of its kernel of chained outputs, for cores with the DSP extension.

The rows of the input under a row of outputs lie in scratch in the order of ops/convolution_layout.py, each column's
inputs paired with those under the next output (ops/chains.py). Four outputs by two channels are computed at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tinygen import quant
from tinygen.ops import chains, dsp, weighted, window_walk
from tinygen.ops.convolution_layout import CHANNELS as PAIRED_CHANNELS
from tinygen.ops.convolution_layout import MOST_OFFSET, Layout, distances, layout_of, layouts
from tinygen.ops.pointwise_chain_dsp import CHANNELS, WORD_BYTES, block_starts
from tinygen.ops.spec import Constant, Context, Kernel
from tinygen.ops.unroll import chunk
from tinygen.ops.window import convolution_geometry

TEMPLATE = "kernels/conv_2d.chain.dsp.c.j2"
OPERANDS = weighted.Operands(channel_axis=0)
LINKS = chains.OUTPUTS - 1
MOST_TAPS = 24
"""Pairs of inputs under one output that are printed one after another: 1 kB of instructions; more become a loop."""
MOST_COPIES = 8
"""Words of four inputs that are paired one after another."""
TAP_CYCLES, STORE_CYCLES, PAIR_CYCLES = 10, 70, 2.5
"""Of a tap beside the loads of its inputs; of a block; of an input in scratch."""
FEWER_CYCLES = 1.0
"""It must take less than so much of what byte pairs take."""


@dataclass(frozen=True)
class Phase:
    """Every so many columns under a row of outputs, from one on: those that are paired with each other."""

    first: int
    """Its first pair with a column of the input; those before are of the border alone."""
    column: int
    """Its first column of the input; there are none where `inside` is 0."""
    inside: int
    begins_outside: bool
    """Whether the first pair's first column is of the border."""
    ends_outside: bool
    """Whether the last pair's second column is."""

    @property
    def steps(self) -> int:
        """Pairs of two columns of the input; where it begins outside, of the border and the first one too."""
        return max(0, self.inside - (not self.begins_outside))


def applies(context: Context) -> bool:
    """Whole words of channels, a row of four outputs, sums of 24 bits, a scaling that is proved exact.

    No limits inside the output's range; not where byte pairs take less, since they leave fewer outputs over.
    """
    depth = context.input(0).shape[3]
    if context.input(1).shape[3] != depth or depth % WORD_BYTES or context.output.shape[3] < CHANNELS:
        return False
    if weighted.activation_range(context) != quant.RANGES["int8"] or not _is_faster(context):
        return False
    found, scaling = dsp.sums(context, OPERANDS), weighted.fixed_point(context, OPERANDS)
    return chains.fits(found) and chains.can_finish(
        context, scaling, found, lambda: dsp.two_roundings(context, OPERANDS, found)
    )


def params(context: Context) -> Kernel:
    """Numbers for the template, the words of all blocks, and room for the columns under a row of outputs."""
    layout, window = ways(context)[0], convolution_geometry(context)
    rule = window_walk.by_rows(context, window, layout.turned)
    return replace(
        kernel(context, layout, {"by_row": False, "part": 0, "apart": window_walk.words(rule)}), overlaps=(rule,)
    )


def cycles(context: Context) -> float:
    """About what it takes for one batch."""
    return cycles_of(ways(context)[0], context.output.shape[3])


def pairs_of(layout: Layout, outputs: int) -> int:
    """Columns of scratch under so many outputs: the last of the input's has no next one."""
    along = layout.along
    return (outputs - 2) * along.step + (along.kernel - 1) * along.dilation + 1


def kernel(context: Context, layout: Layout, more: Mapping[str, Any]) -> Kernel:
    """Numbers and words, and `more` values."""
    x, found, window = context.input(0), dsp.sums(context, OPERANDS), convolution_geometry(context)
    scaling = weighted.fixed_point(context, OPERANDS)
    finish = chains.finish(context, scaling, found, dsp.two_roundings(context, OPERANDS, found))
    assert finish is not None  # proved by applies
    firsts = block_starts(len(found.rows))
    words = chains.words(found, finish, layout.order, firsts)
    pairs = pairs_of(layout, layout.along.output)
    values = {
        **window.values(),
        **_column_values(layout, x.zero_point),
        **distances(layout, window, len(found.rows)),
        **_loop(layout),
        "batches": x.shape[0],
        "in_elements": x.size // x.shape[0],
        "out_elements": context.output.size // x.shape[0],
        "in_channels": layout.channels,
        "out_channels": len(found.rows),
        "block_words": words.size // len(firsts),
        "all_words": words.size,
        "pairs": pairs,
        "finish": {**finish.values, "fraction": finish.fraction is not None},
        **more,
    }
    return Kernel(values, (0,), (Constant("words", words),), pairs * layout.column_bytes)


def _column_values(layout: Layout, zero_point: int) -> dict[str, Any]:
    """How scratch is filled."""
    phases = [_phase(layout, start) for start in range(layout.along.step)]
    low, high = (zero_point + chains.LOW_OFFSET) & 255, zero_point & 255
    return {
        "turned": layout.turned,
        "along_distance": layout.along.step,
        "phases": [_copies(phase) for phase in phases],
        "border": _border(layout, phases),
        "first_column": layout.along.inside[0],
        "down_kernel": layout.down.kernel,
        "down_stride": layout.down.stride,
        "down_dilation": layout.down.dilation,
        "down_pad": layout.down.pad,
        "down_size": layout.down.input,
        "down_padded": layout.down.padded,
        "along_size": layout.along.input,
        "along_padded": layout.along.padded,
        "out_down": layout.down.output,
        "out_along": layout.along.output,
        "fill": high * 0x01010101,
        "fill_pair": (high << 8 | low) * 0x00010001,
    }


def _phase(layout: Layout, start: int) -> Phase:
    step, (first, end), columns = layout.along.step, layout.along.inside, layout.along.columns
    inside = [column for column in range(start, columns, step) if first <= column < end]
    if not inside:
        return Phase(0, 0, 0, False, False)
    begins, ends = inside[0] >= step, inside[-1] + step < columns
    return Phase(inside[0] - step * begins, inside[0], len(inside), begins, ends)


def _copies(phase: Phase) -> dict[str, Any]:
    """How a phase is printed: a loop over some pairs at a time, then those that are left."""
    copied = chunk(phase.steps, MOST_COPIES)
    rounds = phase.steps // copied if copied < phase.steps else 0
    return {**vars(phase), "copied": copied, "rounds": rounds, "left": phase.steps - rounds * copied}


def _border(layout: Layout, phases: list[Phase]) -> list[tuple[int, int]]:
    """Pairs of the border alone, from each first to the one behind the last."""
    step = layout.along.step
    written = {phase.first + step * i for phase in phases for i in range(phase.steps + phase.ends_outside)}
    alone = [pair for pair in range(pairs_of(layout, layout.along.output)) if pair not in written]
    firsts = [pair for pair in alone if pair - 1 not in alone]
    return list(zip(firsts, (pair + 1 for pair in alone if pair + 1 not in alone), strict=True))


def _loop(layout: Layout) -> dict[str, Any]:
    """The inner loop: for each word of a column the taps, with what each loads and into which register."""
    words = layout.elements // 2
    words_a_round = chunk(words, max(1, MOST_TAPS // layout.along.kernel))
    return {
        "column_words": words,
        "column_bytes": layout.column_bytes,
        "pixel_words": layout.along.step * words,
        "tap_words": [tap * layout.along.dilation * words for tap in layout.taps],
        "taps": _loads(layout),
        "words_a_round": words_a_round,
        "rounds": words // words_a_round,
        "words_behind": words % words_a_round,
    }


def _loads(layout: Layout) -> list[dict[str, Any]]:
    """For each tap the columns to be loaded and the registers of its three: what the tap before has stays."""
    held: dict[int, str] = {}
    taps = []
    for tap in layout.taps:
        columns = [tap * layout.along.dilation + link * layout.along.step for link in range(LINKS)]
        held = {column: register for column, register in held.items() if column in columns}
        free = [register for register in ("x0", "x1", "x2") if register not in held.values()]
        new = list(zip(free, (column for column in columns if column not in held), strict=True))
        held |= {column: register for register, column in new}
        taps.append({"loads": new, "inputs": [held[column] for column in columns]})
    return taps


def ways(context: Context) -> list[Layout]:
    """The ways to lay out the input that the instructions can reach, the cheapest first."""
    window, filters = convolution_geometry(context), context.output.shape[3]
    near = [
        way
        for way in layouts(context)
        if way.along.output >= chains.OUTPUTS
        and ((LINKS - 1) * way.along.step + (way.along.kernel - 1) * way.along.dilation) * way.column_bytes
        <= MOST_OFFSET
        and LINKS * distances(way, window, filters)["pixel_bytes"] + CHANNELS <= MOST_OFFSET
    ]
    return sorted(near, key=lambda way: cycles_of(way, filters))


def cycles_of(layout: Layout, filters: int) -> float:
    """About what it takes: enough to choose between the ways and between kernels."""
    words = layout.elements // 2
    loads = sum(len(tap["loads"]) for tap in _loads(layout))
    blocks = -(-layout.along.output // chains.OUTPUTS) * -(-filters // CHANNELS)
    block = words * (layout.along.kernel * TAP_CYCLES + loads) + STORE_CYCLES
    return layout.down.output * (blocks * block + layout.along.columns * layout.elements * PAIR_CYCLES)


def _is_faster(context: Context) -> bool:
    """Than byte pairs."""
    return bool(ways(context)) and cycles(context) < FEWER_CYCLES * byte_pair_cycles(context)


def byte_pair_cycles(context: Context) -> float:
    """The same of byte pairs, two outputs by four channels."""
    layout, filters = layout_of(context), context.output.shape[3]
    blocks = -(-layout.along.output // 2) * -(-filters // PAIRED_CHANNELS)
    return layout.cycles(filters) + layout.down.output * blocks * STORE_CYCLES
