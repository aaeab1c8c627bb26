"""Counts the bytes that a schedule needs at each moment: fewer than any plan of it can do with."""

from __future__ import annotations

import functools

import numpy as np

from tinygen.ir import Array, Graph
from tinygen.memory.bounds import Item, most_shared
from tinygen.memory.lifetimes import Lives, lifetimes
from tinygen.memory.overlap import unsafe
from tinygen.memory.rows import row_bytes
from tinygen.memory.schedule import Access, Moment, Schedule
from tinygen.memory.views import Storage
from tinygen.ops.spec import Overlap


def live_bytes(graph: Graph, planned: Schedule, storage: Storage) -> Array:
    """[moments + 1]: from before the first moment on; what an output may share with an input counts once."""
    lives = lifetimes(graph, planned)
    whole = _with_views(storage, lives)
    change = np.zeros(len(planned.moments) + 3, np.int64)
    for access, (first, last) in lives.items():
        if storage.places[access.tensor] == (access.tensor, 0):
            first, last = (first, last) if access.row is not None else whole[access.tensor]
            change[first + 1] += _bytes(graph, access)
            change[last + 2] -= _bytes(graph, access)
    for _, size, first, last in (use for scratch in planned.scratch for use in scratch.uses):
        change[first + 1] += size
        change[last + 2] -= size
    live: Array = np.cumsum(change)[: len(planned.moments) + 1]
    for number, moment in enumerate(planned.moments):
        live[number + 1] -= _shared(graph, moment, number, lives)
    return live


def _with_views(storage: Storage, lives: Lives) -> dict[int, tuple[int, int]]:
    """The life of each tensor that is no view, with those that are views of it."""
    found: dict[int, tuple[int, int]] = {}
    for access, (begin, end) in lives.items():
        if access.row is None:
            root = storage.places[access.tensor][0]
            first, last = found.get(root, (begin, end))
            found[root] = min(first, begin), max(last, end)
    return found


def _bytes(graph: Graph, access: Access) -> int:
    tensor = graph.tensors[access.tensor]
    return tensor.bytes if access.row is None else row_bytes(tensor)


def _shared(graph: Graph, moment: Moment, number: int, lives: Lives) -> int:
    """The most bytes that the output of a moment shares with one of its inputs that die."""
    if moment.kernel is None or not moment.kernel.overlaps or len(moment.writes) != 1:
        return 0
    inputs, [made] = graph.nodes[moment.node].inputs, moment.writes
    most = 0
    for rule in moment.kernel.overlaps:
        source = Access(inputs[rule.operand], made.row)
        if source in lives and lives[source][1] == number and inputs.count(source.tensor) == 1:
            most = max(most, _most_shared(rule, _bytes(graph, source), _bytes(graph, made)))
    return most


@functools.cache
def _most_shared(rule: Overlap, in_bytes: int, out_bytes: int) -> int:
    return most_shared(0, 1, [Item(in_bytes), Item(out_bytes)], {(0, 1): unsafe([rule], in_bytes, out_bytes)})
