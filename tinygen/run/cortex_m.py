"""Runs a firmware without a framework in Unicorn: any Cortex-M, with its board's memory and no more, and its UART."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from tinygen import interrupts
from tinygen.errors import FirmwareError, TargetError, ToolError
from tinygen.run.image import Image
from tinygen.run.registers import Registers
from tinygen.run.uarts import UARTS, Uart
from tinygen.target import Bare, Region, Target
from tinygen.verify.board_unicorn import MODELS

try:
    import unicorn
    from unicorn import arm_const
except ImportError:  # the extra is not installed; `CortexM` says so
    unicorn = None

PAGE = 4096
PERIPHERALS = Region("peripherals", 0x40000000, 0x20000000)
SYSTEM = Region("system control space", 0xE0000000, 0x100000)
"""Armv7-M Architecture Reference Manual, B3.1: the system address map."""
SYSTICK_CONTROL, SYSTICK_RELOAD, SYSTICK_VALUE = 0xE000E010, 0xE000E014, 0xE000E018
SYSTICK_ON = 0b11
"""Enabled, with its interrupt."""
SYSTICK_MAXIMUM = 0xFFFFFF
STACK_VECTOR, RESET_VECTOR, SYSTICK_VECTOR = 0, 1, 15
DWT_CYCLES = 0xE0001004
CPACR, FPU_ACCESS = 0xE000ED88, 0xF << 20
FPEXC_ENABLE = 0x40000000
FRAME_BYTES = 32
"""What an exception saves on the stack."""
MOST_PUSHED_BYTES = 256
"""One instruction reaches no further below the stack pointer."""
HANDLER_SECONDS = 5.0
"""A handler that takes longer counts as hung."""
INPUT_LOOK = "tg_uart_read"
LOOKS = (INPUT_LOOK, "tg_board_microseconds", "tg_board_cycles")
"""Functions of a firmware that look for input or at the time; one that a program never calls is not in it."""
MOST_IDLE_LOOKS = 8
"""A program that looks for input more often in a row, and neither gets nor sends any, waits for it."""
REST_SECONDS = 0.002
"""Sleep between two looks at a program that waits for input."""
NOWHERE = 0xFFFFFFFE
"""Where no program gets to: the emulator wants an address to stop at."""


class CortexM:
    """A link to a firmware in an emulator whose clock runs at the board's rate while it works.

    Where a program is stopped at any time, the emulator forgets how far it had got. So it is stopped where it looks for
    input or at the time only; one that does neither for `limit_seconds` counts as hung. The emulator has no interrupts
    either: the only one that these firmwares use, SysTick's, is called at those stops, and SysTick waits for it before
    it starts anew, so that time never runs backwards.
    """

    def __init__(self, target: Target, bare: Bare, image: Image, limit_seconds: float) -> None:
        if unicorn is None:
            raise ToolError("emulation is not installed", remedy="pip install 'tinygen[emulate]'")
        if bare.driver not in UARTS:
            expected = ", ".join(UARTS)
            raise TargetError("the emulator lacks this UART", where=target.name, found=bare.driver, expected=expected)
        self._target, self._image, self._clock = target, image, _Clock(bare.clock_hz)
        self._limit_seconds, self._deadline = limit_seconds, 0.0
        self._moved = self._idle_looks = 0
        self._flash, self._ram = joined(target.flash), joined(target.ram)
        self._uart = Uart(UARTS[bare.driver], bare.uart_address)
        readers = {SYSTICK_VALUE: self._systick_value, DWT_CYCLES: self._clock.cycles}
        writers = {SYSTICK_VALUE: self._restart_systick, CPACR: self._set_fpu}
        self._registers = Registers(bare.setup, self._uart.readers() | readers, self._uart.writers() | writers)
        self._systick_start = self._systick_wraps = 0
        self._fault = ""
        self._uc = unicorn.Uc(unicorn.UC_ARCH_ARM, unicorn.UC_MODE_THUMB | unicorn.UC_MODE_MCLASS)
        self._uc.ctl_set_cpu_model(getattr(arm_const, MODELS[target.core.name]))
        self._map_memory()
        self._map_registers(PERIPHERALS)
        self._map_registers(SYSTEM)
        self._load()

    def read(self, timeout: float) -> bytes:
        """What the program has sent; it runs until there is something and it looks for input."""
        self._deadline = time.monotonic() + timeout
        while not self._uart.sent and (left := self._deadline - time.monotonic()) > 0:
            self._run()
            if self._idle_looks and not self._uart.sent:
                time.sleep(min(left, REST_SECONDS))
        data = bytes(self._uart.sent)
        self._uart.sent.clear()
        return data

    def write(self, data: bytes) -> None:
        """Queue `data`: the program takes it byte by byte when it runs."""
        self._uart.received.extend(data)

    def close(self) -> None:
        """There is no process to end."""

    def _map_memory(self) -> None:
        """Flash and RAM, and every other access a fault; the emulator's grain is a page, so its rest is watched."""
        for region in self._flash:
            self._map(region, unicorn.UC_PROT_READ | unicorn.UC_PROT_EXEC)
        for region in self._ram:
            self._map(region, unicorn.UC_PROT_READ | unicorn.UC_PROT_WRITE)
        self._uc.hook_add(unicorn.UC_HOOK_MEM_INVALID, self._invalid)

    def _map(self, region: Region, permissions: int) -> None:
        end = region.origin + region.bytes
        first, last = region.origin // PAGE * PAGE, -(-end // PAGE) * PAGE
        self._uc.mem_map(first, last - first, permissions)
        for low, high in ((first, region.origin), (end, last)):
            if low < high:
                data = unicorn.UC_HOOK_MEM_READ | unicorn.UC_HOOK_MEM_WRITE
                self._uc.hook_add(data, self._invalid, begin=low, end=high - 1)
                self._uc.hook_add(unicorn.UC_HOOK_CODE, self._ran_out, begin=low, end=high - 1)

    def _map_registers(self, region: Region) -> None:
        def read(_uc: object, offset: int, size: int, _data: object) -> int:
            return self._registers.read(region.origin + offset, size)

        def write(_uc: object, offset: int, size: int, value: int, _data: object) -> None:
            self._registers.write(region.origin + offset, size, value)

        self._uc.mmio_map(region.origin, region.bytes, read, None, write, None)

    def _load(self) -> None:
        """The program into flash, and the processor as after a reset."""
        for address, data in self._image.segments:
            if not any(r.origin <= address and address + len(data) <= r.origin + r.bytes for r in self._flash):
                where, found = str(self._image.path), f"{len(data)} bytes at {address:#010x}"
                raise ToolError("the firmware does not lie in the flash of the board", where=where, found=found)
            self._uc.mem_write(address, data)
        self._pc = self._vector(RESET_VECTOR)
        for place in (self._image.symbols[name] & ~1 for name in LOOKS if name in self._image.symbols):
            self._uc.hook_add(unicorn.UC_HOOK_CODE, self._look, begin=place, end=place)
        self._uc.reg_write(arm_const.UC_ARM_REG_SP, self._vector(STACK_VECTOR))

    def _vector(self, number: int) -> int:
        return int.from_bytes(self._uc.mem_read(self._image.symbol("tg_vectors") + 4 * number, 4), "little")

    def _look(self, uc: Any, address: int, _size: int, _data: object) -> None:
        """The program is about to look for input or at the time: a good moment to stop it if there is reason to."""
        if address == self._image.symbols.get(INPUT_LOOK, 0) & ~1:
            self._idle_looks = 0 if self._uart.received or self._moved != self._uart.moved else self._idle_looks + 1
            self._moved = self._uart.moved
        late = time.monotonic() > self._deadline or interrupts.asked()
        if late or self._idle_looks > MOST_IDLE_LOOKS or self._interrupt_is_due():
            self._pc = address
            uc.emu_stop()

    def _run(self) -> None:
        """On to the next stop, and the interrupts that are due there."""
        self._idle_looks, start, self._pc = 0, self._pc, NOWHERE
        self._emulate(start, self._limit_seconds)
        if self._pc == NOWHERE:
            found = f"no look at its serial port for {self._limit_seconds:g} s"
            raise self._stopped("the emulated firmware hangs", found)
        while self._interrupt_is_due():
            self._systick_wraps += 1
            self._call(self._vector(SYSTICK_VECTOR))

    def _emulate(self, start: int, seconds: float, end: int = NOWHERE) -> None:
        self._clock.start()
        try:
            with interrupts.deferred():
                self._uc.emu_start(start | 1, end, timeout=int(seconds * 1e6))
        except unicorn.UcError as error:
            raise self._faulted(self._fault or str(error)) from None
        finally:
            self._clock.stop()
        if self._fault:
            raise self._faulted(self._fault)

    def _call(self, handler: int) -> None:
        """Run an interrupt's handler to its end; the registers are then as before. It returns to the vectors."""
        context = self._uc.context_save()
        stack = self._uc.reg_read(arm_const.UC_ARM_REG_SP) - FRAME_BYTES
        self._uc.reg_write(arm_const.UC_ARM_REG_SP, stack // 8 * 8)
        end = self._image.symbol("tg_vectors")
        self._uc.reg_write(arm_const.UC_ARM_REG_LR, end | 1)
        self._emulate(handler, HANDLER_SECONDS, end)
        if self._uc.reg_read(arm_const.UC_ARM_REG_PC) != end:
            raise self._stopped("the emulated firmware hangs", f"in {self._image.place(handler)}")
        self._uc.context_restore(context)

    def _set_fpu(self, access: int) -> None:
        """The emulator keeps the FPU's switch elsewhere."""
        self._uc.reg_write(arm_const.UC_ARM_REG_C1_C0_2, access)
        self._uc.reg_write(arm_const.UC_ARM_REG_FPEXC, FPEXC_ENABLE if access & FPU_ACCESS else 0)

    def _systick_interrupts(self) -> bool:
        enabled = self._registers.read(SYSTICK_CONTROL, 4) & SYSTICK_ON == SYSTICK_ON
        return enabled and not self._uc.reg_read(arm_const.UC_ARM_REG_PRIMASK)

    def _systick_period(self) -> int:
        return (self._registers.read(SYSTICK_RELOAD, 4) & SYSTICK_MAXIMUM) + 1

    def _interrupt_is_due(self) -> bool:
        elapsed = self._clock.cycles() - self._systick_start
        return self._systick_interrupts() and elapsed >= (self._systick_wraps + 1) * self._systick_period()

    def _systick_value(self) -> int:
        period = self._systick_period()
        elapsed = self._clock.cycles() - self._systick_start
        if self._systick_interrupts():
            last = (self._systick_wraps + 1) * period - 1
            elapsed = min(elapsed, last)
        return period - 1 - elapsed % period

    def _restart_systick(self, _value: int) -> None:
        self._systick_start, self._systick_wraps = self._clock.cycles(), 0

    def _invalid(self, _uc: object, access: int, address: int, size: int, _value: int, _data: object) -> bool:
        """Keep what the program did where it has no memory or none of that kind."""
        stack = self._uc.reg_read(arm_const.UC_ARM_REG_SP)
        if stack - MOST_PUSHED_BYTES <= address < self._target.main_ram.origin:
            what = "stack overflow"
        elif access in (unicorn.UC_MEM_FETCH_UNMAPPED, unicorn.UC_MEM_FETCH_PROT):
            what = f"execution of {address:#010x}, which is not flash"
        elif access in (unicorn.UC_MEM_WRITE, unicorn.UC_MEM_WRITE_UNMAPPED, unicorn.UC_MEM_WRITE_PROT):
            what = f"write of {size} bytes to {address:#010x}, which is not RAM"
        else:
            what = f"read of {size} bytes from {address:#010x}, which is no memory"
        self._fault = self._fault or what
        self._uc.emu_stop()
        return False

    def _ran_out(self, _uc: object, address: int, _size: int, _data: object) -> None:
        self._fault = self._fault or f"execution of {address:#010x}, which is not flash"
        self._uc.emu_stop()

    def _faulted(self, what: str) -> FirmwareError:
        pc = self._uc.reg_read(arm_const.UC_ARM_REG_PC)
        return self._stopped("the emulated firmware faulted", f"{what}, at {self._image.place(pc)}")

    def _stopped(self, what: str, found: str) -> FirmwareError:
        return FirmwareError(what, where=self._target.name, found=found)


class _Clock:
    """The cycles of a processor that runs at `hertz` while the emulator works; each look at it takes at least one."""

    def __init__(self, hertz: int) -> None:
        self._hertz, self._worked_seconds, self._began, self._last = hertz, 0.0, 0.0, 0

    def start(self) -> None:
        self._began = time.perf_counter()

    def stop(self) -> None:
        self._worked_seconds += time.perf_counter() - self._began
        self._began = 0.0

    def cycles(self) -> int:
        running = time.perf_counter() - self._began if self._began else 0.0
        self._last = max(self._last + 1, int((self._worked_seconds + running) * self._hertz))
        return self._last


def joined(regions: Iterable[Region]) -> list[Region]:
    """The regions, those that follow each other without a gap as one."""
    found: list[Region] = []
    for region in sorted(regions, key=lambda region: region.origin):
        if found and found[-1].origin + found[-1].bytes == region.origin:
            region = Region(found[-1].name, found[-1].origin, found.pop().bytes + region.bytes)
        found.append(region)
    return found
