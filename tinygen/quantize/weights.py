"""The 8-bit weights of an integer .tflite as 4-bit ones where that is wanted, made anew from the float model.

Weights are symmetric, -7 to 7, two in a byte as the format has it. The scale of a channel is the one with the least
squared error among parts of the full range: at 4 bits a coarser step costs more than clipping a few large weights.
    Banner et al., "Post-training 4-bit Quantization of Convolution Networks for Rapid-Deployment", NeurIPS 2019
Weights that lie on such a grid already, as after training with it, stay what they are.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tinygen.errors import QuantizeError
from tinygen.ir import Array
from tinygen.quantize.tflite_file import Node, TfliteFile, layers_of, name_of, scales_of, shape_of

Bits = int | Mapping[str, int]
"""Bits of all layers with weights, or of those whose name matches a pattern such as `conv*` (others have 8)."""
WIDTHS = (8, 4)
GREATEST = {8: 127, 4: 7}
"""Bits -> the greatest weight; the least is its negative."""
_PARTS = np.linspace(1, 0.4, 61)
"""Parts of a channel's greatest weight that are tried as the greatest of its grid."""
_OPERATIONS = ("convolution", "depthwise", "MatMul")
"""What TensorFlow calls the operation that has the weights, behind the layer's name."""


def check_bits(bits: Bits) -> None:
    """Raise QuantizeError for widths that there are not."""
    for width in [bits] if isinstance(bits, int) else bits.values():
        if width not in WIDTHS:
            raise QuantizeError("weights cannot have this width", found=f"{width} bits", expected="8 or 4 bits")


def bits_of(node: Node, bits: Bits) -> int:
    """The width for an operator with weights; of several patterns that match, the last one counts."""
    if isinstance(bits, int):
        return bits
    names = {*layers_of(node.weights), layer_of(node)}
    widths = [width for pattern, width in bits.items() if any(fnmatch.fnmatchcase(name, pattern) for name in names)]
    return widths[-1] if widths else 8


def layer_of(node: Node) -> str:
    """The name of the layer that has the operator's weights."""
    segments = [segment.split("/") for segment in name_of(node.weights).split(";")]
    own = [segment for segment in segments if segment[-1].startswith(_OPERATIONS)]
    path = (own or segments)[0]
    return path[-2] if len(path) > 1 else path[0]


def narrow_weights(integer: bytes, original: bytes, bits: Bits) -> bytes:
    """The integer .tflite with 4-bit weights where `bits` says so; `original` is the float model it was made from."""
    file, source = TfliteFile(integer), TfliteFile(original)
    check_patterns(source, bits)
    chosen = [(node, weights) for node, weights in pairs(file, source) if bits_of(node, bits) == 4]
    for node, weights in chosen:
        if node.weights.type != schema.TensorType.INT4:  # else another operator has the same weights
            _narrow(file, node, weights)
    return file.to_bytes() if chosen else integer


def pairs(file: TfliteFile, source: TfliteFile) -> Iterator[tuple[Node, Array]]:
    """Each operator of the integer file with weights, and these weights in the float file."""
    floats = {name_of(node.weights): source.constant(node.weights) for node in source.weighted()}
    for node in file.weighted():
        if name_of(node.weights) not in floats:
            raise QuantizeError("the float weights of an operator are not in the model", where=name_of(node.weights))
        yield node, floats[name_of(node.weights)]


def best_scales(rows: Array, greatest: int) -> Array:
    """[rows] float32: for each row of weights the step of the grid -greatest..greatest with the least squared error."""
    limits = np.abs(rows).max(axis=1)
    limits = np.where(limits > 0, limits, 1.0)
    least = np.full(len(rows), np.inf)
    chosen = np.zeros(len(rows), np.float32)
    for part in _PARTS:
        scales = (limits * part / greatest).astype(np.float32)
        grid = scales[:, None] * on_grid(rows, scales, greatest)
        errors = ((grid - rows) ** 2).sum(axis=1)
        better = errors < least * (1 - 1e-6)  # a grid that fits but for the last bit of a float is as good as any
        least, chosen = np.where(better, errors, least), np.where(better, scales, chosen)
    return chosen


def on_grid(rows: Array, scales: Array, greatest: int) -> Array:
    """The rows of weights in steps of their scales."""
    return np.clip(np.round(rows / scales[:, None]), -greatest, greatest)


def pack_nibbles(values: Array) -> Array:
    """Values from -8 to 7 as bytes, the first of two in the low half."""
    flat = values.astype(np.int8).reshape(-1)
    even = np.append(flat, np.zeros(flat.size % 2, np.int8)).astype(np.uint8)
    return (even[0::2] & 15) | (even[1::2] << 4)


def unpack_nibbles(data: Array, count: int) -> Array:
    """The inverse of pack_nibbles."""
    pairs_of_values = np.stack([data << 4, data & 0xF0], axis=1).astype(np.uint8).view(np.int8) >> 4
    return pairs_of_values.reshape(-1)[:count]


def integer_weights(file: TfliteFile, tensor: Any) -> Array:
    """The weights of 8 or 4 bits as int8."""
    if tensor.type != schema.TensorType.INT4:
        return file.constant(tensor)
    shape = shape_of(tensor)
    packed = np.asarray(file.model.buffers[tensor.buffer].data, np.uint8)
    return unpack_nibbles(packed, int(np.prod(shape))).reshape(shape)


def set_bias_scales(file: TfliteFile, node: Node, bias: Array) -> None:
    """Store the real `bias` of an operator by the scales of its input and weights, as the format demands."""
    scales = scales_of(node.inputs[0]) * scales_of(node.weights)
    limits = np.iinfo(file.constant(node.bias).dtype)
    node.bias.quantization.scale = scales
    node.bias.quantization.zeroPoint = np.zeros(len(scales), np.int64)
    file.set_bytes(
        node.bias, np.clip(np.round(bias / scales.astype(np.float64)), limits.min, limits.max).astype(limits.dtype)
    )


def real_bias(file: TfliteFile, node: Node) -> Array:
    """The operator's bias as reals."""
    return file.constant(node.bias) * scales_of(node.bias).astype(np.float64)


def _narrow(file: TfliteFile, node: Node, weights: Array) -> None:
    bias = real_bias(file, node) if node.bias is not None else None
    channels = weights.shape[node.channel_axis]
    per_channel = len(scales_of(node.weights)) > 1 or channels == 1
    rows = np.moveaxis(weights, node.channel_axis, 0).reshape(channels if per_channel else 1, -1)
    scales = best_scales(rows.astype(np.float64), GREATEST[4])
    steps = on_grid(rows, scales, GREATEST[4]).reshape(np.moveaxis(weights, node.channel_axis, 0).shape)
    file.set_bytes(node.weights, pack_nibbles(np.moveaxis(steps, 0, node.channel_axis)))
    node.weights.type = schema.TensorType.INT4
    node.weights.quantization.scale = scales
    node.weights.quantization.zeroPoint = np.zeros(len(scales), np.int64)
    if bias is not None:
        set_bias_scales(file, node, bias)


def check_patterns(source: TfliteFile, bits: Bits) -> None:
    """Raise QuantizeError for a pattern that no layer with weights matches."""
    if isinstance(bits, int):
        return
    nodes = source.weighted()
    for pattern in bits:
        if not any(bits_of(node, {pattern: 4}) == 4 for node in nodes):
            raise QuantizeError(
                "no layer with weights has such a name",
                found=pattern,
                expected="a pattern for one of " + ", ".join(dict.fromkeys(layer_of(node) for node in nodes)),
            )
