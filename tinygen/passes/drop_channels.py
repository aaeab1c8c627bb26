"""Drops channels that nothing needs, the constant ones among them, which the bias of the next layer takes up."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np

from tinygen.ir import ABSENT, Array, Graph, Node, Quantization, Tensor
from tinygen.ops.reshape import Reshape
from tinygen.ops.spec import context_of
from tinygen.passes import channels
from tinygen.passes.channel_needs import Masks, needed_channels
from tinygen.passes.channel_ranges import channel_ranges
from tinygen.passes.channels import Dense, Range, Ties
from tinygen.quant import Numerics


def drop_channels(graph: Graph, profiles: Sequence[Numerics] = tuple(Numerics)) -> Graph:
    """`graph` with fewer channels inside; those that are left keep their values, whatever the input."""
    ranges = channel_ranges(graph, profiles)
    masks = needed_channels(graph, ranges)
    if all(mask.all() for mask in masks.values()):
        return graph
    narrowing = _Narrowing(graph, ranges, masks, count(max(graph.tensors) + 1))
    changed = [_held(graph.tensors[i], mask) for i, mask in masks.items()]
    nodes = []
    for node in graph.nodes:
        narrowed, constants = narrowing.node(node)
        nodes.append(narrowed)
        changed += constants
    return graph.with_nodes(nodes, changed)


def _held(tensor: Tensor, kept: Array) -> Tensor:
    """A computed tensor with its `kept` channels, which it names."""
    if kept.all():
        return tensor
    before = tensor.channels or range(len(kept))
    return replace(_take(tensor, kept), channels=tuple(before[i] for i in np.flatnonzero(kept)))


def _take(tensor: Tensor, kept: Array, axis: int = -1) -> Tensor:
    """The `kept` slices of a tensor along `axis`."""
    if kept.all():
        return tensor
    axis %= len(tensor.shape)
    indices = np.flatnonzero(kept)
    shape = (*tensor.shape[:axis], len(indices), *tensor.shape[axis + 1 :])
    quant, data = tensor.quant, tensor.data
    if quant is not None and quant.axis == axis:
        scales, zero_points = tuple(quant.scale[i] for i in indices), tuple(quant.zero_point[i] for i in indices)
        quant = Quantization(scales, zero_points, axis)
    return replace(tensor, shape=shape, quant=quant, data=None if data is None else np.take(data, indices, axis))


@dataclass(frozen=True, eq=False)
class _Narrowing:
    """What a node becomes when the tensors around it lose their channels."""

    graph: Graph
    ranges: Mapping[int, Range]
    masks: Masks
    ids: Iterator[int]
    """Of new tensors."""

    def node(self, node: Node) -> tuple[Node, list[Tensor]]:
        """The node, and the constants that it now reads in place of others."""
        context = context_of(self.graph, node, Numerics.TFLITE)
        dense = channels.dense(context)
        if dense is not None:
            return self._dense(node, dense)
        ties = channels.ties(context)
        if ties is None or self.masks[node.outputs[0]].all():
            return node, []
        return self._tied(node, ties)

    def _tied(self, node: Node, ties: Ties) -> tuple[Node, list[Tensor]]:
        kept = np.zeros(ties.output.max() + 1, np.bool_)
        kept[ties.output[self.masks[node.outputs[0]]]] = True
        inputs, constants = list(node.inputs), []
        for index, (tensor, groups) in enumerate(zip(node.inputs, ties.inputs, strict=True)):
            if groups is not None and tensor != ABSENT and tensor not in self.masks:
                constants.append(replace(_take(self.graph.tensors[tensor], kept[groups]), id=next(self.ids)))
                inputs[index] = constants[-1].id
        if isinstance(node.attributes, Reshape):  # the shape that the file asks for is the one before
            return replace(node, inputs=node.inputs[:1], attributes=Reshape(None)), []
        return replace(node, inputs=tuple(inputs)), constants

    def _dense(self, node: Node, dense: Dense) -> tuple[Node, list[Tensor]]:
        x, filters = node.inputs[0], self.masks[node.outputs[0]]
        columns = self._columns(x, dense)
        if columns.all() and filters.all():
            return node, []
        whole = self.graph.tensors[node.inputs[dense.operands.weights]]
        weights = replace(_take(_take(whole, columns), filters, 0), id=next(self.ids))
        constant = dense.inputs(self.ranges[x])[0]
        sums = dense.weights[:, :, ~columns].sum(axis=1) @ constant[~columns]
        bias = self._bias(node, dense, sums, filters)
        inputs = (x, weights.id) if bias is None else (x, weights.id, bias.id)
        return replace(node, inputs=inputs), [weights] if bias is None else [weights, bias]

    def _columns(self, x: int, dense: Dense) -> Array:
        """Which columns of the weights the input still has."""
        groups = np.zeros(dense.channels.max() + 1, np.bool_)
        groups[dense.channels[self.masks[x]] if x in self.masks else dense.channels] = True
        columns: Array = groups[dense.columns]
        return columns

    def _bias(self, node: Node, dense: Dense, sums: Array, filters: Array) -> Tensor | None:
        """The bias of the kept filters with `sums` in it; None when there was none and it would be 0.

        It stays inside 32 bits: `weighted.check` has bounded all sums by the bias and every weight's largest product.
        """
        index = dense.operands.bias
        if index < len(node.inputs) and node.inputs[index] != ABSENT:
            bias = self.graph.tensors[node.inputs[index]]
            assert bias.data is not None  # proved by check
            sums = sums + bias.data.ravel()
            name, quant = bias.name, bias.quant
        elif not sums[filters].any():
            return None
        else:
            name, quant = f"{self.graph.tensors[node.outputs[0]].name}/bias", self._bias_quant(node, dense)
        if quant is not None and quant.axis is not None:
            quant = replace(quant, axis=0)
        flat = Tensor(next(self.ids), name, sums.shape, "int32", quant, sums.astype(np.int32))
        return _take(flat, filters, 0)

    def _bias_quant(self, node: Node, dense: Dense) -> Quantization:
        """Input scale times weight scale."""
        weights = self.graph.tensors[node.inputs[dense.operands.weights]].quant
        assert weights is not None  # proved by check
        scale = self.graph.tensors[node.inputs[0]].scale
        return Quantization(tuple(scale * one for one in weights.scale), (0,) * len(weights.scale), weights.axis)
