"""Turns a graph and the kernels chosen for it into the plan of its RAM: what is computed by rows, what lies where."""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from types import MappingProxyType
from typing import Any

import numpy as np

from tinygen.errors import ModelError
from tinygen.ir import Graph
from tinygen.leaner import leaner
from tinygen.memory.peak import peak
from tinygen.memory.plan import Plan, plan
from tinygen.memory.prices import prices
from tinygen.memory.streaming import Known, Streaming, Streamings
from tinygen.ops.spec import Rows
from tinygen.quant import Numerics
from tinygen.target import Core
from tinygen.variants import (
    ANY_ROOM,
    Choices,
    Optimize,
    Room,
    choose,
    cycles_of,
    faster,
    frugal,
    kernels,
    plain_choices,
)

MOST_EXTRA: Mapping[Optimize, float] = MappingProxyType(
    {
        Optimize.FASTEST: 0,
        Optimize.SPEED: 0.01,
        Optimize.COMPACT: 0.01,
        Optimize.RAM: 0.15,
        Optimize.LEAST_RAM: math.inf,
        Optimize.FLASH: 0,
    }
)
"""What may be paid for RAM, as a share of the cycles of an inference. For flash nothing: a run of rows takes code."""
MOST_FOR_FLASH: Mapping[Optimize, float] = MappingProxyType(
    {goal: math.inf if goal is Optimize.FLASH else 0.01 for goal in Optimize}
)
"""What may be paid for leaner functions, as a share of the cycles of an inference."""
LEAST_SAVED = 0.05
"""Of the RAM: runs of rows that save less are not worth their code, unless the least is asked for."""
MOST_TRIED = 4
"""Choices of runs that are placed, at most: a plan may be larger than what it needs at any one moment."""


@dataclass(frozen=True)
class _Way:
    """Kernels, and runs of rows by them."""

    choices: Choices
    streaming: Streaming


def plan_for(
    graph: Graph,
    numerics: Numerics,
    core: Core,
    optimize: Optimize,
    given: bool = False,
    room: Room = ANY_ROOM,
    choices: Choices = (),
) -> tuple[Choices, Plan]:
    """The kernels, and the smallest plan for what may be paid; with `given`, the caller gives the input row by row.

    Several inputs are then the same one, given several times. `choices` are those of `choose`, if they are known.
    """
    choices = choices or choose(graph, numerics, core, optimize)
    if optimize is Optimize.FASTEST:
        choices = faster(graph, core, choices, room)
    else:
        most_cycles = MOST_FOR_FLASH[optimize] * whole_cycles(choices, core)
        choices = leaner(choices, core, most_cycles, room.lacking_bytes)
    left = MOST_EXTRA[optimize] * whole_cycles(choices, core)
    known: dict[Any, Any] = {}
    can_feed = not given or len({graph.tensors[tensor].source for tensor in graph.inputs}) == 1
    best = _with_runs(graph, choices, core, left, given, known) if can_feed else None
    if best is None:
        raise ModelError(
            "the input cannot be given row by row",
            where=graph.name,
            found=", ".join(str(graph.tensors[tensor].shape_in_file) for tensor in graph.inputs),
            expected="one image or sequence [1, ..., channels], read by convolutions, poolings or what works on pixels",
            remedy="compile without --feed",
        )
    if optimize is Optimize.LEAST_RAM:
        plain = _with_runs(graph, plain_choices(graph, numerics), core, left, given, known, best[1].arena_bytes)
        best = min(best, plain or best, key=lambda made: made[1].arena_bytes)
    while optimize in (Optimize.RAM, Optimize.LEAST_RAM):
        step = peak(best[1]).step
        found = frugal(graph, core, choices, step, left) if 0 <= step < len(choices) else None
        if found is None:
            break
        choices, paid = found
        left -= paid
        made = _with_runs(graph, choices, core, left, given, known, best[1].arena_bytes)
        if made and made[1].arena_bytes < best[1].arena_bytes:
            best = made
    return best


def options(graph: Graph, numerics: Numerics, core: Core) -> tuple[float, list[Streaming]]:
    """About the cycles of an inference, and what rows make of its RAM: fewer bytes for more cycles, none first."""
    choices = choose(graph, numerics, core, Optimize.SPEED)
    found = Streamings(graph, kernels(choices), _rows(choices), prices(core.features).row)
    return whole_cycles(choices, core), found.all()


def whole_cycles(choices: Choices, core: Core) -> float:
    """About the cycles of an inference with these kernels on a core."""
    return sum(cycles_of(choice.context, choice.variant, core.features) for choice in choices if choice)


def _with_runs(
    graph: Graph,
    choices: Choices,
    core: Core,
    most: float,
    given: bool,
    known: dict[Any, Any],
    below: float = math.inf,
) -> tuple[Choices, Plan] | None:
    """The smallest plan whose runs of rows take at most so many cycles more, and the kernels with the rows of it.

    None where the input is to be given row by row, and these kernels do not take it so; or where no plan can be under
    `below` bytes.
    """
    best: tuple[Choices, Plan] | None = None
    for way in islice(_ways(graph, choices, core, most, given, known), MOST_TRIED):
        least = best[1].arena_bytes if best else below
        if way.streaming.live_bytes >= least:
            break
        made = plan(graph, kernels(choices), core.alignment_bytes, _rows(way.choices), way.streaming.runs, least)
        if rows_reach(graph, made) and (best is None or made.arena_bytes < best[1].arena_bytes):
            best = way.choices, replace(made, priced=way.streaming.priced, cycles=whole_cycles(choices, core))
    if best is None and not given and below == math.inf:
        return choices, plan(graph, kernels(choices), core.alignment_bytes)
    return best


def _ways(
    graph: Graph, choices: Choices, core: Core, most: float, given: bool, known: dict[Any, Any]
) -> Iterator[_Way]:
    """What may be paid, that which needs least first: rows by their fastest kernels, and by those with less scratch.

    An input that is given by rows is worth the least that it takes.
    """
    small = tuple(choice.small if choice else None for choice in choices)
    forms = [choices, small] if any(rows and rows.small for rows in _rows(choices)) else [choices]
    for limit in (most, math.inf) if given else (most,):
        found = [(form, _streamings(graph, form, core, limit, given, known)) for form in forms]
        least = min(streamings.least_cycles for _, streamings in found)
        if least < math.inf:
            break
    worth = math.inf if given or most == math.inf else (1 - LEAST_SAVED) * found[0][1].whole_bytes
    each = (map(partial(_Way, form), streamings.smallest_first(max(most, least))) for form, streamings in found)
    for way in heapq.merge(*each, key=lambda way: (way.streaming.live_bytes, way.streaming.extra_cycles)):
        if way.streaming.live_bytes <= worth or way.streaming.extra_cycles <= 0:
            yield way


def _streamings(
    graph: Graph, choices: Choices, core: Core, most: float, given: bool, known: dict[Any, Any]
) -> Streamings:
    told = Known([(c.variant.name, c.large is None) if c else None for c in choices], known)
    return Streamings(graph, kernels(choices), _rows(choices), prices(core.features).row, most, given, told)


def rows_reach(graph: Graph, made: Plan) -> bool:
    """Whether tables can tell where the rows of every tensor lie, from the lowest on."""
    reach = np.iinfo(np.uint16).max
    spans = [max(places) - min(places) for places in made.rows.values()]
    spans += [graph.tensors[tensor].bytes for run in made.runs for tensor in run.read - run.loose]
    return max(spans, default=0) <= reach


def _rows(choices: Choices) -> list[Rows | None]:
    return [choice.rows if choice else None for choice in choices]
