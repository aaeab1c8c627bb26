"""A large model's knowledge as a smaller model's training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tinygen.errors import QuantizeError
from tinygen.ir import Array
from tinygen.quantize.augment import Change, changed, with_mixtures
from tinygen.quantize.channel_groups import channels_of, without
from tinygen.quantize.data import Data
from tinygen.quantize.evaluate import outputs_keras
from tinygen.quantize.keras_graph import copy_model
from tinygen.quantize.prune import MULTIPLE, rounded
from tinygen.quantize.training import (
    SMALLEST_PROBABILITY,
    Progress,
    fit,
    gives_probabilities,
    log_probabilities,
    part_of,
)


def distill(
    teacher: keras.Model | Sequence[keras.Model],
    student: keras.Model,
    train: Data,
    validation: Data,
    *,
    temperature: float = 2.0,
    alpha: float = 0.9,
    copies: int = 7,
    change: Change | None = None,
    unlabelled: Array | None = None,
    epochs: int = 30,
    learning_rate: float = 4e-3,
    seed: int = 0,
    progress: Progress | None = None,
) -> keras.Model:
    """A copy of `student` trained towards the teacher's softened probabilities and, by 1 - `alpha`, the labels.

    The loss is alpha T^2 KL(teacher || student at temperature T) + (1 - alpha) cross-entropy (Hinton, Vinyals and Dean,
    "Distilling the knowledge in a neural network", 2015); of several teachers the mean probability is followed, which
    is better than any one's (`teachers_like`). A teacher is nearly certain of samples that it was trained on, and so it
    is also asked about others: `unlabelled` inputs, or else `copies` times as many as there are samples, which `change`
    makes and which keep their labels, or without it mixtures, which have none (Beyer et al., "Knowledge distillation: a
    good teacher is patient and consistent", 2022). They take the place of samples: there are as many steps as in
    `epochs` without them. The student may have any layers: fewer channels than its teacher (`narrower`,
    `prune_channels`) or another architecture. Raises QuantizeError.
    """
    teachers = [teacher] if isinstance(teacher, keras.Model) else list(teacher)
    _check(teachers, student, temperature, alpha)
    if unlabelled is not None and unlabelled.shape[1:] != train.x.shape[1:]:
        found, expected = (str(list(x.shape[1:])) for x in (unlabelled, train.x))
        raise QuantizeError("unlabelled samples have another shape", found=found, expected=expected)
    student = copy_model(student)
    probabilities = gives_probabilities(outputs_keras(student, train.x[:1]))
    classes, copies = int(student.output_shape[-1]), max(0, min(copies, epochs - 1))
    asked, labels = _questions(train, classes, copies, change, unlabelled, seed)
    passes = max(1, epochs * len(train.x) // len(asked.x))
    soft = np.mean([softened(outputs_keras(each, asked.x), temperature) for each in teachers], axis=0)

    def loss(wanted: Any, outputs: Any) -> Any:
        logits = tf.math.log(tf.clip_by_value(outputs, SMALLEST_PROBABILITY, 1.0)) if probabilities else outputs
        hard = tf.nn.softmax_cross_entropy_with_logits(wanted[:, :classes], logits)
        follow = tf.nn.softmax_cross_entropy_with_logits(wanted[:, classes:], logits / temperature)
        return (1 - alpha) * hard + alpha * temperature**2 * follow

    fit(
        student,
        asked,
        validation,
        epochs=passes,
        learning_rate=learning_rate,
        seed=seed,
        targets=np.concatenate([labels, soft.astype(np.float32)], axis=1),
        loss=loss,
        progress=None if progress is None else lambda done, _: progress(done * epochs // passes, epochs),
    )
    return student


def teachers_like(
    model: keras.Model,
    count: int,
    train: Data,
    validation: Data,
    *,
    epochs: int = 60,
    learning_rate: float = 4e-3,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[keras.Model]:
    """`count` networks of the form of `model`, trained on the labels from fresh weights, each from others.

    They err in different places, and so their mean is right more often than each (Hinton et al., 2015).
    `changed(train, ...)` as `train` makes better ones.
    """
    made = []
    for number in range(count):
        keras.utils.set_random_seed(seed + number)
        made.append(keras.models.clone_model(model))
        rate, told = learning_rate, part_of(progress, number, count)
        fit(made[-1], train, validation, epochs=epochs, learning_rate=rate, seed=seed + number, progress=told)
    return made


def _check(teachers: Sequence[keras.Model], student: keras.Model, temperature: float, alpha: float) -> None:
    """Raise QuantizeError unless the student can learn from the teachers."""
    if not teachers:
        raise QuantizeError("a student needs a teacher", found="none")
    for teacher in teachers:
        if teacher.input_shape[1:] != student.input_shape[1:] or teacher.output_shape[1:] != student.output_shape[1:]:
            raise QuantizeError(
                "the student takes or gives other shapes than its teacher",
                found=f"{list(student.input_shape[1:])} -> {list(student.output_shape[1:])}",
                expected=f"{list(teacher.input_shape[1:])} -> {list(teacher.output_shape[1:])}",
            )
    if temperature <= 0 or not 0 <= alpha <= 1:
        raise QuantizeError(
            "a temperature is above 0, and alpha between 0 and 1", found=f"temperature {temperature}, alpha {alpha}"
        )


def _questions(
    train: Data, classes: int, copies: int, change: Change | None, unlabelled: Array | None, seed: int
) -> tuple[Data, Array]:
    """What teachers are asked, and the class of each as one of `classes` numbers, which are all 0 without a label."""
    assert train.y is not None
    labels = np.eye(classes, dtype=np.float32)
    if unlabelled is None and change is not None:
        asked = changed(train, copies, change, seed)
        return asked, labels[asked.y]
    x = with_mixtures(train.x, copies, seed) if unlabelled is None else np.concatenate([train.x, unlabelled])
    wanted = np.zeros((len(x), classes), np.float32)
    wanted[: len(train.y)] = labels[train.y]  # no class is wanted of the others, and so they add nothing to that part
    return Data(x, np.resize(train.y, len(x)), train.path), wanted


def softened(outputs: Array, temperature: float) -> Array:
    """The class probabilities of `outputs` [samples, classes] at a temperature; the higher, the more alike."""
    return np.asarray(np.exp(log_probabilities(log_probabilities(outputs) / temperature)))


def narrower(model: keras.Model, width: float = 0.5, *, multiple: int = MULTIPLE, seed: int = 0) -> keras.Model:
    """The same architecture with `width` times the channels in every layer that can do with fewer, and fresh weights.

    The counts are rounded to multiples of `multiple`, the classes stay. Raises QuantizeError.
    """
    if not 0 < width <= 1:
        raise QuantizeError("a width is a share of the channels", found=str(width), expected="0.5, say")
    channels = channels_of(model)
    alive = np.ones(channels.size, bool)
    for group in channels.groups:
        alive[group[rounded(width, len(group), multiple) :]] = False
    smaller = without(model, channels, alive)
    keras.utils.set_random_seed(seed)
    return keras.models.clone_model(smaller)
