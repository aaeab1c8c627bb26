from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from tests.quantize.networks import digits, trained
from tinygen.errors import QuantizeError
from tinygen.quantize import convert as module
from tinygen.quantize.calibrate import activations
from tinygen.quantize.convert import ConversionError, Converter, convert
from tinygen.quantize.tflite_file import TfliteFile, layers_of, name_of, shape_of


def _model(*parts: Any, shape: tuple[int | None, ...] = (8, 8, 3)) -> keras.Model:
    x = inputs = keras.Input(shape)
    for part in parts:
        x = part(x)
    return keras.Model(inputs, x)


def test_the_file_answers_as_the_model() -> None:
    x = digits().test.x[:5]
    data = convert(trained())
    (output,) = TfliteFile(data).outputs
    answers = [values[name_of(output)] for values in activations(data, [[sample[np.newaxis]] for sample in x])]
    np.testing.assert_allclose(np.concatenate(answers), np.asarray(trained()(x)), atol=1e-5)


def test_names_are_those_of_the_layers_and_of_one_tensor_each() -> None:
    before = [layer.name for layer in trained().layers]
    file = TfliteFile(convert(trained()))
    assert [layer.name for layer in trained().layers] == before
    names = [name_of(tensor) for tensor in file.tensors]
    assert len(set(names)) == len(names)
    assert [name_of(tensor) for tensor in file.inputs] == ["x"]
    kernels = ["stem", "depthwise", "pointwise", "wide", "classifier"]
    assert [kernel in layers_of(node.weights) for kernel, node in zip(kernels, file.weighted(), strict=True)] == [
        True
    ] * 5


def test_layers_whose_names_differ_by_a_number_are_not_mixed_up() -> None:
    model = _model(*(layers.Conv2D(filters, 1, name=name) for filters, name in ((5, "a"), (6, "a_1"), (7, "a_1_1"))))
    filters = {layers_of(node.weights)[-2]: shape_of(node.weights)[0] for node in TfliteFile(convert(model)).weighted()}
    assert filters == {"a": 5, "a_1": 6, "a_1_1": 7}


def test_several_inputs_and_outputs() -> None:
    first, second = keras.Input((3,), name="first"), keras.Input((4,), name="second")
    joined = layers.Concatenate()([first, second])
    model = keras.Model({"first": first, "second": second}, [layers.Dense(2)(joined), layers.Dense(3)(joined)])
    file = TfliteFile(convert(model))
    assert [(name_of(tensor), shape_of(tensor)) for tensor in file.inputs] == [("x0", (1, 3)), ("x1", (1, 4))]
    assert [shape_of(tensor) for tensor in file.outputs] == [(1, 2), (1, 3)]


def test_the_same_model_gives_the_same_bytes() -> None:
    assert convert(trained()) == convert(trained())


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (
            _model(layers.LSTM(4, name="memory"), shape=(5, 3)),
            "memory: LSTM: a loop cannot be converted; set unroll=True",
        ),
        (_model(layers.Bidirectional(layers.GRU(4)), shape=(5, 3)), "GRU: a loop cannot be converted"),
        (_model(layers.Conv2D(4, 3), shape=(None, 8, 3)), r"an input has an open dimension.*\[None, None, 8, 3\]"),
        (_model(layers.Lambda(keras.ops.erfinv, name="odd")), "odd: TensorFlow's converter refuses .* 'tf.Erfinv'"),
        (keras.Sequential([layers.Dense(3)], name="open"), "open: the model is not built"),
    ],
)
def test_what_cannot_be_converted_is_named(model: keras.Model, message: str) -> None:
    with pytest.raises(QuantizeError, match=message):
        convert(model)


def test_a_loop_of_operations_is_refused() -> None:
    def loop(x: Any) -> Any:
        return keras.ops.while_loop(lambda y: keras.ops.sum(y) < 10, lambda y: (y + 1,), (x,))[0]

    with pytest.raises(QuantizeError, match="a model with control flow cannot be quantised, found 3 subgraphs"):
        convert(_model(layers.Lambda(loop, output_shape=(3,)), shape=(3,)))


@pytest.mark.parametrize(("request_", "found"), [("crash", "signal 6"), ("hang", "signal 9")])
def test_a_converter_that_crashes_or_hangs_costs_one_line(
    request_: str, found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WORKER", "tests.quantize.failing_worker")
    monkeypatch.setattr(module, "_GRACE_SECONDS", 5 if request_ == "crash" else 0)
    with pytest.raises(ConversionError, match=f"crashed or hung on this model, found {found}; replace the layer"):
        Converter(limit_seconds=0.3 if request_ == "hang" else 60).ask(request_)


def test_after_an_interrupt_the_next_request_gets_a_worker_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "WORKER", "tests.quantize.failing_worker")
    converter = Converter()
    with monkeypatch.context() as patch:
        patch.setattr(module.pickle, "load", interrupt)
        with pytest.raises(KeyboardInterrupt):
            converter.ask("hang")
    with pytest.raises(ConversionError, match="found signal 6"):
        converter.ask("crash")
    converter.close()


def test_another_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(QuantizeError, match="another backend, found jax; set KERAS_BACKEND=tensorflow"):
        convert(trained())
