"""Turns rows of text into tables, and what is shown into lines of the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console, RenderableType
from rich.table import Table


def plain_table(*columns: str, right: Sequence[str] = ()) -> Table:
    """A table without lines around it; columns named in `right` stand to the right."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return table


def kilobytes(count: int) -> str:
    """Bytes as people read them: 812 B, 21.5 kB (of 1,024)."""
    return f"{count:,} B" if count < 10_240 else f"{count / 1024:,.1f} kB"


def milliseconds(microseconds: float) -> str:
    """Microseconds as milliseconds."""
    return f"{microseconds / 1000:,.3f} ms"


def show(content: RenderableType) -> None:
    """Print to standard output, unwrapped when that is not a terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=200, soft_wrap=True)
    console.print(content)
