"""Builds a compiled model for its board in a scratch folder, with room without end, into an ELF to be measured."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType

from tinygen.driver import Compiled
from tinygen.footprint.toolchain import Toolchain, run
from tinygen.project import BARE, FORMATS, PLATFORMIO
from tinygen.target import Core

SECTIONS = ("-ffunction-sections", "-fdata-sections")
NANO = "--specs=nano.specs"
FIRMWARE_FLAGS = ("-O2", "-DTG_LAYER_CYCLES", *SECTIONS)
FIRMWARE_LINK: Mapping[str, tuple[str, ...]] = MappingProxyType({PLATFORMIO: (NANO,), "cmake": ()})
"""Format -> what its build gives the linker beside its script: PlatformIO's platforms take the small C library."""
MODEL_FLAGS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {"avr-gcc": ("-Os", "-flto", *SECTIONS), "arm-none-eabi-gcc": ("-O2", NANO, *SECTIONS)}
)
"""Compiler -> how the model is built under the Arduino framework, as PlatformIO does."""
PLAIN_FLAGS = ("-O2", *SECTIONS)
MEASURED_LINK = ("-nostartfiles", "-Wl,--gc-sections", "-Wl,--no-check-sections", "-Wl,--emit-relocs")
"""Relocations tell whose address is taken, for the calls through pointers."""
ENDLESS_BYTES = 1 << 28
LENGTH = re.compile(r"LENGTH = \d+")
MODEL_SCRIPT = """\
SECTIONS
{
    .text 0x08000000 : { *(.text*) *(.rodata* .srodata*) }
    .data 0x20000000 : { *(.data* .sdata*) }
    .bss (NOLOAD) : { *(.bss* .sbss*) *(COMMON) }
    /DISCARD/ : { *(.ARM.exidx* .ARM.extab* .eh_frame*) }
}
"""
AVR_LINK = ("-Wl,--defsym=__TEXT_REGION_LENGTH__=8M", "-Wl,--defsym=__DATA_REGION_LENGTH__=8M")
SCRIPT, ELF = "measured.ld", "measured.elf"


def is_firmware(compiled: Compiled) -> bool:
    """Whether the project has a whole program without a framework, so that nothing comes on top of it."""
    return BARE in compiled.manifest["environments"]


def build(compiled: Compiled, core: Core, tools: Toolchain, folder: Path) -> Path:
    """The ELF of the firmware, or of the model alone; raises ToolError when the compiler fails."""
    for path, text in compiled.files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, "utf-8")
    sources, includes = list(compiled.manifest["sources"]), list(compiled.manifest["include_dirs"])
    layout = FORMATS[compiled.manifest["format"]]
    if is_firmware(compiled):
        places = list(dict.fromkeys([layout.application, layout.board]))
        # The application first: objects are linked in this order, as they are in the project's own build.
        sources = [*_sources(compiled, places), *sources]
        includes += places
        flags: Sequence[str] = FIRMWARE_FLAGS
        link = _firmware_link(compiled, folder)
    else:
        flags = MODEL_FLAGS.get(core.compiler, PLAIN_FLAGS)
        link = _model_link(compiled, core, folder)
    command: list[str | Path] = [tools.gcc, *core.cflags, *flags]
    objects = _compile([*command, *(f"-I{place}" for place in includes)], sources, folder)
    run([*command, *objects, *MEASURED_LINK, *link, "-o", ELF], folder)
    return folder / ELF


def _sources(compiled: Compiled, places: Sequence[str]) -> list[str]:
    """The C files of these folders, main.c first."""
    found = [path for path in compiled.files if path.endswith(".c") and path.rpartition("/")[0] in places]
    return sorted(found, key=lambda path: (not path.endswith("/main.c"), places.index(path.rpartition("/")[0]), path))


def _compile(command: Sequence[str | Path], sources: Sequence[str], folder: Path) -> list[str]:
    """The objects of the sources, which are compiled at the same time."""
    objects = [f"{number}.o" for number in range(len(sources))]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # The model's sources come last and take longest.
        jobs = [
            pool.submit(run, [*command, "-c", source, "-o", name], folder)
            for source, name in reversed(list(zip(sources, objects, strict=True)))
        ]
        for job in jobs:
            job.result()
    return objects


def _firmware_link(compiled: Compiled, folder: Path) -> list[str]:
    """The project's own linker script, but that its memories have no end."""
    form = compiled.manifest["format"]
    script = compiled.files[f"{FORMATS[form].board}/tg_board.ld"]
    (folder / SCRIPT).write_text(LENGTH.sub(f"LENGTH = {ENDLESS_BYTES}", script), "utf-8")
    return [*FIRMWARE_LINK[form], "-T", SCRIPT]


def _model_link(compiled: Compiled, core: Core, folder: Path) -> list[str]:
    """Keeps what an application calls, and what that needs."""
    program = compiled.program
    keep = [f"-Wl,-e,{program.entry}", *(f"-Wl,-u,{symbol}" for symbol in (program.entry, *program.accessors))]
    if "avr" in core.features:
        return [*keep, *AVR_LINK]
    (folder / SCRIPT).write_text(MODEL_SCRIPT, "utf-8")
    return [*keep, "-T", SCRIPT]
