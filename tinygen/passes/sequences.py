"""Turns a node over sequences into its attributes and constants where time runs along the width of an image.

[1, time, channels], [1, 1, time, channels] and [1, time, 1, channels] are the same bytes: only windows, paddings, joins
and means tell the axes apart.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.ir import ABSENT, Array, Graph, Node, Tensor
from tinygen.ops.mean import Mean
from tinygen.ops.window import Window

HEIGHT, WIDTH, CHANNELS = 1, 2, 3
SEQUENCE_RANK, IMAGE_RANK = 3, 4
CONVOLUTIONS = frozenset({"conv_2d", "depthwise_conv_2d"})
WINDOWED = CONVOLUTIONS | {"average_pool_2d", "max_pool_2d"}
PADDING = frozenset({"pad", "padv2"})
SWAPPED = (0, 2, 1, 3)
"""The axes of an image, or of a filter, with height and width exchanged."""
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Turned:
    """What a node is along the width: constants by their place among its inputs, where they change."""

    attributes: Any
    constants: Mapping[int, Array] = field(default_factory=lambda: MappingProxyType({}))


def steps(tensor: Tensor) -> Shape | None:
    """The steps of time and the channels of a sequence that is given or computed; None if it is none."""
    if tensor.data is not None or tensor.shape[:1] != (1,):
        return None
    if len(tensor.shape) == SEQUENCE_RANK:
        return tensor.shape[1:]
    if len(tensor.shape) == IMAGE_RANK and 1 in tensor.shape[1:3]:
        return tensor.shape[1] * tensor.shape[2], tensor.shape[3]
    return None


def image(tensor: Tensor) -> Shape:
    """The shape of a sequence as an image of one row."""
    return 1, 1, tensor.size // tensor.shape[-1], tensor.shape[-1]


def sequences(graph: Graph, node: Node) -> Iterator[int]:
    """The sequences that a node reads and writes."""
    each = (tensor for tensor in (*node.inputs, *node.outputs) if tensor != ABSENT)
    yield from (tensor for tensor in each if steps(graph.tensors[tensor]))


def turned(graph: Graph, node: Node) -> Turned | None:
    """The node over sequences along the width; None where it is none, or what it does to time is not known."""
    computed = [t for t in node.inputs if t != ABSENT and graph.tensors[t].data is None]
    if not computed or not all(steps(graph.tensors[tensor]) for tensor in computed):
        return None
    if node.op == "mean":
        return _mean(graph, node)
    if not all(steps(graph.tensors[tensor]) for tensor in node.outputs):
        return None
    if node.op in WINDOWED:
        return _window(graph, node)
    if node.op in PADDING:
        return _padding(graph, node)
    if node.op == "concatenation":
        return _join(graph, node)
    return _pixelwise(graph, node) if ops.SPECS[node.op].pixelwise else None


def _exchanged(graph: Graph, node: Node) -> bool | None:
    """Whether height and width of a node's images have to change places; None where no such thing helps."""
    tensors = [graph.tensors[tensor] for tensor in sequences(graph, node)]
    wanted = [image(tensor) for tensor in tensors]
    if [tensor.shape for tensor in tensors] == wanted:
        return False
    exchanged = [tuple(t.shape[i] for i in SWAPPED) for t in tensors if len(t.shape) == IMAGE_RANK]
    return True if exchanged == wanted else None


def _window(graph: Graph, node: Node) -> Turned | None:
    exchanged = _exchanged(graph, node)
    if not exchanged:
        return None if exchanged is None else Turned(node.attributes)
    (top, bottom, left, right), window = node.attributes.window.extra, node.attributes.window
    other = Window(window.padding, window.stride[::-1], window.dilation[::-1], (left, right, top, bottom))
    if node.op not in CONVOLUTIONS:
        return Turned(replace(node.attributes, window=other, kernel=node.attributes.kernel[::-1]))
    weights = graph.tensors[node.inputs[1]].data
    if weights is None:
        return None
    single = weights.shape[1:3] == (1, 1)
    constants = {} if single else {1: np.ascontiguousarray(weights.transpose(SWAPPED))}
    return Turned(replace(node.attributes, window=other), constants)


def _padding(graph: Graph, node: Node) -> Turned | None:
    amounts = graph.tensors[node.inputs[1]].data
    if amounts is None:
        return None
    if len(amounts) == SEQUENCE_RANK:
        return Turned(node.attributes, {1: np.insert(amounts, HEIGHT, 0, axis=0)})
    exchanged = _exchanged(graph, node)
    if not exchanged:
        return None if exchanged is None else Turned(node.attributes)
    return Turned(node.attributes, {1: amounts[list(SWAPPED)]})


def _join(graph: Graph, node: Node) -> Turned | None:
    rank = len(graph.tensors[node.outputs[0]].shape)
    joined = node.attributes.axis % rank
    if any(graph.tensors[tensor].data is not None for tensor in node.inputs) or joined == 0:
        return None
    if joined == rank - 1:
        return Turned(replace(node.attributes, axis=CHANNELS))
    if rank == SEQUENCE_RANK:
        return Turned(replace(node.attributes, axis=WIDTH))
    exchanged = _exchanged(graph, node)
    if exchanged is None:
        return None
    return Turned(replace(node.attributes, axis=SWAPPED[joined] if exchanged else joined))


def _mean(graph: Graph, node: Node) -> Turned | None:
    """A mean over time, of height and width as one."""
    x, y, axes = graph.tensors[node.inputs[0]], graph.tensors[node.outputs[0]], graph.tensors[node.inputs[1]].data
    if axes is None:
        return None
    rank = len(x.shape)
    over = {int(one) % rank for one in axes.ravel()}
    across = set(range(1, rank - 1))
    time = {one for one in across if x.shape[one] == x.size // x.shape[-1]}
    if not over & time or not over <= across:
        return None
    kept = steps(y) is not None
    return Turned(Mean(kept), {1: np.array([HEIGHT, WIDTH], axes.dtype)}) if kept or len(y.shape) == 2 else None


def _pixelwise(graph: Graph, node: Node) -> Turned:
    """A node that computes each step by itself; a constant of several steps lies along the width too."""
    constants: dict[int, Array] = {}
    for place, tensor in enumerate(node.inputs):
        data = graph.tensors[tensor].data if tensor != ABSENT else None
        if data is not None and data.shape[-1:] and data.size > data.shape[-1]:
            constants[place] = data.reshape(1, 1, -1, data.shape[-1])
    return Turned(node.attributes, constants)
