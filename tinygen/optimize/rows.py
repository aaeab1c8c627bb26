"""The result of a search as the rows and lines that people read, in the terminal and in the report."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygen.optimize.limits import fits, lacks
from tinygen.optimize.outcome import Outcome
from tinygen.optimize.search import Search, nearest
from tinygen.optimize.search import as_json as search_json
from tinygen.optimize.task import Problem
from tinygen.project import default_format
from tinygen.quantize.evaluate import Score
from tinygen.variants import Optimize

CHOSEN, FITS, LACKS, UNKNOWN = "chosen", "fits", "lacks", "unknown"
MODEL, SAMPLES = "model.tflite", "test.npz"


@dataclass(frozen=True, eq=False)
class Result:
    """A search with what it was asked; of the winner the scores of float model and winner on the test set."""

    problem: Problem
    search: Search
    test: tuple[Score, Score] | None
    folder: Path


@dataclass(frozen=True)
class Row:
    """A candidate as text; `state` is CHOSEN, FITS, LACKS or UNKNOWN."""

    number: int
    title: str
    accuracy: str
    flash: str
    ram: str
    milliseconds: str
    size: str
    verdict: str
    state: str


def rows(result: Result) -> list[Row]:
    """The candidates in the order in which they were tried, numbered from 1."""
    return [_row(number, outcome, result) for number, outcome in enumerate(result.search.outcomes, 1)]


def _row(number: int, outcome: Outcome, result: Result) -> Row:
    cost, score, baseline = outcome.cost, outcome.score, result.search.baseline
    state = _state(outcome, result)
    return Row(
        number,
        outcome.title,
        percent(score) if score else "",
        _kilobytes(cost.flash_bytes) if cost else "",
        _kilobytes(cost.ram_bytes) if cost else "",
        "" if cost is None or cost.milliseconds is None else f"{cost.milliseconds:.3g}",
        f"{cost.constant_bytes / baseline.float_bytes:.2f}" if cost and baseline.float_bytes else "",
        _verdict(outcome, result, state),
        state,
    )


def _state(outcome: Outcome, result: Result) -> str:
    if outcome is result.search.winner:
        return CHOSEN
    if outcome.cost is None and outcome.score is None:
        return UNKNOWN
    return FITS if fits(outcome, result.search.baseline, result.problem.limits) else LACKS


def _verdict(outcome: Outcome, result: Result, state: str) -> str:
    if state in (CHOSEN, FITS):
        return state
    found = [lack.text for lack in lacks(outcome, result.search.baseline, result.problem.limits)]
    return "; ".join([*found, *([outcome.note] if outcome.note else [])])


def percent(score: Score) -> str:
    """The accuracy and its standard error."""
    return f"{100 * score.accuracy:.1f} ± {100 * score.standard_error:.1f}"


def _kilobytes(count: int) -> str:
    return f"{count / 1024:.1f}"


def asked(result: Result) -> str:
    """What has to fit, in one line."""
    limits = result.problem.limits
    parts = [limits.board.title] if limits.board else ["any board"]
    parts += [f"flash {limits.flash_bytes:,} B"] if limits.flash_bytes is not None else []
    parts += [f"RAM {limits.ram_bytes:,} B"] if limits.ram_bytes is not None else []
    parts += [f"{limits.milliseconds:g} ms"] if limits.milliseconds is not None else []
    points = 100 * limits.max_drop
    return ", ".join([*parts, f"at most {points:g} {'point' if points == 1 else 'points'} of accuracy lost"])


def judged_line(result: Result) -> str:
    """The accuracy on the test set of the float model and of the winner."""
    assert result.test
    first, second = result.test
    return f"float {percent(first)} %, chosen {percent(second)} % ({second.total} samples, judged once)"


def nearest_line(result: Result) -> str:
    """The best of those that do not fit, and what it lacks."""
    best = nearest(result.search, result.problem)
    if best is None:
        return "no candidate could be evaluated"
    missing = ", ".join(lack.text for lack in lacks(best, result.search.baseline, result.problem.limits))
    assert best.score
    return f"{best.title}: accuracy {percent(best.score)} %; {missing}"


def known_from(result: Result) -> str:
    """What the costs rest on."""
    costs = [outcome.cost for outcome in result.search.outcomes if outcome.cost]
    board = result.problem.limits.board
    if board is None:
        return "constants and arena of the portable C alone; add --board for the whole program"
    programs = " and ".join(sorted({cost.program for cost in costs})) or "nothing"
    compilers = " and ".join(sorted({cost.known_from for cost in costs if cost.known_from})) or "no compiler"
    estimated = sum(not cost.known_from for cost in costs)
    beside = f", {estimated} of {len(costs)} only estimated" if estimated else ""
    return f"{programs}, built for {board.name} with {compilers}{beside}; time from an emulator"


def next_commands(result: Result) -> list[str]:
    """What to do with the winner."""
    winner, board = result.search.winner, result.problem.limits.board
    assert winner and winner.cost
    model, project = result.folder / MODEL, f"{Path(MODEL).stem}_{default_format(board)}"
    goal = f" --optimize {winner.cost.goal}" if winner.cost.goal != Optimize.SPEED.value else ""
    place = f" --board {board.name}" if board else ""
    commands = [f"tinygen compile {shlex.quote(str(model))}{place}{goal}"]
    if board:
        samples = shlex.quote(str(result.folder / SAMPLES))
        commands.append(f"tinygen run {project} --emulator --inputs {samples}")
    return commands


def as_json(result: Result) -> dict[str, Any]:
    """The same facts as plain data."""
    problem, limits = result.problem, result.problem.limits
    facts = search_json(result.search)
    for row, candidate in zip(rows(result), facts["candidates"], strict=True):
        candidate |= {"state": row.state, "verdict": row.verdict}
    for number in front(result.search.outcomes):
        facts["candidates"][number]["pareto"] = True
    return {
        "model": problem.model.path,
        "model_sha256": problem.model.sha256,
        "sets": {role: _set(problem, role) for role in problem.sets},
        "seed": problem.seed,
        "board": limits.board.name if limits.board else None,
        "limits": {
            "flash_bytes": limits.flash_bytes,
            "ram_bytes": limits.ram_bytes,
            "milliseconds": limits.milliseconds,
            "max_drop": limits.max_drop,
        },
        **facts,
        "test": dict(zip(("float", "chosen"), map(_score, result.test), strict=True)) if result.test else None,
        "nearest": None if result.search.winner else nearest_line(result),
        "next": next_commands(result) if result.search.winner else [],
    }


def _set(problem: Problem, role: str) -> dict[str, Any]:
    data = problem.sets[role]
    return {"path": data.path, "samples": len(data.x), "sha256": data.digest}


def _score(score: Score) -> dict[str, Any]:
    facts = {"correct": score.correct, "total": score.total}
    return facts | {"accuracy": score.accuracy, "standard_error": score.standard_error}


def front(outcomes: tuple[Outcome, ...]) -> Iterator[int]:
    """The indices of the candidates that none beats in both accuracy and flash: the Pareto front."""
    known = [(o.score.correct, o.cost.flash_bytes, i) for i, o in enumerate(outcomes) if o.score and o.cost]
    for correct, flash, index in known:
        if not any(c >= correct and f <= flash and (c, f) != (correct, flash) for c, f, _ in known):
            yield index
