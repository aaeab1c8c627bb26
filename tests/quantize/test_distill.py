from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from tests.quantize.networks import convolutional, digits, first, trained
from tinygen.errors import QuantizeError
from tinygen.quantize import distill as module
from tinygen.quantize.augment import ChangedImages, changed
from tinygen.quantize.data import Data
from tinygen.quantize.distill import distill, narrower, softened, teachers_like
from tinygen.quantize.evaluate import outputs_keras, score_keras

TRAIN, VALIDATION = digits().train, digits().validation


def test_the_narrower_model_has_fewer_channels_everywhere_and_fresh_weights() -> None:
    model = convolutional(width=16)
    half, again, other = narrower(model, 0.5, seed=1), narrower(model, 0.5, seed=1), narrower(model, 0.5, seed=2)
    assert [half.get_layer(name).filters for name in ("stem", "pointwise", "wide")] == [8, 8, 16]
    assert half.output_shape == model.output_shape
    np.testing.assert_array_equal(half.get_layer("wide").get_weights()[0], again.get_layer("wide").get_weights()[0])
    assert (half.get_layer("wide").get_weights()[0] != other.get_layer("wide").get_weights()[0]).any()
    assert narrower(model, 0.01).get_layer("stem").filters == 4


def test_with_alpha_1_only_the_teacher_is_followed() -> None:
    student = narrower(trained(), 0.5, seed=3)
    wrong = Data(TRAIN.x, (TRAIN.y + 1) % 10)
    taught = distill(trained(), student, wrong, VALIDATION, alpha=1.0, copies=0, epochs=4, learning_rate=1e-2, seed=4)
    assert score_keras(taught, VALIDATION).accuracy > 0.6
    for before, after in zip(student.get_weights(), narrower(trained(), 0.5, seed=3).get_weights(), strict=True):
        np.testing.assert_array_equal(before, after)  # the student that was given stays as it was


def test_without_the_teacher_the_loss_is_cross_entropy() -> None:
    """alpha 0 for a model of logits and one of probabilities with equal weights: the same training."""
    weights = np.random.default_rng(0).normal(0, 0.1, (64, 10)).astype(np.float32)
    trained_to = []
    for activation in (None, "softmax"):
        student = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(10, activation=activation)])
        student.set_weights([weights, np.zeros(10)])
        few = first(TRAIN, 128)
        taught = distill(trained(), student, few, VALIDATION, alpha=0.0, copies=0, epochs=2, learning_rate=1e-2)
        trained_to.append(taught.get_weights()[0])
    np.testing.assert_allclose(trained_to[0], trained_to[1], atol=2e-4)


def test_mixtures_do_not_add_steps() -> None:
    told: list[tuple[int, int]] = []
    few = first(TRAIN, 64)
    options = {"epochs": 4, "progress": lambda done, total: told.append((done, total))}
    distill(trained(), narrower(trained()), few, VALIDATION, copies=9, **options)
    assert told == [(4, 4)]  # one pass over the samples and three mixtures of each


@pytest.fixture
def given(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a student is trained with, without the training."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(module, "fit", lambda model, train, validation, **rest: found.update(rest, train=train))
    return found


def test_several_teachers_are_followed_in_their_mean(given: dict[str, Any]) -> None:
    few, teachers = first(TRAIN, 20), [trained(), convolutional(seed=5)]
    distill(teachers, narrower(trained()), few, VALIDATION, temperature=3, copies=1, epochs=8)
    parts = [softened(outputs_keras(teacher, given["train"].x), 3) for teacher in teachers]
    np.testing.assert_allclose(given["targets"][:, 10:], (parts[0] + parts[1]) / 2, atol=1e-6)
    assert np.abs(parts[0] - parts[1]).max() > 0.1


def test_changed_samples_take_the_place_of_mixtures_and_have_labels(given: dict[str, Any]) -> None:
    few, change = first(TRAIN, 20), ChangedImages()
    distill(trained(), narrower(trained()), few, VALIDATION, change=change, copies=3, epochs=8, seed=2)
    expected = changed(few, 3, change, seed=2)
    np.testing.assert_array_equal(given["train"].x, expected.x)
    np.testing.assert_array_equal(given["targets"][:, :10].argmax(axis=1), expected.y)
    assert (given["targets"][:, :10].sum(axis=1) == 1).all() and given["epochs"] == 2
    distill(trained(), narrower(trained()), few, VALIDATION, copies=3, epochs=8)
    assert (given["targets"][20:, :10] == 0).all()  # of a mixture no class is wanted


def test_unlabelled_samples_are_labelled_by_the_teacher_alone(given: dict[str, Any]) -> None:
    few, more, told = first(TRAIN, 20), TRAIN.x[100:200], []
    options = {"temperature": 1.0, "epochs": 20, "progress": lambda *done: told.append(done)}
    distill(trained(), narrower(trained()), few, VALIDATION, unlabelled=more, **options)
    np.testing.assert_array_equal(given["train"].x, np.concatenate([few.x, more]))
    np.testing.assert_array_equal(given["targets"][:20, :10].argmax(axis=1), few.y)
    assert (given["targets"][20:, :10] == 0).all() and given["epochs"] == 3  # 20 times 20 samples are 3 times 120
    np.testing.assert_allclose(given["targets"][20:, 10:], outputs_keras(trained(), more), atol=1e-5)
    given["progress"](3, 3)
    assert told == [(20, 20)]
    with pytest.raises(QuantizeError, match=r"unlabelled samples .* found \[8, 8\], expected \[8, 8, 1\]"):
        distill(trained(), narrower(trained()), few, VALIDATION, unlabelled=more[..., 0])


def test_teachers_are_trained_from_weights_of_their_own() -> None:
    told: list[tuple[int, int]] = []
    few = first(TRAIN, 64)
    options = {"epochs": 2, "learning_rate": 1e-2, "seed": 4}
    one, two = teachers_like(
        convolutional(), 2, few, VALIDATION, progress=lambda done, total: told.append((done, total)), **options
    )
    (again,) = teachers_like(convolutional(seed=9), 1, few, VALIDATION, **options)
    for first_weight, second, other in zip(one.get_weights(), again.get_weights(), two.get_weights(), strict=True):
        np.testing.assert_array_equal(first_weight, second)  # whatever weights the model has
        assert first_weight.shape == other.shape and (first_weight != other).any()
    assert (one.get_layer("classifier").get_weights()[1] != 0).any()  # a bias starts at 0
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_softened_probabilities_come_closer_to_each_other() -> None:
    logits = np.array([[2.0, 0.0, -1.0]])
    np.testing.assert_allclose(softened(logits, 1.0), np.exp(logits) / np.exp(logits).sum())
    np.testing.assert_allclose(softened(softened(logits, 1.0), 2.0), softened(logits / 2, 1.0))


def test_what_does_not_fit_together_is_refused() -> None:
    student = keras.Sequential([keras.Input((8, 8, 1)), layers.Flatten(), layers.Dense(9)])
    with pytest.raises(QuantizeError, match=r"found \[8, 8, 1\] -> \[9\], expected \[8, 8, 1\] -> \[10\]"):
        distill(trained(), student, TRAIN, VALIDATION)
    with pytest.raises(QuantizeError, match="takes or gives other shapes than its teacher"):
        distill([trained(), student], convolutional(), TRAIN, VALIDATION)
    with pytest.raises(QuantizeError, match="a student needs a teacher, found none"):
        distill([], student, TRAIN, VALIDATION)
    with pytest.raises(QuantizeError, match=r"found temperature 0, alpha 0\.5"):
        distill(trained(), convolutional(), TRAIN, VALIDATION, temperature=0, alpha=0.5)
    with pytest.raises(QuantizeError, match="a width is a share of the channels, found 2"):
        narrower(convolutional(), 2)
