"""Finds tensors whose bytes are a run of another tensor's: a node that only moves such needs no code."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tinygen import ops
from tinygen.ir import ABSENT, DTYPES, Array, Graph, Node
from tinygen.ops.spec import context_of
from tinygen.quant import Numerics

BASE = 2**40
"""The number of the first element of an input, when elements are numbered to be followed: above any constant."""


@dataclass(frozen=True)
class View:
    """All bytes of tensor `part` are those of tensor `whole` from byte `offset` on."""

    part: int
    whole: int
    offset: int


@dataclass(frozen=True)
class Storage:
    """Where the bytes of tensors are, seen from the tensors that need a place of their own."""

    places: dict[int, tuple[int, int]]
    """Tensor id -> (id of the tensor that contains it, offset in bytes); itself and 0 if it is in no other."""
    moved: frozenset[int]
    """Indices of the nodes that would move bytes to where they are already."""


def views(graph: Graph, node: Node) -> tuple[View, ...]:
    """What must hold for `node` to need no code; none when it needs code anyhow.

    The reference of the operator is run on the numbers of its input's elements.
    """
    if ops.SPECS[node.op].alias:
        return (View(node.outputs[0], node.inputs[0], 0),)
    given = [i for i in node.inputs if i != ABSENT and graph.tensors[i].data is None]
    if not ops.SPECS[node.op].moves or len(set(given)) < len(given):
        return ()
    numbers: dict[int, Array] = {}
    start = BASE
    for tensor in given:
        numbers[tensor] = np.arange(start, start + graph.tensors[tensor].size)
        start += graph.tensors[tensor].size + 1
    values = [None if i == ABSENT else graph.tensors[i].data for i in node.inputs]
    values = [
        numbers[i].reshape(graph.tensors[i].shape) if i in numbers else value
        for i, value in zip(node.inputs, values, strict=True)
    ]
    moved = ops.SPECS[node.op].reference(context_of(graph, node, Numerics.TFLITE), values)
    outputs = {i: value.ravel() for i, value in zip(node.outputs, moved, strict=True)}
    size = DTYPES[graph.tensors[node.outputs[0]].dtype].itemsize
    found = [_inside(i, value, numbers, size) for i, value in outputs.items()]
    if len(outputs) == 1 and None in found:
        [(output, value)] = outputs.items()
        found = [_inside(i, number, {output: value}, size) for i, number in numbers.items()]
        found += [None] if sum(map(len, numbers.values())) < len(value) else []
    return tuple(view for view in found if view) if None not in found else ()


def _inside(part: int, value: Array, wholes: dict[int, Array], item_bytes: int) -> View | None:
    """Where the elements of a tensor are one run of another's."""
    if not len(value):
        return None
    for whole, elements in wholes.items():
        at = int(np.argmax(elements == value[0]))
        if np.array_equal(elements[at : at + len(value)], value):
            return View(part, whole, at * item_bytes)
    return None


def storage(graph: Graph, alignment_bytes: int, joined: bool = True, fixed: frozenset[int] = frozenset()) -> Storage:
    """The places of all tensors. Aliases are always views; other nodes if `joined`, where elements stay aligned.

    Tensors that are `fixed` are joined with no other.
    """
    places = {tensor: (tensor, 0) for tensor in graph.tensors}
    members = {tensor: [tensor] for tensor in graph.tensors}
    moved = set()
    for index, node in enumerate(graph.nodes):
        alias = ops.SPECS[node.op].alias
        free = joined and fixed.isdisjoint((*node.inputs, *node.outputs))
        found = views(graph, node) if alias or free else ()
        if not found or not (alias or _possible(graph, node, found, places, alignment_bytes)):
            continue
        for view in found:
            root, base = places[view.part]
            whole, offset = places[view.whole]
            for member in members.pop(root):
                places[member] = (whole, places[member][1] - base + offset + view.offset)
                members[whole].append(member)
        moved.add(index)
    return Storage(places, frozenset(moved))


def _possible(
    graph: Graph, node: Node, found: tuple[View, ...], places: dict[int, tuple[int, int]], alignment_bytes: int
) -> bool:
    """Whether no part is fixed inside something else already, or is to lie where its elements may not begin."""
    step = max(alignment_bytes, DTYPES[graph.tensors[node.outputs[0]].dtype].itemsize)
    roots = [places[view.part][0] for view in found]
    if len({*roots, places[found[0].whole][0]}) <= len(roots):
        return False
    return all(
        graph.tensors[root].data is None
        and graph.tensors[root].bytes == graph.tensors[view.part].bytes
        and (places[view.whole][1] + view.offset) % step == 0
        for view, root in zip(found, roots, strict=True)
    )
