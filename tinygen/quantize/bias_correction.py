"""Bias correction: an integer .tflite whose layers have the mean outputs of the float model.

Rounding of weights shifts the mean of an output channel by the sum of its rounding errors times the means of its
inputs; the bias takes that back. It matters most with few weights per channel (depthwise) and few bits.
    Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.2;
    here the means are those of the calibration samples, for each place of a filter because of the padding.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinygen.ir import Array
from tinygen.quantize.calibrate import activations
from tinygen.quantize.tflite_file import Node, Operator, TfliteFile, name_of, scales_of, shape_of
from tinygen.quantize.weights import integer_weights, pairs, real_bias, set_bias_scales


def correct_bias(integer: bytes, original: bytes, samples: Sequence[Sequence[Array]]) -> bytes:
    """The integer .tflite with corrected biases; `original` is the float model that it was made from."""
    file, source = TfliteFile(integer), TfliteFile(original)
    means = _means(original, source.weighted(), samples)
    for node, weights in pairs(file, source):
        if node.bias is not None:
            shift = _shift(node, _real(file, node) - weights, means[name_of(node.weights)])
            set_bias_scales(file, node, real_bias(file, node) - shift)
    return file.to_bytes()


def _means(data: bytes, nodes: Sequence[Node], samples: Sequence[Sequence[Array]]) -> dict[str, Array]:
    """Name of an operator's weights -> the mean of what each weight of a filter is multiplied by."""
    sums: dict[str, Array] = {}
    for values in activations(data, samples):
        for node in nodes:
            name = name_of(node.weights)
            sums[name] = sums.get(name, 0.0) + _mean_patch(node, values[name_of(node.inputs[0])].astype(np.float64))
    return {name: total / len(samples) for name, total in sums.items()}


def _mean_patch(node: Node, values: Array) -> Array:
    """The mean of the inputs under a filter, over its positions: [height, width, channels], or [features]."""
    if node.code == Operator.FULLY_CONNECTED:
        return np.asarray(values.reshape(-1, shape_of(node.weights)[-1]).mean(axis=0))
    options = node.record.builtinOptions
    size, (height, width) = shape_of(node.weights)[1:3], shape_of(node.outputs[0])[1:3]
    rows = _taps(values.shape[1], height, size[0], options.strideH, options.dilationHFactor, options.padding)
    columns = _taps(values.shape[2], width, size[1], options.strideW, options.dilationWFactor, options.padding)
    padded = np.pad(values, ((0, 0), (1, 0), (1, 0), (0, 0)))  # index 0 is outside
    means = [[padded[:, row][:, :, column].mean(axis=(0, 1, 2)) for column in columns] for row in rows]
    return np.array(means)


def _taps(inputs: int, outputs: int, taps: int, stride: int, dilation: int, padding: int) -> list[Array]:
    """For each tap of a filter along one axis, 1 + the index of its input at each output; 0 outside."""
    reach = (outputs - 1) * stride + (taps - 1) * dilation + 1
    before = max(reach - inputs, 0) // 2 if padding == schema.Padding.SAME else 0
    starts = np.arange(outputs) * stride - before
    indices = [starts + tap * dilation for tap in range(taps)]
    return [np.where((index >= 0) & (index < inputs), index + 1, 0) for index in indices]


def _real(file: TfliteFile, node: Node) -> Array:
    """The operator's weights as reals."""
    steps = integer_weights(file, node.weights)
    shape = [-1 if axis == node.channel_axis else 1 for axis in range(steps.ndim)]
    return steps * scales_of(node.weights).astype(np.float64).reshape(shape)


def _shift(node: Node, errors: Array, means: Array) -> Array:
    """What the errors of the weights add to the mean of each output channel."""
    if node.code == Operator.DEPTHWISE_CONV_2D:
        multiplier = errors.shape[-1] // means.shape[-1]
        return np.asarray((errors[0] * np.repeat(means, multiplier, axis=-1)).sum(axis=(0, 1)))
    groups = means.shape[-1] // errors.shape[-1]
    of_groups = (
        errors.reshape(groups, -1, *errors.shape[1:]) * np.stack(np.split(means, groups, axis=-1))[:, np.newaxis]
    )
    return np.asarray(of_groups.reshape(len(errors), -1).sum(axis=1))
