"""Places every buffer in the arena: large ones first, each at the tightest gap between those it overlaps in time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tinygen.ir import Graph
from tinygen.memory.lifetimes import Buffer, buffers


@dataclass(frozen=True)
class Plan:
    """Byte offsets into one arena."""

    tensors: Mapping[int, int]
    """Tensor id -> offset, for every tensor that is computed or given."""
    scratch: Mapping[int, int]
    """Node index -> offset of its scratch."""
    buffers: tuple[tuple[Buffer, int], ...]
    """Each buffer with its offset."""
    arena_bytes: int
    alignment_bytes: int


def plan(graph: Graph, scratch_bytes: Sequence[int], alignment_bytes: int = 4) -> Plan:
    """A plan in which no two buffers that are needed at one moment share a byte."""
    wanted = sorted(buffers(graph, scratch_bytes), key=lambda b: (-b.bytes, b.first, b.tensors))
    placed: list[tuple[Buffer, int]] = []
    for buffer in wanted:
        placed.append((buffer, _best_fit(buffer, placed, max(alignment_bytes, buffer.item_bytes))))
    return Plan(
        {tensor: offset for buffer, offset in placed for tensor in buffer.tensors},
        {buffer.scratch_of: offset for buffer, offset in placed if buffer.scratch_of is not None},
        tuple(placed),
        max((offset + buffer.bytes for buffer, offset in placed), default=0),
        max([alignment_bytes, *(buffer.item_bytes for buffer in wanted)]),
    )


def _best_fit(buffer: Buffer, placed: Sequence[tuple[Buffer, int]], alignment: int) -> int:
    """The offset of the smallest gap that holds the buffer, or of the end of the last one."""
    taken = sorted((offset, offset + other.bytes) for other, offset in placed if other.overlaps(buffer))
    best, best_gap, free = -1, -1, 0
    for start, end in taken:
        gap = start - free
        if gap >= buffer.bytes and (best < 0 or gap < best_gap):
            best, best_gap = free, gap
        free = max(free, -(-end // alignment) * alignment)
    return best if best >= 0 else free
