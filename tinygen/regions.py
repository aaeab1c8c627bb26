"""Turns a board's RAM into the rooms that an arena has there, and a plan for one arena into one for those rooms."""

from __future__ import annotations

from tinygen import ops
from tinygen.emit import STACK_BYTES
from tinygen.ir import Graph
from tinygen.memory.plan import Plan
from tinygen.memory.regions import FreeRegion, divided
from tinygen.planning import rows_reach
from tinygen.project import ARDUINO, BARE, environments
from tinygen.target import Target
from tinygen.variants import Choices, kernels

VARIABLE_BYTES = 1024
"""Kept of the region for data beside the stack: variables of the program and of the C library, about."""


def rooms(board: Target | None, form: str, graph: Graph) -> list[FreeRegion]:
    """What each piece of RAM has for an arena, the fastest first; empty where there is but one.

    The region for ordinary variables has no name, and keeps room for what else lies there: the stack, and in a program
    of ours a copy of the inputs. Where only a framework builds the program, its linker script knows that region alone.
    """
    if board is None or len(board.ram_pieces) < 2 or form == ARDUINO:
        return []
    runs = environments(board, form)
    if runs and BARE not in runs:
        return []
    kept = STACK_BYTES + VARIABLE_BYTES + sum(graph.tensors[i].bytes for i in graph.inputs if runs)
    main = board.main_ram
    slowest = board.ram_pieces[-1].kind
    return [
        FreeRegion("", max(0, main.bytes - kept), piece.kind != slowest)
        if piece == main
        else FreeRegion(piece.name, piece.bytes, piece.kind != slowest)
        for piece in board.ram_pieces
    ]


def in_regions(graph: Graph, choices: Choices, whole: Plan, found: list[FreeRegion], alignment_bytes: int) -> Plan:
    """`whole` in these rooms; as it is where they are none, or together too small."""
    if not found:
        return whole
    work = [0] * len(graph.nodes)
    for index, choice in enumerate(choices):
        if choice:
            cost = ops.SPECS[choice.context.node.op].cost(choice.context)
            work[index] = cost.macs + cost.outputs
    rows = [choice.rows if choice else None for choice in choices]
    made = divided(graph, kernels(choices), rows, whole, found, alignment_bytes, work)
    return made if rows_reach(graph, made) else whole
