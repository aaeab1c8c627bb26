"""Cross-compiles generated C into a program for a board."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from tinygen.driver import Compiled
from tinygen.errors import ToolError
from tinygen.target import Target

CFLAGS = ("-std=c99", "-O2", "-ffunction-sections", "-fdata-sections", "-Wall", "-Wextra", "-Werror")
PACKAGES = MappingProxyType(
    {
        "arm-none-eabi-gcc": "gcc-arm-none-eabi libnewlib-arm-none-eabi",
        "avr-gcc": "gcc-avr avr-libc",
    }
)
"""Compiler -> the Debian packages that bring it."""
SIGNS = ("error", "overflowed", "will not fit")
"""What a line says that tells why a program does not build."""


def linker_script(template: str, target: Target) -> str:
    """`template` with the board's first flash region and main RAM, and what puts parts of the arena into its other RAM.

    What it may name: flash and ram, `regions` and their `sections`, and `table`, origin and bytes of each region.
    """
    others = target.other_ram
    return template.format(
        flash=target.flash[0],
        ram=target.main_ram,
        regions="".join(f"    {r.name} (rw) : ORIGIN = {r.origin:#x}, LENGTH = {r.bytes}\n" for r in others),
        sections="".join(f"    .{r.name} (NOLOAD) : {{ *(.bss.tg_{r.name}) }} > {r.name}\n" for r in others),
        table=" ".join(f"LONG(ORIGIN({r.name})) LONG(LENGTH({r.name}))" for r in others),
    )


def cross_compile(
    compiled: Compiled, target: Target, folder: Path, harness: Mapping[str, str], link: Sequence[str]
) -> Path:
    """Write the model's files and the `harness` (board.c, which includes the model's source) to `folder` and link them.

    Raises ToolError when the compiler is missing or the program does not fit the board.
    """
    for path, text in {**compiled.files, **harness}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")
    core = target.core
    sources = ["board.c", f"src/{compiled.program.name}_data.c"]
    command = [core.compiler, *core.cflags, *CFLAGS, "-Iinclude", "-Isrc", *sources, *link, "-o", "board.elf"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        packages = PACKAGES.get(core.compiler, core.compiler)
        raise ToolError(
            "cross-compiler not found", found=core.compiler, remedy=f"install it, on Debian: apt-get install {packages}"
        ) from None
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if any(sign in line for sign in SIGNS)]
        first = (lines or done.stderr.splitlines() or ["no message"])[0]
        raise ToolError("the model does not build for the board", where=target.name, found=first)
    return folder / "board.elf"
