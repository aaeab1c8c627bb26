"""MAX_POOL_2D: the greatest element of each int8 or int16 window; what lies outside the input does not count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tinygen import quant
from tinygen.ir import Array
from tinygen.ops import pool_dsp, pool_mve, pool_rows, reduction
from tinygen.ops.spec import Context, Kernel, OpSpec, Rows, Variant, elementwise_cost
from tinygen.ops.window import patches


def reference(context: Context, inputs: Sequence[Any]) -> list[Array]:
    """The greatest element of each window, limited by the fused activation."""
    windows = patches(inputs[0], reduction.pool_geometry(context), quant.RANGES[context.input(0).dtype][0])
    low, high = reduction.pool_range(context)
    return [np.clip(windows.max(axis=(3, 4)), low, high).astype(context.output.dtype)]


def params(context: Context) -> Kernel:
    """Numbers for the template."""
    return reduction.pool_kernel(context, average=False)


def rows(context: Context) -> Rows | None:
    """The same row by row."""
    return pool_rows.plain(context, average=False)


SPEC = OpSpec(
    name="max_pool_2d",
    tflite="MAX_POOL_2D",
    read=reduction.read_pool,
    check=reduction.check_pool,
    reference=reference,
    params=params,
    cost=elementwise_cost,
    variants=(
        pool_mve.variant(average=False),
        pool_dsp.variant(average=False),
        Variant("c", reduction.POOL_TEMPLATE, rows=rows),
    ),
)
