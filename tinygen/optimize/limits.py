"""What has to fit as what a candidate lacks: memory of the board, targets of its user, time, accuracy."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tinygen.budget import Memory
from tinygen.errors import RecipeError
from tinygen.optimize.outcome import Baseline, Cost, Outcome
from tinygen.optimize.technique import ACCURACY, FLASH, RAM, TIME
from tinygen.quantize.evaluate import Score
from tinygen.target import Target


@dataclass(frozen=True)
class Limits:
    """The board that a model is for, and what its user allows; None where there is no such limit."""

    board: Target | None = None
    ram_bytes: int | None = None
    flash_bytes: int | None = None
    milliseconds: float | None = None
    max_drop: float = 0.01
    """The share of the validation samples that may be lost against the float model."""


@dataclass(frozen=True)
class Lack:
    """Something of which there is too little; `kind` is FLASH, RAM, TIME or ACCURACY, `over` by what share of it."""

    kind: str
    text: str
    over: float


def lacks(outcome: Outcome, baseline: Baseline, limits: Limits) -> tuple[Lack, ...]:
    """All that the candidate lacks, as far as it is known."""
    found = list(_of_cost(outcome.cost, limits)) if outcome.cost else []
    return (*found, *_of_score(outcome, baseline, limits))


def cost_lacks(cost: Cost, limits: Limits) -> tuple[Lack, ...]:
    """What the code of a candidate lacks."""
    return tuple(_of_cost(cost, limits))


def fits(outcome: Outcome, baseline: Baseline, limits: Limits) -> bool:
    """Whether the candidate is an answer: known to cost no more than allowed, and to be right often enough."""
    if outcome.cost is None or outcome.score is None:
        return False
    is_timed = limits.milliseconds is None or outcome.cost.milliseconds is not None
    return is_timed and not lacks(outcome, baseline, limits)


def drop(outcome: Outcome, baseline: Baseline) -> float | None:
    """The share of the validation samples that is lost against the float model."""
    return None if outcome.score is None else baseline.score.accuracy - outcome.score.accuracy


def _of_cost(cost: Cost, limits: Limits) -> Iterator[Lack]:
    """One lack for each kind, where it is worst: a memory of the board, or what its user allows."""
    ceilings = [(FLASH if memory.kind == FLASH else RAM, *_needs(memory)) for memory in cost.memories]
    ceilings += [(FLASH, cost.flash_bytes, limits.flash_bytes)] if limits.flash_bytes is not None else []
    ceilings += [(RAM, cost.ram_bytes, limits.ram_bytes)] if limits.ram_bytes is not None else []
    for kind in (FLASH, RAM):
        over = [(needed - there) / max(there, 1) for of, needed, there in ceilings if of == kind and needed > there]
        if over:
            yield Lack(kind, f"{kind} {100 * max(over):.0f} % over", max(over))
    if limits.milliseconds is not None:
        yield from _of_time(cost.milliseconds, limits.milliseconds)


def _needs(memory: Memory) -> tuple[int, int]:
    return memory.needed_bytes, memory.there_bytes


def _of_time(milliseconds: float | None, limit: float) -> Iterator[Lack]:
    if milliseconds is not None and milliseconds > limit:
        over = milliseconds / limit - 1
        yield Lack(TIME, f"time {100 * over:.0f} % over", over)


def _of_score(outcome: Outcome, baseline: Baseline, limits: Limits) -> Iterator[Lack]:
    lost = drop(outcome, baseline)
    if outcome.score is None or lost is None:
        return
    if outcome.score.correct < least_correct(baseline.score, limits):
        yield Lack(ACCURACY, f"{100 * lost:.1f} points lost", lost - limits.max_drop)


def least_correct(score: Score, limits: Limits) -> int:
    """How many of the validation samples have to be right, when the float model has this score."""
    # Counted in samples: 0.97 - 0.96 is more than 0.01 in binary.
    return math.ceil(score.correct - limits.max_drop * score.total - 1e-9)


def share(text: str) -> float:
    """The share that "1%", "1 %" or "0.01" stands for; raises RecipeError."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+) ?(%?)", text.strip())
    value = float(match[1]) / (100 if match[2] else 1) if match else -1.0
    if not 0 <= value <= 1:
        raise RecipeError("no share", where="--max-drop", found=f"'{text}'", expected="such as 1% or 0.01")
    return value
