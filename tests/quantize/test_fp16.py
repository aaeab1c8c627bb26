from __future__ import annotations

import keras
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from keras import layers

from tests.quantize.exact import converted
from tests.quantize.networks import digits, first
from tinygen.errors import QuantizeError
from tinygen.quantize.convert import convert
from tinygen.quantize.evaluate import outputs_tflite
from tinygen.quantize.fp16 import from_float16, to_float16
from tinygen.quantize.tflite_file import TfliteFile, name_of

DATA = first(digits().test, 20)


def _constants(data: bytes, kind: int) -> dict[str, np.ndarray]:
    file = TfliteFile(data)
    kept = [tensor for tensor in file.tensors if tensor.type == kind and file.is_constant(tensor)]
    return {name_of(tensor): file.constant(tensor) for tensor in kept}


def test_constants_are_halved_and_come_back_rounded() -> None:
    original = converted()
    halved = to_float16(original)
    values = _constants(original, schema.TensorType.FLOAT32)
    assert not _constants(halved, schema.TensorType.FLOAT32)
    assert len(halved) < len(original) - sum(value.nbytes for value in values.values()) / 2 + 200 * len(values)
    back = from_float16(halved)
    for name, value in _constants(back, schema.TensorType.FLOAT32).items():
        np.testing.assert_array_equal(value, values[name].astype(np.float16).astype(np.float32))
    assert [node.kind for node in TfliteFile(back).nodes()] == [node.kind for node in TfliteFile(original).nodes()]
    assert abs(len(back) - len(original)) < 200  # nothing is left behind


def test_the_interpreter_runs_both_forms_alike() -> None:
    original = outputs_tflite(converted(), DATA)
    halved = to_float16(converted())
    np.testing.assert_array_equal(outputs_tflite(halved, DATA), outputs_tflite(from_float16(halved), DATA))
    difference = np.abs(outputs_tflite(halved, DATA) - original).max()
    assert 0 < difference < 0.01


def test_a_file_without_float16_stays_as_it_is() -> None:
    assert from_float16(converted()) == converted()


def test_a_constant_beyond_float16_is_named() -> None:
    inputs = keras.Input((3,))
    model = keras.Model(
        inputs, layers.Dense(2, kernel_initializer=keras.initializers.Constant(1e5), name="huge")(inputs)
    )
    with pytest.raises(
        QuantizeError, match=r"huge.*: a constant is too large for float16, found 100000, expected at most 65504"
    ):
        to_float16(convert(model))
