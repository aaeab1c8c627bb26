"""Which buffers a graph needs, and from which step to which step each one holds a value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tinygen import ops
from tinygen.ir import ABSENT, DTYPES, Graph


@dataclass(frozen=True)
class Buffer:
    """Bytes to keep from step `first` to step `last`; step i is the i-th node, -1 the time before the first."""

    tensors: tuple[int, ...]
    """The tensors that share these bytes; empty for scratch."""
    bytes: int
    first: int
    last: int
    item_bytes: int
    scratch_of: int | None = None
    """The node whose scratch this is."""

    def overlaps(self, other: Buffer) -> bool:
        """Whether both must be kept at one moment."""
        return self.first <= other.last and other.first <= self.last


def storage(graph: Graph) -> dict[int, int]:
    """Tensor id -> id of the tensor whose bytes it uses: itself, or for an alias the source of the chain."""
    owner: dict[int, int] = {tensor: tensor for tensor in graph.tensors}
    for node in graph.nodes:
        if ops.SPECS[node.op].alias:
            owner[node.outputs[0]] = owner[node.inputs[0]]
    return owner


def buffers(graph: Graph, scratch_bytes: Sequence[int]) -> list[Buffer]:
    """One buffer for each run-time tensor (aliases together) and for each node's scratch.

    Graph inputs live from step -1 and graph outputs to the end. A value that nobody reads still lives for its own step.
    """
    owner, end = storage(graph), len(graph.nodes)
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    members: dict[int, list[int]] = {}

    def touch(tensor: int, step: int) -> None:
        root = owner[tensor]
        if graph.tensors[root].data is not None:
            return
        first.setdefault(root, step)
        last[root] = step
        if tensor not in members.setdefault(root, []):
            members[root].append(tensor)

    for tensor in graph.inputs:
        touch(tensor, -1)
    for step, node in enumerate(graph.nodes):
        for tensor in (*node.inputs, *node.outputs):
            if tensor != ABSENT:
                touch(tensor, step)
    for tensor in graph.outputs:
        touch(tensor, end)
    found = [
        Buffer(
            tuple(members[root]),
            graph.tensors[root].bytes,
            first[root],
            last[root],
            DTYPES[graph.tensors[root].dtype].itemsize,
        )
        for root in first
    ]
    return found + [Buffer((), size, step, step, 4, scratch_of=step) for step, size in enumerate(scratch_bytes) if size]
