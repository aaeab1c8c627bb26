"""What several commands print: JSON, refusals, progress."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tinygen.budget import Budget
from tinygen.limits import Refusal
from tinygen.report import compiled as compiled_tables
from tinygen.report.layout import show


def print_json(data: Any) -> None:
    """One JSON object on standard output."""
    click.echo(json.dumps(data, indent=2))


def refuse(why: Budget | Refusal | None, as_json: bool) -> NoReturn:
    """Says why a model is not made for a board or within its limits: exit code 1."""
    assert why is not None
    if as_json:
        print_json(why.as_json())
    else:
        show(compiled_tables.beyond_limits(why) if isinstance(why, Refusal) else compiled_tables.does_not_fit(why))
    sys.exit(1)


@contextmanager
def progress(what: str, total: int, hidden: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error, if that is a terminal; the function says how much is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(*columns, console=console, transient=True, disable=hidden or not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.update(task, completed=done)
