"""Bytes that a moment needs: counted by hand, and never more than a plan has in use then."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest

from tests.branchy_models import rows_network
from tests.modelbuilder import ModelBuilder
from tests.test_memory import SEEDS, negated, planned
from tinygen import passes, target
from tinygen.driver import Model, compile_model
from tinygen.frontend import tflite
from tinygen.ir import Graph
from tinygen.memory.lifetimes import buffers
from tinygen.memory.moments import covered, least_bytes
from tinygen.memory.plan import Kernels, Plan
from tinygen.memory.prices import prices
from tinygen.memory.schedule import schedule
from tinygen.memory.streaming import Streamings
from tinygen.memory.views import storage
from tinygen.ops.spec import Kernel, Overlap, Rows
from tinygen.quant import Numerics
from tinygen.variants import Optimize, choose, kernels


def least(graph: Graph, made: Kernels) -> list[int]:
    """What each moment needs, each tensor in a place of its own."""
    by_nodes = schedule(graph, made)
    return [int(size) for size in least_bytes(graph, by_nodes, buffers(graph, by_nodes, storage(graph, 1, False)))]


def check(graph: Graph, made: Kernels, rows: Sequence[Rows | None], plan: Plan) -> None:
    """At no moment the plan has less in use; no arena can have less than the fullest moment needs."""
    called = [None if index in plan.moved else kernel for index, kernel in enumerate(made)]
    moments = least_bytes(graph, schedule(graph, called, rows, plan.runs), [buffer for buffer, _ in plan.buffers])
    assert moments.max() <= plan.lower_bound <= plan.arena_bytes
    for moment, size in enumerate(moments, -1):
        alive = [(offset + part.offset, part.bytes) for buffer, offset in plan.buffers for part in buffer.alive(moment)]
        assert size <= covered((start, start + length) for start, length in alive)


def test_a_chain() -> None:
    """In place, half over the input, and apart; scratch over the input it is made from, and beside it."""
    build = ModelBuilder()
    negated(build, negated(build, negated(build, build.random_input((8,)))))
    graph = passes.run(tflite.read(build.finish(), "test model"))
    apart, in_place, half = Kernel({}, (0,)), Kernel({}, (0,), (), 0, (Overlap(0, 0),)), Overlap(0, -4)
    assert least(graph, [apart, apart, apart]) == [8, 16, 16, 16, 8]
    assert least(graph, [in_place, Kernel({}, (0,), (), 0, (half,)), apart]) == [8, 8, 12, 16, 8]
    assert least(graph, [Kernel({}, (0,), (), 6), apart, apart]) == [8, 22, 16, 16, 8]
    assert least(graph, [Kernel({}, (0,), (), 6, (), (Overlap(0, 0),)), apart, apart]) == [8, 16, 16, 16, 8]


@pytest.mark.parametrize("seed", SEEDS[::5])
def test_plans_have_no_less_in_use(seed: int) -> None:
    """With kernels made up, whose outputs lie over inputs in all ways."""
    graph, made, plan = planned(seed)
    check(graph, made, [], plan)


@pytest.mark.parametrize("seed", range(2))
def test_rows_have_no_less_in_use(seed: int) -> None:
    data, board = rows_network(seed), target.load("nucleo_l4r5zi")
    made = compile_model(Model("net", data, tflite.read(data, "net")), board, "net", optimize=Optimize.LEAST_RAM)
    rows = [choice.rows if choice else None for choice in made.choices]
    assert made.plan.runs
    check(made.graph, kernels(made.choices), rows, made.plan)


@pytest.mark.parametrize("given", [False, True])
def test_choices_of_runs(given: bool) -> None:
    """All that are worth it, of all that there are; and the same from behind as far as may be paid."""
    core = target.load("nucleo_l4r5zi").core
    graph = passes.run(tflite.read(rows_network(1), "test model"))
    choices = choose(graph, Numerics.TFLITE, core)
    rows = [choice.rows if choice else None for choice in choices]
    found = Streamings(graph, kernels(choices), rows, prices(core.features).row, given=given)
    worth = [(one.extra_cycles, one.live_bytes) for one in found.all()]
    assert worth == front(found, len(graph.nodes)) and len(worth) > 2
    again = Streamings(graph, kernels(choices), rows, prices(core.features).row, given=given)
    middle = worth[len(worth) // 2][0]
    small = [(one.extra_cycles, one.live_bytes) for one in again.smallest_first(middle)]
    assert small == [one for one in worth if one[0] <= middle][::-1]
    assert again.least_cycles == worth[0][0]


def front(found: Streamings, count: int) -> list[tuple[float, int]]:
    """The cycles and bytes of the choices that no other beats, by trying all sets of runs."""
    runs = [(one, found._need(one)[0]) for starting in found._starting for one in starting]
    ways: list[tuple[float, int]] = []

    def follow(node: int, cycles: float, size: int) -> None:
        if node == count:
            ways.append((cycles, size))
            return
        if node not in found._fed:
            follow(node + 1, cycles, max(size, found._alone[node]))
        for one, need in runs:
            if one.first == node:
                follow(one.last + 1, cycles + one.cycles, max(size, need))

    follow(0, 0.0, 0)
    best = sorted(set(ways))
    least_yet = itertools.accumulate((size for _, size in best[:-1]), min, initial=best[0][1] + 1)
    return [way for way, least in zip(best, least_yet, strict=True) if way[1] < least]
