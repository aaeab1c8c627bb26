"""Turns instructions of a Cortex-M into the cycles that they take where memory has no wait states.

Sources: the instruction timing tables of Arm's Technical Reference Manuals for Cortex-M0+ (DDI 0484), M3 (DDI 0337) and
M4 (DDI 0439). Where those give a range, docs/profile.md says which value of it stands here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from tinygen.footprint.listing import Instruction


@dataclass(frozen=True)
class Table:
    """What differs between the cores. `next_load` is of a load right behind another memory access of its block."""

    load: int
    next_load: int
    store: int
    accumulate: int
    long_multiply: int
    taken_branch: int
    """On top of the branch's own cycle."""


SMALL = Table(load=2, next_load=2, store=2, accumulate=1, long_multiply=1, taken_branch=1)
MIDDLE = Table(load=2, next_load=1, store=1, accumulate=2, long_multiply=4, taken_branch=2)
LARGE = Table(load=2, next_load=1, store=1, accumulate=1, long_multiply=1, taken_branch=2)
TABLES: Mapping[str, Table] = MappingProxyType(
    {
        "cortex-m0": SMALL,
        "cortex-m0plus": SMALL,
        "cortex-m3": MIDDLE,
        "cortex-m4": LARGE,
        "cortex-m4f": LARGE,
        "cortex-m7": LARGE,
        "cortex-m33": LARGE,
    }
)
"""Core -> its table. Those of M7 and M33, which may issue two instructions at a time, are the M4's."""

MULTIPLE = ("push", "pop", "ldm", "stm", "vldm", "vstm", "vpush", "vpop")
DOUBLE = ("ldrd", "strd")
LOAD, STORE, FLOAT_STORE = ("ldr", "vldr"), ("str",), ("vstr",)
TABLE_BRANCH = ("tbb", "tbh")
DIVIDE = ("sdiv", "udiv")
FLOAT_ACCUMULATE = ("vmla", "vmls", "vfma", "vfms", "vfnma", "vfnms")
FLOAT_DIVIDE = ("vdiv", "vsqrt")
ACCUMULATE = ("mla", "mls")
LONG_MULTIPLY = ("smull", "umull", "smlal", "umlal")
DOUBLE_CYCLES, TABLE_BRANCH_CYCLES, DIVIDE_CYCLES = 3, 2, 7
FLOAT_ACCUMULATE_CYCLES, FLOAT_DIVIDE_CYCLES = 3, 14
REGISTERS = re.compile(r"\{(.*)\}")
RANGE = re.compile(r"[a-z]+(\d+)-[a-z]+(\d+)")


def block_cycles(instructions: Sequence[Instruction], table: Table) -> int:
    """The cycles of a basic block, run from end to end, its last branch not taken."""
    cycles, after_memory = 0, False
    for instruction in instructions:
        memory = _memory_cycles(instruction, after_memory, table)
        cycles += _other_cycles(instruction.mnemonic, table) if memory is None else memory
        after_memory = memory is not None
    return cycles


def _memory_cycles(instruction: Instruction, after_memory: bool, table: Table) -> int | None:
    """The cycles of an access to memory, None for any other instruction."""
    name = instruction.mnemonic
    if name.startswith(MULTIPLE):
        return 1 + _register_count(instruction.operands)
    if name.startswith(DOUBLE):
        return DOUBLE_CYCLES
    if name.startswith(LOAD):
        return table.next_load if after_memory else table.load
    if name.startswith(STORE):
        return table.store
    if name.startswith(FLOAT_STORE):
        return 1 if after_memory else 2
    return TABLE_BRANCH_CYCLES if name.startswith(TABLE_BRANCH) else None


def _other_cycles(name: str, table: Table) -> int:
    """The cycles of an instruction without an access to memory."""
    if name.startswith(DIVIDE):
        return DIVIDE_CYCLES
    if name.startswith(FLOAT_ACCUMULATE):
        return FLOAT_ACCUMULATE_CYCLES
    if name.startswith(FLOAT_DIVIDE):
        return FLOAT_DIVIDE_CYCLES
    if name.startswith(ACCUMULATE):
        return table.accumulate
    return table.long_multiply if name.startswith(LONG_MULTIPLY) else 1


def _register_count(operands: str) -> int:
    """How many registers the list in braces names; a range stands for all of its own."""
    found = REGISTERS.search(operands)
    count = 0
    for part in found[1].split(",") if found else ():
        ends = RANGE.fullmatch(part.strip())
        count += int(ends[2]) - int(ends[1]) + 1 if ends else 1
    return count
