"""Chooses which runs of nodes are computed row by row: what that saves in RAM against what it costs in cycles."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from tinygen.ir import Graph
from tinygen.memory.live import live_bytes
from tinygen.memory.rows import GIVEN, Priced, Run, read_tensors, row_bytes, run, spans, takes_input, turns
from tinygen.memory.schedule import schedule
from tinygen.memory.views import storage
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


class _Candidate(NamedTuple):
    """A run that is worth a try."""

    first: int
    last: int
    given: int | None
    """The input that it takes row by row."""
    least_bytes: int
    """A bound from below on what it needs."""
    cycles: float


class _Way(NamedTuple):
    """Candidates, and what they take."""

    cycles: float
    taken: tuple[_Candidate, ...]


@dataclass(frozen=True)
class Known:
    """What runs need, by the node that they begin with, whether they take the input, and the kernels in them."""

    kernels: Sequence[Hashable]
    """What tells the kernel of each node, and its rows."""
    needs: dict[tuple[int, int | None, tuple[Hashable, ...]], tuple[int, Run]]


class Streamings:
    """The choices of runs of a graph that are worth it: fewer bytes for more cycles.

    To take a row of a run costs `row_cycles`, each run at most `most_cycles` more. With `given`, there is a run for
    each input that takes it row by row. What a run needs is found when a choice is asked for that takes it; `known`
    keeps it for others.
    """

    def __init__(
        self,
        graph: Graph,
        kernels: Sequence[Kernel | None],
        rows: Sequence[Rows | None],
        row_cycles: float,
        most_cycles: float = math.inf,
        given: bool = False,
        known: Known | None = None,
    ) -> None:
        self._graph, self._kernels, self._rows = graph, kernels, rows
        self._known = known or Known([None] * len(graph.nodes), {})
        self._places = storage(graph, 1, joined=False)
        live = live_bytes(graph, schedule(graph, kernels), self._places)
        self._alone = [int(live[node + 1]) for node in range(len(graph.nodes))]
        consumers = graph.consumers()
        self._readers = {tensor: consumers.get(tensor, []) for tensor in graph.inputs if given}
        self._fed = {nodes[0] for nodes in self._readers.values() if nodes}
        self._cycles = [extra_cycles(graph, rows, row_cycles, node, node) for node in range(len(graph.nodes))]
        self._windows = [_kept(graph, node, found) for node, found in enumerate(rows)]
        candidates = [one for one in self._candidates() if one.cycles <= most_cycles]
        self._starting: list[list[_Candidate]] = [[] for _ in graph.nodes]
        for one in candidates:
            self._starting[one.first].append(one)
        self._found: dict[_Candidate, tuple[int, Run]] = {}

    @property
    def whole_bytes(self) -> int:
        """What is needed without runs."""
        return max(self._alone, default=0)

    @property
    def least_cycles(self) -> float:
        """What the cheapest choice takes more than none; infinite where there is no choice."""
        return self._cheapest(math.inf).cycles

    def all(self) -> list[Streaming]:
        """Every one, the cheapest first."""
        return [*self.smallest_first()][::-1]

    def smallest_first(self, most_cycles: float = math.inf) -> Iterator[Streaming]:
        """Those that take at most so many cycles more, that which needs least first.

        Runs are taken to need their bound; what they do need is looked for where a choice seems to be the next.
        """
        below, least = math.nextafter(most_cycles, math.inf), 0
        while self.least_cycles < below:
            sizes = {0, *self._alone, *(self._bytes(one) for starting in self._starting for one in starting)}
            rising = sorted(size for size in sizes if size >= least)
            least = rising[bisect_left(rising, True, key=lambda size: self._cheapest(size).cycles < below)]
            way = self._cheapest(least)
            unknown = [one for one in way.taken if one not in self._found]
            self._found |= {one: self._need(one) for one in unknown}
            if not unknown:
                yield self._streaming(way, least)
                below = way.cycles

    def _cheapest(self, most_bytes: float) -> _Way:
        """The cheapest choice that needs no more bytes, of equals that with fewest runs; infinite if there is none."""
        costs = [(0.0, 0)] + [(math.inf, 0)] * len(self._alone)
        last: list[_Candidate | None] = [None] * len(costs)
        for node, alone in enumerate(self._alone):
            cycles, runs = costs[node]
            if alone <= most_bytes and node not in self._fed and costs[node] < costs[node + 1]:
                costs[node + 1], last[node + 1] = costs[node], None
            for one in self._starting[node] if cycles < math.inf else ():
                cost = cycles + one.cycles, runs + 1
                if cost < costs[one.last + 1] and self._bytes(one) <= most_bytes:
                    costs[one.last + 1], last[one.last + 1] = cost, one
        taken: list[_Candidate] = []
        node = len(self._alone)
        while node and costs[-1][0] < math.inf:
            before = last[node]
            taken += [before] if before else []
            node = before.first if before else node - 1
        return _Way(costs[-1][0], tuple(taken[::-1]))

    def _bytes(self, one: _Candidate) -> int:
        """What a run needs, or its bound until that is known."""
        return self._found[one][0] if one in self._found else one.least_bytes

    def _streaming(self, way: _Way, size: int) -> Streaming:
        """A choice with what its runs bring and take."""
        found = ((one, *self._found[one]) for one in way.taken)
        priced = (Priced(run, size, self._most_alone(one.first, one.last), one.cycles) for one, size, run in found)
        return Streaming(tuple(priced), size, way.cycles)

    def _most_alone(self, first: int, last: int) -> int:
        """What nodes need one after the other."""
        return max(self._alone[first : last + 1])

    def _candidates(self) -> Iterator[_Candidate]:
        """The runs that may save something: a bound from below on what they need is under what their nodes need alone.

        Nor does it help to save where a node elsewhere cannot do with as little.
        """
        found = []
        for first, last in spans(self._graph, self._rows):
            read = [tensor for tensor, nodes in self._readers.items() if any(first <= n <= last for n in nodes)]
            takes = len(read) == 1 and takes_input(self._graph, self._readers[read[0]], read[0], first, last)
            if takes or not read:
                given = read[0] if takes else None
                cycles = sum(self._cycles[first : last + 1])
                found.append(_Candidate(first, last, given, self._held(first, last, given), cycles))
        least = [*self._alone]
        for one in found:
            for node in range(one.first, one.last + 1):
                least[node] = min(least[node], one.least_bytes)
        floor = max(least, default=0)
        for one in found:
            if one.given is not None or max(one.least_bytes, floor) < self._most_alone(one.first, one.last):
                yield one

    def _held(self, first: int, last: int, given: int | None) -> int:
        """A bound from below: the largest tensor that lies in RAM whole, and what windows keep halfway."""
        kept: dict[int, int] = {}
        for node in range(first, last + 1):
            for tensor, size in self._windows[node]:
                kept[tensor] = max(kept.get(tensor, 0), size)
        made = {self._graph.nodes[node].outputs[0] for node in range(first, last)}
        outside = {*kept.keys() - made - {given}, self._graph.nodes[last].outputs[0]}
        return max(*(self._graph.tensors[tensor].bytes for tensor in outside), sum(kept.values()))

    def _need(self, candidate: _Candidate) -> tuple[int, Run]:
        """The bytes needed while a run is at work, and the run."""
        first, last = candidate.first, candidate.last
        key = first, candidate.given, tuple(self._known.kernels[first : last + 1])
        if key not in self._known.needs:
            made = run(self._graph, self._rows, first, last, candidate.given)
            planned = schedule(self._graph, self._kernels, self._rows, (made,))
            live = live_bytes(self._graph, planned, self._places)
            nodes = [moment.node for moment in planned.moments]
            inside = [i for i, node in enumerate(nodes) if node == GIVEN or first <= node <= last]
            self._known.needs[key] = int(live[inside[0] + 1 : inside[-1] + 2].max()), made
        return self._known.needs[key]


def _kept(graph: Graph, node: int, rows: Rows | None) -> list[tuple[int, int]]:
    """The tensors that a node reads by rows, with the bytes that it keeps from one row of its own to the next."""
    if rows is None:
        return []
    tensors = [graph.tensors[tensor] for tensor in read_tensors(graph, node, rows)]
    windows = [min(rows.height, tensor.rows) if not rows.gathers else 0 for tensor in tensors]
    return [(t.id, (window - rows.stride) * row_bytes(t)) for t, window in zip(tensors, windows, strict=True)]


def extra_cycles(graph: Graph, rows: Sequence[Rows | None], row_cycles: float, first: int, last: int) -> float:
    """What a run takes more than its nodes one after the other."""
    each = ((node, found) for node in range(first, last + 1) if (found := rows[node]) is not None)
    return sum(found.extra_cycles + row_cycles * turns(graph, node, found) for node, found in each)
