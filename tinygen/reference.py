"""Runs a graph on the NumPy references, keeping every tensor."""

from __future__ import annotations

from collections.abc import Sequence

from tinygen import ops
from tinygen.ir import ABSENT, Array, Graph
from tinygen.ops.spec import context_of
from tinygen.quant import Numerics


def run(graph: Graph, inputs: Sequence[Array], numerics: Numerics) -> dict[int, Array]:
    """Tensor id -> value, for every tensor of `graph` given its `inputs` (of their types and of as many elements)."""
    values = {tensor.id: tensor.data for tensor in graph.tensors.values() if tensor.data is not None}
    given = zip(graph.inputs, inputs, strict=True)
    values.update((tensor, value.reshape(graph.tensors[tensor].shape)) for tensor, value in given)
    values.update((tensor, values[graph.tensors[tensor].source]) for tensor in graph.given_again)
    for node in graph.nodes:
        context = context_of(graph, node, numerics)
        arguments = [values[i] if i != ABSENT else None for i in node.inputs]
        results = ops.SPECS[node.op].reference(context, arguments)
        for tensor, value in zip(context.outputs, results, strict=True):
            if value.shape != tensor.shape or str(value.dtype) != tensor.dtype:
                raise context.error(
                    "the reference gives another tensor than the file says",
                    found=f"{value.dtype}{list(value.shape)}",
                    expected=f"{tensor.dtype}{list(tensor.shape)}",
                )
            values[tensor.id] = value
    return values
