"""Divides the arena of a plan among several regions of RAM, what is touched most in the fastest that has room."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from tinygen.ir import ABSENT, Graph
from tinygen.memory.bounds import Forbidden, Item
from tinygen.memory.exact import lowest
from tinygen.memory.lifetimes import Buffer
from tinygen.memory.offsets import Limits, limits, place
from tinygen.memory.overlap import forbidden
from tinygen.memory.plan import ArenaPart, Kernels, Plan, as_plan
from tinygen.memory.schedule import schedule
from tinygen.ops.spec import Rows

ATTEMPTS = 200
"""Orders tried, at most, each with the rooms in one order and in the other."""


@dataclass(frozen=True)
class FreeRegion:
    """What a region of RAM has for the arena; `fast`, if the processor reaches it sooner than the others."""

    region: str
    bytes: int
    fast: bool = False


@dataclass(frozen=True)
class _Group:
    """Buffers that must lie in one region: the rows of a tensor, whose places one table gives, or a single one."""

    buffers: tuple[int, ...]
    bytes: int
    touches: float
    """Bytes read and written in an inference, about."""


@dataclass(frozen=True)
class _Problem:
    """What is to be divided."""

    wanted: Sequence[Buffer]
    items: Sequence[Item]
    apart: Forbidden
    near: Limits
    rooms: Sequence[FreeRegion]


def divided(
    graph: Graph,
    kernels: Kernels,
    rows: Sequence[Rows | None],
    whole: Plan,
    rooms: Sequence[FreeRegion],
    alignment_bytes: int,
    work: Sequence[int],
) -> Plan:
    """`whole` in the first of the `rooms` if it fits, else in several of them; as it is if they have no room.

    `work` has for each node about how often it touches a byte. Offsets count through the parts, one behind another:
    that is a plan for a single arena too.
    """
    if whole.arena_bytes <= rooms[0].bytes:
        if not rooms[0].region:
            return whole
        return replace(whole, parts=(ArenaPart(rooms[0].region, 0, whole.arena_bytes),))
    called = [None if i in whole.moved else kernel for i, kernel in enumerate(kernels)]
    planned = schedule(graph, called, rows, whole.runs)
    wanted = [buffer for buffer, _ in whole.buffers]
    items = [Item(buffer.bytes, max(alignment_bytes, buffer.item_bytes)) for buffer in wanted]
    apart = forbidden(graph, planned, wanted)
    problem = _Problem(wanted, items, apart, limits(len(items), apart), rooms)
    found = list(_assigned(problem, _groups(graph, wanted, work)))
    made = [_joined(problem, whole, *one) for one in (found[:1] if rooms[0].fast else found)]
    return min(made, key=lambda plan: plan.arena_bytes, default=whole)


def _groups(graph: Graph, wanted: Sequence[Buffer], work: Sequence[int]) -> list[_Group]:
    """Those with most touches for each byte first."""
    members: dict[tuple[int, ...], list[int]] = {}
    for number, buffer in enumerate(wanted):
        rows = buffer.parts[0].row is not None and buffer.whole is None
        members.setdefault(buffer.tensors if rows else (-1, number), []).append(number)
    touched = _touches(graph, work)
    found = []
    for numbers in members.values():
        tensors = {tensor for number in numbers for tensor in wanted[number].tensors}
        touches = sum(touched[tensor] for tensor in tensors)
        touches += sum(work[node] for number in numbers for node in wanted[number].scratch_of)
        found.append(_Group(tuple(numbers), sum(wanted[number].bytes for number in numbers), touches))
    return sorted(found, key=lambda group: (-group.touches / max(1, group.bytes), group.buffers))


def _touches(graph: Graph, work: Sequence[int]) -> Mapping[int, float]:
    """Of each tensor: written once, and read by the nodes that take it as often as they work."""
    found = {tensor: float(facts.bytes) for tensor, facts in graph.tensors.items()}
    for node, touches in zip(graph.nodes, work, strict=True):
        for tensor in node.inputs:
            if tensor != ABSENT:
                found[tensor] += touches
    return found


def _assigned(problem: _Problem, groups: Sequence[_Group]) -> Iterator[tuple[Sequence[int], Sequence[_Group]]]:
    """The room of each buffer, and an order in which all of them fit; the first has what is touched most in front.

    Whatever found no room comes first in the next attempt.
    """
    by_size = sorted(groups, key=lambda group: (-group.bytes, group.buffers))
    forward = range(len(problem.rooms))
    by_end = sorted(groups, key=lambda group: (-max(problem.wanted[i].last for i in group.buffers), group.buffers))
    starts = [(groups, forward), (by_size, forward), (by_size, forward[::-1]), (by_end, forward)]
    for start, rooms in starts:
        order = list(start)
        for _ in range(ATTEMPTS):
            found, failed = _filled(problem, order, rooms)
            if failed is None:
                yield found, order
            if failed is None or order[0] is failed:
                break
            order.remove(failed)
            order.insert(0, failed)


def _filled(problem: _Problem, order: Sequence[_Group], rooms: Sequence[int]) -> tuple[Sequence[int], _Group | None]:
    """Each group in the first room that has a place for it: the room of each buffer, and the first that found none."""
    room_of, offsets = [-1] * len(problem.items), [0] * len(problem.items)
    for group in order:
        if not any(_put(problem, group, room, room_of, offsets) for room in rooms):
            return room_of, group
    return room_of, None


def _put(problem: _Problem, group: _Group, room: int, room_of: list[int], offsets: list[int]) -> bool:
    """Place a group in a room if it has a place for all of it."""
    for number in group.buffers:
        item = problem.items[number]
        taken = sorted(
            (offsets[o] + low, offsets[o] + high) for o, low, high in problem.near[number] if room_of[o] == room
        )
        room_of[number], offsets[number] = room, lowest(item, taken)
        if offsets[number] + item.bytes > problem.rooms[room].bytes:
            for placed in group.buffers:
                room_of[placed] = -1
            return False
    return True


def _joined(problem: _Problem, whole: Plan, room_of: Sequence[int], order: Sequence[_Group]) -> Plan:
    """The plan with the arenas of all rooms one behind another."""
    offsets, parts = [0] * len(problem.items), []
    numbers = [number for group in order for number in group.buffers]
    start = 0
    for number, room in enumerate(problem.rooms):
        members = [i for i in numbers if room_of[i] == number]
        if not members:
            continue
        found = _placed(problem, members)
        for member, offset in zip(members, found, strict=True):
            offsets[member] = start + offset
        end = max(offsets[i] + problem.items[i].bytes for i in members)
        parts.append(ArenaPart(room.region, start, end - start))
        start = -(-end // whole.alignment_bytes) * whole.alignment_bytes
    placed = list(zip(problem.wanted, offsets, strict=True))
    made = as_plan(placed, whole.alignment_bytes, whole.lower_bound, whole.moved, whole.peak_step)
    return replace(made, runs=whole.runs, nodes=whole.nodes, parts=tuple(parts))


def _placed(problem: _Problem, members: Sequence[int]) -> Sequence[int]:
    """Offsets of the members in an arena of their own; placed in this order, they fit."""
    index = {member: number for number, member in enumerate(members)}
    apart = {(index[a], index[b]): found for (a, b), found in problem.apart.items() if a in index and b in index}
    return place([problem.items[member] for member in members], apart, orders=[range(len(members))]).offsets
