"""What a float model's file says of itself without TensorFlow."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from tests.optimize.fakes import float_dense
from tests.small_models import two_convolutions
from tinygen.errors import ModelError
from tinygen.optimize.model_file import KERAS, TFLITE, float_bytes, read_model

INPUT = {"class_name": "InputLayer", "config": {"name": "in", "batch_shape": [None, 8, 8, 1]}}
CONV = {"class_name": "Conv2D", "config": {"name": "conv", "filters": 6}}
POOL = {"class_name": "GlobalAveragePooling2D", "config": {"name": "pool"}}
FLATTEN = {"class_name": "Flatten", "config": {"name": "flatten"}}
DENSE = {"class_name": "Dense", "config": {"name": "dense", "units": 10}}
SOFTMAX = {"class_name": "Softmax", "config": {"name": "softmax"}}


def keras_file(path: Path, layers: list[Any], **config: Any) -> Path:
    """A file as Keras 3 writes it, as far as it is read here."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("config.json", json.dumps({"config": {"layers": layers, **config}}))
    return path


def after(layer: dict[str, Any], name: str) -> dict[str, Any]:
    """A layer of a functional model that is called with the output of the layer `name`."""
    tensor = {"class_name": "__keras_tensor__", "config": {"keras_history": [name, 0, 0]}}
    return {**layer, "inbound_nodes": [{"args": [tensor], "kwargs": {}}]}


@pytest.mark.parametrize(
    ("layers", "classes"),
    [
        ([INPUT, CONV, FLATTEN, DENSE], 10),
        ([INPUT, CONV, FLATTEN, DENSE, SOFTMAX], 10),
        ([INPUT, CONV, POOL, SOFTMAX], 6),
        ([INPUT, CONV, FLATTEN], None),
    ],
)
def test_a_sequential_model(layers: list[Any], classes: int | None, tmp_path: Path) -> None:
    model = read_model(keras_file(tmp_path / "m.keras", layers))
    assert (model.kind, model.shape, model.classes) == (KERAS, (8, 8, 1), classes)
    assert model.layers == tuple(layer["config"]["name"] for layer in layers)


def test_a_functional_model_is_read_from_its_output(tmp_path: Path) -> None:
    layers = [INPUT, after(DENSE, "flatten"), after(CONV, "in"), after(FLATTEN, "conv"), after(SOFTMAX, "dense")]
    assert read_model(keras_file(tmp_path / "m.keras", layers, output_layers=["softmax", 0, 0])).classes == 10
    assert read_model(keras_file(tmp_path / "m.keras", layers, output_layers=[["conv", 0, 0]])).classes == 6


def test_a_float_tflite_model(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(float_dense(inputs=6, classes=3))
    model = read_model(path)
    assert (model.kind, model.shape, model.classes) == (TFLITE, (6,), 3)
    assert float_bytes(model) == 4 * (6 * 3 + 3)


def complaint(path: Path) -> str:
    with pytest.raises(ModelError) as caught:
        read_model(path)
    return str(caught.value)


def test_what_cannot_be_optimised(tmp_path: Path) -> None:
    second = {"class_name": "InputLayer", "config": {"name": "more", "batch_shape": [None, 2]}}
    two = keras_file(tmp_path / "two.keras", [INPUT, second, DENSE])
    assert complaint(two) == f"{two}: models of one input can be optimised, found 2 inputs"
    unsized = {"class_name": "InputLayer", "config": {"name": "in", "batch_shape": [None, None, 3]}}
    open_ended = keras_file(tmp_path / "open.keras", [unsized, DENSE])
    assert complaint(open_ended) == (
        f"{open_ended}: the input has an open dimension, found [None, None, 3]; "
        "build it with a fixed shape: keras.Input((96, 96, 1))"
    )
    assert (
        complaint(tmp_path) == f"{tmp_path}: a folder, not a model file; save it as one file: model.save('model.keras')"
    )
    assert (
        complaint(tmp_path / "none") == f"{tmp_path / 'none'}: cannot read the model, found No such file or directory"
    )
    text = tmp_path / "text.keras"
    text.write_text("hello")
    assert complaint(text) == (
        f"{text}: neither a .keras file of a Sequential or functional model nor a .tflite file; "
        "save it with model.save('model.keras') in Keras 3"
    )
    quantised = tmp_path / "q.tflite"
    quantised.write_bytes(two_convolutions())
    assert complaint(quantised) == (
        f"{quantised}: not a float model; it is quantised already: tinygen compile MODEL --board BOARD"
    )
