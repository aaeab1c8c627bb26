"""The result of a search as one self-contained HTML page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import jinja2

from tinygen import __version__
from tinygen.optimize.rows import (
    Result,
    asked,
    judged_line,
    known_from,
    nearest_line,
    next_commands,
    percent,
    rows,
)
from tinygen.resources import TEMPLATES

TEMPLATE = "report/optimize.html.j2"


def html(result: Result, svg: str) -> str:
    """The page with the table, the plot and what both rest on; nothing in it is loaded from elsewhere."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=True,
    )
    winner = result.search.winner
    return environment.get_template(TEMPLATE).render(
        title=f"{Path(result.problem.model.path).name}, optimised",
        asked=asked(result),
        chosen=winner.title if winner else "",
        test=judged_line(result) if winner else "",
        nearest="" if winner else nearest_line(result),
        baseline=percent(result.search.baseline.score),
        rows=rows(result),
        known_from=known_from(result),
        plot=svg[svg.index("<svg") :],
        commands=next_commands(result) if winner else [],
        facts=list(_facts(result)),
    )


def _facts(result: Result) -> Iterator[tuple[str, str]]:
    problem = result.problem
    yield "model", f"{problem.model.path}, SHA-256 {problem.model.sha256}"
    for role, data in problem.sets.items():
        yield f"{role} set", f"{data.path}, {len(data.x):,} samples, SHA-256 {data.digest}"
    yield "float weights", f"{result.search.baseline.float_bytes:,} bytes"
    yield "seed", str(problem.seed)
    yield "made by", f"tinygen {__version__}"
