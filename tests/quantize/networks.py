"""Small Keras networks and a little of scikit-learn's digits, for tests that train for a moment."""

from __future__ import annotations

import functools
from typing import Any

import keras
from keras import layers

from scripts.study import sets
from tinygen.quantize.data import Data
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


def first(data: Data, count: int) -> Data:
    return Data(data.x[:count], None if data.y is None else data.y[:count], data.path)


def weights_of(model: keras.Model, layer: str) -> Any:
    return model.get_layer(layer).get_weights()[0]
