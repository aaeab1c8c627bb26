"""Turns lifetimes and what kernels say of overlapping into the distances at which two buffers must not lie."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from tinygen.ir import Graph
from tinygen.memory.bounds import Intervals
from tinygen.memory.lifetimes import Buffer, Part
from tinygen.memory.schedule import Schedule
from tinygen.ops.spec import Overlap


def forbidden(graph: Graph, planned: Schedule, wanted: Sequence[Buffer]) -> dict[tuple[int, int], Intervals]:
    """(index of one buffer, of another) -> what the difference of their offsets must not be."""
    found: dict[tuple[int, int], set[tuple[int, int]]] = {}
    for (a, p), (b, q) in _meetings(wanted):
        p, q = seen(wanted[a], p, wanted[b]), seen(wanted[b], q, wanted[a])
        found.setdefault((a, b), set()).update(between(graph, planned, p, q))
    merged = ((pair, _merged(found[pair])) for pair in sorted(found))
    return {pair: intervals for pair, intervals in merged if intervals}


def _meetings(wanted: Sequence[Buffer]) -> Iterator[tuple[tuple[int, Part], tuple[int, Part]]]:
    """All two parts of two buffers that hold a value at one moment, with the numbers of these; the lower one first."""
    alive: list[tuple[int, Part]] = []
    parts = [(number, part) for number, buffer in enumerate(wanted) for part in buffer.parts]
    for b, q in sorted(parts, key=lambda each: each[1].first):
        alive = [each for each in alive if each[1].last >= q.first]
        for a, p in alive:
            if a != b:
                yield ((a, p), (b, q)) if a < b else ((b, q), (a, p))
        alive.append((b, q))


def seen(buffer: Buffer, part: Part, other: Buffer) -> Part:
    """A part as `other` sees it: rows that all begin or end when it ends or begins are one whole."""
    if buffer.whole is None or (buffer.ends_at_once != other.first and buffer.begins_at_once != other.last):
        return part
    return buffer.whole


def between(graph: Graph, planned: Schedule, p: Part, q: Part) -> Intervals:
    """What offset of the buffer of `q` - offset of that of `p` must not be, for the sake of these parts."""
    shift = p.offset - q.offset
    if p.last != q.first and q.last != p.first:
        return ((1 - q.bytes + shift, p.bytes + shift),)
    if q.first < q.last == p.first:
        return tuple((1 - high + shift, 1 - low + shift) for low, high in _parts(graph, planned, q, p))
    return tuple((low + shift, high + shift) for low, high in _parts(graph, planned, p, q))


def _parts(graph: Graph, planned: Schedule, source: Part, result: Part) -> Intervals:
    """What offset of `result` - offset of `source` must not be: they share no byte, unless one becomes the other.

    That is so when the node that writes the result, or has it as its scratch, is the last to read the source. A node
    that takes the source several times must allow the distance for each of them.
    """
    step = result.first
    moment = planned.moments[step] if 0 <= step < len(planned.moments) else None
    kernel = moment.kernel if moment else None
    whole = ((1 - result.bytes, source.bytes),)
    if moment is None or kernel is None or source.last != step or source.first == step:
        return whole
    node = graph.nodes[moment.node]
    operands = [k for k in kernel.operands if node.inputs[k] in source.tensors]
    if result.tensors:
        if source.row != result.row:
            return whole
        output = next((k for k, tensor in enumerate(node.outputs) if tensor in result.tensors), None)
        rules = [rule for rule in kernel.overlaps if rule.output == output]
    else:
        if not any(access.tensor in source.tensors and access.row == source.row for access in moment.reads):
            return whole  # all rows of a tensor, of which the kernel knows one
        rules = [_behind(rule, result.offset) for rule in kernel.scratch_overlaps]
    left: list[tuple[int, int]] = []
    for operand in operands:
        left += unsafe([rule for rule in rules if rule.operand == operand], source.bytes, result.bytes)
    return _merged(left) if operands else whole


def _behind(rule: Overlap, offset: int) -> Overlap:
    """What a rule says of the bytes that are so far behind the first one of the output."""
    exact = tuple(value + offset for value in rule.exact)
    most, least = (None if bound is None else bound + offset for bound in (rule.most, rule.least))
    return replace(rule, most=most, least=least, exact=exact)


def unsafe(rules: Iterable[Overlap], in_bytes: int, out_bytes: int) -> Intervals:
    """The distances from an input to an output at which they share bytes and no rule says that they may."""
    rules = tuple(rules)
    low = max((rule.most + 1 for rule in rules if rule.most is not None), default=1 - out_bytes)
    high = min((rule.least for rule in rules if rule.least is not None), default=in_bytes)
    low, high = max(low, 1 - out_bytes), min(high, in_bytes)
    left = []
    for exact in sorted({value for rule in rules for value in rule.exact if low <= value < high}):
        left.append((low, exact))
        low = exact + 1
    return tuple((start, end) for start, end in (*left, (low, high)) if start < end)


def _merged(intervals: Iterable[tuple[int, int]]) -> Intervals:
    """Their union, sorted and apart."""
    found: list[tuple[int, int]] = []
    for low, high in sorted(interval for interval in intervals if interval[0] < interval[1]):
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found)
