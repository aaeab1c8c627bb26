"""Operators without weights between layers of 16-bit activations: which follow, and that they are computed exactly."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from tests.quantize.exact import assert_bit_exact, quantization
from tinygen.errors import QuantizeError
from tinygen.quantize.convert import convert
from tinygen.quantize.data import Data
from tinygen.quantize.evaluate import outputs_keras, outputs_tflite
from tinygen.quantize.float_tflite import quantize_float_tflite
from tinygen.quantize.quantize import quantize
from tinygen.quantize.tflite_file import TfliteFile
from tinygen.quantize.wide_layers import wide_operators
from tinygen.verify.golden import Golden

X = np.random.default_rng(0).normal(size=(12, 9, 7, 3)).astype(np.float32)
FOLLOWERS = {"ADD", "PAD", "MAX_POOL_2D", "AVERAGE_POOL_2D", "CONCATENATION", "MUL", "LOGISTIC", "MEAN", "SOFTMAX"}


@functools.cache
def branched() -> keras.Model:
    """Two branches that are added; operators without weights of most kinds between layers with names."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input(X.shape[1:])
    stem = layers.Conv2D(6, 3, padding="same", activation="relu", name="stem")(inputs)
    left, right = (layers.Conv2D(6, 1, name=name)(stem) for name in ("left", "right"))
    x = layers.ZeroPadding2D(2)(layers.Add()([left, right]))
    x = layers.Conv2D(4, 3, name="middle")(x)
    gate = layers.Activation("sigmoid")(layers.Conv2D(4, 1, name="gate")(x))
    x = layers.Multiply()([x, gate])
    x = layers.Concatenate()([layers.MaxPooling2D(2)(x), layers.AveragePooling2D(2)(x)])
    x = layers.GlobalAveragePooling2D()(layers.Conv2D(5, 1, name="wide")(x))
    return keras.Model(inputs, layers.Dense(4, activation="softmax", name="classifier")(x))


@functools.cache
def converted() -> bytes:
    return convert(branched())


def kinds(*names: str) -> list[str]:
    """The operators that have 16 bits when those layers have."""
    found = wide_operators(TfliteFile(converted()), dict.fromkeys(names, 16))
    return [node.kind for node in found]


def test_what_lies_between_two_such_layers_follows() -> None:
    assert kinds("left", "right") == ["CONV_2D", "CONV_2D"], "what reads the sum has 8 bits"
    assert kinds("left", "middle") == ["CONV_2D", "CONV_2D"], "one summand has 8 bits"
    assert kinds("left", "right", "middle") == ["CONV_2D", "CONV_2D", "ADD", "PAD", "CONV_2D"]
    assert kinds("classifier") == ["FULLY_CONNECTED", "SOFTMAX"], "nothing reads what leaves the model"
    assert set(kinds("*")) >= FOLLOWERS


def test_all_of_them_are_computed_bit_for_bit(golden: Golden) -> None:
    content = quantize(branched(), X, activations={"*": 16})
    assert_bit_exact(content, golden)
    file = TfliteFile(content)
    inner = [tensor.type for node in file.nodes() for tensor in node.outputs if node.kind in FOLLOWERS]
    assert inner and set(inner) == {schema.TensorType.INT16}
    assert {tensor.type for tensor in (*file.inputs, *file.outputs)} == {schema.TensorType.INT8}


@pytest.mark.parametrize("activation", ["softmax", "linear"])
def test_outputs_made_8_bits_again_use_all_of_them(activation: str) -> None:
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), layers.Dense(4, activation=activation, name="classifier")])
    data = Data(np.random.default_rng(1).normal(size=(50, 6)).astype(np.float32), np.zeros(50, int))
    content = quantize(model, data.x, activations={"classifier": 16})
    scales, zero_points = quantization(TfliteFile(content).outputs[0])
    if activation == "softmax":
        assert (scales[0], zero_points[0]) == (1 / 256, -128)
    real = outputs_keras(model, data.x)
    ours = (outputs_tflite(content, data).astype(float) - zero_points[0]) * scales[0]
    assert np.abs(ours - real).max() < 3 * scales[0], "the input and the weights have 8 bits"
    assert np.ptp(outputs_tflite(content, data).astype(int)) > 150


def test_a_16_bit_model_of_ai_edge_quantizer_has_sums_of_any_scales(golden: Golden) -> None:
    assert_bit_exact(quantize_float_tflite(converted(), X, activations=16), golden)


def test_a_pattern_without_a_layer() -> None:
    with pytest.raises(QuantizeError, match="no layer with weights has such a name, found no"):
        kinds("no*")
