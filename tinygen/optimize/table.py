"""The result of a search as a table for the terminal, and what was chosen."""

from __future__ import annotations

from types import MappingProxyType

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from tinygen.optimize.rows import (
    CHOSEN,
    FITS,
    LACKS,
    UNKNOWN,
    Result,
    asked,
    judged_line,
    known_from,
    nearest_line,
    next_commands,
    percent,
    rows,
)

STYLES = MappingProxyType({CHOSEN: "bold green", FITS: "green", LACKS: "", UNKNOWN: "dim"})
NUMBERS = ("accuracy %", "flash kB", "RAM kB", "ms", "of float")


def table(result: Result) -> RenderableType:
    """The candidates, then the verdict, then what to do next."""
    return Group(_candidates(result), "", *(_chosen(result) if result.search.winner else _nothing(result)))


def _candidates(result: Result) -> Table:
    shown = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("", justify="right")
    shown.add_column("candidate", overflow="fold", min_width=16)
    for name in NUMBERS:
        shown.add_column(name, justify="right", no_wrap=False, min_width=len(max(name.split(), key=len)))
    shown.add_column("", overflow="fold", min_width=12)
    baseline = result.search.baseline
    shown.add_row("", "float", percent(baseline.score), "", "", "", "1.00", "")
    for row in rows(result):
        numbers = (row.accuracy, row.flash, row.ram, row.milliseconds, row.size)
        shown.add_row(str(row.number), row.title, *numbers, row.verdict, style=STYLES[row.state])
    return shown


def _facts(result: Result) -> Table:
    facts = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    facts.add_column(style="bold")
    facts.add_column(overflow="fold")
    facts.add_row("asked", asked(result))
    facts.add_row("accuracy", f"on the {result.search.baseline.score.total} samples for validation, ± standard error")
    facts.add_row("cost", known_from(result))
    return facts


def _chosen(result: Result) -> list[RenderableType]:
    winner = result.search.winner
    assert winner
    facts = _facts(result)
    facts.add_row("test set", Text(judged_line(result), "green"))
    facts.add_row("written", f"{result.folder}/: model.tflite, test.npz, report.html, report.json, pareto.svg")
    # Lines that are to be copied are left to the terminal to wrap.
    commands = [Text(f"  {command}", no_wrap=True, overflow="ignore") for command in next_commands(result)]
    return [Text.assemble(("chosen", "bold green"), f": {winner.title}"), facts, "", "next:", *commands]


def _nothing(result: Result) -> list[RenderableType]:
    facts = _facts(result)
    facts.add_row("nearest", nearest_line(result))
    facts.add_row("written", f"{result.folder}/: report.html, report.json, pareto.svg")
    return [Text("NOTHING FITS", "bold red"), facts]
