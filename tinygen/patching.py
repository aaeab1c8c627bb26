"""Turns a graph into the plan of its RAM where the first layers are computed strip by strip, each fed with the image.

What the stage of strips leaves lies in RAM whole: a good stage ends where its rows need about as much as all behind it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from tinygen.ir import Graph
from tinygen.memory.live import live_bytes
from tinygen.memory.plan import Plan, plan
from tinygen.memory.prices import prices
from tinygen.memory.rows import Event, Priced, Run, run
from tinygen.memory.schedule import schedule
from tinygen.memory.streaming import extra_cycles
from tinygen.memory.views import storage
from tinygen.ops.spec import Rows
from tinygen.passes.strips import Stage, in_strips
from tinygen.planning import LEAST_SAVED, MOST_EXTRA, plan_for, rows_reach, whole_cycles
from tinygen.quant import Numerics
from tinygen.stages import Stages, behind, spans
from tinygen.target import Core
from tinygen.variants import ANY_ROOM, Choices, Optimize, Room, choose, kernels

MOST_TRIED = 2
"""Stages that are planned, at most."""
LEAST_SHARE = 0.15
"""What strips may compute again, as a share of the multiply-accumulates, at least: whoever wants them pays for RAM."""


def planned(
    graph: Graph, numerics: Numerics, core: Core, optimize: Optimize, given: int = 0, room: Room = ANY_ROOM
) -> tuple[Graph, Choices, Plan]:
    """The graph, its kernels and the smallest plan, where the caller gives the input row by row so many times.

    Given several times, it has as many strips, or none where they save next to nothing of what rows need without them.
    Raises ModelError where the input cannot be given by rows.
    """
    stages = Stages(graph, numerics, core, optimize) if given > 1 else None
    by_rows = stages.by_rows() if stages else None
    if stages is None or by_rows is None:
        return graph, *plan_for(graph, numerics, core, optimize, given > 0, room)
    best: tuple[Graph, Choices, Plan] | None = None
    least = (1 - LEAST_SAVED) * by_rows
    for estimate in stages.best(given, 1 + max(LEAST_SHARE, MOST_EXTRA[optimize]))[:MOST_TRIED]:
        if estimate.bytes < least:
            cut, choices, made = _plan(stages, estimate.stage, optimize)
            if rows_reach(cut, made) and made.arena_bytes < least:
                best, least = (cut, choices, made), made.arena_bytes
    return best or (graph, *plan_for(graph, numerics, core, optimize, True, room, stages.choices))


def _plan(stages: Stages, stage: Stage, optimize: Optimize) -> tuple[Graph, Choices, Plan]:
    """The plan of a graph whose strips are runs of rows, and the rest as it takes least alone."""
    graph, numerics, core = stages.graph, stages.numerics, stages.core
    cut = in_strips(graph, stage).verify()
    end = spans(cut)[-1][1]
    first, behind_it = stages.choices[: stage.last + 1], stages.choices[stage.last + 1 :]
    rest_choices, rest = plan_for(behind(graph, stage.last), numerics, core, optimize, choices=behind_it)
    whole = (*first, *rest_choices)
    strips = (*choose(replace(cut, nodes=cut.nodes[:end]), numerics, core, optimize), *rest_choices)
    runs = [replace(one, run=_shifted(one.run, end)) for one in rest.priced]
    best: tuple[Choices, Plan] | None = None
    small = tuple(choice.small if choice else None for choice in strips[:end])
    for choices in (strips, (*small, *rest_choices)):
        rows = [choice.rows if choice else None for choice in choices]
        again = (whole_cycles(strips, core) - whole_cycles(whole, core)) / stage.strips
        priced = [*_priced(cut, choices, rows, _whole_bytes(graph, whole, stage), core, again), *runs]
        below = best[1].arena_bytes if best else math.inf
        made = plan(cut, kernels(choices), core.alignment_bytes, rows, [one.run for one in priced], below)
        if made.arena_bytes < below:
            best = choices, replace(made, priced=tuple(priced), cycles=whole_cycles(whole, core))
        if made.arena_bytes <= rest.arena_bytes:
            break
    assert best is not None
    return replace(cut, inputs=cut.inputs[:1]), *best


def _whole_bytes(graph: Graph, choices: Choices, stage: Stage) -> int:
    """The bytes that are alive while the nodes of a stage are computed one after the other."""
    live = live_bytes(graph, schedule(graph, kernels(choices)), storage(graph, 1, joined=False))
    return int(live[: stage.last + 2].max())


def _priced(
    cut: Graph, choices: Choices, rows: Sequence[Rows | None], whole_bytes: int, core: Core, again: float
) -> Iterator[Priced]:
    """The run of each strip; what is computed `again` is its share of what all of them compute twice."""
    strips = zip(spans(cut), cut.inputs, strict=True)
    runs = [run(cut, rows, first, end - 1, given) for (first, end), given in strips]
    by_rows = schedule(cut, kernels(choices), rows, runs)
    live = live_bytes(cut, by_rows, storage(cut, 1, joined=False))
    for one in runs:
        at = [number for number, moment in enumerate(by_rows.moments) if one.first <= moment.node <= one.last]
        needed = int(live[at[0] + 1 : at[-1] + 2].max())
        extra = extra_cycles(cut, rows, prices(core.features).row, one.first, one.last)
        yield Priced(one, needed, whole_bytes, again + extra)


def _shifted(behind_them: Run, by: int) -> Run:
    """A run of a graph whose nodes follow others."""
    events = tuple(Event(event.node + by, event.row) for event in behind_them.events)
    return replace(behind_them, first=behind_them.first + by, last=behind_them.last + by, events=events)
