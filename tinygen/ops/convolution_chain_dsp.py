"""Turns a convolution into the numbers and words of its kernel of chained outputs, for cores with the DSP extension.

What lies under four outputs is copied to scratch: each column's inputs paired with those under the next output
(ops/chains.py), in the order in which the inner loop takes them. Four outputs by two channels are computed at a time.
All sizes are words of the layer, so that layers with the same window share a kernel.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ops import chains, dsp, weighted, window_walk
from tinygen.ops.convolution_layout import CHANNELS as PAIRED_CHANNELS
from tinygen.ops.convolution_layout import MOST_OFFSET, Axis, Layout, distances, layout_of, layouts
from tinygen.ops.pointwise_chain_dsp import CHANNELS, WORD_BYTES, block_starts
from tinygen.ops.spec import Constant, Context, Kernel
from tinygen.ops.window import convolution_geometry

TEMPLATE = "kernels/conv_2d.chain.dsp.c.j2"
OPERANDS = weighted.Operands(channel_axis=0)
LINKS = chains.OUTPUTS - 1
MOST_TAPS = 18
MOST_WORDS = 6
"""Pairs of inputs under one output, and words of a column, that are printed one after another; more become a loop.

0.8 kB of instructions: a cache of 1 kB holds them.
"""
MOST_COLUMNS = 6
"""Columns that are paired in one loop: as many as the registers hold beside it."""
TAP_CYCLES, STORE_CYCLES = 10, 80
"""Of a tap beside the loads of its inputs; of a block."""
PAIR_CYCLES, COLUMN_CYCLES = 4.6, 7
"""Of a word of pairs; of finding out where a column lies."""
ROUNDING_CYCLES = 3
"""Of an output, by two roundings beside one multiplication."""
CODE_BYTES = 1800
"""About those of a function."""
FEWER_CYCLES = 1.0
"""It must take less than so much of what byte pairs take."""


@dataclass(frozen=True)
class Run:
    """Neighbours under outputs after one another: columns of the input so many as `columns`, `stride` apart."""

    first: int
    """Its first column, from the first one under four outputs on."""
    columns: int
    place: int
    """Where its first word of pairs is among those of two inputs."""


def applies(context: Context) -> bool:
    """Whole words of channels, a row of four outputs, sums of 24 bits, a scaling that is proved exact.

    No limits inside the output's range; not where byte pairs take less, since they leave fewer outputs over.
    """
    depth = context.input(0).shape[3]
    if context.input(1).shape[3] != depth or depth % WORD_BYTES or context.output.shape[3] < CHANNELS:
        return False
    if weighted.activation_range(context) != quant.RANGES["int8"] or not _is_faster(context):
        return False
    return chains.applies(context, OPERANDS)


def shared_applies(context: Context) -> bool:
    """The same, and two roundings are exact as they are: a shift for each channel, all else a word of the layer."""
    found = dsp.sums(context, OPERANDS)
    return applies(context) and chains.by_channel(context, weighted.fixed_point(context, OPERANDS), found) is not None


def shared_cycles(context: Context) -> float:
    """About what it takes more to store two roundings."""
    return ROUNDING_CYCLES * context.output.size


def shared_params(context: Context) -> Kernel:
    """Those of `params` for two roundings."""
    return params(context, shared=True)


def params(context: Context, shared: bool = False) -> Kernel:
    """Numbers for the template, the words of the layer and of all blocks, and room for what lies under four outputs."""
    layout, window = ways(context)[0], convolution_geometry(context)
    x, filters = context.input(0), context.output.shape[3]
    far = distances(layout, window, filters)
    along_bytes = far["in_along_step"] // layout.along.apart
    sizes = [along_bytes, far["in_down_step"], layout.down.output, far["out_down_step"]]
    values = {"by_row": False, "turned": layout.turned, "batches": x.shape[0]}
    if x.shape[0] > 1:
        values |= {"in_elements": x.size // x.shape[0], "out_elements": context.output.size // x.shape[0]}
    rule = window_walk.by_groups(context, window, chains.OUTPUTS, layout.turned)
    return replace(kernel(context, layout, values, sizes, far["pixel_bytes"], shared), overlaps=(rule,))


def cycles(context: Context) -> float:
    """About what it takes for one batch."""
    return cycles_of(ways(context)[0], context.output.shape[3])


def kernel(
    context: Context,
    layout: Layout,
    more: Mapping[str, Any],
    sizes: list[int],
    pixel_bytes: int,
    shared: bool,
) -> Kernel:
    """Numbers with `more` values, and words with more `sizes`."""
    x, found, window = context.input(0), dsp.sums(context, OPERANDS), convolution_geometry(context)
    scaling = weighted.fixed_point(context, OPERANDS)
    finish = (
        chains.by_channel(context, scaling, found)
        if shared
        else chains.finish(context, scaling, found, dsp.two_roundings(context, OPERANDS, found))
    )
    assert finish is not None  # proved by applies
    firsts = block_starts(len(found.rows))
    blocks = chains.words(found, finish, layout.order, firsts)
    one_shift = finish.shift is None
    header = [layout.down.input, layout.along.input, layout.channels, layout.along.output, pixel_bytes]
    block_words = blocks.size // len(firsts)
    header += [x.zero_point, block_words if len(found.rows) % CHANNELS else blocks.size, blocks.size, *sizes]
    header += [] if one_shift else [finish.values["addend"]]
    values = {
        **_window_values(layout),
        **_loop(layout),
        "sizes": window.kernel,
        "strides": window.stride,
        "header_words": len(header),
        "finish": {
            **finish.values,
            "addend": finish.values["addend"] if one_shift else None,
            "fraction": finish.fraction is not None,
        },
        **more,
    }
    words = np.concatenate([header, blocks]).astype(np.int32)
    return Kernel(values, (0,), (Constant("words", words),), scratch_bytes(layout))


def scratch_bytes(layout: Layout) -> int:
    """The words under four outputs, and a column of the border if there is one."""
    border = layout.channels if layout.down.padded or layout.along.padded else 0
    return layout.elements // 2 * len(_load_order(layout.along)) * WORD_BYTES + border


def _window_values(layout: Layout) -> dict[str, Any]:
    down, along = layout.down, layout.along
    return {
        "down_kernel": down.kernel,
        "down_stride": down.stride,
        "down_dilation": down.dilation,
        "down_pad": down.pad,
        "along_stride": along.stride,
        "along_pad": along.pad,
        "down_padded": down.padded,
        "padded": down.padded or along.padded,
        "runs": [vars(run) for run in _runs(along)],
    }


def _loop(layout: Layout) -> dict[str, Any]:
    """The inner loop: for each word of a column the taps, with the registers that each loads and those it takes."""
    words, order = layout.elements // 2, _load_order(layout.along)
    most = min(MOST_WORDS, max(1, MOST_TAPS // layout.along.kernel))
    taps = [
        {
            "loads": [register for register, _ in tap["loads"]],
            "inputs": tap["inputs"],
            "places": [order.index(column) for column in tap["columns"]],
        }
        for tap in loads_of_taps(layout.along)
    ]
    return {
        "places": len(order),
        "taps": taps,
        "words_a_round": max(size for size in range(1, most + 1) if words % size == 0),
    }


def loads_of_taps(along: Axis) -> list[dict[str, Any]]:
    """For each tap the columns to be loaded and the registers of its three: what the tap before has stays."""
    held: dict[int, str] = {}
    taps = []
    for tap in _order_of_taps(along):
        columns = [tap * along.dilation + link * along.stride for link in range(LINKS)]
        held = {column: register for column, register in held.items() if column in columns}
        free = [register for register in ("x0", "x1", "x2") if register not in held.values()]
        new = list(zip(free, (column for column in columns if column not in held), strict=True))
        held |= {column: register for register, column in new}
        taps.append({"loads": new, "columns": columns, "inputs": [held[column] for column in columns]})
    return taps


def _order_of_taps(along: Axis) -> list[int]:
    """Those after one another whose columns lie under outputs after one another."""
    return Layout(along, along, 1, False).taps


def _load_order(along: Axis) -> list[int]:
    """The columns in the order in which the taps load them."""
    return [column for tap in loads_of_taps(along) for _, column in tap["loads"]]


def _runs(along: Axis) -> list[Run]:
    """The loops that write the pairs: each has columns one stride after another, whose words lie one after another."""
    found: list[Run] = []
    for place, column in enumerate(_load_order(along)):
        last = found[-1] if found else None
        if last and last.columns < MOST_COLUMNS and column == last.first + (last.columns - 1) * along.stride:
            found[-1] = Run(last.first, last.columns + 1, last.place)
        else:
            found.append(Run(column, 2, place))
    return found


def ways(context: Context) -> list[Layout]:
    """The ways to lay out the input, the cheapest first: a chain of outputs along the width, or the height."""
    window, channels, filters = convolution_geometry(context), context.input(0).shape[3], context.output.shape[3]
    fields = (window.input, window.kernel, window.output, window.stride, window.dilation, window.pad)
    down, along = (Axis(*(pair[axis] for pair in fields)) for axis in range(2))
    both = [Layout(down, along, channels, False), Layout(along, down, channels, True)]
    return sorted((way for way in both if _is_possible(way)), key=lambda way: cycles_of(way, filters))


def _is_possible(layout: Layout) -> bool:
    """Whether there is a chain, each pair is loaded once, and a store reaches those of two words."""
    order = _load_order(layout.along)
    near = 2 * len(order) * WORD_BYTES <= MOST_OFFSET
    return layout.along.output >= chains.OUTPUTS and len(set(order)) == len(order) and near


def cycles_of(layout: Layout, filters: int) -> float:
    """About what it takes: enough to choose between the ways and between kernels."""
    words, loads = layout.elements // 2, len(_load_order(layout.along))
    groups = -(-layout.along.output // chains.OUTPUTS)
    columns = sum(run.columns for run in _runs(layout.along))
    block = words * (layout.along.kernel * TAP_CYCLES + loads) + STORE_CYCLES
    copied = words * loads * PAIR_CYCLES + layout.down.kernel * columns * COLUMN_CYCLES
    return layout.down.output * groups * (-(-filters // CHANNELS) * block + copied)


def _is_faster(context: Context) -> bool:
    """Than byte pairs."""
    return bool(ways(context)) and cycles(context) < FEWER_CYCLES * byte_pair_cycles(context)


def byte_pair_cycles(context: Context) -> float:
    """The same of byte pairs, two outputs by four channels; none, where they do not reach all columns."""
    if not layouts(context):
        return math.inf
    layout, filters = layout_of(context), context.output.shape[3]
    blocks = -(-layout.along.output // 2) * -(-filters // PAIRED_CHANNELS)
    return layout.cycles(filters) + layout.down.output * blocks * STORE_CYCLES
