"""The kernels that a convolution may have: which is for whom, the first that fits is the one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygen.ops import (
    compressed_dsp,
    convolution_chain_dsp,
    convolution_chain_fives_dsp,
    convolution_chain_rows_dsp,
    convolution_chain_runs_dsp,
    convolution_chain_v6m,
    convolution_contiguous_dsp,
    convolution_dsp,
    convolution_few_dsp,
    convolution_groups_dsp,
    convolution_mve,
    convolution_pairs_v7m,
    convolution_parts_v6m,
    convolution_plain,
    convolution_rows_dsp,
    convolution_v6m,
    convolution_widened_v6m,
    fully_connected_dsp,
    lanes_v7m,
    matrix_chain_dsp,
    matrix_few,
    matrix_few_dsp,
    matrix_int16_dsp,
    matrix_v6m,
    pointwise_chain_dsp,
    pointwise_chain_v6m,
    pointwise_dsp,
    pointwise_mve,
)
from tinygen.ops.spec import Context, Kernel, Leaner, Rows, Variant

PLAIN = ""
"""In place of an extension: any core."""


def _few_params(context: Context) -> Kernel:
    """The kernel in plain C of pixels by themselves, in words, of few filters."""
    return matrix_few_dsp.kernel(context, convolution_plain.params(context))


def _two_outputs(name: str) -> Leaner:
    """For Armv7-M: two outputs at a time in place of three, where the layers of a network gain too little."""
    own = convolution_pairs_v7m.CODE_BYTES[convolution_pairs_v7m.FEW_PIXELS]
    return Leaner(name, convolution_pairs_v7m.code_bytes, own, convolution_pairs_v7m.two_cycles)


def variant(
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


def pointwise_variant(
    extension: str, name: str, template: str, when: Callable[[Context], bool], *functions: Any, **more: Any
) -> Variant:
    """The same for convolutions that read every pixel once."""
    return variant(
        extension,
        name,
        template,
        lambda context: convolution_plain.is_pointwise(context) and when(context),
        *functions,
        **more,
    )


VARIANTS = (
    variant(
        "dsp",
        "int16_dsp",
        matrix_int16_dsp.TEMPLATE,
        matrix_int16_dsp.applies,
        matrix_int16_dsp.convolution,
        wide=True,
    ),
    pointwise_variant(
        "mve", "pointwise_mve", pointwise_mve.TEMPLATE, pointwise_mve.applies, pointwise_mve.params, pointwise_mve.rows
    ),
    pointwise_variant(
        "dsp",
        "pointwise_sparse_dsp",
        "kernels/conv_2d.pointwise.sparse.dsp.c.j2",
        compressed_dsp.pointwise_is_sparse,
        compressed_dsp.sparse_pointwise,
        block=pointwise_dsp.PIXELS,
    ),
    pointwise_variant(
        "dsp",
        "pointwise_chain_dsp",
        pointwise_chain_dsp.TEMPLATE,
        pointwise_chain_dsp.applies,
        pointwise_chain_dsp.params,
        pointwise_chain_dsp.rows,
        leaner=Leaner(
            "pointwise_chain_shared_dsp",
            pointwise_chain_dsp.own_bytes,
            pointwise_chain_dsp.SHARED_BYTES,
            pointwise_chain_dsp.shared_cycles,
        ),
    ),
    pointwise_variant(
        "dsp",
        "pointwise_chain_shared_dsp",
        pointwise_chain_dsp.TEMPLATE,
        pointwise_chain_dsp.applies,
        pointwise_chain_dsp.shared_params,
        pointwise_chain_dsp.shared_rows,
    ),
    pointwise_variant(
        "dsp",
        "pointwise_dsp",
        pointwise_dsp.TEMPLATE,
        pointwise_dsp.applies,
        pointwise_dsp.own_params,
        block=pointwise_dsp.PIXELS,
        partial=pointwise_dsp.LONE_CYCLES,
    ),
    pointwise_variant(
        "dsp",
        "one_pixel_sparse_dsp",
        "kernels/matrix_vector.sparse.dsp.c.j2",
        compressed_dsp.vector_is_sparse,
        compressed_dsp.sparse_vector,
    ),
    pointwise_variant(
        "dsp",
        "one_pixel_chain_dsp",
        matrix_chain_dsp.TEMPLATE,
        matrix_chain_dsp.applies,
        matrix_chain_dsp.params,
    ),
    pointwise_variant(
        "dsp",
        "one_pixel_direct_chain_dsp",
        matrix_chain_dsp.TEMPLATE,
        matrix_chain_dsp.direct_applies,
        matrix_chain_dsp.direct_params,
    ),
    pointwise_variant(
        "dsp",
        "one_pixel_dsp",
        "kernels/matrix_vector.dsp.c.j2",
        fully_connected_dsp.applies,
        fully_connected_dsp.params,
    ),
    pointwise_variant(
        "dsp",
        "one_pixel_direct_dsp",
        "kernels/matrix_vector.dsp.c.j2",
        fully_connected_dsp.direct_applies,
        fully_connected_dsp.direct_params,
    ),
    pointwise_variant("dsp", "pointwise_few_dsp", matrix_few_dsp.TEMPLATE, matrix_few_dsp.applies, _few_params),
    pointwise_variant(
        "armv6m",
        "pointwise_chain_v6m",
        pointwise_chain_v6m.TEMPLATE,
        pointwise_chain_v6m.applies,
        pointwise_chain_v6m.params,
        pointwise_chain_v6m.rows,
    ),
    variant(
        "armv6m",
        "chain_v6m",
        convolution_chain_v6m.TEMPLATE,
        convolution_chain_v6m.applies,
        convolution_chain_v6m.params,
        convolution_chain_v6m.rows,
    ),
    variant(
        "armv6m",
        "widened_v6m",
        convolution_widened_v6m.TEMPLATE,
        convolution_widened_v6m.applies,
        convolution_widened_v6m.params,
        convolution_widened_v6m.rows,
    ),
    variant(
        "armv6m",
        "parts_v6m",
        convolution_parts_v6m.TEMPLATE,
        convolution_parts_v6m.applies,
        convolution_parts_v6m.params,
    ),
    pointwise_variant("armv6m", "pointwise_v6m", "kernels/matrix.v6m.c.j2", matrix_v6m.applies, matrix_v6m.params),
    variant(
        "mve",
        "mve",
        convolution_mve.TEMPLATE,
        convolution_mve.applies,
        convolution_mve.params,
        convolution_mve.rows,
        leaner=Leaner("dsp", lambda _: 0, convolution_dsp.CODE_BYTES, convolution_mve.saved_instructions),
    ),
    variant(
        "dsp",
        "sparse_dsp",
        compressed_dsp.SPARSE_CONVOLUTION,
        compressed_dsp.convolution_is_sparse,
        compressed_dsp.sparse_convolution,
        compressed_dsp.sparse_convolution_rows,
    ),
    variant(
        "dsp",
        "chain_dsp",
        convolution_chain_dsp.TEMPLATE,
        convolution_chain_dsp.applies,
        convolution_chain_dsp.params,
        convolution_chain_rows_dsp.rows,
        leaner=Leaner(
            "chain_shared_dsp",
            lambda _: convolution_chain_dsp.CODE_BYTES,
            convolution_chain_dsp.CODE_BYTES,
            convolution_chain_dsp.shared_cycles,
        ),
    ),
    variant(
        "dsp",
        "chain_shared_dsp",
        convolution_chain_dsp.TEMPLATE,
        convolution_chain_dsp.shared_applies,
        convolution_chain_dsp.shared_params,
        convolution_chain_rows_dsp.shared_rows,
    ),
    variant(
        "dsp",
        "contiguous_dsp",
        convolution_contiguous_dsp.TEMPLATE,
        convolution_contiguous_dsp.applies,
        convolution_contiguous_dsp.params,
        convolution_contiguous_dsp.rows,
        leaner=Leaner(
            "dsp",
            lambda _: convolution_contiguous_dsp.CODE_BYTES,
            convolution_dsp.CODE_BYTES,
            convolution_contiguous_dsp.saved_cycles,
        ),
    ),
    variant(
        "dsp",
        "chain_runs_dsp",
        convolution_chain_runs_dsp.TEMPLATE,
        convolution_chain_runs_dsp.applies,
        convolution_chain_runs_dsp.params,
        convolution_chain_runs_dsp.rows,
    ),
    variant(
        "dsp",
        "chain_fives_dsp",
        convolution_chain_fives_dsp.TEMPLATE,
        convolution_chain_fives_dsp.applies,
        convolution_chain_fives_dsp.params,
        convolution_chain_fives_dsp.rows,
    ),
    variant(
        "dsp",
        "dsp",
        convolution_dsp.TEMPLATE,
        convolution_dsp.applies,
        convolution_dsp.own_params,
        convolution_rows_dsp.own_rows,
    ),
    variant(
        "dsp",
        "few_dsp",
        convolution_few_dsp.TEMPLATE,
        convolution_few_dsp.applies,
        convolution_few_dsp.params,
        convolution_few_dsp.rows,
    ),
    variant(
        "dsp",
        "groups_dsp",
        convolution_groups_dsp.TEMPLATE,
        convolution_groups_dsp.applies,
        convolution_groups_dsp.params,
        convolution_groups_dsp.rows,
    ),
    pointwise_variant(
        "armv7m",
        "pointwise_pairs_v7m",
        convolution_pairs_v7m.TEMPLATE,
        convolution_pairs_v7m.applies,
        convolution_pairs_v7m.params,
        convolution_pairs_v7m.pixel_rows,
        leaner=_two_outputs("pointwise_pairs_two_v7m"),
    ),
    pointwise_variant(
        "armv7m",
        "pointwise_pairs_two_v7m",
        convolution_pairs_v7m.TEMPLATE,
        convolution_pairs_v7m.applies,
        convolution_pairs_v7m.two_params,
        convolution_pairs_v7m.two_pixel_rows,
    ),
    pointwise_variant(
        "armv7m", "pointwise_pixels_v7m", "kernels/matrix.v7m.c.j2", matrix_v6m.applies, lanes_v7m.matrix
    ),
    pointwise_variant(
        PLAIN,
        "pointwise_sparse",
        "kernels/conv_2d.pointwise.sparse.c.j2",
        convolution_plain.is_sparse,
        convolution_plain.sparse_params,
    ),
    *matrix_few.variants("pointwise_few", "pointwise", convolution_plain.params, convolution_plain.is_pointwise),
    Variant("pointwise", "kernels/conv_2d.pointwise.c.j2", when=convolution_plain.is_pointwise),
    variant(
        "armv6m", "v6m", convolution_v6m.TEMPLATE, convolution_v6m.applies, convolution_v6m.params, convolution_v6m.rows
    ),
    variant(
        "armv7m",
        "pairs_v7m",
        convolution_pairs_v7m.TEMPLATE,
        convolution_pairs_v7m.applies,
        convolution_pairs_v7m.params,
        convolution_pairs_v7m.rows,
        leaner=_two_outputs("pairs_two_v7m"),
    ),
    variant(
        "armv7m",
        "pairs_two_v7m",
        convolution_pairs_v7m.TEMPLATE,
        convolution_pairs_v7m.applies,
        convolution_pairs_v7m.two_params,
        convolution_pairs_v7m.two_rows,
    ),
    variant(
        "armv7m",
        "groups_v7m",
        convolution_pairs_v7m.TEMPLATE,
        convolution_pairs_v7m.groups_apply,
        convolution_pairs_v7m.params,
        convolution_pairs_v7m.rows,
    ),
    variant("armv7m", "pixels_v7m", "kernels/conv_2d.pixels.v7m.c.j2", convolution_v6m.applies, lanes_v7m.convolution),
    variant(
        PLAIN, "sparse", "kernels/conv_2d.sparse.c.j2", convolution_plain.is_sparse, convolution_plain.sparse_params
    ),
    Variant("c", convolution_plain.TEMPLATE, rows=convolution_plain.rows),
)
