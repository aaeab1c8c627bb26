"""Replays one inference of a Cortex-M board's firmware in Unicorn, into the counts of each layer."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from tinygen.driver import Compiled
from tinygen.emit import STACK_BYTES
from tinygen.footprint.build import build, is_firmware
from tinygen.footprint.listing import read_instructions
from tinygen.footprint.toolchain import Toolchain, run
from tinygen.profile.costs import TABLES
from tinygen.profile.counts import PAINT, Replay, by_layer, painted
from tinygen.profile.replay import Program, Replayer
from tinygen.run.image import read_image
from tinygen.target import Target
from tinygen.verify.board_unicorn import LINKER_SCRIPT
from tinygen.verify.cross import cross_compile, linker_script
from tinygen.verify.feeding import feeding

try:
    from elftools.elf.elffile import ELFFile
except ImportError:  # the extra is not installed; `read_image` says so
    ELFFile = None

HOOK = "tg_layer_done"
STACK_START, STACK_END = "tg_ram_start", "tg_stack_top"
HARNESS = """\
#include <stdint.h>
void tg_layer_done(int32_t layer);
#define TG_LAYER_DONE(layer) tg_layer_done(layer)
#include "src/{name}.c"
{feeding}__attribute__((noipa)) void tg_layer_done(int32_t layer)
{{
    __asm volatile("" : : "r"(layer) : "memory");
}}
"""
STACK_SCRIPT = """\
SECTIONS
{{
    .stack (NOLOAD) : {{ tg_ram_start = .; . += {bytes}; . = ALIGN(8); tg_stack_top = .; }} > ram
}}
INSERT AFTER .bss;
"""
"""Bounds of a stack, by the names that the firmware's linker script gives them."""


def replay(compiled: Compiled, target: Target, tools: Toolchain, inputs: Sequence[bytes], folder: Path) -> Replay:
    """One inference of the board's firmware; of the model alone where the board has no firmware of ours."""
    elf = build(compiled, target.core, tools, folder) if is_firmware(compiled) else _model(compiled, target, folder)
    program = read_program(elf, tools, target)
    image = program.image
    replayer = Replayer(target, program, folder)
    bottom, top = image.symbol(STACK_START), image.symbol(STACK_END)
    ports = {
        port.symbol: replayer.call(port.symbol, top) for port in (*compiled.program.inputs, *compiled.program.outputs)
    }
    for port, data in zip(compiled.program.inputs, inputs, strict=True):
        replayer.write(ports[port.symbol], data)
    replayer.write(bottom, bytes([PAINT]) * (top - bottom))
    stops = len(compiled.program.stops)
    *counts, rest = replayer.count(f"{compiled.program.name}_invoke", top, HOOK, stops)
    stack = replayer.read(bottom, top - bottom)
    outputs = [replayer.read(ports[port.symbol], port.tensor.bytes) for port in compiled.program.outputs]
    return Replay(by_layer(compiled.program, counts, rest), tuple(outputs), len(stack) - painted(stack))


def read_program(elf: Path, tools: Toolchain, target: Target) -> Program:
    """The program at `elf` with its instructions; raises ToolError."""
    image = read_image(elf)
    end = max((start + size for start, size, _ in image.functions), default=0)
    command: list[str | Path] = [tools.objdump, "-d", "--no-show-raw-insn", f"--stop-address={end}", elf]
    return Program(image, read_instructions(run(command, elf.parent)), TABLES[target.core.name], _variables(elf))


def _variables(elf: Path) -> tuple[tuple[int, bytes], ...]:
    """The initial values of variables, at their addresses in RAM."""
    parts = ELFFile(io.BytesIO(elf.read_bytes())).iter_segments()
    loaded = [part for part in parts if part["p_type"] == "PT_LOAD" and part["p_filesz"]]
    return tuple((int(part["p_vaddr"]), bytes(part.data())) for part in loaded if part["p_vaddr"] != part["p_paddr"])


def _model(compiled: Compiled, target: Target, folder: Path) -> Path:
    """The ELF of the model alone, with a stack as large as that of a firmware."""
    name = compiled.program.name
    ports = [port.symbol for port in (*compiled.program.inputs, *compiled.program.outputs)]
    script = linker_script(LINKER_SCRIPT, target)
    files = {
        "board.c": HARNESS.format(name=name, feeding=feeding(compiled.program)),
        "board.ld": script + STACK_SCRIPT.format(bytes=STACK_BYTES),
    }
    keep = [f"-Wl,-u,{symbol}" for symbol in (f"{name}_invoke", *ports)]
    link = ["-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections", "-Wl,-T,board.ld", f"-Wl,-e,{name}_invoke"]
    return cross_compile(compiled, target, folder, files, [*link, *keep])
