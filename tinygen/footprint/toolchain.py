"""Finds the cross-compiler of a core: on the path, or among the packages of PlatformIO."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinygen.errors import ToolError
from tinygen.target import Core

GCC, OBJDUMP = "gcc", "objdump"


@dataclass(frozen=True)
class Toolchain:
    """A compiler and the objdump beside it."""

    gcc: Path
    objdump: Path

    @property
    def title(self) -> str:
        """The compiler's name and version."""
        return f"{self.gcc.stem} {run([self.gcc, '-dumpversion'], Path()).strip()}"


def find(core: Core, platformio_first: bool) -> Toolchain | None:
    """The core's compiler; PlatformIO's own goes first where that is what builds the project."""
    packaged = list(_packaged(core.compiler))
    on_path = [Path(found)] if (found := shutil.which(core.compiler)) else []
    for gcc in (*packaged, *on_path) if platformio_first else (*on_path, *packaged):
        objdump = gcc.with_name(gcc.name.replace(GCC, OBJDUMP))
        if objdump.exists():
            return Toolchain(gcc, objdump)
    return None


def _packaged(compiler: str) -> Iterator[Path]:
    """The compilers of that name that PlatformIO downloaded, by package."""
    home = Path(os.environ.get("PLATFORMIO_CORE_DIR") or Path.home() / ".platformio")
    for folder in sorted((home / "packages").glob("toolchain-*/bin")):
        if found := shutil.which(compiler, path=str(folder)):
            yield Path(found)


def run(command: Sequence[str | Path], folder: Path) -> str:
    """What the program prints; ToolError with the first line that says what is wrong when it fails."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise ToolError("cannot be run", where=str(command[0]), found=str(error)) from None
    if done.returncode:
        lines = done.stderr.splitlines() or ["no message"]
        found = next((line for line in lines if "error" in line), lines[0])
        raise ToolError("failed", where=Path(command[0]).name, found=found)
    return done.stdout
