"""Turns a graph into one whose nodes are in an order that keeps fewer bytes at once, where there is such an order."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinygen.ir import ABSENT, Graph
from tinygen.memory.views import storage

EXACT_STATES = 20_000
"""Sets of done nodes that the exact search looks at before a beam search takes over."""
BEAM = 48
"""Sets of done nodes that the beam search keeps of each size."""


@dataclass(frozen=True)
class _Value:
    """Bytes that nodes pass on; nodes are bits of a mask."""

    bytes: int
    readers: int
    stays: bool
    """Whether it is an output of the graph."""


@dataclass(frozen=True)
class _State:
    """Nodes that are done, the bytes kept then, and the most that were kept on the way."""

    peak: int
    live: int
    done: int
    order: tuple[int, ...]

    @property
    def rank(self) -> tuple[int, int, int, tuple[int, ...]]:
        """The best first: least bytes, then most nodes done, then the order of the file."""
        return self.peak, -len(self.order), self.live, self.order


def in_best_order(graph: Graph) -> Graph:
    """The graph itself when no order is known to be better: a node's output is taken to lie over inputs that die."""
    search = _Search(graph)
    present = search.start
    for node in range(len(graph.nodes)):
        present = search.after(present, node)
    best = search.exact(present.peak)
    if best is None:
        best = search.beam()
    if best.peak >= present.peak:
        return graph
    return graph.with_nodes(graph.nodes[node] for node in best.order)


class _Search:
    """The values of a graph, and what is ready when."""

    def __init__(self, graph: Graph) -> None:
        places = storage(graph, 1, joined=False).places
        run_time = {*graph.inputs, *(tensor for node in graph.nodes for tensor in node.outputs)}
        owner = {tensor: places[tensor][0] for tensor in run_time}
        self.count = len(graph.nodes)
        makers = graph.producers()
        readers = dict.fromkeys(owner.values(), 0)
        for index, node in enumerate(graph.nodes):
            for tensor in (*node.inputs, *node.outputs):
                if tensor in owner and makers.get(owner[tensor]) != index:
                    readers[owner[tensor]] |= 1 << index
        stays = {owner[tensor] for tensor in graph.outputs if tensor in owner}
        self.values = {v: _Value(graph.tensors[v].bytes, readers[v], v in stays) for v in dict.fromkeys(owner.values())}
        self.makes = [[t for t in node.outputs if owner[t] == t] for node in graph.nodes]
        self.reads = [list(dict.fromkeys(owner[t] for t in node.inputs if t in owner)) for node in graph.nodes]
        self.needs = [sum({1 << makers[t] for t in node.inputs if t != ABSENT and t in makers}) for node in graph.nodes]
        live = sum(self.values[tensor].bytes for tensor in dict.fromkeys(graph.inputs))
        self.start = _State(live, live, 0, ())

    def after(self, state: _State, node: int) -> _State:
        """What follows when `node` is done next."""
        done = state.done | 1 << node
        made = sum(self.values[tensor].bytes for tensor in self.makes[node])
        dead = sum(self._dies(tensor, done) for tensor in self.reads[node])
        unread = sum(self._dies(tensor, done) for tensor in self.makes[node])
        live = state.live + made - dead
        return _State(max(state.peak, live), live - unread, done, (*state.order, node))

    def _dies(self, tensor: int, done: int) -> int:
        """The bytes of a value that is not needed any more."""
        value = self.values[tensor]
        return 0 if value.stays or value.readers & ~done else value.bytes

    def ready(self, state: _State) -> Iterator[int]:
        """The nodes that can come next: the first that frees as much as it takes, or all.

        To do such a node at once never harms: later on it would free no less, and until then its inputs are kept.
        """
        found = [n for n in range(self.count) if not (state.done >> n & 1 or self.needs[n] & ~state.done)]
        for node in found:
            follows = self.after(state, node)
            if follows.live <= state.live and follows.peak == state.peak:
                yield node
                return
        yield from found

    def exact(self, most: int) -> _State | None:
        """The order of least peak, found by taking up the set of nodes of least peak again and again.

        None when there are too many sets; sets with a peak of `most` are enough as they are.
        """
        best: dict[int, int] = {0: self.start.peak}
        queue = [(self.start.rank, self.start)]
        while queue:
            _, state = heapq.heappop(queue)
            if len(state.order) == self.count or state.peak >= most:
                return state
            if len(best) > EXACT_STATES:
                return None
            for node in self.ready(state):
                follows = self.after(state, node)
                if follows.peak < best.get(follows.done, follows.peak + 1):
                    best[follows.done] = follows.peak
                    heapq.heappush(queue, (follows.rank, follows))
        return self.start

    def beam(self) -> _State:
        """A good order: of the sets of each size the best few are kept."""
        kept: Sequence[_State] = [self.start]
        for _ in range(self.count):
            found: dict[int, _State] = {}
            for state in kept:
                for node in self.ready(state):
                    follows = self.after(state, node)
                    if follows.done not in found or follows.rank < found[follows.done].rank:
                        found[follows.done] = follows
            kept = sorted(found.values(), key=lambda state: state.rank)[:BEAM]
        return kept[0]
