"""Turns a model file into the facts that `tinygen inspect` shows, its problems among them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tinygen import compression, ops
from tinygen.arena import Arena, arena
from tinygen.compression import Layer
from tinygen.driver import PORTABLE, Model, compile_model
from tinygen.errors import ModelError
from tinygen.frontend import tflite
from tinygen.ir import ABSENT, Graph, Node, Tensor
from tinygen.ops.spec import context_of
from tinygen.passes.in_steps import in_steps
from tinygen.planning import options
from tinygen.quant import Numerics
from tinygen.target import load_core

STEPS = 4
"""Of a row, where a network over time is computed by rows."""


@dataclass(frozen=True)
class TensorFacts:
    """A tensor as its user sees it."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    scale: float | None
    zero_point: int | None
    channels: int
    """Number of scales: 0 when it is not quantised, 1 per tensor, more per channel."""


@dataclass(frozen=True)
class Row:
    """One operator of the file."""

    location: str
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    macs: int
    constant_bytes: int
    problem: str | None


@dataclass(frozen=True)
class Option:
    """What some layers computed row by row would make of the RAM; none of them in the first of a list."""

    layers: tuple[str, ...]
    """Of each run the first layer and the last."""
    bytes: int
    """About what is needed at the fullest moment; the arena may take more."""
    extra_percent: float
    """About the cycles that it takes more, by the cost model of plain C."""


@dataclass(frozen=True)
class Inspection:
    """What is in a model, and what stops it from being compiled."""

    model: str
    file_bytes: int
    subgraphs: int
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    operators: tuple[Row, ...]
    macs: int
    constant_bytes: int
    arena_bytes: int | None
    """None when the model cannot be compiled."""
    memory: Arena | None
    """What fills the arena and when; None when the model cannot be compiled."""
    options: tuple[Option, ...]
    """Fewer bytes for more cycles; empty when the model cannot be compiled."""
    weights: tuple[Layer, ...]
    """Of those layers whose zeros, or few values, a board may make use of."""
    problems: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """The same facts as plain data."""
        return {**asdict(self), "memory": self.memory.as_json() if self.memory else None}


def inspect(path: Path, subgraph: int = 0) -> Inspection:
    """The facts of a .tflite file; ModelError only when it cannot be read at all."""
    data, graph, problems = tflite.open_outline(path, subgraph)
    rows = tuple(_row(graph, node, problems) for node in graph.nodes)
    lines = [line for problem in problems for line in problem.lines]
    lines += [row.problem for row in rows if row.problem and row.problem not in lines]
    memory: Arena | None = None
    weights: tuple[Layer, ...] = ()
    choices: tuple[Option, ...] = ()
    if not lines:
        try:
            compiled = compile_model(Model(str(path), data, graph))
        except ModelError as problem:
            lines += problem.lines
        else:
            memory = arena(compiled.graph, compiled.plan)
            weights = compression.layers(compiled)
            choices = _options(compiled.graph)
    return Inspection(
        str(path),
        len(data),
        tflite.count_subgraphs(data, str(path)),
        tuple(_facts(graph.tensors[i]) for i in graph.inputs),
        tuple(_facts(graph.tensors[i]) for i in graph.outputs),
        rows,
        sum(row.macs for row in rows),
        sum(tensor.bytes for tensor in graph.tensors.values() if tensor.data is not None),
        memory.bytes if memory else None,
        memory,
        choices,
        weights,
        tuple(lines),
    )


def _options(graph: Graph) -> tuple[Option, ...]:
    """By the portable kernels, the cheapest first."""
    graph = in_steps(graph, STEPS)
    cycles, found = options(graph, Numerics.TFLITE, load_core(PORTABLE))
    return tuple(
        Option(
            tuple(f"{graph.nodes[run.first].location} to {graph.nodes[run.last].location}" for run in one.runs),
            one.live_bytes,
            100 * one.extra_cycles / cycles if cycles else 0,
        )
        for one in found
    )


def _row(graph: Graph, node: Node, problems: list[ModelError]) -> Row:
    inputs = [graph.tensors[i] for i in node.inputs if i != ABSENT]
    problem = next((str(p) for p in problems if p.where == node.location), None)
    macs = 0
    spec = ops.SPECS.get(node.op)
    if spec is not None and not problem:
        context = context_of(graph, node, Numerics.TFLITE)
        try:
            spec.check(context)
            macs = spec.cost(context).macs
        except ModelError as error:
            problem = None if all(tensor.data is not None for tensor in inputs) else str(error)
    return Row(
        node.location,
        tuple(_facts(tensor) for tensor in inputs),
        tuple(_facts(graph.tensors[i]) for i in node.outputs),
        macs,
        sum(tensor.bytes for tensor in inputs if tensor.data is not None),
        problem,
    )


def _facts(tensor: Tensor) -> TensorFacts:
    return TensorFacts(
        tensor.name,
        tensor.dtype,
        tensor.shape,
        tensor.bytes,
        tensor.scale if tensor.per_tensor else None,
        tensor.zero_point if tensor.per_tensor else None,
        len(tensor.quant.scale) if tensor.quant else 0,
    )
