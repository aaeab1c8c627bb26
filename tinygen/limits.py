"""Turns a model, a board and limits into the program that keeps them, or into how near one came."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tinygen.arena import arena
from tinygen.budget import Budget, model_code_bytes, need, weigh
from tinygen.driver import Compiled, Model, compile_model
from tinygen.footprint.measure import measure
from tinygen.quant import Numerics
from tinygen.target import Target
from tinygen.variants import ANY_ROOM, Optimize, Room

RAM, FLASH = "RAM", "flash"
MOST_TRIED = 4
"""Times that a goal is tried again: the fastest kernels with less room where code leaves too little, others leaner."""
UNSURE_BYTES = 64, 256
"""What leaner functions are to save more where what they are thought to save was too much: once, and once again."""


@dataclass(frozen=True)
class Limits:
    """Most bytes that the model itself may take; None: as many as there are."""

    ram_bytes: int | None = None
    flash_bytes: int | None = None

    def __bool__(self) -> bool:
        return self.ram_bytes is not None or self.flash_bytes is not None


@dataclass(frozen=True, eq=False)
class Attempt:
    """The model with the kernels for one goal."""

    goal: Optimize
    compiled: Compiled
    budget: Budget | None
    limits: Limits

    @property
    def ram_bytes(self) -> int:
        """The arena, and constants that are copied to RAM: all variables of the model."""
        return need(self.compiled).ram_bytes

    @property
    def flash_bytes(self) -> int:
        """Constants, and the code of the layers where a compiler measured it."""
        measured = self.budget is not None and self.budget.footprint.measured
        code = model_code_bytes(self.compiled, self.budget.footprint) if self.budget and measured else 0
        return need(self.compiled).constant_bytes + code

    @property
    def over(self) -> Mapping[str, tuple[int, int]]:
        """The limits that it exceeds: what it takes, and the limit."""
        taken = ((RAM, self.ram_bytes, self.limits.ram_bytes), (FLASH, self.flash_bytes, self.limits.flash_bytes))
        return {kind: (found, most) for kind, found, most in taken if most is not None and found > most}

    @property
    def fits(self) -> bool:
        """Whether board and limits allow it."""
        return not self.over and (self.budget is None or self.budget.fits)

    def less(self, room: Room) -> Room:
        """Room with which another attempt takes less of what this one takes too much of."""
        taken, ram, flash = need(self.compiled), self._excess(RAM), self._excess(FLASH)
        return Room(
            taken.arena_bytes - ram if ram else room.ram_bytes,
            taken.constant_bytes - flash if flash else room.flash_bytes,
        )

    def next_room(self, room: Room) -> Room | None:
        """Room for another attempt at the same goal; None where that has nothing to save.

        The fastest kernels get less of what there is too little of, others make leaner functions: those save code.
        """
        if self.goal is Optimize.FASTEST:
            return self.less(room)
        excess = self._excess(FLASH)
        saves = 0 < excess < self.flash_bytes - need(self.compiled).constant_bytes
        return replace(room, lacking_bytes=room.lacking_bytes + excess) if saves else None

    def _excess(self, kind: str) -> int:
        """Bytes over the limit and over what the board has, the larger of both."""
        found, most = self.over.get(kind, (0, 0))
        memories = self.budget.memories if self.budget else ()
        return max(found - most, *(memory.over_bytes for memory in memories if memory.kind == kind), 0)


@dataclass(frozen=True, eq=False)
class Refusal:
    """Attempts of which none keeps the limits."""

    attempts: Sequence[Attempt]

    def lines(self) -> Iterator[str]:
        """Why, and the best that was reached."""
        for kind in (RAM, FLASH):
            over = [(attempt.over[kind], attempt) for attempt in self.attempts if kind in attempt.over]
            if len(over) == len(self.attempts):
                (best, most), attempt = min(over, key=lambda one: one[0][0])
                yield (
                    f"{kind}: the model takes {best:,} bytes at best (--optimize {attempt.goal.value}), "
                    f"{best - most:,} more than the limit of {most:,}"
                )
        least = min(self.attempts, key=lambda attempt: attempt.ram_bytes)
        yield from arena(least.compiled.graph, least.compiled.plan).lines()
        yield "best of each:"
        for attempt in self.attempts:
            ram, flash = f"{attempt.ram_bytes:,} bytes of RAM", f"{attempt.flash_bytes:,} of flash"
            yield f"  --optimize {attempt.goal.value}: {ram}, {flash}"

    def as_json(self) -> dict[str, Any]:
        """The same as plain data."""
        limits = self.attempts[0].limits
        achieved = {a.goal.value: {"ram_bytes": a.ram_bytes, "flash_bytes": a.flash_bytes} for a in self.attempts}
        return {
            "fits": False,
            "limits": {"ram_bytes": limits.ram_bytes, "flash_bytes": limits.flash_bytes},
            "achieved": achieved,
        }


def compile_within(
    model: Model,
    board: Target | None,
    name: str | None,
    numerics: Numerics,
    form: str,
    goals: Sequence[Optimize],
    limits: Limits,
    feed: int = 0,
    ram_weights: int = 0,
) -> list[Attempt]:
    """Attempts for one goal after another, up to the first that fits; if none does, all of them.

    Without board and limits the first goal it is.
    """

    def attempt(goal: Optimize, room: Room) -> Attempt:
        compiled = compile_model(model, board, name, numerics, form, goal, feed, room, ram_weights)
        budget = weigh(compiled, board, measure(compiled, board)) if board else None
        return Attempt(goal, compiled, budget, limits)

    attempts: list[Attempt] = []
    for goal in goals:
        made, room = attempt(goal, _room(limits)), _room(limits)
        unsure = iter(() if goal is Optimize.FASTEST else UNSURE_BYTES)
        for _ in range(MOST_TRIED):
            less = None if made.fits else made.next_room(room)
            if less is None:
                break
            before, room, made = made, less, attempt(goal, less)
            if goal is not Optimize.FASTEST and made.flash_bytes == before.flash_bytes:
                more = next(unsure, 0)
                if not more:
                    break
                room = replace(room, lacking_bytes=room.lacking_bytes + more)
        attempts.append(made)
        if made.fits:
            break
    return attempts


def nearest(attempts: Sequence[Attempt]) -> Attempt:
    """Of attempts that a board has no room for, the one that is the fewest bytes too large."""

    def over_bytes(attempt: Attempt) -> int:
        return sum(memory.over_bytes for memory in attempt.budget.memories) if attempt.budget else 0

    return min(attempts, key=over_bytes)


def _room(limits: Limits) -> Room:
    """What limits leave to a model, its code not counted."""
    ram_bytes, flash_bytes = limits.ram_bytes, limits.flash_bytes
    return Room(
        ANY_ROOM.ram_bytes if ram_bytes is None else ram_bytes,
        ANY_ROOM.flash_bytes if flash_bytes is None else flash_bytes,
    )
