"""Keeps one of several constants that hold the same values."""

from __future__ import annotations

from dataclasses import replace

from tinygen.ir import Graph, Quantization


def merge_equal(graph: Graph) -> Graph:
    """`graph` whose nodes read the first of each set of identical constants."""
    first: dict[tuple[str, tuple[int, ...], Quantization | None, bytes], int] = {}
    same: dict[int, int] = {}
    for tensor in graph.tensors.values():
        if tensor.data is not None:
            key = (tensor.dtype, tensor.shape, tensor.quant, tensor.data.tobytes())
            same[tensor.id] = first.setdefault(key, tensor.id)
    return graph.with_nodes(
        replace(node, inputs=tuple(same.get(tensor, tensor) for tensor in node.inputs)) for node in graph.nodes
    )
