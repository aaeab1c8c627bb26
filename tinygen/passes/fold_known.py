"""Turns tensors whose value no input of the model can change into constants."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from tinygen.ir import Graph, Tensor
from tinygen.passes.channel_ranges import channel_ranges
from tinygen.passes.fold_constants import fold_constants
from tinygen.quant import Numerics


def fold_known(graph: Graph, profiles: Sequence[Numerics] = tuple(Numerics)) -> Graph:
    """`graph` with what is known of its tensors as constants, and with all that then is known as well."""
    while True:
        known = _known(graph, profiles)
        if not known:
            return graph
        done = {tensor.id for tensor in known}
        nodes = [node for node in graph.nodes if not done.intersection(node.outputs)]
        graph = fold_constants(graph.with_nodes(nodes, known), profiles)


def _known(graph: Graph, profiles: Sequence[Numerics]) -> list[Tensor]:
    """Computed tensors that have one possible value in each channel, now with that value."""
    ranges = channel_ranges(graph, profiles)
    computed = [graph.tensors[i] for node in graph.nodes for i in node.outputs if i in ranges]
    return [
        replace(tensor, data=np.full(tensor.shape, ranges[tensor.id][0].reshape(tensor.shape[-1:]), np.int8))
        for tensor in computed
        if np.array_equal(*ranges[tensor.id])
    ]
