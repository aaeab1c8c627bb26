"""Turns nodes, and runs of them computed row by row, into moments: at each one something is read and written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tinygen.ir import ABSENT, Graph
from tinygen.memory.rows import GIVEN, Event, Run, read_rows, read_tensors, turns
from tinygen.ops.spec import Kernel, Rows

BEFORE = -1
"""The moment before the first node."""


@dataclass(frozen=True)
class Access:
    """A tensor, or one row of it, that is read or written at a moment."""

    tensor: int
    row: int | None = None


@dataclass(frozen=True)
class Moment:
    """A node at work, or a row of a run."""

    node: int
    kernel: Kernel | None
    """What it runs, and how that may overlap; None where it may not, or where there is nothing to run."""
    reads: tuple[Access, ...]
    writes: tuple[Access, ...]


@dataclass(frozen=True)
class Scratch:
    """Bytes that nodes use in turn, each from the first byte on."""

    nodes: tuple[int, ...]
    bytes: int
    uses: tuple[tuple[int, int, int, int], ...]
    """The first byte, how many bytes, and from which moment to which: the more bytes, the fewer nodes use them."""


@dataclass(frozen=True)
class Schedule:
    """All moments in their order; without runs, the i-th one is the i-th node."""

    moments: tuple[Moment, ...]
    loose: frozenset[int]
    """The tensors whose rows each have a place of their own."""
    given: frozenset[int]
    """Those of them that the caller gives row by row."""
    scratch: tuple[Scratch, ...]

    @property
    def rowed(self) -> frozenset[int]:
        """The tensors that are read or written row by row."""
        accesses = (access for moment in self.moments for access in (*moment.reads, *moment.writes))
        return frozenset(access.tensor for access in accesses if access.row is not None)


def schedule(
    graph: Graph, kernels: Sequence[Kernel | None], rows: Sequence[Rows | None] = (), runs: Sequence[Run] = ()
) -> Schedule:
    """The moments of a graph whose nodes have these kernels, and in `runs` these `rows`.

    What reads all before it writes takes two moments, so that what it writes may lie where it read last.
    """
    moments: list[Moment] = []
    scratch: list[Scratch] = []
    starts = {run.first: run for run in runs}
    index = 0
    while index < len(graph.nodes):
        begin, run = len(moments), starts.get(index)
        if run is None:
            node, kernel = graph.nodes[index], kernels[index]
            reads = tuple(Access(t) for t in node.inputs if t != ABSENT and graph.tensors[t].data is None)
            moments.append(Moment(index, kernel, reads, tuple(Access(t) for t in node.outputs)))
            if kernel and kernel.scratch_bytes:
                scratch.append(_kept((index,), kernel.scratch_bytes, begin, begin))
            index += 1
            continue
        moments += _moments(graph, rows, run)
        scratch += _scratch(rows, run, moments, begin)
        index = run.last + 1
    loose = frozenset[int]().union(*(run.loose for run in runs))
    return Schedule(tuple(moments), loose, loose & frozenset(graph.inputs), tuple(scratch))


def _moments(graph: Graph, rows: Sequence[Rows | None], run: Run) -> Iterator[Moment]:
    """One or two for each event of a run."""
    for event in run.events:
        found = None if event.node == GIVEN else rows[event.node]
        if found is None:
            yield Moment(GIVEN, None, (), (Access(_present(run.given), event.row),))
            continue
        reads = tuple(
            Access(tensor, row)
            for tensor in read_tensors(graph, event.node, found)
            for row in read_rows(found, event.row, graph.tensors[tensor].rows)
        )
        writes = tuple(_written(graph, event, found))
        if found.reads_first:
            yield Moment(event.node, None, reads, ())
            yield Moment(event.node, None, (), writes)
        else:
            yield Moment(event.node, None if found.table else found.kernel, reads, writes)


def _written(graph: Graph, event: Event, rows: Rows) -> Iterator[Access]:
    """The row that an event makes; of a node that gathers the last one makes all."""
    output = graph.nodes[event.node].outputs[0]
    if not rows.gathers:
        yield Access(output, event.row)
    elif event.row == turns(graph, event.node, rows) - 1:
        yield Access(output)


def _present(given: int | None) -> int:
    assert given is not None
    return given


def _kept(nodes: tuple[int, ...], size: int, first: int, last: int) -> Scratch:
    return Scratch(nodes, size, ((0, size, first, last),))


def _scratch(rows: Sequence[Rows | None], run: Run, moments: Sequence[Moment], begin: int) -> Iterator[Scratch]:
    """What the nodes of a run use in turn, and what one of them keeps from its first moment to its last."""
    found = {n: rows[n] for n in range(run.first, run.last + 1)}
    sizes = {n: row.kernel.scratch_bytes for n, row in found.items() if row is not None}
    keeping = [n for n, row in found.items() if row is not None and row.gathers and sizes[n]]
    for node in keeping:
        own = [number for number in range(begin, len(moments)) if moments[number].node == node]
        yield _kept((node,), sizes[node], own[0], own[-1])
    shared = {n: size for n, size in sizes.items() if size and n not in keeping}
    if shared:
        used = [shared.get(moment.node, 0) for moment in moments[begin:]]
        yield Scratch(tuple(shared), max(used), tuple(_uses(used, begin)))


def _uses(used: Sequence[int], begin: int) -> Iterator[tuple[int, int, int, int]]:
    """The bytes between one size and the next, and when they are used; `used` has the bytes of each moment."""
    sizes = sorted({0, *used})
    for start, end in pairwise(sizes):
        first = None
        for number, size in enumerate([*used, 0], begin):
            if size >= end and first is None:
                first = number
            elif size < end and first is not None:
                yield start, end - start, first, number - 1
                first = None
