"""`tinygen boards`: the boards, or those that a model fits."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from tinygen import driver
from tinygen.commands.options import JSON
from tinygen.commands.output import print_json
from tinygen.report import listing as listing_tables
from tinygen.report.layout import show
from tinygen.selection import select


@click.command("boards", short_help="List the boards, or show one.")
@click.argument("name", required=False)
@click.option("--core", metavar="CORE", help="Only boards with this core.")
@click.option("--min-ram", metavar="SIZE", help="Only boards with at least this much RAM, such as 64K.")
@click.option("--min-flash", metavar="SIZE", help="Only boards with at least this much flash, such as 1M.")
@click.option(
    "--fits",
    type=click.Path(path_type=Path),
    metavar="MODEL",
    help="Only boards with room for the arena and the constants of MODEL.",
)
@click.option("--known", is_flag=True, help="Boards too of which nothing but PlatformIO's facts is known.")
@JSON
def boards_command(
    name: str | None,
    core: str | None,
    min_ram: str | None,
    min_flash: str | None,
    fits: Path | None,
    known: bool,
    as_json: bool,
) -> None:
    """List the boards, or show the board NAME (exit code 1 when there is none such)."""
    found = select(name, core, min_ram, min_flash, driver.load(fits) if fits else None, known)
    if as_json:
        print_json(found.as_json())
    else:
        show(listing_tables.selection(found, details=name is not None))
    if not found.boards:
        sys.exit(1)
