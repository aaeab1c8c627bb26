"""Bias correction: an integer .tflite whose layers have the mean outputs of the float model.

Rounding of weights shifts the mean of an output channel by the sum of its rounding errors times the means of its
inputs; the bias takes that back. It matters most with few weights per channel (depthwise) and few bits.
    Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.2;
    here the means are those of the calibration samples, and padding counts as if it were input.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tinygen.ir import Array
from tinygen.quantize.calibrate import activations
from tinygen.quantize.tflite_file import Node, Operator, TfliteFile, name_of, scales_of
from tinygen.quantize.weights import integer_weights, pairs, real_bias, set_bias_scales


def correct_bias(integer: bytes, original: bytes, samples: Sequence[Sequence[Array]]) -> bytes:
    """The integer .tflite with corrected biases; `original` is the float model that it was made from."""
    file, source = TfliteFile(integer), TfliteFile(original)
    inputs = {name_of(node.weights): name_of(node.inputs[0]) for node in source.weighted()}
    means = _means(original, samples, set(inputs.values()))
    for node, weights in pairs(file, source):
        if node.bias is not None:
            shift = _shift(node, _real(file, node) - weights, means[inputs[name_of(node.weights)]])
            set_bias_scales(file, node, real_bias(file, node) - shift)
    return file.to_bytes()


def _means(data: bytes, samples: Sequence[Sequence[Array]], names: set[str]) -> dict[str, Array]:
    """The mean of each channel (last axis) of the named tensors."""
    sums: dict[str, Array] = {}
    for values in activations(data, samples):
        for name in names:
            mean = values[name].reshape(-1, values[name].shape[-1]).mean(axis=0, dtype=np.float64)
            sums[name] = sums.get(name, 0.0) + mean
    return {name: total / len(samples) for name, total in sums.items()}


def _real(file: TfliteFile, node: Node) -> Array:
    """The operator's weights as reals."""
    steps = integer_weights(file, node.weights)
    shape = [-1 if axis == node.channel_axis else 1 for axis in range(steps.ndim)]
    return steps * scales_of(node.weights).astype(np.float64).reshape(shape)


def _shift(node: Node, errors: Array, means: Array) -> Array:
    """What the errors of the weights add to the mean of each output channel."""
    if node.code == Operator.DEPTHWISE_CONV_2D:
        multiplier = errors.shape[-1] // len(means)
        return np.asarray(errors.sum(axis=(0, 1, 2)) * np.repeat(means, multiplier))
    return np.asarray((errors.reshape(len(errors), -1, len(means)) * means).sum(axis=(1, 2)))
