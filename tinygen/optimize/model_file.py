"""A float model's file as what it says of itself without TensorFlow: its input, its classes, its layers."""

from __future__ import annotations

import hashlib
import io
import json
import math
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinygen.errors import ModelError
from tinygen.frontend.flatbuffer import Reader, Table
from tinygen.ir import Array

KERAS, TFLITE = "keras", "tflite"
_CONFIG = "config.json"
_FLOAT32 = 0
_UNCHANGING = ("Activation", "Softmax", "ReLU", "LeakyReLU", "Dropout", "BatchNormalization")
_POOLED = ("GlobalAveragePooling1D", "GlobalAveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D")
_KEEPS_CHANNELS = (*_UNCHANGING, *_POOLED)
"""Layers after which there are as many channels as before them."""


@dataclass(frozen=True)
class ModelFile:
    """A float model: KERAS or TFLITE, its bytes, the shape of a sample, the classes and layers where they are known."""

    path: str
    kind: str
    data: bytes
    shape: tuple[int, ...]
    classes: int | None
    layers: tuple[str, ...]

    @property
    def sha256(self) -> str:
        """The SHA-256 of the file."""
        return hashlib.sha256(self.data).hexdigest()


def read_model(path: Path) -> ModelFile:
    """The model in a .keras or .tflite file; raises ModelError."""
    try:
        data = path.read_bytes()
    except IsADirectoryError:
        remedy = "save it as one file: model.save('model.keras')"
        raise ModelError("a folder, not a model file", where=str(path), remedy=remedy) from None
    except OSError as error:
        raise ModelError("cannot read the model", where=str(path), found=error.strerror or str(error)) from None
    return _tflite(path, data) if data[4:8] == b"TFL3" else _keras(path, data)


def _keras(path: Path, data: bytes) -> ModelFile:
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            config = json.loads(archive.read(_CONFIG))["config"]
        layers = {layer["config"]["name"]: layer for layer in config["layers"]}
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError):
        remedy = "save it with model.save('model.keras') in Keras 3"
        what = "neither a .keras file of a Sequential or functional model nor a .tflite file"
        raise ModelError(what, where=str(path), remedy=remedy) from None
    inputs = _inputs(config, layers)
    if len(inputs) != 1:
        raise ModelError("models of one input can be optimised", where=str(path), found=f"{len(inputs)} inputs")
    shape = tuple(size for size in inputs[0][1:] if size is not None)
    if len(shape) != len(inputs[0]) - 1:
        remedy = "build it with a fixed shape: keras.Input((96, 96, 1))"
        raise ModelError("the input has an open dimension", where=str(path), found=str(inputs[0]), remedy=remedy)
    return ModelFile(str(path), KERAS, data, shape, _classes(config, layers), tuple(layers))


def _inputs(config: Mapping[str, Any], layers: Mapping[str, Any]) -> list[list[int | None]]:
    """The batch shapes of the inputs."""
    found = [layer["config"]["batch_shape"] for layer in layers.values() if layer["class_name"] == "InputLayer"]
    return found or [shape for shape in [config.get("build_input_shape")] if shape]


def _classes(config: Mapping[str, Any], layers: Mapping[str, Any]) -> int | None:
    """The channels of the model's output, found from its end; None where that takes more than reading."""
    for layer in _backwards(config, layers):
        found = layer["config"].get("units") or layer["config"].get("filters")
        if found or layer["class_name"] not in _KEEPS_CHANNELS:
            return found if isinstance(found, int) else None
    return None


def _backwards(config: Mapping[str, Any], layers: Mapping[str, Any]) -> Iterator[Any]:
    """The layers from the output on, each the first input of the one before it."""
    if "output_layers" not in config:
        yield from reversed(list(layers.values()))
        return
    output = config["output_layers"]
    name = output[0][0] if isinstance(output[0], list) else output[0]
    while name in layers:
        yield layers[name]
        before = list(_histories(layers[name].get("inbound_nodes", [])))
        if not before:
            return
        name = before[0]


def _histories(value: Any) -> Iterator[str]:
    """The names of the layers whose outputs are in the arguments of a call, as Keras 3 writes them."""
    if isinstance(value, Mapping):
        history = value.get("keras_history")
        if isinstance(history, list) and history:
            yield str(history[0])
        else:
            yield from (name for part in value.values() for name in _histories(part))
    elif isinstance(value, list):
        yield from (name for part in value for name in _histories(part))


def _tflite(path: Path, data: bytes) -> ModelFile:
    graph = next(iter(Reader(data, str(path)).root().tables(2)), None)
    if graph is None:
        raise ModelError("model computes nothing", where=str(path))
    tensors = graph.tables(0)
    inputs, outputs = ([tensors[i] for i in _ids(graph, slot) if 0 <= i < len(tensors)] for slot in (1, 2))
    if len(inputs) != 1 or len(outputs) != 1:
        found = f"{len(inputs)} inputs and {len(outputs)} outputs"
        raise ModelError("models of one input and one output can be optimised", where=str(path), found=found)
    if any(_type(tensor) != _FLOAT32 for tensor in (*inputs, *outputs)):
        remedy = "it is quantised already: tinygen compile MODEL --board BOARD"
        raise ModelError("not a float model", where=str(path), remedy=remedy)
    shape, answer = _shape(inputs[0]), _shape(outputs[0])
    return ModelFile(str(path), TFLITE, data, shape[1:], answer[-1] if answer else None, ())


def float_bytes(model: ModelFile) -> int:
    """What the float constants of a .tflite model take."""
    root = Reader(model.data, model.path).root()
    buffers = [table.array(0, "u1") for table in root.tables(4)]
    tensors = [tensor for graph in root.tables(2) for tensor in graph.tables(0)]
    sizes = [_size(tensor, buffers) for tensor in tensors if _type(tensor) == _FLOAT32]
    return sum(sizes)


def _size(tensor: Table, buffers: list[Array | None]) -> int:
    index = tensor.integer(2, "<I")
    stored = buffers[index] if index < len(buffers) else None
    return 4 * math.prod(_shape(tensor)) if stored is not None and len(stored) else 0


def _ids(table: Table, slot: int) -> list[int]:
    ids = table.array(slot, "i4")
    return [] if ids is None else [int(i) for i in ids]


def _type(tensor: Table) -> int:
    return tensor.integer(1, "<b")


def _shape(tensor: Table) -> tuple[int, ...]:
    return tuple(_ids(tensor, 0))
