"""Computes nodes whose inputs are all known, shape arithmetic above all, and drops them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinygen import ops
from tinygen.ir import ABSENT, Array, Graph, Node
from tinygen.ops.spec import context_of
from tinygen.quant import Numerics

SHAPE_ONLY = frozenset({"shape"})
"""Operators that read only their input's shape, which is always known."""


def fold_constants(graph: Graph, profiles: Sequence[Numerics] = tuple(Numerics)) -> Graph:
    """`graph` with the outputs of constant nodes as constants, where all `profiles` agree on their values.

    With one profile none is left: kernels read activations, which are never in a memory of constants.
    """
    nodes: list[Node] = []
    for node in graph.nodes:
        values = _values(graph, node, profiles)
        if values is None:
            nodes.append(node)
            continue
        known = [replace(graph.tensors[i], data=value) for i, value in zip(node.outputs, values, strict=True)]
        graph = graph.with_nodes(graph.nodes, known)
    return graph.with_nodes(nodes)


def _values(graph: Graph, node: Node, profiles: Sequence[Numerics]) -> list[Array] | None:
    """The node's outputs; None when they are not known."""
    inputs = [graph.tensors[i].data if i != ABSENT else None for i in node.inputs]
    present = [graph.tensors[i] for i in node.inputs if i != ABSENT]
    if not present or not (all(tensor.data is not None for tensor in present) or node.op in SHAPE_ONLY):
        return None
    spec = ops.SPECS[node.op]
    contexts = [context_of(graph, node, numerics) for numerics in profiles]
    spec.check(contexts[0])
    first, *others = [spec.reference(context, inputs) for context in contexts]
    agree = all(
        np.array_equal(a, b, equal_nan=a.dtype.kind == "f") for o in others for a, b in zip(first, o, strict=True)
    )
    return first if agree else None
