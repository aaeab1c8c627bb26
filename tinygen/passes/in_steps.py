"""Divides the sequences of a network over time into rows of some steps, by which its layers can be computed."""

from __future__ import annotations

from dataclasses import replace

from tinygen import ops
from tinygen.ir import ABSENT, Graph, Node, Tensor
from tinygen.passes.sequences import WINDOWED

WIDTH = 2


def in_steps(graph: Graph, steps: int) -> Graph:
    """The graph whose sequences have rows of so many steps, the last of what is left; itself where there are none."""
    if not any(node.op in WINDOWED and _of(graph, node) for node in graph.nodes):
        return graph
    tensors = {tensor: graph.tensors[tensor] for node in graph.nodes for tensor in _of(graph, node)}
    rows = (replace(tensor, row_steps=min(steps, tensor.shape[WIDTH])) for tensor in tensors.values())
    return graph.with_nodes(graph.nodes, rows)


def _of(graph: Graph, node: Node) -> list[int]:
    """The sequences of several steps that a node reads and writes, where it could do so by rows."""
    if node.op not in WINDOWED | {"mean"} and not ops.SPECS[node.op].pixelwise:
        return []
    tensors = [tensor for tensor in (*node.inputs, *node.outputs) if tensor != ABSENT]
    return [tensor for tensor in tensors if _is_sequence(graph.tensors[tensor])]


def _is_sequence(tensor: Tensor) -> bool:
    """Whether it is an image of one row and several columns."""
    return tensor.data is None and len(tensor.shape) == 4 and tensor.shape[:2] == (1, 1) and tensor.shape[WIDTH] > 1
