"""Turns a graph into the plan of its RAM, its sequences over time divided into rows of steps where that is best."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from tinygen.ir import Graph
from tinygen.memory.plan import Plan
from tinygen.passes.in_steps import in_steps
from tinygen.patching import planned as patched
from tinygen.planning import LEAST_SAVED, MOST_EXTRA, whole_cycles
from tinygen.quant import Numerics
from tinygen.target import Core
from tinygen.variants import ANY_ROOM, Choices, Optimize, Room, choose

STEPS: Mapping[Optimize, tuple[int, ...]] = MappingProxyType({Optimize.RAM: (2, 4, 8, 16), Optimize.LEAST_RAM: (1, 4)})
"""Steps of a row that are tried: kernels take several at once, and rows of few need least."""
STEPS_GIVEN = (4, 16)
"""The same for any other goal, where the caller gives the input."""


def planned(
    graph: Graph, numerics: Numerics, core: Core, optimize: Optimize, given: int = 0, room: Room = ANY_ROOM
) -> tuple[Graph, Choices, Plan]:
    """The graph, its kernels and the smallest plan for what may be paid.

    With `given`, the caller gives the input row by row so many times. Raises ModelError where it cannot be given so.
    """
    sizes = STEPS.get(optimize, STEPS_GIVEN if given else ())
    divided = [made for size in sizes if (made := in_steps(graph, size)) is not graph]
    by_steps = [patched(made, numerics, core, optimize, given, room) for made in divided]
    if by_steps and given:
        most = (1 + MOST_EXTRA[optimize]) * whole_cycles(choose(graph, numerics, core, optimize), core)
        return min(by_steps, key=lambda made: _rank(made[2], most))
    best = patched(graph, numerics, core, optimize, given, room)
    most = (1 + MOST_EXTRA[optimize]) * best[2].cycles
    share = 1 if optimize is Optimize.LEAST_RAM else 1 - LEAST_SAVED
    saving = [
        made for made in by_steps if made[2].arena_bytes < share * best[2].arena_bytes and _cycles(made[2]) <= most
    ]
    return min(saving, key=lambda made: made[2].arena_bytes, default=best)


def _cycles(plan: Plan) -> float:
    """About what an inference takes, its runs of rows too."""
    return plan.cycles + sum(one.extra_cycles for one in plan.priced)


def _rank(plan: Plan, most: float) -> tuple[float, int]:
    """The least bytes for at most so many cycles; else the least cycles."""
    cycles = _cycles(plan)
    return (0 if cycles <= most else cycles), plan.arena_bytes
