"""A task as its outcome, in a process of its own: the part of the search that trains, and that loads TensorFlow."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from tinygen.errors import ModelError, Several, TinygenError
from tinygen.optimize.cost import cost
from tinygen.optimize.extras import load
from tinygen.optimize.limits import Limits, cost_lacks
from tinygen.optimize.model_file import KERAS, ModelFile, float_bytes
from tinygen.optimize.outcome import Baseline, Cost, Outcome
from tinygen.optimize.pick import pick
from tinygen.optimize.task import Made, Problem, Task
from tinygen.quantize.data import TEST, VALIDATION, Data
from tinygen.quantize.evaluate import Score, score_tflite

Progress = Callable[[int, int], None]
MARGIN = 0.02
"""What training may change of a cost: zeros, and channels that never answer, are left out of the generated code."""
_MAKER_OF_KERAS, _MAKER_OF_TFLITE = "tinygen.optimize.make", "tinygen.optimize.make_tflite"
UNTRAINED = "not trained"
NOT_NEEDED = "left out: 8 bits suffice in all layers"


def evaluate(task: Task) -> Outcome:
    """What becomes of the task's candidate; what stops it is its note."""
    started = time.monotonic()
    try:
        outcome = _evaluate(task)
    except TinygenError as error:
        outcome = Outcome(task.candidate, note=error.lines[0])
    except Exception as error:  # a technique that fails on a layer it does not know must not cost the others' results
        if os.environ.get("TINYGEN_DEBUG"):
            raise
        found = f"{type(error).__name__}: {error}".splitlines()[0]
        outcome = Outcome(task.candidate, note=f"internal error, {found}; set TINYGEN_DEBUG=1 to see where")
    return replace(outcome, seconds=round(time.monotonic() - started, 3))


def _evaluate(task: Task) -> Outcome:
    limits = task.problem.limits
    if task.made is None and task.candidate.record.trains and not task.problem.thorough:
        untrained = cost(_make(task, trained=False), limits)
        if any(lack.over > MARGIN for lack in cost_lacks(untrained, limits)):
            return Outcome(task.candidate, cost=untrained, note=UNTRAINED)
    made = task.made or _made(task)
    if task.candidate.record.picks and not made.layers:
        return Outcome(task.candidate, note=NOT_NEEDED)
    costs, note = _cost_of(made.model, limits)
    return Outcome(task.candidate, made.score, costs, note, model=made.model, layers=made.layers)


def _cost_of(model: bytes, limits: Limits) -> tuple[Cost | None, str]:
    """(cost, why there is none): a model that cannot be compiled still has its accuracy to show."""
    try:
        return cost(model, limits), ""
    except ModelError as error:
        return None, f"cannot be compiled: {_brief(error)}"
    except TinygenError as error:
        return None, error.lines[0]


def _brief(error: TinygenError) -> str:
    """The first problem without its remedy, which is for who chose the model's types himself."""
    first = error.problems[0] if isinstance(error, Several) else error
    return str(type(first)(first.what, where=first.where, found=first.found, expected=first.expected))


def _made(task: Task) -> Made:
    if task.candidate.record.picks:
        return pick(task, _maker(task.problem.model), progress_to(task.progress_path))
    model = _make(task, trained=True)
    return Made(model, score_tflite(model, task.problem.sets[VALIDATION]))


def _make(task: Task, trained: bool) -> bytes:
    """The candidate's .tflite; `trained` or of the same shape."""
    maker = _maker(task.problem.model)
    made: bytes = maker.make(task.problem, task.candidate, trained, progress_to(task.progress_path))
    return made


def _maker(model: ModelFile) -> Any:
    """The module that makes candidates of such a model."""
    return load(_MAKER_OF_KERAS if model.kind == KERAS else _MAKER_OF_TFLITE)


def progress_to(path: str) -> Progress:
    """A function that writes into the file how much is done, or does nothing without one."""
    if not path:
        return lambda done, total: None
    return lambda done, total: _write(path, f"{done} {total}")


def _write(path: str, text: str) -> None:
    Path(path).write_text(text, "ascii")


def baseline(problem: Problem) -> Baseline:
    """The float model on the validation set; raises TinygenError."""
    model = problem.model
    taken_bytes = load(_MAKER_OF_KERAS).float_bytes(model) if model.kind == KERAS else float_bytes(model)
    return Baseline(_float_score(model, problem.sets[VALIDATION]), taken_bytes)


def judge(problem: Problem, model: bytes) -> tuple[Score, Score]:
    """The float model and a candidate's model on the test set; raises TinygenError."""
    data = problem.sets[TEST]
    return _float_score(problem.model, data), score_tflite(model, data)


def _float_score(model: ModelFile, data: Data) -> Score:
    if model.kind != KERAS:
        return score_tflite(model.data, data)
    found: Score = load(_MAKER_OF_KERAS).score(model, data)
    return found
