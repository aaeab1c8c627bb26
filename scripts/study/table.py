"""The hits and costs of all runs as one table of Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from scripts.study.techniques import ROWS
from tinygen.ir import Array

Runs = Mapping[str, Sequence[Array]]
"""Row -> hits on the test set, one array for each seed."""
Costs = Mapping[str, Mapping[str, int]]
"""Row -> what `measure.cost` says."""
BASE = "int8-ptq"
GOALS = ("speed", "compact")
SIGNIFICANT = 2
"""Standard errors from which a difference counts."""
NOTABLE = 0.95
"""A share of the cost below which it counts as saved."""


@dataclass(frozen=True)
class Estimate:
    """A mean with its standard error, as shares."""

    mean: float
    error: float

    def points(self, signed: bool = False) -> str:
        """The estimate in percentage points."""
        return f"{100 * self.mean:{'+' if signed else ''}.1f} ± {100 * self.error:.1f}"


def accuracy(runs: Sequence[Array]) -> Estimate:
    """The mean accuracy over the seeds."""
    return estimate(runs)


def difference(runs: Sequence[Array], controls: Sequence[Array]) -> Estimate:
    """The mean difference of accuracy to the control on the same test samples with the same seeds."""
    return estimate([run.astype(float) - control for run, control in zip(runs, controls, strict=True)])


def estimate(runs: Sequence[Array]) -> Estimate:
    """The mean over samples and seeds; its error is the larger of that by the samples and that by the seeds."""
    means = np.array([run.mean() for run in runs])
    samples = math.sqrt(sum(run.var() / len(run) for run in runs)) / len(runs)
    seeds = means.std(ddof=1) / math.sqrt(len(means)) if len(means) > 1 else 0.0
    return Estimate(float(means.mean()), float(max(samples, seeds)))


def markdown(runs: Runs, costs: Costs) -> str:
    """The table of one data set; see Shares for its costs."""
    lines = [
        "| | test accuracy, % | against | difference, points | cycles | flash | compact: cycles | flash | brings |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    titles = {row.key: row.title for row in ROWS}
    for row in ROWS:
        if row.key in runs:
            change = difference(runs[row.key], runs[row.control]) if row.control in runs else None
            shares = Shares.of(costs, row.key)
            cells = [row.title, accuracy(runs[row.key]).points(), titles.get(row.control, "")]
            cells += [change.points(signed=True) if change else "", *(shares.cells() if shares else [""] * 4)]
            lines.append("| " + " | ".join([*cells, verdict(change, shares) if change and shares else ""]) + " |")
    return "\n".join(lines)


@dataclass(frozen=True)
class Shares:
    """What a model costs as shares of what int8 after training costs with `--optimize speed`."""

    cycles: float
    flash: float
    compact_cycles: float
    compact_flash: float

    @staticmethod
    def of(costs: Costs, key: str) -> Shares | None:
        """The shares of a row; none where nothing was measured."""
        if key not in costs or BASE not in costs:
            return None
        base, own = costs[BASE], costs[key]
        return Shares(
            *(own[f"{what}_{goal}"] / base[f"{what}_speed"] for goal in GOALS for what in ("cycles", "constants"))
        )

    def cells(self) -> list[str]:
        """The shares as the table shows them."""
        return [f"{share:.2f}" for share in (self.cycles, self.flash, self.compact_cycles, self.compact_flash)]


def verdict(change: Estimate, shares: Shares) -> str:
    """What a row brings against its control, in words that follow from the numbers."""
    gains = ["accuracy"] if change.mean > SIGNIFICANT * change.error else []
    gains += [f"{1 - shares.cycles:.0%} of the cycles"] if shares.cycles < NOTABLE else []
    least = min(shares.flash, shares.compact_flash)
    gains += [f"{1 - least:.0%} of the weights' flash"] if least < NOTABLE else []
    text = ", ".join(gains) or "nothing"
    return f"{text}; costs accuracy" if -change.mean > SIGNIFICANT * change.error else text
