"""Properties of every memory plan, on graphs at random; the first plays the graph through the arena, byte by byte."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from tests.modelbuilder import ModelBuilder, Value
from tests.movement import like, read_by_kernel
from tests.random_models import random_model
from tinygen import ops, passes
from tinygen.frontend import tflite
from tinygen.ir import ABSENT, DTYPES, Array, Graph
from tinygen.memory.lifetimes import Buffer, Part, buffers
from tinygen.memory.overlap import unsafe
from tinygen.memory.peak import peak
from tinygen.memory.plan import Plan, plan
from tinygen.memory.schedule import Schedule, schedule
from tinygen.memory.views import storage
from tinygen.ops.spec import Kernel, Overlap, context_of
from tinygen.quant import Numerics

SEEDS = range(60)
GARBAGE = -2
"""What a byte of the arena holds when no tensor owns it; scratch of node n is GARBAGE - 1 - n."""
IN_PLACE = 0.5
"""Of the outputs this share may lie over an input, in a way made up for the test."""


def kernel(rng: np.random.Generator, graph: Graph, index: int) -> Kernel | None:
    """A kernel with scratch and rules at random; none for an alias."""
    node = graph.nodes[index]
    if ops.SPECS[node.op].alias:
        return None
    operands = tuple(k for k, i in enumerate(node.inputs) if i != ABSENT and graph.tensors[i].data is None)
    scratch = int(rng.integers(1, 500)) if rng.random() < 0.4 else 0
    rules = []
    for operand, output in itertools.product(operands, range(len(node.outputs))):
        if rng.random() < IN_PLACE:
            size = graph.tensors[node.inputs[operand]].bytes, graph.tensors[node.outputs[output]].bytes
            most, least = sorted(int(rng.integers(-size[1], size[0] + 1)) for _ in range(2))
            exact = tuple(int(rng.integers(-size[1], size[0] + 1)) for _ in range(2))
            rules.append(Overlap(operand, most, least, exact, output))
    return Kernel({}, operands, (), scratch, tuple(rules))


@functools.cache
def planned(seed: int) -> tuple[Graph, list[Kernel | None], Plan]:
    """A graph, kernels made up for it, and a plan at some alignment."""
    rng = np.random.default_rng(seed)
    graph = passes.run(tflite.read(random_model(seed, 20), "test model"))
    kernels = [kernel(rng, graph, index) for index in range(len(graph.nodes))]
    return graph, kernels, plan(graph, kernels, int(rng.choice([1, 4, 8, 16])))


def computed(graph: Graph) -> set[int]:
    """The tensors that live in RAM."""
    return {*graph.inputs, *(output for node in graph.nodes for output in node.outputs)}


def numbered(graph: Graph, tensor: int) -> Array:
    """A value for a tensor in which no two elements of the graph are alike."""
    shape = graph.tensors[tensor].shape
    return tensor * 2**32 + 8 * np.arange(graph.tensors[tensor].size).reshape(shape)


def in_bytes(graph: Graph, tensor: int, elements: Array) -> Array:
    """The same with a number for each byte of an element."""
    return (elements.reshape(-1, 1) + np.arange(DTYPES[graph.tensors[tensor].dtype].itemsize)).ravel()


def allows(kernel: Kernel, operand: int, output: int, distance: int) -> bool:
    """Whether a rule of the kernel says that an output may lie at this distance from an input."""
    return any(
        (rule.most is not None and distance <= rule.most)
        or (rule.least is not None and distance >= rule.least)
        or distance in rule.exact
        for rule in kernel.overlaps
        if (rule.operand, rule.output) == (operand, output)
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_no_value_is_lost(seed: int) -> None:
    """Every byte of a tensor is in its place whenever a node reads it, and at the end if it is an output.

    This follows the nodes alone and knows no lifetimes. An output may lie over an input of its node only as a rule of
    the kernel says; scratch never. A node without a call must find its outputs made.
    """
    graph, kernels, found = planned(seed)
    expected: dict[int, Array] = {}
    arena = np.full(found.arena_bytes, GARBAGE)

    def place(tensor: int) -> slice:
        return slice(found.tensors[tensor], found.tensors[tensor] + graph.tensors[tensor].bytes)

    def write(tensor: int) -> None:
        expected[tensor] = numbered(graph, tensor)
        arena[place(tensor)] = in_bytes(graph, tensor, expected[tensor])

    def check(tensors: tuple[int, ...], where: str) -> None:
        for tensor in tensors:
            if tensor != ABSENT and graph.tensors[tensor].data is None:
                whole = np.array_equal(arena[place(tensor)], in_bytes(graph, tensor, expected[tensor]))
                assert whole, f"tensor {tensor} at {where}"

    for tensor in graph.inputs:
        write(tensor)
    check(graph.inputs, "the start")
    for index, node in enumerate(graph.nodes):
        check(node.inputs, node.location)
        called = kernels[index]
        if called is None or index in found.moved:
            values = [None if i == ABSENT else expected.get(i, graph.tensors[i].data) for i in node.inputs]
            moved = ops.SPECS[node.op].reference(context_of(graph, node, Numerics.TFLITE), values)
            expected |= dict(zip(node.outputs, moved, strict=True))
            check(node.outputs, f"the end of {node.location}, which takes no call")
            continue
        scratch = slice(found.scratch.get(index, 0), found.scratch.get(index, 0) + called.scratch_bytes)
        arena[scratch] = GARBAGE - 1 - index
        check(node.inputs, f"{node.location} with its scratch")
        for number, tensor in enumerate(node.outputs):
            for operand in called.operands:
                source, result = place(node.inputs[operand]), place(tensor)
                apart = source.stop <= result.start or result.stop <= source.start
                assert apart or allows(called, operand, number, result.start - source.start), node.location
            write(tensor)
        check(node.outputs, f"the end of {node.location}")
        assert np.all(arena[scratch] == GARBAGE - 1 - index), node.location
    check(graph.outputs, "the end")


@pytest.mark.parametrize("seed", SEEDS)
def test_every_tensor_and_scratch_has_a_place(seed: int) -> None:
    graph, kernels, found = planned(seed)
    assert set(found.tensors) == computed(graph)
    scratch = {i for i, kernel in enumerate(kernels) if kernel and kernel.scratch_bytes}
    assert set(found.scratch) == scratch - found.moved
    members = [tensor for buffer, _ in found.buffers for tensor in buffer.tensors]
    assert sorted(members) == sorted(computed(graph)), "a tensor in two buffers, or in none"


@pytest.mark.parametrize("alignment", [1, 2, 4, 8, 32])
@pytest.mark.parametrize("seed", range(5))
def test_alignment(seed: int, alignment: int) -> None:
    """Each buffer and each tensor is aligned as the core wants it and as its elements need it."""
    graph, kernels, _ = planned(seed)
    found = plan(graph, kernels, alignment)
    for buffer, offset in found.buffers:
        assert offset >= 0
        assert offset % max(alignment, buffer.item_bytes) == 0
    for tensor, offset in found.tensors.items():
        assert offset % max(alignment, DTYPES[graph.tensors[tensor].dtype].itemsize) == 0
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
    graph, _, found = planned(seed)
    parts = {tensor: part for buffer, _ in found.buffers for part in buffer.parts for tensor in part.tensors}
    assert all(parts[tensor].first == -1 for tensor in graph.inputs)
    assert all(parts[t].last == len(graph.nodes) for t in graph.outputs if graph.tensors[t].data is None)


@pytest.mark.parametrize("seed", SEEDS)
def test_size(seed: int) -> None:
    """The arena ends where its last buffer ends: not below what is alive at once, not above all buffers in a row."""
    _, _, found = planned(seed)
    assert found.arena_bytes == max(offset + buffer.bytes for buffer, offset in found.buffers)
    step = found.alignment_bytes
    assert found.lower_bound <= found.arena_bytes <= sum(-(-b.bytes // step) * step for b, _ in found.buffers)
    assert peak(found).bytes <= found.arena_bytes


@pytest.mark.parametrize("seed", range(5))
def test_same_graph_same_plan(seed: int) -> None:
    assert planned(seed)[2] == planned.__wrapped__(seed)[2]


@pytest.mark.parametrize("seed", range(200))
def test_unsafe_distances(seed: int) -> None:
    """Those at which bytes are shared and no rule allows it, one by one."""
    rng = np.random.default_rng(seed)
    in_bytes, out_bytes = (int(rng.integers(0, 9)) for _ in range(2))

    def value() -> int:
        return int(rng.integers(-10, 11))

    rules = [
        Overlap(
            0,
            value() if rng.random() < 0.5 else None,
            value() if rng.random() < 0.5 else None,
            (value(), value())[: rng.integers(3)],
        )
        for _ in range(rng.integers(3))
    ]
    found = unsafe(rules, in_bytes, out_bytes)
    for distance in range(-20, 21):
        shares = -out_bytes < distance < in_bytes
        safe = allows(Kernel({}, overlaps=tuple(rules)), 0, 0, distance)
        assert any(low <= distance < high for low, high in found) == (shares and not safe), (distance, found, rules)
    assert all(end < start for (_, end), (start, _) in itertools.pairwise(found))


def negated(build: ModelBuilder, x: Value) -> Value:
    """A kernel whose output is as large as its input."""
    return build.op("NEG", [x], [like(build, x, x.shape)])[0]


def scratched(graph: Graph, scratch_bytes: Sequence[int]) -> Schedule:
    """The schedule of nodes of which each has a kernel with so much scratch."""
    return schedule(graph, [Kernel({}, scratch_bytes=size) for size in scratch_bytes])


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
    assert buffers(graph, scratched(graph, [0, 7, 0]), storage(graph, 1)) == [
        Buffer((Part((0,), 0, 10, -1, 0),), 10, 1),
        Buffer((Part((2,), 0, 10, 0, 1),), 10, 1),
        Buffer((Part((4,), 0, 10, 1, 2),), 10, 1),
        Buffer((Part((6,), 0, 10, 2, 3),), 10, 1),
        Buffer((Part((), 0, 7, 1, 1),), 7, 4, scratch_of=(1,)),
    ]
    assert plan(graph, [Kernel({})] * 3, 1).arena_bytes == 20


def test_lifetimes_of_aliases() -> None:
    """Source and aliases are one buffer, which lives until the last of them is read."""
    build = ModelBuilder()
    x = build.random_input((2, 5))
    source = chain(build, x, 1)[1]
    first = build.op("RESHAPE", [source], [like(build, x, (10,))], "Reshape", newShape=[10])[0]
    second = build.op("EXPAND_DIMS", [first, build.constant(0, "int32")], [like(build, x, (1, 10))])[0]
    chain(build, source, 2)
    negated(build, second)
    graph = passes.run(tflite.read(build.finish(), "test model"))
    places = storage(graph, 1)
    assert places.places[second.index] == places.places[first.index] == (source.index, 0)
    found = buffers(graph, scratched(graph, [0] * len(graph.nodes)), places)
    shared = next(buffer for buffer in found if source.index in buffer.tensors)
    assert shared == Buffer((Part((source.index, first.index, second.index), 0, 10, 0, 5),), 10, 1)


def split_in_two(build: ModelBuilder, x: Value, axis: int = 0) -> Sequence[Value]:
    shape = tuple(size // 2 if at == axis else size for at, size in enumerate(x.shape))
    halves = [like(build, x, shape) for _ in range(2)]
    return build.op("SPLIT", [build.constant(axis, "int32"), x], halves, "Split", numSplits=2)


def join(build: ModelBuilder, parts: Sequence[Value], shape: tuple[int, ...], axis: int = 0) -> Value:
    return build.op("CONCATENATION", parts, [like(build, parts[0], shape)], "Concatenation", axis=axis)[0]


def test_lifetime_of_what_nobody_reads() -> None:
    """An output of a node that is kept for its others still needs a place while the node runs."""
    build = ModelBuilder()
    halves = split_in_two(build, build.random_input((2, 5)))
    y = negated(build, halves[0])
    graph = passes.run(tflite.read(build.finish([y]), "test model"))
    wanted = {
        buffer.tensors: buffer for buffer in buffers(graph, scratched(graph, [0, 0]), storage(graph, 1, joined=False))
    }
    assert wanted[(halves[1].index,)] == Buffer((Part((halves[1].index,), 0, 5, 0, 0),), 5, 1)


def test_input_that_is_an_output() -> None:
    build = ModelBuilder()
    x = build.random_input((2, 5))
    values = chain(build, x, 2)
    graph = passes.run(tflite.read(build.finish([x, values[-1]]), "test model"))
    whole = next(
        buffer for buffer in buffers(graph, scratched(graph, [0, 0]), storage(graph, 1)) if x.index in buffer.tensors
    )
    assert (whole.first, whole.last) == (-1, 2)


def planned_model(build: ModelBuilder, alignment: int = 1) -> tuple[Graph, Plan]:
    """The plan of a model whose kernels overlap nothing."""
    graph = passes.run(tflite.read(build.finish(), "test model"))
    return graph, plan(graph, [None if ops.SPECS[n.op].alias else Kernel({}) for n in graph.nodes], alignment)


def test_halves_are_not_moved() -> None:
    """The outputs of a split along the outermost axis lie in its input, and their bytes are free one by one."""
    build = ModelBuilder()
    x = build.random_input((2, 8))
    first, second = split_in_two(build, negated(build, x))
    last = join(build, [negated(build, first), negated(build, second)], (2, 8))
    _, found = planned_model(build, 4)
    assert len(found.moved) == 2
    assert found.tensors[second.index] == found.tensors[first.index] + 8
    assert found.arena_bytes == 32 and found.lower_bound == 32
    assert found.tensors[last.index] in (0, 8, 16)


@pytest.mark.parametrize("why", ["axis", "alignment", "twice", "two places", "constant", "part of another"])
def test_what_has_to_be_moved(why: str) -> None:
    """Runs that are apart or not aligned, and what would have to be in two places."""
    build = ModelBuilder()
    x = negated(build, build.random_input((2, 6)))
    y = negated(build, x)
    if why == "axis":
        split_in_two(build, x, 1)
    elif why == "alignment":
        split_in_two(build, x)
    elif why == "twice":
        join(build, [x, x], (4, 6))
    elif why == "two places":
        join(build, [x, y], (4, 6))
        join(build, [y, x], (4, 6))
    elif why == "constant":
        join(build, [x, build.constant(np.zeros((2, 6)), "int8", x.scale, x.zero_point)], (4, 6))
    else:
        first, second = split_in_two(build, x)
        join(build, [second, first], (2, 6))
    _, found = planned_model(build, 4 if why == "alignment" else 1)
    assert len(found.moved) == (1 if why in ("two places", "part of another") else 0)


def test_wide_elements() -> None:
    """Elements of 8 bytes are aligned to 8 whatever the core asks for."""
    build = ModelBuilder()
    for size, dtype in ((3, "int8"), (2, "int64"), (5, "int8"), (1, "int32")):
        x = build.input((size, 1), dtype, 0.5 if dtype == "int8" else None, 0)
        read_by_kernel(build, x)
    _, found = planned_model(build)
    assert found.alignment_bytes == 8
    assert all(offset % buffer.item_bytes == 0 for buffer, offset in found.buffers)


def test_graph_without_buffers() -> None:
    """A model whose outputs are all known at compile time needs its input alone."""
    build = ModelBuilder()
    x = build.random_input((2, 5))
    build.op("SHAPE", [x], [build.tensor((2,), "int32")], "Shape", outType=2)
    graph = passes.run(tflite.read(build.finish(), "test model"))
    assert plan(graph, [], 4).arena_bytes == 10


def in_place(build: ModelBuilder, rule: Overlap, operands: tuple[int, ...] = (0,)) -> Plan:
    """The plan of a model whose kernels all have a rule."""
    graph = passes.run(tflite.read(build.finish(), "test model"))
    return plan(graph, [Kernel({}, operands, overlaps=(rule,))] * len(graph.nodes), 1)


def test_in_place() -> None:
    """A chain needs one tensor; an input that is read later, or an output, is not written over."""
    build = ModelBuilder()
    chain(build, build.random_input((2, 5)), 3)
    assert in_place(build, Overlap(0, most=0)).arena_bytes == 10
    assert in_place(build, Overlap(0, most=-3, least=4)).arena_bytes == 14
    assert in_place(build, Overlap(0, most=-3)).arena_bytes == 19, "three steps down; apart would take 20"
    assert in_place(build, Overlap(0, exact=(-2, 3))).arena_bytes == 13
    build = ModelBuilder()
    x = build.random_input((2, 5))
    chain(build, x, 1)
    chain(build, x, 1)
    assert in_place(build, Overlap(0, most=0)).arena_bytes == 20


def test_both_operands_must_allow_it() -> None:
    """A node that takes a tensor twice may overwrite it only as far as both rules go."""
    build = ModelBuilder()
    negated(build, build.random_input((2, 5)))
    graph = passes.run(tflite.read(build.finish(), "test model"))
    twice = replace(graph.nodes[0], inputs=(graph.nodes[0].inputs[0],) * 2)
    graph = graph.with_nodes([twice])
    rules = (Overlap(0, most=0), Overlap(1, most=-6))
    assert plan(graph, [Kernel({}, (0, 1), overlaps=rules)], 1).arena_bytes == 16
    assert plan(graph, [Kernel({}, (0, 1), overlaps=rules[:1])], 1).arena_bytes == 20
    assert plan(graph, [Kernel({}, (0,), overlaps=rules)], 1).arena_bytes == 10, "it takes the first alone"


def test_peak() -> None:
    """The moment, and which of the bytes there are in two tensors."""
    build = ModelBuilder()
    chain(build, build.random_input((2, 5)), 3)
    graph = passes.run(tflite.read(build.finish(), "test model"))
    kernels = [Kernel({}, overlaps=(Overlap(0, most=-k, least=k),)) for k in (2, 7, 4)]
    found = peak(plan(graph, kernels, 1))
    assert (found.step, found.bytes) == (1, 17)
    assert sorted(found.shared_bytes(held) for held in found.held) == [0, 3]
