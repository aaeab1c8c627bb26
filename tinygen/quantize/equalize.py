"""Cross-layer equalisation: a float .tflite with channels of like range in neighbouring layers, and the same outputs.

A channel that a layer puts out may be divided by a positive number, if what follows up to the next weights scales with
it (ReLU, pooling, flattening), and the next weights for that channel are multiplied by it. The number that makes both
ranges equal lets one scale per tensor serve all channels. Worth it where weights or activations have channels of very
different ranges, as depthwise convolutions have after batch normalisation; with scales per channel it seldom matters.
    Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.1
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinygen.ir import Array
from tinygen.quantize.tflite_file import WEIGHTED, Node, Operator, TfliteFile, name_of, shape_of

_ACTIVATIONS = (schema.ActivationFunctionType.NONE, schema.ActivationFunctionType.RELU)
_SCALING = (
    Operator.RELU,
    Operator.MAX_POOL_2D,
    Operator.AVERAGE_POOL_2D,
    Operator.MEAN,
    Operator.PAD,
    Operator.RESHAPE,
)
"""Operators that scale with their input, channel by channel."""
SWEEPS = 20
"""Times that all pairs are equalised: what is done to one changes its neighbours."""
_ENOUGH = 1e-3
"""Sweeps end when no channel's factor differs from 1 by more."""


@dataclass(frozen=True, eq=False)
class Pair:
    """Two weighted operators with nothing between them that does not scale."""

    first: Node
    second: Node


def equalize(data: bytes) -> bytes:
    """The float .tflite with all such pairs of layers equalised."""
    file = TfliteFile(data)
    found = find_pairs(file)
    for _ in range(SWEEPS):
        if max((_equalize(file, pair) for pair in found), default=0.0) < _ENOUGH:
            break
    return file.to_bytes() if found else data


def find_pairs(file: TfliteFile) -> list[Pair]:
    """The pairs of operators whose channels between them can be scaled."""
    nodes = list(file.nodes())
    uses = Counter(name_of(tensor) for node in nodes for tensor in node.inputs if tensor is not None)
    uses.update(name_of(tensor) for tensor in file.outputs)
    readers = {name_of(tensor): node for node in nodes for tensor in node.inputs if tensor is not None}

    def owned(node: Node) -> bool:
        constants = [tensor for tensor in node.inputs[1:] if tensor is not None]
        return all(file.is_constant(tensor) and uses[name_of(tensor)] == 1 for tensor in constants)

    found = []
    for first in nodes:
        if first.code not in WEIGHTED or not owned(first) or first.activation not in _ACTIVATIONS:
            continue
        second = first
        while uses[name_of(second.outputs[0])] == 1 and name_of(second.outputs[0]) in readers:
            second = readers[name_of(second.outputs[0])]
            if second.code in WEIGHTED or not _scales(file, second):
                break
        if second is not first and second.code in WEIGHTED and owned(second) and _channels_match(first, second):
            found.append(Pair(first, second))
    return found


def _scales(file: TfliteFile, node: Node) -> bool:
    """Whether the operator's output scales with its input, each channel for itself."""
    if node.code not in _SCALING or node.activation not in _ACTIVATIONS:
        return False
    before, after = shape_of(node.inputs[0]), shape_of(node.outputs[0])
    if node.code == Operator.MEAN:
        axes = {int(axis) % len(before) for axis in file.constant(node.inputs[1]).reshape(-1)}
        return len(before) - 1 not in axes
    if node.code == Operator.RESHAPE:  # channels stay the innermost axis, or become its innermost part
        return len(after) > 0 and after[-1] % before[-1] == 0
    return True


def _channels_match(first: Node, second: Node) -> bool:
    """Whether each input channel of the second, or each one in turn, is an output channel of the first."""
    channels = shape_of(first.weights)[first.channel_axis]
    inputs = shape_of(second.weights)[-1]
    if second.code == Operator.FULLY_CONNECTED:
        return inputs % channels == 0
    return inputs == channels == shape_of(second.inputs[0])[-1]  # not in groups, not multiplied


def _equalize(file: TfliteFile, pair: Pair) -> float:
    """Equalise one pair; how far the factors are from 1."""
    first = file.constant(pair.first.weights).astype(np.float64)
    second = file.constant(pair.second.weights).astype(np.float64)
    axis = pair.first.channel_axis
    channels = first.shape[axis]
    split = second.reshape(*second.shape[:-1], -1, channels)  # several inputs have the same channel after flattening
    before, after = _limits(first, axis), _limits(split, split.ndim - 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        factors = np.where((before > 0) & (after > 0), np.sqrt(before / after), 1.0)
    file.set_bytes(pair.first.weights, np.float32(first / _along(factors, first.ndim, axis)))
    file.set_bytes(pair.second.weights, np.float32(split * factors).reshape(second.shape))
    if pair.first.bias is not None:
        file.set_bytes(pair.first.bias, np.float32(file.constant(pair.first.bias) / factors))
    return float(np.abs(factors - 1).max())


def _limits(weights: Array, axis: int) -> Array:
    return np.asarray(np.abs(weights).max(axis=tuple(i for i in range(weights.ndim) if i != axis)))


def _along(values: Array, dimensions: int, axis: int) -> Array:
    return np.reshape(values, [-1 if i == axis else 1 for i in range(dimensions)])
