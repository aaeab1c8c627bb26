"""A task of 16-bit activations where they are needed as the model with the fewest and cheapest layers of that kind."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from tinygen.errors import ModelError
from tinygen.optimize.cost import cost
from tinygen.optimize.limits import Limits, cost_lacks, least_correct
from tinygen.optimize.task import Made, Task
from tinygen.quantize.data import VALIDATION
from tinygen.quantize.evaluate import score
from tinygen.quantize.pick_layers import pick_layers


def pick(task: Task, maker: Any, progress: Callable[[int, int], None]) -> Made:
    """The model that loses no more than allowed, no layers when 8 bits do not either; raises QuantizeError.

    `maker` is the module that makes candidates of models of the task's kind.
    """
    problem = task.problem
    validation, limits = problem.sets[VALIDATION], problem.limits
    answers = maker.answers(problem.model, validation)
    least = least_correct(score(answers, validation), limits)
    prepared = maker.prepared(problem, task.candidate)
    found = pick_layers(
        prepared, validation, answers, least, price=lambda model: price(model, limits), progress=progress
    )
    return Made(found.model, found.score, found.layers)


def price(model: bytes, limits: Limits) -> tuple[float, ...]:
    """What counts first when a model is chosen: that it fits, then its time, its RAM, its flash."""
    try:
        found = cost(model, limits)
    except ModelError:  # which is told of the model that is chosen in the end
        return (math.inf,)
    over = sum(lack.over for lack in cost_lacks(found, limits))
    return over, found.milliseconds or 0.0, found.ram_bytes, found.flash_bytes
