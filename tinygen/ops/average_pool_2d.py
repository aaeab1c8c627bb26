"""AVERAGE_POOL_2D: the rounded mean of each int8 or int16 window; what lies outside the input does not count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen.ir import Array
from tinygen.ops import pool_dsp, pool_mve, pool_rows, pool_words, reduction
from tinygen.ops.spec import Context, Kernel, OpSpec, Rows, Variant, elementwise_cost
from tinygen.ops.window import patches


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The mean of the stored values of each window, halves rounded away from zero, limited by the fused activation."""
    window = reduction.pool_geometry(context)
    sums = patches(inputs[0].astype(np.int64), window, 0).sum(axis=(3, 4))
    counts = patches(np.ones((1, *window.input, 1), np.int64), window, 0).sum(axis=(3, 4))
    means = np.sign(sums) * ((np.abs(sums) + counts // 2) // counts)
    return [np.clip(means, *reduction.pool_range(context)).astype(context.output.dtype)]


def params(context: Context) -> Kernel:
    """Numbers for the template."""
    return reduction.pool_kernel(context, average=True)


def rows(context: Context) -> Rows | None:
    """The same row by row."""
    return pool_rows.plain(context, average=True)


SPEC = OpSpec(
    name="average_pool_2d",
    tflite="AVERAGE_POOL_2D",
    read=reduction.read_pool,
    check=reduction.check_pool,
    reference=reference,
    params=params,
    cost=elementwise_cost,
    variants=(
        pool_mve.variant(average=True),
        pool_dsp.variant(average=True),
        *pool_words.VARIANTS,
        Variant("c", reduction.POOL_TEMPLATE, rows=rows),
    ),
)
