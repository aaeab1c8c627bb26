"""Chooses boards by core, by memory, and by what a model needs of them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from tinygen import target
from tinygen.budget import Need, need, reachable_flash_bytes
from tinygen.driver import Model, compile_model
from tinygen.errors import DataError
from tinygen.target import Target
from tinygen.variants import Optimize

UNITS = {"": 1, "k": 1024, "m": 1024 * 1024}


@dataclass(frozen=True)
class Selection:
    """The boards that were asked for, and what the model needs on each of their cores if there is one."""

    boards: tuple[Target, ...]
    needs: dict[str, Need]

    def as_json(self) -> dict[str, Any]:
        """The same as plain data."""
        facts: dict[str, Any] = {"boards": [board.as_json() for board in self.boards]}
        return facts | ({"needs": {core: asdict(need) for core, need in self.needs.items()}} if self.needs else {})


def memory_size(text: str) -> int:
    """Bytes of `text`: 65536, 64K or 1M, with or without a B; DataError if it is none."""
    match = re.fullmatch(r"(\d+) ?([km]?)b?", text.strip().lower())
    if not match:
        raise DataError("not a memory size", found=f"'{text}'", expected="a number of bytes such as 65536, 64K or 1M")
    return int(match[1]) * UNITS[match[2]]


def select(
    name: str | None = None,
    core: str | None = None,
    min_ram: str | None = None,
    min_flash: str | None = None,
    model: Model | None = None,
    known: bool = False,
) -> Selection:
    """Of all boards (those too that are only `known`), or of the board `name`, those that have what is asked for."""
    ram_bytes, flash_bytes = memory_size(min_ram or "0"), memory_size(min_flash or "0")
    if core:
        target.load_core(core)
    boards = [target.load(name)] if name else target.load_all(known)
    chosen = [
        board
        for board in boards
        if core in (None, board.core.name) and board.ram_bytes >= ram_bytes and board.flash_bytes >= flash_bytes
    ]
    needs = _needs(model, chosen) if model else {}
    fitting = (board for board in chosen if not model or _fits(model, board, needs[board.core.name]))
    return Selection(tuple(fitting), needs)


def _fits(model: Model, board: Target, needed: Need) -> bool:
    """Whether the board has the room, in one piece of RAM or in several."""
    if needed.fits(board) or not board.other_ram:
        return needed.fits(board)
    if needed.constant_bytes > reachable_flash_bytes(board) or needed.arena_bytes > board.ram_bytes:
        return False
    return bool(compile_model(model, board, optimize=Optimize.FLASH).plan.parts)


def _needs(model: Model, boards: Iterable[Target]) -> dict[str, Need]:
    """What the model needs on each core with the kernels that need least; it is compiled once for each.

    A board with one piece of RAM tells it best: there the arena is not divided.
    """
    needs: dict[str, Need] = {}
    for board in sorted(boards, key=lambda board: len(board.ram_pieces)):
        if board.core.name not in needs:
            needs[board.core.name] = need(compile_model(model, board, optimize=Optimize.FLASH))
    return needs
