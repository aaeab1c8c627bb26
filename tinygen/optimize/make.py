"""A candidate as a .tflite model, made of a Keras model: the only module of the search that imports TensorFlow."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras

from tinygen.errors import QuantizeError
from tinygen.ir import Array
from tinygen.optimize.candidate import Candidate
from tinygen.optimize.model_file import ModelFile
from tinygen.optimize.task import Problem
from tinygen.optimize.technique import IMAGES, NO_CHANGE, SERIES, activations_of
from tinygen.quantize.augment import Change, ChangedImages, ChangedSeries, changed
from tinygen.quantize.cluster import cluster
from tinygen.quantize.data import CALIBRATION, TRAINING, VALIDATION, Data
from tinygen.quantize.distill import distill, narrower, teachers_like
from tinygen.quantize.evaluate import Score, outputs_keras, score_keras
from tinygen.quantize.integer import Prepared, Settings
from tinygen.quantize.prune import prune_channels
from tinygen.quantize.qat import quantization_aware_train
from tinygen.quantize.quantize import prepare_keras, quantize
from tinygen.quantize.training import Progress, fit, part_of
from tinygen.quantize.weights import Bits

FLOAT_BYTES = 4
COPIES = 7
"""Mixtures or changed samples for each sample that a student learns from."""
_CHANGES: MappingProxyType[str, Change | None] = MappingProxyType(
    {NO_CHANGE: None, IMAGES: ChangedImages(), SERIES: ChangedSeries()}
)


@dataclass(frozen=True, eq=False)
class Making:
    """A candidate to make of a model; not `trained`, its weights do not matter: only what shape its code has."""

    model: keras.Model
    problem: Problem
    candidate: Candidate
    trained: bool
    progress: Progress

    @property
    def calibration_x(self) -> Array:
        """The inputs that ranges come from."""
        return self.problem.sets[CALIBRATION].x

    @property
    def training(self) -> tuple[Data, Data]:
        """The sets to train with, and to keep the best epoch by."""
        return self.problem.sets[TRAINING], self.problem.sets[VALIDATION]

    def setting(self, name: str) -> Any:
        """A setting of the candidate."""
        return self.candidate.values[name]

    def schedule(self, part: int = 0, parts: int = 1) -> dict[str, Any]:
        """How long to train, how fast, from which seed, and whom to tell of it, as one of some trainings."""
        return {
            "epochs": self.setting("epochs") if self.trained else 0,
            "learning_rate": self.setting("learning_rate"),
            "seed": self.problem.seed,
            "progress": part_of(self.progress, part, parts),
        }

    def bits(self, default: int) -> Bits:
        """The width of the weights, by layers where some have their own."""
        own = self.candidate.of_layers("weights")
        return {"*": default, **own} if own else default


def make(problem: Problem, candidate: Candidate, trained: bool, progress: Progress) -> bytes:
    """The candidate as .tflite, or a model of the same shape when it need not be `trained`; raises QuantizeError."""
    making = Making(open_model(problem.model), problem, candidate, trained, progress)
    return _MAKERS[candidate.technique](making)


def prepared(problem: Problem, candidate: Candidate) -> Prepared:
    """The model converted and calibrated, for a technique that picks layers; raises QuantizeError."""
    own = candidate.of_layers("weights")
    settings = Settings(weights=own or 8, **candidate.values)
    return prepare_keras(open_model(problem.model), problem.sets[CALIBRATION].x, settings)


def answers(model: ModelFile, data: Data) -> Array:
    """What the float model answers to the samples."""
    return outputs_keras(open_model(model), data.x)


def score(model: ModelFile, data: Data) -> Score:
    """The score of the float model."""
    return score_keras(open_model(model), data)


def float_bytes(model: ModelFile) -> int:
    """What the weights of the float model take."""
    return FLOAT_BYTES * int(open_model(model).count_params())


def open_model(model: ModelFile) -> keras.Model:
    """The Keras model in a file; raises QuantizeError."""
    with tempfile.TemporaryDirectory(prefix="tinygen-") as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(model.data)
        try:
            return keras.models.load_model(path, compile=False)
        except Exception as error:  # Keras raises whatever the layers of the file raise
            found = f"{type(error).__name__}: {error}".splitlines()[0]
            remedy = "layers of your own must be replaced by those of Keras"
            raise QuantizeError("Keras cannot load the model", where=model.path, found=found, remedy=remedy) from None


def _after_training(making: Making, activations: Bits, default_bits: int, **settings: Any) -> bytes:
    """The model in integers without training."""
    bits = making.bits(default_bits)
    return quantize(making.model, making.calibration_x, weights=bits, activations=activations, **settings)


def _int8(making: Making) -> bytes:
    return _after_training(making, 8, 8, **making.candidate.values)


def _int16(making: Making) -> bytes:
    settings = dict(making.candidate.values)
    return _after_training(making, activations_of(settings.pop("only")), 8, **settings)


def _int4(making: Making) -> bytes:
    return _after_training(making, 8, 4, **making.candidate.values)


def _qat(making: Making, default_bits: int) -> bytes:
    """The model trained with its weights and activations as they will be rounded."""
    if not making.trained:
        return _after_training(making, 8, default_bits)
    bits = making.bits(default_bits)
    return quantization_aware_train(making.model, *making.training, weights=bits, **making.schedule()).to_tflite(
        making.calibration_x
    )


def _channels(making: Making) -> bytes:
    model = prune_channels(making.model, *making.training, share=making.setting("share"), **making.schedule())
    return quantize(model, making.calibration_x, weights=making.bits(making.setting("weights")))


def _distill(making: Making) -> bytes:
    student = narrower(making.model, making.setting("width"), seed=making.problem.seed)
    if making.trained:
        train, validation = making.training
        options = {name: making.setting(name) for name in ("temperature", "alpha")}
        change, more = _CHANGES[making.setting("change")], making.setting("teachers") - 1
        schedule = making.schedule(1 if more else 0, 2 if more else 1)
        teachers = [making.model, *_more_teachers(making, more)]
        student = distill(teachers, student, train, validation, copies=COPIES, change=change, **options, **schedule)
    return quantize(student, making.calibration_x, weights=making.bits(making.setting("weights")))


def _more_teachers(making: Making, count: int) -> list[keras.Model]:
    """`count` more networks of the model's form, trained like a student alone."""
    return teachers_like(making.model, count, *_samples(making), **_by_samples(making, making.schedule(0, 2)))


def _narrow(making: Making) -> bytes:
    """The same student without a teacher: a very narrow one often learns more of the labels: docs/optimization.md."""
    student = narrower(making.model, making.setting("width"), seed=making.problem.seed)
    if making.trained:
        fit(student, *_samples(making), **_by_samples(making, making.schedule()))
    return quantize(student, making.calibration_x, weights=making.bits(making.setting("weights")))


def _samples(making: Making) -> tuple[Data, Data]:
    """The sets to train with, the samples to learn from with changed ones if the candidate is to have some."""
    train, validation = making.training
    change = _CHANGES[making.setting("change")]
    return (changed(train, COPIES, change, making.problem.seed) if change else train), validation


def _by_samples(making: Making, schedule: dict[str, Any]) -> dict[str, Any]:
    """The schedule with as many steps, where each epoch has changed samples too."""
    if making.setting("change") == NO_CHANGE:
        return schedule
    return schedule | {"epochs": -(-schedule["epochs"] // (1 + COPIES))}


def _codebook(making: Making) -> bytes:
    model = cluster(making.model, *making.training, values=making.setting("values"), **making.schedule())
    return quantize(model, making.calibration_x, weights=making.bits(8))


_MAKERS: MappingProxyType[str, Callable[[Making], bytes]] = MappingProxyType(
    {
        "int8": _int8,
        "int16": _int16,
        "int8_qat": lambda making: _qat(making, 8),
        "int4": _int4,
        "int4_qat": lambda making: _qat(making, 4),
        "channels": _channels,
        "distill": _distill,
        "narrow": _narrow,
        "codebook": _codebook,
    }
)
