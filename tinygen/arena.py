"""Turns a memory plan into what people are told of it: how good it is, when it is fullest and what fills it then."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from tinygen.ir import Graph
from tinygen.memory.peak import Held, peak
from tinygen.memory.plan import Plan

AT_START, AT_END = "model inputs", "model outputs"
MAX_NAME = 60


@dataclass(frozen=True)
class Content:
    """A tensor, or scratch, at the fullest moment."""

    name: str
    bytes: int
    shared_bytes: int
    """Of these, bytes that something named before it has too: it is written over what dies then."""


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
        if self.layers_by_rows:
            yield f"computed row by row: {self.layers_by_rows} {'layer' if self.layers_by_rows == 1 else 'layers'}"


def arena(graph: Graph, plan: Plan) -> Arena:
    """What there is to say of `plan`."""
    found = peak(plan)
    at = AT_START if found.step < 0 else AT_END
    if 0 <= found.step < len(graph.nodes):
        at = graph.nodes[found.step].location
    contents = tuple(Content(_name(graph, held), held.part.bytes, found.shared_bytes(held)) for held in found.held)
    rows = sum(run.last - run.first + 1 for run in plan.runs)
    return Arena(plan.arena_bytes, plan.lower_bound, at, found.bytes, contents, rows)


def _name(graph: Graph, held: Held) -> str:
    if held.part.tensors:
        return graph.tensors[held.part.tensors[0]].name
    return f"scratch of {', '.join(graph.nodes[node].location for node in held.buffer.scratch_of)}"


def _text(content: Content) -> str:
    shared = f", {content.shared_bytes:,} of them shared" if content.shared_bytes else ""
    return f"{short(content.name)} ({content.bytes:,}{shared})"


def short(name: str) -> str:
    """A tensor's name as a person can read it: converters join the names of all that they fused with semicolons."""
    first = name.split(";")[0]
    return first if len(first) <= MAX_NAME else f"...{first[3 - MAX_NAME :]}"
