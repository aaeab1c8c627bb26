"""A ladder of candidates as the first that fits, with all that was evaluated on the way, in their order.

However many run at a time, the answer is the same: a candidate wins when all before it are known not to fit.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygen.optimize import work
from tinygen.optimize.cache import Cache
from tinygen.optimize.candidate import Candidate
from tinygen.optimize.limits import drop, fits, lacks
from tinygen.optimize.model_file import KERAS
from tinygen.optimize.outcome import Baseline, Cost, Outcome, outcome_from_json
from tinygen.optimize.pool import Pool
from tinygen.optimize.task import Made, Problem, Task, judged_facts, made_facts, model_facts, outcome_facts
from tinygen.optimize.technique import ACCURACY
from tinygen.quantize.data import TRAINING
from tinygen.quantize.evaluate import Score

POLL_SECONDS = 0.2
"""How often the progress of what runs is looked at."""
DIED = "its process died, perhaps for want of memory: try --jobs 1"


@dataclass(frozen=True)
class Running:
    """A candidate that is being evaluated, and how many of its steps are done, if it has steps."""

    title: str
    done: int = 0
    total: int = 0


Watch = Callable[[int, int, Sequence[Running]], None]
"""Called often: how many candidates are done, of how many at most, and which are at work."""


@dataclass(frozen=True)
class Search:
    """What was found: the float model, the candidates in order, those left out with a note, and the winner if any."""

    baseline: Baseline
    outcomes: tuple[Outcome, ...]
    winner: Outcome | None


def search(problem: Problem, ladder: Sequence[Candidate], cache: Cache, pool: Pool, watch: Watch) -> Search:
    """Evaluate the candidates in order up to the first that fits, or all when `problem` is thorough."""
    unseen = problem.without_test()
    baseline = _baseline(unseen, cache, pool, watch, len(ladder))
    climb = _Climb(unseen, ladder, baseline, cache, pool)
    with tempfile.TemporaryDirectory(prefix="tinygen-") as folder:
        climb.run(Path(folder), watch)
    outcomes = [climb.outcomes[index] for index in sorted(climb.outcomes)]
    winner = _winner(outcomes, baseline, problem)
    if winner and not problem.thorough:
        outcomes = outcomes[: outcomes.index(winner) + 1]
    return Search(baseline, tuple(outcomes), winner)


def judge(problem: Problem, model: bytes, cache: Cache, pool: Pool) -> tuple[Score, Score]:
    """The scores of the float model and of `model` on the test set: to be asked once, of the winner."""
    facts = judged_facts(problem, model)
    entry = cache.get("test", facts)
    if entry is None:
        scores = pool.submit(work.judge, problem, model).result()
        cache.put("test", facts, {"scores": [[score.correct, score.total] for score in scores]})
        return scores[0], scores[1]
    first, second = entry.facts["scores"]
    return Score(*first), Score(*second)


def nearest(found: Search, problem: Problem) -> Outcome | None:
    """Of the candidates that do not fit the one that exceeds what is allowed by the least, all its shares added."""
    known = [outcome for outcome in found.outcomes if outcome.cost and outcome.score]
    over = [sum(lack.over for lack in lacks(outcome, found.baseline, problem.limits)) for outcome in known]
    return known[over.index(min(over))] if known else None


def _winner(outcomes: Sequence[Outcome], baseline: Baseline, problem: Problem) -> Outcome | None:
    """The first that fits; of all that do the most accurate, and of these the one that takes least of everything."""
    fitting = [outcome for outcome in outcomes if fits(outcome, baseline, problem.limits)]
    if not problem.thorough or not fitting:
        return fitting[0] if fitting else None
    return min(fitting, key=lambda outcome: (drop(outcome, baseline), _taken(outcome.cost) if outcome.cost else 0))


def _taken(found: Cost) -> float:
    """Flash, RAM and time multiplied: half of one is worth twice another."""
    return found.flash_bytes * found.ram_bytes * (found.milliseconds or 1.0)


def _baseline(problem: Problem, cache: Cache, pool: Pool, watch: Watch, total: int) -> Baseline:
    facts = model_facts(problem)
    entry = cache.get("float", facts)
    if entry is None:
        future = pool.submit(work.baseline, problem)
        while not wait([future], POLL_SECONDS).done:
            watch(0, total, [Running("the float model")])
        found: Baseline = future.result()
        score = [found.score.correct, found.score.total]
        cache.put("float", facts, {"score": score, "float_bytes": found.float_bytes})
        return found
    return Baseline(Score(*entry.facts["score"]), entry.facts["float_bytes"])


class _Climb:
    """One way up the ladder: what is known by index, what runs, and what comes next."""

    def __init__(
        self, problem: Problem, ladder: Sequence[Candidate], baseline: Baseline, cache: Cache, pool: Pool
    ) -> None:
        self.problem, self.ladder, self.baseline, self.cache, self.pool = problem, ladder, baseline, cache, pool
        self.outcomes: dict[int, Outcome] = {}
        self._running: dict[Future[Outcome], tuple[int, Path]] = {}
        self._next = 0

    def run(self, folder: Path, watch: Watch) -> None:
        """Go up until it is decided; `folder` is for what the processes say of their progress."""
        while self._start_some(folder) or self._running:
            watch(len(self.outcomes), len(self.ladder), [self._progress(*place) for place in self._running.values()])
            done, _ = wait(self._running, POLL_SECONDS, FIRST_COMPLETED)
            for future in done:
                index, _ = self._running.pop(future)
                self._keep(index, self._result(index, future))
        watch(len(self.outcomes), len(self.ladder), [])

    def _start_some(self, folder: Path) -> bool:
        """Start what there is room for; whether anything was started or known at once."""
        before = self._next
        while self._may_start():
            index, candidate = self._next, self.ladder[self._next]
            self._next += 1
            known = self._left_out(candidate) or self._cached(candidate)
            if known:
                self.outcomes[index] = known
                continue
            path = folder / str(index)
            task = Task(self.problem, candidate, self._made(candidate), str(path))
            self._running[self.pool.submit(work.evaluate, task)] = (index, path)
        return self._next > before

    def _may_start(self) -> bool:
        if self._next == len(self.ladder) or len(self._running) >= self.pool.jobs:
            return False
        if self._running and self._next == 1:
            return False  # what the first one lacks says which others are of use
        return self.problem.thorough or not any(
            fits(outcome, self.baseline, self.problem.limits) for outcome in self.outcomes.values()
        )

    def _left_out(self, candidate: Candidate) -> Outcome | None:
        """An outcome that says why the candidate cannot be of use, or None."""
        reason = _obstacle(candidate, self.problem)
        first = self.outcomes.get(0)
        if not reason and first and first.candidate.technique == "int8" and first.cost and not self.problem.thorough:
            lacking = {lack.kind for lack in lacks(first, self.baseline, self.problem.limits)}
            reason = _no_help(candidate, lacking)
        return Outcome(candidate, note=reason) if reason else None

    def _cached(self, candidate: Candidate) -> Outcome | None:
        entry = self.cache.get("outcome", outcome_facts(self.problem, candidate))
        if entry is None:
            return None
        made = self._made(candidate)
        if entry.facts["score"] and made is None:
            return None
        return outcome_from_json(candidate, entry.facts, made.model if made else b"")

    def _made(self, candidate: Candidate) -> Made | None:
        entry = self.cache.get("made", made_facts(self.problem, candidate))
        return Made(entry.model, Score(*entry.facts["score"]), tuple(entry.facts["layers"])) if entry else None

    def _keep(self, index: int, outcome: Outcome) -> None:
        """Store what can be relied on: what failed may have failed for want of a tool, and is tried again."""
        self.outcomes[index] = outcome
        if outcome.score:
            score = [outcome.score.correct, outcome.score.total]
            facts = {"score": score, "layers": outcome.layers}
            self.cache.put("made", made_facts(self.problem, outcome.candidate), facts, outcome.model)
        if outcome.cost:
            self.cache.put("outcome", outcome_facts(self.problem, outcome.candidate), outcome.as_json())

    def _result(self, index: int, future: Future[Outcome]) -> Outcome:
        try:
            return future.result()
        except BrokenExecutor:
            return Outcome(self.ladder[index], note=DIED)

    def _progress(self, index: int, path: Path) -> Running:
        title = self.ladder[index].title
        try:
            done, total = map(int, path.read_text("ascii").split())
        except (OSError, ValueError):  # nothing was said yet, or it is just being written
            return Running(title)
        return Running(title, done, total)


def _obstacle(candidate: Candidate, problem: Problem) -> str:
    """Why the candidate cannot be made of what is given."""
    technique = candidate.record
    if problem.model.kind != KERAS and not technique.takes_tflite:
        return "left out: needs a Keras model"
    if technique.trains and TRAINING not in problem.sets:
        return "left out: needs --train"
    return ""


def _no_help(candidate: Candidate, lacking: set[str]) -> str:
    """Why the candidate cannot save what int8 lacks."""
    helps = candidate.record.helps
    without = sorted(lacking - {ACCURACY} - helps)
    if without:
        return f"left out: saves no {', no '.join(without)}"
    return "left out: wins back no accuracy" if lacking == {ACCURACY} and ACCURACY not in helps else ""


def as_json(found: Search) -> dict[str, Any]:
    """The same as plain data."""
    float_score = found.baseline.score
    return {
        "float": {
            "correct": float_score.correct,
            "total": float_score.total,
            "accuracy": float_score.accuracy,
            "bytes": found.baseline.float_bytes,
        },
        "candidates": [outcome.as_json() for outcome in found.outcomes],
        "winner": found.outcomes.index(found.winner) if found.winner else None,
    }
