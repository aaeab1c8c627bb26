"""Turns a convolution into the numbers and words of its kernel of chained outputs for one row (DSP extension)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tinygen.ops import chains, convolution_chain_dsp, convolution_dsp, convolution_rows_dsp, window_rows
from tinygen.ops.convolution_layout import Layout
from tinygen.ops.spec import Context, Rows
from tinygen.ops.window import convolution_geometry

LEAST_PARTS = 4
"""Of a row that is computed in parts."""
PART_CYCLES = 250
"""About what it takes to begin another part of a row, and to ask for each of its columns whether it is there."""


def rows(context: Context) -> Rows | None:
    """One row of the output; by byte pairs where it has fewer than four outputs."""
    layout = next((way for way in convolution_chain_dsp.ways(context) if not way.turned), None)
    if not window_rows.possible(context):
        return None
    if layout is None:
        return _rows_of_byte_pairs(context)
    part = _part(layout)
    return replace(_rows(context, layout, 0), small=_rows(context, layout, part) if part else None)


def _rows(context: Context, layout: Layout, part: int) -> Rows:
    """A row as one, or in parts of so many outputs."""
    *_, height, width, filters = context.output.shape
    extra = convolution_chain_dsp.cycles_of(layout, filters) - convolution_chain_dsp.cycles(context)
    apart = window_rows.APART if part else window_rows.OVER_THEM
    values: dict[str, Any] = {"by_row": True, "apart": apart, "part": part}
    kernel, window = convolution_chain_dsp.kernel(context, layout, values), convolution_geometry(context)
    if part:
        pairs = convolution_chain_dsp.pairs_of(layout, part)
        values = {**kernel.values, "pairs": pairs, "along_step": layout.along.stride, "along_pad": layout.along.pad}
        kernel = replace(kernel, values=values, scratch_bytes=pairs * layout.column_bytes)
        extra += height * (width // part) * PART_CYCLES + height * layout.along.columns * layout.elements
    else:
        border = layout.along.columns - (layout.along.inside[1] - layout.along.inside[0])
        extra += height * border * layout.elements
    return window_rows.rows(window, kernel, convolution_chain_dsp.TEMPLATE, copies=not part, extra_cycles=round(extra))


def _rows_of_byte_pairs(context: Context) -> Rows | None:
    """Where columns of scratch lie along the height, which is no way to compute a row."""
    found = convolution_rows_dsp.own_rows(context) if convolution_dsp.applies(context) else None
    if found is None:
        return None
    more = round(convolution_chain_dsp.byte_pair_cycles(context) - convolution_chain_dsp.cycles(context))
    small = found.small and replace(found.small, extra_cycles=found.small.extra_cycles + more)
    return replace(found, extra_cycles=found.extra_cycles + more, small=small)


def _part(layout: Layout) -> int:
    """The outputs of a part of a row: a quarter of it or less, but whole chains; 0 where it is computed as one."""
    if layout.along.apart > 1:
        return 0
    most = max(chains.OUTPUTS, layout.along.output // LEAST_PARTS)
    sizes = range(most - most % chains.OUTPUTS, 0, -chains.OUTPUTS)
    return next((size for size in sizes if layout.along.output % size == 0 and size < layout.along.output), 0)
