"""A Keras model as a .tflite file, through TensorFlow's converter in a process of its own, because it can crash."""

from __future__ import annotations

import atexit
import functools
import os
import pickle
import re
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python.framework.convert_to_constants import convert_variables_to_constants_v2

import tinygen
from tinygen.errors import QuantizeError
from tinygen.quantize.tflite_file import TfliteFile, name_of, with_unique_names

WORKER = "tinygen.quantize.convert_worker"
LIMIT_SECONDS = 600
"""A conversion that takes longer counts as hung."""
_GRACE_SECONDS = 5
"""Time to end for a worker that no longer answers."""
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": ""}
_MARK = ".layer"
"""Stands behind each layer's name in the graph, so that the numbers which TensorFlow adds cannot be taken for it."""
_MARKED = re.compile(re.escape(_MARK) + r"(_\d+)?")
_MARKED_LAYER = re.compile(r"([A-Za-z0-9_.\-]+)" + re.escape(_MARK))
_REFUSED_OPERATION = re.compile(r"'tf\.(\w+)'")
_REMEDY = "replace the layer by one that `tinygen ops` has operators for"
_SHOWN = 200
"""Characters of the converter's own message that an error repeats."""


class ConversionError(QuantizeError):
    """TensorFlow's converter cannot make a .tflite file of this model."""


class Converter:
    """A worker process with TensorFlow's converter; a crash costs only that process."""

    def __init__(self, limit_seconds: float = LIMIT_SECONDS) -> None:
        self._limit_seconds = limit_seconds
        self._worker: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    def ask(self, request: str, *arguments: Any) -> bytes:
        """What the worker makes of a request; ConversionError when it refuses, crashes or takes too long."""
        with self._lock:
            try:
                content, problem = self._answer((request, arguments))
            except (EOFError, BrokenPipeError, pickle.UnpicklingError):
                raise _crash(self._end(_GRACE_SECONDS)) from None
            except BaseException:  # interrupted: an answer that still comes would be taken for that to the next request
                self._end(0)
                raise
        if problem:
            raise _refusal(problem)
        return bytes(content)

    def close(self) -> None:
        """End the worker."""
        with self._lock:
            self._end(0)

    def _answer(self, request: Any) -> Any:
        if self._worker is None:
            self._worker = _start()
        assert self._worker.stdin is not None and self._worker.stdout is not None  # both are pipes
        limit = threading.Timer(self._limit_seconds, self._worker.kill)
        limit.start()
        try:
            pickle.dump(request, self._worker.stdin)
            self._worker.stdin.flush()
            return pickle.load(self._worker.stdout)
        finally:
            limit.cancel()

    def _end(self, grace_seconds: float) -> int:
        """The code that the worker ended with: negative for a signal."""
        if self._worker is None:
            return 0
        worker, self._worker = self._worker, None
        try:
            worker.wait(grace_seconds)
        except subprocess.TimeoutExpired:
            worker.kill()
        worker.communicate()
        return worker.returncode


@functools.cache
def shared_converter() -> Converter:
    """The converter that all conversions of this process share: to load TensorFlow takes it some seconds."""
    converter = Converter()
    atexit.register(converter.close)
    return converter


def convert(model: keras.Model) -> bytes:
    """The model in floating point as .tflite, for one sample at a time.

    The converter folds batch normalisation and fuses activations. Every tensor has a name of its own, in which the
    names of the Keras layers are those of the model. Raises QuantizeError before, ConversionError from the converter.
    """
    check_convertible(model)
    graph, inputs, outputs = freeze(model)
    try:
        content = shared_converter().ask("float", graph.SerializeToString(deterministic=True), inputs, outputs)
    except ConversionError as error:
        raise _placed(error, graph) from None
    return with_clean_names(content)


def check_convertible(model: keras.Model) -> None:
    """Raise QuantizeError for what the converter would only crash on."""
    if keras.backend.backend() != "tensorflow":
        raise QuantizeError(
            "Keras computes with another backend", found=keras.backend.backend(), remedy="set KERAS_BACKEND=tensorflow"
        )
    if not model.built:
        raise QuantizeError("the model is not built", where=model.name, remedy="give it an Input with a fixed shape")
    for layer in model._flatten_layers():  # also those inside wrappers
        if isinstance(layer, keras.layers.RNN) and not layer.unroll:
            kind = type(layer).__name__
            raise QuantizeError(f"{kind}: a loop cannot be converted", where=layer.name, remedy="set unroll=True")
    for tensor in model.inputs:
        if None in tensor.shape[1:]:
            raise QuantizeError(
                "an input has an open dimension besides the batch",
                where=tensor.name,
                found=str(list(tensor.shape)),
                remedy="give the Input a fixed shape",
            )


def freeze(model: keras.Model) -> tuple[Any, list[str], list[str]]:
    """The model for one sample as a graph of constants, and the names of its inputs and outputs."""
    single = len(model.inputs) == 1
    names = ["x"] if single else [f"x{index}" for index in range(len(model.inputs))]
    specs = [
        tf.TensorSpec((1, *tensor.shape[1:]), tensor.dtype, name)
        for tensor, name in zip(model.inputs, names, strict=True)
    ]

    def answer(*values: Any) -> list[Any]:
        given = values[0] if single else keras.tree.pack_sequence_as(model.input, values)
        return list(keras.tree.flatten(model(given, training=False)))

    with _marked_layers(model):
        function = tf.function(answer, input_signature=specs, autograph=False).get_concrete_function()
    frozen = convert_variables_to_constants_v2(function)
    return frozen.graph.as_graph_def(), _names(frozen.inputs), _names(frozen.outputs)


def with_clean_names(data: bytes) -> bytes:
    """The file without the marks behind the names of layers, and with another name for every tensor."""
    file = TfliteFile(data)
    for tensor in file.tensors:
        tensor.name = _MARKED.sub("", name_of(tensor)).encode()
    return with_unique_names(file.to_bytes())


@contextmanager
def _marked_layers(model: keras.Model) -> Iterator[None]:
    """Names that can be told in the graph, for as long as it is traced."""
    layers = {id(layer): layer for layer in model._flatten_layers()}  # includes those inside wrappers
    names = {key: layer.name for key, layer in layers.items()}
    try:
        for key, layer in layers.items():
            layer.name = names[key] + _MARK
        yield
    finally:
        for key, layer in layers.items():
            layer.name = names[key]


def _names(tensors: Sequence[Any]) -> list[str]:
    return [tensor.name for tensor in tensors]


def _start() -> subprocess.Popen[bytes]:
    """A fresh interpreter of Python, which does not run its caller's script again as multiprocessing would."""
    place = str(Path(tinygen.__file__).resolve().parent.parent)
    paths = [place, *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, **_QUIET, "PYTHONPATH": os.pathsep.join(paths)}
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", WORKER]
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment)


def _crash(code: int) -> ConversionError:
    return ConversionError(
        "TensorFlow's converter crashed or hung on this model",
        found=f"signal {-code}" if code < 0 else f"exit code {code}",
        remedy=_REMEDY,
    )


def _refusal(problem: str) -> ConversionError:
    """What the converter says, in one line."""
    lines = [line.strip() for line in problem.splitlines() if line.strip()]
    errors = [line for line in lines if "error:" in line] or lines or ["no reason"]
    return ConversionError(
        "TensorFlow's converter refuses this model", found=errors[0].split("error: ")[-1][:_SHOWN], remedy=_REMEDY
    )


def _placed(error: ConversionError, graph: Any) -> ConversionError:
    """The error with the layers whose operations the converter names."""
    refused = set(_REFUSED_OPERATION.findall(error.found))
    paths = [_MARKED_LAYER.findall(node.name) for node in graph.node if node.op in refused]
    layers = dict.fromkeys(path[-1] for path in paths if path)
    return ConversionError(error.what, where=", ".join(layers), found=error.found, remedy=error.remedy)
