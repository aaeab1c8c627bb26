"""Opens the firmware of a project, built and started in an emulator or at a serial port, as a link."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tinygen.errors import TargetError, ToolError
from tinygen.interrupts import interruptible
from tinygen.run.build import build
from tinygen.run.emulator import Emulator, choose, start
from tinygen.run.link import Link
from tinygen.run.project_folder import Project
from tinygen.run.serial_port import SerialPort


@dataclass(frozen=True)
class Firmware:
    """A firmware that can be talked to; `emulator` is None for one on a board at a port."""

    link: Link
    where: str
    emulator: Emulator | None


@contextmanager
def firmware_at(port: str) -> Iterator[Firmware]:
    """The firmware of the board at a serial port; raises ToolError."""
    with interruptible(), closing(SerialPort(port)) as link:
        yield Firmware(link, port, None)


@contextmanager
def emulated_firmware(
    project: Project, elf: Path | None, environment: str | None, limit_seconds: float
) -> Iterator[Firmware]:
    """The project's firmware, or that in the file `elf`, in an emulator of its board; raises TargetError, ToolError."""
    board = project.board
    if board is None:
        remedy = "make one for a board: tinygen compile MODEL --board BOARD"
        raise TargetError("the project is for no board", where=str(project.folder), remedy=remedy)
    emulator = choose(board)
    if elf is not None and environment is not None:
        raise ToolError("--elf names a program, so there is none to build", found=f"--env {environment}")
    if elf is not None and not elf.is_file():
        raise ToolError("no such file", where=str(elf))
    with interruptible():
        program = elf or build(project, emulator.kind, environment)
        with closing(start(emulator, board, program, limit_seconds)) as link:
            yield Firmware(link, board.name, emulator)
