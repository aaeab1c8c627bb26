"""What became of a candidate, as data: what it costs by the compiler, and how often it is right, or why not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from tinygen.budget import Memory
from tinygen.optimize.candidate import Candidate
from tinygen.quantize.evaluate import Score

SHOWN_LAYERS = 4
"""Of more layers than this, and one, the first are named."""


@dataclass(frozen=True)
class Cost:
    """What the generated code of a model takes of a board, or of any, `board` then being empty.

    `program` says of what: the firmware, or the model alone; `goal` what its kernels were chosen for; `known_from` with
    which compiler it is measured, and is empty for an estimate. The `memories` are those of the board: what of each is
    needed, and what is there.
    """

    board: str
    program: str
    goal: str
    known_from: str
    flash_bytes: int
    ram_bytes: int
    constant_bytes: int
    milliseconds: float | None
    memories: tuple[Memory, ...]


@dataclass(frozen=True)
class Outcome:
    """A candidate, evaluated: on the validation set, and as code; `note` says why one or both are missing.

    `layers` are those that were found to need it, of a technique that picks.
    """

    candidate: Candidate
    score: Score | None = None
    cost: Cost | None = None
    note: str = ""
    seconds: float = 0.0
    model: bytes = field(default=b"", repr=False)
    layers: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The candidate's title, and the layers that were picked, as far as they can be told in a line."""
        if not self.layers:
            return self.candidate.title
        more = len(self.layers) - SHOWN_LAYERS
        shown = self.layers if more <= 1 else (*self.layers[:SHOWN_LAYERS], f"{more} more")
        return f"{self.candidate.title}: {', '.join(shown)}"

    def as_json(self) -> dict[str, Any]:
        """The same as plain data, the model's bytes apart."""
        facts = {"candidate": self.candidate.as_json(), "title": self.title, "note": self.note}
        facts |= {"layers": list(self.layers)} if self.layers else {}
        score = {"correct": self.score.correct, "total": self.score.total} if self.score else None
        return {**facts, "score": score, "cost": asdict(self.cost) if self.cost else None, "seconds": self.seconds}


@dataclass(frozen=True)
class Baseline:
    """The float model that all are compared with, on the validation set; what its weights take as float32."""

    score: Score
    float_bytes: int


def outcome_from_json(candidate: Candidate, facts: Mapping[str, Any], model: bytes) -> Outcome:
    """The outcome that `as_json` made these facts from."""
    score = Score(**facts["score"]) if facts["score"] else None
    cost, layers = cost_from_json(facts["cost"]), tuple(facts.get("layers", ()))
    return Outcome(candidate, score, cost, facts["note"], facts["seconds"], model, layers)


def cost_from_json(facts: Mapping[str, Any] | None) -> Cost | None:
    """The cost as it was before it became plain data."""
    if facts is None:
        return None
    return Cost(**{**facts, "memories": tuple(Memory(**memory) for memory in facts["memories"])})
