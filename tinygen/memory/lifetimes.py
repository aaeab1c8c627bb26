"""Which buffers a schedule needs, and from which moment to which moment each of their bytes holds a value."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tinygen.ir import DTYPES, Graph
from tinygen.memory.rows import row_bytes
from tinygen.memory.schedule import BEFORE, Access, Schedule
from tinygen.memory.views import Storage

SCRATCH_ITEM_BYTES = 4
"""Kernels keep words in their scratch."""
Lives = dict[Access, tuple[int, int]]
"""What is accessed -> (the moment that writes it, the last that reads it)."""


@dataclass(frozen=True)
class Part:
    """Bytes of a buffer that hold a value from moment `first` to moment `last`; -1 is before all."""

    tensors: tuple[int, ...]
    """Those that are exactly these bytes, or whose row they are; empty for scratch."""
    offset: int
    bytes: int
    first: int
    last: int
    row: int | None = None
    """Which row, if they are one."""


@dataclass(frozen=True)
class Buffer:
    """Bytes that are placed as one: a tensor with those inside it, a row that has its own place, or scratch."""

    parts: tuple[Part, ...]
    bytes: int
    item_bytes: int
    scratch_of: tuple[int, ...] = ()
    """The nodes whose scratch this is."""
    whole: Part | None = None
    """All of it, where the parts are rows."""

    @property
    def tensors(self) -> tuple[int, ...]:
        """All tensors in it, the one that contains the others first."""
        return tuple(dict.fromkeys(tensor for part in self.parts for tensor in part.tensors))

    @cached_property
    def first(self) -> int:
        """The first moment at which any of it holds a value."""
        return min(part.first for part in self.parts)

    @cached_property
    def last(self) -> int:
        """The last moment at which any of it holds a value."""
        return max(part.last for part in self.parts)

    @cached_property
    def begins_at_once(self) -> int | None:
        """The moment at which all parts begin to hold values, if there is one."""
        return self.first if all(part.first == self.first for part in self.parts) else None

    @cached_property
    def ends_at_once(self) -> int | None:
        """The moment up to which all parts hold values, if there is one."""
        return self.last if all(part.last == self.last for part in self.parts) else None

    def alive(self, moment: int) -> list[Part]:
        """The parts that hold a value at a moment."""
        return [part for part in self.parts if part.first <= moment <= part.last]


def lifetimes(graph: Graph, planned: Schedule) -> Lives:
    """When each run-time tensor, or each row of one that is known by rows, is written and read last.

    Graph inputs live from before the first moment on, and graph outputs to the end. A value that nobody reads still
    lives for its own moment.
    """
    rowed = planned.rowed
    found: Lives = {}

    def touch(access: Access, moment: int) -> None:
        for one in _each(graph, access) if access.row is None and access.tensor in rowed else (access,):
            first, last = found.get(one, (moment, moment))
            found[one] = min(first, moment), max(last, moment)

    for tensor in graph.inputs:
        if tensor not in planned.given:
            touch(Access(tensor), BEFORE)
    for number, moment in enumerate(planned.moments):
        for access in (*moment.writes, *moment.reads):
            touch(access, number)
    for tensor in graph.outputs:
        if graph.tensors[tensor].data is None:
            touch(Access(tensor), len(planned.moments))
    return found


def _each(graph: Graph, access: Access) -> Iterator[Access]:
    """Every row of a tensor."""
    for row in range(graph.tensors[access.tensor].rows):
        yield Access(access.tensor, row)


def buffers(graph: Graph, planned: Schedule, storage: Storage) -> list[Buffer]:
    """One buffer for each run-time tensor that is in no other, for each row with a place of its own, for scratch."""
    lives = lifetimes(graph, planned)
    members: dict[int, list[Access]] = {}
    for access in lives:
        members.setdefault(storage.places[access.tensor][0], []).append(access)
    found: list[Buffer] = []
    for root, inside in members.items():
        if root in planned.loose:
            found += [_row(graph, access, lives) for access in inside]
        else:
            found.append(_buffer(graph, root, inside, lives, storage))
    return found + [
        Buffer(tuple(Part((), *use) for use in scratch.uses), scratch.bytes, SCRATCH_ITEM_BYTES, scratch.nodes)
        for scratch in planned.scratch
    ]


def _row(graph: Graph, access: Access, lives: Lives) -> Buffer:
    tensor = graph.tensors[access.tensor]
    part = Part((access.tensor,), 0, row_bytes(tensor), *lives[access], access.row)
    return Buffer((part,), part.bytes, DTYPES[tensor.dtype].itemsize)


def _buffer(graph: Graph, root: int, members: Sequence[Access], lives: Lives, storage: Storage) -> Buffer:
    """The buffer of `root`; tensors that are the same bytes of it are one part."""
    parts: dict[tuple[int, int], Part] = {}
    rows: list[Part] = []
    for access in sorted(members, key=lambda one: (one.tensor != root, lives[one], one.tensor, one.row or 0)):
        tensor, (first, last) = access.tensor, lives[access]
        if access.row is not None:
            size = row_bytes(graph.tensors[tensor])
            rows.append(Part((tensor,), access.row * size, size, first, last, access.row))
            continue
        place = storage.places[tensor][1], graph.tensors[tensor].bytes
        same = parts.get(place, Part((), *place, first, last))
        parts[place] = Part((*same.tensors, tensor), *place, min(same.first, first), max(same.last, last))
    found = [*rows, *parts.values()]
    item_bytes = max(DTYPES[graph.tensors[access.tensor].dtype].itemsize for access in members)
    size = graph.tensors[root].bytes
    if not rows:
        return Buffer(tuple(found), size, item_bytes)
    size = max(size, *(row.offset + row.bytes for row in rows))  # the last row of some steps may have none behind it
    tensors = tuple(dict.fromkeys(tensor for part in found for tensor in part.tensors))
    whole = Part(tensors, 0, size, min(part.first for part in found), max(part.last for part in found))
    # What has another shape, but the same bytes, keeps each row until it is read last.
    kept = max((part.last for part in parts.values()), default=BEFORE)
    return Buffer(tuple(replace(row, last=max(row.last, kept)) for row in rows), size, item_bytes, whole=whole)
