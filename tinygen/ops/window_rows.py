"""Turns the kernel of one row of a window's outputs into the record that says which rows of the input it takes."""

from __future__ import annotations

from tinygen.ops import overlap
from tinygen.ops.spec import Context, Kernel, Overlap, Rows
from tinygen.ops.window import Geometry

OVER_THEM = "apart from these rows, or over them in any way"
"""Where the output may lie of a kernel that copies the rows before it writes."""
APART = "apart from these rows"
BORDER_CYCLES = 4
"""About what it takes to set an element of scratch to the zero point, which has to be done for each row again."""


def possible(context: Context) -> bool:
    """Whether the input has rows: those of several batches are no tensor of one height."""
    return context.input(0).shape[0] == 1


def words(rule: Overlap) -> str:
    """Where the output of any other may lie, as the comment above it says it."""
    return overlap.words(rule, "each of these rows")


def rows(window: Geometry, kernel: Kernel, template: str, copies: bool = True, extra_cycles: int = 0) -> Rows:
    """The record of a kernel that finds its rows in a table; `copies`: all of them before it writes."""
    return Rows(
        kernel,
        template,
        height=(window.kernel[0] - 1) * window.dilation[0] + 1,
        stride=window.stride[0],
        pad=window.pad[0],
        table=True,
        reads_first=copies,
        extra_cycles=extra_cycles,
    )
