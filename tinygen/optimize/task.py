"""One evaluation as data that travels to another process, and back as an outcome."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tinygen import __version__
from tinygen.optimize import sources
from tinygen.optimize.candidate import Candidate
from tinygen.optimize.limits import Limits
from tinygen.optimize.model_file import ModelFile
from tinygen.quantize.data import CALIBRATION, TEST, TRAINING, VALIDATION, Data
from tinygen.quantize.evaluate import Score


@dataclass(frozen=True, eq=False)
class Problem:
    """What all candidates have in common: the float model, the samples, what has to fit, the seed.

    `thorough`: candidates that cannot fit are trained all the same.
    """

    model: ModelFile
    sets: Mapping[str, Data]
    limits: Limits
    seed: int = 0
    thorough: bool = False

    def without_test(self) -> Problem:
        """The same without the test set, which no candidate may see."""
        return replace(self, sets={role: data for role, data in self.sets.items() if role != TEST})


@dataclass(frozen=True, eq=False)
class Made:
    """A model that was made of a candidate, its score on the validation set, and the layers that were picked if any."""

    model: bytes
    score: Score
    layers: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Task:
    """A candidate to evaluate; `made` when that much is known of it, `progress_path` where to say how far it is."""

    problem: Problem
    candidate: Candidate
    made: Made | None = None
    progress_path: str = ""


def model_facts(problem: Problem) -> dict[str, Any]:
    """What a float model's own score rests on."""
    return {
        "tinygen": __version__,
        "model": problem.model.sha256,
        "validation": problem.sets[VALIDATION].digest,
    }


def made_facts(problem: Problem, candidate: Candidate) -> dict[str, Any]:
    """What the model made of a candidate rests on, with its score."""
    others = {role: problem.sets[role].digest for role in (TRAINING, CALIBRATION) if role in problem.sets}
    facts = {**model_facts(problem), **others, "candidate": candidate.as_json(), "seed": problem.seed}
    picked = {**_cost_facts(problem), "max_drop": problem.limits.max_drop} if candidate.record.picks else {}
    return {**facts, **picked, "trainer": sources.trainer()}


def outcome_facts(problem: Problem, candidate: Candidate) -> dict[str, Any]:
    """What the outcome of a candidate rests on."""
    return {**made_facts(problem, candidate), **_cost_facts(problem), "thorough": problem.thorough}


def _cost_facts(problem: Problem) -> dict[str, Any]:
    """What the costs of a model rest on."""
    limits = problem.limits
    return {
        "board": limits.board.as_json() if limits.board else None,
        "compilers": [sources.compiler(), sources.cross_compiler(limits.board) if limits.board else ""],
        "limits": [limits.ram_bytes, limits.flash_bytes, limits.milliseconds],
    }


def judged_facts(problem: Problem, model: bytes) -> dict[str, Any]:
    """What the scores of the float model and of `model` on the test set rest on."""
    digest = hashlib.sha256(model).hexdigest()
    return {"tinygen": __version__, "float": problem.model.sha256, "model": digest, "test": problem.sets[TEST].digest}
