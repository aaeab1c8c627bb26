"""Small Keras networks and a little of scikit-learn's digits, for tests that train for a moment."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

from scripts.study import sets
from tinygen.quantize.data import Data
from tinygen.quantize.evaluate import outputs_keras
from tinygen.quantize.training import fit


@functools.cache
def digits() -> sets.Sets:
    return sets.digits(0)


def convolutional(seed: int = 0, width: int = 8) -> keras.Model:
    """A residual and separable network on 8x8x1; its layers are named."""
    keras.utils.set_random_seed(seed)
    x = inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(width, 3, strides=2, padding="same", use_bias=False, name="stem")(x)
    x = shortcut = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))
    x = layers.DepthwiseConv2D(3, padding="same", use_bias=False, name="depthwise")(x)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.8)(x))
    x = layers.BatchNormalization(momentum=0.8)(layers.Conv2D(width, 1, use_bias=False, name="pointwise")(x))
    x = layers.ReLU()(layers.Add()([x, shortcut]))
    x = layers.Conv2D(2 * width, 3, padding="same", name="wide")(x)
    x = layers.Flatten()(layers.MaxPooling2D(2)(layers.ReLU()(x)))
    return keras.Model(inputs, layers.Dense(10, activation="softmax", name="classifier")(x))


@functools.cache
def trained() -> keras.Model:
    """The network above after a few epochs; copy it before you change it."""
    model = convolutional()
    fit(model, digits().train, digits().validation, epochs=6, learning_rate=1e-2, batch_size=64)
    return model


class Outlying(NamedTuple):
    """A network that 8 bits ruin, and samples of which it is sure, labelled with its own answers."""

    model: keras.Model
    calibration: Data
    validation: Data
    test: Data


@functools.cache
def outlying() -> Outlying:
    """One channel of a sum is a thousand times as large as the others, and hardly looked at: 8 bits lose all others.

    So the layer that makes it, the one that makes the other summand and the one that reads the sum need 16 bits, all
    three together; the rest does not. Its weights are random, scaled and centred.
    """
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="stem")(inputs)
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="features")(x)
    x = layers.Flatten()(x)
    x = layers.Add()([layers.Dense(16, name="loud")(x), layers.Dense(16, name="soft")(x)])
    x = layers.Dense(8, activation="relu", name="reader")(x)
    x = layers.Dense(8, activation="relu", name="hidden")(x)
    model = keras.Model(inputs, layers.Dense(4, activation="softmax", name="classifier")(x))
    loud, reader, classifier = (model.get_layer(name) for name in ("loud", "reader", "classifier"))
    loud.set_weights([loud.get_weights()[0] * ([1000] + [1] * 15), loud.get_weights()[1]])
    reader.set_weights([reader.get_weights()[0] / np.array([[4000], *[[1]] * 15]), reader.get_weights()[1]])
    samples = np.random.default_rng(0).normal(size=(1200, 8, 8, 1)).astype(np.float32)
    middle = np.median(np.log(outputs_keras(model, samples)), axis=0)
    classifier.set_weights([8 * classifier.get_weights()[0], -8 * middle])
    answers = outputs_keras(model, samples)
    best = np.sort(answers, axis=1)
    sure = best[:, -1] - best[:, -2] > 0.15
    x, y = samples[sure], answers[sure].argmax(axis=1)
    parts = {"calibration": slice(100), "validation": slice(100, 300), "test": slice(300, 500)}
    return Outlying(model, *(Data(x[part], y[part], name) for name, part in parts.items()))


def first(data: Data, count: int) -> Data:
    return Data(data.x[:count], None if data.y is None else data.y[:count], data.path)


def weights_of(model: keras.Model, layer: str) -> Any:
    return model.get_layer(layer).get_weights()[0]
