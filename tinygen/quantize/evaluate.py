"""A model's answers on labelled samples as a score, before and after quantisation."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from tinygen.errors import DataError, QuantizeError
from tinygen.ir import Array
from tinygen.quantize.data import Data

BATCH = 256
"""Samples that a Keras model sees at once; bounds the memory, does not change the result."""


@dataclass(frozen=True)
class Score:
    """How many of `total` samples were classified correctly."""

    correct: int
    total: int

    @property
    def accuracy(self) -> float:
        """The share of correct answers, 0 to 1."""
        return self.correct / self.total

    @property
    def standard_error(self) -> float:
        """The standard error of `accuracy`, of a binomial share."""
        return math.sqrt(self.accuracy * (1 - self.accuracy) / self.total)

    def __str__(self) -> str:
        return f"{100 * self.accuracy:.1f} % ± {100 * self.standard_error:.1f}"


def score_keras(model: Any, data: Data) -> Score:
    """The score of a float Keras model; raises DataError."""
    check_samples(data, tuple(model.input_shape[1:]), int(model.output_shape[-1]))
    return score(outputs_keras(model, data.x), data)


def score_tflite(model: bytes, data: Data) -> Score:
    """The score of a .tflite file by the reference kernels of TensorFlow Lite; raises DataError, QuantizeError."""
    return score(outputs_tflite(model, data), data)


def score(outputs: Array, data: Data) -> Score:
    """The score of `outputs` [samples, classes]; of equal outputs the first one is the answer."""
    hits = outputs.argmax(axis=1) == data.y
    return Score(int(hits.sum()), len(hits))


def outputs_keras(model: Any, x: Array) -> Array:
    """What the model answers to `x`, [samples, classes] float32."""
    batches = [model(x[start : start + BATCH], training=False) for start in range(0, len(x), BATCH)]
    return np.concatenate([np.asarray(batch) for batch in batches])


def outputs_tflite(model: bytes, data: Data) -> Array:
    """What the .tflite file answers to the samples of `data`: [samples, classes], in the type of its output."""
    interpreter = Interpreter(
        model_content=model, experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1
    )
    interpreter.allocate_tensors()
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) != 1 or len(outputs) != 1:
        raise QuantizeError(
            "a classifier has one input and one output", found=f"{len(inputs)} inputs and {len(outputs)} outputs"
        )
    check_samples(data, tuple(int(size) for size in inputs[0]["shape"][1:]), int(outputs[0]["shape"][-1]))
    answers = []
    for sample in _as_input(inputs[0], data.x):
        interpreter.set_tensor(inputs[0]["index"], sample[np.newaxis])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(outputs[0]["index"])[0])
    return np.stack(answers)


def _as_input(detail: Any, x: Array) -> Array:
    """Real values `x` in the type of a model's input, by its scale and zero point."""
    dtype = np.dtype(detail["dtype"])
    if dtype.kind == "f":
        return np.asarray(x, dtype)
    scale, zero_point = detail["quantization"]
    limits = np.iinfo(dtype)
    quantised: Array = np.clip(np.round(x / scale) + zero_point, limits.min, limits.max).astype(dtype)
    return quantised


def check_samples(data: Data, shape: tuple[int, ...], classes: int) -> None:
    """Raise DataError unless `data` holds labelled samples of `shape` with labels below `classes`."""
    if data.x.shape[1:] != shape:
        raise DataError(
            "the samples have another shape than the model's input",
            where=data.path,
            found=str(list(data.x.shape[1:])),
            expected=str(list(shape)),
        )
    if data.y is None or data.y.shape != (len(data.x),) or data.y.dtype.kind not in "iu":
        raise DataError(
            "each sample needs its class",
            where=data.path,
            found="no labels" if data.y is None else f"labels {data.y.dtype}{list(data.y.shape)}",
            expected=f"{len(data.x)} integers",
        )
    if not len(data.y):
        raise DataError("there are no samples", where=data.path)
    low, high = int(data.y.min()), int(data.y.max())
    if low < 0 or high >= classes:
        raise DataError(
            "a label is no class of the model",
            where=data.path,
            found=str(low if low < 0 else high),
            expected=f"0 to {classes - 1}",
        )
