from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from tests.quantize.networks import convolutional, digits, trained
from tinygen.errors import QuantizeError
from tinygen.quantize.keras_graph import calls, copy_model, fold_batch_norm, run

X = digits().test.x[:8]


def _shuffled(model: keras.Model) -> keras.Model:
    """The model with every weight, and so every mean and variance, a random positive number."""
    rng = np.random.default_rng(1)
    model.set_weights([rng.uniform(0.2, 1, weight.shape) for weight in model.get_weights()])
    return model


def _sequential() -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3),
            layers.BatchNormalization(scale=False),
            layers.Conv2DTranspose(3, 3, use_bias=False),
            layers.BatchNormalization(center=False),
            layers.DepthwiseConv2D(3, depth_multiplier=2),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(5, use_bias=False),
            layers.BatchNormalization(),
        ]
    )


def test_folded_batch_normalisation_changes_no_answer() -> None:
    for model in (trained(), _shuffled(_sequential())):
        folded = fold_batch_norm(model)
        assert not [layer for layer in folded.layers if isinstance(layer, layers.BatchNormalization)]
        wanted = np.asarray(model(X))
        np.testing.assert_allclose(np.asarray(folded(X)), wanted, rtol=1e-4, atol=1e-5 * np.abs(wanted).max())


def test_what_cannot_be_folded_stays() -> None:
    inputs = keras.Input((8, 8, 1))
    first = layers.Conv2D(4, 3, name="first")(inputs)  # read twice: the sum takes it as it is
    read = layers.BatchNormalization(name="of_first")(first)
    active = layers.Conv2D(4, 1, activation="relu", name="active")(layers.Add()([first, read]))
    normal = layers.BatchNormalization(name="of_active")(active)
    last = layers.Conv2D(2, 1, name="last")(normal)
    model = _shuffled(keras.Model(inputs, layers.BatchNormalization(name="of_last")(last)))
    folded = fold_batch_norm(model)
    kept = [layer.name for layer in folded.layers if isinstance(layer, layers.BatchNormalization)]
    assert kept == ["of_first", "of_active"]
    np.testing.assert_allclose(np.asarray(folded(X)), np.asarray(model(X)), rtol=1e-4)


def test_calls_are_in_order_with_their_tensors() -> None:
    sites = calls(convolutional())
    assert [site.layer.name for site in sites if site.layer.weights and site.kind != "BatchNormalization"] == [
        "stem",
        "depthwise",
        "pointwise",
        "wide",
        "classifier",
    ]
    known: set[int] = set()
    for site in sites:
        assert {id(tensor) for tensor in site.inputs} <= known
        known |= {id(tensor) for tensor in site.outputs}


def test_a_copy_has_weights_of_its_own() -> None:
    copy = copy_model(trained())
    before = trained().get_weights()
    copy.set_weights([0 * weight for weight in copy.get_weights()])
    for old, now in zip(before, trained().get_weights(), strict=True):
        np.testing.assert_array_equal(old, now)


def test_outputs_of_layers_can_be_altered() -> None:
    def silenced(layer: Any, output: Any) -> Any:
        return 0 * output if layer.name == "wide" else output

    answers = np.asarray(run(trained(), X, silenced))
    np.testing.assert_allclose(answers, np.repeat(answers[:1], len(X), axis=0), rtol=1e-6)
    np.testing.assert_array_equal(np.asarray(run(trained(), X, lambda layer, output: output)), np.asarray(trained()(X)))


class Hidden(keras.Model):
    """A model whose layers only its own code knows."""

    def call(self, x: Any) -> Any:
        return x


def test_a_model_that_is_only_code_is_refused() -> None:
    with pytest.raises(QuantizeError, match=r"hidden: the model's layers cannot be seen, found Hidden, expected a"):
        calls(Hidden(name="hidden"))
