"""Runs generated C for an AVR board in simavr, with that board's memory and no more, every layer observed."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cffi
import numpy as np

from tinygen.driver import Compiled
from tinygen.errors import ToolError
from tinygen.ir import DTYPES, Array, Tensor
from tinygen.target import Target
from tinygen.verify.cross import cross_compile
from tinygen.verify.feeding import feeding
from tinygen.verify.host import compiler, run_compiler
from tinygen.verify.observed import Observer

try:
    from elftools.elf.elffile import ELFFile
except ImportError:  # the extra is not installed; `SimavrBoard` says so
    ELFFile = None

RUNNER = Path(__file__).with_suffix(".c")
RUNNER_FLAGS = ("-std=gnu99", "-O2", "-fPIC", "-shared")
INTERFACE = """
typedef struct board_t board_t;
typedef struct { uint64_t cycles, instructions, flash_read_bytes; } counts_t;
board_t *board_open(const char *mcu, uint32_t clock_hz, const char *elf);
void board_close(board_t *board);
void board_watch(board_t *board, uint32_t stop, uint32_t end_of_data);
int board_run(board_t *board, uint64_t cycles);
uint8_t *board_data(board_t *board);
uint32_t board_program_counter(board_t *board);
const char *board_message(void);
const counts_t *board_counts(board_t *board);
int board_connect(board_t *board, char uart);
uint32_t board_send(board_t *board, const uint8_t *bytes, uint32_t count);
uint32_t board_receive(board_t *board, uint8_t *bytes, uint32_t count);
"""
ENDINGS = ("stopped", "hung", "was reset", "crashed", "halted", "ran its stack into its data")
"""What `board_run` returns, in the order of the runner's enumeration."""
LIMIT_CYCLES = 2_000_000_000
"""A layer of more cycles, two minutes on a 16 MHz part, counts as hung."""
LEAST_STACK_BYTES = 64
"""A program that leaves less of its RAM to the stack does not fit; what it really needs is watched as it runs."""
DATA_SPACE = 0x800000
"""Where the linker sees the data space."""
COLOUR = re.compile("\x1b\\[[0-9]*m")
READY, ARENA = -1, -2
"""Stops that are not after a layer."""
HARNESS = """\
#include <stdint.h>
void board_stop(int16_t what, const volatile void *address);
#define TG_LAYER_DONE(layer) board_stop(layer, 0)
__attribute__((noinline)) void {name}_invoke(void);
#include "src/{name}.c"
{feeding}/* The emulator's runner waits here and reads both arguments from their registers. */
__attribute__((noinline)) void board_stop(int16_t what, const volatile void *address)
{{
    __asm volatile("" : : "r"(what), "r"(address) : "memory");
}}
int main(void)
{{
    board_stop({arena}, {name}_arena.bytes);
{ports}
    for (;;) {{
        board_stop({ready}, 0);
        {name}_invoke();
    }}
}}
"""


class SimavrBoard:
    """A compiled model as a program of `target`, in an emulator of its very MCU."""

    def __init__(self, compiled: Compiled, target: Target, folder: Path, flags: Sequence[str] = ()) -> None:
        if ELFFile is None:
            raise ToolError("emulation is not installed", remedy="pip install 'tinygen[emulate]'")
        self._compiled, self._target = compiled, target
        elf = _build(compiled, target, folder, flags)
        symbols = ELFFile(io.BytesIO(elf.read_bytes())).get_section_by_name(".symtab").iter_symbols()
        self._addresses = {symbol.name: int(symbol["st_value"]) for symbol in symbols}
        self._end_of_data = self._addresses["_end"] - DATA_SPACE
        _check_memory(target, self._end_of_data)
        self._ffi = cffi.FFI()
        self._ffi.cdef(INTERFACE)
        self._library: Any = self._ffi.dlopen(str(build_runner(folder)))
        board = self._library.board_open(target.mcu.lower().encode(), target.clock_hz, bytes(elf))
        if board == self._ffi.NULL:
            raise ToolError("simavr does not know the MCU", where=target.name, found=target.mcu)
        self._board = self._ffi.gc(board, self._library.board_close)
        self._library.board_watch(self._board, self._addresses["board_stop"], self._end_of_data)
        self._arena = self._next(ARENA)
        ports = (*compiled.program.inputs, *compiled.program.outputs)
        self._ports = {port.symbol: self._next(number) for number, port in enumerate(ports)}
        self._next(READY)

    def run(self, inputs: Sequence[Array]) -> tuple[dict[int, Array], list[Array]]:
        """(tensor id -> value after its own layer, outputs after the last) of one inference."""
        program = self._compiled.program
        values = zip(program.inputs, inputs, strict=True)
        self._load([np.ascontiguousarray(value, DTYPES[port.tensor.dtype]).tobytes() for port, value in values])
        observer = Observer(self._compiled, lambda offset, count: self._data(self._arena + offset, count))
        for stop in program.stops:
            self._next(stop.layer)
            observer.stop(stop.layer)
        self._next(READY)
        return observer.values(), [self._read(self._ports[port.symbol], port.tensor) for port in program.outputs]

    def _load(self, inputs: Sequence[bytes]) -> None:
        for port, data in zip(self._compiled.program.inputs, inputs, strict=True):
            self._ffi.memmove(self._library.board_data(self._board) + self._ports[port.symbol], data, len(data))

    def _next(self, expected: int) -> int:
        """Run to the next stop, which must be `expected`; the address that comes with it."""
        self._run()
        registers = bytes(self._ffi.buffer(self._library.board_data(self._board), 32))
        stop = int.from_bytes(registers[24:26], "little", signed=True)
        if stop != expected:
            where = self._target.name
            raise ToolError(
                "the emulated program went astray", where=where, found=f"stop {stop}", expected=f"{expected}"
            )
        return int.from_bytes(registers[22:24], "little")

    def _run(self) -> None:
        """Run to the place that is watched."""
        ending = self._library.board_run(self._board, LIMIT_CYCLES)
        if ending:
            said = COLOUR.sub("", self._ffi.string(self._library.board_message()).decode(errors="replace")).strip()
            at = f"at {self._library.board_program_counter(self._board):#x}"
            found = f"{said}, {at}" if said else at
            raise ToolError(f"the emulated program {ENDINGS[ending]}", where=self._target.name, found=found)

    def _read(self, address: int, tensor: Tensor) -> Array:
        return np.frombuffer(self._data(address, tensor.bytes), DTYPES[tensor.dtype]).reshape(tensor.shape)

    def _data(self, address: int, count: int) -> bytes:
        return bytes(self._ffi.buffer(self._library.board_data(self._board) + address, count))


def _build(compiled: Compiled, target: Target, folder: Path, flags: Sequence[str]) -> Path:
    """The ELF of the model and a main function that stops where the runner wants to look."""
    program = compiled.program
    symbols = [port.symbol for port in (*program.inputs, *program.outputs)]
    ports = "\n".join(f"    board_stop({number}, {symbol}());" for number, symbol in enumerate(symbols))
    harness = HARNESS.format(name=program.name, feeding=feeding(program), arena=ARENA, ready=READY, ports=ports)
    flash_end = target.flash[0].origin + target.flash[0].bytes
    link = ["-Wl,--gc-sections", f"-Wl,--defsym=__TEXT_REGION_LENGTH__={flash_end}"]
    return cross_compile(compiled, target, folder, {"board.c": harness}, [*flags, *link])


def _check_memory(target: Target, end_of_data: int) -> None:
    """Raise ToolError unless the RAM holds the program's data and a stack; the linker does not know its size."""
    ram = target.ram[0]
    needed = end_of_data - ram.origin + LEAST_STACK_BYTES
    if needed > ram.bytes:
        raise ToolError(
            "the model does not build for the board",
            where=target.name,
            found=f"{needed} bytes of data and stack, {LEAST_STACK_BYTES} of them for the stack",
            expected=f"{ram.bytes} bytes of RAM",
        )


def build_runner(folder: Path) -> Path:
    """The runner and simavr as a library of this computer."""
    library = folder / "board_simavr.so"
    command = [*compiler(), *RUNNER_FLAGS, str(RUNNER), "-o", str(library), "-lsimavr"]
    done = run_compiler(command, folder)
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "error" in line or "cannot find" in line), "")
        remedy = "install it, on Debian: apt-get install libsimavr-dev"
        raise ToolError("simavr not found", found=first, remedy=remedy)
    return library
