"""Finds the channels of computed tensors that the outputs of a graph depend on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinygen.ir import Array, Graph, Node
from tinygen.ops.spec import context_of
from tinygen.passes import channels
from tinygen.passes.channels import Dense, Range, Ties
from tinygen.quant import Numerics

Masks = Mapping[int, Array]
"""Tensor id -> bool for each channel."""


@dataclass(frozen=True, eq=False)
class _Link:
    """Groups of channels that are needed together: for one of their own, or for an output channel that reads them."""

    members: tuple[tuple[int, Array], ...]
    """Tensor id, the group of each of its channels."""
    output: int
    reads: Array
    """[output channels, groups] bool."""

    def follow(self, masks: Masks) -> None:
        """Need the whole group of every channel that is needed."""
        needed: Array = np.any(self.reads[masks[self.output]], axis=0)
        for tensor, groups in self.members:
            needed[groups[masks[tensor]]] = True
        for tensor, groups in self.members:
            np.logical_or(masks[tensor], needed[groups], out=masks[tensor])


def needed_channels(graph: Graph, ranges: Mapping[int, Range]) -> Masks:
    """Whether each channel must be computed, for all tensors that are computed or given; one of each always must.

    Needed are the inputs and outputs of the graph, all that operators read that mix their channels, and what other
    needed channels depend on: not through weights of 0, and not through a constant that a bias can hold instead.
    """
    computed = {*graph.inputs, *(output for node in graph.nodes for output in node.outputs)}
    masks = {i: np.zeros(channels.count(graph.tensors[i]), np.bool_) for i in sorted(computed)}
    whole = [*graph.inputs, *graph.outputs]
    links = []
    for node in reversed(graph.nodes):
        link, mixed = _link(graph, node, ranges, masks)
        links += [link] if link else []
        whole += mixed
    for tensor in computed.intersection(whole):
        masks[tensor][:] = True
    _spread(masks, links)
    for mask in masks.values():
        if not mask.any():
            mask[0] = True
            _spread(masks, links)
    return masks


def _spread(masks: Masks, links: Sequence[_Link]) -> None:
    """Follow the links until that changes nothing."""
    before = -1
    while before != (before := sum(int(mask.sum()) for mask in masks.values())):
        for link in links:
            link.follow(masks)


def _link(graph: Graph, node: Node, ranges: Mapping[int, Range], masks: Masks) -> tuple[_Link | None, list[int]]:
    """What links the node's channels, and the tensors of which it needs all."""
    context = context_of(graph, node, Numerics.TFLITE)
    dense = channels.dense(context)
    if dense is not None:
        return _dense_link(node, dense, ranges) if node.inputs[0] in masks else None, []
    ties = channels.ties(context)
    if ties is None:
        return None, [*node.inputs, *node.outputs]
    mixed = [tensor for tensor, groups in zip(node.inputs, ties.inputs, strict=True) if groups is None]
    return _tied_link(node, ties, masks), mixed


def _dense_link(node: Node, dense: Dense, ranges: Mapping[int, Range]) -> _Link:
    """Filters read the columns where they have weights, unless these see one constant only."""
    low, high = dense.inputs(ranges[node.inputs[0]])
    reads = np.any(dense.weights, axis=1) & (low < high)
    by_group = np.zeros((dense.channels.max() + 1, len(reads)), np.bool_)
    np.logical_or.at(by_group, dense.columns, reads.T)
    return _Link(((node.inputs[0], dense.channels),), node.outputs[0], by_group.T)


def _tied_link(node: Node, ties: Ties, masks: Masks) -> _Link:
    pairs = [(node.outputs[0], ties.output), *zip(node.inputs, ties.inputs, strict=True)]
    members = tuple((i, groups) for i, groups in pairs if groups is not None and i in masks)
    reads = np.zeros((len(ties.output), ties.output.max() + 1), np.bool_)
    return _Link(members, node.outputs[0], reads)
