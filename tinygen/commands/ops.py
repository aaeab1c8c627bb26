"""`tinygen ops`: the operators that can be compiled."""

from __future__ import annotations

import click

from tinygen import ops
from tinygen.commands.options import JSON
from tinygen.commands.output import print_json
from tinygen.report import listing as listing_tables
from tinygen.report.layout import show


@click.command("ops", short_help="List the operators.")
@JSON
def ops_command(as_json: bool) -> None:
    """List the operators that can be compiled."""
    if as_json:
        listed = [
            {
                "operator": s.tflite,
                "kernels": [v.name for v in (*s.variants, *s.compact)],
                "summary": ops.summary(s.name),
            }
            for s in ops.SPECS.values()
        ]
        print_json({"operators": listed})
    else:
        show(listing_tables.operators())
