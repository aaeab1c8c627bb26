"""Folds a PAD of the zero point over height and width into the convolution that follows it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tinygen.ir import Graph, Node

WINDOWED = frozenset({"conv_2d", "depthwise_conv_2d"})
"""Operators for which a padded row counts as the zero point, as it does outside their input."""


def fold_pad(graph: Graph) -> Graph:
    """`graph` without the PADs that its convolutions can take over."""
    producers, consumers = graph.producers(), graph.consumers()
    nodes = list(graph.nodes)
    for index, node in enumerate(graph.nodes):
        while node.op in WINDOWED and node.inputs[0] in producers:
            if len(consumers[node.inputs[0]]) > 1 or node.inputs[0] in graph.outputs:
                break
            pad = graph.nodes[producers[node.inputs[0]]]
            extra = _rows_and_columns(graph, pad)
            if extra is None:
                break
            node = nodes[index] = _absorb(node, pad.inputs[0], extra)
    return graph.with_nodes(nodes)


def _absorb(node: Node, source: int, extra: tuple[int, int, int, int]) -> Node:
    """The convolution over `source`, with `extra` rows and columns around what it pads already."""
    window = node.attributes.window
    total = tuple(known + more for known, more in zip(window.extra, extra, strict=True))
    attributes = replace(node.attributes, window=replace(window, extra=total))
    return replace(node, inputs=(source, *node.inputs[1:]), attributes=attributes)


def _rows_and_columns(graph: Graph, pad: Node) -> tuple[int, int, int, int] | None:
    """Top, bottom, left and right of a PAD that adds zero points around height and width only; else None."""
    if pad.op not in ("pad", "padv2"):
        return None
    source, amounts = graph.tensors[pad.inputs[0]], graph.tensors[pad.inputs[1]].data
    if amounts is None or amounts.shape != (4, 2) or np.any(amounts[[0, 3]]):
        return None
    if pad.op == "padv2":
        value = graph.tensors[pad.inputs[2]]
        if value.data is None or int(value.data.ravel()[0]) != source.zero_point:
            return None
    return int(amounts[1, 0]), int(amounts[1, 1]), int(amounts[2, 0]), int(amounts[2, 1])
