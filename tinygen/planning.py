"""Turns a graph and the kernels chosen for it into the plan of its RAM: what is computed by rows, what lies where."""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType

from tinygen import ops
from tinygen.ir import Graph
from tinygen.memory.peak import peak
from tinygen.memory.plan import Plan, plan
from tinygen.memory.streaming import price, streamings
from tinygen.quant import Numerics
from tinygen.target import Core
from tinygen.variants import Choices, Optimize, choose, frugal, kernels

MOST_EXTRA: Mapping[Optimize, float] = MappingProxyType(
    {
        Optimize.SPEED: 0.01,
        Optimize.COMPACT: 0.01,
        Optimize.RAM: 0.15,
        Optimize.LEAST_RAM: math.inf,
        Optimize.FLASH: 0,
    }
)
"""What may be paid for RAM, as a share of the cycles of an inference. For flash nothing: a run of rows takes code."""
MOST_TRIED = 4
"""Choices of runs that are placed, at most: a plan may be larger than what it needs at any one moment."""


def plan_for(
    graph: Graph, numerics: Numerics, core: Core, optimize: Optimize, given: bool = False
) -> tuple[Choices, Plan]:
    """The kernels, and the smallest plan for what may be paid; with `given`, the caller gives the input row by row."""
    choices = choose(graph, numerics, core, optimize)
    left = MOST_EXTRA[optimize] * whole_cycles(choices, core)
    best = choices, _with_runs(graph, choices, core, left, given)
    while optimize in (Optimize.RAM, Optimize.LEAST_RAM):
        step = peak(best[1]).step
        found = frugal(graph, core, choices, step, left) if 0 <= step < len(choices) else None
        if found is None:
            break
        choices, paid = found
        left -= paid
        made = _with_runs(graph, choices, core, left, given)
        if made.arena_bytes < best[1].arena_bytes:
            best = choices, made
    return best


def whole_cycles(choices: Choices, core: Core) -> float:
    """About the cycles of an inference with these kernels on a core."""
    chosen = (choice for choice in choices if choice)
    return sum(price(c.variant.features).of(ops.SPECS[c.context.node.op].cost(c.context)) for c in chosen)


def _with_runs(graph: Graph, choices: Choices, core: Core, most: float, given: bool) -> Plan:
    """The smallest plan whose runs of rows take at most so many cycles more."""
    chosen, rows = kernels(choices), [choice.rows if choice else None for choice in choices]
    found = streamings(graph, chosen, rows, price(core.features), most, given)
    ways = [way for way in found if not way.runs or way.extra_cycles <= most]
    best: Plan | None = None
    for way in list(reversed(ways))[:MOST_TRIED]:
        if best and best.arena_bytes <= way.live_bytes:
            break
        tried = plan(graph, chosen, core.alignment_bytes, rows, way.runs)
        if best is None or tried.arena_bytes < best.arena_bytes:
            best = tried
    return best or plan(graph, chosen, core.alignment_bytes)
