"""The students of a data set, trained alone, as the width of those that are studied: one at which they lack something.

The rule was set before any but the widest had been trained, and looks at the validation sets alone: the widest
of WIDTHS whose student alone is more than BEHIND worse than its teacher, on average over the seeds; else the narrowest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np

from scripts.study.techniques import Case
from tinygen.quantize.evaluate import score_keras

WIDTHS = (1 / 2, 1 / 4, 1 / 8)
BEHIND = 0.01
"""The share of the validation samples that a student alone has to lose for a teacher to be of use."""


@dataclass(frozen=True)
class Choice:
    """The width that was chosen, and for each that was tried what a student alone loses against its teacher."""

    width: float
    lost: tuple[tuple[float, float], ...]

    def __str__(self) -> str:
        tried = ", ".join(f"{Fraction(width)} of the width {100 * lost:+.1f}" for width, lost in self.lost)
        return f"Students have {Fraction(self.width)} of the width. Lost alone on the validation set, points: {tried}."


def choose(cases: Sequence[Case], widths: Sequence[float] = WIDTHS) -> Choice:
    """The width for a data set, by the rule above; `cases` are its seeds."""
    lost: list[tuple[float, float]] = []
    for width in widths:
        lost.append((width, float(np.mean([_lost(with_width(case, width)) for case in cases]))))
        if lost[-1][1] > BEHIND:
            break
    return Choice(lost[-1][0], tuple(lost))


def with_width(case: Case, width: float) -> Case:
    """The same case with students of that width."""
    return replace(case, effort=replace(case.effort, width=width))


def _lost(case: Case) -> float:
    """The share of the validation samples that the student alone loses against its teacher, both in floating point."""
    teacher, student = (score_keras(model, case.data.validation) for model in (case.control, case.student_alone))
    return teacher.accuracy - student.accuracy
