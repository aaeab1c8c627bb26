"""Computes nodes whose inputs are all known, shape arithmetic above all, and drops them."""

from __future__ import annotations

from dataclasses import replace

from tinygen import ops
from tinygen.ir import ABSENT, Graph, Tensor
from tinygen.ops.spec import context_of
from tinygen.quant import Numerics

SHAPE_ONLY = frozenset({"shape"})
"""Operators that read only their input's shape, which is always known."""


def fold_constants(graph: Graph) -> Graph:
    """`graph` with the outputs of constant nodes as constants."""
    tensors = dict(graph.tensors)
    nodes = []
    for node in graph.nodes:
        read = [tensors[i] for i in node.inputs if i != ABSENT]
        known = all(tensor.data is not None for tensor in read) or node.op in SHAPE_ONLY
        if not read or not known:
            nodes.append(node)
            continue
        current = replace(graph, tensors=tensors)
        context = context_of(current, node, Numerics.TFLITE)
        spec = ops.SPECS[node.op]
        spec.check(context)
        inputs = [tensors[i].data if i != ABSENT else None for i in node.inputs]
        for output, value in zip(context.outputs, spec.reference(context, inputs), strict=True):
            tensors[output.id] = _known(output, value)
    return graph.with_nodes(nodes, tensors.values())


def _known(tensor: Tensor, value: object) -> Tensor:
    return replace(tensor, data=value)  # type: ignore[arg-type]
