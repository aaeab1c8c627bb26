"""Runs generated C for a board that QEMU models, with that board's memory and no more, every layer observed."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from types import MappingProxyType

import numpy as np

from tinygen.driver import Compiled
from tinygen.errors import ToolError
from tinygen.ir import DTYPES, Array, Tensor
from tinygen.program import Piece, Program
from tinygen.resources import FIRMWARE
from tinygen.target import Target
from tinygen.verify.cross import cross_compile, linker_script
from tinygen.verify.feeding import feeding
from tinygen.verify.observed import pieces, values

MACHINES = MappingProxyType(
    {
        "bbcmicrobit": "microbit",
        "mps2-an385": "mps2-an385",
        "mps2-an386": "mps2-an386",
        "mps2-an500": "mps2-an500",
        "mps2-an505": "mps2-an505",
        "mps3-an547": "mps3-an547",
        "netduinoplus2": "netduinoplus2",
        "stm32vldiscovery": "stm32vldiscovery",
    }
)
"""Board -> the emulator's machine."""

EMULATOR = "qemu-system-arm"
LIMIT_SECONDS = 300
"""An emulated inference that takes longer counts as hung."""
EXIT_FAULT = 102
"""TG_EXIT_FAULT of firmware/emulator/cortex_m.c."""
MEMORY_ADDRESS_VALID, BUS_ADDRESS_VALID = 1 << 7, 1 << 15
FAULTS = MappingProxyType(
    {
        0: "instruction fetch outside flash",
        1: "access outside memory",
        3: "return from an exception outside memory",
        4: "stack outside memory",
        5: "stack of the FPU outside memory",
        8: "bus error in an instruction fetch",
        9: "bus error",
        10: "late bus error",
        11: "bus error in the return from an exception",
        12: "bus error in the stack",
        13: "bus error in the stack of the FPU",
        16: "undefined instruction",
        17: "branch out of Thumb state",
        18: "wrong return from an exception",
        19: "FPU or vector instruction while they are off",
        20: "stack overflow",
        24: "unaligned access",
        25: "division by zero",
    }
)
"""Bits of the Configurable Fault Status Register: Armv8-M Architecture Reference Manual."""
HARNESS = """\
#include "cortex_m.c"
static void tg_layer_done(int32_t layer);
#define TG_LAYER_DONE(layer) tg_layer_done(layer)
#include "src/{name}.c"
{feeding}/* What each stop shows. */
static const struct {{
    uint32_t stop;
    const int8_t *bytes;
    uint32_t count;
}} tg_observed[] = {{
{observed}
    {{UINT32_MAX, 0, 0}},
}};
static uint32_t tg_results, tg_stops, tg_shown;
static __attribute__((noinline, unused)) void tg_layer_done(int32_t layer)
{{
    for ((void)layer; tg_observed[tg_shown].stop == tg_stops; ++tg_shown) {{
        tg_write(tg_results, tg_observed[tg_shown].bytes, tg_observed[tg_shown].count);
    }}
    ++tg_stops;
}}
static void tg_main(void)
{{
    const uint32_t inputs = tg_open("inputs.bin", TG_READ_BINARY);
    tg_results = tg_open("results.bin", TG_WRITE_BINARY);
{reads}
    {name}_invoke();
{writes}
    tg_close(tg_results);
}}
"""
LINKER_SCRIPT = """\
MEMORY {{
    flash (rx) : ORIGIN = {flash.origin:#x}, LENGTH = {flash.bytes}
    ram (rwx) : ORIGIN = {ram.origin:#x}, LENGTH = {ram.bytes}
{regions}}}
SECTIONS {{
    .text : {{
        KEEP(*(.vectors)) *(.text*) *(.rodata*)
        . = ALIGN(4); tg_regions = .; {table} tg_regions_end = .;
    }} > flash
    .data : {{ tg_data_start = .; *(.data*) }} > ram AT > flash
{sections}    .bss : {{ tg_bss_start = .; *(.bss*) *(COMMON) }} > ram
    /DISCARD/ : {{ *(.ARM.exidx*) }}
}}
tg_data_in_flash = LOADADDR(.data);
tg_data_bytes = SIZEOF(.data);
tg_bss_bytes = SIZEOF(.bss);
tg_flash_start = ORIGIN(flash);
tg_flash_bytes = LENGTH(flash);
tg_ram_start = ORIGIN(ram);
tg_ram_bytes = LENGTH(ram);
tg_stack_top = (ORIGIN(ram) + LENGTH(ram)) & ~7;
"""


class QemuBoard:
    """A compiled model as a program of `target`, in a machine of QEMU that is started anew for each inference."""

    def __init__(self, compiled: Compiled, target: Target, folder: Path) -> None:
        if target.name not in MACHINES:
            raise ToolError("QEMU has no such board", where=target.name, expected=", ".join(MACHINES))
        self._compiled, self._target, self._folder = compiled, target, folder
        self._build()

    def run(self, inputs: Sequence[Array]) -> tuple[dict[int, Array], list[Array]]:
        """(tensor id -> value after its own layer, outputs after the last) of one inference."""
        program = self._compiled.program
        given = zip(program.inputs, inputs, strict=True)
        data = b"".join(np.ascontiguousarray(value, DTYPES[port.tensor.dtype]).tobytes() for port, value in given)
        (self._folder / "inputs.bin").write_bytes(data)
        run_machine(self._target, self._folder)
        shown = [piece.bytes for piece in pieces(self._compiled)]
        found = self._results([*shown, *(port.tensor.bytes for port in program.outputs)])
        outputs = zip(program.outputs, found[len(shown) :], strict=True)
        return values(self._compiled, found[: len(shown)]), [_value(port.tensor, data) for port, data in outputs]

    def _build(self) -> None:
        """The ELF of the model, an observer and the start-up, in the board's first flash region and its RAM."""
        program = self._compiled.program
        shown = [(number, piece) for number, stop in enumerate(program.stops) for piece in stop.pieces]
        observed = [f"    {{{number}, {_address(program, piece)}, {piece.bytes}}}," for number, piece in shown]
        reads = [f"    tg_read(inputs, {port.symbol}(), {port.tensor.bytes});" for port in program.inputs]
        writes = [f"    tg_write(tg_results, {port.symbol}(), {port.tensor.bytes});" for port in program.outputs]
        blocks = {"observed": "\n".join(observed), "reads": "\n".join(reads), "writes": "\n".join(writes)}
        files = {
            "board.c": HARNESS.format(name=program.name, feeding=feeding(program), **blocks),
            "cortex_m.c": (FIRMWARE / "emulator" / "cortex_m.c").read_text("utf-8"),
            "board.ld": linker_script(LINKER_SCRIPT, self._target),
        }
        link = ["-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections", "-Wl,-T,board.ld", "-Wl,-e,tg_vectors"]
        cross_compile(self._compiled, self._target, self._folder, files, link)

    def _results(self, sizes: Sequence[int]) -> list[bytes]:
        """The parts of results.bin, of such sizes one after another."""
        data = (self._folder / "results.bin").read_bytes()
        expected = sum(sizes)
        if len(data) != expected:
            raise ToolError(
                "the emulated program's results are incomplete",
                where=self._target.name,
                found=f"{len(data)} bytes",
                expected=f"{expected} bytes",
            )
        ends = list(accumulate(sizes))
        return [data[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def _address(program: Program, piece: Piece) -> str:
    """The C expression of a piece's first byte."""
    array, offset = program.arena_at(piece.offset)
    return f"{array.symbol}.bytes + {offset}"


def _value(tensor: Tensor, data: bytes) -> Array:
    return np.frombuffer(data, DTYPES[tensor.dtype]).reshape(tensor.shape)


def run_machine(target: Target, folder: Path, options: Sequence[str] = ()) -> None:
    """Run the program board.elf of `folder`, which writes its results.bin, to its end; raises ToolError."""
    machine = ["-M", MACHINES[target.name], "-display", "none", "-serial", "none", "-monitor", "none"]
    host = ["-nic", "none", "-semihosting-config", "enable=on,target=native", "-kernel", "board.elf"]
    (folder / "results.bin").unlink(missing_ok=True)
    try:
        done = subprocess.run(
            [EMULATOR, *machine, *host, *options],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LIMIT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        raise ToolError(
            f"{EMULATOR} not found", remedy="install it, on Debian: apt-get install qemu-system-arm"
        ) from None
    except subprocess.TimeoutExpired:
        found = f"still running after {LIMIT_SECONDS} s"
        raise ToolError("the emulated program hung", where=target.name, found=found) from None
    if done.returncode == EXIT_FAULT:
        found = _fault((folder / "fault.bin").read_bytes())
        raise ToolError("the emulated program faulted", where=target.name, found=found)
    if done.returncode:
        first = (done.stderr.strip().splitlines() or ["no message"])[0]
        raise ToolError("the emulator failed", where=target.name, found=f"exit code {done.returncode}: {first}")


def _fault(report: bytes) -> str:
    """The text of what tg_report_fault() wrote."""
    status, memory, bus, pc = np.frombuffer(report, "<u4").tolist()
    names = [name for bit, name in FAULTS.items() if status >> bit & 1] or ["hard fault"]
    if status & MEMORY_ADDRESS_VALID:
        names.append(f"address {memory:#x}")
    elif status & BUS_ADDRESS_VALID:
        names.append(f"address {bus:#x}")
    return f"{', '.join(names)}, at {pc:#x}" if pc else ", ".join(names)
