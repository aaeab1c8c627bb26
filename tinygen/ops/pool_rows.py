"""Turns a pooling into the kernel of one row of its outputs."""

from __future__ import annotations

from dataclasses import replace

from tinygen.ops import gather, reduction, window_rows, window_walk
from tinygen.ops.spec import Context, Kernel, Rows
from tinygen.ops.window_walk import Span


def rows(context: Context, kernel: Kernel, template: str, spans: list[Span]) -> Rows | None:
    """The kernel for one row, which computes `spans` of channels one after another."""
    if not window_rows.possible(context):
        return None
    window = reduction.pool_geometry(context)
    rule = window_walk.in_row(context, window, [(span, span) for span in spans])
    sizes = {"rows": window.kernel[0], "columns": window.kernel[1]}
    values = {**kernel.values, **sizes, "by_row": True, "apart": window_rows.words(rule)}
    return window_rows.rows(window, replace(kernel, values=values, overlaps=(rule,)), template, copies=False)


def plain(context: Context, average: bool) -> Rows | None:
    """The kernel in plain C; a mean of all pixels is gathered."""
    gathered = gather.of_pool(context) if average else None
    if gathered is not None:
        return gathered
    spans = [(channel, channel + 1) for channel in range(context.input(0).shape[3])]
    return rows(context, reduction.pool_kernel(context, average), reduction.POOL_TEMPLATE, spans)
