"""DEPTHWISE_CONV_2D: int8 convolution of each channel alone, any channel multiplier, stride, dilation and padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import (
    checks,
    depthwise_dsp,
    depthwise_int16_dsp,
    depthwise_line_dsp,
    depthwise_line_rounds_dsp,
    depthwise_line_shared_dsp,
    depthwise_mve,
    depthwise_pairs_dsp,
    depthwise_pairs_v7m,
    depthwise_rows_dsp,
    depthwise_shared_v6m,
    depthwise_small,
    depthwise_strided_dsp,
    depthwise_strided_rounds_dsp,
    depthwise_taps_dsp,
    depthwise_taps_v6m,
    depthwise_v6m,
    depthwise_v7m,
    depthwise_window,
    depthwise_window_dsp,
    weighted,
    window_rows,
    window_walk,
)
from tinygen.ops.spec import Context, Cost, Kernel, Leaner, OpSpec, Rows, Variant
from tinygen.ops.window import convolution_geometry, patches, read_convolution
from tinygen.ops.window_walk import Span

TEMPLATE = "kernels/depthwise_conv_2d.c.j2"
OPERANDS = weighted.Operands(channel_axis=3)


def check(context: Context) -> None:
    """Shapes [N, H, W, C] * [1, KH, KW, C * multiplier] -> [N, OH, OW, C * multiplier]."""
    checks.arity(context, (2, 3))
    x, filters = context.input(0), context.input(1)
    checks.activations(context, x, context.output)
    checks.rank(context, x, 4)
    checks.rank(context, filters, 4)
    weighted.check(context, OPERANDS)
    out_depth = filters.shape[3]
    if filters.shape[0] != 1 or out_depth % x.shape[3]:
        raise context.error(
            "the filters do not fit the channels",
            found=f"{x.shape[3]} channels, filters {list(filters.shape)}",
            expected=f"filters [1, height, width, a multiple of {x.shape[3]}]",
        )
    checks.shape(context, context.output, (x.shape[0], *convolution_geometry(context).output, out_depth))


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """Output channel c * multiplier + m is filter c * multiplier + m over input channel c."""
    x, filters = inputs[0].astype(np.int64) - context.input(0).zero_point, inputs[1][0].astype(np.int64)
    columns = np.repeat(patches(x, convolution_geometry(context), 0), filters.shape[2] // x.shape[3], axis=-1)
    return [weighted.finish(context, OPERANDS, np.einsum("nyxijc,ijc->nyxc", columns, filters), inputs)]


def params(context: Context) -> Kernel:
    """Numbers and arrays for the template; weights are turned to [O, KH, KW], the order in which they are read."""
    x, filters = context.input(0), context.constant(1)
    window, scaling = convolution_geometry(context), weighted.fixed_point(context, OPERANDS)
    values = {
        **window.values(),
        **weighted.values(context, OPERANDS, scaling),
        "batches": x.shape[0],
        "in_elements": x.size // x.shape[0],
        "channels": x.shape[3],
        "multiplicity": filters.shape[3] // x.shape[3],
        "out_channels": filters.shape[3],
        "padded": window.padded,
        "by_row": False,
    }
    weights = np.ascontiguousarray(np.moveaxis(filters[0], 2, 0))
    rule = window_walk.by_pixels(context, window_walk.axes(window), _blocks(context))
    values["apart"] = window_walk.words(rule)
    return Kernel(values, (0,), weighted.constants(context, OPERANDS, scaling, weights), overlaps=(rule,))


def rows(context: Context) -> Rows | None:
    """The same for one row of the output."""
    if not window_rows.possible(context):
        return None
    kernel, window = params(context), convolution_geometry(context)
    rule = window_walk.in_row(context, window, _blocks(context))
    values = {**kernel.values, "by_row": True, "apart": window_rows.words(rule)}
    return window_rows.rows(window, replace(kernel, values=values, overlaps=(rule,)), TEMPLATE, copies=False)


def _blocks(context: Context) -> list[tuple[Span, Span]]:
    """Each output reads one channel."""
    depth, filters = context.input(0).shape[3], context.output.shape[3]
    inputs = [channel * depth // filters for channel in range(filters)]
    return [((read, read + 1), (channel, channel + 1)) for channel, read in enumerate(inputs)]


def cost(context: Context) -> Cost:
    """One multiply-accumulate for each weight of a channel at each output, padding counted."""
    _, kernel_height, kernel_width, _ = context.input(1).shape
    return Cost(context.output.size * kernel_height * kernel_width, context.output.size)


def _rounds(code_bytes: int) -> Leaner:
    """Rounds of columns in place of a function of so many bytes."""
    return Leaner(
        "line_rounds_dsp",
        lambda _: code_bytes,
        depthwise_line_rounds_dsp.OWN_BYTES,
        depthwise_line_rounds_dsp.extra_cycles,
    )


SPEC = OpSpec(
    name="depthwise_conv_2d",
    tflite="DEPTHWISE_CONV_2D",
    read=read_convolution,
    check=check,
    reference=reference,
    params=params,
    cost=cost,
    variants=(
        Variant(
            "int16_dsp",
            depthwise_int16_dsp.TEMPLATE,
            frozenset({"dsp"}),
            depthwise_int16_dsp.applies,
            depthwise_int16_dsp.params,
            wide=True,
        ),
        Variant(
            "mve",
            depthwise_mve.TEMPLATE,
            frozenset({"mve"}),
            depthwise_mve.applies,
            depthwise_mve.params,
            depthwise_mve.rows,
        ),
        Variant(
            "pairs_dsp",
            depthwise_pairs_dsp.TEMPLATE,
            frozenset({"dsp"}),
            depthwise_pairs_dsp.applies,
            depthwise_pairs_dsp.params,
            depthwise_pairs_dsp.rows,
        ),
        Variant(
            "line_shared_dsp",
            depthwise_line_shared_dsp.TEMPLATE,
            frozenset({"dsp"}),
            depthwise_line_shared_dsp.applies,
            depthwise_line_shared_dsp.params,
            depthwise_rows_dsp.rows,
            leaner=_rounds(depthwise_line_shared_dsp.CODE_BYTES),
        ),
        Variant(
            "line_dsp",
            depthwise_line_dsp.TEMPLATE,
            frozenset({"dsp"}),
            depthwise_line_dsp.applies,
            depthwise_line_dsp.params,
            depthwise_rows_dsp.rows,
            leaner=_rounds(depthwise_line_dsp.CODE_BYTES),
        ),
        Variant(
            "line_rounds_dsp",
            depthwise_line_rounds_dsp.TEMPLATE,
            frozenset({"dsp"}),
            depthwise_line_rounds_dsp.applies,
            depthwise_line_rounds_dsp.params,
            depthwise_rows_dsp.rows,
        ),
        Variant(
            "strided_dsp",
            depthwise_strided_dsp.TEMPLATE,
            frozenset({"dsp"}),
            depthwise_strided_dsp.applies,
            depthwise_strided_dsp.params,
            depthwise_rows_dsp.rows,
            leaner=Leaner(
                "strided_rounds_dsp",
                lambda _: depthwise_strided_dsp.CODE_BYTES,
                depthwise_strided_rounds_dsp.OWN_BYTES,
                depthwise_strided_rounds_dsp.extra_cycles,
            ),
        ),
        Variant(
            "strided_rounds_dsp",
            depthwise_strided_rounds_dsp.TEMPLATE,
            frozenset({"dsp"}),
            depthwise_strided_rounds_dsp.applies,
            depthwise_strided_rounds_dsp.params,
            depthwise_rows_dsp.rows,
        ),
        Variant(
            "dsp",
            depthwise_dsp.TEMPLATE,
            frozenset({"dsp"}),
            depthwise_dsp.applies,
            depthwise_dsp.params,
            depthwise_rows_dsp.rows,
        ),
        Variant(
            "taps_dsp",
            depthwise_taps_dsp.TEMPLATE,
            frozenset({"dsp"}),
            depthwise_taps_dsp.applies,
            depthwise_taps_dsp.params,
            depthwise_taps_dsp.rows,
            leaner=Leaner(
                "window_dsp",
                lambda _: depthwise_taps_dsp.CODE_BYTES,
                depthwise_window_dsp.CODE_BYTES,
                depthwise_taps_dsp.saved_cycles,
            ),
        ),
        Variant(
            "window_dsp",
            depthwise_window_dsp.TEMPLATE,
            frozenset({"dsp"}),
            depthwise_window_dsp.applies,
            depthwise_window_dsp.params,
            depthwise_window_dsp.rows,
        ),
        Variant(
            "small_v6m",
            depthwise_small.TEMPLATE,
            frozenset({"armv6m"}),
            depthwise_small.floored_applies,
            depthwise_small.floored_params,
            depthwise_small.floored_rows,
        ),
        Variant(
            "small_v7m",
            depthwise_small.TEMPLATE,
            frozenset({"armv7m"}),
            depthwise_small.scaled_applies,
            depthwise_small.scaled_params,
            depthwise_small.scaled_rows,
        ),
        Variant(
            "v6m",
            depthwise_v6m.TEMPLATE,
            frozenset({"armv6m"}),
            depthwise_v6m.applies,
            depthwise_v6m.params,
            depthwise_v6m.rows,
            leaner=depthwise_shared_v6m.LEANER,
        ),
        Variant(
            "shared_v6m",
            depthwise_shared_v6m.TEMPLATE,
            frozenset({"armv6m"}),
            depthwise_shared_v6m.applies,
            depthwise_shared_v6m.params,
            depthwise_v6m.rows,
        ),
        Variant(
            "taps_v6m",
            depthwise_taps_v6m.TEMPLATE,
            frozenset({"armv6m"}),
            depthwise_taps_v6m.applies,
            depthwise_taps_v6m.params,
        ),
        Variant(
            "pairs_v7m",
            depthwise_pairs_v7m.TEMPLATE,
            frozenset({"armv7m"}),
            depthwise_pairs_v7m.applies,
            depthwise_pairs_v7m.params,
            depthwise_pairs_v7m.rows,
            leaner=Leaner(
                "v7m", depthwise_pairs_v7m.code_bytes, depthwise_pairs_v7m.LEAN_BYTES, depthwise_pairs_v7m.saved_cycles
            ),
        ),
        Variant(
            "v7m",
            depthwise_v7m.TEMPLATE,
            frozenset({"armv7m"}),
            depthwise_v7m.applies,
            depthwise_v7m.params,
            depthwise_v7m.rows,
        ),
        *(
            Variant(
                "window",
                "kernels/depthwise_conv_2d.window.c.j2",
                frozenset({feature}),
                depthwise_window.applies,
                depthwise_window.params,
            )
            for feature in ("armv7m", "armv6m", "rv32imc", "xtensa")
        ),
        Variant("c", TEMPLATE, rows=rows),
    ),
)
