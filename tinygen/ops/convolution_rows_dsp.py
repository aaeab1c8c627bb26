"""Turns a convolution into the numbers and words of its kernel for one row of outputs, for the DSP extension."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tinygen.ops import convolution_dsp, window_rows
from tinygen.ops.convolution_layout import Layout, layout_of, row_layout_of
from tinygen.ops.spec import Context, Kernel, Rows
from tinygen.ops.window import convolution_geometry

LEAST_PARTS, SMALL_SCRATCH_BYTES = 4, 1792
"""Of a row that is computed in parts."""
PART_CYCLES, COLUMN_CYCLES = 150, 7
"""About what it takes to begin another part of a row, and more for each row of a column that is copied by itself."""


def own_rows(context: Context) -> Rows | None:
    """`rows` of the kernel whose blocks are its own."""
    found = rows(context)
    return found and replace(found, kernel=convolution_dsp.with_lone_output(found.kernel))


def dearer(found: Rows, more: int) -> Rows:
    """The same beside a kernel that takes so many cycles less for all of a layer."""
    small = found.small and replace(found.small, extra_cycles=found.small.extra_cycles + more)
    return replace(found, extra_cycles=found.extra_cycles + more, small=small)


def rows(context: Context) -> Rows | None:
    """The same for one row of the output, where its columns lie along the width."""
    layout = row_layout_of(context)
    if layout is None or not window_rows.possible(context):
        return None
    part = _part(layout)
    return replace(_rows(context, layout, 0), small=_rows(context, layout, part) if part else None)


def _rows(context: Context, layout: Layout, part: int) -> Rows:
    """A row as one, or in parts of so many outputs."""
    *_, height, width, filters = context.output.shape
    border = layout.elements * (layout.along.columns - (layout.along.inside[1] - layout.along.inside[0]))
    extra = layout.cycles(filters) - layout_of(context).cycles(filters)
    apart = window_rows.APART if part else window_rows.OVER_THEM
    values = {"by_row": True, "apart": apart, "out_elements": width * filters, **_part_values(layout, part)}
    kernel, window = convolution_dsp.kernel(context, layout, values), convolution_geometry(context)
    if part:
        columns = values["part_columns"]
        kernel = replace(kernel, scratch_bytes=columns * layout.column_bytes)
        extra += height * (width // part) * (PART_CYCLES + columns * layout.down.kernel * COLUMN_CYCLES)
    else:
        extra += height * border * window_rows.BORDER_CYCLES
    return window_rows.rows(window, kernel, convolution_dsp.TEMPLATE, copies=not part, extra_cycles=round(extra))


def row_values(context: Context, by_row: bool) -> dict[str, int]:
    """What is printed of a row, where it is one."""
    *_, width, filters = context.output.shape
    return {"out_elements": width * filters} if by_row else {}


def of_kernel(context: Context, layout: Layout, kernel: Kernel, template: str, copies: bool) -> Rows:
    """The record of a kernel of a row as one: about what it takes more, for its border and for the way it lies."""
    *_, height, _, filters = context.output.shape
    border = layout.elements * (layout.along.columns - (layout.along.inside[1] - layout.along.inside[0]))
    extra = layout.cycles(filters) - layout_of(context).cycles(filters) + height * border * window_rows.BORDER_CYCLES
    return window_rows.rows(convolution_geometry(context), kernel, template, copies, round(extra))


def _part(layout: Layout) -> int:
    """The outputs of a part, of those that a row is computed in to need less scratch; 0 where it is computed as one.

    A quarter of the row or less, and so few that the scratch is small; the least where none does.
    """
    along = layout.along
    if along.apart > 1 or layout.down.dilation * along.dilation > 1:
        return 0
    shared = along.kernel - along.stride
    parts = [
        part
        for part in range(max(2, along.output // LEAST_PARTS), 1, -1)
        if along.output % part == part % 2 == 0 and shared <= part * along.stride and part < along.output
    ]
    small = [part for part in parts if _part_columns(layout, part) * layout.column_bytes <= SMALL_SCRATCH_BYTES]
    return (small or parts[-1:] or [0])[0]


def _part_columns(layout: Layout, part: int) -> int:
    return (part - 1) * layout.along.stride + layout.along.kernel


def _part_values(layout: Layout, part: int) -> dict[str, Any]:
    """What is printed of a row in parts."""
    if not part:
        return {"part": 0}
    columns = _part_columns(layout, part)
    return {
        "part": part,
        "part_columns": columns,
        "kept_columns": max(0, layout.along.kernel - layout.along.stride),
        "along_step": layout.along.stride,
        "along_pad": layout.along.pad,
        "along_size": layout.along.input,
        "along_padded": layout.along.padded,
        "columns": columns,
    }
