"""A .tflite model as what it costs on a board: the generated code compiled, measured and replayed in an emulator."""

from __future__ import annotations

from dataclasses import replace

from tinygen.budget import RAM, Budget, need, weigh
from tinygen.driver import Compiled, Model, compile_model
from tinygen.errors import TargetError, ToolError
from tinygen.footprint.measure import measure
from tinygen.frontend import tflite
from tinygen.optimize.limits import Limits, cost_lacks
from tinygen.optimize.outcome import Cost
from tinygen.profile.facts import QEMU
from tinygen.profile.profile import choose, profile
from tinygen.project import default_format
from tinygen.variants import Optimize, goals

FIRMWARE, MODEL = "the firmware without a framework", "the model alone"
NAME = "model"
"""The prefix of the symbols; their length is part of no program's size."""


def cost(data: bytes, limits: Limits) -> Cost:
    """What the model costs with the fastest kernels with which it fits; raises ModelError and ToolError.

    Without a board it is what the portable C takes: its constants as flash, its arena as RAM, and no time.
    """
    model = Model(f"{NAME}.tflite", tflite.with_first_subgraph(data, 0), tflite.read(data, f"{NAME}.tflite"))
    if limits.board is None:
        return _portable(compile_model(model, name=NAME))
    board = limits.board
    tried: list[tuple[float, int, Cost, Compiled, Budget]] = []
    for goal in goals(None):
        compiled = compile_model(model, board, NAME, form=default_format(board), optimize=goal)
        if tried and not _may_fit(compiled, limits):
            continue  # its data alone are too much, which is known without building it
        budget = weigh(compiled, board, measure(compiled, board))
        found = _on_board(budget, goal)
        over = cost_lacks(found, limits)
        tried.append((sum(lack.over for lack in over), len(tried), found, compiled, budget))
        if not over:
            break
    _, _, found, compiled, budget = min(tried)
    return replace(found, milliseconds=_milliseconds(compiled, budget, limits)) if budget.fits else found


def _may_fit(compiled: Compiled, limits: Limits) -> bool:
    """Whether constants and arena leave room for code and stack."""
    needed = need(compiled)
    flash = limits.flash_bytes is None or needed.constant_bytes < limits.flash_bytes
    ram = limits.ram_bytes is None or needed.arena_bytes < limits.ram_bytes
    return flash and ram and (limits.board is None or needed.fits(limits.board))


def _portable(compiled: Compiled) -> Cost:
    needed = need(compiled)
    constants, arena = needed.constant_bytes, needed.arena_bytes
    return Cost("", MODEL, Optimize.SPEED.value, "", constants, arena, constants, None, ())


def _on_board(budget: Budget, goal: Optimize) -> Cost:
    """What the program takes, as far as that is said by the compiler alone."""
    found = budget.footprint
    ram_bytes = max([found.ram_bytes, *(memory.needed_bytes for memory in budget.memories if memory.kind == RAM)])
    flash_bytes, constant_bytes = found.flash_bytes, budget.need.constant_bytes
    program = FIRMWARE if found.firmware else MODEL
    facts = (budget.board, program, goal.value, found.compiler)
    return Cost(*facts, flash_bytes, ram_bytes, constant_bytes, None, budget.memories)


def _milliseconds(compiled: Compiled, budget: Budget, limits: Limits) -> float | None:
    """The time of one inference with the flash's wait states, where there is an emulator that tells it."""
    assert limits.board is not None
    try:
        found = profile(compiled, limits.board, budget, seed=0)
    except (TargetError, ToolError):
        if limits.milliseconds is not None:
            raise
        return None
    waiting = found.milliseconds(found.total.stall_cycles)
    return found.milliseconds() if waiting is None else waiting


def check_time(limits: Limits) -> None:
    """Raise TargetError when there is a limit of time on a board whose time cannot be told."""
    if limits.milliseconds is None:
        return
    if limits.board is None:
        raise TargetError("a limit of time is for a board", remedy="add --board BOARD; `tinygen boards` lists them")
    if choose(limits.board) == QEMU:
        remedy = "its emulator counts instructions alone; leave --target-ms out"
        raise TargetError("the time of an inference is not known", where=limits.board.name, remedy=remedy)
