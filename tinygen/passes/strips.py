"""Turns the first layers of a graph into the same layers on strips of their columns, one strip after another.

Each strip reads the columns that its outputs need: a halo of columns is computed by two strips. What a strip leaves is
joined to what those before it left, so that each is one run of rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count, pairwise
from typing import Any

import numpy as np

from tinygen import ops
from tinygen.ir import ABSENT, Array, Columns, Graph, Node, Tensor
from tinygen.ops.concatenation import Concatenation
from tinygen.ops.spec import Context, NoAttributes, context_of
from tinygen.ops.window import Geometry, Window, convolution_geometry
from tinygen.quant import Numerics

WINDOWED = frozenset({"conv_2d", "depthwise_conv_2d"})
"""Operators for which a padded column counts as the zero point, so that each side may be padded by itself."""
IMAGE_RANK, WIDTH = 4, 2
Span = tuple[int, int]
"""Columns: the first, and the one behind the last."""


@dataclass(frozen=True)
class Stage:
    """The layers up to node `last`, computed in so many strips."""

    last: int
    strips: int


def can_end(graph: Graph) -> list[int]:
    """The nodes up to which a graph can be computed in strips: what comes behind reads nothing else of them."""
    found: list[int] = []
    consumers = graph.consumers()
    for last, node in enumerate(graph.nodes[:-1]):
        if not _is_local(context_of(graph, node, Numerics.TFLITE)):
            break
        if _is_closed(graph, consumers, last):
            found.append(last)
    return found


def possible(graph: Graph, stage: Stage) -> bool:
    """Whether each strip has a column at least, and of each tensor it reads one."""
    width = graph.tensors[graph.nodes[stage.last].outputs[0]].shape[WIDTH]
    spans = (span for wanted in bounds(width, stage.strips) for span in reads(graph, stage.last, wanted).values())
    return width >= stage.strips and all(first < end for first, end in spans)


def in_strips(graph: Graph, stage: Stage) -> Graph:
    """The graph with a stage in strips, each of which has an input of its own: the same once more."""
    return _Strips(graph, stage).graph()


def bounds(width: int, strips: int) -> list[Span]:
    """The columns of each strip of an output."""
    edges = [strip * width // strips for strip in range(strips + 1)]
    return list(pairwise(edges))


def reads(graph: Graph, last: int, wanted: Span) -> dict[int, Span]:
    """Tensor -> the columns of it that the wanted columns of node `last`'s output need."""
    found = {graph.nodes[last].outputs[0]: wanted}
    for node in reversed(graph.nodes[: last + 1]):
        for tensor in _sources(graph, node):
            first, end = _columns(context_of(graph, node, Numerics.TFLITE), found[node.outputs[0]])
            before = found.get(tensor, (first, end))
            found[tensor] = min(first, before[0]), max(end, before[1])
    return found


def _is_closed(graph: Graph, consumers: Mapping[int, Sequence[int]], last: int) -> bool:
    """Whether the nodes up to this one leave nothing but its output, and read one input of the model."""
    inside = graph.nodes[: last + 1]
    made = [node.outputs[0] for node in inside[:-1]]
    used = all(consumers.get(tensor) and consumers[tensor][-1] <= last for tensor in (*graph.inputs, *made))
    return used and len(graph.inputs) == 1 and graph.outputs != graph.inputs and not set(made) & set(graph.outputs)


def _is_local(context: Context) -> bool:
    """Whether a column of the output needs some columns of the input only, at any place the same way."""
    node = context.node
    images = [context.tensors[t] for t in (*_run_time(context), *node.outputs)]
    if any(len(tensor.shape) != IMAGE_RANK or tensor.shape[0] != 1 for tensor in images) or len(node.outputs) > 1:
        return False
    if node.op in WINDOWED:
        return True
    pixelwise = ops.SPECS[node.op].pixelwise
    if pixelwise is None or not pixelwise(context):
        return False
    constants = (t for t in context.inputs if t.data is not None and len(t.shape) > 1)
    same = all(tensor.shape[:3] == context.output.shape[:3] for tensor in images)
    return same and all(tensor.shape[-2] == 1 for tensor in constants)


def _run_time(context: Context) -> list[int]:
    return [t for t in dict.fromkeys(context.node.inputs) if t != ABSENT and context.tensors[t].data is None]


def _sources(graph: Graph, node: Node) -> list[int]:
    """The tensors that a node reads, but for constants."""
    return _run_time(context_of(graph, node, Numerics.TFLITE))


def _columns(context: Context, wanted: Span) -> Span:
    """The columns of its inputs that a node needs for the wanted ones of its output."""
    if context.node.op not in WINDOWED:
        return wanted
    window = convolution_geometry(context)
    first, end = _reach(window, wanted)
    return max(0, first), min(window.input[1], end)


def _reach(window: Geometry, wanted: Span) -> Span:
    """The same with those outside of the input."""
    reach = (window.kernel[1] - 1) * window.dilation[1] + 1
    return wanted[0] * window.stride[1] - window.pad[1], (wanted[1] - 1) * window.stride[1] - window.pad[1] + reach


class _Strips:
    """The nodes and tensors of a graph with a stage in strips."""

    def __init__(self, graph: Graph, stage: Stage) -> None:
        self.source, self.stage = graph, stage
        self.tensors: dict[int, Tensor] = {}
        self.inputs: list[int] = []
        self.strips: list[list[Node]] = []
        self._ids = count(max(graph.tensors) + 1)
        result = graph.tensors[self.result].shape[WIDTH]
        done = None
        for span in bounds(result, stage.strips):
            self.strips.append([])
            done = self._strip(span, done, whole=span[1] == result)

    @property
    def result(self) -> int:
        """The tensor that the stage leaves."""
        return self.source.nodes[self.stage.last].outputs[0]

    def graph(self) -> Graph:
        """All of it."""
        nodes = (*(node for strip in self.strips for node in strip), *self.source.nodes[self.stage.last + 1 :])
        return replace(self.source.with_nodes(nodes, self.tensors.values()), inputs=tuple(self.inputs))

    def _strip(self, span: Span, done: int | None, whole: bool) -> int:
        """The nodes that make the columns of one strip, behind those that are `done`."""
        needed = reads(self.source, self.stage.last, span)
        [given] = self.source.inputs
        held = {given: (self._input(given), (0, self.source.tensors[given].shape[WIDTH]))}
        for node in self.source.nodes[: self.stage.last + 1]:
            [output] = node.outputs
            made = self._new(output, needed[output])
            self._node(node, held, made, needed[output])
            held[output] = made, needed[output]
        own = held[self.result][0]
        if done is None:
            return own
        joined = self.result if whole else self._new(self.result, (0, span[1]))
        location = f"{self.source.nodes[self.stage.last].location} joined"
        self._append(Node("concatenation", (done, own), (joined,), Concatenation(WIDTH, "NONE"), location))
        return joined

    def _append(self, node: Node) -> None:
        self.strips[-1].append(node)

    def _input(self, given: int) -> int:
        """The input that a strip reads."""
        width = self.source.tensors[given].shape[WIDTH]
        self.inputs.append(self._new(given, (0, width)) if self.inputs else given)
        return self.inputs[-1]

    def _node(self, node: Node, held: Mapping[int, tuple[int, Span]], made: int, wanted: Span) -> None:
        """A node on the columns that make the wanted ones."""
        context = context_of(self.source, node, Numerics.TFLITE)
        columns = _columns(context, wanted)
        inputs = tuple(self._cut(*held[t], columns, t, node) if t in held else t for t in node.inputs)
        location = f"{node.location} columns {wanted[0]} to {wanted[1] - 1}"
        attributes = _on_strip(context, wanted) if node.op in WINDOWED else node.attributes
        self._append(Node(node.op, inputs, (made,), attributes, location))

    def _cut(self, tensor: int, there: Span, columns: Span, of: int, node: Node) -> int:
        """Columns of a tensor of which some are there: itself if it is just these."""
        if there == columns:
            return tensor
        part = self._new(of, columns)
        begin, size = self._constant([0, 0, columns[0] - there[0], 0]), self._constant(self.tensors[part].shape)
        location = f"{node.location} input columns {columns[0]} to {columns[1] - 1}"
        self._append(Node("slice", (tensor, begin, size), (part,), NoAttributes(), location))
        return part

    def _constant(self, values: Sequence[int]) -> int:
        data: Array = np.array(values, np.int32)
        return self._add(Tensor(0, "columns", data.shape, "int32", data=data))

    def _new(self, of: int, columns: Span) -> int:
        """A tensor for columns of another."""
        tensor = self.source.tensors[of]
        shape = (*tensor.shape[:WIDTH], columns[1] - columns[0], *tensor.shape[WIDTH + 1 :])
        return self._add(replace(tensor, shape=shape, columns=Columns(of, *columns)))

    def _add(self, tensor: Tensor) -> int:
        number = next(self._ids)
        self.tensors[number] = replace(tensor, id=number)
        return number


def _on_strip(context: Context, wanted: Span) -> Any:
    """The attributes of a window whose padding is said for each side: only at the borders of the image there is any."""
    geometry, window = convolution_geometry(context), context.attributes.window
    (first, end), top = _reach(geometry, wanted), geometry.pad[0]
    reach = (geometry.kernel[0] - 1) * geometry.dilation[0] + 1
    bottom = max(0, (geometry.output[0] - 1) * geometry.stride[0] - top + reach - geometry.input[0])
    extra = (top, bottom, max(0, -first), max(0, end - geometry.input[1]))
    return replace(context.attributes, window=Window("VALID", window.stride, window.dilation, extra))
