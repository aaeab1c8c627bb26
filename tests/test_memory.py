"""Properties of every memory plan, on graphs at random; the first plays the graph through the arena, byte by byte."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.movement import like, read_by_kernel
from tests.random_models import random_model
from tinygen import ops, passes
from tinygen.frontend import tflite
from tinygen.ir import ABSENT, DTYPES, Graph
from tinygen.memory.lifetimes import Buffer, buffers, storage
from tinygen.memory.plan import Plan, lower_bound, plan

SEEDS = range(60)
GARBAGE = -2
"""What a byte of the arena holds when no tensor owns it; scratch of node n is GARBAGE - 1 - n."""


@functools.cache
def planned(seed: int) -> tuple[Graph, list[int], Plan]:
    """A graph, scratch for some of its nodes, and a plan at some alignment."""
    rng = np.random.default_rng(seed)
    graph = passes.run(tflite.read(random_model(seed, 20), "test model"))
    scratch = [int(rng.integers(1, 500)) if rng.random() < 0.4 else 0 for _ in graph.nodes]
    return graph, scratch, plan(graph, scratch, int(rng.choice([1, 4, 8, 16])))


def computed(graph: Graph) -> set[int]:
    """The tensors that live in RAM."""
    return {*graph.inputs, *(output for node in graph.nodes for output in node.outputs)}


@pytest.mark.parametrize("seed", SEEDS)
def test_no_value_is_lost(seed: int) -> None:
    """Every tensor is whole in its place whenever a node reads it, and at the end if it is an output.

    This follows the nodes alone and knows no lifetimes; an alias holds what its source holds.
    """
    graph, scratch, found = planned(seed)
    owner = storage(graph)
    arena = np.full(found.arena_bytes, GARBAGE)

    def place(tensor: int) -> slice:
        return slice(found.tensors[tensor], found.tensors[tensor] + graph.tensors[tensor].bytes)

    def check(tensors: tuple[int, ...], where: str) -> None:
        for tensor in tensors:
            if tensor != ABSENT and graph.tensors[tensor].data is None:
                assert np.all(arena[place(tensor)] == owner[tensor]), f"tensor {tensor} at {where}"

    for tensor in graph.inputs:
        arena[place(tensor)] = tensor
    check(graph.inputs, "the start")
    for index, node in enumerate(graph.nodes):
        check(node.inputs, node.location)
        if ops.SPECS[node.op].alias:
            continue
        if scratch[index]:
            arena[found.scratch[index] : found.scratch[index] + scratch[index]] = GARBAGE - 1 - index
        for tensor in node.outputs:
            arena[place(tensor)] = tensor
        check((*node.inputs, *node.outputs), f"the end of {node.location}")
        if scratch[index]:
            start = found.scratch[index]
            assert np.all(arena[start : start + scratch[index]] == GARBAGE - 1 - index), node.location
    check(graph.outputs, "the end")


@pytest.mark.parametrize("seed", SEEDS)
def test_buffers_alive_at_once_share_no_byte(seed: int) -> None:
    _, _, found = planned(seed)
    for number, (one, start) in enumerate(found.buffers):
        for other, other_start in found.buffers[:number]:
            apart = start + one.bytes <= other_start or other_start + other.bytes <= start
            assert apart or not one.overlaps(other), f"{one} at {start}, {other} at {other_start}"


@pytest.mark.parametrize("seed", SEEDS)
def test_every_tensor_and_scratch_has_a_place(seed: int) -> None:
    graph, scratch, found = planned(seed)
    assert set(found.tensors) == computed(graph)
    assert set(found.scratch) == {index for index, size in enumerate(scratch) if size}
    members = [tensor for buffer, _ in found.buffers for tensor in buffer.tensors]
    assert sorted(members) == sorted(computed(graph)), "a tensor in two buffers, or in none"


@pytest.mark.parametrize("alignment", [1, 2, 4, 8, 32])
@pytest.mark.parametrize("seed", range(5))
def test_alignment(seed: int, alignment: int) -> None:
    """Each buffer is aligned as the core wants it and as its elements need it."""
    graph, scratch, _ = planned(seed)
    found = plan(graph, scratch, alignment)
    for buffer, offset in found.buffers:
        assert offset >= 0
        assert offset % max(alignment, buffer.item_bytes) == 0
    for tensor, offset in found.tensors.items():
        assert offset % DTYPES[graph.tensors[tensor].dtype].itemsize == 0
    assert found.alignment_bytes == max([alignment, *(buffer.item_bytes for buffer, _ in found.buffers)])


@pytest.mark.parametrize("seed", SEEDS)
def test_aliases_share_their_place(seed: int) -> None:
    graph, _, found = planned(seed)
    for node in graph.nodes:
        if ops.SPECS[node.op].alias:
            assert found.tensors[node.outputs[0]] == found.tensors[node.inputs[0]]


@pytest.mark.parametrize("seed", SEEDS)
def test_inputs_and_outputs_are_alive(seed: int) -> None:
    """All inputs together before the first node, all outputs together after the last."""
    graph, scratch, _ = planned(seed)
    wanted = {tensor: buffer for buffer in buffers(graph, scratch) for tensor in buffer.tensors}
    assert all(wanted[tensor].first == -1 for tensor in graph.inputs)
    assert all(wanted[t].last == len(graph.nodes) for t in graph.outputs if graph.tensors[t].data is None)


@pytest.mark.parametrize("seed", SEEDS)
def test_size(seed: int) -> None:
    """The arena ends where its last buffer ends: not below what is alive at once, not above all buffers in a row."""
    graph, scratch, found = planned(seed)
    assert found.arena_bytes == max(offset + buffer.bytes for buffer, offset in found.buffers)
    wanted = buffers(graph, scratch)
    step = found.alignment_bytes
    assert lower_bound(wanted) <= found.arena_bytes <= sum(-(-buffer.bytes // step) * step for buffer in wanted)


@pytest.mark.parametrize("seed", range(5))
def test_same_graph_same_plan(seed: int) -> None:
    assert planned(seed)[2] == planned.__wrapped__(seed)[2]


def chain(build: ModelBuilder, x: Value, count: int) -> list[Value]:
    """`x` and `count` kernels in a row."""
    values = [x]
    for _ in range(count):
        values.append(read_by_kernel(build, values[-1]))
    return values


def test_lifetimes_of_a_chain() -> None:
    """Each value lives from the node that writes it to the last that reads it; scratch for its own node."""
    build = ModelBuilder()
    chain(build, build.random_input((2, 5)), 3)
    graph = passes.run(tflite.read(build.finish(), "test model"))
    assert buffers(graph, [0, 7, 0]) == [
        Buffer((0,), 10, -1, 0, 1),
        Buffer((2,), 10, 0, 1, 1),
        Buffer((4,), 10, 1, 2, 1),
        Buffer((6,), 10, 2, 3, 1),
        Buffer((), 7, 1, 1, 4, scratch_of=1),
    ]
    assert plan(graph, [0, 0, 0], 1).arena_bytes == 20


def test_lifetimes_of_aliases() -> None:
    """Source and aliases are one buffer, which lives until the last of them is read."""
    build = ModelBuilder()
    x = build.random_input((2, 5))
    source = chain(build, x, 1)[1]
    first = build.op("RESHAPE", [source], [like(build, x, (10,))], "Reshape", newShape=[10])[0]
    second = build.op("EXPAND_DIMS", [first, build.constant(0, "int32")], [like(build, x, (1, 10))])[0]
    chain(build, source, 2)
    read_by_kernel(build, second)
    graph = passes.run(tflite.read(build.finish(), "test model"))
    assert storage(graph)[second.index] == storage(graph)[first.index] == source.index
    shared = next(buffer for buffer in buffers(graph, [0] * len(graph.nodes)) if source.index in buffer.tensors)
    assert shared == Buffer((source.index, first.index, second.index), 10, 0, 5, 1)


def test_lifetime_of_what_nobody_reads() -> None:
    """An output of a node that is kept for its others still needs a place while the node runs."""
    build = ModelBuilder()
    x = build.random_input((2, 5))
    halves = [like(build, x, (1, 5)) for _ in range(2)]
    build.op("SPLIT", [build.constant(0, "int32"), x], halves, "Split", numSplits=2)
    y = read_by_kernel(build, halves[0])
    graph = passes.run(tflite.read(build.finish([y]), "test model"))
    wanted = {buffer.tensors: buffer for buffer in buffers(graph, [0, 0])}
    assert wanted[(halves[1].index,)] == Buffer((halves[1].index,), 5, 0, 0, 1)


def test_input_that_is_an_output() -> None:
    build = ModelBuilder()
    x = build.random_input((2, 5))
    values = chain(build, x, 2)
    graph = passes.run(tflite.read(build.finish([x, values[-1]]), "test model"))
    whole = next(buffer for buffer in buffers(graph, [0, 0]) if x.index in buffer.tensors)
    assert (whole.first, whole.last) == (-1, 2)


def test_wide_elements() -> None:
    """Elements of 8 bytes are aligned to 8 whatever the core asks for."""
    build = ModelBuilder()
    for size, dtype in ((3, "int8"), (2, "int64"), (5, "int8"), (1, "int32")):
        x = build.input((size, 1), dtype, 0.5 if dtype == "int8" else None, 0)
        read_by_kernel(build, x)
    found = plan(passes.run(tflite.read(build.finish(), "test model")), [0] * 4, 1)
    assert found.alignment_bytes == 8
    assert all(offset % buffer.item_bytes == 0 for buffer, offset in found.buffers)


def test_graph_without_buffers() -> None:
    """A model whose outputs are all known at compile time needs its input alone."""
    build = ModelBuilder()
    x = build.random_input((2, 5))
    build.op("SHAPE", [x], [build.tensor((2,), "int32")], "Shape", outType=2)
    graph = passes.run(tflite.read(build.finish(), "test model"))
    assert plan(graph, [], 4).arena_bytes == 10
