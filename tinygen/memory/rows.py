"""Turns a run of nodes that are computed row by row into events: whose row is made when, and when each row dies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from tinygen.ir import ABSENT, Graph, Tensor
from tinygen.ops.spec import Rows

GIVEN = -1
"""The maker of a row that the caller gives."""
LONGEST = 24
"""Nodes of a run, at most: more are not tried."""
MOST_ROWS = 2**15
"""Of a tensor: its number fits an int16_t."""


@dataclass(frozen=True)
class Event:
    """A row of a node's output is made; or, by `GIVEN`, one of the model's input is given."""

    node: int
    row: int


@dataclass(frozen=True)
class Run:
    """Nodes `first` to `last`, computed row by row so that no more rows lie in RAM than are still needed."""

    first: int
    last: int
    events: tuple[Event, ...]
    loose: frozenset[int]
    """The tensors whose rows each have a place of their own: those made and used up in the run, and a given input."""
    read: frozenset[int]
    """The tensors that the run reads by rows."""
    last_reads: Mapping[int, Sequence[tuple[int, int]]]
    """Number of an event -> the rows (tensor, row) that no later event of the run reads."""
    given: int | None = None
    """The input whose rows the caller gives while the run is at work."""


@dataclass(frozen=True)
class Priced:
    """A run, what it brings and what it takes."""

    run: Run
    bytes: int
    """About the RAM that is needed while it is at work."""
    whole_bytes: int
    """The same when its nodes are computed one after the other."""
    extra_cycles: float
    """About what it takes more than that."""


def row_bytes(tensor: Tensor) -> int:
    """Of one row of an NHWC tensor, or of one of its rows of steps."""
    return tensor.bytes // tensor.shape[2] * tensor.row_steps if tensor.row_steps else tensor.bytes // tensor.shape[1]


def turns(graph: Graph, node: int, rows: Rows) -> int:
    """How often a node's turn comes: once for each row of its output, or of its input where it gathers."""
    tensor = read_tensors(graph, node, rows)[0] if rows.gathers else graph.nodes[node].outputs[0]
    return graph.tensors[tensor].rows


def read_rows(rows: Rows, row: int, height: int) -> range:
    """The rows of an input of that height that turn `row` needs."""
    if rows.gathers:
        return range(row, row + 1)
    first = row * rows.stride - rows.pad
    return range(max(0, first), min(height, first + rows.height))


def read_tensors(graph: Graph, node: int, rows: Rows) -> tuple[int, ...]:
    """The tensors that a node reads by rows, each once."""
    inputs = graph.nodes[node].inputs
    found = [inputs[i] for i in rows.kernel.operands if i < len(inputs) and inputs[i] != ABSENT]
    return tuple(dict.fromkeys(t for t in found if graph.tensors[t].data is None))


def spans(graph: Graph, rows: Sequence[Rows | None]) -> Iterator[tuple[int, int]]:
    """The first and the last node of every run that there can be, of one node or more.

    All that its nodes make, but the last one's output, is used up inside, and by one of them at least.
    """
    consumers = graph.consumers()
    for first in range(len(graph.nodes)):
        last_reader = first
        for last in range(first, min(first + LONGEST, len(graph.nodes))):
            found = rows[last]
            if found is None or len(graph.nodes[last].outputs) > 1 or turns(graph, last, found) >= MOST_ROWS:
                break
            if last_reader <= last:
                yield first, last
            output = graph.nodes[last].outputs[0]
            if found.gathers or output not in consumers or output in graph.outputs:
                break
            last_reader = max(last_reader, consumers[output][-1])


def takes_input(graph: Graph, readers: Sequence[int], given: int, first: int, last: int) -> bool:
    """Whether an input has rows, and of all its readers there are none but these nodes."""
    tensor = graph.tensors[given]
    inside = bool(readers) and first <= readers[0] and readers[-1] <= last
    image = len(tensor.shape) == 4 and tensor.shape[0] == 1
    return inside and image and tensor.rows < MOST_ROWS and given not in graph.outputs


def run(graph: Graph, rows: Sequence[Rows | None], first: int, last: int, given: int | None = None) -> Run:
    """The run of nodes `first` to `last`; its rows are made when one that needs them is, the last node's in order.

    The caller gives those of the input `given`.
    """
    loose = {graph.nodes[node].outputs[0] for node in range(first, last)}
    makers = {graph.nodes[node].outputs[0]: node for node in range(first, last + 1)}
    if given is not None:
        loose.add(given)
        makers[given] = GIVEN
    made: dict[int, int] = dict.fromkeys(makers, 0)
    events: list[Event] = []
    last_read: dict[tuple[int, int], int] = {}

    def make(tensor: int, count: int) -> None:
        """Rows of a tensor up to so many."""
        while made[tensor] < count:
            row, node = made[tensor], makers[tensor]
            needed = [] if node == GIVEN else [*_needs(graph, node, rows[node], row)]
            for source, wanted in needed:
                if source in makers and len(wanted):
                    make(source, wanted[-1] + 1)
            last_read.update({(source, number): len(events) for source, wanted in needed for number in wanted})
            events.append(Event(node, row))
            made[tensor] = row + 1

    if given is not None:
        make(given, 1)  # the caller begins, even where the first rows need nothing of the input
    for node in range(last, first - 1, -1):
        found = rows[node]
        assert found is not None
        make(graph.nodes[node].outputs[0], turns(graph, node, found))
    if given is not None:
        make(given, graph.tensors[given].rows)
    last_reads: dict[int, list[tuple[int, int]]] = {}
    for source_row, number in last_read.items():
        last_reads.setdefault(number, []).append(source_row)
    return Run(first, last, tuple(events), frozenset(loose), frozenset(t for t, _ in last_read), last_reads, given)


def _needs(graph: Graph, node: int, rows: Rows | None, row: int) -> Iterator[tuple[int, range]]:
    assert rows is not None
    for tensor in read_tensors(graph, node, rows):
        yield tensor, read_rows(rows, row, graph.tensors[tensor].rows)
