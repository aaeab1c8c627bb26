"""A Keras model as one trained further, the same way for every technique, so that they can be compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tinygen.ir import Array
from tinygen.quantize.data import Data
from tinygen.quantize.evaluate import Score, check_samples, outputs_keras, score
from tinygen.quantize.keras_graph import functional

BATCH_SIZE = 32
STEPS_AT_ONCE = 32
"""Steps between two looks of Keras at its callbacks, of which none wants to be called within an epoch."""
PROBABILITY_SUM_TOLERANCE = 0.05
"""How far from 1 the outputs of a softmax may sum: a quantised one is off by up to half a step in each class."""
SMALLEST_PROBABILITY = 1e-7

Progress = Callable[[int, int], None]
"""Called as progress(done, total) after each epoch; what it raises ends the training."""
Projection = Callable[[Any], Any]
"""A weight tensor -> the nearest one that keeps to a technique's rule: zeros, equal values."""


@dataclass(frozen=True)
class Epoch:
    """The state of a model after one epoch, judged on the validation set."""

    number: int
    score: Score
    loss: float

    @property
    def rank(self) -> tuple[int, float]:
        """Greater is better: more correct answers, and of equally many the lower cross-entropy."""
        return self.score.correct, -self.loss


def fit(
    model: keras.Model,
    train: Data,
    validation: Data,
    *,
    epochs: int,
    learning_rate: float = 1e-3,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    targets: Array | None = None,
    loss: Any = None,
    projections: Mapping[str, Projection] | None = None,
    callbacks: Sequence[Any] = (),
    keep_from: int = 1,
    progress: Progress | None = None,
) -> Epoch:
    """Train `model` in place and leave it with the weights of its best validation epoch, which is returned.

    Adam with a cosine decay of the rate to 0; the same arguments give the same weights on the same computer. Epochs
    before `keep_from` do not count (a technique may not have reached its aim). `targets` and `loss` replace the labels
    and cross-entropy of `train`; `projections` (weight path -> projection) are applied after every step.
    Raises DataError.
    """
    shape, classes = tuple(model.input_shape[1:]), int(model.output_shape[-1])
    for data in (train, validation):
        check_samples(data, shape, classes)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    steps = max(1, epochs * -(-len(train.x) // batch_size))
    optimizer = keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(learning_rate, steps))
    _reseed(model, seed)
    trainer = functional(model)  # shares the layers: nothing of the training stays in `model`
    trainer.compile(
        optimizer, loss or cross_entropy(model, train.x), jit_compile=False, steps_per_execution=STEPS_AT_ONCE
    )
    best = _Best(model, validation, keep_from)
    hooks = [*callbacks, keras.callbacks.LambdaCallback(on_epoch_end=best.judge)]
    if progress is not None:
        hooks.append(keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: progress(epoch + 1, epochs)))
    constrained = _constrain(model, projections or {})
    try:
        trainer.fit(
            train.x,
            train.y if targets is None else targets,
            batch_size=batch_size,
            epochs=epochs,
            verbose=0,
            callbacks=hooks,
        )
    finally:
        for variable in constrained:
            variable.constraint = None
    return best.restore()


def part_of(progress: Progress | None, number: int, count: int) -> Progress | None:
    """The progress of one of `count` trainings, told as that of all; they are numbered from 0."""
    if progress is None or count == 1:
        return progress
    return lambda done, total: progress(number * total + done, count * total)


class _Best:
    """The best epoch so far and its weights."""

    def __init__(self, model: keras.Model, validation: Data, keep_from: int) -> None:
        self.model, self.validation, self.keep_from = model, validation, keep_from
        self.epoch: Epoch | None = None
        self.weights: list[Array] = []

    def judge(self, index: int, logs: Any = None) -> None:
        """Score the model after epoch `index` and keep its weights if it is the best."""
        if index + 1 < self.keep_from:
            return
        outputs = outputs_keras(self.model, self.validation.x)
        epoch = Epoch(index + 1, score(outputs, self.validation), mean_cross_entropy(outputs, self.validation.y))
        if self.epoch is None or epoch.rank > self.epoch.rank:
            self.epoch, self.weights = epoch, self.model.get_weights()

    def restore(self) -> Epoch:
        """Give the model its best weights back."""
        if self.epoch is None:  # no epoch counted: what there is must do
            self.judge(self.keep_from)
        assert self.epoch is not None
        self.model.set_weights(self.weights)
        return self.epoch


def _reseed(model: keras.Model, seed: int) -> None:
    """Set the state of every random layer, such as dropout: it would depend on what was built before."""
    states = [variable for variable in model.variables if variable.path.endswith("seed_generator_state")]
    for index, state in enumerate(states):
        state.assign(np.array([seed, index], np.uint32))


def _constrain(model: keras.Model, projections: Mapping[str, Projection]) -> list[Any]:
    """Let the optimizer apply each projection after its step, inside the compiled function; the weights concerned."""
    constrained = [weight for weight in model.trainable_weights if weight.path in projections]
    for weight in constrained:
        weight.constraint = projections[weight.path]
    return constrained


def gives_probabilities(outputs: Array) -> bool:
    """Whether `outputs` [samples, classes] come from a softmax, as opposed to logits."""
    return bool((outputs >= 0).all() and (np.abs(outputs.sum(axis=1) - 1) < PROBABILITY_SUM_TOLERANCE).all())


def log_probabilities(outputs: Array) -> Array:
    """The logarithms of the class probabilities that `outputs`, probabilities or logits, stand for."""
    if gives_probabilities(outputs):
        return np.asarray(np.log(np.clip(outputs, SMALLEST_PROBABILITY, 1)))
    shifted = outputs - outputs.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def cross_entropy(model: keras.Model, x: Array) -> Any:
    """The loss for integer labels that suits the model's outputs, seen on some of `x`."""
    probabilities = gives_probabilities(outputs_keras(model, x[:BATCH_SIZE]))
    return keras.losses.SparseCategoricalCrossentropy(from_logits=not probabilities)


def mean_cross_entropy(outputs: Array, y: Array | None) -> float:
    """The mean cross-entropy of `outputs` for the classes `y`."""
    return float(-log_probabilities(outputs)[np.arange(len(outputs)), y].mean())
