"""The way up the ladder: its order, what it leaves out and what it remembers; that it ends the same however it runs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from tests.optimize.fakes import BASELINE, FLASH_BYTES, outcome, problem, threads
from tinygen import target
from tinygen.errors import ToolError
from tinygen.optimize import pool, work
from tinygen.optimize.cache import Cache
from tinygen.optimize.candidate import Candidate, candidate
from tinygen.optimize.limits import Limits
from tinygen.optimize.model_file import TFLITE
from tinygen.optimize.outcome import Outcome
from tinygen.optimize.pool import workers
from tinygen.optimize.search import DIED, Running, Search, judge, nearest, search
from tinygen.optimize.task import Problem, Task
from tinygen.quantize.data import TEST
from tinygen.quantize.evaluate import Score

INT8, INT4, QAT = candidate("int8"), candidate("int4"), candidate("int4_qat")
WIDE, NARROW = candidate("channels", share=0.5), candidate("channels", share=0.25)
LADDER = (INT8, INT4, QAT, WIDE, NARROW)
SMALL, LARGE = FLASH_BYTES - 1024, FLASH_BYTES + 1024
RESULTS = {INT8: (95, LARGE), INT4: (80, SMALL), QAT: (94, SMALL), WIDE: (95, LARGE), NARROW: (93, SMALL)}


class Bench:
    """Stands in for the evaluation: what it answers, and what it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.results: dict[Candidate, tuple[int, int]] = dict(RESULTS)
        self.asked: list[Task] = []
        self.seconds: dict[Candidate, float] = {}
        self.ram_bytes = 4096
        self.judged = 0
        self._lock = threading.Lock()
        monkeypatch.setattr(work, "evaluate", self._evaluate)
        monkeypatch.setattr(work, "baseline", lambda problem: BASELINE)
        monkeypatch.setattr(work, "judge", self._judge)

    @property
    def candidates(self) -> list[Candidate]:
        return [task.candidate for task in self.asked]

    def _evaluate(self, task: Task) -> Outcome:
        assert TEST not in task.problem.sets
        with self._lock:
            self.asked.append(task)
        time.sleep(self.seconds.get(task.candidate, 0))
        return outcome(task.candidate, *self.results[task.candidate], self.ram_bytes)

    def _judge(self, problem: Problem, model: bytes) -> tuple[Score, Score]:
        self.judged += 1
        return Score(90, 100), Score(89, 100)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    return Bench(monkeypatch)


def found(
    folder: Path,
    what: Problem | None = None,
    ladder: Sequence[Candidate] = LADDER,
    jobs: int = 1,
    watch: Callable[[int, int, Sequence[Running]], None] = lambda done, total, running: None,
) -> Search:
    with threads(jobs) as some:
        return search(what or problem(), ladder, Cache(folder), some, watch)


def test_the_first_that_fits_ends_the_search(bench: Bench, tmp_path: Path) -> None:
    result = found(tmp_path)
    assert bench.candidates == [INT8, INT4, QAT]
    assert result.winner is result.outcomes[2] and result.winner.candidate == QAT
    assert result.baseline == BASELINE


@pytest.mark.parametrize("jobs", [2, 5])
def test_the_answer_does_not_hang_on_who_is_done_first(jobs: int, bench: Bench, tmp_path: Path) -> None:
    alone = found(tmp_path / "alone")
    bench.seconds = {INT4: 0.2, QAT: 0.3, WIDE: 0.1}
    together = found(tmp_path / "together", jobs=jobs)
    assert together == alone
    assert bench.asked[3].candidate == INT8, "what the first one lacks must be known before another one starts"


def test_all_of_them_when_asked_for_and_the_most_accurate_wins(bench: Bench, tmp_path: Path) -> None:
    bench.results |= {QAT: (94, SMALL), NARROW: (94, SMALL - 1)}
    result = found(tmp_path, replace(problem(), thorough=True))
    assert bench.candidates == list(LADDER) and len(result.outcomes) == 5
    assert result.winner and result.winner.candidate == NARROW, "of the most accurate ones the smallest"


REFINED = candidate("int8", method="mse")
NO_FLASH, NO_RAM, NO_ACCURACY = "saves no flash", "saves no RAM", "wins back no accuracy"


@pytest.mark.parametrize(
    ("correct", "flash", "ram", "notes"),
    [
        (95, LARGE, 4096, {REFINED: NO_FLASH}),
        (95, SMALL, 30_000, {REFINED: NO_RAM, INT4: NO_RAM, QAT: NO_RAM}),
        (95, LARGE, 30_000, {REFINED: "saves no RAM, no flash", INT4: NO_RAM, QAT: NO_RAM}),
        (80, SMALL, 4096, {INT4: NO_ACCURACY, WIDE: NO_ACCURACY}),
        (80, LARGE, 4096, {REFINED: NO_FLASH}),
    ],
)
def test_what_cannot_save_what_int8_lacks_is_left_out(
    correct: int, flash: int, ram: int, notes: dict[Candidate, str], bench: Bench, tmp_path: Path
) -> None:
    ladder = (INT8, REFINED, INT4, QAT, WIDE)
    bench.results = dict.fromkeys(ladder, (correct, flash))
    bench.ram_bytes = ram
    result = found(tmp_path, ladder=ladder)
    left_out = {each.candidate: each.note.removeprefix("left out: ") for each in result.outcomes if each.note}
    assert left_out == notes
    assert bench.candidates == [each for each in ladder if each not in left_out]


def test_what_is_not_there_cannot_be_used(bench: Bench, tmp_path: Path) -> None:
    notes = [each.note for each in found(tmp_path / "a", problem(train=False)).outcomes]
    assert notes == ["", "", *["left out: needs --train"] * 3]
    notes = [each.note for each in found(tmp_path / "b", problem(kind=TFLITE)).outcomes]
    assert notes == ["", "", *["left out: needs a Keras model"] * 3]


def test_what_is_known_is_not_evaluated_again(bench: Bench, tmp_path: Path) -> None:
    first = found(tmp_path)
    bench.asked.clear()
    assert found(tmp_path) == first and bench.asked == []
    found(tmp_path, problem(seed=1))
    assert bench.candidates == [INT8, INT4, QAT] and all(task.made is None for task in bench.asked)


def test_for_another_board_nothing_is_trained_again(bench: Bench, tmp_path: Path) -> None:
    found(tmp_path)
    bench.asked.clear()
    found(tmp_path, problem(Limits(target.load("uno"), max_drop=0.02)))
    assert bench.candidates == [INT8, INT4, QAT]
    assert [task.made.score.correct if task.made else None for task in bench.asked] == [95, 80, 94]


def test_a_stopped_search_goes_on_where_it_was(bench: Bench, tmp_path: Path) -> None:
    def stop(done: int, total: int, running: Sequence[Running]) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        found(tmp_path, watch=stop)
    before = len(bench.asked)
    assert found(tmp_path).winner and bench.candidates[before:] == [QAT]


def test_damaged_results_are_made_again(bench: Bench, tmp_path: Path) -> None:
    first = found(tmp_path)
    for path in tmp_path.glob("made-*"):
        path.write_bytes(path.read_bytes()[:-1])
    bench.asked.clear()
    assert found(tmp_path) == first and bench.candidates == [INT8, INT4, QAT]


def test_what_failed_is_tried_again(monkeypatch: pytest.MonkeyPatch, bench: Bench, tmp_path: Path) -> None:
    monkeypatch.setattr(work, "evaluate", lambda task: Outcome(task.candidate, note="no compiler"))
    result = found(tmp_path)
    assert [each.note for each in result.outcomes] == ["no compiler"] * 5 and result.winner is None
    assert nearest(result, problem()) is None
    assert list(tmp_path.glob("outcome-*")) == []


def test_the_nearest_of_those_that_do_not_fit(bench: Bench, tmp_path: Path) -> None:
    bench.results = {INT8: (95, 2 * LARGE), INT4: (80, SMALL), QAT: (92, SMALL), WIDE: (95, LARGE), NARROW: (70, SMALL)}
    result = found(tmp_path)
    best = nearest(result, problem())
    assert result.winner is None and best and best.candidate == QAT, "1 point too much is less than 1.6 % of the flash"


def test_the_test_set_is_looked_at_once(bench: Bench, tmp_path: Path) -> None:
    model = b"the winner"
    with threads(1) as some:
        judged = [judge(problem(), model, Cache(tmp_path), some) for _ in range(2)]
    assert judged == [(Score(90, 100), Score(89, 100))] * 2
    assert bench.judged == 1


def test_progress_is_passed_on(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def train(task: Task) -> Outcome:
        work.progress_to(task.progress_path)(3, 20)
        time.sleep(0.5)
        return outcome(task.candidate, 95, SMALL)

    told: list[tuple[int, int, tuple[Running, ...]]] = []
    monkeypatch.setattr(work, "evaluate", train)
    found(tmp_path, ladder=(QAT, WIDE), watch=lambda done, total, running: told.append((done, total, tuple(running))))
    assert (0, 2, (Running("int4 weights, QAT, 20 epochs", 3, 20),)) in told
    assert told[-1] == (1, 2, ())


def test_a_candidate_whose_process_died(monkeypatch: pytest.MonkeyPatch, bench: Bench, tmp_path: Path) -> None:
    def evaluate(task: Task) -> Outcome:
        if task.candidate == INT8:
            raise BrokenExecutor
        return outcome(task.candidate, 95, SMALL)

    monkeypatch.setattr(work, "evaluate", evaluate)
    result = found(tmp_path)
    assert result.outcomes[0].note == DIED and result.winner is result.outcomes[1]


def die() -> None:
    os._exit(1)


def test_a_process_that_dies_costs_only_what_it_was_at() -> None:
    with workers(1) as some:
        assert some.submit(os.getpid).result() != os.getpid()
        with pytest.raises(BrokenExecutor):
            some.submit(die).result()
        assert some.submit(len, "abc").result() == 3


def test_no_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "CONNECT_SECONDS", 1)
    with (
        pytest.raises(
            ToolError, match=r"tcp://127\.0\.0\.1:9: no Dask scheduler answers, found .*; start one: dask sched"
        ),
        workers(1, "tcp://127.0.0.1:9"),
    ):
        pass
