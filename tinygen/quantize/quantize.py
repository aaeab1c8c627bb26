"""A float Keras model as an integer .tflite, from some samples and without training.

This is the post-training quantisation of TensorFlow's converter: 8-bit affine activations, 8-bit symmetric weights,
32-bit biases, as specified in
    https://ai.google.dev/edge/litert/conversion/tensorflow/quantization/quantization_spec
    Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference: A whitepaper", 2018
with ranges, weights and biases of our own where the settings ask for them.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras

from tinygen.ir import Array
from tinygen.quantize.calibrate import Ranges, calibrate_tflite, with_ranges
from tinygen.quantize.convert import convert, shared_converter
from tinygen.quantize.float_tflite import with_ai_edge_quantizer
from tinygen.quantize.integer import Prepared, Settings, prepare
from tinygen.quantize.weights import Bits


def quantize(
    model: keras.Model,
    calibration_x: Array | Sequence[Array],
    *,
    weights: Bits = 8,
    activations: Bits = 8,
    per_channel: bool = True,
    symmetric: bool = False,
    method: str = "minmax",
    equalize: bool = False,
    correct_bias: bool = False,
) -> bytes:
    """The model as .tflite in integers; the same arguments give the same bytes.

    calibration_x   samples (one array per input of the model) that are like those the model will see
    weights         8 or 4 bits, for all layers or by patterns of their names: {"conv*": 4}; the last that matches
                    counts, where none does it is 8; layers besides convolutions and dense ones always have 8
    activations     8 or 16 bits, for the whole model or by patterns of the names of layers with weights:
                    {"classifier": 16}; operators without weights between such layers have 16 too, the model's inputs
                    and outputs and all else have 8; what goes from one to the other is converted on its way
    per_channel     one scale for each output channel of the weights, or one for a whole layer
    symmetric       zero points of activations are 0: simpler arithmetic, and half the steps are lost on outputs of ReLU
    method          how ranges of activations follow from the samples: see tinygen.quantize.calibrate
    equalize        first equalise the ranges of neighbouring layers: see tinygen.quantize.equalize
    correct_bias    afterwards correct the means of the layers' outputs: see tinygen.quantize.bias_correction

    Raises DataError, QuantizeError; ConversionError when TensorFlow's converter fails.
    """
    settings = Settings(weights, activations, per_channel, symmetric, method, equalize, correct_bias)
    return prepare_keras(model, calibration_x, settings).integer()


def prepare_keras(model: keras.Model, calibration_x: Array | Sequence[Array], settings: Settings) -> Prepared:
    """The model converted and calibrated, for many ways to make it integers; raises as `quantize` does."""
    settings.check()
    return prepare(convert(model), calibration_x, settings, with_converter, classes=classes_of(model))


def calibrate(model: keras.Model, x: Array | Sequence[Array], method: str = "minmax") -> Ranges:
    """The ranges of all tensors of the model as converted: see tinygen.quantize.calibrate."""
    return calibrate_tflite(convert(model), x, method)


def with_converter(data: bytes, ranges: Ranges, samples: Sequence[Sequence[Array]], settings: Settings) -> bytes:
    """The float .tflite with 8-bit weights by TensorFlow's converter, which knows one width for all activations."""
    if not isinstance(settings.activations, int):
        return with_ai_edge_quantizer(data, ranges, samples, settings)
    if settings.activations == 16:
        return shared_converter().ask("int16", data, samples, settings.per_channel)
    return shared_converter().ask("int8", with_ranges(data, ranges), settings.per_channel)


def classes_of(model: keras.Model) -> dict[str, str]:
    """The class of each layer by its name."""
    inner = [layer for layer in model._flatten_layers() if not isinstance(layer, keras.Model)]
    return {layer.name: type(layer).__name__ for layer in inner}
