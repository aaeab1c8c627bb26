"""One small float network for each data set of the study, all of them residual or separable."""

from __future__ import annotations

from typing import Any

import keras
from keras import layers


def digits_model() -> keras.Model:
    """Two convolutions, a separable one and a classifier, as in examples/digits."""
    x = inputs = keras.Input((8, 8, 1))
    x = _convolution(x, 16, 3)
    x = _convolution(x, 32, 3, strides=2)
    x = _normalised(layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x))
    x = _convolution(x, 48, 1)
    x = layers.Flatten()(layers.MaxPooling2D(2)(x))
    return keras.Model(inputs, layers.Dense(10, activation="softmax")(layers.Dropout(0.3)(x)), name="digits")


def waves_model() -> keras.Model:
    """A 1-D network with a residual addition and global pooling."""
    x = inputs = keras.Input((64, 1))
    x = _normalised(layers.Conv1D(16, 7, strides=2, padding="same", use_bias=False)(x))
    shortcut = x
    x = _normalised(layers.Conv1D(16, 5, padding="same", use_bias=False)(x))
    x = layers.BatchNormalization(momentum=0.9)(layers.Conv1D(16, 5, padding="same", use_bias=False)(x))
    x = layers.ReLU()(layers.Add()([x, shortcut]))
    x = _normalised(layers.Conv1D(32, 5, strides=2, padding="same", use_bias=False)(x))
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(6, activation="softmax")(layers.Dropout(0.2)(x)), name="waves")


def motion_model() -> keras.Model:
    """A separable network over time with a residual addition."""
    x = inputs = keras.Input((48, 1, 3))
    x = _normalised(layers.Conv2D(24, (5, 1), strides=(2, 1), padding="same", use_bias=False)(x))
    shortcut = x
    x = _normalised(layers.DepthwiseConv2D((5, 1), padding="same", use_bias=False)(x))
    x = layers.BatchNormalization(momentum=0.9)(layers.Conv2D(24, 1, use_bias=False)(x))
    x = layers.ReLU()(layers.Add()([x, shortcut]))
    x = _normalised(layers.DepthwiseConv2D((5, 1), padding="same", use_bias=False)(x))
    x = layers.AveragePooling2D((2, 1))(_convolution(x, 32, 1))
    x = layers.Flatten()(x)
    return keras.Model(inputs, layers.Dense(5, activation="softmax")(layers.Dropout(0.3)(x)), name="motion")


def _convolution(x: Any, filters: int, kernel: int, strides: int = 1) -> Any:
    return _normalised(layers.Conv2D(filters, kernel, strides=strides, padding="same", use_bias=False)(x))


def _normalised(x: Any) -> Any:
    """`x` through batch normalisation and ReLU."""
    return layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
