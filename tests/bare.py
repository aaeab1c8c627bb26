"""Turns a board without a framework into a small program that talks on it: built for it, in QEMU, or in Unicorn."""

from __future__ import annotations

import io
import os
import select
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import unicorn
from elftools.elf.elffile import ELFFile
from unicorn import arm_const

from tests.register_models import Model, Registers, emulator, run
from tinygen import target
from tinygen.emit import emit_bare
from tinygen.resources import FIRMWARE
from tinygen.target import Target
from tinygen.verify.board_qemu import EMULATOR, MACHINES
from tinygen.verify.board_unicorn import MODELS

WARNINGS = ["-std=c99", "-Wall", "-Wextra", "-Wconversion", "-Werror"]
LINK = ["-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections", "-Wl,--fatal-warnings", "-Wl,-T,tg_board.ld"]
HEADERS = "/usr/lib/arm-none-eabi/include"
LIMIT_SECONDS = 20
MAIN = """\
#include "tg_board.h"

static volatile uint32_t tg_sink = 7;

static void tg_number(uint32_t value)
{
    char text[9];
    for (uint32_t i = 0; i < 8; ++i) {
        text[i] = "0123456789abcdef"[value >> (28 - 4 * i) & 15u];
    }
    text[8] = '%';
    tg_board_write(text, sizeof text);
}

static uint32_t __attribute__((noinline)) tg_descend(uint32_t depth)
{
    volatile uint32_t room[64];
    room[depth % 64] = depth;
    return depth ? tg_descend(depth - 1) + room[depth % 64] : 0;
}

static uint32_t tg_halves(void)
{
    volatile float value = (float)tg_sink;
    value = value * 2.5f;
#if defined(__ARM_FEATURE_MVE)
    uint32_t lane;
    __asm volatile("vdup.32 q0, %1\\nvadd.i32 q0, q0, q0\\nvmov.32 %0, q0[3]" : "=r"(lane) : "r"(tg_sink) : "q0");
    return (uint32_t)value + lane;
#else
    return (uint32_t)value;
#endif
}

int main(void)
{
    tg_board_start();
    tg_board_write("ready%", 6);
    for (;;) {
        const int byte = tg_board_read();
        const char echo = (char)byte;
        switch (byte) {
        case -1:
            break;
        case 'T':
            tg_number(tg_board_microseconds());
            break;
        case 'C':
            tg_number(tg_board_cycles());
            break;
        case 'F':
            tg_number(tg_halves());
            break;
        case 'W':
            tg_sink = *(volatile uint32_t *)0x30F00000u;
            break;
        case 'S':
            tg_sink = tg_descend(10000u);
            break;
        default:
            tg_board_write(&echo, 1);
        }
    }
}
"""


def sources(board: Target, folder: Path) -> list[str]:
    """Write all that a program on `board` is made of; the names of its C files."""
    files = {Path(path).name: text for path, text in emit_bare(board).items()} | {"main.c": MAIN}
    for name in ("tg_board.h", "tg_uart.h", "tg_cortex_m.c"):
        files[name] = (FIRMWARE / "board" / name).read_text("utf-8")
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    return sorted(name for name in files if name.endswith(".c"))


def check(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0 and not done.stderr, done.stderr


def symbols(elf: ELFFile) -> dict[str, int]:
    return {symbol.name: int(symbol["st_value"]) for symbol in elf.get_section_by_name(".symtab").iter_symbols()}


Builder = Callable[[str], Path]


def builder(folders: pytest.TempPathFactory) -> Builder:
    """What gives the ELF of the program for a board, built once."""
    built: dict[str, Path] = {}

    def build(name: str) -> Path:
        if name not in built:
            board, folder = target.load(name), folders.mktemp(name)
            files, core = sources(board, folder), board.core
            sections = ["-O2", "-ffunction-sections", "-fdata-sections"]
            check([core.compiler, *core.cflags, *WARNINGS, *sections, *files, *LINK, "-o", "firmware.elf"], folder)
            clang = ["clang", "--target=arm-none-eabi", "-fsyntax-only", "-isystem", HEADERS]
            check([*clang, *core.cflags, *WARNINGS, *files], folder)
            built[name] = folder / "firmware.elf"
        return built[name]

    return build


class Machine:
    """A board in QEMU, seen through its serial port."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._seen = b""

    def ask(self, text: bytes, end: bytes) -> bytes:
        """Send; all that comes back up to `end`."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(text)
        limit = time.monotonic() + LIMIT_SECONDS
        while end not in self._seen:
            assert time.monotonic() < limit, self._seen
            if select.select([self._process.stdout], [], [], 0.1)[0]:
                chunk = os.read(self._process.stdout.fileno(), 4096)
                assert chunk, self._seen
                self._seen += chunk
        reply, self._seen = self._seen.split(end, 1)
        return reply

    def number(self, command: bytes) -> int:
        return int(self.ask(command, b"%"), 16)


@contextmanager
def in_qemu(name: str, elf: Path) -> Iterator[Machine]:
    options = ["-nographic", "-monitor", "none", "-serial", "stdio", "-nic", "none"]
    command = ["timeout", "60", EMULATOR, "-M", MACHINES[name], *options, "-kernel", str(elf)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0
    ) as process:
        try:
            machine = Machine(process)
            assert machine.ask(b"", b"%") == b"ready"
            yield machine
        finally:
            process.terminate()


class Emulated:
    """A board in Unicorn: its memory, its registers, and the program as a boot loader starts it, interrupts masked."""

    def __init__(self, name: str, elf: Path, model: Model) -> None:
        self.board = target.load(name)
        self.registers = Registers(model)
        self.uc = emulator(getattr(arm_const, MODELS[self.board.core.name]), self.registers)
        file = ELFFile(io.BytesIO(elf.read_bytes()))
        self.symbols = symbols(file)
        for region in (self.board.main_flash, self.board.main_ram):
            self.uc.mem_map(region.origin, region.bytes)
        for segment in file.iter_segments():
            if segment["p_filesz"]:
                self.uc.mem_write(segment["p_paddr"], segment.data())
        waiting = self.symbols["tg_uart_read"] & ~1
        self.uc.hook_add(unicorn.UC_HOOK_CODE, self._waits, begin=waiting, end=waiting)

    def ask(self, text: bytes, start: int | None = None) -> bytes:
        """Send; all that comes back until the program waits for more."""
        wire = self.registers.wire
        before = len(wire.sent)
        wire.received += text
        run(self.uc, self.uc.reg_read(arm_const.UC_ARM_REG_PC) if start is None else start)
        return bytes(wire.sent[before:])

    def boot(self) -> None:
        """From the vector table to the program's first words."""
        stack, reset = struct.unpack("<2I", self.uc.mem_read(self.symbols["tg_vectors"], 8))
        self.uc.reg_write(arm_const.UC_ARM_REG_SP, stack)
        self.uc.reg_write(arm_const.UC_ARM_REG_PRIMASK, 1)
        assert self.ask(b"", reset) == b"ready%"

    def _waits(self, *_: object) -> None:
        if not self.registers.wire.received:
            self.uc.emu_stop()
