"""A Keras model as one that computes with rounded weights and activations, and still has gradients.

Forward, each value is rounded to the grid that the integer model will have; backward, the rounding counts as the
identity (a straight-through estimator). Ranges of activations are moving averages over the batches of the training.
    Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR
    2018, section 3
Both models have the same layers: what is trained through the one is found in the other.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from tinygen.errors import QuantizeError
from tinygen.ir import Array
from tinygen.quantize.calibrate import Ranges
from tinygen.quantize.keras_graph import Call, calls, functional
from tinygen.quantize.weights import GREATEST, Bits, best_scales, check_bits

MOMENTUM = 0.99
"""Of the moving averages of ranges."""
_LAST, _INPUT_SIDE, _DEPTHWISE = (-1,), (-2,), (-2, -1)
KERNELS: Mapping[str, Mapping[str, tuple[int, ...]]] = {
    "Conv1D": {"kernel": _LAST},
    "Conv2D": {"kernel": _LAST},
    "Dense": {"kernel": _LAST},
    "Conv2DTranspose": {"kernel": _INPUT_SIDE},
    "DepthwiseConv1D": {"kernel": _DEPTHWISE},
    "DepthwiseConv2D": {"kernel": _DEPTHWISE},
    "SeparableConv1D": {"depthwise_kernel": _DEPTHWISE, "pointwise_kernel": _LAST},
    "SeparableConv2D": {"depthwise_kernel": _DEPTHWISE, "pointwise_kernel": _LAST},
}
"""Class of a layer -> its weights to be rounded, each with the axes that count its output channels."""
_ALWAYS_8_BITS = ("Conv2DTranspose",)
_MOVING = (
    *("InputLayer", "Dropout", "SpatialDropout1D", "SpatialDropout2D", "GaussianDropout", "GaussianNoise", "Identity"),
    *("Flatten", "Reshape", "Permute", "RepeatVector", "ZeroPadding1D", "ZeroPadding2D", "Cropping1D", "Cropping2D"),
    *("MaxPooling1D", "MaxPooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D", "UpSampling1D"),
)
"""Layers whose outputs are values of their inputs, and have the same scale."""
_RECTIFIERS = ("relu", "relu6")
_FIXED = ("softmax", "sigmoid", "tanh")
"""Activations whose outputs have a scale by definition."""


@dataclass(frozen=True, eq=False)
class FakeQuantized:
    """A model for training, `rounded`, and the `plain` one that shares its layers."""

    rounded: keras.Model
    plain: keras.Model
    weights: Bits
    per_channel: bool

    def ranges(self) -> Ranges:
        """Layer name -> range of its output, as averaged so far."""
        observers = [layer for layer in self.rounded.layers if isinstance(layer, ActivationRounder)]
        return {layer.observed: (float(layer.low.numpy()), float(layer.high.numpy())) for layer in observers}

    def bake(self) -> None:
        """Round the weights of `plain` to their grids for good."""
        for layer in self.rounded.layers:
            if isinstance(layer, WeightRounder):
                layer.kernels = [kernel.baked() for kernel in layer.kernels]


def fake_quantize(model: keras.Model, *, weights: Bits = 8, per_channel: bool = True) -> FakeQuantized:
    """`model` (batch normalisation folded already) with its weights and activations rounded; its layers are shared.

    Activations have 8 bits. Raises QuantizeError.
    """
    check_bits(weights)
    plain = functional(model)
    sites = calls(plain)
    _check_layers(sites, weights)
    watched = observed_layers(sites, plain)

    def round_weights(layer: Any) -> Any:
        kind = type(layer).__name__
        if kind not in KERNELS:
            return layer
        return WeightRounder(layer, _bits(layer, weights), per_channel)

    def round_outputs(layer: Any, *arguments: Any, **options: Any) -> Any:
        own = layer.inner if isinstance(layer, WeightRounder) else layer
        outputs = layer(*arguments, **options)
        return ActivationRounder(own.name)(outputs) if own.name in watched else outputs

    rounded = keras.models.clone_model(plain, clone_function=round_weights, call_function=round_outputs)
    return FakeQuantized(rounded, plain, weights, per_channel)


@dataclass(frozen=True, eq=False)
class Kernel:
    """Weights of a layer and the grid that they are rounded to: each row is what has a scale of its own."""

    variable: Any
    axes: tuple[int, ...]
    """The axes along which scales differ."""
    greatest: int
    parts: Array
    """For each row, the greatest value of its grid as a part of the greatest weight; 8 bits have 1."""

    def rounded(self, values: Array) -> Array:
        """The values on their grids."""
        reduced = tuple(axis for axis in range(values.ndim) if axis not in self.axes)
        limits = np.abs(values).max(axis=reduced, keepdims=True) * self.parts
        scales = np.where(limits > 0, limits, 1.0).astype(np.float32) / np.float32(self.greatest)
        return np.asarray(np.clip(np.round(values / scales), -self.greatest, self.greatest) * scales)

    def baked(self) -> Kernel:
        """The kernel with its weights rounded for good: the greatest of each row now is that of its grid."""
        self.variable.assign(self.rounded(np.asarray(self.variable)))
        return replace(self, parts=np.ones_like(self.parts))

    def straight_through(self) -> Any:
        """The same in the graph, with the gradient of the identity."""
        values = self.variable.value
        reduced = tuple(axis for axis in range(len(values.shape)) if axis not in self.axes)
        limits = keras.ops.max(keras.ops.abs(values), axis=reduced, keepdims=True) * self.parts
        scales = keras.ops.where(limits > 0, limits, 1.0) / self.greatest
        steps = keras.ops.clip(keras.ops.round(values / scales), -self.greatest, self.greatest)
        return values + keras.ops.stop_gradient(steps * scales - values)


class WeightRounder(keras.layers.Layer):  # type: ignore[misc]
    """Calls a layer with its weights rounded."""

    def __init__(self, inner: Any, bits: int, per_channel: bool) -> None:
        super().__init__(name=f"{inner.name}_weights")
        self.inner = inner
        self.bits = bits
        self.kernels = [
            _kernel(getattr(inner, name), axes if per_channel else (), bits)
            for name, axes in KERNELS[type(inner).__name__].items()
        ]

    def call(self, inputs: Any) -> Any:
        """The layer's output with weights on their grids."""
        replaced = [(kernel.variable, kernel.straight_through()) for kernel in self.kernels]
        with keras.StatelessScope(state_mapping=replaced):
            return self.inner(inputs)


class ActivationRounder(keras.layers.Layer):  # type: ignore[misc]
    """Rounds what a layer puts out to 256 values in a range that follows the batches."""

    def __init__(self, observed: str) -> None:
        super().__init__(name=f"{observed}_range")
        self.observed = observed
        self.low = self.add_weight(shape=(), initializer="zeros", trainable=False, name="low")
        self.high = self.add_weight(shape=(), initializer="zeros", trainable=False, name="high")
        self.batches = self.add_weight(shape=(), initializer="zeros", trainable=False, name="batches")

    def call(self, inputs: Any, training: bool = False) -> Any:
        """The inputs rounded; in training the range first moves towards theirs, at once for the first batch."""
        if training:
            momentum = keras.ops.minimum(MOMENTUM, self.batches / (self.batches + 1))
            low = keras.ops.minimum(keras.ops.min(inputs), 0.0)
            high = keras.ops.maximum(keras.ops.max(inputs), 0.0)
            self.low.assign(momentum * self.low + (1 - momentum) * low)
            self.high.assign(momentum * self.high + (1 - momentum) * high)
            self.batches.assign_add(1.0)
        return tf.quantization.fake_quant_with_min_max_vars(inputs, self.low.value, self.high.value, num_bits=8)


def observed_layers(sites: list[Call], model: keras.Model) -> set[str]:
    """Names of the layers whose outputs become tensors with a range of their own."""
    readers: dict[int, list[Call]] = {}
    for call in sites:
        for tensor in call.inputs:
            readers.setdefault(id(tensor), []).append(call)
    names = [call.layer.name for call in sites]
    outputs = {id(tensor) for tensor in model.outputs}
    found = set()
    for call in sites:
        following = readers.get(id(call.outputs[0]), [])
        fused = len(following) == 1 and id(call.outputs[0]) not in outputs and _merges(call, following[0])
        moves = call.kind in _MOVING or len(call.outputs) > 1
        called_once = names.count(call.layer.name) == 1  # else one range would have to serve several tensors
        if called_once and not moves and not fused and _activation(call) not in _FIXED:
            found.add(call.layer.name)
    return found


def _merges(call: Call, following: Call) -> bool:
    """Whether the converter merges what follows into an operator of this layer."""
    normalised = call.kind in KERNELS and following.kind == "BatchNormalization"
    return normalised or _activation(following) in _RECTIFIERS


def _activation(call: Call) -> str:
    """The activation function that a layer is, or ends in."""
    if call.kind == "ReLU":
        plain = call.layer.negative_slope == 0 and call.layer.threshold == 0
        return "relu" if plain and call.layer.max_value in (None, 6) else ""
    if call.kind == "Softmax":
        return "softmax"
    return getattr(getattr(call.layer, "activation", None), "__name__", "")


def _bits(layer: Any, weights: Bits) -> int:
    if type(layer).__name__ in _ALWAYS_8_BITS:
        return 8
    if isinstance(weights, int):
        return weights
    widths = [width for pattern, width in weights.items() if fnmatch.fnmatchcase(layer.name, pattern)]
    return widths[-1] if widths else 8


def _kernel(variable: Any, axes: tuple[int, ...], bits: int) -> Kernel:
    values = np.asarray(variable)
    kept = tuple(axis % values.ndim for axis in axes)
    shape = tuple(values.shape[axis] if axis in kept else 1 for axis in range(values.ndim))
    if bits == 8:
        return Kernel(variable, kept, GREATEST[8], np.ones(shape, np.float32))
    rows = np.moveaxis(values, kept, range(len(kept))).reshape(int(np.prod(shape)), -1)
    limits = np.abs(rows).max(axis=1)
    parts = np.where(
        limits > 0, best_scales(rows, GREATEST[bits]) * GREATEST[bits] / np.where(limits > 0, limits, 1), 1
    )
    return Kernel(variable, kept, GREATEST[bits], parts.reshape(shape).astype(np.float32))


def _check_layers(sites: list[Call], weights: Bits) -> None:
    layers = {call.layer.name: call for call in sites}
    for name, call in layers.items():
        if isinstance(call.layer, keras.Model):
            raise QuantizeError(
                "layers of a model inside the model cannot be rounded", where=name, remedy="build it of its layers"
            )
    rounded = [name for name, call in layers.items() if call.kind in KERNELS]
    if not rounded:
        raise QuantizeError("no layer has weights to be rounded", expected=" or ".join(KERNELS))
    for pattern in weights if isinstance(weights, Mapping) else ():
        if not fnmatch.filter(rounded, pattern):
            raise QuantizeError(
                "no layer with weights has such a name",
                found=pattern,
                expected=f"a pattern for one of {', '.join(rounded)}",
            )
