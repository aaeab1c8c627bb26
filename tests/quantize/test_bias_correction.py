from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

from tests.quantize.exact import converted, weighted
from tests.quantize.networks import digits, trained
from tinygen.quantize.calibrate import activations, as_samples
from tinygen.quantize.keras_graph import fold_batch_norm
from tinygen.quantize.quantize import quantize
from tinygen.quantize.tflite_file import TfliteFile, name_of, scales_of, shape_of
from tinygen.quantize.weights import integer_weights

X = digits().calibration.x


@functools.cache
def _files() -> tuple[bytes, bytes]:
    """At 4 bits, without and with correction."""
    return quantize(trained(), X, weights=4), quantize(trained(), X, weights=4, correct_bias=True)


def test_a_filter_of_a_group_sees_the_channels_of_its_group() -> None:
    keras.utils.set_random_seed(1)
    inputs = keras.Input((4, 4, 4))
    convolution = keras.layers.Conv2D(6, 1, groups=2, use_bias=False, name="grouped")
    model = keras.Model(inputs, convolution(inputs))
    x = np.random.default_rng(1).normal(np.arange(4), 1, (30, 4, 4, 4)).astype(np.float32)
    plain, corrected = (quantize(model, x, weights=4, correct_bias=correct) for correct in (False, True))
    nodes = [next(iter(weighted(content).values())) for content in (plain, corrected)]
    biases = [TfliteFile(content).constant(node.bias) for content, node in zip((plain, corrected), nodes, strict=True)]
    kernel = np.asarray(convolution.kernel).reshape(2, 6)
    grid = integer_weights(TfliteFile(plain), nodes[0].weights).reshape(6, 2) * scales_of(nodes[0].weights)[:, None]
    means = np.repeat(x.mean(axis=(0, 1, 2)).reshape(2, 2), 3, axis=0)  # [filter, channel of its group]
    expected = -((grid - kernel.T) * means).sum(axis=1) / scales_of(nodes[0].bias)
    np.testing.assert_allclose(biases[1] - biases[0], expected, atol=1)
    assert np.abs(expected).max() > 10


@functools.cache
def _activations() -> dict[str, np.ndarray]:
    """The tensors of the float model for all samples."""
    found = list(activations(converted(), as_samples(TfliteFile(converted()), X)))
    return {name: np.concatenate([values[name] for values in found]) for name in found[0]}


def _outputs(layer: str, integer: bytes) -> np.ndarray:
    """[channels]: mean outputs of a layer on the float model's inputs, with the integer model's weights and bias."""
    file, node = TfliteFile(integer), weighted(integer)[layer]
    inputs = _activations()[name_of(weighted(converted())[layer].inputs[0])]
    shape = [-1 if axis == node.channel_axis else 1 for axis in range(len(shape_of(node.weights)))]
    kernel = np.float32(integer_weights(file, node.weights) * scales_of(node.weights).reshape(shape))
    bias = file.constant(node.bias) * scales_of(node.bias)
    if layer == "depthwise":
        outputs = tf.nn.depthwise_conv2d(inputs, kernel.transpose(1, 2, 3, 0), (1, 1, 1, 1), "SAME")
    elif kernel.ndim == 4:
        strides = 2 if layer == "stem" else 1
        outputs = tf.nn.conv2d(inputs, kernel.transpose(1, 2, 3, 0), strides, "SAME")
    else:
        outputs = inputs @ kernel.T
    return np.asarray(outputs).reshape(-1, len(bias)).mean(axis=0) + bias


def _float_outputs(layer: str) -> np.ndarray:
    """[channels]: the same of the float model."""
    folded = fold_batch_norm(trained())
    folded.get_layer("classifier").activation = None
    outputs = keras.Model(folded.input, folded.get_layer(layer).output)(X)
    return np.asarray(outputs).reshape(-1, outputs.shape[-1]).mean(axis=0)


@pytest.mark.parametrize("layer", ["stem", "depthwise", "pointwise", "wide", "classifier"])
def test_the_bias_takes_back_what_rounding_adds_to_the_mean(layer: str) -> None:
    plain, corrected = _files()
    np.testing.assert_array_equal(
        integer_weights(TfliteFile(plain), weighted(plain)[layer].weights),
        integer_weights(TfliteFile(corrected), weighted(corrected)[layer].weights),
    )
    real = _float_outputs(layer)
    step = float(scales_of(weighted(corrected)[layer].bias).max())
    assert np.abs(_outputs(layer, plain) - real).max() > 10 * step
    np.testing.assert_allclose(_outputs(layer, corrected), real, atol=step)
