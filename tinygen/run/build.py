"""Brings the ELF file of a generated project up to date, with the tools that its user would call."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tinygen.errors import TargetError, ToolError
from tinygen.project import PLATFORMIO
from tinygen.run.project_folder import Project

LIMIT_SECONDS = 900
"""A first build of PlatformIO may have to download a compiler."""
SIGNS = (" error", "Error", "error:", "overflowed", "will not fit", "not found", "undefined reference")
"""What a line says that tells why a build fails."""
OFFLINE = ("HTTPClientError", "InternetConnectionError")
"""What PlatformIO says when it cannot download."""
PIO = "PlatformIO"


def build(project: Project, kind: str, environment: str | None = None) -> Path:
    """The ELF file of the program that runs in that way ("arduino" or "bare"), built; raises ToolError.

    `environment` is one of PlatformIO's to build instead of the project's own for that.
    """
    if project.board is None or not project.environments:
        raise TargetError(
            f"a project of format {project.form} has no firmware",
            where=str(project.folder),
            remedy="make one with --format platformio or cmake, or give --elf FILE",
        )
    if kind not in project.environments:
        found = ", ".join(project.environments)
        what = "the project has no firmware of the kind that the board's emulator runs"
        raise TargetError(what, where=str(project.folder), found=found, expected=kind)
    if environment and project.form != PLATFORMIO:
        what = "--env is for projects of PlatformIO"
        raise TargetError(what, where=str(project.folder), found=f"a project of format {project.form}")
    if project.form == PLATFORMIO:
        return _platformio(project, environment or project.environments[kind])
    return _cmake(project)


def _platformio(project: Project, environment: str) -> Path:
    if not importlib.util.find_spec("platformio"):
        raise ToolError(f"{PIO} is not installed", remedy="pip install 'tinygen[pio]'")
    command = [sys.executable, "-m", "platformio", "run", "-d", ".", "-e", environment]
    _run(command, project.folder)
    return _made(project.folder / ".pio" / "build" / environment / "firmware.elf")


def _cmake(project: Project) -> Path:
    if not shutil.which("cmake"):
        raise ToolError("cmake not found", remedy="install it, on Debian: apt-get install cmake make")
    folder = project.folder
    toolchain = (folder / "toolchain.cmake").resolve()
    _run(["cmake", "-S", ".", "-B", "build", f"-DCMAKE_TOOLCHAIN_FILE={toolchain}"], folder)
    _run(["cmake", "--build", "build"], folder)
    return _made(folder / "build" / "firmware.elf")


def _made(elf: Path) -> Path:
    if not elf.is_file():
        raise ToolError("the build made no firmware", expected=str(elf))
    return elf


def _run(command: Sequence[str], folder: Path) -> None:
    """Run a step of the build; its process group ends with it, however it ends."""
    with subprocess.Popen(
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    ) as process:
        try:
            output = process.communicate(timeout=LIMIT_SECONDS)[0].decode("utf-8", "replace")
        except subprocess.TimeoutExpired:
            what = f"the build takes longer than {LIMIT_SECONDS} s"
            raise ToolError(what, where=str(folder), found=" ".join(command[:4])) from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    if process.returncode:
        raise _failure(output, folder)


def _failure(output: str, folder: Path) -> ToolError:
    """Why the build that said that failed, in one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()] or ["no message"]
    if lines[-1].startswith(OFFLINE):
        return ToolError(
            f"{PIO} cannot download what the project is built with",
            where=str(folder),
            found=lines[-2] if len(lines) > 1 else lines[-1],
            remedy="connect to the network for the first build, or compile with --format cmake for the compiler here",
        )
    first = next((line for line in lines if any(sign in line for sign in SIGNS)), lines[-1])
    return ToolError("the project does not build", where=str(folder), found=first)
