"""The candidates of a search as a plot: accuracy against flash, RAM and time, with the Pareto front of each."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from tinygen.optimize.extras import load
from tinygen.optimize.outcome import Cost
from tinygen.optimize.rows import CHOSEN, FITS, LACKS, Result, rows

PANEL_INCHES = (3.6, 3.4)
COLOURS = MappingProxyType({CHOSEN: "#1a7f37", FITS: "#57ab5a", LACKS: "#8c959f"})
FRONT, LIMIT = "#0969da", "#cf222e"
NEAR = 0.1
"""The share of a panel's width and of an error bar's height within which the numbers of two points would meet."""
_STYLE = {"svg.hashsalt": "tinygen", "svg.fonttype": "none", "font.size": 9, "axes.spines.top": False}


@dataclass(frozen=True)
class Point:
    """A candidate in a panel."""

    number: int
    x: float
    accuracy: float
    error: float
    state: str


@dataclass(frozen=True)
class Panel:
    """What accuracy is plotted against, and what of it is allowed, if that is known."""

    title: str
    of: Callable[[Cost], float | None]
    limit: float | None


def plot(result: Result) -> str:
    """The plot as SVG, the same text for the same result; panels without a point are left out."""
    matplotlib, figures = load("matplotlib"), load("matplotlib.figure")
    panels = [(panel, points) for panel in _panels(result) if (points := list(_points(result, panel)))]
    with matplotlib.rc_context({**_STYLE, "axes.spines.right": False}):
        width, height = PANEL_INCHES
        figure = figures.Figure(figsize=(width * max(1, len(panels)), height), layout="constrained")
        if panels:
            axes = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
            for ax, (panel, points) in zip(axes, panels, strict=True):
                _draw(ax, panel, points, _least_accuracy(result))
            axes[0].set_ylabel("accuracy on the validation set, %")
        stream = io.StringIO()
        figure.savefig(stream, format="svg", metadata={"Date": None})
    return stream.getvalue()


def _panels(result: Result) -> list[Panel]:
    limits = result.problem.limits
    flash, ram = limits.flash_bytes, limits.ram_bytes
    if limits.board:
        flash = min(flash or limits.board.main_flash.bytes, limits.board.main_flash.bytes)
        ram = min(ram or limits.board.main_ram.bytes, limits.board.main_ram.bytes)
    return [
        Panel("flash, kB", lambda cost: cost.flash_bytes / 1024, None if flash is None else flash / 1024),
        Panel("RAM, kB", lambda cost: cost.ram_bytes / 1024, None if ram is None else ram / 1024),
        Panel("time of an inference, ms", lambda cost: cost.milliseconds, limits.milliseconds),
    ]


def _least_accuracy(result: Result) -> float:
    return 100 * (result.search.baseline.score.accuracy - result.problem.limits.max_drop)


def _points(result: Result, panel: Panel) -> Iterator[Point]:
    for row, outcome in zip(rows(result), result.search.outcomes, strict=True):
        x = panel.of(outcome.cost) if outcome.cost else None
        if x is not None and outcome.score:
            score = outcome.score
            yield Point(row.number, x, 100 * score.accuracy, 100 * score.standard_error, row.state)


def _draw(ax: Any, panel: Panel, points: Sequence[Point], least_accuracy: float) -> None:
    ax.set_xlabel(panel.title)
    ax.grid(color="#eaeef2")
    ax.set_axisbelow(True)
    ax.axhline(least_accuracy, color=LIMIT, linewidth=0.8, linestyle=":")
    if panel.limit is not None and panel.limit < 3 * max(point.x for point in points):
        ax.axvline(panel.limit, color=LIMIT, linewidth=0.8, linestyle=":")
    best = _front(points)
    ax.plot([p.x for p in best], [p.accuracy for p in best], color=FRONT, linewidth=1, drawstyle="steps-post")
    for point in points:
        is_chosen = point.state == CHOSEN
        marker, size = ("*", 11) if is_chosen else ("o", 5)
        style = {"marker": marker, "markersize": size, "color": COLOURS[point.state], "elinewidth": 0.8}
        ax.errorbar(point.x, point.accuracy, yerr=point.error, linestyle="", **style)
        place = {"xytext": (-5, 4), "ha": "right"} if _is_left_of_another(point, points) else {"xytext": (5, 4)}
        ax.annotate(str(point.number), (point.x, point.accuracy), textcoords="offset points", **place)
    ax.set_xlim(left=0)


def _is_left_of_another(point: Point, points: Sequence[Point]) -> bool:
    """Whether a number to the right of the point would lie on the next one."""
    width, height = max(p.x for p in points), max(2 * p.error for p in points)
    return any(
        0 < other.x - point.x < NEAR * width and abs(other.accuracy - point.accuracy) < NEAR * height
        for other in points
    )


def _front(points: Sequence[Point]) -> list[Point]:
    """From the cheapest on, those that are more accurate than all before them."""
    found: list[Point] = []
    for point in sorted(points, key=lambda point: (point.x, -point.accuracy)):
        if not found or point.accuracy > found[-1].accuracy:
            found.append(point)
    return found
