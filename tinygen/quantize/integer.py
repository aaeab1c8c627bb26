"""A float .tflite as one that computes in integers only: the steps that are the same with and without TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinygen.errors import QuantizeError
from tinygen.ir import Array
from tinygen.quantize.bias_correction import correct_bias
from tinygen.quantize.calibrate import METHODS, Ranges, as_samples, calibrate_tflite
from tinygen.quantize.equalize import equalize
from tinygen.quantize.tflite_file import Node, Operator, TfliteFile, layers_of, with_unique_names
from tinygen.quantize.weights import Bits, check_bits, layer_of, narrow_weights

_FLOATS = (schema.TensorType.FLOAT32, schema.TensorType.FLOAT16)
_NORMALISE = "use BatchNormalization, which is folded into the layer before it"
_ACTIVATE = "use ReLU or hard_swish"
REMEDIES = {
    "LayerNormalization": _NORMALISE,
    "GroupNormalization": _NORMALISE,
    "UnitNormalization": _NORMALISE,
    "RMSNormalization": _NORMALISE,
    "ELU": _ACTIVATE,
    "Activation": _ACTIVATE,
    "Conv3D": "use Conv2D",
}
"""Class of a layer that the quantisers leave in floating point -> what to do."""


@dataclass(frozen=True)
class Settings:
    """How a model is quantised."""

    weights: Bits = 8
    activations: Bits = 8
    per_channel: bool = True
    symmetric: bool = False
    method: str = "minmax"
    equalize: bool = False
    correct_bias: bool = False

    def check(self) -> None:
        """Raise QuantizeError for a setting that there is not, or that does not go with another."""
        check_bits(self.weights)
        widths = {self.activations} if isinstance(self.activations, int) else set(self.activations.values())
        if widths - {8, 16}:
            wrong = min(widths - {8, 16})
            raise QuantizeError("activations cannot have this width", found=str(wrong), expected="8 or 16")
        if self.method not in METHODS:
            raise QuantizeError("unknown method of calibration", found=self.method, expected=", ".join(METHODS))
        if self.activations == 16 and self.method != "minmax":
            raise QuantizeError("activations of 16 bits lose nothing by wide ranges", remedy="use method minmax")
        if 16 in widths and self.weights != 8:
            raise QuantizeError("activations of 16 bits go with weights of 8", found=f"weights {self.weights}")


Quantizer = Callable[[bytes, Ranges, Sequence[Sequence[Array]], Settings], bytes]
"""(float .tflite, ranges of its tensors, samples, settings) -> .tflite with weights of 8 bits."""


@dataclass(frozen=True, eq=False)
class Prepared:
    """A float .tflite with the ranges of its tensors: what is the same whatever bits its activations get."""

    data: bytes
    samples: Sequence[Sequence[Array]]
    ranges: Ranges
    settings: Settings
    quantizer: Quantizer
    classes: Mapping[str, str]

    @property
    def layers(self) -> tuple[str, ...]:
        """The names of the layers with weights, in their order."""
        return tuple(dict.fromkeys(map(layer_of, TfliteFile(self.data).weighted())))

    def integer(self, activations: Bits | None = None) -> bytes:
        """The model in integers, with activations of these bits or of those of the settings; raises QuantizeError."""
        settings = self.settings if activations is None else replace(self.settings, activations=activations)
        settings.check()
        wide = self.quantizer(self.data, self.ranges, self.samples, settings)
        content = narrow_weights(wide, self.data, settings.weights)
        check_integer(content, self.classes)
        return correct_bias(content, self.data, self.samples) if settings.correct_bias else content


def prepare(
    data: bytes,
    x: Array | Sequence[Array],
    settings: Settings,
    quantizer: Quantizer,
    *,
    trained: Ranges | None = None,
    classes: Mapping[str, str] | None = None,
) -> Prepared:
    """The float .tflite, ready to become integers; `trained` ranges come before those seen in the samples `x`.

    `classes` has the class of each Keras layer by its name, for what is said about those that stay in floating point.
    Raises DataError, QuantizeError.
    """
    settings.check()
    data = with_unique_names(data)
    samples = as_samples(TfliteFile(data), x)
    if settings.equalize:
        data = equalize(data)
    ranges = calibrate_tflite(data, x, settings.method, trained)
    if settings.symmetric:
        ranges = {name: symmetric_range(*limits) for name, limits in ranges.items()}
    return Prepared(data, samples, ranges, settings, quantizer, classes or {})


def symmetric_range(low: float, high: float) -> tuple[float, float]:
    """The range around 0 whose 8-bit zero point is 0: -128 to 127 steps."""
    greatest = max(-low, high, float(np.finfo(np.float32).tiny))
    return -greatest * 128 / 127, greatest


def check_integer(data: bytes, classes: Mapping[str, str]) -> None:
    """Raise QuantizeError that names the layers whose operators still compute in floating point."""
    islands: dict[str, list[str]] = {}
    for node in TfliteFile(data).nodes():
        tensors = [tensor for tensor in (*node.inputs, *node.outputs) if tensor is not None]
        moves_in_or_out = node.code in (Operator.QUANTIZE, Operator.DEQUANTIZE)
        if not moves_in_or_out and any(tensor.type in _FLOATS for tensor in tensors):
            islands.setdefault(_layer(node, classes), []).append(node.kind)
    if islands:
        names = [f"{name} ({', '.join(dict.fromkeys(kinds))})" for name, kinds in islands.items()]
        remedies = dict.fromkeys(REMEDIES[kind] for kind in map(classes.get, islands) if kind in REMEDIES)
        raise QuantizeError(
            "layers stay in floating point",
            found=", ".join(names),
            expected="integers throughout",
            remedy=" or ".join(remedies) or "replace them by layers that `tinygen ops` has operators for",
        )


def _layer(node: Node, classes: Mapping[str, str]) -> str:
    """The Keras layer that made an operator, or the part of the model's graph."""
    tensors: list[Any] = [*node.outputs, *(tensor for tensor in node.inputs if tensor is not None)]
    for tensor in tensors:
        known = [part for part in layers_of(tensor) if part in classes]
        if known:
            return known[-1]
    return "/".join(layers_of(tensors[0]))
