"""A candidate as an integer .tflite model, made of a float one without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable
from types import MappingProxyType
from typing import Any

from tinygen.ir import Array
from tinygen.optimize.candidate import Candidate
from tinygen.optimize.model_file import ModelFile
from tinygen.optimize.task import Problem
from tinygen.optimize.technique import activations_of
from tinygen.quantize.data import CALIBRATION, Data
from tinygen.quantize.evaluate import outputs_tflite
from tinygen.quantize.float_tflite import prepare_float_tflite, quantize_float_tflite
from tinygen.quantize.integer import Prepared, Settings

WIDTHS: MappingProxyType[str, dict[str, Any]] = MappingProxyType(
    {
        "int8": {"weights": 8, "activations": 8},
        "int16": {"weights": 8, "activations": 16},
        "int4": {"weights": 4, "activations": 8},
    }
)
"""Technique -> bits of weights and activations."""


def prepared(problem: Problem, candidate: Candidate) -> Prepared:
    """The model calibrated, for a technique that picks layers; raises QuantizeError."""
    return prepare_float_tflite(problem.model.data, problem.sets[CALIBRATION].x, Settings(**candidate.values))


def answers(model: ModelFile, data: Data) -> Array:
    """What the float model answers to the samples."""
    return outputs_tflite(model.data, data)


def make(problem: Problem, candidate: Candidate, trained: bool, progress: Callable[[int, int], None]) -> bytes:
    """The candidate as .tflite; nothing is ever trained here. Raises QuantizeError."""
    x = problem.sets[CALIBRATION].x
    settings = dict(candidate.values)
    widths = dict(WIDTHS[candidate.technique])
    if "only" in settings:
        widths["activations"] = activations_of(settings.pop("only"))
    return quantize_float_tflite(problem.model.data, x, **widths, **settings)
