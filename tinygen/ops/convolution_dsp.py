"""Turns a convolution into the numbers and words of its kernel for cores with the DSP extension.

The rows of the input under a row of outputs lie widened in scratch, in the order of ops/convolution_layout.py. Two
outputs by four channels are computed at a time, by the byte pairs of ops/byte_pairs.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tinygen.ir import Array
from tinygen.ops import byte_pairs, dsp, weighted, window_walk
from tinygen.ops.byte_pairs import WORD_BYTES
from tinygen.ops.convolution_layout import CHANNELS, Layout, distances, layout_of, layouts, loads
from tinygen.ops.spec import Constant, Context, Kernel
from tinygen.ops.unroll import chunk
from tinygen.ops.window import convolution_geometry

TEMPLATE = "kernels/conv_2d.dsp.c.j2"
OPERANDS = weighted.Operands(channel_axis=0)
MOST_TAPS = 12
"""Pairs of inputs under one output that are printed one after another: 0.7 kB of instructions; more become a loop."""
CODE_BYTES = 700
"""About those of a function."""
MOST_COPIES = 12
"""Words of four inputs, or bytes, that are widened one after another."""


def applies(context: Context) -> bool:
    """One group, offsets that fit the instructions, weights that can be paired, a scaling that is proved exact."""
    if context.input(1).shape[3] != context.input(0).shape[3] or not layouts(context):
        return False
    found, scaling = dsp.sums(context, OPERANDS), weighted.fixed_point(context, OPERANDS)
    return byte_pairs.fit(found, CHANNELS) and byte_pairs.can_finish(
        context, scaling, found, lambda: dsp.two_roundings(context, OPERANDS, found)
    )


def params(context: Context) -> Kernel:
    """Numbers for the template, the words of all blocks, and room for the columns under a row of outputs."""
    layout, window = layout_of(context), convolution_geometry(context)
    rule = window_walk.by_rows(context, window, layout.turned)
    return replace(
        kernel(context, layout, {"by_row": False, "part": 0, "apart": window_walk.words(rule)}), overlaps=(rule,)
    )


def with_lone_output(kernel: Kernel) -> Kernel:
    """The same with instructions for an odd row's last output, which else is computed with the one before."""
    return replace(kernel, values={**kernel.values, "lone": kernel.values["out_along"] % 2 == 1})


def own_params(context: Context) -> Kernel:
    """`params` of the kernel whose blocks are its own."""
    return with_lone_output(params(context))


def kernel(context: Context, layout: Layout, more: Mapping[str, Any]) -> Kernel:
    """Numbers and words, and `more` values."""
    found = dsp.sums(context, OPERANDS)
    finish = byte_pairs.finish(
        context, weighted.fixed_point(context, OPERANDS), found, dsp.two_roundings(context, OPERANDS, found)
    )
    assert finish is not None  # proved by applies
    groups = context.input(0).shape[3] // layout.channels
    words = byte_pairs.words_of_groups(found, finish, layout.order, CHANNELS, groups)
    return of_words(context, layout, words, {"finish": finish.values, **more})


def of_words(context: Context, layout: Layout, words: Array, more: Mapping[str, Any]) -> Kernel:
    """Numbers for the words of all groups, and `more` values."""
    x, window, filters = context.input(0), convolution_geometry(context), context.output.shape[3]
    groups = x.shape[3] // layout.channels
    values = {
        **window.values(),
        **_column_values(layout, x.zero_point),
        **distances(layout, window, filters, groups),
        **_loop(layout),
        "batches": x.shape[0],
        "in_elements": x.size // x.shape[0],
        "out_elements": context.output.size // x.shape[0],
        "in_channels": layout.channels,
        "out_channels": filters,
        "depth": x.shape[3],
        "groups": groups,
        "blocks_words": words.size // groups,
        "lone": False,
        **more,
    }
    return Kernel(values, (0,), (Constant("words", words),), layout.scratch_bytes)


def _column_values(layout: Layout, zero_point: int) -> dict[str, Any]:
    """How scratch is filled."""
    first, end = layout.along.inside
    size = WORD_BYTES if layout.channels % WORD_BYTES == 0 else 1
    channels = size * chunk(layout.channels // size, MOST_COPIES)
    columns = MOST_COPIES * size // layout.channels if channels == layout.channels else 1
    return {
        "turned": layout.turned,
        "columns": layout.along.columns,
        "elements": layout.elements,
        "first_column": first,
        "inside_columns": end - first,
        "copied_at_once": size,
        "copied_channels": channels,
        "copied_columns": chunk(end - first, columns),
        "down_kernel": layout.down.kernel,
        "down_stride": layout.down.stride,
        "down_dilation": layout.down.dilation,
        "down_pad": layout.down.pad,
        "down_size": layout.down.input,
        "down_padded": layout.down.padded,
        "out_down": layout.down.output,
        "out_along": layout.along.output,
        "fill": zero_point,
    }


def _loop(layout: Layout) -> dict[str, Any]:
    """The inner loop: for each word of a column the taps, with what each loads and into which register."""
    words = layout.elements // 2
    words_a_round = chunk(words, max(1, MOST_TAPS // layout.along.kernel))
    column_words = layout.elements // 2
    return {
        "column_words": words,
        "column_bytes": layout.column_bytes,
        "pixel_words": layout.along.step * column_words,
        "tap_words": [tap * layout.along.dilation * column_words for tap in layout.taps],
        "tap_columns": [tap * layout.along.dilation for tap in layout.taps],
        "taps": loads(layout),
        "words_a_round": words_a_round,
        "rounds": words // words_a_round,
        "words_behind": words % words_a_round,
    }
