"""Turns a schedule of nodes and runs of rows into blocks of RAM, each byte with the time that it must be kept."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tinygen import ops
from tinygen.ir import ABSENT, DTYPES, Array, Graph
from tinygen.memory.bounds import Forbidden, Intervals, Item
from tinygen.memory.rows import GIVEN, Event, Run
from tinygen.ops.spec import Kernel, Overlap, Rows

SCRATCH_ALIGNMENT = 4
BEFORE, NEVER = -1, 2**62
"""The time before the first node, and one after all."""


@dataclass(frozen=True)
class Span:
    """Bytes of a block that are kept together, from one time to another, both included.

    A node, or an event of a run, takes two times: at the even one it reads, at the odd one it writes.
    """

    start: int
    bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Block:
    """Bytes that lie together: a tensor and its aliases, one row of a tensor, or scratch."""

    item: Item
    spans: tuple[Span, ...]
    tensors: tuple[int, ...] = ()
    row: int | None = None
    scratch_of: tuple[int, ...] = ()
    """The nodes whose scratch it is."""

    @property
    def first(self) -> int:
        """The time from which it is needed."""
        return min(span.first for span in self.spans)

    @property
    def last(self) -> int:
        """The time until which it is needed."""
        return max(span.last for span in self.spans)


@dataclass(frozen=True)
class Shared:
    """An output, or a row of one, that may lie over an input that dies as it is made: (block, span) of either."""

    input: tuple[int, int]
    output: tuple[int, int]
    rule: Overlap


@dataclass(frozen=True)
class Layout:
    """All blocks, and which of them may overlap although both are needed at one time."""

    blocks: tuple[Block, ...]
    shared: tuple[Shared, ...]
    steps: tuple[int, ...]
    """The node at work at each two times; for a row that the caller gives, GIVEN."""

    @property
    def items(self) -> list[Item]:
        """What is to be placed."""
        return [block.item for block in self.blocks]

    def forbidden(self) -> Forbidden:
        """The distances between blocks at which a byte would be needed for two things."""
        return _forbidden(self)

    def live_bytes(self) -> Array:
        """[2 * steps + 1]: the bytes needed at each time from BEFORE on, those that may be shared counted once."""
        return _live_bytes(self)


def lay_out(
    graph: Graph,
    kernels: Sequence[Kernel | None],
    rows: Sequence[Rows | None],
    runs: Sequence[Run] = (),
    alignment: int = 1,
) -> Layout:
    """The blocks of a graph whose nodes have these kernels, `runs` of them computed row by row."""
    builder = _Builder(graph, kernels, rows, runs, alignment)
    return builder.layout()


class _Builder:
    """Collects what each tensor is read and written at."""

    def __init__(
        self,
        graph: Graph,
        kernels: Sequence[Kernel | None],
        rows: Sequence[Rows | None],
        runs: Sequence[Run],
        alignment: int,
    ) -> None:
        self.graph, self.kernels, self.rows, self.alignment = graph, kernels, rows, alignment
        self.runs = {run.first: run for run in runs}
        self.loose = frozenset[int]().union(*(run.loose for run in runs))
        self.owner = _owners(graph)
        self.parted = {tensor for run in runs for tensor in run.read}
        self.parted |= {graph.nodes[run.last].outputs[0] for run in runs if not self._gathers(run.last)}
        self.born: dict[int, list[int]] = {}
        self.dies: dict[int, list[int]] = {}
        self.members: dict[int, list[int]] = {}
        self.steps: list[int] = []
        self.scratch: list[Block] = []
        self.rules: list[tuple[int, int, int, int, Overlap]] = []

    def layout(self) -> Layout:
        for tensor in self.graph.inputs:
            if tensor not in self.loose:
                self._write(tensor, BEFORE)
        node = 0
        while node < len(self.graph.nodes):
            if node in self.runs:
                self._add_run(self.runs[node])
                node = self.runs[node].last
            else:
                self._add_node(node)
            node += 1
        for tensor in self.graph.outputs:
            if self.graph.tensors[self.owner[tensor]].data is None:
                self._read(tensor, 2 * len(self.steps) + 1)
        return self._collect()

    def _add_node(self, index: int) -> None:
        node, kernel = self.graph.nodes[index], self.kernels[index]
        time = 2 * len(self.steps)
        if kernel is None:
            for tensor in node.outputs:
                self._join(tensor)
            return
        for tensor in node.inputs:
            if tensor != ABSENT and self.graph.tensors[self.owner[tensor]].data is None:
                self._read(tensor, time + 1)
        for tensor in node.outputs:
            self._write(tensor, time)
        self._add_scratch(kernel.scratch_bytes, time, time + 1, (index,))
        for rule in kernel.overlaps:
            if node.inputs.count(node.inputs[rule.operand]) == 1:
                self.rules.append((node.inputs[rule.operand], -1, node.outputs[rule.output], time, rule))
        self.steps.append(index)

    def _add_run(self, run: Run) -> None:
        begin = 2 * len(self.steps)
        for number, event in enumerate(run.events):
            self._add_event(run, number, event, begin + 2 * number)
        end = begin + 2 * len(run.events) - 1
        users = tuple(range(run.first, run.last + 1 - self._gathers(run.last)))
        scratch = max((self._row_scratch(node) for node in users), default=0)
        self._add_scratch(scratch, begin, end, users)
        if self._gathers(run.last):
            self._add_scratch(self._row_scratch(run.last), begin, end, (run.last,))

    def _gathers(self, node: int) -> bool:
        rows = self.rows[node]
        return rows is not None and rows.gathers

    def _row_scratch(self, node: int) -> int:
        rows = self.rows[node]
        return rows.kernel.scratch_bytes if rows else 0

    def _add_event(self, run: Run, number: int, event: Event, time: int) -> None:
        rows = None if event.node == GIVEN else self.rows[event.node]
        output = self.graph.inputs[0] if rows is None else self.graph.nodes[event.node].outputs[0]
        if rows is not None:
            for tensor, row in run.last_reads.get(number, ()):
                self._read(tensor, time if rows.reads_first else time + 1, row)
                if row == event.row:
                    self._add_row_rules(event, tensor, output, time)
        writes = time + 1 if rows is not None and rows.reads_first else time
        self._write(output, writes, None if event.node != GIVEN and self._gathers(event.node) else event.row)
        self.steps.append(event.node)

    def _add_row_rules(self, event: Event, tensor: int, output: int, time: int) -> None:
        rows, inputs = self.rows[event.node], self.graph.nodes[event.node].inputs
        assert rows is not None
        for rule in rows.kernel.overlaps:
            if inputs[rule.operand] == tensor and inputs.count(tensor) == 1 and not rows.table:
                self.rules.append((tensor, event.row, output, time, rule))

    def _add_scratch(self, size: int, first: int, last: int, users: tuple[int, ...]) -> None:
        if size:
            item = Item(size, max(self.alignment, SCRATCH_ALIGNMENT))
            self.scratch.append(Block(item, (Span(0, size, first, last),), scratch_of=users))

    def _parts(self, tensor: int) -> int:
        """Rows of a tensor that a run reads or writes; others are one part."""
        root = self.owner[tensor]
        return self.graph.tensors[root].shape[1] if root in self.parted else 1

    def _join(self, tensor: int) -> None:
        root = self.owner[tensor]
        if self.graph.tensors[root].data is None and tensor not in self.members[root]:
            self.members[root].append(tensor)

    def _write(self, tensor: int, time: int, row: int | None = None) -> None:
        root = self.owner[tensor]
        if self.graph.tensors[root].data is not None:
            return
        self.members.setdefault(root, [tensor])
        if root not in self.born:
            parts = self._parts(root)
            self.born[root], self.dies[root] = [NEVER] * parts, [BEFORE] * parts
        born, dies = self.born[root], self.dies[root]
        for part in range(len(born)) if row is None else (row,):
            born[part] = min(born[part], time)
            # A row that nobody reads still takes its place while it is written.
            dies[part] = max(dies[part], time | 1 if time >= 0 else time)

    def _read(self, tensor: int, time: int, row: int | None = None) -> None:
        dies = self.dies[self.owner[tensor]]
        for part in range(len(dies)) if row is None else (row,):
            dies[part] = max(dies[part], time)

    def _collect(self) -> Layout:
        blocks: list[Block] = []
        place: dict[tuple[int, int], tuple[int, int]] = {}
        for root, members in self.members.items():
            tensor = self.graph.tensors[root]
            alignment = max(self.alignment, DTYPES[tensor.dtype].itemsize)
            parts = len(self.born[root])
            size = tensor.bytes // parts
            spans = [Span(part * size, size, self.born[root][part], self.dies[root][part]) for part in range(parts)]
            if root in self.loose:
                for part, span in enumerate(spans):
                    place[root, part] = len(blocks), 0
                    blocks.append(
                        Block(Item(size, alignment), (Span(0, size, span.first, span.last),), (root,), row=part)
                    )
                continue
            place |= {(root, part): (len(blocks), part) for part in range(parts)}
            blocks.append(Block(Item(tensor.bytes, alignment), tuple(spans), tuple(members)))
        blocks += self.scratch
        return Layout(tuple(blocks), tuple(self._shared(blocks, place)), tuple(self.steps))

    def _shared(self, blocks: Sequence[Block], place: Mapping[tuple[int, int], tuple[int, int]]) -> Iterator[Shared]:
        """The rules that hold: of inputs, or rows, that die as the output is made."""
        for source, row, made, time, rule in self.rules:
            source, made = self.owner[source], self.owner[made]
            if source not in self.members or source == made:
                continue
            if row < 0:
                ends = max(self.dies[source]) == time + 1
                if ends and self._is_whole(source) and self._is_whole(made):
                    yield Shared((place[source, 0][0], -1), (place[made, 0][0], -1), rule)
            elif self.dies[source][row] == time + 1 and (source, row) in place:
                yield Shared(place[source, row], place[made, row], rule)

    def _is_whole(self, root: int) -> bool:
        return root not in self.loose


def _owners(graph: Graph) -> dict[int, int]:
    """Tensor id -> id of the tensor whose bytes it uses: itself, or for an alias the source of the chain."""
    owner = {tensor: tensor for tensor in graph.tensors}
    for node in graph.nodes:
        if ops.SPECS[node.op].alias:
            owner[node.outputs[0]] = owner[node.inputs[0]]
    return owner


@functools.cache
def rule_intervals(rule: Overlap, size_in: int, size_out: int) -> Intervals:
    """The distances from an input to an output at which they share bytes and `rule` says that they may not."""
    low, high = 1 - size_out, size_in
    if rule.most is not None:
        low = max(low, rule.most + 1)
    if rule.least is not None:
        high = min(high, rule.least)
    found = []
    for exact in sorted(exact for exact in rule.exact if low <= exact < high):
        if low < exact:
            found.append((low, exact))
        low = exact + 1
    return (*found, (low, high)) if low < high else tuple(found)


def _forbidden(layout: Layout) -> Forbidden:
    blocks = layout.blocks
    rules = {(*shared.input, *shared.output): shared.rule for shared in layout.shared}
    whole = {(shared.input[0], shared.output[0]): shared.rule for shared in layout.shared if shared.input[1] < 0}
    spans = [(b, s, span) for b, block in enumerate(blocks) for s, span in enumerate(block.spans)]
    first = np.array([span.first for _, _, span in spans])
    last = np.array([span.last for _, _, span in spans])
    found: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for i, (a, part_a, span_a) in enumerate(spans):
        meets = np.flatnonzero((first[i + 1 :] <= last[i]) & (last[i + 1 :] >= first[i])) + i + 1
        for j in meets.tolist():
            b, part_b, span_b = spans[j]
            if a == b or (a, b) in whole or (b, a) in whole:
                continue
            found.setdefault((a, b), []).extend(_apart(rules, (a, part_a, span_a), (b, part_b, span_b)))
    result: dict[tuple[int, int], Intervals] = {pair: _merged(intervals) for pair, intervals in found.items()}
    for (a, b), rule in whole.items():
        result[a, b] = rule_intervals(rule, blocks[a].item.bytes, blocks[b].item.bytes)
    return result


def _apart(
    rules: Mapping[tuple[int, int, int, int], Overlap], a: tuple[int, int, Span], b: tuple[int, int, Span]
) -> list[tuple[int, int]]:
    """The distances from block `a` to block `b` at which these spans of them may not lie."""
    (block_a, part_a, span_a), (block_b, part_b, span_b) = a, b
    shift = span_a.start - span_b.start
    if rule := rules.get((block_a, part_a, block_b, part_b)):
        return [(low + shift, high + shift) for low, high in rule_intervals(rule, span_a.bytes, span_b.bytes)]
    if rule := rules.get((block_b, part_b, block_a, part_a)):
        turned = rule_intervals(rule, span_b.bytes, span_a.bytes)
        return [(1 - high + shift, 1 - low + shift) for low, high in turned]
    return [(1 - span_b.bytes + shift, span_a.bytes + shift)]


def _merged(intervals: Sequence[tuple[int, int]]) -> Intervals:
    """The same as sorted intervals apart from each other."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(intervals):
        if found and low <= found[-1][1]:
            found[-1] = found[-1][0], max(high, found[-1][1])
        else:
            found.append((low, high))
    return tuple(found)


def _live_bytes(layout: Layout) -> Array:
    """By differences: what begins at a time, less what ended before it."""
    change = np.zeros(2 * len(layout.steps) + 4, np.int64)
    for block in layout.blocks:
        for span in block.spans:
            change[span.first + 1] += span.bytes
            change[span.last + 2] -= span.bytes
    live = np.cumsum(change)[: 2 * len(layout.steps) + 1]
    for shared in layout.shared:
        source, made = layout.blocks[shared.input[0]], layout.blocks[shared.output[0]]
        a, b = source.spans[max(0, shared.input[1])], made.spans[max(0, shared.output[1])]
        sizes = (source.item.bytes, made.item.bytes) if shared.input[1] < 0 else (a.bytes, b.bytes)
        saved = sum(sizes) - _least_union(shared.rule, *sizes)
        live[b.first + 1 : a.last + 2] -= saved
    return live


@functools.cache
def _least_union(rule: Overlap, size_in: int, size_out: int) -> int:
    """The fewest bytes that hold both at a distance that is allowed."""
    intervals = rule_intervals(rule, size_in, size_out)
    edges = {-size_out, size_in, *(low - 1 for low, _ in intervals), *(high for _, high in intervals)}
    edges |= {0, size_in - size_out}
    allowed = [d for d in edges if not any(low <= d < high for low, high in intervals)]
    return min(max(size_in, d + size_out) - min(0, d) for d in allowed)
