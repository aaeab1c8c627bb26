"""Lays every layer's input and output over each other at a chosen distance, and checks that its rule is safe and tight.

The models are layers side by side: each node reads inputs of the model, and nobody reads what it writes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tinygen import ops, passes, reference, target
from tinygen.driver import Compiled, Model
from tinygen.emit import emit
from tinygen.frontend import tflite
from tinygen.ir import DTYPES, Array, Graph
from tinygen.lower import lower
from tinygen.memory.plan import Plan
from tinygen.ops.spec import Context, Overlap
from tinygen.quant import Numerics
from tinygen.target import Target, load_core
from tinygen.variants import Choice, choose
from tinygen.verify.board import Board, emulate
from tinygen.verify.host import CFLAGS, WARNINGS, HostModel
from tinygen.verify.samples import random_samples

SCRATCH = -1
"""In place of an output: the scratch buffer."""
APART = 8
"""Bytes between what the plan keeps apart, and the alignment of all but one tensor of a pair."""

MORE = 4
"""Times as many samples for a failure to show."""
CHECKED_COPY = """\
#include <stdint.h>
#include <string.h>
static inline void *tg_checked_copy(void *to, const void *from, size_t count)
{
    const uintptr_t first = (uintptr_t)from, target = (uintptr_t)to;
    return target < first + count && first < target + count ? memset(to, 85, count) : memmove(to, from, count);
}
#define memcpy tg_checked_copy
"""
"""Bytes that overlap are undefined for memcpy: here the result is one that nobody wants."""

Distance = Callable[[Choice, Overlap], int | None]
"""Where a rule's output lies: bytes from the input's first to its first; None: this layer has no such place."""


@dataclass(frozen=True, eq=False)
class Layers:
    """A model of layers side by side, with the kernel of each."""

    model: Model
    graph: Graph
    choices: tuple[Choice, ...]
    board: Target | None
    numerics: Numerics

    def of_variant(self, names: Mapping[str, str]) -> Layers:
        """The same with these variants, one for each operator, in place of the best; they must be possible."""
        return replace(
            self, choices=tuple(_of_variant(choice.context, names[choice.context.node.op]) for choice in self.choices)
        )


def _of_variant(context: Context, name: str) -> Choice:
    spec = ops.SPECS[context.node.op]
    variant = next(variant for variant in (*spec.variants, *spec.fast) if variant.name == name)
    assert variant.when(context)
    return Choice(context, variant, (variant.params or spec.params)(context))


def layers(data: bytes, board: str | None = None, numerics: Numerics = Numerics.TFLITE) -> Layers:
    """The kernels of a model's nodes on a board's core, or in portable C."""
    chosen = target.load(board) if board else None
    model = Model("net", data, tflite.read(data, "net"))
    graph = passes.run(model.graph, (numerics,))
    core = chosen.core if chosen else load_core("portable")
    choices = tuple(choice for choice in choose(graph, numerics, core) if choice is not None)
    assert len(choices) == len(graph.nodes)
    read = [tensor for node in graph.nodes for tensor in node.inputs]
    assert not {tensor for node in graph.nodes for tensor in node.outputs} & set(read)
    return Layers(model, graph, choices, chosen, numerics)


def rules(choice: Choice, operand: int, output: int = 0) -> list[Overlap]:
    """What the kernel says of this input and output; of an input that it has twice, the stricter of both."""
    node, own = choice.context.node, choice.kernel.overlaps
    if output == SCRATCH:
        own = tuple(replace(rule, output=SCRATCH) for rule in choice.kernel.scratch_overlaps)
    found = [rule for rule in own if rule.output == output]
    if not any(rule.operand == operand for rule in found):
        return []
    same = [rule for rule in found if node.inputs[rule.operand] == node.inputs[operand]]
    below, above = [rule.most for rule in same], [rule.least for rule in same]
    most = None if None in below else min(value for value in below if value is not None)
    least = None if None in above else max(value for value in above if value is not None)
    return [replace(same[0], operand=operand, most=most, least=least)]


def step(choice: Choice, rule: Overlap) -> int:
    """Bytes from one possible distance to the next: elements stay aligned."""
    if rule.output == SCRATCH:
        return 4
    tensors = choice.context.input(rule.operand), choice.context.outputs[rule.output]
    return min(DTYPES[tensor.dtype].itemsize for tensor in tensors)


def result_bytes(choice: Choice, rule: Overlap) -> int:
    """Size of what lies over the input."""
    return choice.kernel.scratch_bytes if rule.output == SCRATCH else choice.context.outputs[rule.output].bytes


def at_most(choice: Choice, rule: Overlap) -> int | None:
    """The greatest safe distance below a rule's `most`."""
    return None if rule.most is None else rule.most // step(choice, rule) * step(choice, rule)


def at_least(choice: Choice, rule: Overlap) -> int | None:
    """The least safe distance above a rule's `least`."""
    return None if rule.least is None else -(-rule.least // step(choice, rule)) * step(choice, rule)


def beyond(distance: Distance) -> Distance:
    """The next distance outside the rule; None where the two tensors no longer share a byte."""

    def outside(choice: Choice, rule: Overlap) -> int | None:
        inside = distance(choice, rule)
        if inside is None:
            return None
        found = inside + (step(choice, rule) if distance is at_most else -step(choice, rule))
        return found if -result_bytes(choice, rule) < found < choice.context.input(rule.operand).bytes else None

    return outside


def placed(net: Layers, distance: Distance, operand: int = 0, output: int = 0) -> Compiled:
    """The model under a plan that puts this input and output of each layer at the distance, and all else apart."""
    graph, end = net.graph, 0
    tensors: dict[int, int] = {}
    scratch: dict[int, int] = {}

    def apart(size: int) -> int:
        nonlocal end
        start, end = end, -(-(end + size) // APART) * APART + APART
        return start

    for index, choice in enumerate(net.choices):
        node = choice.context.node
        for rule in rules(choice, operand, output):
            found = distance(choice, rule)
            if found is None or node.inputs[operand] in tensors:
                continue
            source = node.inputs[operand]
            places = _pair(apart, graph.tensors[source].bytes, result_bytes(choice, rule), found)
            tensors[source] = places[0]
            if output == SCRATCH:
                scratch[index] = places[1]
            else:
                tensors[node.outputs[output]] = places[1]
        for tensor in (*node.inputs, *node.outputs):
            if tensor in graph.tensors and graph.tensors[tensor].data is None and tensor not in tensors:
                tensors[tensor] = apart(graph.tensors[tensor].bytes)
        scratch.setdefault(index, apart(choice.kernel.scratch_bytes))
    tensors |= {
        t: apart(graph.tensors[t].bytes) for t in graph.inputs if t not in tensors and graph.tensors[t].data is None
    }
    return planned(net, tensors, scratch, end)


def planned(net: Layers, tensors: Mapping[int, int], scratch: Mapping[int, int], arena_bytes: int) -> Compiled:
    """The model with its tensors and scratch at these offsets."""
    plan = Plan(tensors, scratch, (), arena_bytes, APART, lower_bound=arena_bytes, moved=frozenset(), peak_step=-1)
    program = lower(net.graph, net.choices, plan, "net")
    return Compiled(net.model, net.graph, plan, program, {}, emit(program), {})


def _pair(apart: Callable[[int], int], in_bytes: int, out_bytes: int, distance: int) -> tuple[int, int]:
    """Places of an input and of an output at a distance; the larger of them, or else the output, lies aligned."""
    above = max(0, -distance if in_bytes > out_bytes else distance)
    above = -(-above // APART) * APART
    fixed = apart(above + max(in_bytes, out_bytes) + abs(distance)) + above
    return (fixed, fixed + distance) if in_bytes > out_bytes else (fixed - distance, fixed)


def differing(net: Layers, compiled: Compiled, samples: int = 6, emulated: bool = False) -> set[int]:
    """Indices of the layers that give another result than the NumPy reference for at least one sample."""
    graph = net.model.graph
    wrong: set[int] = set()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "checked_copy.h").write_text(CHECKED_COPY)
        program: Board = HostModel(compiled, Path(folder), (*CFLAGS, *WARNINGS, "-include", "checked_copy.h"))
        if emulated:
            assert net.board
            program = emulate(compiled, net.board, Path(folder) / "board")
        for sample in random_samples(graph, samples):
            expected = reference.run(graph, sample, net.numerics)
            found, _ = program.run(sample)
            wrong |= {i for i, choice in enumerate(net.choices) if not _same(choice, found, expected)}
    return wrong


def _same(choice: Choice, found: dict[int, Array], expected: dict[int, Array]) -> bool:
    """Whether a layer's outputs are what they must be."""
    return all(
        found[tensor].tobytes() == choice.context.tensors[tensor].part_of(expected[tensor]).tobytes()
        for tensor in choice.context.node.outputs
    )


def check_safe(
    net: Layers,
    operand: int = 0,
    output: int = 0,
    distances: Sequence[Distance] = (at_most, at_least),
    samples: int = 6,
) -> None:
    """Results are equal at the bounds of every rule; with a board, in its emulator too."""
    assert any(rules(choice, operand, output) for choice in net.choices)
    for distance in distances:
        compiled = placed(net, distance, operand, output)
        for emulated in (False, True) if net.board else (False,):
            wrong = differing(net, compiled, samples, emulated)
            assert not wrong, _say(net, wrong, distance, operand, output)


def check_tight(
    net: Layers,
    operand: int = 0,
    output: int = 0,
    distances: Sequence[Distance] = (at_most, at_least),
    samples: int = 6,
    least: float = 1.0,
) -> int:
    """`check_safe`; and at the next distance beyond a bound layers fail on this computer. How many bounds did.

    All layers, or a share of at `least`: where random scales leave one output for all inputs, nothing can fail.
    """
    check_safe(net, operand, output, distances, samples)
    failed = 0
    for distance in distances:
        outside = beyond(distance)
        tried = {
            index
            for index, choice in enumerate(net.choices)
            if any(outside(choice, rule) is not None for rule in rules(choice, operand, output))
        }
        if tried:
            unharmed = tried - differing(net, placed(net, outside, operand, output), MORE * samples)
            assert len(unharmed) <= (1 - least) * len(tried), (
                f"not tight: {_say(net, unharmed, distance, operand, output)}"
            )
            failed += len(tried) - len(unharmed)
    return failed


def _say(net: Layers, layers: set[int], distance: Distance, operand: int, output: int) -> str:
    """Which layers, of which kernels, at which distances."""
    lines = []
    for index in sorted(layers):
        choice = net.choices[index]
        places = [distance(choice, rule) for rule in rules(choice, operand, output)]
        shapes = f"{choice.context.input(operand).shape} -> {choice.context.output.shape}"
        lines.append(f"layer {index}, {choice.context.node.op} {choice.variant.name}, {shapes}, {places}")
    return "; ".join(lines)
