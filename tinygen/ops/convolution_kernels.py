"""The kernels that a convolution may have: which is for whom, the first that fits is the one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tinygen.ops import (
    codebook_dsp,
    compressed_dsp,
    convolution_chain_dsp,
    convolution_chain_rows_dsp,
    convolution_chain_runs_dsp,
    convolution_chain_v6m,
    convolution_contiguous_dsp,
    convolution_dsp,
    convolution_few_dsp,
    convolution_groups_dsp,
    convolution_mve,
    convolution_pairs_v7m,
    convolution_plain,
    convolution_rows_dsp,
    convolution_v6m,
    convolution_widened_v6m,
    fully_connected_dsp,
    lanes_v7m,
    matrix_few,
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
    winograd_dsp,
    winograd_v6m,
)
from tinygen.ops.spec import Context, Kernel, Leaner, Rows, Variant

PLAIN = ""
"""In place of an extension: any core."""


def _few_params(context: Context) -> Kernel:
    """The kernel in plain C of pixels by themselves, in words, of few filters."""
    return matrix_few_dsp.kernel(context, convolution_plain.params(context))


def _is_widened(context: Context) -> bool:
    """Whether Armv6-M widens rows, and does not chain the sums of outputs."""
    chained = convolution_plain.is_pointwise(context) and pointwise_chain_v6m.applies(context)
    return convolution_widened_v6m.applies(context) and not chained and not convolution_chain_v6m.applies(context)


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
        extension,
        name,
        template,
        lambda context: convolution_plain.is_pointwise(context) and when(context),
        *functions,
        **more,
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
        leaner=Leaner(
            "pointwise_chain_shared_dsp",
            pointwise_chain_dsp.own_bytes,
            pointwise_chain_dsp.SHARED_BYTES,
            pointwise_chain_dsp.shared_cycles,
        ),
    ),
    _pointwise_variant(
        "dsp",
        "pointwise_chain_shared_dsp",
        pointwise_chain_dsp.TEMPLATE,
        pointwise_chain_dsp.applies,
        pointwise_chain_dsp.shared_params,
        pointwise_chain_dsp.shared_rows,
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
    _pointwise_variant("dsp", "pointwise_few_dsp", matrix_few_dsp.TEMPLATE, matrix_few_dsp.applies, _few_params),
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
            lambda _: convolution_chain_dsp.CODE_BYTES,
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
    _variant(
        "dsp",
        "chain_runs_dsp",
        convolution_chain_runs_dsp.TEMPLATE,
        convolution_chain_runs_dsp.applies,
        convolution_chain_runs_dsp.params,
        convolution_chain_runs_dsp.rows,
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
    _pointwise_variant(
        PLAIN,
        "pointwise_sparse",
        "kernels/conv_2d.pointwise.sparse.c.j2",
        convolution_plain.is_sparse,
        convolution_plain.sparse_params,
    ),
    *matrix_few.variants("pointwise_few", "pointwise", convolution_plain.params, convolution_plain.is_pointwise),
    Variant("pointwise", "kernels/conv_2d.pointwise.c.j2", when=convolution_plain.is_pointwise),
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
    _variant(
        "armv7m",
        "groups_v7m",
        convolution_pairs_v7m.TEMPLATE,
        convolution_pairs_v7m.groups_apply,
        convolution_pairs_v7m.params,
        convolution_pairs_v7m.rows,
    ),
    _variant("armv7m", "pixels_v7m", "kernels/conv_2d.pixels.v7m.c.j2", convolution_v6m.applies, lanes_v7m.convolution),
    _variant(
        PLAIN, "sparse", "kernels/conv_2d.sparse.c.j2", convolution_plain.is_sparse, convolution_plain.sparse_params
    ),
    Variant("c", convolution_plain.TEMPLATE, rows=convolution_plain.rows),
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
        convolution_plain.packed_params,
        packed_words.no_rows,
    ),
    _variant(
        PLAIN,
        "packed",
        "kernels/conv_2d.packed.c.j2",
        packed_weights.applies,
        convolution_plain.packed_params,
        packed_words.no_rows,
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
