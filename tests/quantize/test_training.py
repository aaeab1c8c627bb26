from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from tests.quantize.networks import digits, first
from tinygen.errors import DataError
from tinygen.quantize.data import Data
from tinygen.quantize.evaluate import score_keras
from tinygen.quantize.training import fit, gives_probabilities, log_probabilities

TRAIN, VALIDATION = first(digits().train, 96), first(digits().validation, 128)


def _network(activation: str | None = "softmax") -> keras.Model:
    keras.utils.set_random_seed(3)
    return keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Flatten(), layers.Dropout(0.2), layers.Dense(10, activation=activation)]
    )


def _fitted(seed: int = 0, **options: Any) -> tuple[keras.Model, Any]:
    model = _network()
    return model, fit(model, TRAIN, VALIDATION, epochs=3, learning_rate=0.03, seed=seed, **options)


def test_the_same_seed_gives_the_same_weights() -> None:
    first_run, second_run, other = (_fitted(seed)[0].get_weights() for seed in (5, 5, 6))
    for one, two in zip(first_run, second_run, strict=True):
        np.testing.assert_array_equal(one, two)
    assert any((one != two).any() for one, two in zip(first_run, other, strict=True))


def test_the_best_validation_epoch_is_kept() -> None:
    seen: list[Any] = []
    model = _network()
    note = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(score_keras(model, VALIDATION)))
    best = fit(model, TRAIN, VALIDATION, epochs=4, learning_rate=0.5, callbacks=[note])
    assert best.score == max(seen, key=lambda score: score.correct) == seen[best.number - 1]
    assert score_keras(model, VALIDATION) == best.score


def test_epochs_before_keep_from_do_not_count() -> None:
    assert _fitted(keep_from=3)[1].number == 3


def test_a_projection_holds_after_every_step() -> None:
    model = _network()
    kernel = model.layers[-1].kernel
    mask = (np.arange(kernel.shape[0] * 10).reshape(kernel.shape) % 3 > 0).astype(np.float32)
    fit(model, TRAIN, VALIDATION, epochs=2, learning_rate=0.03, projections={kernel.path: lambda value: value * mask})
    assert ((np.asarray(kernel) == 0) == (mask == 0)).all()
    assert kernel.constraint is None


def test_progress_is_told_and_may_stop_the_training() -> None:
    told: list[tuple[int, int]] = []

    def stop_after_two(done: int, total: int) -> None:
        told.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _fitted(progress=stop_after_two)
    assert told == [(1, 3), (2, 3)]


def test_logits_are_trained_as_logits() -> None:
    model = _network(activation=None)
    assert not gives_probabilities(np.asarray(model(TRAIN.x)))
    best = fit(model, TRAIN, VALIDATION, epochs=6, learning_rate=0.03)
    assert best.score.accuracy > 0.6
    probabilities = np.exp(log_probabilities(np.asarray(model(TRAIN.x))))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (Data(TRAIN.x[:, :4], TRAIN.y, "a.npz"), "a.npz: the samples have another shape .* found .4, 8, 1., expected"),
        (Data(TRAIN.x, None, "a.npz"), "a.npz: each sample needs its class, found no labels, expected 96 integers"),
        (Data(TRAIN.x, TRAIN.x[:, 0, 0, 0], "a.npz"), r"found labels float32\[96\], expected 96 integers"),
        (Data(TRAIN.x, np.full(96, 10), "a.npz"), "a label is no class of the model, found 10, expected 0 to 9"),
        (Data(TRAIN.x, np.full(96, -1), "a.npz"), "a label is no class of the model, found -1, expected 0 to 9"),
        (Data(TRAIN.x[:0], np.zeros(0, int), "a.npz"), "a.npz: there are no samples"),
    ],
)
def test_unsuitable_samples_are_refused(data: Data, message: str) -> None:
    with pytest.raises(DataError, match=message):
        fit(_network(), data, VALIDATION, epochs=1)
    with pytest.raises(DataError, match=message):
        fit(_network(), TRAIN, data, epochs=1)
