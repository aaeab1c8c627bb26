"""Runs functions of a Cortex-M program in Unicorn, into the counts of what they executed."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cffi

from tinygen.errors import ToolError
from tinygen.footprint.listing import Instruction, Listing
from tinygen.profile.costs import Table, block_cycles
from tinygen.profile.counts import Counts
from tinygen.run.cortex_m import joined
from tinygen.run.image import Image
from tinygen.target import Target
from tinygen.verify.board_unicorn import LIMIT_SECONDS, MODELS, PAGE, STOP
from tinygen.verify.host import compiler, run_compiler

try:
    import unicorn
    from unicorn import arm_const
except ImportError:  # the extra is not installed; `Replayer` says so
    unicorn = None

RUNNER = Path(__file__).with_suffix(".c")
RUNNER_FLAGS = ("-std=c99", "-O2", "-fPIC", "-shared")
INTERFACE = """
typedef struct { uint32_t address, bytes; uint64_t hits, taken; } block_t;
typedef struct {
    uint64_t constant_bytes, literal_bytes;
    uint64_t code_misses, code_jump_misses, data_misses;
} reads_t;
typedef struct replay_t replay_t;
replay_t *replay_open(int cpu, int has_fpu);
void replay_close(replay_t *replay);
int replay_map(replay_t *replay, uint32_t start, uint32_t bytes, int is_flash);
int replay_write(replay_t *replay, uint32_t address, const uint8_t *bytes, uint32_t count);
int replay_read(replay_t *replay, uint32_t address, uint8_t *bytes, uint32_t count);
void replay_literals_end(replay_t *replay, uint32_t address);
uint32_t replay_register(replay_t *replay, int number);
void replay_set_register(replay_t *replay, int number, uint32_t value);
int replay_run(replay_t *replay, uint32_t address, uint32_t until, uint64_t microseconds, int counting);
uint32_t replay_count(const replay_t *replay);
const block_t *replay_block(const replay_t *replay, uint32_t number);
const reads_t *replay_reads(const replay_t *replay);
const char *replay_error(int error);
"""


@dataclass(frozen=True)
class Program:
    """A linked program: its file, its instructions, and its writable sections as (address, bytes)."""

    image: Image
    listing: Listing
    table: Table
    data: tuple[tuple[int, bytes], ...]

    @cached_property
    def literals_end(self) -> int:
        """Where the functions end, and with them the constants between their instructions."""
        return max(start + size for start, size, _ in self.image.functions)

    @cached_property
    def _addresses(self) -> list[int]:
        return sorted(self.listing.instructions)

    def block(self, address: int, size: int) -> list[Instruction]:
        """The instructions of a basic block."""
        first, end = (bisect_left(self._addresses, place) for place in (address, address + size))
        found = [self.listing.code(place) for place in self._addresses[first:end]]
        block = [instruction for instruction in found if instruction]
        if not block or len(block) < len(found) or self._addresses[first] != address:
            raise ToolError("no instruction there", where=str(self.image.path), found=self.image.place(address))
        return block


class Replayer:
    """A program in the memory of a board and no more; its variables have their initial values."""

    def __init__(self, target: Target, program: Program, folder: Path) -> None:
        if unicorn is None:
            raise ToolError("emulation is not installed", remedy="pip install 'tinygen[emulate]'")
        self._target, self._program = target, program
        self._ffi = cffi.FFI()
        self._ffi.cdef(INTERFACE)
        self._library: Any = self._ffi.dlopen(str(_build_runner(folder)))
        cpu = getattr(arm_const, MODELS[target.core.name])
        replay = self._library.replay_open(cpu, "fpu" in target.core.features)
        if replay == self._ffi.NULL:
            raise ToolError("Unicorn does not know the core", where=target.name, found=target.core.name)
        self._replay = self._ffi.gc(replay, self._library.replay_close)
        for regions, is_flash in ((target.flash, True), (target.ram, False)):
            for region in joined(regions):
                start = region.origin // PAGE * PAGE
                end = -(-(region.origin + region.bytes) // PAGE) * PAGE
                self._check(self._library.replay_map(self._replay, start, end - start, is_flash), region.name)
        self._check(self._library.replay_map(self._replay, STOP, PAGE, True), "the page to stop at")
        for address, data in (*program.image.segments, *program.data):
            self.write(address, data)
        self._library.replay_literals_end(self._replay, program.literals_end)
        self._cycles: dict[tuple[int, int], tuple[int, int]] = {}

    def write(self, address: int, data: bytes) -> None:
        """Put `data` into memory."""
        self._check(self._library.replay_write(self._replay, address, data, len(data)), f"{address:#010x}")

    def read(self, address: int, count: int) -> bytes:
        """What is in memory."""
        data = self._ffi.new("uint8_t[]", count)
        self._check(self._library.replay_read(self._replay, address, data, count), f"{address:#010x}")
        return bytes(self._ffi.buffer(data))

    def call(self, function: str, stack: int) -> int:
        """Run a C function without arguments to its end; its result."""
        self._enter(stack)
        self._run(self._program.image.symbol(function), STOP, False)
        return int(self._library.replay_register(self._replay, arm_const.UC_ARM_REG_R0))

    def count(self, function: str, stack: int, hook: str | None, stops: int) -> list[Counts]:
        """Run a C function to its end: what it took up to each of that many calls of `hook`, and after the last.

        Calling the hook counts, the hook itself does not: it is left out.
        """
        self._enter(stack)
        at = self._program.image.symbol(function)
        found = []
        for _ in range(stops):
            self._run(at, self._program.image.symbol(hook or ""), True)
            found.append(self._counts())
            at = self._library.replay_register(self._replay, arm_const.UC_ARM_REG_LR)
        self._run(at, STOP, True)
        return [*found, self._counts()]

    def _enter(self, stack: int) -> None:
        self._library.replay_set_register(self._replay, arm_const.UC_ARM_REG_SP, stack)
        self._library.replay_set_register(self._replay, arm_const.UC_ARM_REG_LR, STOP | 1)

    def _run(self, address: int, until: int, counting: bool) -> None:
        until &= ~1
        limit = LIMIT_SECONDS * 1_000_000
        error = self._library.replay_run(self._replay, address & ~1, until, limit, counting)
        at = self._library.replay_register(self._replay, arm_const.UC_ARM_REG_PC) & ~1
        if error:
            raise self._stopped("the emulated program faulted", f"{self._text(error)}, at", at)
        if at != until:
            raise self._stopped("the emulated program hung", f"still running after {LIMIT_SECONDS} s, at", at)

    def _stopped(self, what: str, found: str, at: int) -> ToolError:
        return ToolError(what, where=self._target.name, found=f"{found} {self._program.image.place(at)}")

    def _check(self, error: int, what: str) -> None:
        if error:
            found = f"{self._text(error)}, {what}"
            raise ToolError("the program cannot be loaded", where=self._target.name, found=found)

    def _text(self, error: int) -> str:
        return str(self._ffi.string(self._library.replay_error(error)).decode())

    def _counts(self) -> Counts:
        """Of the last run."""
        instructions = cycles = 0
        for number in range(self._library.replay_count(self._replay)):
            block = self._library.replay_block(self._replay, number)
            own_instructions, own_cycles = self._cost(block.address, block.bytes)
            instructions += own_instructions * block.hits
            cycles += own_cycles * block.hits + self._program.table.taken_branch * block.taken
        reads = self._library.replay_reads(self._replay)
        wait_states = self._target.flash_wait_states
        stalls = None if wait_states is None else wait_states * (reads.code_jump_misses + reads.data_misses)
        unaided = None if wait_states is None else wait_states * (reads.code_misses + reads.data_misses)
        return Counts(instructions, cycles, reads.constant_bytes, reads.literal_bytes, stalls, unaided)

    def _cost(self, address: int, size: int) -> tuple[int, int]:
        """(instructions, cycles) of a basic block."""
        if (address, size) not in self._cycles:
            block = self._program.block(address, size)
            self._cycles[address, size] = len(block), block_cycles(block, self._program.table)
        return self._cycles[address, size]


def _build_runner(folder: Path) -> Path:
    """The runner as a library of this computer, linked with the Unicorn that Python has."""
    library = folder / "replay.so"
    home = Path(unicorn.__file__).parent
    emulator = next(iter(sorted((home / "lib").glob("libunicorn.so*"))), home / "lib" / "libunicorn.so")
    link = [str(emulator), f"-Wl,-rpath,{emulator.parent}"]
    command = [*compiler(), *RUNNER_FLAGS, f"-I{home / 'include'}", str(RUNNER), *link, "-o", str(library)]
    done = run_compiler(command, folder)
    if done.returncode:
        first = next((line for line in done.stderr.splitlines() if "error" in line or "cannot find" in line), "")
        remedy = "pip install --force-reinstall 'tinygen[emulate]'"
        raise ToolError("Unicorn cannot be linked with", found=first, remedy=remedy)
    return library
