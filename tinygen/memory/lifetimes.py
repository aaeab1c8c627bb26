"""Which buffers a graph needs, and from which step to which step each of their bytes holds a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinygen.ir import ABSENT, DTYPES, Graph
from tinygen.memory.views import Storage

SCRATCH_ITEM_BYTES = 4
"""Kernels keep words in their scratch."""


@dataclass(frozen=True)
class Part:
    """Bytes of a buffer that hold a value from step `first` to step `last`; step i is the i-th node, -1 before all."""

    tensors: tuple[int, ...]
    """Those that are exactly these bytes; empty for scratch."""
    offset: int
    bytes: int
    first: int
    last: int

    def meets(self, other: Part) -> bool:
        """Whether both hold a value at one step."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Buffer:
    """Bytes that are placed as one: a tensor with those inside it, or the scratch of a node."""

    parts: tuple[Part, ...]
    bytes: int
    item_bytes: int
    scratch_of: int | None = None
    """The node whose scratch this is."""

    @property
    def tensors(self) -> tuple[int, ...]:
        """All tensors in it, the one that contains the others first."""
        return tuple(tensor for part in self.parts for tensor in part.tensors)

    @property
    def first(self) -> int:
        """The first step at which any of it holds a value."""
        return min(part.first for part in self.parts)

    @property
    def last(self) -> int:
        """The last step at which any of it holds a value."""
        return max(part.last for part in self.parts)

    def alive(self, step: int) -> list[Part]:
        """The parts that hold a value at a step."""
        return [part for part in self.parts if part.first <= step <= part.last]


def lifetimes(graph: Graph) -> dict[int, tuple[int, int]]:
    """Run-time tensor -> (the step that writes it, the last that reads it).

    Graph inputs live from step -1 and graph outputs to the end. A value that nobody reads still lives for its own step.
    """
    first: dict[int, int] = dict.fromkeys(graph.inputs, -1)
    last: dict[int, int] = dict.fromkeys(graph.inputs, -1)
    for step, node in enumerate(graph.nodes):
        first |= dict.fromkeys(node.outputs, step)
        last |= {t: step for t in (*node.inputs, *node.outputs) if t != ABSENT and graph.tensors[t].data is None}
    last |= {tensor: len(graph.nodes) for tensor in graph.outputs if tensor in first}
    return {tensor: (first[tensor], last[tensor]) for tensor in first}


def buffers(graph: Graph, scratch_bytes: Sequence[int], storage: Storage) -> list[Buffer]:
    """One buffer for each run-time tensor that is in no other, and for each node's scratch."""
    members: dict[int, list[int]] = {}
    lives = lifetimes(graph)
    for tensor in lives:
        members.setdefault(storage.places[tensor][0], []).append(tensor)
    found = [_buffer(graph, root, inside, lives, storage) for root, inside in members.items()]
    return found + [
        Buffer((Part((), 0, size, step, step),), size, SCRATCH_ITEM_BYTES, scratch_of=step)
        for step, size in enumerate(scratch_bytes)
        if size
    ]


def _buffer(
    graph: Graph, root: int, members: Sequence[int], lives: dict[int, tuple[int, int]], storage: Storage
) -> Buffer:
    """The buffer of `root`; tensors that are the same bytes of it are one part."""
    parts: dict[tuple[int, int], Part] = {}
    for tensor in sorted(members, key=lambda member: (member != root, lives[member], member)):
        place = storage.places[tensor][1], graph.tensors[tensor].bytes
        first, last = lives[tensor]
        same = parts.get(place, Part((), *place, first, last))
        parts[place] = Part((*same.tensors, tensor), *place, min(same.first, first), max(same.last, last))
    item_bytes = max(DTYPES[graph.tensors[tensor].dtype].itemsize for tensor in members)
    return Buffer(tuple(parts.values()), graph.tensors[root].bytes, item_bytes)
