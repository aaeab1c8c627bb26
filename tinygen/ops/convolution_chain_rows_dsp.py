"""Turns a convolution into the numbers and words of its kernel of chained outputs for one row (DSP extension)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tinygen.ops import convolution_chain_dsp, convolution_dsp, convolution_rows_dsp, window_rows
from tinygen.ops.spec import Context, Rows
from tinygen.ops.window import convolution_geometry


def rows(context: Context, shared: bool = False) -> Rows | None:
    """One row of the output; by byte pairs where it has fewer than four outputs."""
    layout = next((way for way in convolution_chain_dsp.ways(context) if not way.turned), None)
    if not window_rows.possible(context):
        return None
    if layout is None:
        return _rows_of_byte_pairs(context)
    filters, window = context.output.shape[3], convolution_geometry(context)
    values: dict[str, Any] = {"by_row": True, "turned": False, "batches": 1, "apart": window_rows.APART}
    kernel = convolution_chain_dsp.kernel(context, layout, values, [], filters, shared)
    extra = convolution_chain_dsp.cycles_of(layout, filters) - convolution_chain_dsp.cycles(context)
    return window_rows.rows(window, kernel, convolution_chain_dsp.TEMPLATE, copies=False, extra_cycles=round(extra))


def shared_rows(context: Context) -> Rows | None:
    """The same for two roundings."""
    return rows(context, shared=True)


def _rows_of_byte_pairs(context: Context) -> Rows | None:
    """Where a row has fewer outputs than a chain."""
    found = convolution_rows_dsp.own_rows(context) if convolution_dsp.applies(context) else None
    if found is None:
        return None
    more = round(convolution_chain_dsp.byte_pair_cycles(context) - convolution_chain_dsp.cycles(context))
    small = found.small and replace(found.small, extra_cycles=found.small.extra_cycles + more)
    return replace(found, extra_cycles=found.extra_cycles + more, small=small)
