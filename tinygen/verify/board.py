"""Chooses the emulator that runs a board's program."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from tinygen.driver import Compiled
from tinygen.errors import ToolError
from tinygen.ir import Array
from tinygen.target import Target
from tinygen.verify.board_qemu import MACHINES, QemuBoard
from tinygen.verify.board_simavr import SimavrBoard
from tinygen.verify.board_unicorn import MODELS, UnicornBoard


class Board(Protocol):
    """A compiled model that can be run."""

    def run(self, inputs: Sequence[Array]) -> tuple[dict[int, Array], list[Array]]:
        """(tensor id -> value after its own layer, outputs after the last) of one inference."""


def emulate(compiled: Compiled, target: Target, folder: Path) -> Board:
    """The model cross-compiled for `target`, in an emulator; raises ToolError when there is none for its core."""
    if target.core.name in MODELS:
        return UnicornBoard(compiled, target, folder)
    if target.name in MACHINES:
        return QemuBoard(compiled, target, folder)
    if "avr" in target.core.features:
        return SimavrBoard(compiled, target, folder)
    expected = ", ".join(["avr", *MODELS, *MACHINES])
    raise ToolError("no emulator for this core", where=target.name, found=target.core.name, expected=expected)
