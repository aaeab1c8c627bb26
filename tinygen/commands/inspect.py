"""`tinygen inspect`: a model becomes a page that shows it."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tinygen.commands.options import JSON, MODEL, SUBGRAPH
from tinygen.commands.output import print_json
from tinygen.inspection import inspect as inspect_model
from tinygen.report import inspection as inspection_tables
from tinygen.report.layout import show


@click.command("inspect", short_help="Show a model and what stops it from being compiled.")
@MODEL
@SUBGRAPH
@JSON
def inspect_command(model: Path, subgraph: int, as_json: bool) -> None:
    """Show what is in MODEL, and all that stops it from being compiled (then exit code 1)."""
    facts = inspect_model(model, subgraph)
    if as_json:
        print_json(facts.as_json())
    else:
        show(inspection_tables.inspection(facts))
    if facts.problems:
        sys.exit(1)
