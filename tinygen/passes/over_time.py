"""Turns networks over time into networks of images of one row, with no reshaping between their layers.

Kernels are at least as fast along the width as along the height.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import count

from tinygen import ops
from tinygen.ir import ABSENT, Array, Graph, Node, Tensor
from tinygen.ops.reshape import Reshape
from tinygen.passes.sequences import IMAGE_RANK, WINDOWED, Shape, Turned, image, sequences, steps, turned


def over_time(graph: Graph) -> Graph:
    """The graph with time along the width in layers with windows, and in what is between them.

    It is the graph itself where nothing changes. Tensors keep their ids, and remember the shape that the file gives
    them; other operators read what they read before.
    """
    nodes = _nodes(graph)
    tensors = (graph.tensors[tensor] for index in nodes for tensor in sequences(graph, graph.nodes[index]))
    if all(tensor.shape == image(tensor) for tensor in tensors):
        return graph
    return _Images(graph, nodes).graph()


def _nodes(graph: Graph) -> dict[int, Turned]:
    """The nodes that become such layers: all over sequences that hang together with a window over several steps.

    Not those behind an image that becomes a column: together with what makes it, they have rows as they are.
    """
    found = {index: one for index, node in enumerate(graph.nodes) if (one := turned(graph, node))}
    region: dict[int, int] = {}

    def root(tensor: int) -> int:
        while region.setdefault(tensor, tensor) != tensor:
            tensor = region[tensor]
        return tensor

    for index, node in enumerate(graph.nodes):
        if index in found or _is_view(graph, node):
            first, *others = sequences(graph, node)
            region |= {root(other): root(first) for other in others}
    columns = {root(t) for i, node in enumerate(graph.nodes) if i not in found for t in _columns(graph, node)}
    windowed = {root(t) for i in found for t in sequences(graph, graph.nodes[i]) if _has_window(graph, graph.nodes[i])}
    return {i: one for i, one in found.items() if root(next(sequences(graph, graph.nodes[i]))) in windowed - columns}


def _columns(graph: Graph, node: Node) -> list[int]:
    """The columns of several pixels that a node makes, unless it just gives something that shape."""
    made = () if _is_view(graph, node) else node.outputs
    tensors = [graph.tensors[tensor] for tensor in made]
    return [
        tensor.id
        for tensor in tensors
        if len(tensor.shape) == IMAGE_RANK and (tensor.shape[0], tensor.shape[2]) == (1, 1) and tensor.shape[1] > 1
    ]


def _has_window(graph: Graph, node: Node) -> bool:
    tensors = (graph.tensors[tensor] for tensor in sequences(graph, node))
    return node.op in WINDOWED and any(tensor.size > tensor.shape[-1] for tensor in tensors)


def _is_view(graph: Graph, node: Node) -> bool:
    """Whether a node gives a sequence another shape, and nothing else."""
    if not ops.SPECS[node.op].alias:
        return False
    x, y = graph.tensors[node.inputs[0]], graph.tensors[node.outputs[0]]
    return steps(x) is not None and steps(x) == steps(y) and (x.dtype, x.quant) == (y.dtype, y.quant)


class _Images:
    """The nodes and tensors of a graph with time along the width."""

    def __init__(self, graph: Graph, turned_nodes: Mapping[int, Turned]) -> None:
        self.source, self.turned = graph, turned_nodes
        self.tensors: dict[int, Tensor] = {}
        self.nodes: list[Node] = []
        self._along: dict[int, int] = {}
        """Sequence of the source -> the tensor that has its bytes along the width."""
        self._before: dict[int, int] = {}
        """The same with the shape of the source."""
        self._constants: dict[tuple[int, Shape], int] = {}
        self._ids = count(max(graph.tensors) + 1)

    def graph(self) -> Graph:
        """All of it."""
        for tensor in self._read_inputs():
            self._turn(tensor)
        for index, node in enumerate(self.source.nodes):
            if index in self.turned:
                self._add_turned(node, self.turned[index])
            elif _is_view(self.source, node) and node.inputs[0] in self._along:
                self._add_view(node)
            else:
                inputs = [self._as_before(t, node) if t in self._along else t for t in node.inputs]
                self.nodes.append(replace(node, inputs=tuple(inputs)))
        return self.source.with_nodes(self.nodes, self.tensors.values())

    def _read_inputs(self) -> list[int]:
        """The inputs of the model that turned nodes read, whatever shapes they get on the way."""
        read = {t for index in self.turned for t in self.source.nodes[index].inputs}
        for node in reversed(self.source.nodes):
            if _is_view(self.source, node) and node.outputs[0] in read:
                read.add(node.inputs[0])
        return [tensor for tensor in self.source.inputs if tensor in read]

    def _turn(self, tensor: int) -> None:
        """A tensor in place."""
        before = self.source.tensors[tensor]
        self._along[tensor] = tensor
        if before.shape != image(before):
            self.tensors[tensor] = self._reshaped(before, tensor)

    def _add_turned(self, node: Node, found: Turned) -> None:
        inputs = []
        for place, tensor in enumerate(node.inputs):
            if place in found.constants:
                inputs.append(self._constant(tensor, found.constants[place]))
            elif tensor != ABSENT and self.source.tensors[tensor].data is None:
                inputs.append(self._image(tensor, node))
            else:
                inputs.append(tensor)
        for tensor in node.outputs:
            if steps(self.source.tensors[tensor]):
                self._turn(tensor)
        self.nodes.append(replace(node, inputs=tuple(inputs), attributes=found.attributes))

    def _add_view(self, node: Node) -> None:
        """Nothing but another name, unless it is an output of the model."""
        [output], source = node.outputs, self._along[node.inputs[0]]
        if output in self.source.outputs:
            self._reshape(source, self.source.tensors[output], node)
        self._along[output] = source

    def _image(self, tensor: int, node: Node) -> int:
        """A sequence as an image, for a node."""
        before = self.source.tensors[tensor]
        if tensor not in self._along:
            same = before.shape == image(before)
            result = self._reshaped(before, next(self._ids))
            self._along[tensor] = tensor if same else self._reshape(tensor, result, node)
        return self._along[tensor]

    def _as_before(self, tensor: int, node: Node) -> int:
        """A sequence in the shape that it had, for a node."""
        before = self.source.tensors[tensor]
        if tensor not in self._before:
            same, along = before.shape == image(before), self._along[tensor]
            result = replace(before, id=next(self._ids))
            self._before[tensor] = along if same else self._reshape(along, result, node)
        return self._before[tensor]

    def _reshaped(self, before: Tensor, number: int) -> Tensor:
        """A sequence of the source as an image."""
        return replace(before, id=number, shape=image(before), file_shape=before.shape_in_file)

    def _reshape(self, source: int, result: Tensor, node: Node) -> int:
        self.tensors[result.id] = result
        location = f"{node.location}, another shape"
        self.nodes.append(Node("reshape", (source,), (result.id,), Reshape(result.shape), location))
        return result.id

    def _constant(self, tensor: int, data: Array) -> int:
        """A constant with other data; several nodes may share it."""
        key = tensor, data.shape
        if key not in self._constants:
            self._constants[key] = next(self._ids)
            like = self.source.tensors[tensor]
            self.tensors[self._constants[key]] = replace(like, id=self._constants[key], shape=data.shape, data=data)
        return self._constants[key]
