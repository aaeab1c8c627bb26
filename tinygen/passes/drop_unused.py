"""Drops nodes whose results nobody reads, and tensors that no node touches."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from tinygen.ir import Graph


def drop_unused(graph: Graph) -> Graph:
    """`graph` reduced to what its outputs need; its inputs all stay."""
    needed = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    alive = needed | set(graph.inputs) | {output for node in kept for output in node.outputs}
    tensors = {tensor: graph.tensors[tensor] for tensor in graph.tensors if tensor in alive}
    return replace(graph, nodes=tuple(reversed(kept)), tensors=MappingProxyType(tensors))
