"""A Keras model as the calls of its layers, and as a copy of it with other layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from tinygen.errors import QuantizeError
from tinygen.ir import Array


@dataclass(frozen=True, eq=False)
class Call:
    """One call of a layer (or a plain operation such as `a + b`) on symbolic tensors."""

    layer: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]

    @property
    def kind(self) -> str:
        """The name of the layer's class."""
        return type(self.layer).__name__


def functional(model: keras.Model) -> keras.Model:
    """A functional model of the very layers of `model`; raises QuantizeError."""
    if not getattr(model, "inputs", None) or not getattr(model, "outputs", None):
        raise QuantizeError(
            "the model's layers cannot be seen",
            where=str(getattr(model, "name", "model")),
            found=type(model).__name__,
            expected="a functional or sequential Keras model with a fixed input shape",
        )
    ends = [tensors[0] if len(tensors) == 1 else tensors for tensors in (model.inputs, model.outputs)]
    return keras.Model(*ends, name=model.name)


def calls(model: keras.Model) -> list[Call]:
    """The calls of the layers of a functional or sequential model, inputs first; raises QuantizeError."""
    graph = functional(model)
    depths = sorted(graph._nodes_by_depth, reverse=True)
    nodes = [node for depth in depths for node in graph._nodes_by_depth[depth]]
    return [Call(node.operation, tuple(node.input_tensors), tuple(node.output_tensors)) for node in nodes]


def run(model: keras.Model, x: Any, altered: Callable[[Any, Any], Any]) -> Any:
    """What `model` answers to `x` when the output of each layer is first replaced by altered(layer, output)."""

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        return altered(layer, layer(*arguments, **options))

    return functional(model)._run_through_graph(x, operation_fn=lambda layer: layer, call_fn=call)


def copy_model(model: keras.Model) -> keras.Model:
    """The same model with weights of its own."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def changed(model: keras.Model, settings: dict[str, dict[str, Any]], weights: dict[str, list[Array]]) -> keras.Model:
    """A copy with other `settings` (layer name -> entries of its configuration) and `weights` of the named layers.

    The other layers keep their weights. The name of a layer that is to vanish maps to an empty configuration.
    """

    vanishing = {name for name, entries in settings.items() if not entries}

    def change(layer: Any) -> Any:
        if layer.name in vanishing or not isinstance(layer, keras.Layer):
            return layer
        return type(layer).from_config({**layer.get_config(), **settings.get(layer.name, {})})

    def call(layer: Any, *arguments: Any, **options: Any) -> Any:
        return arguments[0] if layer.name in vanishing else layer(*arguments, **options)

    original = functional(model)
    copy = keras.models.clone_model(original, clone_function=change, call_function=call)
    for layer in original.layers:
        if layer.weights and layer.name not in vanishing:
            copy.get_layer(layer.name).set_weights(weights.get(layer.name, layer.get_weights()))
    return copy


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """The same function without the batch normalisations that directly follow a convolution or dense layer.

    w' = w * gamma / sqrt(variance + epsilon), b' = beta + (b - mean) * gamma / sqrt(variance + epsilon): what a
    converter does too (Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-
    only inference", 2018, section 3.2). Techniques that give weights certain values need this first.
    """
    settings: dict[str, dict[str, Any]] = {}
    weights: dict[str, list[Array]] = {}
    for layer, norm in _folds(model):
        scale, offset = _scale_and_offset(norm)
        kernel, bias = layer.get_weights()[0], layer.get_weights()[1] if layer.use_bias else 0
        settings[layer.name], settings[norm.name] = {"use_bias": True}, {}
        weights[layer.name] = [kernel * _along_outputs(layer, scale), offset + bias * scale]
    return changed(model, settings, weights)


OUTPUT_AXES = {"Conv1D": -1, "Conv2D": -1, "Dense": -1, "Conv1DTranspose": -2, "Conv2DTranspose": -2}
"""Layers with one kernel, and the axis of it that counts the output channels."""
DEPTHWISE = frozenset({"DepthwiseConv1D", "DepthwiseConv2D"})
"""Their kernel ends in [input channels, multiplier]."""


def _along_outputs(layer: Any, scale: Array) -> Array:
    """One number for each output channel, in the shape that multiplies the kernel of `layer`."""
    kernel = layer.get_weights()[0]
    if type(layer).__name__ in DEPTHWISE:
        return np.reshape(scale, kernel.shape[-2:])
    return scale[:, np.newaxis] if OUTPUT_AXES[type(layer).__name__] == -2 else scale


def _folds(model: keras.Model) -> list[tuple[Any, Any]]:
    """(layer, the batch normalisation that alone reads what it gives)."""
    sites = calls(model)
    readers: dict[int, list[Call]] = {}
    for call in sites:
        for tensor in call.inputs:
            readers.setdefault(id(tensor), []).append(call)
    outputs = {id(tensor) for tensor in model.outputs}
    times = [call.layer for call in sites]
    pairs = []
    for call in sites:
        if (call.kind not in OUTPUT_AXES and call.kind not in DEPTHWISE) or call.layer.activation.__name__ != "linear":
            continue
        tensor = call.outputs[0]
        following = readers.get(id(tensor), [])
        if len(following) != 1 or following[0].kind != "BatchNormalization" or id(tensor) in outputs:
            continue
        norm = following[0].layer
        if norm.axis in (-1, len(tensor.shape) - 1) and times.count(call.layer) == times.count(norm) == 1:
            pairs.append((call.layer, norm))
    return pairs


def _scale_and_offset(norm: Any) -> tuple[Array, Array]:
    """The factor and the addend of a batch normalisation at inference, one for each channel."""
    mean, variance = np.asarray(norm.moving_mean), np.asarray(norm.moving_variance)
    gamma = np.asarray(norm.gamma) if norm.scale else np.ones_like(mean)
    beta = np.asarray(norm.beta) if norm.center else np.zeros_like(mean)
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return scale, beta - mean * scale
