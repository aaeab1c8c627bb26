"""Turns a graph into the stages of strips that it might begin with, and about what each of them needs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from tinygen import ops
from tinygen.ir import Graph, Node
from tinygen.memory.live import live_bytes
from tinygen.memory.prices import prices
from tinygen.memory.rows import run
from tinygen.memory.schedule import schedule
from tinygen.memory.streaming import Streamings
from tinygen.memory.views import storage
from tinygen.ops.spec import Rows, context_of
from tinygen.passes.strips import WIDTH, Stage, can_end, in_strips, possible
from tinygen.quant import Numerics
from tinygen.target import Core
from tinygen.variants import Choices, Optimize, choose, kernels


@dataclass(frozen=True)
class Estimate:
    """What a stage in strips needs: bytes alive at once, and multiply-accumulates against those without strips."""

    stage: Stage
    bytes: int
    macs: float


class Stages:
    """The stages of a graph that strips might compute, and about what they need."""

    def __init__(self, graph: Graph, numerics: Numerics, core: Core, optimize: Optimize = Optimize.SPEED) -> None:
        self.graph, self.core, self.numerics = graph, core, numerics
        self.choices = choose(graph, numerics, core, optimize)
        self._producers = graph.producers()
        self._behind: dict[int, int] = {}

    @cached_property
    def macs(self) -> int:
        """Multiply-accumulates without strips."""
        return _macs(self.graph)

    def best(self, strips: int, most_macs: float, fed: bool = True) -> list[Estimate]:
        """Those that need least, with so many strips; the image lies in RAM whole unless it is `fed`.

        The later a stage ends, the more it needs itself, and the less is needed behind it: the best is where both meet.
        """
        stages = [Stage(last, strips) for last in can_end(self.graph) if self._has_rows(last)]
        known = {stage: in_strips(self.graph, stage) for stage in stages if possible(self.graph, stage)}
        macs = {stage: _macs(cut) / max(1, self.macs) for stage, cut in known.items()}
        needs = {stage: self._strips(known[stage], strips, fed) for stage in known if macs[stage] <= most_macs}
        found: dict[Stage, int] = {}
        order = [one for one in needs if all(needs[one] < needs[other] for other in needs if other.last > one.last)]
        first, end = 0, len(order)
        while first < end:
            stage = order[middle := (first + end) // 2]
            behind = self._least_behind(stage.last)
            found[stage] = max(needs[stage], behind)
            first, end = (first, middle) if behind <= needs[stage] else (middle + 1, end)
        return sorted((Estimate(s, n, macs[s]) for s, n in found.items()), key=lambda one: (one.bytes, one.macs))

    def _has_rows(self, last: int) -> bool:
        """Whether all nodes up to this one can be computed row by row."""
        return all(choice is not None and choice.rows is not None for choice in self.choices[: last + 1])

    def _strips(self, cut: Graph, strips: int, fed: bool) -> int:
        """The bytes that are alive while a strip in the middle is computed, and while the last is."""
        return max(self._strip(alone(cut, strip), fed) for strip in {strips // 2, strips - 1})

    def _strip(self, strip: Graph, fed: bool) -> int:
        rows = [self._rows(strip, node) for node in strip.nodes]
        made = run(strip, rows, 0, len(rows) - 1, strip.inputs[0] if fed else None)
        return int(live_bytes(strip, schedule(strip, [], rows, (made,)), storage(strip, 1, joined=False)).max())

    def _rows(self, strip: Graph, node: Node) -> Rows:
        """A node's rows: as those of the same node on all columns, with scratch for as many columns as there are."""
        output = strip.tensors[node.outputs[0]]
        index = self._producers.get(output.source)
        same = index is not None and self.graph.nodes[index].op == node.op
        choice = self.choices[index] if index is not None and same else None
        whole = choice.rows if choice else None
        if whole is None or choice is None:
            context = context_of(strip, node, self.numerics)
            return Rows(replace(ops.SPECS[node.op].params(context), overlaps=(), scratch_bytes=0), "")
        scratch = -(-whole.kernel.scratch_bytes * output.shape[WIDTH] // choice.context.output.shape[WIDTH])
        return replace(whole, kernel=replace(whole.kernel, scratch_bytes=scratch, overlaps=()))

    def by_rows(self) -> int | None:
        """The bytes that rows need without strips, where the input is fed; None if it cannot be."""
        return self._least(self.graph, self.choices, True)

    def _least_behind(self, last: int) -> int:
        """The bytes that all behind a node needs with whatever rows help."""
        if last not in self._behind:
            self._behind[last] = self._least(behind(self.graph, last), self.choices[last + 1 :], False) or 0
        return self._behind[last]

    def _least(self, graph: Graph, choices: Choices, given: bool) -> int | None:
        rows = [choice.rows if choice else None for choice in choices]
        found = Streamings(graph, kernels(choices), rows, prices(self.core.features).row, given=given)
        return next((way.live_bytes for way in found.smallest_first()), None)


def alone(cut: Graph, strip: int) -> Graph:
    """The nodes of one strip of a graph in strips, from its input and what was done before."""
    begin, end = spans(cut)[strip]
    nodes = cut.nodes[begin:end]
    before = cut.nodes[begin - 1].outputs if strip else ()
    return replace(cut.with_nodes(nodes), inputs=(cut.inputs[strip], *before), outputs=nodes[-1].outputs)


def behind(graph: Graph, last: int) -> Graph:
    """What follows a node that leaves all that is read of those before it."""
    return replace(graph.with_nodes(graph.nodes[last + 1 :]), inputs=graph.nodes[last].outputs)


def spans(cut: Graph) -> list[tuple[int, int]]:
    """The first node of each strip, and the one behind its last."""
    readers = cut.consumers()
    firsts = [readers[tensor][0] for tensor in cut.inputs]
    result = cut.tensors[cut.nodes[firsts[-1] - 1].outputs[0]].source
    end = cut.producers()[result] + 1
    return list(zip(firsts, [*firsts[1:], end], strict=True))


def _macs(graph: Graph) -> int:
    return sum(ops.SPECS[node.op].cost(context_of(graph, node, Numerics.TFLITE)).macs for node in graph.nodes)
