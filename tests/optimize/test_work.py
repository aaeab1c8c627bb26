"""From a task to its outcome: what is trained, what is not, and what is said of what fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.optimize.fakes import FLASH_BYTES, cost, float_dense, problem
from tests.small_models import two_convolutions
from tinygen.errors import ModelError, ModelErrors, QuantizeError, ToolError
from tinygen.optimize import work
from tinygen.optimize.candidate import Candidate, candidate
from tinygen.optimize.limits import Limits
from tinygen.optimize.outcome import Cost
from tinygen.optimize.task import Made, Problem, Task
from tinygen.quantize.evaluate import Score

INT8, QAT = candidate("int8"), candidate("int8_qat")
SMALL, LARGE = FLASH_BYTES, FLASH_BYTES * 2
MODEL = two_convolutions()


class Bench:
    """Stands in for training and compiling."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.flash_bytes = SMALL
        self.trained: list[bool] = []
        self.problem: Exception | None = None
        self.cost_problem: Exception | None = None
        monkeypatch.setattr(work, "load", lambda module: SimpleNamespace(make=self._make))
        monkeypatch.setattr(work, "cost", self._cost)
        monkeypatch.setattr(work, "score_tflite", lambda model, data: Score(9, 10))

    def _make(self, problem: Problem, which: Candidate, trained: bool, progress: Callable[[int, int], None]) -> bytes:
        self.trained.append(trained)
        progress(1, 2)
        if self.problem:
            raise self.problem
        return MODEL

    def _cost(self, model: bytes, limits: Limits) -> Cost:
        if self.cost_problem:
            raise self.cost_problem
        return cost(self.flash_bytes)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def test_what_needs_no_training_is_made_once(bench: Bench) -> None:
    found = work.evaluate(Task(problem(), INT8))
    assert bench.trained == [True]
    assert (found.score, found.cost, found.note, found.model) == (Score(9, 10), cost(SMALL), "", MODEL)


def test_what_cannot_fit_is_not_trained(bench: Bench) -> None:
    bench.flash_bytes = LARGE
    found = work.evaluate(Task(problem(), QAT))
    assert bench.trained == [False]
    assert (found.score, found.cost, found.note) == (None, cost(LARGE), "not trained")


@pytest.mark.parametrize("flash_bytes", [SMALL, int(SMALL * 1.01)])
def test_what_may_fit_is_trained(flash_bytes: int, bench: Bench) -> None:
    bench.flash_bytes = flash_bytes
    assert work.evaluate(Task(problem(), QAT)).score == Score(9, 10)
    assert bench.trained == [False, True]


def test_everything_is_trained_when_all_is_asked_for(bench: Bench) -> None:
    bench.flash_bytes = LARGE
    assert work.evaluate(Task(replace(problem(), thorough=True), QAT)).score == Score(9, 10)
    assert bench.trained == [True]


def test_what_was_made_before_is_only_measured(bench: Bench) -> None:
    found = work.evaluate(Task(problem(), QAT, Made(b"before", Score(7, 10))))
    assert bench.trained == [] and (found.score, found.model) == (Score(7, 10), b"before")


def test_progress_is_written_where_the_task_says(bench: Bench, tmp_path: Path) -> None:
    work.evaluate(Task(problem(), INT8, progress_path=str(tmp_path / "0")))
    assert (tmp_path / "0").read_text() == "1 2"


def test_what_cannot_be_made_has_a_note(bench: Bench) -> None:
    bench.problem = QuantizeError("no such thing", where="conv1")
    assert work.evaluate(Task(problem(), INT8)).note == "conv1: no such thing"


@pytest.mark.parametrize(
    ("error", "note"),
    [
        (ModelError("not taken", where="conv", found="int16", remedy="convert it"), "conv: not taken, found int16"),
        (ModelErrors([ModelError("first", remedy="x"), ModelError("second")]), "first"),
    ],
)
def test_what_cannot_be_compiled_keeps_its_accuracy(error: ModelError, note: str, bench: Bench) -> None:
    bench.cost_problem = error
    found = work.evaluate(Task(problem(), INT8))
    assert (found.score, found.cost, found.note) == (Score(9, 10), None, f"cannot be compiled: {note}")


def test_a_tool_that_is_missing_is_named_with_its_remedy(bench: Bench) -> None:
    bench.cost_problem = ToolError("no emulator", remedy="install it")
    assert work.evaluate(Task(problem(), INT8)).note == "no emulator; install it"


def test_a_fault_of_ours_does_not_end_the_search(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.problem = KeyError("x")
    expected = "internal error, KeyError: 'x'; set TINYGEN_DEBUG=1 to see where"
    assert work.evaluate(Task(problem(), INT8)).note == expected
    monkeypatch.setenv("TINYGEN_DEBUG", "1")
    with pytest.raises(KeyError):
        work.evaluate(Task(problem(), INT8))


def test_the_float_model_is_scored_without_tensorflow() -> None:
    base = problem(kind="tflite")
    flat = {role: replace(data, x=data.x.reshape(len(data.x), -1)[:, :6]) for role, data in base.sets.items()}
    given = replace(base, model=replace(base.model, data=float_dense()), sets=flat)
    found = work.baseline(given)
    assert found.float_bytes == 4 * (6 * 3 + 3) and found.score.total == 12
