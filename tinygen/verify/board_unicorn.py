"""Runs generated C for a Cortex-M board in Unicorn, with that board's memory and no more, every layer observed."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np

from tinygen.driver import Compiled
from tinygen.errors import ToolError
from tinygen.ir import DTYPES, Array, Tensor
from tinygen.program import Port
from tinygen.target import Region, Target
from tinygen.verify.cross import cross_compile, linker_script
from tinygen.verify.feeding import feeding
from tinygen.verify.observed import ARRAYS, Observer, arrays

try:
    import unicorn
    from elftools.elf.elffile import ELFFile
    from unicorn import arm_const
except ImportError:  # the extra is not installed; `UnicornBoard` says so
    unicorn = None

MODELS: Mapping[str, str] = MappingProxyType(
    {
        "cortex-m0": "UC_CPU_ARM_CORTEX_M0",
        "cortex-m0plus": "UC_CPU_ARM_CORTEX_M0",
        "cortex-m3": "UC_CPU_ARM_CORTEX_M3",
        "cortex-m4": "UC_CPU_ARM_CORTEX_M4",
        "cortex-m4f": "UC_CPU_ARM_CORTEX_M4",
        "cortex-m7": "UC_CPU_ARM_CORTEX_M7",
        "cortex-m33": "UC_CPU_ARM_CORTEX_M33",
    }
)
"""Core -> the emulator's model of it. It has none with MVE."""

PAGE = 4096
STOP = 0x1E000000
"""Where the emulated inference returns to: a page that no board uses."""
LIMIT_SECONDS = 300
"""An emulated call that takes longer counts as hung."""
HARNESS = """\
#include <stdint.h>
void tg_board_layer_done(int32_t layer);
#define TG_LAYER_DONE(layer) tg_board_layer_done(layer)
#include "src/{name}.c"
{feeding}__attribute__((noinline)) void tg_board_layer_done(int32_t layer)
{{
    __asm volatile("" : : "r"(layer) : "memory");
}}
{arrays}"""
LINKER_SCRIPT = """\
MEMORY {{
    flash (rx) : ORIGIN = {flash.origin:#x}, LENGTH = {flash.bytes}
    ram (rwx) : ORIGIN = {ram.origin:#x}, LENGTH = {ram.bytes}
{regions}}}
SECTIONS {{
    .text : {{ . += 1024; *(.text*) *(.rodata*) }} > flash
    .data : {{ *(.data*) }} > ram AT > flash
{sections}    .bss : {{ *(.bss*) *(COMMON) }} > ram
    /DISCARD/ : {{ *(.ARM.exidx*) }}
}}
"""


class UnicornBoard:
    """A compiled model as a program of `target`, in an emulator whose memory is that of the board and no more."""

    def __init__(self, compiled: Compiled, target: Target, folder: Path) -> None:
        if unicorn is None:
            raise ToolError("emulation is not installed", remedy="pip install 'tinygen[emulate]'")
        self._compiled, self._target = compiled, target
        elf = ELFFile(io.BytesIO(_build(compiled, target, folder).read_bytes()))
        symbols = elf.get_section_by_name(".symtab").iter_symbols()
        self._symbols = {symbol.name: int(symbol["st_value"]) for symbol in symbols}
        self._uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self._uc.ctl_set_cpu_model(getattr(arm_const, MODELS[target.core.name]))
        for region in target.flash:
            self._map(region, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        for region in target.ram:
            self._map(region, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        self._uc.mem_map(STOP, PAGE, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        for segment in elf.iter_segments():
            if segment["p_type"] == "PT_LOAD" and segment["p_filesz"]:
                self._uc.mem_write(segment["p_vaddr"], segment.data())
        if "fpu" in target.core.features:
            access = self._uc.reg_read(arm_const.UC_ARM_REG_C1_C0_2)
            self._uc.reg_write(arm_const.UC_ARM_REG_C1_C0_2, access | (0xF << 20))
            self._uc.reg_write(arm_const.UC_ARM_REG_FPEXC, 0x40000000)
        self._arrays = self._addresses()
        self._observer = self._new_observer()
        observer = self._symbols["tg_board_layer_done"] & ~1
        self._uc.hook_add(unicorn.UC_HOOK_CODE, self._layer_done, begin=observer, end=observer)

    def run(self, inputs: Sequence[Array]) -> tuple[dict[int, Array], list[Array]]:
        """(tensor id -> value after its own layer, outputs after the last) of one inference."""
        program = self._compiled.program
        for port, value in zip(program.inputs, inputs, strict=True):
            data = np.ascontiguousarray(value, DTYPES[port.tensor.dtype]).tobytes()
            self._uc.mem_write(self._call(port.symbol), data)
        self._observer = self._new_observer()
        self._call(f"{program.name}_invoke")
        return self._observer.values(), [self._output(port) for port in program.outputs]

    def _map(self, region: Region, permissions: int) -> None:
        """The region, with every other access a fault, rounded out to whole pages, which is the emulator's grain."""
        start = region.origin // PAGE * PAGE
        end = -(-(region.origin + region.bytes) // PAGE) * PAGE
        self._uc.mem_map(start, end - start, permissions)

    def _call(self, symbol: str) -> int:
        """Run the C function `symbol` to its end; its result."""
        stack = self._target.main_ram.origin + self._target.main_ram.bytes
        self._uc.reg_write(arm_const.UC_ARM_REG_SP, stack // 8 * 8)
        self._uc.reg_write(arm_const.UC_ARM_REG_LR, STOP | 1)
        try:
            self._uc.emu_start(self._symbols[symbol] | 1, STOP, timeout=LIMIT_SECONDS * 1_000_000)
        except unicorn.UcError as error:
            raise self._stopped("the emulated program faulted", f"{error} in {symbol}") from None
        if self._uc.reg_read(arm_const.UC_ARM_REG_PC) != STOP:
            raise self._stopped("the emulated program hung", f"{symbol} still running after {LIMIT_SECONDS} s")
        return int(self._uc.reg_read(arm_const.UC_ARM_REG_R0))

    def _stopped(self, what: str, found: str) -> ToolError:
        at = self._uc.reg_read(arm_const.UC_ARM_REG_PC)
        return ToolError(what, where=self._target.name, found=f"{found}, at {at:#x}")

    def _layer_done(self, *_: object) -> None:
        self._observer.stop(int(self._uc.reg_read(arm_const.UC_ARM_REG_R0)))

    def _new_observer(self) -> Observer:
        return Observer(self._compiled, self._arena_bytes)

    def _arena_bytes(self, offset: int, count: int) -> bytes:
        array, start = self._compiled.program.arena_at(offset)
        return bytes(self._uc.mem_read(self._arrays[array.symbol] + start, count))

    def _addresses(self) -> dict[str, int]:
        """Where each array of the arena lies."""
        table, symbols = self._symbols[ARRAYS], [array.symbol for array in self._compiled.program.arenas]
        return {
            symbol: int.from_bytes(self._uc.mem_read(table + 4 * number, 4), "little")
            for number, symbol in enumerate(symbols)
        }

    def _output(self, port: Port) -> Array:
        return self._read(self._call(port.symbol), port.tensor)

    def _read(self, address: int, tensor: Tensor) -> Array:
        raw = bytes(self._uc.mem_read(address, tensor.bytes))
        return np.frombuffer(raw, DTYPES[tensor.dtype]).reshape(tensor.shape)


def _build(compiled: Compiled, target: Target, folder: Path) -> Path:
    """The ELF of the model and an observer, linked into the board's first flash region and its RAM."""
    name = compiled.program.name
    script = linker_script(LINKER_SCRIPT, target)
    roots = [f"{name}_invoke", ARRAYS, "tg_board_layer_done"]
    roots += [port.symbol for port in (*compiled.program.inputs, *compiled.program.outputs)]
    link = ["-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections", "-Wl,-T,board.ld", f"-Wl,-e,{name}_invoke"]
    keep = [f"-Wl,-u,{root}" for root in roots]
    harness = HARNESS.format(name=name, feeding=feeding(compiled.program), arrays=arrays(compiled.program))
    files = {"board.c": harness, "board.ld": script}
    return cross_compile(compiled, target, folder, files, [*link, *keep])
