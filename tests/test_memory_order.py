"""Orders of nodes: none is better for small graphs, chains stay as they are, large graphs take little time."""

from __future__ import annotations

import time

import numpy as np
import pytest

from tests.branchy_models import both, branchy_model, convolution, pool, unary
from tests.modelbuilder import ModelBuilder
from tinygen import passes
from tinygen.driver import Model, compile_model
from tinygen.frontend import tflite
from tinygen.ir import Graph
from tinygen.memory import order
from tinygen.memory.order import in_best_order


def graph_of(build: ModelBuilder) -> Graph:
    return passes.run(tflite.read(build.finish(), "test model"))


def peak(graph: Graph, sequence: list[int]) -> int:
    """Most bytes kept between two nodes, by following which values are still wanted; no aliases here."""
    alive = set(graph.inputs)
    most = sum(graph.tensors[tensor].bytes for tensor in alive)
    for place, index in enumerate(sequence):
        wanted = {*graph.outputs, *(t for later in sequence[place + 1 :] for t in graph.nodes[later].inputs)}
        made = set(graph.nodes[index].outputs)
        alive = {tensor for tensor in alive if tensor in wanted} | made
        most = max(most, sum(graph.tensors[tensor].bytes for tensor in alive))
        alive = {tensor for tensor in alive if tensor in wanted}
    return most


def orders(graph: Graph, done: list[int]) -> list[list[int]]:
    """All of them."""
    if len(done) == len(graph.nodes):
        return [done]
    known = {*graph.inputs, *(t for index in done for t in graph.nodes[index].outputs)}
    known |= {t for t, tensor in graph.tensors.items() if tensor.data is not None}
    ready = [i for i, node in enumerate(graph.nodes) if i not in done and known.issuperset(node.inputs)]
    return [found for index in ready for found in orders(graph, [*done, index])]


def random_branches(seed: int, count: int) -> ModelBuilder:
    """Sums, poolings and wide convolutions of anything there is."""
    build = ModelBuilder(np.random.default_rng(seed))
    build.input((1, 4, 4, 2), "int8", 0.05, -3)
    while len(build.operators) < count:
        x = build.pick(build.pool)
        same = [value for value in build.pool if value.shape == x.shape and value is not x]
        if same and build.chance(0.4):
            both(build, x, build.pick(same))
        elif build.chance(0.3) and x.shape[1] > 1:
            pool(build, x, "MAX_POOL_2D")
        else:
            convolution(build, x, build.pick([1, 2, 4, 8]), 1)
    return build


@pytest.mark.parametrize("seed", range(25))
def test_no_order_is_better(seed: int) -> None:
    graph = graph_of(random_branches(seed, 6))
    best = in_best_order(graph).verify()
    least = min(peak(graph, sequence) for sequence in orders(graph, []))
    assert peak(best, list(range(len(best.nodes)))) == least
    assert (best is graph) == (peak(graph, list(range(len(graph.nodes)))) == least)


def wide_first() -> ModelBuilder:
    """Two branches that widen first and narrow then; the file has both wide ones before the narrow ones."""
    build = ModelBuilder()
    x = build.input((1, 8, 8, 2), "int8", 0.05, -3)
    wide = [convolution(build, x, 16, 1) for _ in range(3)]
    narrow = [convolution(build, value, 2, 1) for value in wide]
    both(build, both(build, narrow[0], narrow[1]), narrow[2])
    return build


def test_the_arena_is_smaller() -> None:
    data = wide_first().finish()
    result = compile_model(Model("net", data, tflite.read(data, "net")))
    assert [node.op for node in result.graph.nodes[:3]] == ["conv_2d", "conv_2d", "conv_2d"]
    assert result.plan.arena_bytes < 2 * 8 * 8 * 16, "never two wide ones at once"
    made = compile_model(Model("net", data, tflite.read(data, "net")))
    assert made.graph.nodes == result.graph.nodes and made.files == result.files


def test_a_chain_is_untouched() -> None:
    build = ModelBuilder()
    x = build.input((1, 4, 4, 2), "int8", 0.05, -3)
    for _ in range(30):
        x = unary(build, x)
    graph = graph_of(build)
    assert in_best_order(graph) is graph


@pytest.mark.parametrize("seed", range(4))
def test_beam(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes over for large graphs is as good for small ones, and never worse than the file."""
    graph = graph_of(random_branches(seed, 10))
    exact = in_best_order(graph)
    monkeypatch.setattr(order, "EXACT_STATES", 0)
    beam = in_best_order(graph).verify()
    assert peak(beam, list(range(len(beam.nodes)))) == peak(exact, list(range(len(exact.nodes))))


def test_two_hundred_nodes() -> None:
    graph = graph_of(random_branches(1, 200))
    began = time.process_time()
    best = in_best_order(graph).verify()
    assert time.process_time() - began < 5
    everything = list(range(len(graph.nodes)))
    assert peak(best, everything) <= peak(graph, everything)


@pytest.mark.parametrize("seed", range(20))
def test_values_stay_the_same(seed: int) -> None:
    """Any order found can be executed, and is of the same nodes."""
    graph = passes.run(tflite.read(branchy_model(seed), "net"))
    best = in_best_order(graph).verify()
    assert sorted(node.location for node in best.nodes) == sorted(node.location for node in graph.nodes)
