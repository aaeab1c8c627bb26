"""A data set and a seed as one model for each technique, all with the same extra training, and their hits."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from scripts.study import models, sets
from tinygen.ir import Array
from tinygen.quantize.augment import Change, ChangedImages, ChangedSeries, changed, with_mixtures
from tinygen.quantize.cluster import cluster
from tinygen.quantize.data import Data
from tinygen.quantize.distill import distill, narrower, teachers_like
from tinygen.quantize.evaluate import outputs_keras, outputs_tflite
from tinygen.quantize.keras_graph import copy_model
from tinygen.quantize.prune import prune_channels, prune_pattern
from tinygen.quantize.qat import quantization_aware_train
from tinygen.quantize.quantize import quantize
from tinygen.quantize.training import fit

PATIENCE = 4
"""How many times as long students are trained once more: what a teacher says of mixtures takes time to learn."""
COPIES = 7
"""Mixtures for each sample, as `distill` makes by default; and changed samples."""
TEACHERS = 3
"""How many networks teach together."""
CHANGES: dict[str, Change] = {
    "digits": ChangedImages(),
    "waves": ChangedSeries(stretch=0.15),
    "motion": ChangedSeries(stretch=0.08, gain=0.15, noise=0.25, offset=0.25),
}
"""How the samples of a set could also have been measured."""
SETS: dict[str, tuple[Callable[[int], sets.Sets], Callable[[], keras.Model]]] = {
    "digits": (sets.digits, models.digits_model),
    "waves": (sets.waves, models.waves_model),
    "motion": (sets.motion, models.motion_model),
}
GENERATED = ("waves", "motion")
"""The sets of which there are as many samples as wanted, and so unlabelled ones too."""


@dataclass(frozen=True)
class Effort:
    """How long models are trained: the float model, and what every technique and its control may add."""

    epochs: int = 40
    extra: int = 24
    learning_rate: float = 4e-3
    extra_learning_rate: float = 2e-3
    width: float = 0.5
    """The share of the teacher's channels that the student has, unless scripts.study.width chooses another."""


@dataclass(frozen=True)
class Case:
    """One data set with one seed: everything that is trained once and used by several techniques."""

    name: str
    seed: int
    effort: Effort
    place: Path
    """The folder of everything that is made of it."""

    @functools.cached_property
    def data(self) -> sets.Sets:
        """The four parts of the set."""
        return SETS[self.name][0](self.seed)

    @functools.cached_property
    def float_model(self) -> keras.Model:
        """The network trained in floating point: where every technique starts."""
        keras.utils.set_random_seed(self.seed)
        untrained = SETS[self.name][1]()
        return self.kept("float", lambda: self.trained(untrained, self.effort.epochs, self.effort.learning_rate))

    @functools.cached_property
    def control(self) -> keras.Model:
        """The float model after the extra training and nothing else."""
        effort, start = self.effort, copy_model(self.float_model)
        return self.kept("float-extra", lambda: self.trained(start, effort.extra, effort.extra_learning_rate))

    def kept(self, key: str, make: Callable[[], keras.Model]) -> keras.Model:
        """The model of an earlier run, or else the one that `make` gives, for a later run."""
        path = self.place / f"{key}.keras"
        if not path.exists():
            made = make()
            self.place.mkdir(parents=True, exist_ok=True)
            made.save(path)
        return keras.models.load_model(path)

    @functools.cached_property
    def student(self) -> keras.Model:
        """A narrower network with fresh weights."""
        return narrower(self.float_model, self.effort.width, seed=self.seed + 100)

    def trained(self, model: keras.Model, epochs: int, learning_rate: float) -> keras.Model:
        """`model` itself after the training that all share."""
        fit(model, self.data.train, self.data.validation, epochs=epochs, learning_rate=learning_rate, seed=self.seed)
        return model

    @property
    def tuning(self) -> dict[str, Any]:
        """The extra training, as a technique takes it."""
        return {"epochs": self.effort.extra, "learning_rate": self.effort.extra_learning_rate, "seed": self.seed}

    def apply(self, technique: Callable[..., Any], **options: Any) -> Any:
        """What `technique` makes of the float model with the extra training."""
        return technique(self.float_model, self.data.train, self.data.validation, **self.tuning, **options)

    def integer(self, model: keras.Model, **options: Any) -> bytes:
        """The model after post-training quantisation."""
        return quantize(model, self.data.calibration.x, **options)

    def aware(self, bits: int) -> bytes:
        """The model after quantisation-aware training."""
        return bytes(self.apply(quantization_aware_train, weights=bits).to_tflite(self.data.calibration.x))

    @functools.cached_property
    def student_alone(self) -> keras.Model:
        """The student trained on the labels as long as the teacher and the extra training together."""
        start = copy_model(self.student)
        return self.kept(
            f"student-{self.effort.width:g}", lambda: self.trained(start, self.epochs, self.effort.learning_rate)
        )

    def student_mixed(self) -> keras.Model:
        """The student trained as long on the labels of the same mixtures of samples that the teacher is asked about."""
        model, train = copy_model(self.student), self.data.train
        assert train.y is not None
        targets = with_mixtures(np.eye(model.output_shape[-1], dtype=np.float32)[train.y], COPIES, self.seed)
        fit(
            model,
            Data(with_mixtures(train.x, COPIES, self.seed), np.resize(train.y, len(targets))),
            self.data.validation,
            epochs=self.epochs // (1 + COPIES),
            learning_rate=self.effort.learning_rate,
            seed=self.seed,
            targets=targets,
            loss="categorical_crossentropy",
        )
        return model

    def student_patient(self) -> keras.Model:
        """The student trained alone PATIENCE times as long."""
        return self.trained(copy_model(self.student), PATIENCE * self.epochs, self.effort.learning_rate)

    def student_taught(self, patience: int = 1) -> keras.Model:
        """The student trained as long by the teacher, or `patience` times as long."""
        options = {"epochs": patience * self.epochs, "learning_rate": self.effort.learning_rate, "seed": self.seed}
        return distill(self.control, self.student, self.data.train, self.data.validation, **options)

    @functools.cached_property
    def changed(self) -> Data:
        """The training samples, and COPIES of each that are changed."""
        return changed(self.data.train, COPIES, CHANGES[self.name], self.seed)

    @functools.cached_property
    def teachers(self) -> list[keras.Model]:
        """Networks of the form of the float model, trained on changed samples."""
        return [self.kept(f"teacher-{number}", functools.partial(self.teacher, number)) for number in range(TEACHERS)]

    def teacher(self, number: int) -> keras.Model:
        """One of them, trained twice as long as the float model and the extra training together."""
        (made,) = teachers_like(
            self.float_model,
            1,
            self.changed,
            self.data.validation,
            epochs=2 * self.epochs // (1 + COPIES),
            learning_rate=self.effort.learning_rate,
            seed=100 * self.seed + number,
        )
        return made

    @functools.cached_property
    def unlabelled(self) -> Array:
        """COPIES times as many samples as there are to train with, of other seeds, so that no other part has them."""
        parts = [part.x for number in (1, 2) for part in SETS[self.name][0](1000 * number + self.seed)]
        return np.concatenate(parts)[: COPIES * len(self.data.train.x)]

    def student_changed(self) -> keras.Model:
        """The student trained alone on changed samples, PATIENCE times as long."""
        model = copy_model(self.student)
        fit(
            model,
            self.changed,
            self.data.validation,
            epochs=PATIENCE * self.epochs // (1 + COPIES),
            learning_rate=self.effort.learning_rate,
            seed=self.seed,
        )
        return model

    def student_taught_by_all(self, **others: Any) -> keras.Model:
        """The student trained as long by all teachers, who are asked about changed or unlabelled samples too."""
        return distill(
            self.teachers,
            self.student,
            self.data.train,
            self.data.validation,
            temperature=1.0,
            copies=COPIES,
            epochs=PATIENCE * self.epochs,
            learning_rate=self.effort.learning_rate,
            seed=self.seed,
            **others,
        )

    @property
    def epochs(self) -> int:
        """The epochs of a model that starts from nothing."""
        return self.effort.epochs + self.effort.extra


@dataclass(frozen=True)
class Row:
    """One row of the table: its file name, its title, the row that is its matched control, and how it is made."""

    key: str
    title: str
    control: str
    make: Callable[[Case], keras.Model | bytes]
    sets: tuple[str, ...] = tuple(SETS)
    """The data sets that have it."""


STUDENTS = (
    "student",
    "student-mixed",
    "distilled",
    "student-patient",
    "distilled-patient",
    "student-changed",
    "distilled-changed",
    "distilled-unlabelled",
)
"""The keys of the rows that are narrower networks."""
ROWS = (
    Row("float", "float", "", lambda case: case.float_model),
    Row("float-extra", "float, extra training", "float", lambda case: case.control),
    Row("int8-ptq", "int8, post-training", "float", lambda case: case.integer(case.float_model)),
    Row("int8-extra", "int8, post-training, extra training", "float-extra", lambda case: case.integer(case.control)),
    Row("int8-qat", "int8, quantisation-aware", "int8-extra", lambda case: case.aware(8)),
    Row("int4-ptq", "int4, post-training, extra training", "int8-extra", lambda c: c.integer(c.control, weights=4)),
    Row("int4-qat", "int4, quantisation-aware", "int4-ptq", lambda case: case.aware(4)),
    *(
        Row(
            f"codebook-{values}",
            f"codebook of {values}",
            "int8-extra",
            lambda case, values=values: case.integer(case.apply(cluster, values=values)),
        )
        for values in (16, 8, 4)
    ),
    Row("2-4", "2:4", "int8-extra", lambda case: case.integer(case.apply(prune_pattern, pattern="2:4"))),
    Row("channels", "channels, half the MACs", "int8-extra", lambda c: c.integer(c.apply(prune_channels, share=0.5))),
    Row("student", "student alone", "int8-extra", lambda case: case.integer(case.student_alone)),
    Row("student-mixed", "student alone, mixed samples", "student", lambda case: case.integer(case.student_mixed())),
    Row("distilled", "student, distilled", "student", lambda case: case.integer(case.student_taught())),
    Row(
        "student-patient",
        f"student alone, {PATIENCE} times as long",
        "student",
        lambda case: case.integer(case.student_patient()),
    ),
    Row(
        "distilled-patient",
        f"student, distilled, {PATIENCE} times as long",
        "student-patient",
        lambda case: case.integer(case.student_taught(PATIENCE)),
    ),
    Row(
        "student-changed",
        f"student alone, changed samples, {PATIENCE} times as long",
        "student-patient",
        lambda case: case.integer(case.student_changed()),
    ),
    Row(
        "distilled-changed",
        f"student, {TEACHERS} teachers, changed samples, {PATIENCE} times as long",
        "student-changed",
        lambda case: case.integer(case.student_taught_by_all(change=CHANGES[case.name])),
    ),
    Row(
        "distilled-unlabelled",
        f"student, {TEACHERS} teachers, unlabelled samples, {PATIENCE} times as long",
        "student-patient",
        lambda case: case.integer(case.student_taught_by_all(unlabelled=case.unlabelled)),
        sets=GENERATED,
    ),
)


def hits(case: Case, made: keras.Model | bytes) -> Array:
    """Which samples of the test set the model classifies correctly, bool."""
    test = case.data.test
    outputs = outputs_tflite(made, test) if isinstance(made, bytes) else outputs_keras(made, test.x)
    return outputs.argmax(axis=1) == test.y
