"""A large model's knowledge as a smaller model's training."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tinygen.errors import QuantizeError
from tinygen.ir import Array
from tinygen.quantize.channel_groups import channels_of, without
from tinygen.quantize.data import Data
from tinygen.quantize.evaluate import outputs_keras
from tinygen.quantize.keras_graph import copy_model
from tinygen.quantize.prune import MULTIPLE, rounded
from tinygen.quantize.training import SMALLEST_PROBABILITY, Progress, fit, gives_probabilities, log_probabilities


def distill(
    teacher: keras.Model,
    student: keras.Model,
    train: Data,
    validation: Data,
    *,
    temperature: float = 2.0,
    alpha: float = 0.9,
    copies: int = 7,
    epochs: int = 30,
    learning_rate: float = 4e-3,
    seed: int = 0,
    progress: Progress | None = None,
) -> keras.Model:
    """A copy of `student` trained towards the teacher's softened probabilities and, by 1 - `alpha`, the labels.

    The loss is alpha T^2 KL(teacher || student at temperature T) + (1 - alpha) cross-entropy (Hinton, Vinyals and Dean,
    "Distilling the knowledge in a neural network", 2015). A teacher is nearly certain of samples that it was trained
    on, and so it is also asked about `copies` times as many mixtures of them, which have no label (Beyer et al.,
    "Knowledge distillation: a good teacher is patient and consistent", 2022). Mixtures take the place of samples: there
    are as many steps as in `epochs` without them. The student may have any layers: fewer channels than its teacher
    (`narrower`, `prune_channels`) or another architecture. Raises QuantizeError.
    """
    classes = int(student.output_shape[-1])
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
    student = copy_model(student)
    probabilities = gives_probabilities(outputs_keras(student, train.x[:1]))
    assert train.y is not None
    copies = max(0, min(copies, epochs - 1))
    x = with_mixtures(train.x, copies, seed)
    labels = np.zeros((len(x), classes), np.float32)
    labels[np.arange(len(train.y)), train.y] = 1  # of a mixture no class is wanted, and so it adds nothing to that part
    soft = softened(outputs_keras(teacher, x), temperature)

    def loss(wanted: Any, outputs: Any) -> Any:
        logits = tf.math.log(tf.clip_by_value(outputs, SMALLEST_PROBABILITY, 1.0)) if probabilities else outputs
        hard = tf.nn.softmax_cross_entropy_with_logits(wanted[:, :classes], logits)
        follow = tf.nn.softmax_cross_entropy_with_logits(wanted[:, classes:], logits / temperature)
        return (1 - alpha) * hard + alpha * temperature**2 * follow

    fit(
        student,
        Data(x, np.resize(train.y, len(x)), train.path),
        validation,
        epochs=epochs // (1 + copies),
        learning_rate=learning_rate,
        seed=seed,
        targets=np.concatenate([labels, soft.astype(np.float32)], axis=1),
        loss=loss,
        progress=None if progress is None else lambda done, _: progress(done * (1 + copies), epochs),
    )
    return student


def with_mixtures(values: Array, copies: int, seed: int) -> Array:
    """`values`, and `copies` times as many sums of two of them, of random shares; the same seed, the same pairs.

    For samples and for targets alike (Zhang et al., "mixup: beyond empirical risk minimization", 2018).
    """
    rng = np.random.default_rng(seed)
    parts = [values]
    for _ in range(copies):
        others = rng.permutation(len(values))
        shares = rng.uniform(size=(len(values),) + (1,) * (values.ndim - 1)).astype(np.float32)
        parts.append(shares * values + (1 - shares) * values[others])
    return np.concatenate(parts)


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
