"""Turns a memory plan into what people are told of it: how good it is, when it is fullest and what fills it then."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tinygen.ir import Graph
from tinygen.memory.peak import Held, peak
from tinygen.memory.plan import ArenaPart, Plan
from tinygen.memory.rows import Priced

AT_START, AT_END = "model inputs", "model outputs"
AMONG_VARIABLES = "among the variables"
MAX_NAME = 60
MOST_NAMED = 4


@dataclass(frozen=True)
class Content:
    """A tensor, or scratch, at the fullest moment."""

    name: str
    bytes: int
    shared_bytes: int
    """Of these, bytes that something named before it has too: it is written over what dies then."""


@dataclass(frozen=True)
class Share:
    """A part of the arena: its region of RAM, empty for the one for variables, and the largest that lie there."""

    region: str
    bytes: int
    contents: tuple[str, ...]


@dataclass(frozen=True)
class Rows:
    """A run of layers that are computed row by row: what that brings, and takes."""

    first: str
    last: str
    bytes: int
    """About the RAM that is needed while it is at work."""
    whole_bytes: int
    """The same when its layers are computed one after the other."""
    extra_percent: float
    """About the cycles that it takes more, of those of an inference."""

    def __str__(self) -> str:
        layers = self.first if self.first == self.last else f"{self.first} to {self.last}"
        need = f"{self.bytes:,} bytes at work, {self.whole_bytes:,} if computed whole"
        return f"by rows, {layers}: {need}; {self.extra_percent:.1f} % more cycles by the cost model"


@dataclass(frozen=True)
class Arena:
    """The arena of a plan."""

    bytes: int
    least_bytes: int
    """What every plan of these kernels in this order needs, as far as it is proved."""
    peak_at: str
    peak_bytes: int
    contents: tuple[Content, ...]
    """The largest first."""
    layers_by_rows: int
    """Layers that are computed row by row."""
    shares: tuple[Share, ...] = ()
    """Where it lies, if not among the ordinary variables as a whole."""
    rows: tuple[Rows, ...] = ()
    """What is computed row by row, and its price."""

    @property
    def is_optimal(self) -> bool:
        """Whether no plan of these kernels in this order is smaller."""
        return self.bytes <= self.least_bytes

    def as_json(self) -> dict[str, Any]:
        """The same as plain data."""
        return {**asdict(self), "is_optimal": self.is_optimal}

    def lines(self) -> Iterator[str]:
        """What is said of it, the size itself apart."""
        if self.is_optimal:
            yield "proved: no plan of these kernels in this order is smaller"
        else:
            above = 100 * (self.bytes / self.least_bytes - 1)
            yield f"at most {above:.1f} % above what these kernels need in this order: {self.least_bytes:,} bytes"
        yield f"fullest at {self.peak_at}: {', '.join(map(_text, self.contents))}"
        for share in self.shares:
            where = f"in {share.region}" if share.region else AMONG_VARIABLES
            yield f"{where}, {share.bytes:,} bytes: {', '.join(share.contents)}"
        if self.layers_by_rows:
            yield f"computed row by row: {self.layers_by_rows} {'layer' if self.layers_by_rows == 1 else 'layers'}"
        yield from map(str, self.rows)


def arena(graph: Graph, plan: Plan) -> Arena:
    """What there is to say of `plan`."""
    found = peak(plan)
    at = AT_START if found.step < 0 else AT_END
    if 0 <= found.step < len(graph.nodes):
        at = graph.nodes[found.step].location
    contents = tuple(Content(_name(graph, held), held.part.bytes, found.shared_bytes(held)) for held in found.held)
    rows = sum(run.last - run.first + 1 for run in plan.runs)
    shares = tuple(_share(graph, plan, part) for part in plan.parts)
    priced = tuple(_rows(graph, plan, one) for one in plan.priced)
    return Arena(plan.arena_bytes, plan.lower_bound, at, found.bytes, contents, rows, shares, priced)


def _rows(graph: Graph, plan: Plan, priced: Priced) -> Rows:
    first, last = (graph.nodes[node].location for node in (priced.run.first, priced.run.last))
    share = 100 * priced.extra_cycles / plan.cycles if plan.cycles else 0
    return Rows(first, last, priced.bytes, priced.whole_bytes, share)


def _share(graph: Graph, plan: Plan, part: ArenaPart) -> Share:
    """What lies in a part; the rows of a tensor, each a buffer of its own, count as one."""
    taken: dict[str, int] = {}
    for buffer, offset in plan.buffers:
        if part.start <= offset < part.start + part.bytes:
            name = short(_named(graph, buffer.tensors, buffer.scratch_of))
            taken[name] = taken.get(name, 0) + buffer.bytes
    largest = sorted(taken.items(), key=lambda one: (-one[1], one[0]))
    more = [f"{len(largest) - MOST_NAMED} more"] if len(largest) > MOST_NAMED else []
    return Share(part.region, part.bytes, tuple([f"{name} ({size:,})" for name, size in largest[:MOST_NAMED]] + more))


def _name(graph: Graph, held: Held) -> str:
    return _named(graph, held.part.tensors, held.buffer.scratch_of)


def _named(graph: Graph, tensors: Sequence[int], scratch_of: Sequence[int]) -> str:
    if tensors:
        return graph.tensors[tensors[0]].name
    return f"scratch of {', '.join(graph.nodes[node].location for node in scratch_of)}"


def _text(content: Content) -> str:
    shared = f", {content.shared_bytes:,} of them shared" if content.shared_bytes else ""
    return f"{short(content.name)} ({content.bytes:,}{shared})"


def short(name: str) -> str:
    """A tensor's name as a person can read it: converters join the names of all that they fused with semicolons."""
    first = name.split(";")[0]
    return first if len(first) <= MAX_NAME else f"...{first[3 - MAX_NAME :]}"
