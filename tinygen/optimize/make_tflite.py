"""A candidate as an integer .tflite model, made of a float one without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from tinygen.optimize.candidate import Candidate
from tinygen.optimize.task import Problem
from tinygen.optimize.technique import activations_of
from tinygen.quantize.data import CALIBRATION
from tinygen.quantize.float_tflite import quantize_float_tflite

WIDTHS: MappingProxyType[str, dict[str, Any]] = MappingProxyType(
    {
        "int8": {"weights": 8, "activations": 8},
        "int16": {"weights": 8, "activations": 16},
        "int4": {"weights": 4, "activations": 8},
    }
)
"""Technique -> bits of weights and activations."""


def make(problem: Problem, candidate: Candidate, trained: bool, progress: Callable[[int, int], None]) -> bytes:
    """The candidate as .tflite; nothing is ever trained here. Raises QuantizeError."""
    x = problem.sets[CALIBRATION].x
    settings = dict(candidate.values)
    widths = dict(WIDTHS[candidate.technique])
    if "only" in settings:
        widths["activations"] = activations_of(settings.pop("only"))
    return quantize_float_tflite(problem.model.data, x, **widths, **settings)
