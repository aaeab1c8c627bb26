"""Chooses which runs of nodes are computed row by row: what that saves in RAM against what it costs in cycles."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tinygen.ir import Graph
from tinygen.memory.live import live_bytes
from tinygen.memory.rows import GIVEN, Run, read_tensors, row_bytes, run, spans, takes_input, turns
from tinygen.memory.schedule import schedule
from tinygen.memory.views import storage
from tinygen.ops.spec import Cost, Kernel, Rows


@dataclass(frozen=True)
class Price:
    """About what a core takes, in cycles."""

    mac: float
    output: float
    row: float
    """To take the next event of a run and call its kernel."""

    def of(self, cost: Cost) -> float:
        """A node computed as a whole."""
        return self.mac * cost.macs + self.output * cost.outputs


PRICES: Mapping[str, Price] = MappingProxyType(
    {
        "mve": Price(0.14, 3.2, 20),
        "dsp": Price(1.0, 6, 60),
        "armv6m": Price(4, 20, 100),
        "armv7m": Price(2.9, 20, 80),
        "": Price(6, 20, 100),
    }
)
"""Feature of a core -> its price, measured on the MLPerf Tiny models; the first that a core has."""


@dataclass(frozen=True)
class Streaming:
    """A choice of runs: about the RAM that it needs, and the cycles that it takes more than none."""

    runs: tuple[Run, ...]
    live_bytes: int
    extra_cycles: float


@dataclass(frozen=True)
class _Way:
    """Runs up to a node."""

    bytes: int
    cycles: float
    runs: tuple[Run, ...] = ()


@dataclass(frozen=True)
class Known:
    """What runs need, by the node that they begin with, whether they take the input, and the kernels in them."""

    kernels: Sequence[Hashable]
    """What tells the kernel of each node, and its rows."""
    needs: dict[tuple[int, bool, tuple[Hashable, ...]], tuple[int, Run]]


@dataclass(frozen=True)
class _Candidate:
    """A run that is worth a try."""

    first: int
    last: int
    given: bool
    least_bytes: int


def price(features: frozenset[str]) -> Price:
    """Of a core with these features."""
    return next(found for feature, found in PRICES.items() if feature in features or not feature)


def streamings(
    graph: Graph,
    kernels: Sequence[Kernel | None],
    rows: Sequence[Rows | None],
    paid: Price,
    most_cycles: float = float("inf"),
    given: bool = False,
    known: Known | None = None,
) -> list[Streaming]:
    """The choices that are worth it: fewer bytes for more cycles, the cheapest first.

    Each run costs at most `most_cycles` more. With `given`, the first run takes the model's input row by row. `known`
    keeps what has been found of runs from one call to the next.
    """
    known = known or Known([None] * len(graph.nodes), {})
    places = storage(graph, 1, joined=False)
    live = live_bytes(graph, schedule(graph, kernels), places)
    alone = {node: int(live[node + 1]) for node in range(len(graph.nodes))}
    ways: list[list[_Way]] = [[_Way(0, 0)]] + [[] for _ in graph.nodes]
    tried: dict[int, list[tuple[int, _Way]]] = {}
    for candidate in _candidates(graph, rows, alone, given):
        if way := _try(graph, kernels, rows, paid, candidate, most_cycles, known):
            tried.setdefault(candidate.first, []).append((candidate.last, way))
    for node in range(len(graph.nodes)):
        kept = ways[node] = _worth(ways[node])
        fed = {graph.consumers().get(graph.inputs[0], [-1])[0]} if given else set()
        options = [*tried.get(node, []), *([] if node in fed else [(node, _Way(alone.get(node, 0), 0))])]
        for last, way in options:
            ways[last + 1] += [_Way(max(w.bytes, way.bytes), w.cycles + way.cycles, (*w.runs, *way.runs)) for w in kept]
    return [Streaming(way.runs, way.bytes, way.cycles) for way in _worth(ways[-1])]


def _candidates(
    graph: Graph, rows: Sequence[Rows | None], alone: Mapping[int, int], given: bool
) -> Iterator[_Candidate]:
    """The runs that may save something: a bound from below on what they need is under what their nodes need alone.

    Nor does it help to save where a node elsewhere cannot do with as little.
    """
    found = []
    for first, last in spans(graph, rows):
        if given and takes_input(graph, first, last):
            found.append(_Candidate(first, last, True, _held(graph, rows, first, last, True)))
        elif not (given and _reads_input(graph, first, last)):
            found.append(_Candidate(first, last, False, _held(graph, rows, first, last, False)))
    least = dict(alone)
    for candidate in found:
        for node in range(candidate.first, candidate.last + 1):
            least[node] = min(least[node], candidate.least_bytes)
    floor = max(least.values(), default=0)
    for candidate in found:
        most = max(alone[node] for node in range(candidate.first, candidate.last + 1))
        if candidate.given or max(candidate.least_bytes, floor) < most:
            yield candidate


def _reads_input(graph: Graph, first: int, last: int) -> bool:
    """Whether one of these nodes reads the model's first input."""
    return any(first <= node <= last for node in graph.consumers().get(graph.inputs[0], []))


def _held(graph: Graph, rows: Sequence[Rows | None], first: int, last: int, given: bool) -> int:
    """A bound from below: the largest tensor that lies in RAM whole, and what windows keep halfway."""
    read = {t for node in range(first, last + 1) for t in read_tensors(graph, node, _present(rows[node]))}
    made = {graph.nodes[node].outputs[0] for node in range(first, last)}
    outside = (read - made - ({graph.inputs[0]} if given else set())) | {graph.nodes[last].outputs[0]}
    return max(*(graph.tensors[tensor].bytes for tensor in outside), _kept_rows(graph, rows, first, last))


def _kept_rows(graph: Graph, rows: Sequence[Rows | None], first: int, last: int) -> int:
    """The bytes of rows that windows keep from one row of their outputs to the next."""
    kept: dict[int, int] = {}
    for node in range(first, last + 1):
        found = _present(rows[node])
        for tensor in read_tensors(graph, node, found):
            shape = graph.tensors[tensor].shape
            window = min(found.height, shape[1]) if not found.gathers else 0
            kept[tensor] = max(kept.get(tensor, 0), (window - found.stride) * row_bytes(graph.tensors[tensor]))
    return sum(kept.values())


def _present(rows: Rows | None) -> Rows:
    assert rows is not None
    return rows


def _try(
    graph: Graph,
    kernels: Sequence[Kernel | None],
    rows: Sequence[Rows | None],
    paid: Price,
    candidate: _Candidate,
    most_cycles: float,
    known: Known,
) -> _Way | None:
    """One run on its own: the bytes needed while it is at work, and what it costs; None if that is too much."""
    first, last, given = candidate.first, candidate.last, candidate.given
    cycles = 0.0
    for node in range(first, last + 1):
        found = _present(rows[node])
        cycles += found.extra_cycles + paid.row * turns(graph, node, found)
    if cycles > most_cycles:
        return None
    key = first, given, tuple(known.kernels[first : last + 1])
    if key not in known.needs:
        known.needs[key] = _need(graph, kernels, rows, candidate)
    live, made = known.needs[key]
    return _Way(live, cycles, (made,))


def _need(
    graph: Graph, kernels: Sequence[Kernel | None], rows: Sequence[Rows | None], candidate: _Candidate
) -> tuple[int, Run]:
    """The bytes needed while a run is at work, and the run."""
    first, last = candidate.first, candidate.last
    made = run(graph, rows, first, last, candidate.given)
    planned = schedule(graph, kernels, rows, (made,))
    live = live_bytes(graph, planned, storage(graph, 1, joined=False))
    inside = [i for i, moment in enumerate(planned.moments) if moment.node == GIVEN or first <= moment.node <= last]
    return int(live[inside[0] + 1 : inside[-1] + 2].max()), made


def _worth(ways: Sequence[_Way]) -> list[_Way]:
    """Those that no other beats in bytes and cycles, the cheapest first."""
    found: list[_Way] = []
    for way in sorted(ways, key=lambda way: (way.cycles, way.bytes, len(way.runs))):
        if not found or way.bytes < found[-1].bytes:
            found.append(way)
    return found
