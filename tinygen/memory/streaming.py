"""Chooses which runs of nodes are computed row by row: what that saves in RAM against what it costs in cycles."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from tinygen.ir import Graph
from tinygen.memory.live import live_bytes
from tinygen.memory.rows import GIVEN, Priced, Run, read_tensors, row_bytes, run, spans, takes_input, turns
from tinygen.memory.schedule import schedule
from tinygen.memory.views import Storage, storage
from tinygen.ops.spec import Kernel, Rows


@dataclass(frozen=True)
class Streaming:
    """A choice of runs: about the RAM that it needs, and the cycles that it takes more than none."""

    priced: tuple[Priced, ...]
    live_bytes: int
    extra_cycles: float

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs alone."""
        return tuple(one.run for one in self.priced)


@dataclass(frozen=True)
class _Candidate:
    """A run that is worth a try."""

    first: int
    last: int
    given: int | None
    """The input that it takes row by row."""
    least_bytes: int
    """A bound from below on what it needs."""
    cycles: float


@dataclass(frozen=True)
class _Way:
    """Candidates up to a node."""

    bytes: int
    cycles: float
    taken: tuple[_Candidate, ...] = ()


@dataclass(frozen=True)
class Known:
    """What runs need, by the node that they begin with, whether they take the input, and the kernels in them."""

    kernels: Sequence[Hashable]
    """What tells the kernel of each node, and its rows."""
    needs: dict[tuple[int, int | None, tuple[Hashable, ...]], tuple[int, Run]]


def streamings(
    graph: Graph,
    kernels: Sequence[Kernel | None],
    rows: Sequence[Rows | None],
    row_cycles: float,
    most_cycles: float = float("inf"),
    given: bool = False,
    known: Known | None = None,
) -> list[Streaming]:
    """The choices that are worth it: fewer bytes for more cycles, the cheapest first.

    To take a row of a run costs `row_cycles`, each run at most `most_cycles` more. With `given`, there is a run for
    each input that takes it row by row. `known` keeps what has been found of runs from one call to the next.
    """
    known = known or Known([None] * len(graph.nodes), {})
    places = storage(graph, 1, joined=False)
    live = live_bytes(graph, schedule(graph, kernels), places)
    alone = {node: int(live[node + 1]) for node in range(len(graph.nodes))}
    candidates = [one for one in _candidates(graph, rows, row_cycles, alone, given) if one.cycles <= most_cycles]
    found: dict[_Candidate, tuple[int, Run]] = {}
    while True:
        ways = _front(graph, candidates, alone, found, given)
        unknown = dict.fromkeys(one for way in ways for one in way.taken if one not in found)
        if not unknown:
            return [Streaming(_priced(way, found, alone), way.bytes, way.cycles) for way in ways]
        for one in unknown:
            found[one] = _need(graph, kernels, rows, one, places, known)


def _front(
    graph: Graph,
    candidates: Sequence[_Candidate],
    alone: Mapping[int, int],
    found: Mapping[_Candidate, tuple[int, Run]],
    given: bool,
) -> list[_Way]:
    """The choices of candidates that are worth it, as far as is known what they need: at least their bound."""
    starting: dict[int, list[_Candidate]] = {}
    for candidate in candidates:
        starting.setdefault(candidate.first, []).append(candidate)
    consumers = graph.consumers()
    fed = {consumers[tensor][0] for tensor in graph.inputs if tensor in consumers} if given else set()
    ways: list[list[_Way]] = [[_Way(0, 0)]] + [[] for _ in graph.nodes]
    for node in range(len(graph.nodes)):
        kept = _worth(ways[node])
        if node not in fed:
            ways[node + 1] += [_Way(max(way.bytes, alone[node]), way.cycles, way.taken) for way in kept]
        for one in starting.get(node, []):
            size = found[one][0] if one in found else one.least_bytes
            ways[one.last + 1] += [
                _Way(max(way.bytes, size), way.cycles + one.cycles, (*way.taken, one)) for way in kept
            ]
    return _worth(ways[-1])


def _priced(way: _Way, found: Mapping[_Candidate, tuple[int, Run]], alone: Mapping[int, int]) -> tuple[Priced, ...]:
    """The runs of a choice with what they bring and take."""
    return tuple(
        Priced(run, size, max(alone[node] for node in range(run.first, run.last + 1)), one.cycles)
        for one, (size, run) in ((one, found[one]) for one in way.taken)
    )


def _candidates(
    graph: Graph, rows: Sequence[Rows | None], row_cycles: float, alone: Mapping[int, int], given: bool
) -> Iterator[_Candidate]:
    """The runs that may save something: a bound from below on what they need is under what their nodes need alone.

    Nor does it help to save where a node elsewhere cannot do with as little.
    """
    found = []
    consumers = graph.consumers()
    readers = {tensor: consumers.get(tensor, []) for tensor in graph.inputs if given}
    for first, last in spans(graph, rows):
        read = [tensor for tensor, nodes in readers.items() if any(first <= node <= last for node in nodes)]
        takes = len(read) == 1 and takes_input(graph, readers[read[0]], read[0], first, last)
        if takes or not read:
            taken = read[0] if takes else None
            held, cycles = _held(graph, rows, first, last, taken), extra_cycles(graph, rows, row_cycles, first, last)
            found.append(_Candidate(first, last, taken, held, cycles))
    least = dict(alone)
    for candidate in found:
        for node in range(candidate.first, candidate.last + 1):
            least[node] = min(least[node], candidate.least_bytes)
    floor = max(least.values(), default=0)
    for candidate in found:
        most = max(alone[node] for node in range(candidate.first, candidate.last + 1))
        if candidate.given is not None or max(candidate.least_bytes, floor) < most:
            yield candidate


def _held(graph: Graph, rows: Sequence[Rows | None], first: int, last: int, given: int | None) -> int:
    """A bound from below: the largest tensor that lies in RAM whole, and what windows keep halfway."""
    read = {t for node in range(first, last + 1) for t in read_tensors(graph, node, _present(rows[node]))}
    made = {graph.nodes[node].outputs[0] for node in range(first, last)}
    outside = (read - made - {given}) | {graph.nodes[last].outputs[0]}
    return max(*(graph.tensors[tensor].bytes for tensor in outside), _kept_rows(graph, rows, first, last))


def _kept_rows(graph: Graph, rows: Sequence[Rows | None], first: int, last: int) -> int:
    """The bytes of rows that windows keep from one row of their outputs to the next."""
    kept: dict[int, int] = {}
    for node in range(first, last + 1):
        found = _present(rows[node])
        for tensor in read_tensors(graph, node, found):
            window = min(found.height, graph.tensors[tensor].rows) if not found.gathers else 0
            kept[tensor] = max(kept.get(tensor, 0), (window - found.stride) * row_bytes(graph.tensors[tensor]))
    return sum(kept.values())


def _present(rows: Rows | None) -> Rows:
    assert rows is not None
    return rows


def extra_cycles(graph: Graph, rows: Sequence[Rows | None], row_cycles: float, first: int, last: int) -> float:
    """What a run takes more than its nodes one after the other."""
    each = ((node, _present(rows[node])) for node in range(first, last + 1))
    return sum(found.extra_cycles + row_cycles * turns(graph, node, found) for node, found in each)


def _need(
    graph: Graph,
    kernels: Sequence[Kernel | None],
    rows: Sequence[Rows | None],
    candidate: _Candidate,
    places: Storage,
    known: Known,
) -> tuple[int, Run]:
    """The bytes needed while a run is at work, and the run."""
    first, last = candidate.first, candidate.last
    key = first, candidate.given, tuple(known.kernels[first : last + 1])
    if key not in known.needs:
        made = run(graph, rows, first, last, candidate.given)
        planned = schedule(graph, kernels, rows, (made,))
        live = live_bytes(graph, planned, places)
        inside = [i for i, moment in enumerate(planned.moments) if moment.node == GIVEN or first <= moment.node <= last]
        known.needs[key] = int(live[inside[0] + 1 : inside[-1] + 2].max()), made
    return known.needs[key]


def _worth(ways: Sequence[_Way]) -> list[_Way]:
    """Those that no other beats in bytes and cycles, the cheapest first."""
    found: list[_Way] = []
    for way in sorted(ways, key=lambda way: (way.cycles, way.bytes, len(way.taken))):
        if not found or way.bytes < found[-1].bytes:
            found.append(way)
    return found
