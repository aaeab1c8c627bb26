"""Turns a graph and the kernels chosen for it into the plan of its RAM: what is computed by rows, what lies where."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tinygen import ops
from tinygen.ir import Graph
from tinygen.memory.plan import Plan, plan
from tinygen.memory.streaming import price, streamings
from tinygen.target import Core
from tinygen.variants import Choices, Optimize, kernels

MOST_EXTRA: Mapping[Optimize, float] = MappingProxyType({Optimize.SPEED: 0.01, Optimize.RAM: 0.15, Optimize.FLASH: 0.0})
"""What may be paid for RAM, as a share of the cycles of an inference. For flash nothing: a run of rows takes code."""
MOST_TRIED = 4
"""Choices of runs that are placed, at most: a plan may be larger than what it needs at any one moment."""


def plan_for(graph: Graph, choices: Choices, core: Core, optimize: Optimize, given: bool = False) -> Plan:
    """The smallest plan for what may be paid; with `given`, the caller gives the model's input row by row."""
    chosen, rows = kernels(choices), [choice.rows if choice else None for choice in choices]
    paid = price(core.features)
    whole = sum(paid.of(ops.SPECS[choice.context.node.op].cost(choice.context)) for choice in choices if choice)
    most = MOST_EXTRA[optimize] * whole
    found = [
        way for way in streamings(graph, chosen, rows, paid, most, given) if way.runs == () or way.extra_cycles <= most
    ]
    best: Plan | None = None
    for way in list(reversed(found))[:MOST_TRIED]:
        if best and best.arena_bytes <= way.live_bytes:
            break
        tried = plan(graph, chosen, core.alignment_bytes, rows, way.runs)
        if best is None or tried.arena_bytes < best.arena_bytes:
            best = tried
    return best or plan(graph, chosen, core.alignment_bytes)
