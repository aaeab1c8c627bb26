"""Keeps one row of a constant whose rows are all equal, where an elementwise operator repeats it anyway."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import count

import numpy as np

from tinygen.ir import Graph, Tensor

BROADCASTING = frozenset({"add", "sub", "mul", "maximum", "minimum"})
"""Operators of which either operand may have fewer axes than the output."""


def shrink_operands(graph: Graph) -> Graph:
    """`graph` with constant operands of shape [channels] in place of larger ones."""
    ids = count(max(graph.tensors) + 1)
    nodes, rows = [], []
    for node in graph.nodes:
        inputs = list(node.inputs)
        for index in range(2) if node.op in BROADCASTING else ():
            other = graph.tensors[node.inputs[1 - index]]
            row = _row(graph.tensors[node.inputs[index]])
            if row is not None and other.shape == graph.tensors[node.outputs[0]].shape:
                rows.append(replace(row, id=next(ids)))
                inputs[index] = rows[-1].id
        nodes.append(replace(node, inputs=tuple(inputs)))
    return graph.with_nodes(nodes, rows)


def _row(tensor: Tensor) -> Tensor | None:
    """The row that repeats in a constant of several; None when there is none."""
    if tensor.data is None or tensor.size <= math.prod(tensor.shape[-1:]):
        return None
    if tensor.quant is not None and not tensor.per_tensor:
        return None
    rows = tensor.data.reshape(-1, tensor.shape[-1])
    if np.any(rows != rows[0]):
        return None
    return replace(tensor, shape=rows[0].shape, data=rows[0])
