"""Turns a compiled model into its footprint on a board: measured where there is a compiler, else estimated."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

from tinygen.driver import Compiled
from tinygen.emit import STACK_BYTES
from tinygen.errors import ToolError
from tinygen.footprint import estimate
from tinygen.footprint.build import build, is_firmware
from tinygen.footprint.elf import Elf
from tinygen.footprint.stack import Bound
from tinygen.footprint.toolchain import Toolchain, find
from tinygen.project import PLATFORMIO
from tinygen.target import Target


@dataclass(frozen=True)
class Footprint:
    """What a program takes of its board: the whole firmware without a framework, or else the model alone.

    `ram_bytes` has the stack that the firmware's linker script keeps, `stack_reserve_bytes`. `compiler` is empty when
    this is an estimate, and `note` then says why; the code may be `margin_bytes` more or less.
    """

    firmware: bool
    compiler: str
    note: str
    flash_bytes: int
    ram_bytes: int
    margin_bytes: int
    stack_reserve_bytes: int
    function_bytes: Mapping[str, int]
    inference_stack: Bound
    program_stack: Bound

    @property
    def measured(self) -> bool:
        """Whether the program was built."""
        return self.compiler != ""

    def as_json(self) -> dict[str, Any]:
        """The same facts as plain data, stacks without a bound as null."""
        return {
            "program": "firmware" if self.firmware else "model",
            "compiler": self.compiler or None,
            "note": self.note,
            "flash_bytes": self.flash_bytes,
            "ram_bytes": self.ram_bytes,
            "margin_bytes": self.margin_bytes,
            "stack_reserve_bytes": self.stack_reserve_bytes,
            "inference_stack_bytes": self.inference_stack.bytes,
            "program_stack_bytes": self.program_stack.bytes,
            "stack_unknown": self.inference_stack.why or self.program_stack.why,
        }


NO_PROGRAM = Bound(None, "it is the application's")
NOT_BUILT = Bound(None, "it was not compiled")


def measure(compiled: Compiled, board: Target) -> Footprint:
    """The footprint of the project's program on its board."""
    core = board.core
    tools = find(core, compiled.manifest["format"] == PLATFORMIO)
    if tools is None:
        return _estimated(compiled, board, f"{core.compiler} is neither on the path nor among PlatformIO's packages")
    try:
        return _measured(compiled, board, tools)
    except ToolError as error:
        return _estimated(compiled, board, str(error))


def _measured(compiled: Compiled, board: Target, tools: Toolchain) -> Footprint:
    firmware = is_firmware(compiled)
    with tempfile.TemporaryDirectory(prefix="tinygen-") as folder:
        elf = Elf(build(compiled, board.core, tools, Path(folder)), tools, board)
        return Footprint(
            firmware=firmware,
            compiler=tools.title,
            note="",
            flash_bytes=elf.flash_bytes,
            ram_bytes=elf.ram_bytes,
            margin_bytes=0,
            stack_reserve_bytes=STACK_BYTES if firmware else 0,
            function_bytes=elf.function_bytes,
            inference_stack=elf.stack(compiled.program.entry),
            program_stack=elf.program_stack() if firmware else NO_PROGRAM,
        )


def _estimated(compiled: Compiled, board: Target, note: str) -> Footprint:
    firmware = is_firmware(compiled)
    code = estimate.code_bytes(compiled, board.core)
    flash, ram = compiled.manifest["constant_bytes"] + code, compiled.manifest["arena_bytes"]
    ram += compiled.manifest["ram_constant_bytes"]
    reserve = STACK_BYTES if firmware else 0
    if firmware:
        flash += estimate.firmware_code_bytes(board.core)
        ram += reserve + estimate.firmware_variable_bytes(compiled)
    margin = estimate.margin_bytes(code, firmware)
    empty: Mapping[str, int] = MappingProxyType({})
    return Footprint(firmware, "", note, flash, ram, margin, reserve, empty, NOT_BUILT, NOT_BUILT)
