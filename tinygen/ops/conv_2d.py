"""CONV_2D: int8 or int16 convolution, per-tensor or per-channel weights, any stride, dilation, padding and grouping."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import (
    checks,
    codebook_dsp,
    compressed_dsp,
    convolution_chain_dsp,
    convolution_chain_rows_dsp,
    convolution_chain_v6m,
    convolution_dsp,
    convolution_few_dsp,
    convolution_groups_dsp,
    convolution_mve,
    convolution_pairs_v7m,
    convolution_rows_dsp,
    convolution_v6m,
    convolution_widened_v6m,
    fully_connected_dsp,
    lanes_v7m,
    matrix_few_dsp,
    matrix_int16_dsp,
    matrix_v6m,
    nibbles_dsp,
    packed_pairs_v7m,
    packed_weights,
    packed_words,
    pointwise_chain_dsp,
    pointwise_chain_v6m,
    pointwise_dsp,
    pointwise_mve,
    sparse_weights,
    weighted,
    window_rows,
    window_walk,
    winograd_dsp,
    winograd_v6m,
)
from tinygen.ops.spec import Context, Cost, Kernel, Leaner, OpSpec, Rows, Variant
from tinygen.ops.window import convolution_geometry, patches, read_convolution
from tinygen.ops.window_walk import Span

TEMPLATE = "kernels/conv_2d.c.j2"
OPERANDS = weighted.Operands(channel_axis=0)
PLAIN = ""
"""In place of an extension: any core."""


def check(context: Context) -> None:
    """Shapes [N, H, W, I] * [O, KH, KW, I / groups] -> [N, OH, OW, O]."""
    checks.arity(context, (2, 3))
    x, filters = context.input(0), context.input(1)
    checks.activations(context, x, context.output)
    checks.rank(context, x, 4)
    checks.rank(context, filters, 4)
    weighted.check(context, OPERANDS)
    depth, group_depth, out_depth = x.shape[3], filters.shape[3], filters.shape[0]
    if depth % group_depth or out_depth % (depth // group_depth):
        raise context.error(
            "channels do not divide into groups",
            found=f"{depth} input channels, {group_depth} a filter, {out_depth} filters",
        )
    checks.shape(context, context.output, (x.shape[0], *convolution_geometry(context).output, out_depth))


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The convolution of TensorFlow Lite's reference kernel; products are summed exactly (in float64, below 2**53)."""
    x, filters = inputs[0], inputs[1]
    window = convolution_geometry(context)
    zero_point = context.input(0).zero_point
    out_depth, group_depth = filters.shape[0], filters.shape[3]
    groups = x.shape[3] // group_depth
    columns = patches(x.astype(np.float64) - zero_point, window, 0)
    columns = columns.reshape(*columns.shape[:5], groups, group_depth)
    rows = filters.astype(np.float64).reshape(groups, out_depth // groups, *filters.shape[1:])
    sums = [np.tensordot(columns[..., group, :], rows[group], axes=((3, 4, 5), (1, 2, 3))) for group in range(groups)]
    return [weighted.finish(context, OPERANDS, np.concatenate(sums, axis=-1).astype(np.int64), inputs)]


def params(context: Context) -> Kernel:
    """Numbers and arrays for the template; weights stay in the file's order [O, KH, KW, I / groups]."""
    x, filters = context.input(0), context.input(1)
    window, scaling = convolution_geometry(context), weighted.fixed_point(context, OPERANDS)
    per_group = filters.shape[0] // (x.shape[3] // filters.shape[3])
    values = {
        **window.values(),
        **weighted.lanes(per_group, filters.size // filters.shape[0]),
        **weighted.values(context, OPERANDS, scaling),
        "batches": x.shape[0],
        "in_elements": x.size // x.shape[0],
        "in_channels": x.shape[3],
        "group_channels": filters.shape[3],
        "filters_per_group": per_group,
        "out_channels": filters.shape[0],
        "padded": window.padded,
        "pixels": context.output.size // filters.shape[0],
        "by_row": False,
    }
    rule = window_walk.by_pixels(context, window_walk.axes(window), _blocks(context, per_group, len(values["lanes"])))
    values["apart"] = window_walk.words(rule)
    return Kernel(values, (0,), weighted.constants(context, OPERANDS, scaling), overlaps=(rule,))


def rows(context: Context) -> Rows | None:
    """The same for one row of the output."""
    if not window_rows.possible(context):
        return None
    kernel, window = params(context), convolution_geometry(context)
    blocks = _blocks(context, kernel.values["filters_per_group"], len(kernel.values["lanes"]))
    rule = window_walk.in_row(context, window, blocks)
    values = {**kernel.values, "by_row": True, "apart": window_rows.words(rule)}
    return window_rows.rows(window, replace(kernel, values=values, overlaps=(rule,)), TEMPLATE, copies=False)


def _blocks(context: Context, per_group: int, lanes: int) -> list[tuple[Span, Span]]:
    """Some filters at a time are summed, then written; each reads the channels of its group."""
    depth = context.input(1).shape[3]
    filters = range(0, context.output.shape[3], lanes)
    groups = [first // per_group * depth for first in filters]
    return [((read, read + depth), (first, first + lanes)) for read, first in zip(groups, filters, strict=True)]


def packed_params(context: Context) -> Kernel:
    """The same with the weights in fewer bits."""
    return packed_weights.kernel(context, params(context))


def sparse_params(context: Context) -> Kernel:
    """The same without the weights that are zero."""
    return sparse_weights.kernel(context, params(context))


def few_params(context: Context) -> Kernel:
    """The same of pixels by themselves, in words, of few filters."""
    return matrix_few_dsp.kernel(context, params(context))


def _is_sparse(context: Context) -> bool:
    filters = context.input(1)
    per_group = filters.shape[0] * filters.shape[3] // context.input(0).shape[3]
    return sparse_weights.applies(context, per_group)


def _is_pointwise(context: Context) -> bool:
    """A 1x1 kernel that reads every pixel once and all its channels."""
    window = convolution_geometry(context)
    whole = context.input(1).shape[3] == context.input(0).shape[3]
    return whole and window.kernel == (1, 1) and window.stride == (1, 1) and not window.padded


def _is_widened(context: Context) -> bool:
    """Whether Armv6-M widens rows, and does not chain the sums of outputs."""
    chained = _is_pointwise(context) and pointwise_chain_v6m.applies(context)
    return convolution_widened_v6m.applies(context) and not chained and not convolution_chain_v6m.applies(context)


def cost(context: Context) -> Cost:
    """One multiply-accumulate for each weight of a filter at each output, padding counted."""
    filters = context.input(1)
    return Cost(context.output.size * (filters.size // filters.shape[0]), context.output.size)


def _variant(
    extension: str,
    name: str,
    template: str,
    when: Callable[[Context], bool],
    params: Callable[[Context], Kernel],
    rows: Callable[[Context], Rows | None] | None = None,
    **more: Any,
) -> Variant:
    """One for cores with that extension."""
    return Variant(name, template, frozenset({extension} - {PLAIN}), when, params, rows, **more)


def _pointwise_variant(
    extension: str, name: str, template: str, when: Callable[[Context], bool], *functions: Any, **more: Any
) -> Variant:
    """The same for convolutions that read every pixel once."""
    return _variant(
        extension, name, template, lambda context: _is_pointwise(context) and when(context), *functions, **more
    )


VARIANTS = (
    _variant(
        "dsp",
        "int16_dsp",
        matrix_int16_dsp.TEMPLATE,
        matrix_int16_dsp.applies,
        matrix_int16_dsp.convolution,
        wide=True,
    ),
    _pointwise_variant(
        "mve", "pointwise_mve", pointwise_mve.TEMPLATE, pointwise_mve.applies, pointwise_mve.params, pointwise_mve.rows
    ),
    _pointwise_variant(
        "dsp",
        "pointwise_sparse_dsp",
        "kernels/conv_2d.pointwise.sparse.dsp.c.j2",
        compressed_dsp.pointwise_is_sparse,
        compressed_dsp.sparse_pointwise,
        block=pointwise_dsp.PIXELS,
    ),
    _pointwise_variant(
        "dsp",
        "pointwise_chain_dsp",
        pointwise_chain_dsp.TEMPLATE,
        pointwise_chain_dsp.applies,
        pointwise_chain_dsp.params,
        pointwise_chain_dsp.rows,
    ),
    _pointwise_variant(
        "dsp",
        "pointwise_dsp",
        pointwise_dsp.TEMPLATE,
        pointwise_dsp.applies,
        pointwise_dsp.own_params,
        block=pointwise_dsp.PIXELS,
        partial=pointwise_dsp.LONE_CYCLES,
    ),
    _pointwise_variant(
        "dsp",
        "one_pixel_sparse_dsp",
        "kernels/matrix_vector.sparse.dsp.c.j2",
        compressed_dsp.vector_is_sparse,
        compressed_dsp.sparse_vector,
    ),
    _pointwise_variant(
        "dsp",
        "one_pixel_dsp",
        "kernels/matrix_vector.dsp.c.j2",
        fully_connected_dsp.applies,
        fully_connected_dsp.params,
    ),
    _pointwise_variant(
        "dsp",
        "one_pixel_direct_dsp",
        "kernels/matrix_vector.dsp.c.j2",
        fully_connected_dsp.direct_applies,
        fully_connected_dsp.direct_params,
    ),
    _pointwise_variant("dsp", "pointwise_few_dsp", matrix_few_dsp.TEMPLATE, matrix_few_dsp.applies, few_params),
    _pointwise_variant(
        "armv6m",
        "pointwise_chain_v6m",
        pointwise_chain_v6m.TEMPLATE,
        pointwise_chain_v6m.applies,
        pointwise_chain_v6m.params,
        pointwise_chain_v6m.rows,
    ),
    _variant(
        "armv6m",
        "chain_v6m",
        convolution_chain_v6m.TEMPLATE,
        convolution_chain_v6m.applies,
        convolution_chain_v6m.params,
        convolution_chain_v6m.rows,
    ),
    _variant(
        "armv6m",
        "widened_v6m",
        convolution_widened_v6m.TEMPLATE,
        convolution_widened_v6m.applies,
        convolution_widened_v6m.params,
        convolution_widened_v6m.rows,
    ),
    _pointwise_variant("armv6m", "pointwise_v6m", "kernels/matrix.v6m.c.j2", matrix_v6m.applies, matrix_v6m.params),
    _variant(
        "mve", "mve", convolution_mve.TEMPLATE, convolution_mve.applies, convolution_mve.params, convolution_mve.rows
    ),
    _variant(
        "dsp",
        "sparse_dsp",
        compressed_dsp.SPARSE_CONVOLUTION,
        compressed_dsp.convolution_is_sparse,
        compressed_dsp.sparse_convolution,
        compressed_dsp.sparse_convolution_rows,
    ),
    _variant(
        "dsp",
        "chain_dsp",
        convolution_chain_dsp.TEMPLATE,
        convolution_chain_dsp.applies,
        convolution_chain_dsp.params,
        convolution_chain_rows_dsp.rows,
        leaner=Leaner(
            "chain_shared_dsp",
            convolution_chain_dsp.CODE_BYTES,
            convolution_chain_dsp.CODE_BYTES,
            convolution_chain_dsp.shared_cycles,
        ),
    ),
    _variant(
        "dsp",
        "chain_shared_dsp",
        convolution_chain_dsp.TEMPLATE,
        convolution_chain_dsp.shared_applies,
        convolution_chain_dsp.shared_params,
        convolution_chain_rows_dsp.shared_rows,
    ),
    _variant(
        "dsp",
        "dsp",
        convolution_dsp.TEMPLATE,
        convolution_dsp.applies,
        convolution_dsp.own_params,
        convolution_rows_dsp.own_rows,
    ),
    _variant(
        "dsp",
        "few_dsp",
        convolution_few_dsp.TEMPLATE,
        convolution_few_dsp.applies,
        convolution_few_dsp.params,
        convolution_few_dsp.rows,
    ),
    _variant(
        "dsp",
        "groups_dsp",
        convolution_groups_dsp.TEMPLATE,
        convolution_groups_dsp.applies,
        convolution_groups_dsp.params,
        convolution_groups_dsp.rows,
    ),
    _pointwise_variant(
        "armv7m",
        "pointwise_pairs_v7m",
        convolution_pairs_v7m.TEMPLATE,
        convolution_pairs_v7m.applies,
        convolution_pairs_v7m.params,
        convolution_pairs_v7m.pixel_rows,
    ),
    _pointwise_variant(
        "armv7m", "pointwise_pixels_v7m", "kernels/matrix.v7m.c.j2", matrix_v6m.applies, lanes_v7m.matrix
    ),
    _pointwise_variant(PLAIN, "pointwise_sparse", "kernels/conv_2d.pointwise.sparse.c.j2", _is_sparse, sparse_params),
    Variant("pointwise", "kernels/conv_2d.pointwise.c.j2", when=_is_pointwise),
    _variant(
        "armv6m", "v6m", convolution_v6m.TEMPLATE, convolution_v6m.applies, convolution_v6m.params, convolution_v6m.rows
    ),
    _variant(
        "armv7m",
        "pairs_v7m",
        convolution_pairs_v7m.TEMPLATE,
        convolution_pairs_v7m.applies,
        convolution_pairs_v7m.params,
        convolution_pairs_v7m.rows,
    ),
    _variant("armv7m", "pixels_v7m", "kernels/conv_2d.pixels.v7m.c.j2", convolution_v6m.applies, lanes_v7m.convolution),
    _variant(PLAIN, "sparse", "kernels/conv_2d.sparse.c.j2", _is_sparse, sparse_params),
    Variant("c", TEMPLATE, rows=rows),
)
COMPACT = (
    _pointwise_variant(
        "dsp",
        "pointwise_packed_dsp",
        "kernels/conv_2d.pointwise.packed.dsp.c.j2",
        compressed_dsp.pointwise_packs,
        compressed_dsp.packed_pointwise,
        packed_words.no_rows,
    ),
    _pointwise_variant(
        "dsp",
        "one_pixel_nibbles_packed_dsp",
        "kernels/matrix_vector.nibbles.dsp.c.j2",
        nibbles_dsp.applies,
        nibbles_dsp.params,
        packed_words.no_rows,
    ),
    _pointwise_variant(
        "dsp",
        "one_pixel_codebook_packed_dsp",
        "kernels/matrix_vector.codebook.dsp.c.j2",
        codebook_dsp.applies,
        codebook_dsp.params,
        packed_words.no_rows,
    ),
    _pointwise_variant(
        "dsp",
        "one_pixel_packed_dsp",
        "kernels/matrix_vector.packed.dsp.c.j2",
        compressed_dsp.vector_packs,
        compressed_dsp.packed_vector,
        packed_words.no_rows,
    ),
    _variant(
        "dsp",
        "packed_dsp",
        "kernels/conv_2d.packed.dsp.c.j2",
        compressed_dsp.convolution_packs,
        compressed_dsp.packed_convolution,
        packed_words.no_rows,
    ),
    _pointwise_variant(
        "armv7m",
        "pointwise_pairs_packed_v7m",
        packed_pairs_v7m.TEMPLATE,
        packed_pairs_v7m.applies,
        packed_pairs_v7m.params,
        packed_pairs_v7m.pixel_rows,
    ),
    _variant(
        "armv7m",
        "pairs_packed_v7m",
        packed_pairs_v7m.TEMPLATE,
        packed_pairs_v7m.applies,
        packed_pairs_v7m.params,
        packed_pairs_v7m.rows,
    ),
    _pointwise_variant(
        PLAIN,
        "pointwise_packed",
        "kernels/conv_2d.pointwise.packed.c.j2",
        packed_weights.applies,
        packed_params,
        packed_words.no_rows,
    ),
    _variant(
        PLAIN, "packed", "kernels/conv_2d.packed.c.j2", packed_weights.applies, packed_params, packed_words.no_rows
    ),
)
FAST = (
    _variant(
        "dsp",
        "winograd_dsp",
        winograd_dsp.TEMPLATE,
        winograd_dsp.applies,
        winograd_dsp.params,
        saves=winograd_dsp.saved_cycles,
    ),
    _variant(
        "dsp",
        "winograd_flash_dsp",
        winograd_dsp.TEMPLATE,
        winograd_dsp.applies,
        winograd_dsp.flash_params,
        saves=winograd_dsp.saved_cycles_in_flash,
    ),
    _variant(
        "armv6m",
        "winograd_v6m",
        winograd_v6m.TEMPLATE,
        winograd_v6m.applies,
        winograd_v6m.params,
        saves=winograd_v6m.saved_cycles,
    ),
    _variant(
        "armv6m",
        "widened_large_v6m",
        convolution_widened_v6m.TEMPLATE,
        _is_widened,
        convolution_widened_v6m.large_params,
        saves=convolution_widened_v6m.saved_cycles,
    ),
)

SPEC = OpSpec(
    name="conv_2d",
    tflite="CONV_2D",
    read=read_convolution,
    check=check,
    reference=reference,
    params=params,
    cost=cost,
    pixelwise=_is_pointwise,
    variants=VARIANTS,
    compact=COMPACT,
    fast=FAST,
)
