from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from tests.quantize.exact import weighted
from tests.quantize.networks import digits, first, trained
from tinygen.quantize.convert import convert
from tinygen.quantize.equalize import equalize, find_pairs
from tinygen.quantize.evaluate import outputs_tflite, score_keras, score_tflite
from tinygen.quantize.keras_graph import fold_batch_norm
from tinygen.quantize.quantize import quantize
from tinygen.quantize.tflite_file import TfliteFile
from tinygen.quantize.weights import layer_of


def _network(*between: Any, activation: str | None = "relu", classifier: bool = True) -> keras.Model:
    keras.utils.set_random_seed(0)
    x = inputs = keras.Input((8, 8, 1))
    x = layers.Conv2D(6, 3, activation=activation, name="first", bias_initializer="random_normal")(x)
    for layer in between:
        x = layer(x)
    if classifier:
        x = layers.Dense(10, name="last")(layers.Flatten()(x))
    return keras.Model(inputs, x)


def _pairs(model: keras.Model) -> list[tuple[str, str]]:
    return [(layer_of(pair.first), layer_of(pair.second)) for pair in find_pairs(TfliteFile(convert(model)))]


def _uneven(model: keras.Model, layer: str, following: str) -> keras.Model:
    """The same function, with channels of very different ranges between two layers."""
    factors = np.geomspace(0.02, 50, model.get_layer(layer).kernel.shape[-1]).astype(np.float32)
    first_layer, next_layer = model.get_layer(layer), model.get_layer(following)
    first_layer.kernel.assign(np.asarray(first_layer.kernel) * factors)
    first_layer.bias.assign(np.asarray(first_layer.bias) * factors)
    kernel = np.asarray(next_layer.kernel)
    depthwise = isinstance(next_layer, layers.DepthwiseConv2D)
    next_layer.kernel.assign(
        kernel / (factors[:, None] if depthwise or kernel.ndim == 4 else np.resize(factors, len(kernel))[:, None])
    )
    return model


@pytest.mark.parametrize(
    ("between", "options", "expected"),
    [
        ([], {}, [("first", "last")]),
        ([layers.MaxPooling2D(), layers.Conv2D(4, 3, name="mid")], {}, [("first", "mid"), ("mid", "last")]),
        ([layers.DepthwiseConv2D(3, name="deep"), layers.ReLU()], {}, [("first", "deep"), ("deep", "last")]),
        ([layers.DepthwiseConv2D(3, depth_multiplier=2, name="deep")], {}, [("deep", "last")]),
        ([layers.AveragePooling2D(2), layers.ZeroPadding2D()], {}, [("first", "last")]),
        ([layers.GlobalAveragePooling2D()], {}, [("first", "last")]),
        ([], {"activation": None}, [("first", "last")]),
        ([], {"activation": "relu6"}, []),
        ([], {"activation": "sigmoid"}, []),
        ([layers.Permute((3, 1, 2))], {}, []),
        ([layers.ReLU()], {"classifier": False}, []),
    ],
)
def test_layers_are_pairs_if_what_is_between_scales(
    between: list[Any], options: dict[str, Any], expected: list[tuple[str, str]]
) -> None:
    assert _pairs(_network(*between, **options)) == expected


def test_a_tensor_that_two_layers_read_is_left_alone() -> None:
    assert _pairs(trained()) == [("depthwise", "pointwise"), ("wide", "classifier")]


@pytest.mark.parametrize(
    "between",
    [
        [],
        [
            layers.MaxPooling2D(),
            layers.DepthwiseConv2D(3, name="deep"),
            layers.Conv2D(4, 1, activation="relu", name="mid"),
        ],
        [layers.GlobalAveragePooling2D()],
    ],
)
def test_outputs_stay_and_channels_have_one_range_on_both_sides(between: list[Any]) -> None:
    data = convert(_network(*between))
    even = equalize(data)
    samples = first(digits().test, 10)
    np.testing.assert_allclose(outputs_tflite(even, samples), outputs_tflite(data, samples), rtol=1e-3, atol=1e-5)
    file = TfliteFile(even)
    for pair in find_pairs(file):
        before = np.moveaxis(file.constant(pair.first.weights), pair.first.channel_axis, 0)
        channels = len(before)
        after = file.constant(pair.second.weights).reshape(-1, channels)
        np.testing.assert_allclose(
            np.abs(before).reshape(channels, -1).max(axis=1), np.abs(after).max(axis=0), rtol=0.01
        )


def test_a_channel_without_weights_does_no_harm() -> None:
    model = _network()
    kernel = np.asarray(model.get_layer("first").kernel).copy()
    kernel[..., 2] = 0
    model.get_layer("first").kernel.assign(kernel)
    (first_node, _) = weighted(equalize(convert(model))).values()
    file = TfliteFile(equalize(convert(model)))
    assert np.isfinite(file.constant(first_node.weights)).all()


def test_uneven_channels_lose_little_when_they_are_equalised() -> None:
    # Scales per layer: unless equalised, the small channels of "wide" are rounded to 0
    model = _uneven(fold_batch_norm(trained()), "wide", "classifier")
    test = digits().test
    assert abs(score_keras(model, test).correct - score_keras(trained(), test).correct) <= 1
    options: dict[str, Any] = {"per_channel": False, "weights": 8}
    plain, even = (
        score_tflite(quantize(model, digits().calibration.x, equalize=equalized, **options), test).correct
        for equalized in (False, True)
    )
    assert even >= score_keras(model, test).correct - 6  # a point
    assert plain < even - 60  # ten points
